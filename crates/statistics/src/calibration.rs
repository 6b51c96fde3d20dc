//! Calibration: expected calibration error with its floor, reliability bins, randomised PIT.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// How predictions are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binning {
    /// Bins of equal width on [0, 1].
    EqualWidth,
    /// Bins of nearly equal count; equal predictions stay in one bin.
    EqualMass,
}

/// Bins in use throughout the project.
pub const N_BINS: usize = 15;

/// Outcome sets drawn for the floor of the expected calibration error.
pub const FLOOR_DRAWS: u64 = 1000;

/// A bin that holds at least one prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Predictions in it.
    pub n: usize,
    /// Mean prediction.
    pub predicted: f64,
    /// Mean outcome.
    pub observed: f64,
}

/// Bin of each prediction.
fn assign(predicted: &[f64], binning: Binning) -> Vec<usize> {
    match binning {
        Binning::EqualWidth => predicted
            .iter()
            .map(|p| ((p * N_BINS as f64).max(0.0) as usize).min(N_BINS - 1))
            .collect(),
        Binning::EqualMass => assign_by_rank(predicted),
    }
}

fn assign_by_rank(predicted: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..predicted.len()).collect();
    order.sort_by(|a, b| predicted[*a].total_cmp(&predicted[*b]));
    let mut bins = vec![0; predicted.len()];
    let (mut bin, mut last) = (0, f64::NAN);
    for (rank, item) in order.into_iter().enumerate() {
        if predicted[item] != last {
            bin = rank * N_BINS / predicted.len();
            last = predicted[item];
        }
        bins[item] = bin;
    }
    bins
}

/// Sum of `values` per bin.
fn sums(bins: &[usize], values: impl Iterator<Item = f64>) -> [f64; N_BINS] {
    let mut sums = [0.0; N_BINS];
    for (bin, value) in bins.iter().zip(values) {
        sums[*bin] += value;
    }
    sums
}

/// Predicted against observed per bin, in order of the prediction; empty bins are left out.
pub fn reliability(predicted: &[f64], observed: &[f64], binning: Binning) -> Vec<Bin> {
    let bins = assign(predicted, binning);
    let counts = sums(&bins, predicted.iter().map(|_| 1.0));
    let (p, y) = (
        sums(&bins, predicted.iter().copied()),
        sums(&bins, observed.iter().copied()),
    );
    (0..N_BINS)
        .filter(|bin| counts[*bin] > 0.0)
        .map(|bin| Bin {
            n: counts[bin] as usize,
            predicted: p[bin] / counts[bin],
            observed: y[bin] / counts[bin],
        })
        .collect()
}

/// Expected calibration error: mean over items of |mean prediction - mean outcome| of their bin.
/// Biased upward at small n and blind to sharpness: print it with [`ece_floor`]. `NaN` of nothing.
pub fn ece(predicted: &[f64], observed: &[f64], binning: Binning) -> f64 {
    let gaps = reliability(predicted, observed, binning);
    gaps.iter()
        .map(|bin| bin.n as f64 * (bin.predicted - bin.observed).abs())
        .sum::<f64>()
        / predicted.len() as f64
}

/// Mean [`ece`] of [`FLOOR_DRAWS`] sets of 0/1 outcomes drawn from the predictions themselves: what
/// a perfectly calibrated forecast shows at this n.
pub fn ece_floor(predicted: &[f64], binning: Binning, seed: u64) -> f64 {
    let bins = assign(predicted, binning);
    let expected = sums(&bins, predicted.iter().copied());
    let draws: Vec<f64> = (0..FLOOR_DRAWS)
        .into_par_iter()
        .map(|draw| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(draw);
            let drawn = sums(
                &bins,
                predicted.iter().map(|p| f64::from(u8::from(rng.random::<f64>() < *p))),
            );
            expected.iter().zip(drawn).map(|(p, y)| (p - y).abs()).sum::<f64>() / predicted.len() as f64
        })
        .collect();
    crate::summary::mean(&draws)
}

/// Randomised probability integral transform: share of items in each of `n_bins` equal bins.
/// `below[i]` is P(Y < y_i), `up_to[i]` is P(Y <= y_i); the value is uniform between them, so that
/// discrete outcomes of a calibrated forecast are uniform over the bins.
pub fn pit_histogram(below: &[f64], up_to: &[f64], n_bins: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut shares = vec![0.0; n_bins];
    for (low, high) in below.iter().zip(up_to) {
        let value = low + (high - low) * rng.random::<f64>();
        shares[((value * n_bins as f64).max(0.0) as usize).min(n_bins - 1)] += 1.0 / below.len() as f64;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64, tolerance: f64) {
        assert!((value - expected).abs() < tolerance, "{value} is not {expected}");
    }

    #[test]
    fn ece_by_hand() {
        // Two bins: {.9, .9} with outcomes 1, 0 (gap .4) and {.1} with outcome 0 (gap .1).
        for binning in [Binning::EqualWidth, Binning::EqualMass] {
            near(
                ece(&[0.9, 0.1, 0.9], &[1.0, 0.0, 0.0], binning),
                (2.0 * 0.4 + 0.1) / 3.0,
                1e-12,
            );
        }
    }

    #[test]
    fn equal_mass_separates_what_equal_width_merges() {
        let predicted: Vec<f64> = (0..30).map(|i| 0.5 + f64::from(i) * 1e-4).collect();
        assert_eq!(reliability(&predicted, &predicted, Binning::EqualWidth).len(), 1);
        let bins = reliability(&predicted, &predicted, Binning::EqualMass);
        assert!(bins.len() == 15 && bins.iter().all(|bin| bin.n == 2));
    }

    #[test]
    fn constant_prediction_is_one_bin() {
        near(ece(&[0.5; 4], &[1.0, 1.0, 0.0, 0.0], Binning::EqualMass), 0.0, 1e-12);
        assert!(ece(&[], &[], Binning::EqualWidth).is_nan());
    }

    #[test]
    fn floor_of_one_bin_is_the_mean_absolute_deviation() {
        // Mean |Binomial(100, .5) / 100 - .5| = .0398.
        near(ece_floor(&[0.5; 100], Binning::EqualWidth, 1), 0.0398, 0.004);
        near(ece_floor(&[1.0; 100], Binning::EqualMass, 1), 0.0, 1e-12);
    }

    #[test]
    fn pit_of_a_calibrated_coin_is_flat() {
        let n = 20_000;
        let is_one = |i: usize| i % 10 < 3;
        let below: Vec<f64> = (0..n).map(|i| if is_one(i) { 0.7 } else { 0.0 }).collect();
        let up_to: Vec<f64> = (0..n).map(|i| if is_one(i) { 1.0 } else { 0.7 }).collect();
        for share in pit_histogram(&below, &up_to, 10, 3) {
            near(share, 0.1, 0.01);
        }
        assert_eq!(pit_histogram(&[1.0], &[1.0], 4, 0), [0.0, 0.0, 0.0, 1.0]);
    }
}
