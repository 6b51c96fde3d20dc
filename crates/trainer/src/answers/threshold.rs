//! Below which estimate a cascade escalates: the cheapest rule that loses no more than stated.

use serde::{Deserialize, Serialize};

/// Above every estimate: all is escalated.
const ALL: f64 = 2.0;

/// What one tier did on a prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Done {
    /// Quality in [0, 1].
    pub quality: f64,
    /// US dollars.
    pub cost_usd: f64,
}

/// A validation prompt at one step of a cascade.
///
/// Chains of more than two tiers are fitted from the dear end: `dear` is then what the rest of the
/// cascade, with its thresholds, did and cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Estimated quality of the cheap reply.
    pub estimate: f64,
    /// The cheap tier, which is always asked.
    pub cheap: Done,
    /// The dear tier.
    pub dear: Done,
}

/// A threshold and what it did on validation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// A reply whose estimate is below is escalated; 0 accepts all, 2 escalates all.
    pub escalate_below: f64,
    /// Mean quality.
    pub quality: f64,
    /// Mean cost of all calls in US dollars.
    pub cost_usd: f64,
    /// Share of prompts that are escalated.
    pub escalated: f64,
}

impl Threshold {
    /// Whether a reply with this estimate is escalated; an estimate that is not a number is.
    pub fn escalates(&self, estimate: f64) -> bool {
        estimate.is_nan() || estimate < self.escalate_below
    }
}

/// Why there is no threshold.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ThresholdError {
    /// No validation row.
    #[error("no validation prompt has a reply of both tiers: the cascade's threshold cannot be fitted")]
    NoRows,
    /// The loss is no loss.
    #[error("a quality loss of {0} is not in [0, 1]")]
    Loss(f64),
    /// A row with values that are no estimate, quality or cost.
    #[error("validation row {0} has an estimate, quality or cost that is not finite, or a negative cost")]
    Row(usize),
}

/// The threshold of least mean cost whose mean quality is at most `loss` below the better tier's.
/// Of two that cost the same the one with more quality.
///
/// Always feasible: one of the two ends is the better tier. It is chosen among many on the rows that
/// are given, so a new sample loses a little more; `statistics::certify` bounds that.
pub fn fit_threshold(steps: &[Step], loss: f64) -> Result<Threshold, ThresholdError> {
    if !(0.0..=1.0).contains(&loss) {
        return Err(ThresholdError::Loss(loss));
    }
    if let Some(row) = steps.iter().position(|step| !is_sound(step)) {
        return Err(ThresholdError::Row(row));
    }
    let settings = settings(steps);
    let (Some(none), Some(all)) = (settings.first(), settings.last()) else {
        return Err(ThresholdError::NoRows);
    };
    let least = none.quality.max(all.quality) - loss;
    let kept = settings.iter().filter(|setting| setting.quality >= least - 1e-12);
    let cheapest = kept.min_by(|a, b| a.cost_usd.total_cmp(&b.cost_usd).then(b.quality.total_cmp(&a.quality)));
    Ok(*cheapest.unwrap_or(all))
}

fn is_sound(step: &Step) -> bool {
    let values = [step.estimate, step.cheap.quality, step.dear.quality];
    values.iter().all(|value| value.is_finite())
        && [step.cheap, step.dear]
            .iter()
            .all(|done| done.cost_usd.is_finite() && done.cost_usd >= 0.0)
}

/// From escalating none to all, one setting between any two estimates that differ.
fn settings(steps: &[Step]) -> Vec<Threshold> {
    let n = steps.len() as f64;
    let mut sorted = steps.to_vec();
    sorted.sort_by(|a, b| a.estimate.total_cmp(&b.estimate));
    let mut quality: f64 = steps.iter().map(|step| step.cheap.quality).sum();
    let mut cost_usd: f64 = steps.iter().map(|step| step.cheap.cost_usd).sum();
    let mut settings = Vec::new();
    for (n_escalated, step) in sorted.iter().enumerate() {
        let before = n_escalated.checked_sub(1).map(|before| sorted[before].estimate);
        if before != Some(step.estimate) {
            settings.push(Threshold {
                escalate_below: before.map_or(0.0, |before| f64::midpoint(before, step.estimate)),
                quality: quality / n,
                cost_usd: cost_usd / n,
                escalated: n_escalated as f64 / n,
            });
        }
        quality += step.dear.quality - step.cheap.quality;
        cost_usd += step.dear.cost_usd;
    }
    if !sorted.is_empty() {
        settings.push(Threshold {
            escalate_below: ALL,
            quality: quality / n,
            cost_usd: cost_usd / n,
            escalated: 1.0,
        });
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(estimate: f64, cheap: f64, dear: f64) -> Step {
        Step {
            estimate,
            cheap: Done {
                quality: cheap,
                cost_usd: 1.0,
            },
            dear: Done {
                quality: dear,
                cost_usd: 10.0,
            },
        }
    }

    fn check(steps: &[Step], loss: f64, escalate_below: f64, quality: f64, cost_usd: f64) {
        let found = fit_threshold(steps, loss).expect("sound rows");
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(
            close(found.escalate_below, escalate_below)
                && close(found.quality, quality)
                && close(found.cost_usd, cost_usd),
            "{found:?}"
        );
        let escalated = steps.iter().filter(|step| found.escalates(step.estimate)).count();
        assert!(close(found.escalated, escalated as f64 / steps.len() as f64));
    }

    #[test]
    fn the_cheapest_within_the_loss() {
        let steps = [
            step(0.9, 1.0, 1.0),
            step(0.2, 0.0, 1.0),
            step(0.6, 0.0, 1.0),
            step(0.8, 1.0, 1.0),
        ];
        check(&steps, 0.0, 0.7, 1.0, 6.0);
        check(&steps, 0.25, 0.4, 0.75, 3.5);
        check(&steps, 0.5, 0.0, 0.5, 1.0);
    }

    #[test]
    fn a_cheap_tier_that_is_better_keeps_all() {
        check(&[step(0.1, 1.0, 0.0), step(0.2, 1.0, 1.0)], 0.0, 0.0, 1.0, 1.0);
    }

    #[test]
    fn a_useless_estimate_escalates_all_or_none() {
        let steps = [step(0.5, 0.0, 1.0), step(0.5, 1.0, 1.0)];
        check(&steps, 0.1, ALL, 1.0, 11.0);
        check(&steps, 0.5, 0.0, 0.5, 1.0);
    }

    #[test]
    fn degenerate() {
        assert_eq!(fit_threshold(&[], 0.1), Err(ThresholdError::NoRows));
        assert_eq!(
            fit_threshold(&[step(0.5, 1.0, 1.0)], -0.1),
            Err(ThresholdError::Loss(-0.1))
        );
        assert_eq!(
            fit_threshold(&[step(0.5, 1.0, 1.0), step(f64::NAN, 1.0, 1.0)], 0.1),
            Err(ThresholdError::Row(1))
        );
        let found = fit_threshold(&[step(0.5, 1.0, 1.0)], 0.1).expect("a sound row");
        assert!(found.escalates(f64::NAN) && !found.escalates(0.0));
    }
}
