//! Suites: protocols from a file, on made-up rows.

use std::fs;

use serde_json::Value;
use tiercast_records::outcomes::{self, Split};

use crate::fixture::{Fixture, rows};
use crate::run::{Run, checkout, command, tiercast};

/// Both data sets have the fixture's rows; in the second, prompts and models have other names.
const SUITE: &str = r#"
title = "A small suite"
notes = ["Made up."]

[[set]]
name = "all"
file = "outcomes.parquet"
tiers = ["large", "medium", "small"]

[[set]]
name = "here"
file = "outcomes.parquet"
tiers = ["large", "small"]
stand_for = ["class1", "class3"]

[[set]]
name = "there"
file = "others.parquet"
tiers = ["great", "tiny"]
stand_for = ["class1", "class3"]
subsets = ["arithmetic", "mathematics"]

[[part]]
name = "split"
protocol = "split"
sets = ["all"]

[[part]]
name = "folds"
protocol = "folds"
sets = ["here"]

[[part]]
name = "transfer"
protocol = "transfer"
sets = ["here", "there"]
test_on = ["here", "there"]
mean_over = ["here", "there"]
pair = ["class1", "class3"]
"#;

fn fixture() -> Fixture {
    let data = Fixture::new();
    let mut others = rows();
    for prompt in &mut others.prompts {
        // The first digits decide nothing here: the split is in the rows.
        prompt.prompt_id = prompt.prompt_id.replacen('0', "1", 1);
        prompt.split_key = prompt.split_key.replacen('0', "1", 1);
        prompt.dataset = "others".to_owned();
    }
    for (model, name) in others.models.iter_mut().zip(["great", "middling", "tiny"]) {
        model.name = name.to_owned();
    }
    outcomes::write(&data.path("others.parquet"), &others).unwrap();
    fs::create_dir(data.path("suites")).unwrap();
    fs::write(data.path("suites/small.toml"), SUITE).unwrap();
    data
}

/// Runs parts of the small suite, briefly.
fn evaluate(data: &Fixture, more: &[&str]) -> Run {
    let [suites, folder, out] = ["suites", "", "result"].map(|name| data.at(name));
    let fixed = [
        "evaluate",
        "--suite",
        "small",
        "--epochs",
        "2",
        "--members",
        "1",
        "--replicates",
        "20",
    ];
    let places = ["--suites", &suites, "--data", &folder, "--out", &out];
    tiercast(&[&fixed[..], &places, more].concat())
}

fn result(data: &Fixture) -> Value {
    assert!(
        fs::read_to_string(data.path("result/result.md"))
            .unwrap()
            .starts_with("# A small suite")
    );
    serde_json::from_slice(&fs::read(data.path("result/result.json")).unwrap()).unwrap()
}

#[test]
fn ours_is_printed_beside_all_baselines() {
    let data = fixture();
    let run = evaluate(
        &data,
        &["--seeds", "2", "--control", "shuffled", "--ablation", "--part", "split"],
    )
    .ok();
    for part in [
        "tiercast-fast",
        "fast minus it",
        "AIQ",
        "Prompt length",
        "Random mix",
        "Oracle",
        "2 seeds",
        "shuffled",
        "without surface",
    ] {
        assert!(run.stdout.contains(part), "`{part}` is not in: {}", run.stdout);
    }
    let result = result(&data);
    assert_eq!((&result["suite"], &result["rows"]), (&"small".into(), &"test".into()));
    assert!(result["commit"].as_str().unwrap().len() >= 7);
    let part = &result["parts"][0];
    assert_eq!(
        (&part["n_prompts"], &part["n_train"], &part["headline"]),
        (&24.into(), &72.into(), &"aiq".into())
    );
    let encoder = &part["encoders"][0];
    assert_eq!(encoder["checkpoints"].as_array().unwrap().len(), 1);
    assert_eq!(encoder["seeds"]["values"].as_array().unwrap().len(), 2);
    let ablations = encoder["ablations"].as_array().unwrap();
    let without: Vec<&str> = ablations.iter().map(|rest| rest["without"].as_str().unwrap()).collect();
    assert_eq!(without, ["surface", "ngrams", "embedding", "neighbours", "tasks"]);
    assert!(ablations.iter().all(|rest| rest["gain"]["low"].is_number()));
    assert!(encoder["validated"]["relative_cost"]["value"].is_number());
}

#[test]
fn folds_and_transfer() {
    let data = fixture();
    let run = evaluate(&data, &["--part", "folds,transfer"]).ok();
    assert!(
        run.stdout.contains("APGR") && run.stdout.contains("CPT80"),
        "{}",
        run.stdout
    );
    let result = result(&data);
    let names: Vec<&str> = result["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["folds", "transfer to here", "transfer to there", "transfer mean"]
    );
    let n_prompts = |part: usize| result["parts"][part]["n_prompts"].as_u64().unwrap();
    // Every row once; the test split of the one set; of the other only two of three subsets.
    assert_eq!(
        [n_prompts(0), n_prompts(1), n_prompts(2), n_prompts(3)],
        [120, 24, 16, 40]
    );
    assert_eq!(
        result["parts"][0]["encoders"][0]["checkpoints"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
    let mean = &result["parts"][3]["encoders"][0]["methods"];
    assert!(mean[1]["difference"]["low"].is_number(), "{mean}");
}

#[test]
fn choices_are_made_without_test_rows() {
    let data = fixture();
    let run = evaluate(&data, &["--split", "validation", "--part", "split,folds"]).ok();
    assert!(run.stderr.contains("part folds is skipped"), "{}", run.stderr);
    let validation = result(&data);
    assert_eq!(validation["parts"].as_array().unwrap().len(), 1);
    assert_eq!(validation["parts"][0]["n_prompts"], 24);

    // Seven in eight of the rows to train on, that the folds inside are large enough.
    let mut mostly_train = rows();
    for (number, prompt) in mostly_train.prompts.iter_mut().enumerate() {
        prompt.split = if number % 8 == 3 { Split::Test } else { Split::Train };
    }
    outcomes::write(&data.path("outcomes.parquet"), &mostly_train).unwrap();
    evaluate(&data, &["--part", "split", "--inner"]).ok();
    let inner = result(&data);
    assert_eq!(inner["rows"], "inner folds of train");
    assert_eq!(inner["parts"][0]["n_prompts"], 105);
}

#[test]
fn a_suite_whose_data_is_absent_is_skipped_by_name() {
    let empty = Fixture::new();
    let arguments = ["evaluate", "--suite", "bfcl", "--data", &empty.at("nowhere")];
    let run = |require: &str| Run::from(command(&arguments).env("TIERCAST_REQUIRE", require).output().unwrap());
    let said = run("").ok();
    assert!(
        said.stdout
            .contains("suite `bfcl` is skipped: bfcl.parquet is neither in"),
        "{}",
        said.stdout
    );
    run("wgpu,shared").refused("required", 1, &["`bfcl`", "bfcl.parquet", "TIERCAST_REQUIRE"]);
}

#[test]
fn suites_that_will_not_do() {
    let data = fixture();
    let check = |arguments: &[&str], parts: &[&str]| {
        tiercast(&[&["evaluate"], arguments].concat()).refused(&arguments.join(" "), 2, parts);
    };
    check(
        &["--suite", "nosuch"],
        &[
            "no suite `nosuch`",
            "alpaca_eval_2, bfcl, llmrouter, mmlu_pro, routellm, transfer, zeroeval",
        ],
    );
    check(
        &["--suite", "bfcl", "--suites", &data.at("nowhere")],
        &["nowhere holds no suites", "--suites"],
    );
    check(&["--suite", "bfcl", "--checkpoint", "a"], &["--suite", "--checkpoint"]);
    check(
        &["--suite", "bfcl", "--split", "train"],
        &["test or validation, not on train"],
    );
    check(
        &["--suite", "bfcl", "--split", "validation", "--inner"],
        &["--inner", "leave --split out"],
    );
    check(&["--suite", "bfcl", "--encoders", "slow"], &["--encoders", "slow"]);
    check(
        &["--checkpoint", "a", "--outcomes", "b", "--out", "c", "--inner"],
        &["--inner"],
    );
    check(&["--out", "c"], &["--checkpoint", "--outcomes"]);
    fs::write(
        data.path("suites/small.toml"),
        SUITE.replace("\"split\"\nsets", "\"spilt\"\nsets"),
    )
    .unwrap();
    evaluate(&data, &[]).refused("misspelt", 2, &["small.toml", "unknown variant `spilt`"]);
    fs::write(
        data.path("suites/small.toml"),
        SUITE.replace("sets = [\"all\"]", "sets = [\"none\"]"),
    )
    .unwrap();
    evaluate(&data, &[]).refused("no set", 2, &["small.toml", "part `split`: there is no set `none`"]);
}

#[test]
fn every_suite_of_the_checkout_can_be_read() {
    for entry in fs::read_dir(checkout().join("evals/suites")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let run = tiercast(&["evaluate", "--suite", name, "--part", "nosuch"]);
        run.refused(name, 2, &[&format!("suite `{name}` has no part `nosuch`"), "it has: "]);
    }
}
