//! How often the drift monitor is mistaken, and how soon it sees what happened: Markdown tables.
//!
//! `drift_study [N_REQUESTS] [N_RUNS]`: so many calm requests per seed and rate of false alarms, and so many runs
//! per change. Traffic is made by seed; see `traffic`. In calm traffic forecasts are off by up to 0.02, sessions repeat
//! their task and load comes and goes.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints and stops at what is wrong"
)]

mod traffic;

use std::collections::BTreeMap;

use tiercast_observation::drift::{Aspect, Kind, Monitor, Settings};
use tiercast_records::features::Features;
use tiercast_records::journal::Entry;
use tiercast_records::reference::Reference;
use traffic::{CALM, Change, HIT, N_SIGNALS, Traffic};

/// Calm requests before a change; some more from run to run, so that it comes anywhere in a window.
const BEFORE: u64 = 20_000;
/// Requests after which a change counts as not seen.
const LONGEST: u64 = 200_000;
/// Seeds of calm traffic.
const SEEDS: std::ops::Range<u64> = 100..103;

fn main() {
    let arguments: Vec<u64> = std::env::args()
        .skip(1)
        .map(|argument| argument.parse().unwrap())
        .collect();
    let n_requests = arguments.first().copied().unwrap_or(1_000_000);
    let n_runs = arguments.get(1).copied().unwrap_or(40);
    let reference = reference();
    false_alarms(&reference, n_requests);
    delays(&reference, n_runs);
}

/// Of 10,000 calm prompts of another seed.
fn reference() -> Reference {
    let mut traffic = Traffic::new(1, 0.0, true);
    let served = (0..10_000)
        .flat_map(|_| traffic.next())
        .filter_map(|entry| match entry {
            Entry::Served(row) => Some((row.features.unwrap(), row.task)),
            Entry::Feedback(_) => None,
        });
    let rows: Vec<(Features, _)> = served.collect();
    let names: Vec<String> = (0..N_SIGNALS).map(|at| format!("signal {at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let reference = Reference::fit(1, &names, rows.iter().map(|(features, task)| (features, Some(&**task)))).unwrap();
    let bytes = serde_json::to_string(&reference).unwrap().len();
    println!("Reference of {} rows: {bytes} bytes of JSON.\n", reference.n_rows());
    reference
}

fn false_alarms(reference: &Reference, n_requests: u64) {
    println!(
        "| one false alarm per | seed | requests | rated | inputs | predictions | outcomes | price | latency | all | at most |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for rate in [1e6, 2e4] {
        for seed in SEEDS {
            let settings = Settings {
                requests_per_false_alarm: rate,
                ..Settings::default()
            };
            let mut monitor = Monitor::new(Some(reference.clone()), settings).unwrap();
            let mut traffic = Traffic::new(seed, 0.2, true);
            for _ in 0..n_requests {
                traffic.next().iter().for_each(|entry| monitor.take(entry));
            }
            let mut by_kind: BTreeMap<Kind, u64> = BTreeMap::new();
            for finding in monitor.findings() {
                *by_kind.entry(finding.kind).or_default() += finding.times;
            }
            let kinds = [
                Kind::Inputs,
                Kind::Predictions,
                Kind::Outcomes,
                Kind::Price,
                Kind::Latency,
            ];
            let counts = kinds.map(|kind| by_kind.get(&kind).copied().unwrap_or(0).to_string());
            println!(
                "| {rate} | {seed} | {n_requests} | {} | {} | {} | {} |",
                monitor.state().n_rated,
                counts.join(" | "),
                by_kind.values().sum::<u64>(),
                n_requests as f64 / rate
            );
        }
    }
}

fn delays(reference: &Reference, n_runs: u64) {
    println!("\n| change | rated | finding | seen | requests: median | 90 % | ratings of the tier: median | 90 % |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let row = |name, change, rated, aspects: &[Aspect]| {
        let seen: Vec<Vec<Delay>> = (0..n_runs)
            .map(|run| delay(reference, change, rated, aspects, run))
            .collect();
        for aspect in aspects {
            let found = seen.iter().flatten().filter(|delay| delay.aspect == *aspect);
            let (requests, ratings): (Vec<u64>, Vec<u64>) =
                found.map(|delay| (delay.n_requests, delay.n_rated)).unzip();
            let [median, most] = quantiles(requests.clone());
            let [median_rated, most_rated] = quantiles(ratings);
            let n_seen = requests.len();
            println!(
                "| {name} | {rated} | {aspect:?} | {n_seen} of {n_runs} | {median} | {most} | {median_rated} | {most_rated} |"
            );
        }
    };
    let new_task = Change { new_task: 0.3, ..CALM };
    let aspects = [
        Aspect::PromptsChanged,
        Aspect::UnlikeTraining,
        Aspect::TierMix,
        Aspect::PredictedQuality,
    ];
    row("30 % new task", new_task, 0.0, &aspects);
    for rated in [0.05, 0.2] {
        row(
            "tier 20 points worse",
            Change { worse: 0.2, ..CALM },
            rated,
            &[Aspect::Worse],
        );
        row(
            "tier 10 points worse",
            Change { worse: 0.1, ..CALM },
            rated,
            &[Aspect::Worse],
        );
    }
    row("price x 1.25", Change { price: 1.25, ..CALM }, 0.0, &[Aspect::Price]);
    row(
        "latency x 2",
        Change { latency: 2.0, ..CALM },
        0.0,
        &[Aspect::FirstToken, Aspect::Total],
    );
    row("replies x 1.3", Change { length: 1.3, ..CALM }, 0.0, &[Aspect::Longer]);
}

/// How long it took.
struct Delay {
    aspect: Aspect,
    n_requests: u64,
    n_rated: u64,
}

/// From a change to its findings, of those that were seen; of the outcomes those of the tier as a whole.
fn delay(reference: &Reference, change: Change, rated: f64, aspects: &[Aspect], run: u64) -> Vec<Delay> {
    let with_features = change.new_task > 0.0;
    let mut monitor = Monitor::new(with_features.then(|| reference.clone()), Settings::default()).unwrap();
    let mut traffic = Traffic::new(1_000 + run, rated, with_features);
    let n_before = BEFORE + 73 * run;
    for _ in 0..n_before {
        traffic.next().iter().for_each(|entry| monitor.take(entry));
    }
    traffic.change = change;
    let n_rated_before = n_rated(&monitor);
    let mut found: Vec<Delay> = Vec::new();
    for n_requests in 1..=LONGEST {
        traffic.next().iter().for_each(|entry| monitor.take(entry));
        for finding in monitor.findings() {
            let whose = &finding.what;
            let is_tier =
                finding.kind != Kind::Outcomes || (whose.tier.as_deref() == Some(HIT) && whose.task.is_none());
            let is_new = found.iter().all(|known| known.aspect != finding.aspect);
            if is_new && is_tier && aspects.contains(&finding.aspect) && finding.at.request > n_before {
                found.push(Delay {
                    aspect: finding.aspect,
                    n_requests,
                    n_rated: n_rated(&monitor) - n_rated_before,
                });
            }
        }
        let is_slow = with_features && n_requests > 10_000;
        if found.len() == aspects.len() || is_slow {
            break;
        }
    }
    found
}

fn n_rated(monitor: &Monitor) -> u64 {
    let tiers = monitor.state().reliability.into_iter();
    tiers
        .filter(|row| row.tier.as_deref() == Some(HIT))
        .map(|row| row.n)
        .sum()
}

/// Median and 90th percentile; zero of nothing.
fn quantiles(mut values: Vec<u64>) -> [u64; 2] {
    values.sort_unstable();
    [0.5, 0.9].map(|level| {
        let at = (level * values.len() as f64) as usize;
        values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(0)
    })
}
