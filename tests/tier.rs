//! A new tier for a checkpoint, from few judged prompts.

use std::fs;

use serde_json::Value;

use crate::fixture::Fixture;
use crate::http::{Server, ask};
use crate::run::tiercast;

#[test]
fn a_tier_is_added_from_few_prompts_and_served() {
    let data = Fixture::new();
    data.train("checkpoint", &["--tiers", "large,small"]).ok();
    let (checkpoint, outcomes, chosen, out) = (
        data.at("checkpoint"),
        data.at("outcomes.parquet"),
        data.at("chosen.jsonl"),
        data.at("with_medium"),
    );
    let rows = ["--checkpoint", &checkpoint, "--outcomes", &outcomes];

    tiercast(&[&["tier", "choose"][..], &rows, &["--n", "12", "--out", &chosen]].concat()).ok();
    let lines = fs::read_to_string(data.path("chosen.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 12);
    assert!(
        lines
            .iter()
            .all(|line| ["train", "validation"].contains(&line["split"].as_str().unwrap()))
    );
    // What was chosen is a prompts file, ready to be asked.
    let validated = tiercast(&["data", "validate", &chosen]).ok();
    assert!(validated.stdout.contains("12"), "{}", validated.stdout);

    let add = |name: &str, more: &[&str]| {
        tiercast(&[&["tier", "add", "--tier", name, "--out", &out][..], &rows, more].concat())
    };
    let added = add("medium", &["--samples", "40"]).ok();
    assert!(
        added.stderr.contains("added from 40 judged prompts"),
        "{}",
        added.stderr
    );
    let before = fs::read(data.path("checkpoint/network.bpk")).unwrap();
    assert_eq!(
        fs::read(data.path("with_medium/network.bpk")).unwrap(),
        before,
        "the rest stays as it is"
    );
    let manifest: Value =
        serde_json::from_str(&fs::read_to_string(data.path("with_medium/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["tiers"], serde_json::json!(["large", "small", "medium"]));

    let server = Server::start(&out);
    let answer = server
        .route(&ask("Translate this postcard into Portuguese, number 4"))
        .json();
    let tiers = answer["tiers"].as_array().unwrap();
    assert_eq!(tiers.len(), 3);
    let medium = &tiers[2];
    assert_eq!(medium["tier"], "medium");
    let mass: f64 = medium["quality_pmf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mass| mass.as_f64().unwrap())
        .sum();
    assert!(
        (mass - 1.0).abs() < 1e-6 && medium["cost_usd"].as_f64() > Some(0.0),
        "{medium}"
    );

    // Everything that takes a checkpoint takes it: evaluation, calibration.
    let report = data.at("report");
    let again = ["--checkpoint", &out, "--outcomes", &outcomes, "--out", &report];
    tiercast(&[&["evaluate", "--replicates", "50"][..], &again].concat()).ok();
    let calibrated = data.at("calibrated");
    let again = [
        "calibrate",
        "--checkpoint",
        &out,
        "--outcomes",
        &outcomes,
        "--out",
        &calibrated,
    ];
    tiercast(&again).ok();

    add("large", &[]).refused("a tier that is there", 1, &["has tier `large` already"]);
    add("huge", &[]).refused("a tier that nobody knows", 1, &["`huge`", "medium"]);
    add("medium", &["--samples", "40", "--class", "9"]).refused("a class that is none", 2, &["9"]);
}
