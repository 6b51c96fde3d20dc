//! Bounds that hold with a stated probability.

use statrs::distribution::{Beta, ContinuousCDF};

/// Clopper-Pearson upper bound: the rate that `n_events` of `n_trials` stays below with probability
/// of at least 1 - `delta`. One when there is no trial.
pub fn clopper_pearson_upper(n_events: usize, n_trials: usize, delta: f64) -> f64 {
    if n_events >= n_trials {
        return 1.0;
    }
    match Beta::new(n_events as f64 + 1.0, (n_trials - n_events) as f64) {
        Ok(beta) => beta.inverse_cdf(1.0 - delta),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_event_is_the_rule_of_three() {
        // Zero of n: 1 - delta^(1/n).
        let expected = 1.0 - 0.05_f64.powf(1.0 / 100.0);
        assert!((clopper_pearson_upper(0, 100, 0.05) - expected).abs() < 1e-6);
    }

    #[test]
    fn one_of_ten() {
        // Textbook: one-sided 97.5 % bound of 1/10 is .4450.
        assert!((clopper_pearson_upper(1, 10, 0.025) - 0.4450).abs() < 1e-4);
    }

    #[test]
    fn degenerate() {
        assert_eq!(clopper_pearson_upper(0, 0, 0.05), 1.0);
        assert_eq!(clopper_pearson_upper(5, 5, 0.05), 1.0);
    }
}
