//! Escalations, failures, waits.

use serde::Serialize;

use crate::summary::interval::Interval;

/// How often something was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Its name; `other` for the rest.
    pub name: String,
    /// Whether these are all that had no place of their own.
    pub is_rest: bool,
    /// Requests.
    pub requests: u64,
}

/// What cascades did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Escalations {
    /// Answered requests in which a cascade went on, by answered requests.
    pub rate: Option<f64>,
    /// Tiers whose answers were read.
    pub stages: Vec<StageFigures>,
    /// From tier to tier.
    pub moves: Vec<Move>,
}

/// Answers of a tier that a cascade read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageFigures {
    /// The tier.
    pub tier: String,
    /// Its answers that were read.
    pub answers_read: u64,
    /// Those after which a dearer tier was asked.
    pub escalated: u64,
    /// Their share.
    pub escalation_rate: Option<f64>,
    /// Wilson interval of the share.
    pub escalation_rate_interval: Option<Interval>,
    /// Mean estimate of the answers that were let out.
    pub estimate_let_out: Option<f64>,
    /// Mean estimate of the answers that were passed on. Nobody saw these: whether they would have done is unknown.
    pub estimate_passed_on: Option<f64>,
    /// Cost of its answers that did not go out, US dollars.
    pub unused_usd: f64,
    /// Answers that were let out and of which something was said.
    pub n_observed: u64,
    /// Their mean observed quality. Feedback is no random sample.
    pub observed: Option<f64>,
    /// Interval of that.
    pub observed_interval: Option<Interval>,
    /// Mean observed minus mean estimate of the same answers: below zero, the estimate is too kind.
    pub above_estimate: Option<f64>,
    /// Interval of that.
    pub above_estimate_interval: Option<Interval>,
    /// Mean target or floor of those of them that had one.
    pub target: Option<f64>,
    /// Mean observed minus mean target of those.
    pub above_target: Option<f64>,
    /// Interval of that; only where all of them had a target.
    pub above_target_interval: Option<Interval>,
    /// What to do about the threshold, where the figures say so.
    pub hint: Option<String>,
}

/// Requests that went from one tier on to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Move {
    /// Tier that was asked before.
    pub from: String,
    /// Tier that was asked next.
    pub to: String,
    /// How often.
    pub calls: u64,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// From tier to tier, because the first failed.
    pub fallbacks: Vec<Fallback>,
    /// Failed calls by tier and kind of the error.
    pub by_tier: Vec<FailureCount>,
    /// Tiers that were out of the question, by cause; `budget` is what a purse refused.
    pub exclusions: Vec<Exclusion>,
}

/// Calls that were made because another failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fallback {
    /// Tier that failed.
    pub from: String,
    /// Tier that was asked next.
    pub to: String,
    /// Kind of the error, or the call's outcome where none was told.
    pub error: String,
    /// How often.
    pub calls: u64,
}

/// Calls that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureCount {
    /// The tier.
    pub tier: String,
    /// Kind of the error.
    pub error: String,
    /// How often.
    pub calls: u64,
}

/// Requests that could not go to a tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exclusion {
    /// The tier.
    pub tier: String,
    /// Why not.
    pub why: String,
    /// How many.
    pub requests: u64,
}

/// How long things took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// From the read request to the decision, milliseconds.
    pub overhead_ms: Option<Quantiles>,
    /// By tier.
    pub by_tier: Vec<TierLatency>,
}

/// How long calls to a tier took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TierLatency {
    /// The tier.
    pub tier: String,
    /// To the first piece of the reply, milliseconds, where it began.
    pub first_token_ms: Option<Quantiles>,
    /// To the end of complete replies, milliseconds.
    pub total_ms: Option<Quantiles>,
}

/// Quantiles, right within 1 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Values.
    pub n: u64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
}
