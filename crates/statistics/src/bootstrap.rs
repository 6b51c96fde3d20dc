//! Bootstrap over groups: percentile intervals, paired by seed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::summary::quantile;

/// How often each of `n_groups` groups was drawn in replicate `replicate`: draws with replacement,
/// as many as there are groups.
pub fn group_weights(n_groups: usize, seed: u64, replicate: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(replicate);
    let mut weights = vec![0.0; n_groups];
    for _ in 0..n_groups {
        weights[rng.random_range(0..n_groups)] += 1.0;
    }
    weights
}

/// `statistic` on each replicate's weights, in order of the replicate. Two calls with one seed see
/// the same replicates, so their results are paired.
pub fn replicates<T: Send>(
    n_groups: usize,
    n_replicates: usize,
    seed: u64,
    statistic: impl Fn(&[f64]) -> T + Sync,
) -> Vec<T> {
    (0..n_replicates as u64)
        .into_par_iter()
        .map(|replicate| statistic(&group_weights(n_groups, seed, replicate)))
        .collect()
}

/// The 2.5th and 97.5th percentile; values that are not finite are left out.
pub fn percentile_interval(values: &[f64]) -> (f64, f64) {
    (quantile(values, 0.025), quantile(values, 0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_of_a_mean() {
        // Half zeros, half ones: standard error .5 / sqrt(400) = .025.
        let means = replicates(400, 1000, 7, |weights| weights[..200].iter().sum::<f64>() / 400.0);
        let (low, high) = percentile_interval(&means);
        assert!(
            (low - 0.451).abs() < 0.006 && (high - 0.549).abs() < 0.006,
            "{low} {high}"
        );
    }

    #[test]
    fn one_seed_one_result() {
        let draw = |seed| replicates(10, 5, seed, <[f64]>::to_vec);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).iter().all(|weights| weights.iter().sum::<f64>() == 10.0));
    }

    #[test]
    fn degenerate() {
        assert_eq!(replicates(1, 3, 0, |weights| weights[0]), [1.0; 3]);
        assert!(replicates(0, 1, 0, <[f64]>::len) == [0]);
        assert!(percentile_interval(&[]).0.is_nan());
    }
}
