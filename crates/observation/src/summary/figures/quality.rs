//! Predicted and observed quality.

use serde::Serialize;

use crate::summary::interval::Interval;

/// How good the answers were.
///
/// Observed quality is what clients and judges said, and they do not speak of a random sample: somebody who is cross
/// speaks sooner. A difference from the prediction may be the sample's. `weighted_by_tier` mends only the choice of
/// the tier, not the choice to speak.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QualitySection {
    /// All requests.
    pub all: QualityFigures,
    /// By the way the answer was come by: `direct`, `escalated`, `fallback`, `unanswered`.
    pub by_path: Vec<QualityFigures>,
    /// By tier that answered.
    pub by_tier: Vec<QualityFigures>,
    /// By task.
    pub by_task: Vec<QualityFigures>,
    /// By cohort.
    pub by_cohort: Vec<QualityFigures>,
    /// Least and greatest rate at which judges drew answers, where they did: those are a random sample.
    pub judged_at_rates: Option<[f64; 2]>,
    /// Observed by predicted quality, in tenths of the latter.
    pub reliability: Vec<Bin>,
    /// Observed quality weighted by propensity, of tiers that were chosen by chance in part.
    pub weighted_by_tier: Vec<Weighted>,
}

/// Quality of a group of requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QualityFigures {
    /// Path, tier, task or cohort; `other` for the rest.
    pub name: String,
    /// The trained tier whose evidence this tier borrows: what is expected of it is a guess.
    pub predicted_as: Option<String>,
    /// Whether these are all that had no place of their own.
    pub is_rest: bool,
    /// Requests.
    pub requests: u64,
    /// Mean expected quality of the tiers that answered.
    pub predicted: Option<f64>,
    /// Requests of which somebody said something that is a quality.
    pub n_observed: u64,
    /// Mean of that.
    pub observed: Option<f64>,
    /// Interval of that: Wilson's for outcomes of 0 and 1, or of few, else by the normal distribution.
    pub observed_interval: Option<Interval>,
    /// Requests of which a user said something: no random sample.
    pub n_by_users: u64,
    /// Requests of which a judge said something, drawn at `judged_at_rates`. Some of them may be of `n_by_users` too.
    pub n_judged: u64,
    /// Mean of what judges said.
    pub judged: Option<f64>,
    /// Interval of that.
    pub judged_interval: Option<Interval>,
    /// Mean observed minus predicted quality of the same requests.
    pub difference: Option<f64>,
    /// Interval of that.
    pub difference_interval: Option<Interval>,
    /// What was said in a word.
    pub verdicts: VerdictCounts,
}

/// Verdicts by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VerdictCounts {
    /// The tier was right.
    pub good_fit: u64,
    /// A better tier was needed.
    pub underpowered: u64,
    /// A cheaper one would have done.
    pub overprovisioned: u64,
    /// The answer was of no use.
    pub failed: u64,
}

impl VerdictCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.good_fit + self.underpowered + self.overprovisioned + self.failed
    }
}

/// Requests of about the same predicted quality.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// Requests of which something was said.
    pub n: u64,
    /// Their mean predicted quality.
    pub predicted: f64,
    /// Their mean observed quality.
    pub observed: f64,
    /// Interval of that.
    pub observed_interval: Interval,
}

/// Observed quality of a tier with inverse propensities as weights, self-normalised (Swaminathan and Joachims
/// 2015): its mean over the requests in which it had a chance, rather than over those that were sent to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Weighted {
    /// The tier.
    pub tier: String,
    /// Outcomes whose tier was chosen by chance in part.
    pub n_by_chance: u64,
    /// Outcomes of equal weight that would tell as much (Kish 1965).
    pub effective_n: f64,
    /// The weighted mean.
    pub observed: f64,
}
