//! Bootstrap intervals of the report: one set of replicates, so that all figures are paired (A.9).

use rayon::prelude::*;
use tiercast_statistics::bootstrap::{percentile_interval, replicates};

use crate::report::Estimate;

/// The weights of every group, per replicate.
pub(crate) struct Replicates {
    n_groups: usize,
    weights: Vec<Vec<f64>>,
}

impl Replicates {
    pub(crate) fn new(n_groups: usize, n_replicates: usize, seed: u64) -> Self {
        Self {
            n_groups,
            weights: replicates(n_groups, n_replicates, seed, <[f64]>::to_vec),
        }
    }

    /// `statistic` on the rows themselves, then on each replicate.
    pub(crate) fn run<T: Send>(&self, statistic: impl Fn(&[f64]) -> T + Sync) -> (T, Vec<T>) {
        (
            statistic(&vec![1.0; self.n_groups]),
            self.weights.par_iter().map(|weights| statistic(weights)).collect(),
        )
    }

    pub(crate) fn estimate(&self, statistic: impl Fn(&[f64]) -> f64 + Sync) -> Estimate {
        let (value, replicates) = self.run(statistic);
        estimate(value, &replicates)
    }
}

/// A value with the interval of its replicates; the value itself where there are none.
pub(crate) fn estimate(value: f64, replicates: &[f64]) -> Estimate {
    let (low, high) = percentile_interval(replicates);
    let or_value = |end: f64| if end.is_finite() { end } else { value };
    Estimate {
        value,
        low: or_value(low),
        high: or_value(high),
    }
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `a / b`; one when both are nothing, so that a free pool is as dear as itself.
pub(crate) fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 1.0 } else { a / b }
}
