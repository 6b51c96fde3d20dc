//! What the calls took: the sums behind `/v1/stats`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// How a call went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The whole reply reached the client.
    Complete,
    /// The client left before the end.
    ClientGone,
    /// The endpoint failed, or its reply broke off.
    Failed,
}

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::Failed => "failed",
        }
    }
}

/// One call that was sent, settled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) outcome: Outcome,
    pub(crate) input_tokens: f64,
    pub(crate) cached_tokens: f64,
    pub(crate) output_tokens: f64,
    pub(crate) cost_usd: f64,
    /// Tokens were not told by the endpoint.
    pub(crate) is_estimated: bool,
}

/// Sums of one tier.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct TierAccount {
    /// Decisions that chose it.
    pub(crate) decisions: u64,
    /// Calls by how they went.
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// Calls that came from a tier that failed.
    pub(crate) fallbacks_in: u64,
    /// Calls that went on to another tier.
    pub(crate) fallbacks_out: u64,
    /// Calls of a cascade that came after an answer that was not good enough.
    pub(crate) escalations_in: u64,
    /// Answers of a cascade that were not good enough.
    pub(crate) escalations_out: u64,
    pub(crate) input_tokens: f64,
    pub(crate) cached_input_tokens: f64,
    pub(crate) output_tokens: f64,
    pub(crate) cost_usd: f64,
    /// Calls whose tokens were estimated, since the endpoint told none: broken off, or left.
    pub(crate) estimated: u64,
    /// What of `cost_usd` rests on estimates.
    pub(crate) estimated_cost_usd: f64,
}

/// Sums since the start, by tier.
#[derive(Debug, Default)]
pub(crate) struct Accounts(Mutex<BTreeMap<String, TierAccount>>);

impl Accounts {
    pub(crate) fn decided(&self, tier: &str) {
        self.lock().entry(tier.to_owned()).or_default().decisions += 1;
    }

    pub(crate) fn fell_back(&self, from: &str, to: &str) {
        let mut all = self.lock();
        all.entry(from.to_owned()).or_default().fallbacks_out += 1;
        all.entry(to.to_owned()).or_default().fallbacks_in += 1;
    }

    pub(crate) fn escalated(&self, from: &str, to: &str) {
        let mut all = self.lock();
        all.entry(from.to_owned()).or_default().escalations_out += 1;
        all.entry(to.to_owned()).or_default().escalations_in += 1;
    }

    pub(crate) fn settle(&self, tier: &str, call: &Call) {
        let mut all = self.lock();
        let sums = all.entry(tier.to_owned()).or_default();
        *sums.calls.entry(call.outcome.name()).or_default() += 1;
        sums.input_tokens += call.input_tokens;
        sums.cached_input_tokens += call.cached_tokens;
        sums.output_tokens += call.output_tokens;
        sums.cost_usd += call.cost_usd;
        if call.is_estimated {
            sums.estimated += 1;
            sums.estimated_cost_usd += call.cost_usd;
        }
    }

    pub(crate) fn all(&self) -> BTreeMap<String, TierAccount> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, TierAccount>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
