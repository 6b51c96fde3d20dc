//! Folds generated rows and says how fast: `cargo run --release --example fold -- [ROWS] [PAGE.html]`.
//!
//! The rows have five tiers, 40 tasks and 30 cohorts; one in five is a cascade's, one in twenty has feedback. The
//! page, where a path is given, is that of the same rows.
#![expect(clippy::print_stdout, reason = "an example says what it found")]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use tiercast_observation::page::{self, FindingView, Report, Severity};
use tiercast_observation::summary::{Resolution, Summary, Trace};
use tiercast_records::journal::{Call, Expected, Label, Role, Served, Verdict};

const WEEK_MS: i64 = 7 * 86_400_000;
const FIRST_MS: i64 = 1_772_409_600_000;
/// Rows that are made before the clock runs, and folded again and again.
const N_MADE: usize = 20_000;
const TIERS: [(&str, f64, f64); 5] = [
    ("nano", 0.52, 0.0002),
    ("small", 0.66, 0.0009),
    ("code-tuned", 0.71, 0.0014),
    ("mid", 0.79, 0.0041),
    ("large", 0.86, 0.0150),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let n: usize = arguments.next().map_or(Ok(10_000_000), |n| n.parse())?;
    let mut rows = made();
    let resolutions = [Resolution::for_period(WEEK_MS), Resolution::TWO_DAYS];
    let mut summary = Summary::new(&resolutions);
    let begun = Instant::now();
    for i in 0..n {
        let (row, observed) = &mut rows[i % N_MADE];
        row.time_ms = FIRST_MS + (i as i64 * WEEK_MS) / n as i64;
        summary.add(row, *observed);
        if observed.is_some_and(|quality| quality == 0.0) {
            summary.hear(&Trace::of(row), Verdict::Underpowered);
        }
    }
    let folded = begun.elapsed();
    println!(
        "{n} rows in {:.2} s: {:.0} ns a row",
        folded.as_secs_f64(),
        folded.as_nanos() as f64 / n.max(1) as f64
    );

    let begun = Instant::now();
    let mut merged = Summary::new(&resolutions);
    (0..100).for_each(|_| merged.merge(black_box(&summary)));
    println!("merge: {:.0} us", begun.elapsed().as_micros() as f64 / 100.0);
    let begun = Instant::now();
    let figures = summary.figures();
    println!("figures: {:.0} us", begun.elapsed().as_micros() as f64);
    if let Some(path) = arguments.next() {
        let report = Report {
            title: "Routing, week of 2 March 2026 (generated rows)".to_owned(),
            rows: n as u64,
            notes: vec!["Segment 17 ends in a torn row: 1 row was left out.".to_owned()],
            findings: findings(),
            figures,
        };
        std::fs::write(path, page::html(&report))?;
    }
    Ok(())
}

fn findings() -> Vec<FindingView> {
    vec![
        FindingView {
            kind: "outcomes".to_owned(),
            severity: Severity::Alarm,
            what: "mid".to_owned(),
            says: "Answers of mid have been 9 points worse than predicted since 412 observed requests.".to_owned(),
            do_this: "Judge a sample of mid and recalibrate: tiercast calibrate.".to_owned(),
            at_ms: Some(FIRST_MS + 3 * 86_400_000),
        },
        FindingView {
            kind: "price".to_owned(),
            severity: Severity::Warning,
            what: "large".to_owned(),
            says: "Tokens of large cost 25 % more than tiercast.toml says.".to_owned(),
            do_this: "Correct the price of large in tiercast.toml.".to_owned(),
            at_ms: Some(FIRST_MS + 5 * 86_400_000),
        },
    ]
}

/// A generator of a few lines (Knuth's constants): the figures are for a clock, not for statistics.
struct Chance(u64);

impl Chance {
    fn unit(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        // The smaller ones are more frequent, as labels are.
        ((self.unit() * self.unit()) * n as f64) as usize
    }
}

fn made() -> Vec<(Served, Option<f64>)> {
    let mut chance = Chance(1);
    let labels = |name: &str, n: usize| -> Vec<Label> { (0..n).map(|i| format!("{name}-{i:02}").into()).collect() };
    let (tasks, cohorts) = (labels("task", 40), labels("team", 30));
    let tiers: Vec<Label> = TIERS.iter().map(|(name, _, _)| Label::from(*name)).collect();
    let words = [
        "chat",
        "meta",
        "cheapest_acceptable",
        "reference",
        "complete",
        "failed",
        "timeout",
    ]
    .map(Label::from);
    (0..N_MADE)
        .map(|i| {
            let (task, cohort) = (&tasks[chance.below(40)], &cohorts[chance.below(30)]);
            let row = row(i, &mut chance, task, cohort, &tiers, &words);
            let observed = (chance.unit() < 0.05).then(|| f64::from(u8::from(chance.unit() < 0.8)));
            (row, observed)
        })
        .collect()
}

fn row(i: usize, chance: &mut Chance, task: &Label, cohort: &Label, tiers: &[Label], words: &[Label; 7]) -> Served {
    let [chat, meta, reason, checkpoint, complete, failed, timeout] = words;
    let expected: Vec<Expected> = (tiers.iter().zip(TIERS))
        .map(|(tier, (_, quality, cost))| Expected {
            tier: tier.clone(),
            predicted_as: None,
            quality_mean: (quality + 0.5 * (chance.unit() - 0.6)).clamp(0.0, 1.0) as f32,
            quality_pmf: Vec::new(),
            cost_usd: cost * (0.5 + chance.unit()),
            input_tokens: 300.0,
            output_tokens: 400.0,
            latency_p95_ms: Some(4000.0),
            acceptable: quality > 0.6,
            excluded: None,
        })
        .collect();
    let mut call = |tier: usize, role: Role| Call {
        tier: tiers[tier].clone(),
        role,
        outcome: complete.clone(),
        error: None,
        input_tokens: 300.0,
        cached_tokens: 40.0,
        output_tokens: 800.0 * chance.unit(),
        is_estimated: false,
        cost_usd: expected[tier].cost_usd * (0.4 + 1.4 * chance.unit()),
        start_ms: 0.0,
        first_token_ms: Some(200.0 + 400.0 * chance.unit() as f32),
        total_ms: 1000.0 + 3000.0 * chance.unit() as f32,
        estimate: None,
    };
    let calls = match i % 20 {
        0..=2 => vec![Call {
            estimate: Some(0.8),
            ..call(1, Role::Chosen)
        }],
        3 => vec![
            Call {
                estimate: Some(0.3),
                ..call(1, Role::Chosen)
            },
            call(4, Role::Escalation),
        ],
        4 => {
            let lost = Call {
                outcome: failed.clone(),
                error: Some(timeout.clone()),
                cost_usd: 0.0,
                start_ms: 0.0,
                first_token_ms: None,
                ..call(3, Role::Chosen)
            };
            vec![lost, call(4, Role::Fallback)]
        }
        5..=7 => vec![call(4, Role::Chosen)],
        n => vec![call(n % 4, Role::Chosen)],
    };
    Served {
        id: format!("{i:016x}"),
        time_ms: FIRST_MS,
        endpoint: chat.clone(),
        session: None,
        cohort: cohort.clone(),
        task: task.clone(),
        task_is_told: false,
        policy: meta.clone(),
        reason: reason.clone(),
        rule: None,
        checkpoint: checkpoint.clone(),
        feature_version: 3,
        target: Some(0.75),
        propensity: if i.is_multiple_of(50) { 0.05 } else { 0.95 },
        chosen: tiers.iter().position(|tier| *tier == calls[0].tier).unwrap_or(0),
        tiers: expected,
        evidence: true,
        overhead_ms: 1.0 + chance.unit() as f32,
        answered_by: Some(calls.len() - 1),
        calls,
        prompt_hash: String::new(),
        features: None,
        prompt: None,
        reply: None,
        trace: None,
    }
}
