//! A method at one setting: quality, cost, shares, and the figures of other benchmarks.

use tiercast_statistics::summary::{entropy_bits, mean};

use crate::interval::{dot, ratio};
use crate::report::OperatingPoint;
use crate::study::{Study, Table};
use crate::sweep::Setting;

/// Quality from which an answer counts as right, where a figure needs right and wrong.
pub(crate) const RIGHT: f64 = 0.5;

/// All figures of one setting. `credit` replaces the recorded quality (noise-corrected oracle).
pub(crate) fn operating_point(
    study: &Study<'_>,
    name: &str,
    setting: &Setting,
    credit: Option<&Table>,
) -> OperatingPoint {
    let sums = study.sums(&setting.choices, credit);
    let best = &study.singles[study.references.best_single];
    let run = |statistic: &(dyn Fn(&[f64]) -> f64 + Sync)| study.replicates.estimate(statistic);
    let quality = run(&|w| dot(w, &sums.quality) / dot(w, &study.group_sizes));
    let cost_usd = run(&|w| dot(w, &sums.cost) / dot(w, &study.group_sizes));
    let shares = shares(study, &setting.choices);
    let optimality = optimality(study, &setting.choices);
    let averages = MacroAverages::of(study, &setting.choices, credit);
    let pool_best = study.items.quality.tier_means().into_iter().fold(f64::MIN, f64::max);
    OperatingPoint {
        name: name.to_owned(),
        floor: setting.floor,
        lambda_per_usd: setting.lambda_per_usd,
        relative_quality: run(&|w| ratio(dot(w, &sums.quality), dot(w, &best.quality))),
        relative_cost: run(&|w| ratio(dot(w, &sums.cost), dot(w, &best.cost))),
        selection_entropy_bits: entropy_bits(&shares),
        tier_shares: shares,
        arena_score: arena_score(quality.value, cost_usd.value),
        optimal_selection: optimality.selection,
        optimal_accuracy: optimality.accuracy,
        optimal_cost: optimality.cost,
        macro_quality: averages.method,
        gain_over_random: ratio(averages.method, averages.random) - 1.0,
        gain_over_best_single: ratio(averages.method, averages.best_single) - 1.0,
        gap_to_oracle: ratio(averages.method, averages.oracle) - 1.0,
        relative_to_pool_best: ratio(quality.value, pool_best),
        quality,
        cost_usd,
    }
}

fn shares(study: &Study<'_>, choices: &[usize]) -> Vec<f64> {
    let mut shares = vec![0.0; study.n_tiers];
    choices
        .iter()
        .for_each(|tier| shares[*tier] += 1.0 / choices.len() as f64);
    shares
}

/// RouterArena: (1 + b) A C / (b A + C) with b = .1 and C = (log2 200 - log2 c) / (log2 200 -
/// log2 .0044), c in US dollars per 1,000 queries, clamped to that range (A.3).
pub(crate) fn arena_score(accuracy: f64, cost_usd: f64) -> f64 {
    const WEIGHT: f64 = 0.1;
    const DEAREST: f64 = 200.0;
    const CHEAPEST: f64 = 0.0044;
    let per_thousand = (1000.0 * cost_usd).clamp(CHEAPEST, DEAREST);
    let cost = (DEAREST.log2() - per_thousand.log2()) / (DEAREST.log2() - CHEAPEST.log2());
    let below = WEIGHT * accuracy + cost;
    if below > 0.0 {
        (1.0 + WEIGHT) * accuracy * cost / below
    } else {
        0.0
    }
}

/// RouterArena's optimality, as corrected in 2026 (A.3).
struct Optimality {
    selection: Option<f64>,
    accuracy: Option<f64>,
    cost: Option<f64>,
}

/// Over items that some tier gets right. `cost` is over those that were answered right.
fn optimality(study: &Study<'_>, choices: &[usize]) -> Optimality {
    let (quality, cost) = (&study.items.quality, &study.items.cost);
    let (mut n, mut optimal, mut reached, mut reachable) = (0.0, 0.0, 0.0, 0.0);
    let (mut oracle_cost, mut router_cost) = (0.0, 0.0);
    for (item, chosen) in choices.iter().enumerate() {
        let right = (0..study.n_tiers).filter(|tier| quality.at(item, *tier) >= RIGHT);
        let Some(best) = right.min_by(|a, b| cost.at(item, *a).total_cmp(&cost.at(item, *b))) else {
            continue;
        };
        n += 1.0;
        reached += quality.at(item, *chosen);
        reachable += quality.at(item, best);
        if quality.at(item, *chosen) >= RIGHT {
            optimal += f64::from(u8::from(cost.at(item, *chosen) <= cost.at(item, best)));
            oracle_cost += cost.at(item, best);
            router_cost += cost.at(item, *chosen);
        }
    }
    let share = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
    Optimality {
        selection: share(optimal, n),
        accuracy: share(reached, reachable),
        cost: share(oracle_cost, router_cost),
    }
}

/// Unweighted means over domains (A.4).
struct MacroAverages {
    method: f64,
    random: f64,
    best_single: f64,
    oracle: f64,
}

impl MacroAverages {
    fn of(study: &Study<'_>, choices: &[usize], credit: Option<&Table>) -> Self {
        let quality = &study.items.quality;
        let domains = study.items_by_domain();
        let average = |of: &dyn Fn(usize) -> f64| {
            let means: Vec<f64> = domains
                .values()
                .map(|items| mean(&items.iter().map(|item| of(*item)).collect::<Vec<_>>()))
                .collect();
            mean(&means)
        };
        Self {
            method: average(&|item| credit.unwrap_or(quality).at(item, choices[item])),
            random: average(&|item| mean(quality.row(item))),
            best_single: average(&|item| quality.at(item, study.references.best_single)),
            oracle: average(&|item| quality.row(item).iter().copied().fold(f64::MIN, f64::max)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arena_score_by_hand() {
        // A = .78 at $0.30: C = (7.6439 + 1.7370) / (7.6439 + 7.8283) = .60631.
        assert!((arena_score(0.78, 0.000_30) - 1.1 * 0.78 * 0.606_31 / (0.078 + 0.606_31)).abs() < 1e-4);
    }

    #[test]
    fn arena_score_is_clamped() {
        assert_eq!(arena_score(0.5, 1.0), 0.0);
        assert!((arena_score(1.0, 0.0) - 1.0).abs() < 1e-12);
        assert_eq!(arena_score(0.0, 1.0), 0.0);
    }
}
