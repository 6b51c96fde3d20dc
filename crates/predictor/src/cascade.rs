//! What the policy `cascade` rests on: the estimate of answers, the stages, and when an answer is taken.
//! Fitted by `trainer::cascade` on outcomes with replies.

use serde::{Deserialize, Serialize};
use tiercast_routing::cascade::Acceptance;

use crate::answers::AnswerHead;

/// Most replies that a stage is asked for.
pub const MOST_SAMPLES: usize = 16;

/// A fitted cascade.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CascadeFit {
    /// Names of the tiers, cheapest first; two at least.
    pub stages: Vec<String>,
    /// An answer is taken from this estimate of its quality on: one per stage but the last.
    pub thresholds: Vec<f64>,
    /// What happened on validation, one per stage.
    pub acceptance: Vec<Taken>,
    /// Replies that every stage but the last is asked for; what they agree on is read too.
    #[serde(default = "one")]
    pub samples: usize,
    /// Share in [0, 1] of the surprise at an answer that the next stage's answer shares, on validation; for
    /// stopping by value of information.
    #[serde(default)]
    pub dependence: f64,
    /// Share of the best single tier's quality that had to be kept on validation.
    pub kept: f64,
    /// Mean quality on validation.
    pub quality: f64,
    /// Mean cost of all calls on validation, US dollars.
    pub cost_usd: f64,
    /// Estimates the quality of answers.
    pub answers: AnswerHead,
}

/// Answers of a stage that were taken on validation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// Share of those that got this far.
    pub share: f64,
    /// Their mean quality.
    pub quality: f64,
    /// Standard deviation of the estimates of all of the stage's answers.
    #[serde(default)]
    pub spread: f64,
}

fn one() -> usize {
    1
}

impl CascadeFit {
    /// Says what does not fit tiers of these names.
    pub fn check(&self, tiers: &[&str]) -> Result<(), String> {
        let n = self.stages.len();
        if n < 2 || self.thresholds.len() + 1 != n || self.acceptance.len() != n {
            return Err(format!("{n} stages, {} thresholds", self.thresholds.len()));
        }
        if let Some(unknown) = self.stages.iter().find(|stage| !tiers.contains(&stage.as_str())) {
            return Err(format!("stage `{unknown}` is no tier of the catalog"));
        }
        let mut shares = self.thresholds.iter().chain([&self.dependence]);
        if shares.any(|share| !(0.0..=1.0).contains(share)) {
            return Err("a threshold or `dependence` is outside of 0 to 1".to_owned());
        }
        if !(1..=MOST_SAMPLES).contains(&self.samples) {
            return Err(format!("{} samples, 1 to {MOST_SAMPLES} are possible", self.samples));
        }
        if self.acceptance.iter().any(|taken| !(0.0..=1.0).contains(&taken.spread)) {
            return Err("a spread is outside of 0 to 1".to_owned());
        }
        self.answers.check(tiers.len())
    }

    /// What was chosen, and what it came to on validation.
    pub fn sentence(&self) -> String {
        let thresholds: Vec<String> = self.thresholds.iter().map(|at| format!("{at:.2}")).collect();
        format!(
            "cascade: {}; an answer is taken from an estimate of {} on; on validation quality {:.4} at ${:.6} a prompt",
            self.stages.join(", then "),
            thresholds.join(", "),
            self.quality,
            self.cost_usd
        )
    }

    /// For the outlook of a cascade.
    pub fn acceptances(&self) -> Vec<Acceptance> {
        let of = |taken: &Taken| Acceptance {
            share: taken.share,
            quality: taken.quality,
        };
        self.acceptance.iter().map(of).collect()
    }
}
