//! What a summary says, as values: the JSON of `/v1/stats` and of `tiercast report --json`.
//!
//! Every figure is finite or absent (`null`). Costs are US dollars, qualities lie in [0, 1], times are milliseconds
//! since 1970, waits milliseconds; intervals are 95 % intervals. Rows of tables are in the order of their names,
//! the rest last.

use serde::Serialize;

mod flow;
mod money;
mod quality;

pub use flow::{
    Count, Escalations, Exclusion, FailureCount, Failures, Fallback, Latency, Move, Quantiles, StageFigures,
    TierLatency,
};
pub use money::{
    AlwaysBest, CostBasis, CostFigures, CostSection, FloorPoint, FrontierSection, Point, Saved, TierPoint,
};
pub use quality::{Bin, QualityFigures, QualitySection, VerdictCounts, Weighted};

/// Everything that is said of a period.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Time of the first and the last row.
    pub period: Period,
    /// How much there was.
    pub totals: Totals,
    /// What it cost, and what was saved.
    pub cost: CostSection,
    /// How good the answers were.
    pub quality: QualitySection,
    /// What cascades passed on.
    pub escalations: Escalations,
    /// What went wrong, and what was out of the question.
    pub failures: Failures,
    /// How long it took.
    pub latency: Latency,
    /// What other dials would be expected to cost and to give.
    pub frontier: FrontierSection,
    /// Over time, one per width of bucket that was asked for.
    pub timelines: Vec<TimelineFigures>,
}

/// Times of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Period {
    /// Time of the earliest decision.
    pub from_ms: Option<i64>,
    /// Time of the latest decision.
    pub to_ms: Option<i64>,
}

/// Sums over all rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Totals {
    /// Requests that were decided.
    pub requests: u64,
    /// Requests whose client got a reply.
    pub answered: u64,
    /// Requests with calls, none of which gave a reply.
    pub failed: u64,
    /// Requests that no tier was asked for, though they were to be forwarded: refused, or nothing fitted.
    pub refused: u64,
    /// Requests of `/v1/route`, which forwards nothing.
    pub decided_only: u64,
    /// Requests whose evidence was insufficient.
    pub insufficient_evidence: u64,
    /// Cost of all calls, US dollars.
    pub spent_usd: f64,
    /// Calls to tiers.
    pub calls: u64,
    /// Calls whose tokens were counted here, because the endpoint told none.
    pub calls_with_estimated_tokens: u64,
    /// Tokens of prompts.
    pub input_tokens: f64,
    /// The part of them that was cached.
    pub cached_tokens: f64,
    /// Tokens of replies.
    pub output_tokens: f64,
    /// Figures of rows that were no numbers, or negative where that cannot be; they count as absent.
    pub unusable_figures: u64,
    /// By path that took them: `chat`, `responses`, `messages`, `route`.
    pub by_endpoint: Vec<Count>,
    /// By policy.
    pub by_policy: Vec<Count>,
    /// By reason of the decision.
    pub by_reason: Vec<Count>,
    /// By rule that fired.
    pub by_rule: Vec<Count>,
    /// By checkpoint that predicted.
    pub by_checkpoint: Vec<Count>,
}

/// A series over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimelineFigures {
    /// Width of a bucket, milliseconds.
    pub bucket_ms: i64,
    /// Rows that were too old for the series when they came.
    pub late: u64,
    /// From the oldest bucket to the newest, without gaps.
    pub points: Vec<TimePoint>,
}

/// A bucket of time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimePoint {
    /// Its beginning.
    pub from_ms: i64,
    /// Requests that were decided.
    pub requests: u64,
    /// Requests whose client got a reply.
    pub answered: u64,
    /// Cost of their calls, US dollars.
    pub spent_usd: f64,
    /// Saved against the best single tier, US dollars; see [`Saved`].
    pub saved_usd: Option<f64>,
    /// Mean expected quality of the tiers that answered.
    pub predicted: Option<f64>,
    /// Requests in which a cascade went on to a dearer tier and that were answered.
    pub escalated: u64,
    /// Requests that another tier answered because one failed.
    pub fallbacks: u64,
    /// Calls that failed.
    pub errors: u64,
}
