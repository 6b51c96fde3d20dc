//! How well a request is covered by what was trained on.

use serde::{Deserialize, Serialize};

use crate::decide::Forecast;

/// What a forecast rests on. "No evidence" is never "simple": where it is insufficient, the decision
/// takes the safe tier.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Cosine similarity to the nearest training prompts, at most 1.
    pub similarity: f64,
    /// Standard deviation of the expected quality over the members of the ensemble, mean over tiers.
    pub spread: f64,
    /// Doubt in [0, 1], from similarity and spread: 0 for what is like the training prompts.
    pub doubt: f64,
    /// Whether a decision may rest on the forecast.
    pub sufficient: bool,
}

impl Evidence {
    /// Nothing is known of the request.
    pub const NONE: Self = Self {
        similarity: 0.0,
        spread: 0.0,
        doubt: 1.0,
        sufficient: false,
    };
}

/// What is expected of every tier on one request, and what that rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// One per tier, in catalog order.
    pub forecasts: Vec<Forecast>,
    /// Whether a decision may rest on them.
    pub evidence: Evidence,
    /// What the classifier says, where there is one: per tier, in catalog order, the probability that it or a
    /// cheaper one is good enough.
    pub enough: Option<Vec<f64>>,
    /// The task that the request most looks like, by position among those of training; `None` where it is like
    /// none of them.
    pub task: Option<usize>,
}
