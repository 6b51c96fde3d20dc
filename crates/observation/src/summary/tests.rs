use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;
use tiercast_records::journal::{Path, Role, Served, Verdict};

use super::figures::{Figures, QualityFigures};
use super::fixture::{answered, call, decided, failed, read};
use super::{Heard, Resolution, Summary, Trace};

const TIERS: [(&str, f32, f64); 3] = [("small", 0.6, 0.001), ("mid", 0.8, 0.004), ("large", 0.9, 0.010)];

fn fold<'a>(rows: impl IntoIterator<Item = &'a (Served, Option<f64>)>) -> Summary {
    let mut summary = Summary::new(&[Resolution::HOUR]);
    rows.into_iter().for_each(|(row, observed)| summary.add(row, *observed));
    summary
}

fn json(figures: &Figures) -> Value {
    serde_json::to_value(figures).unwrap()
}

/// The same shape, the same words and counts, and numbers that differ by rounding at most.
fn assert_alike(a: &Value, b: &Value, at: &str) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            assert_eq!(a.len(), b.len(), "{at}");
            a.iter()
                .for_each(|(key, value)| assert_alike(value, &b[key], &format!("{at}.{key}")));
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{at}");
            a.iter()
                .zip(b)
                .enumerate()
                .for_each(|(i, (a, b))| assert_alike(a, b, &format!("{at}[{i}]")));
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{at}: {a} and {b}");
        }
        _ => assert_eq!(a, b, "{at}"),
    }
}

/// Rows of all kinds: any path, task, cohort, cost, catalog order, time within the hour.
fn rows() -> impl Strategy<Value = Vec<(Served, Option<f64>)>> {
    let row = (
        0..6_u8,
        0..3_u8,
        0..4_u8,
        0.0..0.02_f64,
        0.0..1.0_f32,
        0..3_000_000_i64,
        any::<bool>(),
    );
    let observed = prop_oneof![
        Just(None),
        Just(Some(0.0)),
        Just(Some(1.0)),
        (0.0..1.0_f64).prop_map(Some)
    ];
    let made = (row, observed).prop_map(|((kind, task, cohort, cost, estimate, time, is_turned), observed)| {
        let mut tiers = TIERS.map(|(name, quality, expected)| (name, quality, expected * (1.0 + f64::from(task))));
        if is_turned {
            tiers.reverse();
        }
        let chosen = |name| call(name, Role::Chosen, cost);
        let mut row = match kind {
            0 => decided(&tiers),
            1 => answered(&tiers, vec![chosen("large")]),
            2 => answered(
                &tiers,
                vec![
                    failed("mid", Role::Chosen, "timeout"),
                    call("large", Role::Fallback, cost),
                ],
            ),
            3 => answered(
                &tiers,
                vec![
                    read("small", Role::Chosen, cost, estimate),
                    call("mid", Role::Escalation, 2.0 * cost),
                ],
            ),
            4 => answered(&tiers, vec![read("small", Role::Chosen, cost, estimate)]),
            _ => answered(&tiers, vec![chosen("not in the catalog")]),
        };
        row.task = format!("task {task}").into();
        row.cohort = format!("cohort {cohort}").into();
        row.time_ms += time;
        row.propensity = if is_turned { 0.25 } else { 1.0 };
        (row, observed)
    });
    prop::collection::vec(made, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_makes_the_same_whole(rows in rows(), cut in 0.0..1.0_f64, other_cut in 0.0..1.0_f64) {
        let n = rows.len() as f64;
        let (first, second) = ((cut.min(other_cut) * n) as usize, (cut.max(other_cut) * n) as usize);
        let whole = json(&fold(&rows).figures());
        let parts = [&rows[..first], &rows[first..second], &rows[second..]].map(fold);

        let mut left = parts[0].clone();
        left.merge(&parts[1]);
        left.merge(&parts[2]);
        assert_alike(&json(&left.figures()), &whole, "left");

        let mut right = parts[1].clone();
        right.merge(&parts[2]);
        right.merge(&parts[0]);
        assert_alike(&json(&right.figures()), &whole, "turned");

        let mut with_nothing = Summary::new(&[Resolution::HOUR]);
        with_nothing.merge(&fold(&rows));
        with_nothing.merge(&Summary::default());
        assert_alike(&json(&with_nothing.figures()), &whole, "nothing");
    }

    #[test]
    fn no_figure_of_a_row_makes_another_unreadable(
        cost in any::<f64>(), expected in any::<f64>(), quality in any::<f32>(), observed in any::<f64>(),
        propensity in any::<f64>(), ms in any::<f32>(), time in any::<i64>(), chosen in any::<usize>(),
    ) {
        let mut row = answered(&[("small", quality, expected)], vec![read("small", Role::Chosen, cost, quality)]);
        (row.propensity, row.overhead_ms, row.time_ms, row.chosen, row.target) = (propensity, ms, time, chosen, Some(quality));
        (row.calls[0].input_tokens, row.calls[0].total_ms) = (cost, ms);
        row.answered_by = Some(chosen % 2);
        let summary = fold(&[(row, Some(observed))]);
        prop_assert!(is_finite(&summary.figures()));
    }
}

/// JSON would hide what is not finite as null; the debug form does not.
fn is_finite(figures: &Figures) -> bool {
    let text = format!("{figures:?}");
    !text.contains("NaN") && !text.contains("inf")
}

#[test]
fn nothing_gives_figures_without_numbers_that_are_none() {
    let figures = Summary::new(&[Resolution::TWO_DAYS]).figures();
    assert!(is_finite(&figures));
    assert_eq!(figures.totals.requests, 0);
    assert_eq!(
        (figures.cost.always_best, figures.quality.all.observed_interval),
        (None, None)
    );
    assert!(figures.timelines[0].points.is_empty());
}

fn named<'a>(rows: &'a [QualityFigures], name: &str) -> &'a QualityFigures {
    rows.iter().find(|row| row.name == name).unwrap()
}

#[test]
fn what_judges_and_users_said_is_told_apart_in_parts_that_are_merged() {
    let judge = |rate, judged| Heard {
        quality: judged,
        by_users: false,
        judged: Some(judged),
        rate: Some(rate),
    };
    let both = Heard {
        quality: 0.5,
        by_users: true,
        judged: Some(1.0),
        rate: Some(0.5),
    };
    let row = answered(&TIERS, vec![call("small", Role::Chosen, 0.001)]);
    let part = |heard: &[Heard]| {
        let mut summary = Summary::default();
        for heard in heard {
            summary.serve(&row);
            summary.observe(&Trace::of(&row), *heard);
        }
        summary
    };
    let mut whole = part(&[judge(0.05, 0.0), Heard::by_users(0.0)]);
    whole.merge(&part(&[both]));
    let quality = whole.figures().quality;
    for of in [
        &quality.all,
        named(&quality.by_path, "direct"),
        named(&quality.by_tier, "small"),
    ] {
        assert_eq!((of.n_observed, of.n_by_users, of.n_judged), (3, 2, 2), "{of:?}");
        assert_eq!(of.judged, Some(0.5));
        assert!((of.observed.unwrap() - 0.5 / 3.0).abs() < 1e-9, "{of:?}");
        assert!(of.judged_interval.is_some());
    }
    assert_eq!(quality.judged_at_rates, Some([0.05, 0.5]));
    assert_eq!(Summary::default().figures().quality.judged_at_rates, None);
}

#[test]
fn every_path_has_its_own_quality() {
    let chosen = |tier| vec![call(tier, Role::Chosen, 0.001)];
    let escalated = vec![
        read("small", Role::Chosen, 0.001, 0.2),
        call("large", Role::Escalation, 0.01),
    ];
    let fallen_back = vec![
        failed("mid", Role::Chosen, "timeout"),
        call("large", Role::Fallback, 0.01),
    ];
    let mut nobody = answered(&TIERS, vec![failed("mid", Role::Chosen, "rate_limited")]);
    nobody.answered_by = None;
    let summary = fold(&[
        (answered(&TIERS, chosen("small")), Some(1.0)),
        (answered(&TIERS, chosen("small")), Some(0.0)),
        (answered(&TIERS, escalated), Some(1.0)),
        (answered(&TIERS, fallen_back), None),
        (nobody, Some(0.0)),
    ]);
    let figures = summary.figures();
    let by_path = &figures.quality.by_path;
    let at = |name| {
        let row = named(by_path, name);
        (row.requests, row.n_observed, row.observed)
    };
    assert_eq!(at("direct"), (2, 2, Some(0.5)));
    assert_eq!(at("escalated"), (1, 1, Some(1.0)));
    assert_eq!(at("fallback"), (1, 0, None));
    assert_eq!(at("unanswered"), (1, 1, Some(0.0)));
    assert!((named(by_path, "direct").predicted.unwrap() - 0.6).abs() < 1e-6);
    assert!((named(by_path, "escalated").difference.unwrap() - 0.1).abs() < 1e-6);
    assert_eq!((figures.totals.answered, figures.totals.failed), (4, 1));

    assert_eq!(figures.escalations.rate, Some(0.25));
    let stage = &figures.escalations.stages[0];
    assert_eq!(
        (
            stage.tier.as_str(),
            stage.answers_read,
            stage.escalated,
            stage.unused_usd
        ),
        ("small", 1, 1, 0.001)
    );
    let moves: Vec<_> = figures
        .escalations
        .moves
        .iter()
        .map(|row| (row.from.as_str(), row.to.as_str(), row.calls))
        .collect();
    assert_eq!(moves, [("small", "large", 1)]);
    let fallback = &figures.failures.fallbacks[0];
    assert_eq!(
        (fallback.from.as_str(), fallback.to.as_str(), fallback.error.as_str()),
        ("mid", "large", "timeout")
    );
    let errors: Vec<_> = figures
        .failures
        .by_tier
        .iter()
        .map(|row| (row.error.as_str(), row.calls))
        .collect();
    assert_eq!(errors, [("rate_limited", 1), ("timeout", 1)]);
}

#[test]
fn an_answer_that_was_fallen_back_to_was_not_let_out() {
    let calls = vec![
        read("small", Role::Chosen, 0.001, 0.2),
        failed("large", Role::Escalation, "timeout"),
    ];
    let mut row = answered(&TIERS, calls);
    row.answered_by = Some(0);
    let stage = fold(&[(row, Some(0.0))]).figures().escalations.stages.remove(0);
    assert_eq!(
        (stage.answers_read, stage.escalated, stage.n_observed, stage.unused_usd),
        (1, 1, 0, 0.0)
    );
}

#[test]
fn feedback_that_comes_later_is_the_same_feedback() {
    let row = answered(&TIERS, vec![read("small", Role::Chosen, 0.001, 0.8)]);
    let (mut at_once, mut later) = (Summary::default(), Summary::default());
    at_once.add(&row, Some(0.75));
    later.serve(&row);
    later.observe(&Trace::of(&row), Heard::by_users(0.75));
    assert_eq!(at_once.figures(), later.figures());
    later.hear(&Trace::of(&row), Verdict::Overprovisioned);
    let figures = later.figures().quality;
    assert_eq!(figures.all.verdicts.overprovisioned, 1);
    for rows in [&figures.by_tier, &figures.by_task, &figures.by_cohort, &figures.by_path] {
        assert_eq!(rows.iter().map(|row| row.verdicts.total()).sum::<u64>(), 1);
    }
}

#[test]
fn propensities_make_up_for_the_choice_of_the_tier() {
    // Half of the requests are easy (quality 1) and sent to small for sure or by chance; the hard ones (quality 0) go there
    // one time in ten.
    let mut rows = Vec::new();
    for i in 0..1000 {
        let mut row = answered(&TIERS, vec![call("small", Role::Chosen, 0.001)]);
        let is_hard = i % 10 == 0;
        row.propensity = if is_hard { 0.1 } else { 0.9 };
        rows.push((row, Some(f64::from(u8::from(!is_hard)))));
    }
    let figures = fold(&rows).figures().quality;
    let weighted = &figures.weighted_by_tier[0];
    // Weights 900 / 0.9 = 1000 of quality 1, 100 / 0.1 = 1000 of quality 0.
    assert!(
        (weighted.observed - 0.5).abs() < 1e-9 && (figures.all.observed.unwrap() - 0.9).abs() < 1e-9,
        "{weighted:?}"
    );
    assert!(weighted.effective_n < 400.0 && weighted.n_by_chance == 1000);
}

#[test]
fn a_million_labels_leave_the_frequent_ones_and_little_else() {
    let mut summary = Summary::default();
    let mut row = answered(&TIERS, vec![call("small", Role::Chosen, 0.001)]);
    let label_of = |i: u32| {
        if i.is_multiple_of(10) {
            "team".to_owned()
        } else {
            format!("hostile-{i}-{}", "x".repeat(200))
        }
    };
    for i in 0..1_000_000_u32 {
        row.cohort = label_of(i).into();
        row.task = row.cohort.clone();
        summary.add(&row, i.is_multiple_of(100).then_some(1.0));
    }
    let figures = summary.figures();
    assert_eq!((figures.cost.by_cohort.len(), figures.cost.by_task.len()), (101, 201));
    let team = figures.cost.by_cohort.iter().find(|row| row.name == "team").unwrap();
    assert!(team.requests + team.missed_at_most >= 100_000, "{team:?}");
    assert!(team.requests >= 99_000, "{team:?}");
    for rows in [&figures.cost.by_cohort, &figures.cost.by_task] {
        assert_eq!(rows.iter().map(|row| row.requests).sum::<u64>(), 1_000_000);
        assert_eq!(rows.iter().filter(|row| row.is_rest).count(), 1);
        assert!(rows.iter().all(|row| row.name.len() <= 80));
    }
    let observed: u64 = figures.quality.by_cohort.iter().map(|row| row.n_observed).sum();
    assert_eq!(observed, 10_000);
    assert!(serde_json::to_string(&figures).unwrap().len() < 1_000_000);
}

#[test]
fn more_tiers_than_have_room_are_counted_together() {
    let mut summary = Summary::default();
    for i in 0..100 {
        let name = format!("tier {i:03}");
        summary.serve(&answered(
            &[(&name, 0.5, 0.001)],
            vec![call(&name, Role::Chosen, 0.001)],
        ));
    }
    let by_tier = summary.figures().cost.by_tier;
    let rest = by_tier.last().unwrap();
    assert_eq!(
        (by_tier.len(), rest.is_rest, rest.calls, rest.requests),
        (65, true, Some(36), 36)
    );
}

#[test]
fn requests_are_told_apart_by_what_became_of_them() {
    let mut route = decided(&TIERS);
    (route.endpoint, route.evidence) = (Arc::from("route"), false);
    let mut refused = decided(&TIERS);
    refused.tiers[2].excluded = Some("budget".into());
    let mut lost = answered(&TIERS, vec![failed("small", Role::Chosen, "timeout")]);
    lost.answered_by = None;
    let rows = [
        route,
        refused,
        lost,
        answered(&TIERS, vec![call("small", Role::Chosen, 0.5)]),
    ];
    let figures = fold(&rows.map(|row| (row, None))).figures();
    let totals = &figures.totals;
    assert_eq!(
        (
            totals.requests,
            totals.decided_only,
            totals.refused,
            totals.failed,
            totals.answered
        ),
        (4, 1, 1, 1, 1)
    );
    assert_eq!(
        (totals.insufficient_evidence, totals.calls, totals.spent_usd),
        (1, 2, 0.5)
    );
    let excluded = &figures.failures.exclusions[0];
    assert_eq!(
        (excluded.tier.as_str(), excluded.why.as_str(), excluded.requests),
        ("large", "budget", 1)
    );
    assert_eq!(Trace::of(&decided(&TIERS)).path, Path::Unanswered);
}
