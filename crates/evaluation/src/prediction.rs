//! How good the predicted distributions and costs are (A.8).

use std::collections::BTreeSet;

use tiercast_records::outcomes::{CostKind, Outcome};
use tiercast_routing::decide::Forecast;
use tiercast_routing::distribution::{GRID, GRID_POINTS, QualityDistribution};
use tiercast_statistics::calibration::{Binning, ece, ece_floor, pit_histogram, reliability};
use tiercast_statistics::score::{brier, coverage, crps};
use tiercast_statistics::summary::{mean, quantile, variance};

use crate::interval::ratio;
use crate::method::Method;
use crate::report::{CostHeadRow, MethodCalibration, PredictionQuality, PredictionReport, ReliabilityBin, Verdict};
use crate::study::Study;
use crate::subset::{domains, routed};

/// Target of the calibration events.
pub(crate) const TARGET: f64 = 0.5;
const PIT_BINS: usize = 10;

/// Forecasts beside what came of them.
#[derive(Default)]
pub(crate) struct Pairs {
    pub(crate) forecasts: Vec<QualityDistribution>,
    pub(crate) observed: Vec<f64>,
    /// Histogram of the tier's training outcomes, per pair; empty without training rows.
    histograms: Vec<QualityDistribution>,
}

impl Pairs {
    pub(crate) fn means(&self) -> Vec<f64> {
        self.forecasts.iter().map(QualityDistribution::mean).collect()
    }

    pub(crate) fn event_predicted(&self) -> Vec<f64> {
        self.forecasts
            .iter()
            .map(|forecast| forecast.at_least(TARGET))
            .collect()
    }

    pub(crate) fn event_observed(&self) -> Vec<f64> {
        self.observed
            .iter()
            .map(|y| f64::from(u8::from(*y >= TARGET)))
            .collect()
    }
}

/// Pairs of the given (item, tier) cells.
pub(crate) fn pairs(
    study: &Study<'_>,
    forecasts: &[Vec<Forecast>],
    cells: impl Iterator<Item = (usize, usize)>,
) -> Pairs {
    let histograms: Vec<QualityDistribution> = (0..study.n_tiers).filter_map(|tier| histogram(study, tier)).collect();
    let mut pairs = Pairs::default();
    for (item, tier) in cells {
        pairs.forecasts.push(forecasts[item][tier].quality);
        pairs.observed.push(study.items.quality.at(item, tier));
        pairs.histograms.extend(histograms.get(tier));
    }
    pairs
}

fn all_cells(study: &Study<'_>) -> impl Iterator<Item = (usize, usize)> {
    let n_tiers = study.n_tiers;
    (0..study.items.len()).flat_map(move |item| (0..n_tiers).map(move |tier| (item, tier)))
}

/// Nearest grid point.
fn grid_point(quality: f64) -> usize {
    (quality.clamp(0.0, 1.0) * (GRID_POINTS - 1) as f64).round() as usize
}

/// The tier's training outcomes on the grid; `None` without any.
fn histogram(study: &Study<'_>, tier: usize) -> Option<QualityDistribution> {
    let mut mass = [0.0; GRID_POINTS];
    study
        .train
        .quality
        .column(tier)
        .into_iter()
        .for_each(|quality| mass[grid_point(quality)] += 1.0);
    QualityDistribution::new(mass).ok()
}

/// All of the section: `methods` starts with tiercast.
pub(crate) fn prediction_report(study: &Study<'_>, methods: &[Method]) -> PredictionReport {
    let forecasts = methods[0].forecasts.as_deref().unwrap_or_default();
    let of_tier = |tier: usize| pairs(study, forecasts, all_cells(study).filter(|cell| cell.1 == tier));
    let seed = study.inputs.seed;
    PredictionReport {
        target: TARGET,
        pooled: quality_of("all", &pairs(study, forecasts, all_cells(study)), seed),
        tiers: (0..study.n_tiers)
            .map(|tier| quality_of(study.tier_name(tier), &of_tier(tier), seed))
            .collect(),
        methods: methods
            .iter()
            .filter_map(|method| calibration_of(study, method))
            .collect(),
        routed: routed(study, forecasts, &methods[0].operating[0].1.choices),
        domains: domains(study, forecasts),
    }
}

fn quality_of(name: &str, pairs: &Pairs, seed: u64) -> PredictionQuality {
    let (means, p, y) = (pairs.means(), pairs.event_predicted(), pairs.event_observed());
    let intervals: Vec<(f64, f64)> = pairs
        .forecasts
        .iter()
        .map(|f| (f.quantile(0.1), f.quantile(0.9)))
        .collect();
    let (coverage80, width80) = coverage(&intervals, &pairs.observed);
    let (ece_mass, ece_mass_floor) = (ece(&p, &y, Binning::EqualMass), ece_floor(&p, Binning::EqualMass, seed));
    let pit = pit(pairs, seed);
    PredictionQuality {
        name: name.to_owned(),
        n: pairs.observed.len(),
        mean_predicted: mean(&means),
        mean_observed: mean(&pairs.observed),
        brier: brier(&means, &pairs.observed),
        variance: variance(&pairs.observed),
        crps: mean_crps(&pairs.forecasts, &pairs.observed),
        crps_train_histogram: (!pairs.histograms.is_empty()).then(|| mean_crps(&pairs.histograms, &pairs.observed)),
        ece_width: ece(&p, &y, Binning::EqualWidth),
        ece_mass,
        ece_width_floor: ece_floor(&p, Binning::EqualWidth, seed),
        ece_mass_floor,
        verdict: Verdict::of(ece_mass, ece_mass_floor, mean(&p), mean(&y)),
        coverage80,
        // The central eight of ten bins.
        coverage80_randomised: pit[1..PIT_BINS - 1].iter().sum(),
        width80,
        pit,
        reliability: bins(&p, &y),
    }
}

/// Predicted against observed share of events, bins of equal mass.
pub(crate) fn bins(predicted: &[f64], observed: &[f64]) -> Vec<ReliabilityBin> {
    let bins = reliability(predicted, observed, Binning::EqualMass).into_iter();
    bins.map(|bin| ReliabilityBin {
        n: bin.n,
        predicted: bin.predicted,
        observed: bin.observed,
    })
    .collect()
}

pub(crate) fn mean_crps(forecasts: &[QualityDistribution], observed: &[f64]) -> f64 {
    mean(
        &forecasts
            .iter()
            .zip(observed)
            .map(|(f, y)| crps(&GRID, &f.cdf(), *y))
            .collect::<Vec<_>>(),
    )
}

/// Outcomes are rounded to the grid, on which the forecasts live; the value is uniform on
/// (P(Y < y), P(Y <= y)), so that mass at one point spreads over the bins it covers (Czado, Gneiting
/// and Held 2009).
fn pit(pairs: &Pairs, seed: u64) -> Vec<f64> {
    let at = |(forecast, observed): (&QualityDistribution, &f64)| {
        let (cdf, point) = (forecast.cdf(), grid_point(*observed));
        (cdf[point] - forecast.pmf()[point], cdf[point])
    };
    let (below, up_to): (Vec<f64>, Vec<f64>) = pairs.forecasts.iter().zip(&pairs.observed).map(at).unzip();
    pit_histogram(&below, &up_to, PIT_BINS, seed)
}

fn calibration_of(study: &Study<'_>, method: &Method) -> Option<MethodCalibration> {
    let pairs = pairs(study, method.forecasts.as_ref()?, all_cells(study));
    let (p, y) = (pairs.event_predicted(), pairs.event_observed());
    Some(MethodCalibration {
        method: method.name.clone(),
        brier: brier(&pairs.means(), &pairs.observed),
        ece_width: ece(&p, &y, Binning::EqualWidth),
        ece_mass: ece(&p, &y, Binning::EqualMass),
        ece_width_floor: ece_floor(&p, Binning::EqualWidth, study.inputs.seed),
    })
}

/// Predicted against actual cost per tier.
pub(crate) fn cost_head(study: &Study<'_>) -> Vec<CostHeadRow> {
    (0..study.n_tiers).map(|tier| cost_head_of(study, tier)).collect()
}

fn cost_head_of(study: &Study<'_>, tier: usize) -> CostHeadRow {
    let outcomes = || study.items.outcomes.iter().skip(tier).step_by(study.n_tiers);
    let predicted = |outcome: &Outcome| study.inputs.forecasts[outcome.prompt][tier].cost_usd;
    let (predicted, actual): (Vec<f64>, Vec<f64>) = outcomes()
        .filter(|outcome| outcome.cost_kind.is_whole())
        .filter_map(|outcome| Some((predicted(outcome), outcome.cost_usd.filter(|cost| *cost > 0.0)?)))
        .unzip();
    let errors: Vec<f64> = predicted.iter().zip(&actual).map(|(p, c)| (p - c).abs() / c).collect();
    let some = |value: f64| value.is_finite().then_some(value);
    CostHeadRow {
        tier: study.tier_name(tier).to_owned(),
        n: actual.len(),
        median_ape: some(quantile(&errors, 0.5)),
        mean_ape: some(mean(&errors)),
        bias: (!actual.is_empty()).then(|| ratio(mean(&predicted), mean(&actual))),
        masked: masked(&outcomes().collect::<Vec<_>>()),
    }
}

/// Why a tier's tokens or costs cannot be learned from.
fn masked(outcomes: &[&Outcome]) -> Option<String> {
    let tokens: BTreeSet<Option<u32>> = outcomes.iter().map(|outcome| outcome.output_tokens).collect();
    let n_partial = outcomes
        .iter()
        .filter(|o| o.cost_usd.is_some() && !o.cost_kind.is_whole())
        .count();
    let n_absent = outcomes
        .iter()
        .filter(|o| o.cost_usd.is_none() || o.cost_kind == CostKind::None)
        .count();
    let reasons = [
        tokens
            .contains(&None)
            .then(|| "output tokens are absent on some rows".to_owned()),
        (tokens.len() == 1 && outcomes.len() > 1 && !tokens.contains(&None))
            .then(|| "output tokens are constant".to_owned()),
        (n_partial > 0).then(|| format!("{n_partial} of {} costs are partial", outcomes.len())),
        (n_absent > 0).then(|| format!("{n_absent} of {} costs are absent", outcomes.len())),
    ];
    let reasons: Vec<String> = reasons.into_iter().flatten().collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand outcomes 0, .1, ..., 1 in the proportions of `mass`, and off the grid by `shift`.
    fn calibrated(mass: &[(f64, usize)], shift: f64) -> Pairs {
        let mut pmf = [0.0; GRID_POINTS];
        mass.iter()
            .for_each(|(quality, n)| pmf[grid_point(*quality)] += *n as f64);
        let observed: Vec<f64> = mass.iter().flat_map(|(quality, n)| vec![quality + shift; *n]).collect();
        Pairs {
            forecasts: vec![QualityDistribution::new(pmf).unwrap(); observed.len()],
            observed,
            histograms: Vec::new(),
        }
    }

    #[test]
    fn discrete_outcomes_of_a_calibrated_forecast_have_a_flat_pit() {
        for (mass, shift) in [
            (vec![(0.0, 6000), (1.0, 14_000)], 0.0),
            (vec![(0.0, 2000), (0.5, 4000), (0.7, 14_000)], 0.0),
            (vec![(0.2, 10_000), (0.8, 10_000)], 0.02),
        ] {
            let shares = pit(&calibrated(&mass, shift), 5);
            assert!(
                shares.iter().all(|share| (share - 0.1).abs() < 0.01),
                "{mass:?}: {shares:?}"
            );
        }
    }

    #[test]
    fn coverage_of_discrete_outcomes_is_exact_when_randomised() {
        // .3 of zeros and .7 of ones: the closed interval from 0 to 1 holds everything.
        let quality = quality_of("coin", &calibrated(&[(0.0, 6000), (1.0, 14_000)], 0.0), 5);
        assert_eq!((quality.coverage80, quality.width80), (1.0, 1.0));
        assert!((quality.coverage80_randomised - 0.8).abs() < 0.01);
        assert_eq!(quality.verdict, Verdict::Calibrated);
    }
}
