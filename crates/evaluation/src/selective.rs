//! What is left when the doubtful items are set aside: risk-coverage curves, and the gate on evidence.

use tiercast_routing::decide::Forecast;
use tiercast_routing::evidence::Evidence;
use tiercast_statistics::selective::{RiskCoverage, trusted_first};
use tiercast_statistics::summary::mean;

use crate::interval::{dot, estimate};
use crate::prediction::TARGET;
use crate::report::{
    CoveragePoint, Estimate, GateDifference, GateReport, GateSide, SelectiveArea, SelectiveOrder, SelectiveReference,
    SelectiveReport,
};
use crate::study::Study;
use crate::sweep::at_floor_gated;

/// Coverages of a curve: 5 %, 10 %, ..., 100 %.
const N_COVERAGES: usize = 20;
/// Slack when outcomes are compared.
const EQUAL: f64 = 1e-9;

/// What came of each item at `auto`.
struct Results {
    /// Quality of the chosen tier.
    quality: Vec<f64>,
    /// 1 when another tier did better, else 0.
    wrong: Vec<f64>,
    /// Squared error of the predicted mean, mean over tiers.
    brier: Vec<f64>,
}

impl Results {
    fn of(study: &Study<'_>, forecasts: &[Vec<Forecast>], choices: &[usize]) -> Self {
        let best = |item: usize| study.items.quality.row(item).iter().copied().fold(f64::MIN, f64::max);
        let quality = |item: usize| study.items.quality.at(item, choices[item]);
        let items = || 0..study.items.len();
        Self {
            quality: items().map(quality).collect(),
            wrong: items()
                .map(|item| f64::from(u8::from(quality(item) < best(item) - EQUAL)))
                .collect(),
            brier: items()
                .map(|item| squared_error(&forecasts[item], study.items.quality.row(item)))
                .collect(),
        }
    }
}

/// Mean over tiers of (predicted mean - outcome)^2.
fn squared_error(forecasts: &[Forecast], observed: &[f64]) -> f64 {
    let errors = forecasts.iter().zip(observed);
    mean(
        &errors
            .map(|(forecast, y)| (forecast.quality.mean() - y).powi(2))
            .collect::<Vec<_>>(),
    )
}

/// The whole section, for the choices of `auto` without the gate on `forecasts` (one row per item).
pub(crate) fn selective_report(study: &Study<'_>, forecasts: &[Vec<Forecast>], choices: &[usize]) -> SelectiveReport {
    let results = Results::of(study, forecasts, choices);
    let evidence = study.evidence();
    let doubt = evidence
        .as_ref()
        .map(|evidence| evidence.iter().map(|e| e.doubt).collect::<Vec<_>>());
    let unsure = forecasts
        .iter()
        .zip(choices)
        .map(|(row, chosen)| 1.0 - row[*chosen].quality.at_least(TARGET));
    let orders = doubt
        .map(|doubt| ("doubt", doubt))
        .into_iter()
        .chain([("confidence", unsure.collect())]);
    SelectiveReport {
        decision: reference(study, &results.wrong),
        forecast: reference(study, &results.brier),
        orders: orders
            .map(|(name, doubt)| order(study, &results, name, &doubt))
            .collect(),
        gate: evidence.map(|evidence| gate(study, &results, forecasts, choices, &evidence)),
    }
}

fn reference(study: &Study<'_>, loss: &[f64]) -> SelectiveReference {
    let order = trusted_first(loss);
    let run = study.replicates.run(|weights| {
        let curve = RiskCoverage::new(&order, loss, &study.item_weights(weights));
        (curve.overall(), curve.area())
    });
    SelectiveReference {
        random: figure(&run, |(overall, _)| *overall),
        optimal: figure(&run, |(_, area)| *area),
    }
}

/// One figure of a run, with its interval.
fn figure<T>((whole, replicates): &(T, Vec<T>), of: impl Fn(&T) -> f64) -> Estimate {
    estimate(of(whole), &replicates.iter().map(&of).collect::<Vec<_>>())
}

fn order(study: &Study<'_>, results: &Results, name: &str, doubt: &[f64]) -> SelectiveOrder {
    let order = trusted_first(doubt);
    let run = study.replicates.run(|weights| {
        let weights = study.item_weights(weights);
        let curve = |values: &[f64]| RiskCoverage::new(&order, values, &weights);
        Figures::of(&[curve(&results.quality), curve(&results.wrong), curve(&results.brier)])
    });
    let point = |idx: usize| CoveragePoint {
        coverage: coverage(idx),
        quality: figure(&run, |figures| figures.at[idx][0]),
        accuracy: figure(&run, |figures| 1.0 - figures.at[idx][1]),
        brier: figure(&run, |figures| figures.at[idx][2]),
    };
    SelectiveOrder {
        name: name.to_owned(),
        decision: area(&run, 0),
        forecast: area(&run, 1),
        curve: (0..N_COVERAGES).map(point).collect(),
    }
}

fn coverage(idx: usize) -> f64 {
    (idx + 1) as f64 / N_COVERAGES as f64
}

/// What is kept of the curves of one replicate.
struct Figures {
    /// (area, risk over all items) of the decision, then of the forecast.
    areas: [(f64, f64); 2],
    /// Quality, share of wrong decisions and Brier score per coverage.
    at: Vec<[f64; 3]>,
}

impl Figures {
    /// `curves` of quality, wrong decisions and Brier score.
    fn of(curves: &[RiskCoverage; 3]) -> Self {
        let [_, wrong, brier] = curves;
        Self {
            areas: [wrong, brier].map(|curve| (curve.area(), curve.overall())),
            at: (0..N_COVERAGES)
                .map(|idx| curves.each_ref().map(|curve| curve.risk_at(coverage(idx))))
                .collect(),
        }
    }
}

fn area(run: &(Figures, Vec<Figures>), risk: usize) -> SelectiveArea {
    let minus_random = figure(run, |figures| figures.areas[risk].0 - figures.areas[risk].1);
    SelectiveArea {
        aurc: figure(run, |figures| figures.areas[risk].0),
        minus_random,
        significant: minus_random.low > 0.0 || minus_random.high < 0.0,
    }
}

/// Both sides of the gate, and `auto` with the insufficient sent to the dearest tier.
fn gate(
    study: &Study<'_>,
    results: &Results,
    forecasts: &[Vec<Forecast>],
    choices: &[usize],
    evidence: &[Evidence],
) -> GateReport {
    let is_in = |wanted: bool| -> Vec<f64> {
        let member = |e: &Evidence| f64::from(u8::from(e.sufficient == wanted));
        evidence.iter().map(member).collect()
    };
    let members = [is_in(true), is_in(false)];
    let run = study.replicates.run(|weights| {
        let weights = study.item_weights(weights);
        members.each_ref().map(|member| Side::of(results, member, &weights))
    });
    let side = |idx: usize| {
        let n_items = run.0[idx].weight as usize;
        (n_items > 0).then(|| GateSide {
            n_items,
            quality: figure(&run, |sides| sides[idx].quality),
            accuracy: figure(&run, |sides| sides[idx].accuracy),
            brier: figure(&run, |sides| sides[idx].brier),
        })
    };
    let (sufficient, insufficient) = (side(0), side(1));
    let difference = (sufficient.is_some() && insufficient.is_some()).then(|| GateDifference {
        accuracy: figure(&run, |[inside, outside]| inside.accuracy - outside.accuracy),
        brier: figure(&run, |[inside, outside]| inside.brier - outside.brier),
    });
    let safe = study.inputs.catalog.dearest();
    let (quality_change, cost_change_usd) = change(study, forecasts, choices, evidence, safe);
    GateReport {
        insufficient_share: figure(&run, |[inside, outside]| {
            outside.weight / (inside.weight + outside.weight)
        }),
        sufficient,
        insufficient,
        difference,
        safe_tier: study.tier_name(safe).to_owned(),
        quality_change,
        cost_change_usd,
    }
}

/// One side of the gate under one set of weights; means are not numbers when it is empty.
struct Side {
    weight: f64,
    quality: f64,
    accuracy: f64,
    brier: f64,
}

impl Side {
    fn of(results: &Results, member: &[f64], weights: &[f64]) -> Self {
        let weights: Vec<f64> = member.iter().zip(weights).map(|(member, w)| member * w).collect();
        let weight: f64 = weights.iter().sum();
        let mean = |values: &[f64]| dot(&weights, values) / weight;
        Self {
            weight,
            quality: mean(&results.quality),
            accuracy: 1.0 - mean(&results.wrong),
            brier: mean(&results.brier),
        }
    }
}

/// Quality and cost per item of `auto` with the gate minus without.
fn change(
    study: &Study<'_>,
    forecasts: &[Vec<Forecast>],
    choices: &[usize],
    evidence: &[Evidence],
    safe: usize,
) -> (Estimate, Estimate) {
    let safe_tier = |item: usize| (!evidence[item].sufficient).then_some(safe);
    let (catalog, floor) = (study.inputs.catalog, study.references.auto_floor);
    let gated = study.sums(&at_floor_gated(catalog, forecasts, floor, &safe_tier).choices, None);
    let free = study.sums(choices, None);
    let minus = |gated: &[f64], free: &[f64]| {
        let difference: Vec<f64> = gated.iter().zip(free).map(|(gated, free)| gated - free).collect();
        study
            .replicates
            .estimate(|w| dot(w, &difference) / dot(w, &study.group_sizes))
    };
    (minus(&gated.quality, &free.quality), minus(&gated.cost, &free.cost))
}
