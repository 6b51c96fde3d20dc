//! Rows for tests, and what a reader finds of them.

use std::ops::ControlFlow;
use std::path::Path;

use tiercast_records::journal::{About, Call, Entry, Expected, Feedback, Parts, Role, Served, Verdict};

use crate::{Journal, Problem, Range, Reader, Settings};

pub(super) fn served(i: usize) -> Served {
    Served {
        id: format!("dec_{i}"),
        time_ms: 1_000 + i as i64,
        endpoint: "chat".into(),
        session: i.is_multiple_of(2).then(|| format!("session-{}", i % 10)),
        cohort: format!("cohort-{}", i % 3).into(),
        task: "code".into(),
        task_is_told: false,
        policy: "meta".into(),
        reason: "cheapest_acceptable".into(),
        rule: None,
        checkpoint: "reference".into(),
        feature_version: 3,
        target: Some(0.75),
        propensity: 1.0,
        chosen: 0,
        tiers: vec![Expected {
            tier: "small".into(),
            predicted_as: None,
            quality_mean: 0.5,
            quality_pmf: vec![0.5, 0.5],
            cost_usd: 0.25,
            input_tokens: 10.0,
            output_tokens: 20.0,
            latency_p95_ms: None,
            acceptable: true,
            excluded: None,
        }],
        evidence: true,
        overhead_ms: 0.5,
        calls: vec![Call {
            tier: "small".into(),
            role: Role::Chosen,
            outcome: "complete".into(),
            error: None,
            input_tokens: 10.0,
            cached_tokens: 0.0,
            output_tokens: 21.0,
            is_estimated: false,
            cost_usd: 0.5,
            start_ms: 0.0,
            first_token_ms: Some(2.5),
            total_ms: 8.0,
            estimate: None,
        }],
        answered_by: Some(0),
        prompt_hash: format!("{i:032x}"),
        features: None,
        prompt: Some(format!("What is {i}?")),
        trace: None,
        reply: None,
    }
}

pub(super) fn word(about: About, source: &str, score: f64) -> Feedback {
    Feedback {
        time_ms: 5_000,
        about,
        source: source.into(),
        score: Some(score),
        verdict: Some(Verdict::GoodFit),
        comment: None,
        sampled: None,
    }
}

pub(super) fn of_decision(i: usize) -> About {
    About::Decision(format!("dec_{i}"))
}

pub(super) fn of_session(name: &str) -> About {
    About::Session(name.to_owned())
}

/// Records rows `which`, and waits until they are stored.
pub(super) fn record(journal: &Journal, which: impl IntoIterator<Item = usize>) {
    which
        .into_iter()
        .for_each(|i| journal.record(Entry::Served(Box::new(served(i)))));
    journal.flush().unwrap();
}

/// A journal that closes rows only when it is told to.
pub(super) fn patient(folder: &Path) -> Settings {
    Settings {
        flush_ms: 20,
        rotate_rows: 1_000_000,
        ..Settings::new(folder)
    }
}

/// All rows that are found, and what could not be read.
pub(super) fn read(folder: &Path) -> (Vec<Served>, Vec<Problem>) {
    read_parts(Reader::open(folder).unwrap().scan(Range::ALL, Parts::ALL).unwrap())
}

pub(super) fn read_parts(parts: Vec<crate::Part>) -> (Vec<Served>, Vec<Problem>) {
    let mut rows = Vec::new();
    let mut problems = Vec::new();
    for part in parts {
        problems.extend(part.read(&mut |row| {
            rows.push(row);
            ControlFlow::Continue(())
        }));
    }
    (rows, problems)
}

/// Numbers of the rows, in order.
pub(super) fn numbers(rows: &[Served]) -> Vec<usize> {
    let mut numbers: Vec<usize> = rows
        .iter()
        .map(|row| row.id.trim_start_matches("dec_").parse().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// The rows are those of `which`, each once, and everything was readable.
#[track_caller]
pub(super) fn check_holds(folder: &Path, which: impl IntoIterator<Item = usize>) {
    let (rows, problems) = read(folder);
    assert_eq!(problems, []);
    assert_eq!(numbers(&rows), which.into_iter().collect::<Vec<_>>());
}
