//! Drift, injected into replayed traffic and told by `tiercast drift` from the journal.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::gateway::{Gateway, tier};
use crate::http::ask;
use crate::replay::{N_TEXTS, Recording, text};
use crate::run::tiercast;

const DEADLINE: Duration = Duration::from_secs(30);

/// More than the first calls of a tier that later ones are compared with.
const CALM: usize = 600;

const AFTER: usize = 150;

fn send(gateway: &Gateway, n: usize) {
    for number in 0..n {
        assert_eq!(gateway.chat("small", &text(number % N_TEXTS)).status, 200);
    }
    // The journal is read while it is written: what was sent is on disk after the flush interval.
    std::thread::sleep(Duration::from_millis(1500));
}

#[test]
fn a_price_that_changed_is_told_and_calm_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal").to_str().unwrap().to_owned();
    let replay = Recording::small().replay(&["--instant"]);
    // Other tests share the cores, so latency does drift here: it is left out.
    let config_with = |price: &str, drift: &str| {
        let tier = tier("small", replay.url(), "")
            .replace("output_usd_per_mtok = 0.1", &format!("output_usd_per_mtok = {price}"));
        format!("[journal]\nfolder = \"{journal}\"\n[drift]\nlatency_factor = 1000.0\n{drift}{tier}")
    };
    let config = |price: &str| config_with(price, "");
    let settings = folder.path().join("drift.toml");
    let drift = |price: &str, drift: &str, more: &[&str]| {
        std::fs::write(&settings, config_with(price, drift)).unwrap();
        let settings = settings.to_str().unwrap();
        tiercast(&[&["drift", "--journal", &journal, "--config", settings][..], more].concat())
    };
    let mut gateway = Gateway::start(&config("0.1"));
    send(&gateway, CALM);
    let calm = drift("0.1", "", &[]).ok();
    assert!(calm.stdout.contains("nothing has drifted"), "{calm:?}");

    let cost = || gateway.server.route(&ask("x")).json()["decision"]["cost_usd"].clone();
    let before = cost();
    gateway.configure(&config("0.125"));
    let start = Instant::now();
    while cost() == before {
        assert!(start.elapsed() < DEADLINE, "the settings are not read anew");
        std::thread::sleep(Duration::from_millis(100));
    }
    send(&gateway, AFTER);
    let found = drift("0.125", "", &["--json"]);
    assert_eq!(found.code, Some(3), "{found:?}");
    let findings: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
    let finding = &findings[0];
    assert_eq!(
        (&finding["kind"], &finding["what"]),
        (&json!("price"), &json!("tier small")),
        "{findings}"
    );
    assert!(finding["do_this"].as_str().unwrap().contains("price"), "{finding}");

    // What counts is the server's to say: a price may be off by half here.
    let calm = drift("0.125", "price_tolerance = 0.5\n", &[]).ok();
    assert!(calm.stdout.contains("nothing has drifted"), "{calm:?}");
    drift("0.125", "price_tolerance = -1\n", &[]).refused("below none", 2, &["drift.toml", "price_tolerance"]);
    // The server has seen it too.
    assert_eq!(gateway.stats()["findings"][0]["kind"], "price");
    let metrics = gateway.server.get("/metrics").text;
    let is_told = |severity: &str| {
        let line = format!("tiercast_drift_findings{{kind=\"price\",severity=\"{severity}\"}} 1");
        metrics.lines().any(|known| known == line)
    };
    assert!(is_told("warning") || is_told("alarm"), "{metrics}");
    assert_eq!(gateway.server.end("TERM").code, Some(0));
}
