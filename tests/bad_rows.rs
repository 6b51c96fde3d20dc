//! Outcome files that are wrong: each is refused with its place and the mend, and nothing is left.

use std::fs;
use std::path::Path;

use tiercast_records::outcomes::{self, Model, Outcomes, Split};
use tiercast_records::predictions::{self, Prediction};

use crate::fixture::{Fixture, rows};
use crate::run::tiercast;

/// Makes `outcomes.parquet` wrong; `data validate` and `train` both refuse it.
fn check(case: &str, spoil: impl FnOnce(&Path), parts: &[&str]) {
    let data = Fixture::new();
    spoil(&data.path("outcomes.parquet"));
    let parts = [&["outcomes.parquet"], parts].concat();
    tiercast(&["data", "validate", &data.at("outcomes.parquet")]).refused(case, 1, &parts);
    data.train("checkpoint", &[]).refused(case, 1, &parts);
    assert_eq!(data.names(), ["outcomes.parquet"], "{case}: something is left behind");
}

fn rewrite(change: impl FnOnce(&mut Outcomes)) -> impl FnOnce(&Path) {
    move |path| {
        let mut rows = rows();
        change(&mut rows);
        outcomes::write(path, &rows).unwrap();
    }
}

#[test]
fn a_score_that_is_none() {
    let score = |score: f64| rewrite(move |rows| rows.outcomes[4].score = score);
    check(
        "1.2",
        score(1.2),
        &["row", "`score`", "1.2 is outside [0, 1]", "Scale scores"],
    );
    check(
        "-0.1",
        score(-0.1),
        &["row", "`score`", "-0.1 is outside [0, 1]", "Scale scores"],
    );
    check("NaN", score(f64::NAN), &["row", "`score`", "NaN", "Leave out"]);
}

#[test]
fn a_prompt_answered_twice_by_one_model() {
    let twice = rewrite(|rows| rows.outcomes.push(rows.outcomes[7]));
    check("twice", twice, &["row", "00000000abc00002", "`medium`"]);
}

#[test]
fn an_unknown_split() {
    // Names lie in the file as they are; ours cannot write another, so the bytes are changed.
    let rename = |path: &Path| {
        let bytes = replaced(&fs::read(path).unwrap(), b"validation", b"validatoin");
        fs::write(path, bytes).unwrap();
    };
    check(
        "split",
        rename,
        &["row", "`split`", "`validatoin` is no split", "Write train, validation"],
    );
}

#[test]
fn a_column_that_is_not_there() {
    let predictions = |path: &Path| {
        let row = Prediction {
            prompt_id: "a".to_owned(),
            model: "small".to_owned(),
            quality_mean: 0.5,
            quality_grid: vec![0.0, 1.0],
            quality_pmf: vec![0.5, 0.5],
            cost_usd: 1.0,
            output_tokens: 1.0,
        };
        predictions::write(path, [row]).unwrap();
    };
    let data = Fixture::new();
    predictions(&data.path("outcomes.parquet"));
    let validated = tiercast(&["data", "validate", &data.at("outcomes.parquet")]);
    validated.refused("no score", 1, &["column `score`", "column `split`", "missing"]);
    check("no split", predictions, &["column `split`"]);
}

#[test]
fn a_file_that_is_no_parquet() {
    let write = |bytes: &'static [u8]| move |path: &Path| fs::write(path, bytes).unwrap();
    let mend = ["cannot be read as Parquet", "again"];
    check("CSV", write(b"prompt_id,model,score\na,b,1\n"), &mend);
    check("empty", write(b""), &mend);
    check("a magic word alone", write(b"PAR1PAR1"), &mend);
    for share in [1, 5, 9] {
        let cut = |path: &Path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() * share / 10]).unwrap();
        };
        check("cut short", cut, &mend);
    }
}

#[test]
fn a_file_that_is_not_there() {
    let data = Fixture::new();
    fs::remove_file(data.path("outcomes.parquet")).unwrap();
    let parts = ["outcomes.parquet", "could not be opened"];
    tiercast(&["data", "validate", &data.at("outcomes.parquet")]).refused("not there", 1, &parts);
    data.train("checkpoint", &[]).refused("not there", 1, &parts);
    assert!(data.names().is_empty(), "something is left behind");
}

/// Whatever byte is hit, it ends with an answer: rows, or a refusal that names the file.
#[test]
fn a_bit_that_flipped_anywhere() {
    let data = Fixture::new();
    let good = fs::read(data.path("outcomes.parquet")).unwrap();
    for place in (0..good.len()).step_by(good.len() / 40) {
        let mut bytes = good.clone();
        bytes[place] ^= 0x10;
        fs::write(data.path("outcomes.parquet"), &bytes).unwrap();
        let run = tiercast(&["data", "validate", &data.at("outcomes.parquet")]);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(
            matches!(run.code, Some(0 | 1)) && !said.contains("panicked"),
            "byte {place}: {said}"
        );
        assert!(said.contains("outcomes.parquet"), "byte {place}: {said}");
    }
}

#[test]
fn a_tier_without_rows() {
    let data = Fixture::new();
    let parts = ["`huge`", "large, medium, small"];
    data.train("checkpoint", &["--tiers", "large,huge"])
        .refused("unknown tier", 1, &parts);

    // A fourth model that answered validation prompts only.
    let mut rows = rows();
    rows.models.push(Model {
        name: "new".to_owned(),
        class: 2,
    });
    let answers = rows.outcomes.iter().filter(|row| row.model == 0);
    let answers = answers
        .filter(|row| rows.prompts[row.prompt].split == Split::Validation)
        .copied();
    let answers: Vec<_> = answers
        .map(|row| tiercast_records::outcomes::Outcome { model: 3, ..row })
        .collect();
    rows.outcomes.extend(answers);
    outcomes::write(&data.path("outcomes.parquet"), &rows).unwrap();
    let parts = ["`new`", "no row in the train split", "--tiers"];
    data.train("checkpoint", &[]).refused("no train rows", 1, &parts);
    data.train("checkpoint", &["--tiers", "large,small"]).ok();
}

#[test]
fn text_and_features_both_missing() {
    let data = Fixture::new();
    outcomes::write(&data.path("outcomes.parquet"), &rows().without_text()).unwrap();
    data.train("checkpoint", &[])
        .refused("no features", 1, &["has no text", "there is no features file"]);

    // Features of other prompts.
    let mut few = rows();
    few.outcomes.retain(|row| row.prompt < 10);
    outcomes::write(&data.path("few.parquet"), &few).unwrap();
    tiercast(&[
        "featurise",
        "--outcomes",
        &data.at("few.parquet"),
        "--out",
        &data.at("features.parquet"),
    ])
    .ok();
    data.train("checkpoint", &[])
        .refused("other features", 1, &["no prompt", "tiercast featurise"]);
}

/// Every `from` in `bytes` as `to`; there must be one.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|&at| bytes[at..].starts_with(from))
        .collect();
    assert!(!places.is_empty() && from.len() == to.len());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}
