//! Random Fourier features, and with them the maximum mean discrepancy of two samples in bounded memory.
//!
//! Rahimi and Recht (2007), "Random features for large-scale kernel machines"; Gretton et al. (2012), "A kernel
//! two-sample test". The mean of a sample's features is all that is kept of it.

use std::f64::consts::TAU;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Directions of a Gaussian kernel exp(-|x - y|^2 / (2 bandwidth^2)).
#[derive(Debug, Clone, PartialEq)]
pub struct Frequencies {
    dim: usize,
    /// Shape (n, dim).
    weights: Vec<f32>,
}

impl Frequencies {
    /// `n` directions for vectors of `dim` numbers. The same arguments give the same directions.
    pub fn new(dim: usize, n: usize, bandwidth: f32, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let scale = 1.0 / f64::from(bandwidth);
        // Box and Muller: two uniform draws to a normal one.
        let weights = (0..n * dim)
            .map(|_| {
                let (radius, angle): (f64, f64) = (rng.random(), rng.random());
                ((-2.0 * (1.0 - radius).ln()).sqrt() * (TAU * angle).cos() * scale) as f32
            })
            .collect();
        Self { dim, weights }
    }

    /// Features of a vector: cosine and sine per direction, of unit length together. Shape (2 n).
    pub fn features(&self, vector: &[f32]) -> Vec<f32> {
        if self.dim == 0 {
            return Vec::new();
        }
        let scale = (self.dim as f32 / self.weights.len() as f32).sqrt();
        self.weights
            .chunks_exact(self.dim)
            .flat_map(|direction| {
                let (sine, cosine) = dot(direction, vector).sin_cos();
                [cosine * scale, sine * scale]
            })
            .collect()
    }
}

/// In eight sums, so that the compiler may use vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a.zip(b) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// How a sample's features spread around their mean: what the distance of two means is by chance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Sum of the covariance's eigenvalues.
    pub trace: f64,
    /// Root of the sum of their squares.
    pub frobenius: f64,
    /// The largest of them.
    pub largest: f64,
}

/// Mean of rows of features, shape (dim), and their spread.
pub fn mean_and_spread(rows: &[Vec<f32>]) -> (Vec<f64>, Spread) {
    let dim = rows.first().map_or(0, Vec::len);
    let n = rows.len().max(1) as f64;
    let mut mean = vec![0.0; dim];
    for row in rows {
        add(&mut mean, row);
    }
    mean.iter_mut().for_each(|sum| *sum /= n);
    // Shape (dim, dim): rows of the covariance.
    let mut covariance = vec![0.0_f64; dim * dim];
    for row in rows {
        let away: Vec<f64> = row
            .iter()
            .zip(&mean)
            .map(|(value, mean)| f64::from(*value) - mean)
            .collect();
        for (line, left) in covariance.chunks_exact_mut(dim.max(1)).zip(&away) {
            line.iter_mut()
                .zip(&away)
                .for_each(|(cell, right)| *cell += left * right);
        }
    }
    covariance.iter_mut().for_each(|cell| *cell /= n);
    let spread = Spread {
        trace: (0..dim).map(|i| covariance[i * dim + i]).sum(),
        frobenius: covariance.iter().map(|cell| cell * cell).sum::<f64>().sqrt(),
        largest: largest_eigenvalue(&covariance, dim),
    };
    (mean, spread)
}

/// Adds a row of features to their sum.
pub fn add(sum: &mut [f64], row: &[f32]) {
    sum.iter_mut()
        .zip(row)
        .for_each(|(sum, value)| *sum += f64::from(*value));
}

/// By power iteration, from the row with the largest diagonal.
fn largest_eigenvalue(matrix: &[f64], dim: usize) -> f64 {
    let start = (0..dim).max_by(|a, b| matrix[a * dim + a].total_cmp(&matrix[b * dim + b]));
    let Some(start) = start else { return 0.0 };
    let mut vector = matrix[start * dim..(start + 1) * dim].to_vec();
    let mut value = 0.0;
    for _ in 0..100 {
        let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        if length == 0.0 {
            return 0.0;
        }
        vector.iter_mut().for_each(|x| *x /= length);
        let product: Vec<f64> = matrix
            .chunks_exact(dim)
            .map(|line| line.iter().zip(&vector).map(|(a, b)| a * b).sum())
            .collect();
        value = product.iter().map(|x| x * x).sum::<f64>().sqrt();
        vector = product;
    }
    value
}

/// Squared distance of two means of features.
pub fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

impl Spread {
    /// Squared distance that the means of `n` and of `m` rows of one distribution have on average.
    pub fn expected(&self, n: f64, m: f64) -> f64 {
        (1.0 / n + 1.0 / m) * self.trace
    }

    /// Squared distance that they exceed with probability of at most `alpha`.
    ///
    /// The distance is a sum of squared normal variables weighted by the eigenvalues; its tail is bounded by
    /// Laurent and Massart (2000), "Adaptive estimation of a quadratic functional", lemma 1.
    pub fn threshold(&self, n: f64, m: f64, alpha: f64) -> f64 {
        let tail = -alpha.ln();
        let excess = 2.0 * self.frobenius * tail.sqrt() + 2.0 * self.largest * tail;
        (1.0 / n + 1.0 / m) * (self.trace + excess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_features_are_the_kernel() {
        let frequencies = Frequencies::new(3, 20_000, 0.8, 1);
        let (x, y) = ([0.1_f32, 0.5, -0.2], [0.4_f32, -0.1, 0.3]);
        let (a, b) = (frequencies.features(&x), frequencies.features(&y));
        let product: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(a * b)).sum();
        let distance: f64 = x.iter().zip(&y).map(|(x, y)| f64::from(x - y).powi(2)).sum();
        let kernel = (-distance / (2.0 * 0.8 * 0.8)).exp();
        assert!((product - kernel).abs() < 0.015, "{product} {kernel}");
        assert_eq!(frequencies, Frequencies::new(3, 20_000, 0.8, 1));
    }

    #[test]
    fn spread_by_hand() {
        // Variances 4 and 1, no covariance.
        let rows = [[2.0, 1.0], [-2.0, 1.0], [2.0, -1.0], [-2.0, -1.0]].map(|row| row.to_vec());
        let (mean, spread) = mean_and_spread(&rows);
        assert_eq!(mean, [0.0, 0.0]);
        assert_eq!((spread.trace, spread.frobenius), (5.0, 17.0_f64.sqrt()));
        assert!((spread.largest - 4.0).abs() < 1e-9);
        assert_eq!(spread.expected(10.0, 10.0), 1.0);
    }

    /// Means of 100 rows against the mean of 400, from one distribution: the bound holds and is of use.
    #[test]
    fn distances_stay_below_the_threshold() {
        let frequencies = Frequencies::new(4, 16, 1.0, 2);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut rows = |n: usize, shift: f32| -> Vec<Vec<f32>> {
            let mut vector = || [(); 4].map(|()| rng.random::<f32>() - 0.5 + shift);
            (0..n).map(|_| frequencies.features(&vector())).collect()
        };
        let mut n_over = 0;
        for _ in 0..2_000 {
            let (before, spread) = mean_and_spread(&rows(400, 0.0));
            let (after, _) = mean_and_spread(&rows(100, 0.0));
            n_over += usize::from(squared_distance(&before, &after) > spread.threshold(100.0, 400.0, 0.01));
        }
        assert!(n_over <= 33, "{n_over} of 2000");
        let (before, spread) = mean_and_spread(&rows(400, 0.0));
        let (after, _) = mean_and_spread(&rows(100, 0.3));
        assert!(squared_distance(&before, &after) > spread.threshold(100.0, 400.0, 1e-6));
    }

    #[test]
    fn degenerate() {
        let (mean, spread) = mean_and_spread(&[]);
        assert!(mean.is_empty() && spread.trace == 0.0 && spread.largest == 0.0);
        let (_, spread) = mean_and_spread(&[vec![1.0, 2.0], vec![1.0, 2.0]]);
        assert_eq!((spread.trace, spread.largest), (0.0, 0.0));
        assert!(Frequencies::new(0, 3, 1.0, 0).features(&[]).is_empty());
    }
}
