//! Routing policies compared, and what can be guaranteed of them.

use std::fs;

use serde_json::{Value, json};

use crate::fixture::{Fixture, TIERS, texts};
use crate::http::{Server, ask};
use crate::run::tiercast;

fn read(data: &Fixture, name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(data.path(name)).unwrap()).unwrap()
}

#[test]
fn all_policies_on_one_chart() {
    let data = Fixture::trained();
    let (outcomes, checkpoint, out) = (data.at("outcomes.parquet"), data.at("checkpoint"), data.at("policies"));
    let rows = [
        "--checkpoint",
        &checkpoint,
        "--outcomes",
        &outcomes,
        "--replicates",
        "50",
        "--out",
        &out,
    ];
    let compared = tiercast(&[&["evaluate", "--policies", "all"][..], &rows].concat()).ok();
    for part in ["meta", "classifier", "random:0", "fixed:large", "saved of best"] {
        assert!(compared.stdout.contains(part), "{part}: {}", compared.stdout);
    }
    let report = read(&data, "policies/policies.json");
    let policies = report["policies"].as_array().unwrap();
    let named = |name: &str| policies.iter().find(|policy| policy["name"] == name).unwrap();
    // Every call of every prompt goes somewhere, and costs what the rows say.
    for policy in policies {
        for point in policy["points"].as_array().unwrap() {
            let shares = point["tier_shares"].as_array().unwrap().iter();
            let sum: f64 = shares.map(|share| share.as_f64().unwrap()).sum();
            assert!(
                (sum - 1.0).abs() < 1e-9 && point["calls"].as_f64() >= Some(1.0),
                "{point}"
            );
        }
    }
    let cost = |tier: usize| {
        named(&format!("fixed:{}", TIERS[tier].0))["points"][0]["cost_usd"]["value"]
            .as_f64()
            .unwrap()
    };
    assert!(cost(0) > cost(1) && cost(1) > cost(2));
    let small = &named("fixed:small")["points"][0];
    assert!((small["saved_of_dearest"]["value"].as_f64().unwrap() - (1.0 - cost(2) / cost(0))).abs() < 1e-9);
    assert_eq!(named("meta")["points"].as_array().unwrap().len(), 3);
    // The same dial as the report's, so the same area.
    let evaluated = tiercast(&[&["evaluate"][..], &rows].concat()).ok();
    assert_eq!(evaluated.code, Some(0));
    let report = read(&data, "policies/report.json");
    let ours = report["methods"][0]["aiq"]["value"].as_f64().unwrap();
    assert!((named("meta:trade-off")["aiq"]["value"].as_f64().unwrap() - ours).abs() < 1e-9);
    let page = fs::read_to_string(data.path("policies/policies.html")).unwrap();
    assert!(
        page.contains("<svg") && !page.contains("src=\"http"),
        "one page that needs no other"
    );

    let unknown = tiercast(&[&["evaluate", "--policies", "magic"][..], &rows].concat());
    unknown.refused("an unknown policy", 2, &["`magic` is not known", "classifier"]);
}

#[test]
fn a_guarantee_is_given_or_refused_in_words() {
    let data = Fixture::new();
    let trained = data
        .train("checkpoint", &["--certify", "0.9", "--certify-delta", "0.3"])
        .ok();
    assert!(
        trained.stderr.contains("certified with confidence 70.0 %"),
        "{}",
        trained.stderr
    );
    let certificate = read(&data, "checkpoint/calibration.json")["certificate"].clone();
    assert_eq!(
        (&certificate["alpha"], &certificate["loss"]),
        (&Value::from(0.9), &Value::from("missed"))
    );
    let counts = &read(&data, "checkpoint/manifest.json")["provenance"]["counts"];
    let [certifying, fitted] = ["certifying_prompts", "validation_prompts"].map(|name| counts[name].as_u64().unwrap());
    assert_eq!(certifying + fitted, 24, "half of the validation rows is kept apart");
    assert!(
        fs::read_to_string(data.path("checkpoint/README.md"))
            .unwrap()
            .contains("Guarantee: certified"),
        "the model card says it"
    );

    let route = |checkpoint: &str, text: &str| {
        let mut body = ask(text);
        body["model"] = "auto:certified".into();
        Server::start(&data.at(checkpoint)).post_with("/v1/route", &[], &body)
    };
    let decided = route("checkpoint", &texts()[0]);
    assert_eq!(decided.status, 200, "{decided:?}");
    let decision = decided.json()["decision"].clone();
    assert_eq!(decision["reason"], "cheapest_acceptable", "{decision}");
    assert_eq!(
        decision["certificate"],
        json!({"loss": "missed", "target": certificate["target"], "alpha": 0.9, "confidence": 0.7}),
        "{decision}"
    );

    let (checkpoint, outcomes, out) = (data.at("checkpoint"), data.at("outcomes.parquet"), data.at("again"));
    let calibrate = [
        "calibrate",
        "--checkpoint",
        &checkpoint,
        "--outcomes",
        &outcomes,
        "--out",
        &out,
    ];
    let again = tiercast(&[&calibrate[..], &["--certify", "0.01"]].concat()).ok();
    assert!(
        again.stderr.contains("not certified") && again.stderr.contains("saved to"),
        "{}",
        again.stderr
    );
    assert_eq!(
        read(&data, "again/calibration.json")["certificate"]["floors"],
        Value::Null
    );
    route("again", &texts()[0]).refused("nothing certified", 404, &["--certify", "auto:cheap"]);
    let plain = tiercast(&calibrate).ok();
    assert!(!plain.stderr.contains("certified"), "{}", plain.stderr);
    assert_eq!(read(&data, "again/calibration.json")["certificate"], Value::Null);

    tiercast(&[&calibrate[..], &["--certify", "1.5"]].concat()).refused("a share over 1", 2, &["between 0 and 1"]);
    tiercast(&[&calibrate[..], &["--certify-delta", "0.1"]].concat()).refused("nothing to certify", 2, &["--certify"]);
}
