//! What is unlike anything trained on: a decision comes out, with doubt, in bounded time.

use std::time::Instant;

use serde_json::Value;
use tiercast_records::outcomes;

use crate::fixture::{Fixture, rows};
use crate::http::{Server, ask};
use crate::run::{checkout, tiercast};

#[test]
fn odd_asks_go_to_the_safe_tier() {
    let checkpoint = checkout().join("checkpoints/reference");
    let server = Server::start(checkpoint.to_str().unwrap());
    let dearest = "gemini-1.5-pro-002";
    for text in [
        "",
        " \n\t ",
        "😀😀🎉🔥🍕🚀",
        "ข้อใดต่อไปนี้ถูกต้องเกี่ยวกับการสังเคราะห์แสง",
        "\u{1}\u{2}\u{7f}\u{fffd}\u{fffd}\u{1b}",
    ] {
        let answer = server.route(&ask(text)).json();
        let decision = &answer["decision"];
        assert_eq!(decision["reason"], "insufficient_evidence", "{text:?}: {answer}");
        assert_eq!(decision["tier"], dearest, "{text:?}");
        assert_eq!(answer["evidence"]["sufficient"], false, "{text:?}");
    }
    let known = server
        .route(&ask("Solve the differential equation y'' + y = 0."))
        .json();
    assert_eq!(known["evidence"]["sufficient"], true);
    assert_ne!(known["decision"]["reason"], "insufficient_evidence");
}

#[test]
fn a_hundred_thousand_tokens_take_bounded_time() {
    let checkpoint = checkout().join("checkpoints/reference");
    let server = Server::start(checkpoint.to_str().unwrap());
    let start = Instant::now();
    let answer = server.route(&ask(&"integral of the staircase ".repeat(25_000))).json();
    assert!(start.elapsed().as_secs() < 20, "took {:?}", start.elapsed());
    let evidence = &answer["evidence"];
    assert!((0.0..=1.0).contains(&evidence["doubt"].as_f64().unwrap()), "{evidence}");
}

/// Outcomes changed by `change`; training on them still makes a checkpoint that decides.
fn trains_on(change: impl FnOnce(&mut outcomes::Outcomes)) -> Value {
    let data = Fixture::new();
    let mut changed = rows();
    change(&mut changed);
    outcomes::write(&data.path("outcomes.parquet"), &changed).unwrap();
    let run = data.train("checkpoint", &[]).ok();
    let decided = tiercast(&["route", "--json", "--checkpoint", &data.at("checkpoint"), "Prove it."]).ok();
    let mut answer: Value = serde_json::from_str(&decided.stdout).unwrap();
    answer["said"] = Value::String(run.stderr);
    answer
}

#[test]
fn a_tier_with_three_outcomes_is_predicted_by_its_prior_and_said_so() {
    let answer = trains_on(|rows| {
        let mut seen = 0;
        rows.outcomes.retain(|outcome| {
            let is_kept = outcome.model != 1 || seen < 3;
            seen += usize::from(outcome.model == 1);
            is_kept
        });
    });
    let said = answer["said"].as_str().unwrap();
    assert!(said.contains("medium") && said.contains("prior"), "{said}");
}

#[test]
fn equal_scores_and_a_single_domain_are_no_obstacle() {
    let answer = trains_on(|rows| rows.outcomes.iter_mut().for_each(|outcome| outcome.score = 1.0));
    for tier in answer["tiers"].as_array().unwrap() {
        assert!(tier["quality_mean"].as_f64().unwrap() > 0.9, "{tier}");
    }
    trains_on(|rows| {
        for prompt in &mut rows.prompts {
            (prompt.subset, prompt.domain) = ("one".to_owned(), "one".to_owned());
        }
    });
}
