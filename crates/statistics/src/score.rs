//! Scores of forecasts: Brier, CRPS, pinball, interval coverage and width.

use crate::summary::mean;

/// Brier score: mean of (prediction - outcome)^2. For a graded outcome, the mean squared error.
pub fn brier(predicted: &[f64], observed: &[f64]) -> f64 {
    let errors: Vec<f64> = predicted.iter().zip(observed).map(|(p, y)| (p - y).powi(2)).collect();
    mean(&errors)
}

/// Continuous ranked probability score of a step distribution with value `cdf[k]` from `grid[k]`
/// on: the integral of (F(x) - 1\[x >= y\])^2 dx, exact also for an outcome between grid points.
/// Equals the absolute error for a point forecast.
pub fn crps(grid: &[f64], cdf: &[f64], outcome: f64) -> f64 {
    let (Some(first), Some(last)) = (grid.first(), grid.last()) else {
        return f64::NAN;
    };
    let outside = (first - outcome).max(0.0) + (outcome - last).max(0.0);
    let cells = grid.windows(2).zip(cdf).map(|(cell, below)| {
        let cut = outcome.clamp(cell[0], cell[1]);
        below.powi(2) * (cut - cell[0]) + (1.0 - below).powi(2) * (cell[1] - cut)
    });
    outside + cells.sum::<f64>()
}

/// Pinball loss of predicted quantiles at `level`: mean of max(level d, (level - 1) d), d = y - q.
pub fn pinball(level: f64, quantiles: &[f64], observed: &[f64]) -> f64 {
    let losses: Vec<f64> = quantiles
        .iter()
        .zip(observed)
        .map(|(quantile, outcome)| (level * (outcome - quantile)).max((level - 1.0) * (outcome - quantile)))
        .collect();
    mean(&losses)
}

/// Share of outcomes inside their closed interval, and mean width of the intervals.
pub fn coverage(intervals: &[(f64, f64)], observed: &[f64]) -> (f64, f64) {
    let n = observed.len() as f64;
    let inside = intervals
        .iter()
        .zip(observed)
        .filter(|((low, high), y)| low <= y && *y <= high)
        .count();
    (
        inside as f64 / n,
        intervals.iter().map(|(low, high)| high - low).sum::<f64>() / n,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-12, "{value} is not {expected}");
    }

    #[test]
    fn brier_by_hand() {
        near(brier(&[0.8, 0.4], &[1.0, 0.0]), (0.04 + 0.16) / 2.0);
        near(brier(&[1.0], &[1.0]), 0.0);
    }

    #[test]
    fn crps_of_two_points_is_the_brier_score() {
        near(crps(&[0.0, 1.0], &[0.3, 1.0], 1.0), 0.09);
        near(crps(&[0.0, 1.0], &[0.3, 1.0], 0.0), 0.49);
    }

    #[test]
    fn crps_of_a_point_forecast_is_the_absolute_error() {
        let (grid, at_half) = ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 1.0, 1.0, 1.0]);
        for outcome in [0.0, 0.1, 0.5, 0.62, 1.0, 1.5, -0.5] {
            near(crps(&grid, &at_half, outcome), (outcome - 0.5_f64).abs());
        }
    }

    #[test]
    fn crps_is_twice_the_integral_of_pinball() {
        let (grid, pmf, outcome): (_, [f64; 3], _) = ([0.0, 0.5, 1.0], [0.2, 0.5, 0.3], 0.7);
        let cdf = [0.2, 0.7, 1.0];
        let quantile = |level: f64| grid[cdf.iter().position(|below| *below >= level).unwrap()];
        let steps = 100_000;
        let integral: f64 = (0..steps)
            .map(|step| (f64::from(step) + 0.5) / f64::from(steps))
            .map(|level| pinball(level, &[quantile(level)], &[outcome]) / f64::from(steps))
            .sum();
        assert!((2.0 * integral - crps(&grid, &cdf, outcome)).abs() < 1e-4);
        near(pmf.iter().sum(), 1.0);
    }

    #[test]
    fn coverage_counts_the_ends() {
        let (share, width) = coverage(&[(0.0, 0.5), (0.5, 1.0), (0.2, 0.3)], &[0.5, 0.4, 0.2]);
        near(share, 2.0 / 3.0);
        near(width, 1.1 / 3.0);
    }

    #[test]
    fn nothing_to_score() {
        assert!(brier(&[], &[]).is_nan() && pinball(0.5, &[], &[]).is_nan() && crps(&[], &[], 0.5).is_nan());
    }
}
