use tiercast_records::journal::Role;

use crate::summary::Summary;
use crate::summary::figures::{CostBasis, Figures, Saved};
use crate::summary::fixture::{answered, call, decided};

const TIERS: [(&str, f32, f64); 2] = [("small", 0.6, 0.001), ("large", 0.9, 0.010)];

fn fold(rows: impl IntoIterator<Item = tiercast_records::journal::Served>) -> Figures {
    let mut summary = Summary::default();
    rows.into_iter().for_each(|row| summary.serve(&row));
    summary.figures()
}

fn saved(figures: &Figures) -> Saved {
    figures.cost.all.saved.unwrap()
}

fn near(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= 1e-12 + 1e-9 * expected.abs(),
        "{found}, not {expected}"
    );
}

#[test]
fn calls_of_the_best_tier_correct_its_forecasts() {
    // The large tier costs 1.5 times what was expected. 40 calls to it, 100 requests that went to the small one.
    let large = (0..40).map(|_| answered(&TIERS, vec![call("large", Role::Chosen, 0.015)]));
    let small = (0..100).map(|_| answered(&TIERS, vec![call("small", Role::Chosen, 0.002)]));
    let figures = fold(large.chain(small));
    let best = figures.cost.always_best.as_ref().unwrap();
    assert_eq!(
        (best.tier.as_str(), best.n_calls, best.basis),
        ("large", 40, CostBasis::CallsOfTheTier)
    );
    near(best.cost_ratio, 1.5);
    let saved = saved(&figures);
    assert_eq!(saved.compared_requests, 140);
    near(saved.always_best_usd, 140.0 * 0.015);
    near(saved.saved_usd, 100.0 * (0.015 - 0.002));
    // Every call cost the same multiple of its forecast, so nothing is uncertain but rounding.
    let interval = saved.saved_usd_interval.unwrap();
    assert!(interval.high - interval.low < 1e-6, "{interval:?}");
    near(saved.saved_share.unwrap(), 1.3 / 2.1);
}

#[test]
fn the_interval_is_that_of_the_formula() {
    // Real costs of 0.010 and 0.020 in turn, expected 0.010: ratio 1.5, residuals of 0.005 each.
    let large = (0..40).map(|i| {
        answered(
            &TIERS,
            vec![call("large", Role::Chosen, 0.010 + 0.010 * f64::from(i % 2))],
        )
    });
    let small = (0..100).map(|_| answered(&TIERS, vec![call("small", Role::Chosen, 0.001)]));
    let saved = saved(&fold(large.chain(small)));
    let residuals = 40.0 * 0.005_f64.powi(2);
    let ratio_variance = 40.0 / 39.0 * residuals / 0.4_f64.powi(2);
    let spread = residuals / (40.0 * 0.010_f64.powi(2));
    let variance = 1.0 * ratio_variance + spread * 100.0 * 0.010_f64.powi(2);
    let interval = saved.saved_usd_interval.unwrap();
    near(interval.high - saved.saved_usd, super::Z * variance.sqrt());
    near(saved.saved_usd - interval.low, super::Z * variance.sqrt());
}

#[test]
fn the_interval_holds_the_truth_95_times_of_100() {
    // Costs of the large tier are its forecasts times an exponential, by a fixed sequence of numbers.
    let mut state = 1_u64;
    let mut exponential = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        -(1.0 - (state >> 11) as f64 / (1_u64 << 53) as f64).ln()
    };
    let mut held = 0;
    for _ in 0..400 {
        let mut truth = 0.0;
        let rows: Vec<_> = (0..300)
            .map(|i| {
                let expected = 0.005 * (1.0 + f64::from(i % 3));
                let real = expected * exponential();
                truth += real;
                let tiers = [("small", 0.6, 0.001), ("large", 0.9, expected)];
                let by_large = call("large", Role::Chosen, real);
                answered(
                    &tiers,
                    vec![if i % 4 == 0 {
                        by_large
                    } else {
                        call("small", Role::Chosen, 0.0)
                    }],
                )
            })
            .collect();
        let saved = saved(&fold(rows));
        let always_best = saved.saved_usd_interval.unwrap().map(1.0, saved.compared_spent_usd);
        held += u32::from(always_best.low <= truth && truth <= always_best.high);
    }
    // 380 of 400 are expected, with a standard deviation of 4.4; 75 calls of a skewed cost take a little off.
    assert!((360..=394).contains(&held), "{held}");
}

#[test]
fn a_best_tier_that_is_hardly_called_has_no_interval() {
    let small = || (0..50).map(|_| answered(&TIERS, vec![call("small", Role::Chosen, 0.002)]));
    let figures = fold(small());
    assert_eq!(
        figures.cost.always_best.as_ref().unwrap().basis,
        CostBasis::CallsOfOtherTiers
    );
    near(saved(&figures).always_best_usd, 50.0 * 2.0 * 0.010);
    assert_eq!(saved(&figures).saved_usd_interval, None);

    let few = fold(small().take(5));
    assert_eq!(few.cost.always_best.as_ref().unwrap().basis, CostBasis::ForecastsAlone);
    near(saved(&few).always_best_usd, 5.0 * 0.010);
}

#[test]
fn a_cascade_pays_for_every_call() {
    let calls = vec![
        call("small", Role::Chosen, 0.001),
        call("large", Role::Escalation, 0.010),
    ];
    let figures = fold([answered(&TIERS, calls)]);
    // The large tier was called, so what it would have cost is known: the small one's call was too much.
    near(saved(&figures).always_best_usd, 0.010);
    near(saved(&figures).saved_usd, -0.001);
    let by_tier: Vec<_> = figures
        .cost
        .by_tier
        .iter()
        .map(|row| (row.name.as_str(), row.requests, row.calls))
        .collect();
    assert_eq!(by_tier, [("large", 1, Some(1)), ("small", 0, Some(1))]);
}

#[test]
fn only_answered_requests_are_compared() {
    let figures = fold([
        decided(&TIERS),
        answered(&TIERS, vec![call("small", Role::Chosen, 0.001)]),
    ]);
    assert_eq!((figures.totals.requests, saved(&figures).compared_requests), (2, 1));
    assert_eq!(fold([decided(&TIERS)]).cost.all.saved, None);
}

#[test]
fn a_tier_of_few_requests_is_not_the_best_single_one() {
    let new = [("small", 0.6, 0.001), ("large", 0.9, 0.010), ("new", 0.99, 0.02)];
    let old = (0..10).map(|_| answered(&TIERS, vec![call("small", Role::Chosen, 0.001)]));
    let figures = fold(old.chain([answered(&new, vec![call("small", Role::Chosen, 0.001)])]));
    assert_eq!(figures.cost.always_best.unwrap().tier, "large");
}
