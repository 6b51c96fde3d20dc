//! Agreement of repeated judgements: Krippendorff's alpha and raw agreement.
//!
//! Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability". A unit is what was judged
//! (one reply), its values are the judgements of it; units judged once say nothing about agreement.

/// How far two values are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Equal or not.
    Nominal,
    /// The squared difference.
    Interval,
}

impl Metric {
    /// Sum of the distances over all ordered pairs of `values`.
    fn spread(self, values: &[f64]) -> f64 {
        let n = values.len() as f64;
        match self {
            Self::Nominal => n * n - counts(values).iter().map(|count| count * count).sum::<f64>(),
            Self::Interval => {
                // Around the mean, since n x sum of squares - square of the sum cancels badly.
                let mean = values.iter().sum::<f64>() / n;
                2.0 * n * values.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
            }
        }
    }
}

/// Krippendorff's alpha: 1 is perfect agreement, 0 is what chance gives. `None` where it is
/// undefined: no unit with two judgements, or not two different values among them. A judge that
/// says the same of everything agrees with itself and has shown nothing by it.
pub fn alpha(units: &[Vec<f64>], metric: Metric) -> Option<f64> {
    let repeated = || units.iter().filter(|unit| unit.len() > 1);
    let all: Vec<f64> = repeated().flatten().copied().collect();
    let n = all.len() as f64;
    let observed: f64 = repeated()
        .map(|unit| metric.spread(unit) / (unit.len() - 1) as f64)
        .sum::<f64>()
        / n;
    let expected = metric.spread(&all) / (n * (n - 1.0));
    (expected > 1e-12).then(|| 1.0 - observed / expected)
}

/// Share of pairs of judgements of one unit that are at most `tolerance` apart. `None` without any.
pub fn raw_agreement(units: &[Vec<f64>], tolerance: f64) -> Option<f64> {
    let (mut n_agree, mut n_pairs) = (0_usize, 0_usize);
    for unit in units {
        for (idx, first) in unit.iter().enumerate() {
            for second in &unit[idx + 1..] {
                n_pairs += 1;
                n_agree += usize::from((first - second).abs() <= tolerance);
            }
        }
    }
    (n_pairs > 0).then(|| n_agree as f64 / n_pairs as f64)
}

/// How often each value occurs.
fn counts(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.chunk_by(|a, b| a == b).map(|chunk| chunk.len() as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Krippendorff (2011), section C: four observers, twelve units, 0 where one did not judge.
    fn published() -> Vec<Vec<f64>> {
        let observers = [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
            [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
        ];
        let unit = |idx: usize| observers.iter().map(move |row| row[idx]).filter(|value| *value > 0);
        (0..12).map(|idx| unit(idx).map(f64::from).collect()).collect()
    }

    fn near(value: Option<f64>, expected: f64) {
        assert!(value.is_some_and(|value| (value - expected).abs() < 5e-4), "{value:?}");
    }

    #[test]
    fn published_example() {
        near(alpha(&published(), Metric::Nominal), 0.743);
        near(alpha(&published(), Metric::Interval), 0.849);
    }

    #[test]
    fn by_hand() {
        // Pairs (0,0), (1,1), (0,1): observed 2/6; expected 2 x 3 x 3 / (6 x 5) = 0.6.
        let units = [vec![0.0, 0.0], vec![1.0, 1.0], vec![0.0, 1.0]];
        near(alpha(&units, Metric::Nominal), 1.0 - (1.0 / 3.0) / 0.6);
        near(alpha(&units, Metric::Interval), 1.0 - (1.0 / 3.0) / 0.6);
        near(raw_agreement(&units, 0.0), 2.0 / 3.0);
        near(raw_agreement(&[vec![0.4, 0.5, 0.9]], 0.11), 1.0 / 3.0);
    }

    #[test]
    fn perfect_and_degenerate() {
        near(alpha(&[vec![0.1, 0.1], vec![0.9, 0.9]], Metric::Interval), 1.0);
        for units in [vec![], vec![vec![1.0]], vec![vec![1.0, 1.0], vec![1.0, 1.0]]] {
            assert_eq!(alpha(&units, Metric::Nominal), None, "{units:?}");
            assert_eq!(alpha(&units, Metric::Interval), None, "{units:?}");
        }
        assert_eq!(raw_agreement(&[vec![1.0]], 0.0), None);
    }
}
