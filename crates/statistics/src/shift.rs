//! Whether two samples are of one distribution: shares of bins, counts, means. Each with the chance that it is
//! luck, and with the size of the difference, because with many rows the smallest difference is no luck.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};

/// A difference between two samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Its size; the function that makes it says of what.
    pub size: f64,
    /// Probability of one at least as large where there is none.
    pub chance: f64,
}

/// Shares with half a row added to every bin, so that an empty bin has a logarithm.
pub fn smoothed(counts: impl ExactSizeIterator<Item = f64>) -> Vec<f64> {
    let raised: Vec<f64> = counts.map(|count| count + 0.5).collect();
    let n: f64 = raised.iter().sum();
    raised.iter().map(|count| count / n).collect()
}

/// What each bin adds to the population stability index of two lists of shares: (q - p) ln(q / p).
pub fn stability_terms(before: &[f64], after: &[f64]) -> Vec<f64> {
    let pairs = before.iter().zip(after);
    pairs.map(|(p, q)| (q - p) * (q / p).ln()).collect()
}

/// Population stability index of `after` against `before`, both counts per bin, with its chance.
///
/// Without a shift the index is (1/n + 1/m) times a chi-squared variable with one degree of freedom less than
/// there are bins (Yurdakul 2018, "Statistical properties of population stability index").
pub fn stability(before: &[f64], after: &[f64]) -> Difference {
    let (n_before, n_after): (f64, f64) = (before.iter().sum(), after.iter().sum());
    if before.len() < 2 || n_before <= 0.0 || n_after <= 0.0 {
        return NONE;
    }
    let terms = stability_terms(&smoothed(before.iter().copied()), &smoothed(after.iter().copied()));
    let size = terms.iter().sum::<f64>();
    let noise = 1.0 / n_before + 1.0 / n_after;
    Difference {
        size,
        chance: chi_squared_tail(size / noise, before.len() - 1),
    }
}

/// Rows of a bin that Pearson's test needs under no difference; smaller bins are taken together.
const LEAST_EXPECTED: f64 = 5.0;

/// Whether two lists of counts are of the same shares: total variation distance, and the chance by Pearson's
/// test of homogeneity.
pub fn homogeneity(before: &[f64], after: &[f64]) -> Difference {
    let (n_before, n_after): (f64, f64) = (before.iter().sum(), after.iter().sum());
    if n_before <= 0.0 || n_after <= 0.0 {
        return NONE;
    }
    let size = 0.5
        * (before.iter().zip(after))
            .map(|(p, q)| (p / n_before - q / n_after).abs())
            .sum::<f64>();
    let n = n_before + n_after;
    let is_small = |both: f64| both * n_before.min(n_after) / n < LEAST_EXPECTED;
    let (small, mut cells): (Vec<_>, Vec<_>) = (before.iter().copied())
        .zip(after.iter().copied())
        .partition(|(p, q)| is_small(p + q));
    let rest = small
        .iter()
        .fold((0.0, 0.0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.1));
    cells.extend((rest.0 + rest.1 > 0.0).then_some(rest));
    let statistic: f64 = cells
        .iter()
        .map(|(p, q)| {
            let expected = (p + q) * n_before / n;
            (p - expected).powi(2) * (1.0 / expected + 1.0 / ((p + q) - expected))
        })
        .sum();
    Difference {
        size,
        chance: chi_squared_tail(statistic, cells.len() - 1),
    }
}

/// Number, mean and spread of values, one at a time (Welford 1962). Others than numbers are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    /// Values.
    pub n: u64,
    /// Their mean; 0 of none.
    pub mean: f64,
    squares: f64,
}

impl Moments {
    /// Takes a value.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.n += 1;
        let away = value - self.mean;
        self.mean += away / self.n as f64;
        self.squares += away * (value - self.mean);
    }

    /// Variance of the mean; infinite with fewer than two values.
    pub fn mean_variance(&self) -> f64 {
        if self.n < 2 {
            return f64::INFINITY;
        }
        self.squares / (self.n - 1) as f64 / self.n as f64
    }

    /// Normal interval of the mean; without bounds with fewer than two values.
    pub fn interval(&self, confidence: f64) -> (f64, f64) {
        let half = Normal::standard().inverse_cdf(0.5 + confidence / 2.0) * self.mean_variance().sqrt();
        (self.mean - half, self.mean + half)
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Self::default();
        values.into_iter().for_each(|value| moments.add(value));
        moments
    }
}

/// Difference of two means, after less before, with the chance of a normal approximation. For some hundred
/// values each.
pub fn mean_shift(before: &Moments, after: &Moments) -> Difference {
    let size = after.mean - before.mean;
    let error = (before.mean_variance() + after.mean_variance()).sqrt();
    if !error.is_finite() || size == 0.0 {
        return Difference { size, chance: 1.0 };
    }
    let chance = 2.0 * Normal::standard().sf(size.abs() / error);
    Difference { size, chance }
}

const NONE: Difference = Difference { size: 0.0, chance: 1.0 };

/// Probability that a chi-squared variable is larger than `value`.
fn chi_squared_tail(value: f64, freedom: usize) -> f64 {
    match ChiSquared::new(freedom as f64) {
        Ok(distribution) if value > 0.0 => distribution.sf(value),
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-3, "{value} is not {expected}");
    }

    #[test]
    fn stability_by_hand() {
        // (.5, .5) to (.7, .3): .2 ln 1.4 + .2 ln(5/3) = .1694; half a row of 10,000 changes little.
        let found = stability(&[50_000.0, 50_000.0], &[7_000.0, 3_000.0]);
        near(found.size, 0.1694);
        assert!(found.chance < 1e-100);
        assert_eq!(
            stability(&[5.0, 5.0], &[5.0, 5.0]),
            Difference { size: 0.0, chance: 1.0 }
        );
    }

    /// Chances are what they say, far out too, with bins of a few per cent and bins that are almost empty.
    #[test]
    fn chances_are_kept() {
        let shares = [0.2, 0.2, 0.15, 0.15, 0.1, 0.1, 0.05, 0.049, 0.001];
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut draw = |n: usize| {
            let mut counts = [0.0; 9];
            for _ in 0..n {
                let mut left: f64 = rng.random();
                let bin = shares.iter().position(|share| {
                    left -= share;
                    left < 0.0
                });
                counts[bin.unwrap_or(8)] += 1.0;
            }
            counts
        };
        let (n_windows, mut n_stability, mut n_homogeneity) = (20_000, 0, 0);
        for _ in 0..n_windows {
            let (before, after) = (draw(1_000), draw(250));
            n_stability += usize::from(stability(&before, &after).chance < 1e-3);
            n_homogeneity += usize::from(homogeneity(&before, &after).chance < 1e-3);
        }
        // 20 expected; 34 is three standard deviations over it.
        assert!(n_stability <= 34, "{n_stability}");
        assert!((3..=34).contains(&n_homogeneity), "{n_homogeneity}");
    }

    #[test]
    fn homogeneity_by_hand() {
        // 2 x 2 with 30/70 and 50/50: chi-squared 8.333, tail .00389; the distance is .2.
        let found = homogeneity(&[30.0, 70.0], &[50.0, 50.0]);
        near(found.size, 0.2);
        near(found.chance, 0.003_89);
        // Small bins are one: .2051 with one degree of freedom.
        let found = homogeneity(&[1.0, 0.0, 1.0, 98.0], &[0.0, 2.0, 1.0, 97.0]);
        near(found.chance, 0.6506);
    }

    #[test]
    fn means_by_hand() {
        let moments: Moments = [1.0, 2.0, 6.0, f64::NAN].into_iter().collect();
        assert_eq!((moments.n, moments.mean), (3, 3.0));
        near(moments.mean_variance(), 7.0 / 3.0);
        // Standard error sqrt(1/99/4 * 2) = .0711; a shift of .2 is 2.814 of them.
        let coin = |ones: u32| -> Moments { (0..100).map(|i| f64::from(i < ones)).collect() };
        let found = mean_shift(&coin(50), &coin(50));
        assert_eq!(found, Difference { size: 0.0, chance: 1.0 });
        let found = mean_shift(&coin(50), &coin(70));
        near(found.size, 0.2);
        near(found.chance, 0.0033);
    }

    #[test]
    fn degenerate() {
        assert_eq!(stability(&[], &[]), NONE);
        assert_eq!(stability(&[1.0, 2.0], &[0.0, 0.0]), NONE);
        assert_eq!(homogeneity(&[], &[]), NONE);
        assert_eq!(homogeneity(&[3.0], &[4.0]), NONE);
        assert_eq!(mean_shift(&Moments::default(), &Moments::default()).chance, 1.0);
        let constant = |value| Moments::from_iter([value; 9]);
        assert_eq!(mean_shift(&constant(1.0), &constant(2.0)).chance, 0.0);
    }
}
