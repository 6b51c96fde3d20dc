//! Cascades: whose answers were let out, whose passed on, and whether that was right.

use super::figures::StageFigures;
use super::interval::{of_difference, of_mean, wilson};
use super::sum::{Moments, Sum};

/// Answers of a tier that a cascade read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Stage {
    pub(crate) read: u64,
    pub(crate) escalated: u64,
    /// Estimates of the answers that were let out, and of those that were passed on.
    let_out: Moments,
    passed_on: Moments,
    /// What answers did cost that nobody saw.
    unused: Sum,
    observed: Moments,
    n_two_valued: u64,
    /// Observed minus estimate.
    above_estimate: Moments,
    /// Observed minus target, and the targets.
    above_target: Moments,
    targets: Moments,
}

impl Stage {
    /// An answer that was let out.
    pub(crate) fn let_out(&mut self, estimate: Option<f64>) {
        self.read += 1;
        estimate.into_iter().for_each(|estimate| self.let_out.add(estimate));
    }

    /// An answer after which a dearer tier was asked; `unused` is its cost where it did not go out after all.
    pub(crate) fn pass_on(&mut self, estimate: Option<f64>, unused: Option<f64>) {
        self.read += 1;
        self.escalated += 1;
        estimate.into_iter().for_each(|estimate| self.passed_on.add(estimate));
        unused.into_iter().for_each(|cost| self.unused.add(cost));
    }

    /// What was said of an answer that was let out.
    pub(crate) fn observe(&mut self, estimate: f64, target: Option<f64>, observed: f64) {
        self.observed.add(observed);
        self.n_two_valued += u64::from(observed == 0.0 || observed == 1.0);
        self.above_estimate.add(observed - estimate);
        if let Some(target) = target {
            self.above_target.add(observed - target);
            self.targets.add(target);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.read += other.read;
        self.escalated += other.escalated;
        self.let_out.merge(&other.let_out);
        self.passed_on.merge(&other.passed_on);
        self.unused.merge(other.unused);
        self.observed.merge(&other.observed);
        self.n_two_valued += other.n_two_valued;
        self.above_estimate.merge(&other.above_estimate);
        self.above_target.merge(&other.above_target);
        self.targets.merge(&other.targets);
    }

    pub(crate) fn figures(&self, tier: &str) -> StageFigures {
        let rate = (self.read > 0).then(|| self.escalated as f64 / self.read as f64);
        let difference = |paired: &Moments| of_difference(paired, &self.observed, self.n_two_valued);
        // Where only some answers had a target, the rest say nothing of it.
        let has_targets = self.targets.n > 0 && self.targets.n == self.observed.n;
        let mut figures = StageFigures {
            tier: tier.to_owned(),
            answers_read: self.read,
            escalated: self.escalated,
            escalation_rate: rate,
            escalation_rate_interval: rate.and_then(|rate| wilson(rate, self.read)),
            estimate_let_out: self.let_out.mean(),
            estimate_passed_on: self.passed_on.mean(),
            unused_usd: self.unused.value(),
            n_observed: self.observed.n,
            observed: self.observed.mean(),
            observed_interval: of_mean(&self.observed, self.n_two_valued),
            above_estimate: self.above_estimate.mean(),
            above_estimate_interval: difference(&self.above_estimate),
            target: self.targets.mean(),
            above_target: self.above_target.mean(),
            above_target_interval: difference(&self.above_target).filter(|_| has_targets),
            hint: None,
        };
        figures.hint = super::hint::of(&figures);
        figures
    }
}
