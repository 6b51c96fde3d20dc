//! Prediction-powered means: few true values and many judged ones, and an interval that holds
//! however wrong the judge is.
//!
//! Angelopoulos, Bates, Fannjiang, Jordan, Zrnic (2023), "Prediction-powered inference", for the
//! mean; with the power tuning of "PPI++" (2023), so that a judge that says nothing is not heard.
//! It holds where items with a true value are a random draw from all items.

use statrs::distribution::{ContinuousCDF, Normal};

use crate::summary::mean;

/// Values closer than this are the same: differences of scores carry rounding.
const ALIKE: f64 = 1e-9;

/// A mean with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanEstimate {
    /// The mean.
    pub mean: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// Share of the judge's word that was used: 1 is plain prediction-powered inference, 0 only the true values.
    pub weight: f64,
}

/// An item whose true value is known beside the judged one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Labelled {
    /// The true value.
    pub truth: f64,
    /// What the judge said.
    pub judged: f64,
}

/// How much of the judge's word is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weight {
    /// So much; 1 is the estimator of the 2023 paper.
    Fixed(f64),
    /// What makes the interval narrowest, from 0 to 1.
    Tuned,
}

/// Mean of the true values, which are in [0, 1], over all items: the judged mean of the `unlabelled` less the judge's
/// bias on the `labelled`. `None` with fewer than two labelled items.
///
/// mean = w mean(judged, unlabelled) + mean(truth - w judged, labelled), with variance
/// w^2 var(judged, unlabelled) / N + var(truth - w judged, labelled) / n. Labelled items that are all alike have no
/// variance and still leave something open: at least the width that Clopper and Pearson give, inside [0, 1].
pub fn mean_estimate(
    labelled: &[Labelled],
    unlabelled: &[f64],
    weight: Weight,
    confidence: f64,
) -> Option<MeanEstimate> {
    if labelled.len() < 2 {
        return None;
    }
    let weight = match weight {
        _ if unlabelled.len() < 2 => 0.0,
        Weight::Fixed(weight) => weight,
        Weight::Tuned => tuned(labelled, unlabelled),
    };
    let rectified: Vec<f64> = labelled.iter().map(|item| item.truth - weight * item.judged).collect();
    let judged = if weight == 0.0 { 0.0 } else { weight * mean(unlabelled) };
    let judged_variance = if weight == 0.0 {
        0.0
    } else {
        weight * weight * mean_variance(unlabelled)
    };
    let centre = judged + mean(&rectified);
    let half = normal_quantile(confidence) * (judged_variance + mean_variance(&rectified)).sqrt();
    let least = least_half(&rectified, confidence);
    let (low, high) = if least > half {
        (
            (centre - least).max(0.0).min(centre),
            (centre + least).min(1.0).max(centre),
        )
    } else {
        (centre - half, centre + half)
    };
    Some(MeanEstimate {
        mean: centre,
        low,
        high,
        weight,
    })
}

/// The judge's bias: mean of judged minus true, with its normal interval. `None` with fewer than
/// two items.
pub fn bias(labelled: &[Labelled], confidence: f64) -> Option<MeanEstimate> {
    let errors: Vec<f64> = labelled.iter().map(|item| item.judged - item.truth).collect();
    let centre = mean(&errors);
    let half = normal_quantile(confidence) * mean_variance(&errors).sqrt();
    let half = half.max(least_half(&errors, confidence));
    (errors.len() > 1).then_some(MeanEstimate {
        mean: centre,
        low: centre - half,
        high: centre + half,
        weight: 1.0,
    })
}

/// Half the width of an interval that values which are all alike leave, 0 for others. In n draws none was of another
/// kind; up to 1 - (alpha / 2)^(1 / n) of all items may be (Clopper and Pearson 1934, for 0 of n), each taken to be 1 off.
fn least_half(values: &[f64], confidence: f64) -> f64 {
    let is_alike = values.windows(2).all(|pair| (pair[0] - pair[1]).abs() < ALIKE);
    if !is_alike || values.is_empty() {
        return 0.0;
    }
    1.0 - (0.5 - confidence / 2.0).powf(1.0 / values.len() as f64)
}

/// cov(truth, judged) / ((1 + n / N) var(judged)): PPI++, equation 6 for the mean.
fn tuned(labelled: &[Labelled], unlabelled: &[f64]) -> f64 {
    let truths: Vec<f64> = labelled.iter().map(|item| item.truth).collect();
    let judged: Vec<f64> = labelled.iter().map(|item| item.judged).collect();
    let all: Vec<f64> = judged.iter().chain(unlabelled).copied().collect();
    let (truth_mean, judged_mean) = (mean(&truths), mean(&judged));
    let products = labelled
        .iter()
        .map(|item| (item.truth - truth_mean) * (item.judged - judged_mean));
    let covariance = products.sum::<f64>() / (labelled.len() - 1) as f64;
    let ratio = labelled.len() as f64 / unlabelled.len() as f64;
    let weight = covariance / ((1.0 + ratio) * sample_variance(&all));
    if weight.is_finite() {
        weight.clamp(0.0, 1.0)
    } else {
        0.0
    }
}

/// Variance of the mean of `values`.
fn mean_variance(values: &[f64]) -> f64 {
    sample_variance(values) / values.len() as f64
}

fn sample_variance(values: &[f64]) -> f64 {
    let centre = mean(values);
    values.iter().map(|value| (value - centre).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
}

fn normal_quantile(confidence: f64) -> f64 {
    Normal::standard().inverse_cdf(0.5 + confidence / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-4, "{value} is not {expected}");
    }

    /// (truth, judged).
    fn labelled(items: &[(f64, f64)]) -> Vec<Labelled> {
        items
            .iter()
            .map(|&(truth, judged)| Labelled { truth, judged })
            .collect()
    }

    const ITEMS: [(f64, f64); 4] = [(1.0, 1.0), (0.0, 0.5), (1.0, 1.0), (0.0, 0.5)];

    #[test]
    fn by_hand() {
        // Judged mean 0.75; truth - judged = 0, -0.5, 0, -0.5: mean -0.25, variance 1/12 each.
        let found = mean_estimate(&labelled(&ITEMS), &[1.0, 0.5, 1.0, 0.5], Weight::Fixed(1.0), 0.95).unwrap();
        near(found.mean, 0.5);
        let half = 1.959_964 * (1.0_f64 / 12.0 / 4.0 + 1.0 / 12.0 / 4.0).sqrt();
        near(found.low, 0.5 - half);
        near(found.high, 0.5 + half);
    }

    #[test]
    fn tuning_by_hand() {
        // Covariance 1/6, variance of all eight judged 1/14, n / N = 1: 1.17, cut to 1.
        let found = mean_estimate(&labelled(&ITEMS), &[1.0, 0.5, 1.0, 0.5], Weight::Tuned, 0.95).unwrap();
        near(found.weight, 1.0);
        // A judge that says the same of everything is not heard: the classical mean.
        let flat = labelled(&[(1.0, 1.0), (0.0, 1.0), (1.0, 1.0), (0.0, 1.0)]);
        let found = mean_estimate(&flat, &[1.0; 100], Weight::Tuned, 0.95).unwrap();
        near(found.weight, 0.0);
        near(found.mean, 0.5);
        near(found.high - found.mean, 1.959_964 * (1.0_f64 / 3.0 / 4.0).sqrt());
    }

    #[test]
    fn covers_where_the_judged_mean_does_not() {
        // The judge adds 0.2 to everything; half of the truths are 1.
        let items: Vec<(f64, f64)> = (0..200)
            .map(|i| (f64::from(i % 2), f64::from(i % 2) * 0.6 + 0.4))
            .collect();
        let unlabelled: Vec<f64> = (0..2000).map(|i| f64::from(i % 2) * 0.6 + 0.4).collect();
        let found = mean_estimate(&labelled(&items), &unlabelled, Weight::Tuned, 0.95).unwrap();
        assert!(found.low < 0.5 && 0.5 < found.high, "{found:?}");
        let classical = mean_estimate(&labelled(&items), &[], Weight::Tuned, 0.95).unwrap();
        assert!(
            found.high - found.low < classical.high - classical.low,
            "{found:?} {classical:?}"
        );
        near(bias(&labelled(&items), 0.95).unwrap().mean, 0.2);
    }

    #[test]
    fn labels_that_are_all_alike_leave_something_open() {
        // 1 - 0.025^(1/20) = 0.1684, as Clopper and Pearson have it for 20 of 20.
        let items = [(1.0, 1.0); 20];
        let found = mean_estimate(&labelled(&items), &[], Weight::Tuned, 0.95).unwrap();
        near(found.mean, 1.0);
        near(found.low, 0.8316);
        near(found.high, 1.0);
        let found = mean_estimate(&labelled(&items), &[1.0; 500], Weight::Fixed(1.0), 0.95).unwrap();
        near(found.low, 0.8316);
        let found = bias(&labelled(&items), 0.95).unwrap();
        near(found.high, 0.1684);
        // One that differs has a variance; nothing is added.
        near(least_half(&[1.0, 1.0, 0.9], 0.95), 0.0);
        let more = bias(&labelled(&[(1.0, 1.0); 200]), 0.95).unwrap();
        near(more.high, 0.0183);
    }

    #[test]
    fn degenerate() {
        assert_eq!(
            mean_estimate(&labelled(&ITEMS[..1]), &[1.0; 3], Weight::Tuned, 0.95),
            None
        );
        assert_eq!(bias(&[], 0.95), None);
        let alone = mean_estimate(&labelled(&ITEMS), &[], Weight::Fixed(1.0), 0.95).unwrap();
        near(alone.mean, 0.5);
        near(alone.weight, 0.0);
    }
}
