//! From outcomes to served decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use tiercast_records::predictions::{self, Prediction};

use crate::fixture::{Fixture, TIERS, rows, texts};
use crate::http::{Server, ask};
use crate::run::tiercast;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn names(values: &Value, key: &str) -> BTreeSet<String> {
    let values = values.as_array().unwrap().iter();
    values.map(|value| value[key].as_str().unwrap().to_owned()).collect()
}

#[test]
fn from_outcomes_to_a_report() {
    let data = Fixture::new();
    let (outcomes, checkpoint, report) = (data.at("outcomes.parquet"), data.at("checkpoint"), data.at("report"));

    let validated = tiercast(&["data", "validate", &outcomes]).ok();
    assert!(validated.stdout.starts_with("OK "), "{}", validated.stdout);
    let described = json(&tiercast(&["data", "describe", "--json", &outcomes]).ok().stdout);
    assert_eq!(described["n_prompts"], 120);
    assert_eq!(
        names(&described["tiers"], "name"),
        TIERS.map(|(name, ..)| name.to_owned()).into()
    );

    let trained = data.train("checkpoint", &[]).ok();
    assert!(
        trained.stderr.contains("epoch 1/3") && trained.stderr.contains("saved to"),
        "{}",
        trained.stderr
    );

    let evaluate = ["evaluate", "--checkpoint", &checkpoint, "--outcomes", &outcomes];
    let evaluated = tiercast(&[&evaluate[..], &["--replicates", "50", "--out", &report]].concat()).ok();
    assert!(evaluated.stdout.contains("tiercast"), "{}", evaluated.stdout);
    let html = fs::read_to_string(data.path("report/report.html")).unwrap();
    assert!(
        html.contains("<svg") && !html.contains("src=\"http"),
        "one page that needs no other"
    );
    assert!(
        fs::read_to_string(data.path("report/report.md"))
            .unwrap()
            .contains("large")
    );
    json(&fs::read_to_string(data.path("report/report.json")).unwrap());
}

#[test]
fn predictions_have_one_distribution_per_prompt_and_tier() {
    let data = Fixture::trained();
    let (outcomes, checkpoint, out) = (data.at("outcomes.parquet"), data.at("checkpoint"), data.at("p.parquet"));
    tiercast(&[
        "predict",
        "--checkpoint",
        &checkpoint,
        "--outcomes",
        &outcomes,
        "--out",
        &out,
    ])
    .ok();
    let predictions = predictions::read(&data.path("p.parquet")).unwrap();

    let pairs: BTreeSet<(&str, &str)> = predictions
        .iter()
        .map(|row| (row.prompt_id.as_str(), row.model.as_str()))
        .collect();
    let rows = rows();
    let expected = rows
        .prompts
        .iter()
        .flat_map(|prompt| TIERS.map(|(tier, ..)| (prompt.prompt_id.as_str(), tier)));
    assert_eq!(pairs, expected.collect());
    assert_eq!(predictions.len(), pairs.len(), "a pair comes twice");
    for row in &predictions {
        check(row, &predictions[0].quality_grid);
    }

    let test = data.at("test.parquet");
    let predict = [
        "predict",
        "--checkpoint",
        &checkpoint,
        "--outcomes",
        &outcomes,
        "--split",
        "test",
    ];
    tiercast(&[&predict[..], &["--out", &test]].concat()).ok();
    assert_eq!(
        predictions::read(&data.path("test.parquet")).unwrap().len(),
        24 * TIERS.len()
    );
}

fn check(row: &Prediction, grid: &[f64]) {
    let mass: f64 = row.quality_pmf.iter().sum();
    let mean: f64 = row
        .quality_pmf
        .iter()
        .zip(grid)
        .map(|(mass, quality)| mass * quality)
        .sum();
    assert_eq!(row.quality_grid, grid);
    assert!(row.quality_pmf.iter().all(|mass| (0.0..=1.0).contains(mass)), "{row:?}");
    assert!(
        (mass - 1.0).abs() < 1e-9 && (mean - row.quality_mean).abs() < 1e-9,
        "{row:?}"
    );
    assert!(row.cost_usd > 0.0 && row.output_tokens > 0.0, "{row:?}");
}

#[test]
fn route_shows_the_decision_and_every_tier() {
    let data = Fixture::trained();
    let checkpoint = data.at("checkpoint");
    let table = tiercast(&["route", "--checkpoint", &checkpoint, &texts()[0]])
        .ok()
        .stdout;
    let answer = json(
        &tiercast(&["route", "--checkpoint", &checkpoint, "--json", &texts()[0]])
            .ok()
            .stdout,
    );
    let chosen = answer["decision"]["tier"].as_str().unwrap();
    assert!(
        table.starts_with(chosen) && table.contains(&format!("> {chosen}")),
        "{table}"
    );
    assert!(TIERS.iter().all(|(name, ..)| table.contains(name)), "{table}");
    assert_eq!(
        names(&answer["tiers"], "tier"),
        TIERS.map(|(name, ..)| name.to_owned()).into()
    );

    // Nothing is as good as certain, so the best is taken, and the reason says so.
    let highest = ["route", "--checkpoint", &checkpoint, "--json", "--quality", "1"];
    let highest = json(&tiercast(&[&highest[..], &[&texts()[0]]].concat()).ok().stdout);
    assert_ne!(highest["decision"]["reason"], "cheapest_acceptable", "{highest}");
}

#[test]
fn serve_decides_until_it_is_told_to_stop() {
    let data = Fixture::trained();
    let mut server = Server::start(&data.at("checkpoint"));
    let answer = server.route(&ask(&texts()[1])).json();
    assert_eq!(
        names(&answer["tiers"], "tier"),
        TIERS.map(|(name, ..)| name.to_owned()).into()
    );
    assert_eq!(server.get("/health").status, 200);
    assert_eq!(server.get("/ready").status, 200);
    let metrics = server.get("/metrics").text;
    let decisions: BTreeMap<&str, &str> = metrics.lines().filter_map(|line| line.rsplit_once(' ')).collect();
    let counted = |name: &str| {
        decisions
            .iter()
            .any(|(key, value)| key.starts_with(name) && *value == "1")
    };
    assert!(counted("tiercast_decisions_total"), "{metrics}");
    assert!(server.get("/v1/models").text.contains("auto:cheap"));

    let ended = server.end("TERM");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("try: curl"), "{ended:?}");
}
