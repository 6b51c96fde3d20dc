//! How the tolerated false alarms are divided among the tests.
//!
//! A detector that is fed a part of the rows and another that is fed the rest need one share together: alarms
//! are counted per value, and each value goes to one of them. So there is a share per kind of test and not per
//! tier, task or cohort.

use super::settings::Settings;

/// Prompts against the training prompts, per window.
pub(super) const UNLIKE_TRAINING: f64 = 0.05;
/// Prompts against the first windows, per window.
pub(super) const CHANGED: f64 = 0.15;
/// Mix of tiers against the first windows, per window.
pub(super) const MIX: f64 = 0.05;
/// Predicted quality against the first windows, per window.
pub(super) const PREDICTED: f64 = 0.05;
/// Answers worse than predicted, per rating.
pub(super) const WORSE: f64 = 0.4;
/// Answers better than predicted, per rating.
pub(super) const BETTER: f64 = 0.1;
/// Price, per call.
pub(super) const PRICE: f64 = 0.02;
/// Longer replies, and as much again for shorter ones, per call.
pub(super) const LENGTH: f64 = 0.04;
/// Time to the first token, per call.
pub(super) const FIRST_TOKEN: f64 = 0.05;
/// Time to the end, per call.
pub(super) const TOTAL: f64 = 0.05;

/// Shares of [`WORSE`] and [`BETTER`] by what ratings are grouped by.
pub(super) const OVERALL: f64 = 0.2;
/// By tier.
pub(super) const BY_TIER: f64 = 0.5;
/// By tier and task.
pub(super) const BY_TASK: f64 = 0.15;
/// By cohort.
pub(super) const BY_COHORT: f64 = 0.15;

/// Values per request below which a detector is not made faster: at the very beginning, and with hardly any feedback.
const LEAST_PACE: f64 = 0.001;

/// Chance of a false alarm that a window may have.
pub(super) fn per_window(share: f64, settings: &Settings) -> f64 {
    (share * settings.window as f64 / settings.requests_per_false_alarm).min(0.05)
}

/// Evidence that a detector needs, which is the mean number of its values between false alarms. It is stated in
/// requests; `n_values` in `n_requests` so far is how fast values come.
pub(super) fn evidence(share: f64, n_values: u64, n_requests: u64, settings: &Settings) -> f64 {
    let pace = n_values as f64 / n_requests.max(1) as f64;
    (settings.requests_per_false_alarm / share * pace.max(LEAST_PACE)).max(20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_at_most_the_whole() {
        let kinds = [
            UNLIKE_TRAINING,
            CHANGED,
            MIX,
            PREDICTED,
            WORSE,
            BETTER,
            PRICE,
            2.0 * LENGTH,
            FIRST_TOKEN,
            TOTAL,
        ];
        assert!((kinds.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!((OVERALL + BY_TIER + BY_TASK + BY_COHORT - 1.0).abs() < 1e-9);
    }

    #[test]
    fn by_hand() {
        let settings = Settings::default();
        assert!((per_window(0.1, &settings) - 5e-5).abs() < 1e-12);
        // One rating in five requests: a million requests are 200,000 ratings, and this test has half the alarms.
        assert!((evidence(0.5, 200, 1_000, &settings) - 400_000.0).abs() < 1e-6);
        assert_eq!(evidence(1.0, 0, 0, &settings), 1_000.0);
    }
}
