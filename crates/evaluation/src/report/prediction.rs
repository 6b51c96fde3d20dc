//! Of a report: how good the predicted quality distributions are, and how well they are calibrated.

use serde::{Deserialize, Serialize};

use super::Estimate;

/// Quality of the predicted quality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionReport {
    /// The target of the calibration events: P(quality >= target).
    pub target: f64,
    /// tiercast, all tiers together.
    pub pooled: PredictionQuality,
    /// tiercast per tier, catalog order.
    pub tiers: Vec<PredictionQuality>,
    /// All methods with predictions, tiers pooled, in the order of [`super::Report::methods`]; for the
    /// baselines the prediction of the mean stands for that of the event.
    pub methods: Vec<MethodCalibration>,
    /// Calibration where it is used: the tier that `auto` chose (A.8); one row per tier chosen at
    /// least once, catalog order.
    pub routed: Vec<RoutedCalibration>,
    /// Calibration per domain, by name.
    pub domains: Vec<DomainCalibration>,
}

/// How far an expected calibration error may lie above its floor before it is called an error of
/// the forecast rather than of the sample.
pub const CALIBRATION_MARGIN: f64 = 0.015;

/// Whether predicted probabilities of the event hold, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The error (equal mass) is at most its floor + [`CALIBRATION_MARGIN`].
    Calibrated,
    /// It is larger, and at least half of it is one bias: too much is promised.
    TooHigh,
    /// The same, with too little promised.
    TooLow,
    /// It is larger, and errors of both signs cancel: too extreme or too timid.
    Uneven,
}

impl Verdict {
    /// Of an error and its floor, mean predicted probability and share of events.
    pub fn of(ece: f64, floor: f64, predicted: f64, observed: f64) -> Self {
        let bias = predicted - observed;
        if ece <= floor + CALIBRATION_MARGIN {
            Self::Calibrated
        } else if bias.abs() < ece / 2.0 {
            Self::Uneven
        } else if bias > 0.0 {
            Self::TooHigh
        } else {
            Self::TooLow
        }
    }
}

/// Scores of predicted distributions (A.8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionQuality {
    /// Tier, or `all`.
    pub name: String,
    /// Forecasts scored.
    pub n: usize,
    /// Mean of the predicted means.
    pub mean_predicted: f64,
    /// Mean outcome: with the one above, calibration in the large.
    pub mean_observed: f64,
    /// Mean squared error of the predicted mean.
    pub brier: f64,
    /// Variance of the outcome: the Brier score of the constant mean.
    pub variance: f64,
    /// Continuous ranked probability score of the distribution.
    pub crps: f64,
    /// CRPS of the histogram of the tier's training outcomes; `None` without training rows.
    pub crps_train_histogram: Option<f64>,
    /// Expected calibration error of P(quality >= target), 15 bins of equal width.
    pub ece_width: f64,
    /// The same, 15 bins of equal mass.
    pub ece_mass: f64,
    /// Mean `ece_width` of outcomes drawn from the predictions: what sampling noise alone gives.
    pub ece_width_floor: f64,
    /// Mean `ece_mass` of outcomes drawn from the predictions.
    pub ece_mass_floor: f64,
    /// Whether `ece_mass` is within its floor.
    pub verdict: Verdict,
    /// Share of outcomes inside the central 80 % interval, ends included: more than 80 % where
    /// outcomes are discrete, also when calibrated.
    pub coverage80: f64,
    /// Share of outcomes in the central eight tenths of `pit`: 0.8 when calibrated, also where
    /// outcomes are discrete.
    pub coverage80_randomised: f64,
    /// Mean width of that interval.
    pub width80: f64,
    /// Randomised probability integral transform: share of outcomes in each of 10 equal bins;
    /// 0.1 everywhere when calibrated.
    pub pit: Vec<f64>,
    /// Reliability of P(quality >= target), 15 bins of equal mass; empty bins are absent.
    pub reliability: Vec<ReliabilityBin>,
}

/// Predicted against observed in one bin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Forecasts in it.
    pub n: usize,
    /// Mean prediction.
    pub predicted: f64,
    /// Share of events that happened.
    pub observed: f64,
}

/// Calibration of one method, tiers pooled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodCalibration {
    /// [`super::MethodReport::name`].
    pub method: String,
    /// Mean squared error of the predicted mean.
    pub brier: f64,
    /// Expected calibration error, 15 bins of equal width.
    pub ece_width: f64,
    /// The same, 15 bins of equal mass.
    pub ece_mass: f64,
    /// Mean `ece_width` of outcomes drawn from the predictions.
    pub ece_width_floor: f64,
}

/// Calibration on the items that `auto` sent to one tier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoutedCalibration {
    /// The tier.
    pub tier: String,
    /// Items sent to it.
    pub n: usize,
    /// Mean predicted quality of that tier on them.
    pub mean_predicted: f64,
    /// Mean quality they got.
    pub mean_observed: f64,
    /// Mean predicted P(quality >= target) of that tier on them.
    pub event_predicted: f64,
    /// Share of them on which the quality reached the target.
    pub event_observed: f64,
    /// ECE of P(quality >= target) on them, 15 bins of equal mass.
    pub ece_mass: f64,
    /// Its floor.
    pub ece_mass_floor: f64,
    /// Whether the error is within its floor.
    pub verdict: Verdict,
    /// Reliability of P(quality >= target) on them, 15 bins of equal mass; empty bins are absent.
    pub reliability: Vec<ReliabilityBin>,
}

/// Calibration on one domain, all tiers together and apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DomainCalibration {
    /// Its label, as in [`super::DomainRow::domain`].
    pub domain: String,
    /// Forecasts scored: items x tiers.
    pub n: usize,
    /// Mean predicted quality.
    pub mean_predicted: f64,
    /// Mean outcome.
    pub mean_observed: f64,
    /// Mean predicted P(quality >= target).
    pub event_predicted: f64,
    /// Share of outcomes that reached the target.
    pub event_observed: f64,
    /// Mean squared error of the predicted mean.
    pub brier: f64,
    /// Continuous ranked probability score of the distribution.
    pub crps: f64,
    /// ECE of P(quality >= target), 15 bins of equal mass.
    pub ece_mass: f64,
    /// Its floor. Outcomes are drawn apart, though those of one item go together: the floor is low.
    pub ece_mass_floor: f64,
    /// Whether the error is within its floor.
    pub verdict: Verdict,
    /// Predicted minus observed mean quality per tier, catalog order: above zero promises too much.
    pub bias: Vec<Estimate>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_more_than_the_floor() {
        let check = |ece, predicted, expected| assert_eq!(Verdict::of(ece, 0.02, predicted, 0.5), expected);
        check(0.034, 0.534, Verdict::Calibrated);
        check(0.04, 0.53, Verdict::TooHigh);
        check(0.04, 0.47, Verdict::TooLow);
        check(0.04, 0.51, Verdict::Uneven);
    }
}
