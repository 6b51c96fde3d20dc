//! 95 % intervals of means and shares, from what a fold keeps.

use serde::Serialize;

use super::sum::Moments;

/// 97.5 % quantile of the standard normal distribution.
pub(crate) const Z: f64 = 1.959_963_984_540_054;

/// Observations from which on the variance of the sample is trusted. Below, outcomes are taken as 0 or 1,
/// which is as far apart as outcomes of that mean can be.
const ENOUGH: u64 = 30;

/// Bounds of a 95 % interval, in the unit of the figure they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl Interval {
    pub(crate) fn around(value: f64, half_width: f64) -> Self {
        Self {
            low: value - half_width,
            high: value + half_width,
        }
    }

    /// The same, moved and stretched: `scale * x + shift`, for a scale that is not negative.
    pub(crate) fn map(self, scale: f64, shift: f64) -> Self {
        Self {
            low: scale * self.low + shift,
            high: scale * self.high + shift,
        }
    }
}

/// Wilson's score interval of a share (Wilson 1927), of `n` trials with this mean. For outcomes in [0, 1]
/// that are not all 0 or 1 it is too wide rather than too narrow.
pub(crate) fn wilson(mean: f64, n: u64) -> Option<Interval> {
    if n == 0 {
        return None;
    }
    let (n, mean) = (n as f64, mean.clamp(0.0, 1.0));
    let shrink = 1.0 / (1.0 + Z * Z / n);
    let centre = (mean + Z * Z / (2.0 * n)) * shrink;
    let half = Z * shrink * (mean * (1.0 - mean) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(Interval {
        low: (centre - half).max(0.0),
        high: (centre + half).min(1.0),
    })
}

/// Interval of the mean of outcomes in [0, 1], of which `n_two_valued` were 0 or 1: Wilson's where all were, or
/// where there are few, else by the normal distribution.
pub(crate) fn of_mean(outcomes: &Moments, n_two_valued: u64) -> Option<Interval> {
    let mean = outcomes.mean()?;
    if n_two_valued == outcomes.n || outcomes.n < ENOUGH {
        return wilson(mean, outcomes.n);
    }
    let found = normal(outcomes)?;
    Some(Interval {
        low: found.low.max(0.0),
        high: found.high.min(1.0),
    })
}

/// Interval of the mean of `outcomes - something known`. `paired` are these differences. The variance of few
/// differences says little, so then the interval of the outcomes is moved by what was known.
pub(crate) fn of_difference(paired: &Moments, outcomes: &Moments, n_two_valued: u64) -> Option<Interval> {
    if paired.n >= ENOUGH && paired.variance()? > 0.0 {
        return normal(paired);
    }
    let shift = paired.mean()? - outcomes.mean()?;
    Some(of_mean(outcomes, n_two_valued)?.map(1.0, shift))
}

fn normal(moments: &Moments) -> Option<Interval> {
    let half = Z * (moments.variance()? / moments.n as f64).sqrt();
    Some(Interval::around(moments.mean()?, half))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|value| moments.add(*value));
        moments
    }

    #[test]
    fn wilson_agrees_with_a_published_case() {
        // 15 of 148, score method: .0624 to .1605 (Newcombe 1998, table I: 15/148 without continuity correction).
        let found = wilson(15.0 / 148.0, 148).unwrap();
        assert!(
            (found.low - 0.0624).abs() < 5e-5 && (found.high - 0.1605).abs() < 5e-5,
            "{found:?}"
        );
        assert_eq!(wilson(0.0, 0), None);
    }

    #[test]
    fn few_equal_outcomes_do_not_look_certain() {
        let (outcomes, paired) = (moments(&[1.0; 5]), moments(&[0.2; 5]));
        let found = of_difference(&paired, &outcomes, 5).unwrap();
        assert!(found.low < -0.2 && (found.high - 0.2).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn many_graded_outcomes_use_their_own_variance() {
        let values: Vec<f64> = (0..100).map(|i| 0.5 + 0.1 * f64::from(i % 2)).collect();
        let found = of_mean(&moments(&values), 0).unwrap();
        let half = Z * (0.0025_f64 * 100.0 / 99.0 / 100.0).sqrt();
        assert!((found.high - found.low - 2.0 * half).abs() < 1e-12, "{found:?}");
    }
}
