//! The quality distribution: a probability mass over one fixed grid on [0, 1].

use serde::{Deserialize, Serialize};

/// Number of grid points.
pub const GRID_POINTS: usize = 21;

/// The grid: 0, 0.05, ..., 1. One for all tiers, data sets and checkpoints.
pub const GRID: [f64; GRID_POINTS] = {
    let mut grid = [0.0; GRID_POINTS];
    let mut point = 0;
    while point < GRID_POINTS {
        grid[point] = point as f64 / (GRID_POINTS - 1) as f64;
        point += 1;
    }
    grid
};

/// Slack when a target is compared with a grid point, so that 0.7 means the point 0.7.
const TARGET_SLACK: f64 = 1e-9;

/// Probability mass over [`GRID`]: non-negative, finite, summing to one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub struct QualityDistribution {
    pmf: [f64; GRID_POINTS],
}

impl QualityDistribution {
    /// Normalises `mass` (length [`GRID_POINTS`]) to one.
    ///
    /// Errors when an entry is negative or not finite, or when the total is not positive.
    pub fn new(mass: [f64; GRID_POINTS]) -> Result<Self, InvalidDistribution> {
        if mass.iter().any(|m| !m.is_finite() || *m < 0.0) {
            return Err(InvalidDistribution::Mass);
        }
        let total: f64 = mass.iter().sum();
        if !(total.is_finite() && total > 0.0) {
            return Err(InvalidDistribution::Total);
        }
        Ok(Self {
            pmf: mass.map(|m| m / total),
        })
    }

    /// The two-point distribution of a 0/1 outcome with `P(1) = probability`, clamped to [0, 1].
    pub fn two_point(probability: f64) -> Self {
        let probability = if probability.is_nan() {
            0.5
        } else {
            probability.clamp(0.0, 1.0)
        };
        let mut pmf = [0.0; GRID_POINTS];
        pmf[0] = 1.0 - probability;
        pmf[GRID_POINTS - 1] = probability;
        Self { pmf }
    }

    /// The mass at each grid point.
    pub fn pmf(&self) -> &[f64; GRID_POINTS] {
        &self.pmf
    }

    /// Expected quality.
    pub fn mean(&self) -> f64 {
        self.pmf.iter().zip(GRID).map(|(mass, quality)| mass * quality).sum()
    }

    /// P(quality >= target).
    pub fn at_least(&self, target: f64) -> f64 {
        self.pmf
            .iter()
            .zip(GRID)
            .filter(|(_, quality)| *quality >= target - TARGET_SLACK)
            .map(|(mass, _)| mass)
            .sum()
    }

    /// Cumulative distribution at each grid point: P(quality <= GRID\[k\]).
    pub fn cdf(&self) -> [f64; GRID_POINTS] {
        let mut total = 0.0;
        self.pmf.map(|mass| {
            total += mass;
            total.min(1.0)
        })
    }

    /// Smallest grid point whose cumulative probability reaches `level`.
    pub fn quantile(&self, level: f64) -> f64 {
        let point = self.cdf().iter().position(|below| *below >= level - TARGET_SLACK);
        GRID[point.unwrap_or(GRID_POINTS - 1)]
    }
}

/// Why a mass function is no distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidDistribution {
    /// An entry is negative or not finite.
    Mass,
    /// The total is zero or not finite.
    Total,
    /// The length is not that of the grid.
    Length,
}

impl std::fmt::Display for InvalidDistribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mass => "a probability is negative or not finite",
            Self::Total => "the probabilities do not sum to a positive number",
            Self::Length => "a quality distribution has one probability per grid point (21)",
        })
    }
}

impl std::error::Error for InvalidDistribution {}

impl TryFrom<Vec<f64>> for QualityDistribution {
    type Error = InvalidDistribution;
    fn try_from(mass: Vec<f64>) -> Result<Self, Self::Error> {
        Self::new(mass.try_into().map_err(|_| InvalidDistribution::Length)?)
    }
}

impl From<QualityDistribution> for Vec<f64> {
    fn from(distribution: QualityDistribution) -> Self {
        distribution.pmf.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_point_case() {
        let quality = QualityDistribution::two_point(0.3);
        assert!((quality.mean() - 0.3).abs() < 1e-12);
        // On 0/1 outcomes the target is without effect.
        for target in [0.05, 0.5, 1.0] {
            assert!((quality.at_least(target) - 0.3).abs() < 1e-12);
        }
        assert_eq!(quality.quantile(0.5), 0.0);
        assert_eq!(quality.quantile(0.8), 1.0);
    }

    #[test]
    fn target_on_a_grid_point_counts_that_point() {
        let mut mass = [0.0; GRID_POINTS];
        mass[14] = 1.0;
        let quality = QualityDistribution::new(mass).unwrap();
        assert_eq!(quality.at_least(0.7), 1.0);
        assert_eq!(quality.at_least(0.71), 0.0);
    }

    #[test]
    fn no_distribution() {
        assert_eq!(
            QualityDistribution::new([0.0; GRID_POINTS]),
            Err(InvalidDistribution::Total)
        );
        assert_eq!(
            QualityDistribution::new([f64::NAN; GRID_POINTS]),
            Err(InvalidDistribution::Mass)
        );
        assert_eq!(
            QualityDistribution::try_from(vec![1.0; 3]),
            Err(InvalidDistribution::Length)
        );
    }
}
