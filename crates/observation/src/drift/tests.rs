//! What happens to traffic is told, by name, and nothing else is.

use tiercast_records::journal::{About, Feedback, Label, Served, Verdict};

use super::*;

#[path = "../../examples/drift_study/traffic.rs"]
mod traffic;

use traffic::{CALM, Change, HIT, Traffic};

/// Findings after so many calm requests and so many changed ones, a fifth of them rated.
fn findings(n_calm: u32, change: Change, n_changed: u32) -> Vec<Finding> {
    let mut monitor = Monitor::new(None, Settings::default()).unwrap();
    let mut traffic = Traffic::new(3, 0.2, change.new_task > 0.0);
    for (change, n) in [(CALM, n_calm), (change, n_changed)] {
        traffic.change = change;
        for _ in 0..n {
            traffic.next().iter().for_each(|entry| monitor.take(entry));
        }
    }
    monitor.findings()
}

fn aspects(findings: &[Finding]) -> Vec<Aspect> {
    let mut aspects: Vec<Aspect> = findings.iter().map(|finding| finding.aspect).collect();
    aspects.sort();
    aspects.dedup();
    aspects
}

#[test]
fn calm_traffic_is_told_nothing_of() {
    assert_eq!(findings(60_000, CALM, 0), []);
}

#[test]
fn a_new_task_is_named() {
    let found = findings(5_000, Change { new_task: 0.3, ..CALM }, 3_000);
    let prompts = found
        .iter()
        .find(|finding| finding.aspect == Aspect::PromptsChanged)
        .unwrap();
    assert_eq!(prompts.what.task.as_deref(), Some("task 6"));
    assert!(prompts.says.contains("task `task 6` has"), "{}", prompts.says);
    assert!(prompts.do_this.contains("tiercast collect"));
    assert!((4_200..6_500).contains(&prompts.since.request), "{:?}", prompts.since);
    assert!(
        aspects(&found)
            .iter()
            .all(|aspect| [Kind::Inputs, Kind::Predictions].contains(&aspect.kind()))
    );
}

#[test]
fn a_tier_that_became_worse_is_named() {
    let found = findings(5_000, Change { worse: 0.2, ..CALM }, 10_000);
    assert_eq!(aspects(&found), [Aspect::Worse]);
    let of_tier = |finding: &&Finding| finding.what.tier.as_deref() == Some(HIT) && finding.what.task.is_none();
    let worse = found.iter().find(of_tier).unwrap();
    assert!(worse.since.request.abs_diff(5_200) < 1_000, "{worse:?}");
    assert!((worse.figure.value + 0.2).abs() < 0.15, "{worse:?}");
    assert_eq!((worse.severity, worse.kind), (Severity::Alarm, Kind::Outcomes));
    assert!(
        found
            .iter()
            .all(|finding| finding.what.tier.as_deref().is_none_or(|tier| tier == HIT))
    );
}

#[test]
fn price_latency_and_length_are_told_apart() {
    let check = |change: Change, expected: &[Aspect]| {
        let found = findings(5_000, change, 5_000);
        assert_eq!(aspects(&found), expected);
        assert!(found.iter().all(|finding| finding.what.tier.as_deref() == Some(HIT)));
    };
    check(Change { price: 1.25, ..CALM }, &[Aspect::Price]);
    check(Change { price: 0.5, ..CALM }, &[Aspect::Price]);
    check(Change { latency: 2.0, ..CALM }, &[Aspect::FirstToken, Aspect::Total]);
    check(Change { length: 1.4, ..CALM }, &[Aspect::Longer]);
    check(Change { length: 0.7, ..CALM }, &[Aspect::Shorter]);
}

#[test]
fn a_reference_of_other_prompts_is_a_note_once() {
    let mut traffic = Traffic::new(5, 0.0, true);
    let trained: Vec<_> = (0..2_000).map(|at| traffic.features(at % 2)).collect();
    let names: Vec<String> = (0..traffic::N_SIGNALS).map(|at| format!("s{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let rows = trained.iter().zip(["task 0", "task 1"].into_iter().cycle());
    let reference = Reference::fit(1, &names, rows.map(|(row, task)| (row, Some(task)))).unwrap();
    let entries: Vec<Entry> = (0..4_000).flat_map(|_| traffic.next()).collect();
    let monitor = watch(Some(reference), Settings::default(), entries).unwrap();
    let found = monitor.findings();
    assert_eq!(aspects(&found), [Aspect::UnlikeTraining]);
    assert_eq!((found.len(), found[0].severity), (1, Severity::Note));
    assert!(
        found[0].times >= 4 && found[0].what.signals.len() == 3,
        "{:?}",
        found[0]
    );
    assert!(monitor.state().has_baseline);
}

/// The clock and the labels of rows changed, or whatever else.
fn with_rows(n: u32, change: impl Fn(u32, &mut Served)) -> Monitor {
    let mut monitor = Monitor::new(None, Settings::default()).unwrap();
    let mut traffic = Traffic::new(9, 0.2, true);
    for at in 0..n {
        for mut entry in traffic.next() {
            if let Entry::Served(row) = &mut entry {
                change(at, row);
            }
            monitor.take(&entry);
        }
    }
    monitor
}

#[test]
fn a_clock_that_jumps_changes_nothing_but_times() {
    let found = with_rows(5_000, |at, row| {
        row.time_ms = if at.is_multiple_of(2) { i64::MIN } else { i64::MAX }
    });
    assert_eq!(found.findings(), []);
    assert_eq!(found.state(), with_rows(5_000, |_, _| {}).state());
}

#[test]
fn hostile_labels_are_bounded() {
    let monitor = with_rows(5_000, |at, row| {
        let odd: Label = format!("x{at}").into();
        row.cohort = odd.clone();
        row.task = odd.clone();
        row.calls[0].tier = odd.clone();
        row.tiers[row.chosen].tier = odd.clone();
        row.checkpoint = odd.clone();
        row.session = Some(odd.to_string());
    });
    assert!(
        monitor.state().reliability.len() <= 34,
        "{}",
        monitor.state().reliability.len()
    );
    assert!(monitor.findings().len() < 100);
}

#[test]
fn figures_that_are_none_are_left_out() {
    let monitor = with_rows(6_000, |at, row| {
        let odd = [f32::NAN, f32::INFINITY, -1.0][at as usize % 3];
        if at.is_multiple_of(7) {
            row.tiers.iter_mut().for_each(|tier| tier.quality_mean = odd);
            row.tiers.iter_mut().for_each(|tier| tier.output_tokens = odd);
            row.calls[0].cost_usd = f64::from(odd);
            row.calls[0].total_ms = odd;
            row.calls[0].first_token_ms = Some(odd);
            row.chosen = 99;
        }
        if at.is_multiple_of(11) {
            row.features.iter_mut().for_each(|features| features.surface.clear());
            row.calls.clear();
        }
    });
    let json = serde_json::to_string(&(monitor.findings(), monitor.state())).unwrap();
    assert!(
        !json.contains("\"value\":null") && monitor.state().n_rated > 500,
        "{json}"
    );
    let reliability = &monitor.state().reliability[0];
    assert!(
        (reliability.observed - reliability.predicted).abs() < 0.1,
        "{reliability:?}"
    );
}

#[test]
fn a_new_checkpoint_is_no_drift() {
    let monitor = with_rows(10_000, |at, row| {
        if at > 5_000 {
            row.checkpoint = "c2".into();
            row.tiers.iter_mut().for_each(|tier| tier.quality_mean *= 0.99);
            row.tiers.iter_mut().for_each(|tier| tier.output_tokens *= 2.0);
            row.chosen = 0;
        }
    });
    assert_eq!(monitor.findings(), []);
}

fn said(id: &str, source: &str) -> Entry {
    Entry::Feedback(Feedback {
        time_ms: 0,
        about: About::Decision(id.to_owned()),
        source: source.into(),
        score: None,
        verdict: Some(Verdict::GoodFit),
        comment: None,
        sampled: None,
    })
}

fn served(seed: u64) -> Served {
    match Traffic::new(seed, 0.0, false).next().pop() {
        Some(Entry::Served(row)) => *row,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_is_rated_once_by_those_who_count() {
    let settings = Settings {
        sources: vec!["judge".to_owned()],
        remembered: 2,
        ..Settings::default()
    };
    let mut monitor = Monitor::new(None, settings).unwrap();
    for id in ["a", "b", "c"] {
        let row = Served {
            id: id.to_owned(),
            ..served(1)
        };
        monitor.take(&Entry::Served(Box::new(row)));
    }
    let mut n_rated = |id, source| {
        monitor.take(&said(id, source));
        monitor.state().n_rated
    };
    assert_eq!(n_rated("c", "client"), 0);
    assert_eq!(n_rated("c", "judge"), 1);
    assert_eq!(n_rated("c", "judge"), 1);
    // Forgotten, and never seen.
    assert_eq!(n_rated("a", "judge"), 1);
    assert_eq!(n_rated("z", "judge"), 1);
    assert_eq!(n_rated("b", "judge"), 2);
}

#[test]
fn what_an_outcome_is_compared_with() {
    let predicted = |change: fn(&mut Served)| {
        let mut row = served(1);
        row.tiers.iter_mut().for_each(|tier| tier.quality_mean = 0.5);
        change(&mut row);
        Rated::of(&row).map(|rated| rated.predicted)
    };
    assert_eq!(predicted(|_| {}), Some(0.5));
    assert_eq!(predicted(|row| row.answered_by = None), None);
    assert_eq!(predicted(|row| row.calls[0].estimate = Some(0.75)), Some(0.75));
    assert_eq!(
        predicted(|row| row.calls[0].role = tiercast_records::journal::Role::Escalation),
        None
    );
    let route = |row: &mut Served| {
        row.endpoint = "route".into();
        (row.answered_by, row.calls) = (None, Vec::new());
    };
    assert_eq!(predicted(route), Some(0.5));
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let check = |change: fn(&mut Settings), expected: &str| {
        let mut settings = Settings::default();
        change(&mut settings);
        let error = Monitor::new(None, settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(|settings| settings.window = 0, "drift setting `window` is 0: say 100");
    check(
        |settings| settings.requests_per_false_alarm = f64::NAN,
        "requests_per_false_alarm",
    );
    check(|settings| settings.latency_factor = 1.0, "say a factor above 1");
    check(|settings| settings.mix = 1.5, "say a share");
    check(|settings| settings.quality_margin = -0.1, "quality_margin");
    check(|settings| settings.labels = 0, "labels");
}
