//! Mean, variance, quantile.

/// Arithmetic mean; `NaN` of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Population variance: the Brier score of the constant mean. `NaN` of nothing.
pub fn variance(values: &[f64]) -> f64 {
    let centre = mean(values);
    values.iter().map(|value| (value - centre).powi(2)).sum::<f64>() / values.len() as f64
}

/// Quantile at `level` in [0, 1], linear between order statistics (type 7, as in numpy). Values
/// that are not finite are left out; `NaN` of nothing.
pub fn quantile(values: &[f64], level: f64) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    if sorted.is_empty() {
        return f64::NAN;
    }
    sorted.sort_by(f64::total_cmp);
    let place = level.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// Entropy in bits of shares that sum to one.
pub fn entropy_bits(shares: &[f64]) -> f64 {
    // `abs` turns the -0.0 of a single share into 0.0.
    shares
        .iter()
        .filter(|share| **share > 0.0)
        .map(|share| -share * share.log2())
        .sum::<f64>()
        .abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
        assert_eq!(variance(&[0.0, 1.0]), 0.25);
        assert_eq!(quantile(&[3.0, 1.0, 2.0, 4.0], 0.5), 2.5);
        assert_eq!(quantile(&[1.0, 2.0], 1.0), 2.0);
        assert_eq!(entropy_bits(&[0.5, 0.25, 0.25]), 1.5);
    }

    #[test]
    fn degenerate() {
        assert!(mean(&[]).is_nan());
        assert!(quantile(&[f64::NAN], 0.5).is_nan());
        assert_eq!(quantile(&[7.0], 0.3), 7.0);
        assert_eq!(entropy_bits(&[1.0, 0.0]), 0.0);
    }
}
