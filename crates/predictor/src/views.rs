//! The views of a request that are pooled: each says, in its own way, how good every tier will be.

use tiercast_routing::distribution::{GRID, GRID_POINTS};

use crate::encoding::Encoded;

/// Probability mass over the grid.
pub type Pmf = [f64; GRID_POINTS];

/// What is pooled, in the order of all weights.
pub const POOLED: [&str; 6] = ["network", "neighbours", "tasks", "ngrams", "surface", "prior"];
/// Number of pooled views.
pub const N_POOLED: usize = POOLED.len();

/// What the views that are not networks know of the training rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tables {
    /// Distribution of each tier over all training rows.
    pub base: Vec<Pmf>,
    /// Distribution of each tier on each task, `[n_tasks][n_tiers]`; empty without tasks.
    pub tasks: Vec<Vec<Pmf>>,
    /// Expected quality from the n-grams; `None` when switched off.
    pub ngrams: Option<Linear>,
    /// Expected quality from the surface signals; `None` when switched off.
    pub surface: Option<Linear>,
}

/// A linear model of the expected quality of every tier.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Linear {
    /// `[n_columns, n_tiers]`
    pub weights: Vec<f32>,
    /// `[n_tiers]`
    pub intercept: Vec<f32>,
}

impl Linear {
    /// Expected quality per tier for a row of (column, value).
    pub fn predict(&self, row: impl Iterator<Item = (usize, f32)>) -> Vec<f64> {
        let n_tiers = self.intercept.len();
        let mut sums: Vec<f64> = self.intercept.iter().map(|value| f64::from(*value)).collect();
        for (column, value) in row {
            let weights = &self.weights[column * n_tiers..][..n_tiers];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += f64::from(*weight) * f64::from(value);
            }
        }
        sums
    }
}

impl Tables {
    /// What the n-grams alone say.
    pub fn of_ngrams(&self, row: &Encoded) -> Option<Vec<Pmf>> {
        let linear = self.ngrams.as_ref()?;
        let columns = row.ngrams.iter().map(|column| *column as usize);
        Some(self.tilted(&linear.predict(columns.zip(row.weights.iter().copied()))))
    }

    /// What the surface signals alone say.
    pub fn of_surface(&self, row: &Encoded) -> Option<Vec<Pmf>> {
        let linear = self.surface.as_ref()?;
        let n_signals = linear.weights.len() / linear.intercept.len().max(1);
        Some(self.tilted(&linear.predict(row.dense[..n_signals].iter().copied().enumerate())))
    }

    /// The table of task scores, mixed by the probability of each task.
    pub fn of_tasks(&self, probabilities: &[f64]) -> Option<Vec<Pmf>> {
        if self.tasks.is_empty() {
            return None;
        }
        let mut mixed = vec![[0.0; GRID_POINTS]; self.base.len()];
        for (probability, tiers) in probabilities.iter().zip(&self.tasks) {
            for (sum, pmf) in mixed.iter_mut().zip(tiers) {
                add_scaled(sum, pmf, *probability);
            }
        }
        Some(mixed)
    }

    fn tilted(&self, means: &[f64]) -> Vec<Pmf> {
        self.base
            .iter()
            .zip(means)
            .map(|(base, mean)| tilt(base, *mean))
            .collect()
    }
}

/// `sum += factor * pmf`
pub fn add_scaled(sum: &mut Pmf, pmf: &Pmf, factor: f64) {
    for (sum, mass) in sum.iter_mut().zip(pmf) {
        *sum += factor * mass;
    }
}

/// Adds mass for an outcome; between two grid points it is shared so that the mean is kept.
pub fn add_outcome(pmf: &mut Pmf, score: f64, mass: f64) {
    let place = score * (GRID_POINTS - 1) as f64;
    let lower = (place.floor() as usize).min(GRID_POINTS - 2);
    let above = place - lower as f64;
    pmf[lower] += mass * (1.0 - above);
    pmf[lower + 1] += mass * above;
}

/// Expected quality.
pub fn mean(pmf: &Pmf) -> f64 {
    pmf.iter().zip(GRID).map(|(mass, quality)| mass * quality).sum()
}

/// Means nearer to 0 or 1 than this are drawn back: no view is that sure.
const MEAN_MARGIN: f64 = 0.01;

/// The distribution nearest to `base` (in relative entropy) with a given mean: `base` x exp(tilt x
/// quality), the exponential family through `base`. On 0/1 outcomes it is the two-point one.
pub fn tilt(base: &Pmf, wanted: f64) -> Pmf {
    let wanted = wanted.clamp(MEAN_MARGIN, 1.0 - MEAN_MARGIN);
    let mut tilt = 0.0_f64;
    let mut pmf = *base;
    for _ in 0..24 {
        let (found, variance) = moments(&pmf);
        if (found - wanted).abs() < 1e-6 {
            break;
        }
        // Newton's step, kept short where the distribution has almost no spread.
        tilt = (tilt + ((wanted - found) / variance.max(1e-4)).clamp(-6.0, 6.0)).clamp(-120.0, 120.0);
        pmf = tilted(base, tilt);
    }
    pmf
}

fn tilted(base: &Pmf, tilt: f64) -> Pmf {
    // The grid is even, so the factors are powers of one.
    let (mut factor, step) = ((-0.5 * tilt).exp(), (tilt / (GRID_POINTS - 1) as f64).exp());
    let mass: Pmf = base.map(|mass| {
        let tilted = mass * factor;
        factor *= step;
        tilted
    });
    let total: f64 = mass.iter().sum();
    mass.map(|mass| mass / total)
}

fn moments(pmf: &Pmf) -> (f64, f64) {
    let mean = mean(pmf);
    let square: f64 = pmf
        .iter()
        .zip(GRID)
        .map(|(mass, quality)| mass * quality * quality)
        .sum();
    (mean, square - mean * mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilt_has_the_wanted_mean() {
        let mut two_point = [0.001; GRID_POINTS];
        (two_point[0], two_point[GRID_POINTS - 1]) = (0.3, 0.68);
        let flat = [1.0 / GRID_POINTS as f64; GRID_POINTS];
        for base in [two_point, flat] {
            for wanted in [0.02, 0.2, 0.5, 0.9, 0.97] {
                let found = tilt(&base, wanted);
                assert!((mean(&found) - wanted).abs() < 1e-3, "{wanted}: {}", mean(&found));
                assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            }
        }
        assert!((mean(&tilt(&flat, 7.0)) - 0.99).abs() < 1e-3, "drawn back");
    }

    #[test]
    fn an_outcome_between_two_points_keeps_its_mean() {
        let mut pmf = [0.0; GRID_POINTS];
        add_outcome(&mut pmf, 0.72, 2.0);
        add_outcome(&mut pmf, 1.0, 1.0);
        assert!((mean(&pmf) - 2.44).abs() < 1e-12);
    }

    #[test]
    fn tasks_are_mixed() {
        let point = |at: usize| {
            let mut pmf = [0.0; GRID_POINTS];
            pmf[at] = 1.0;
            vec![pmf]
        };
        let tables = Tables {
            base: point(10),
            tasks: vec![point(0), point(20)],
            ..Tables::default()
        };
        let mixed = tables.of_tasks(&[0.25, 0.75]).unwrap();
        assert!((mean(&mixed[0]) - 0.75).abs() < 1e-12);
        assert_eq!(Tables::default().of_tasks(&[]), None);
    }
}
