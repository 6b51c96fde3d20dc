//! Sums over a ledger: how far each tier is, what it cost, what went wrong.

use rusqlite::params;
use serde::Serialize;

use super::{Ledger, RunTier};
use crate::error::CollectError;

/// How far a tier is.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct TierTotals {
    /// Calls with an answer.
    pub n_answered: u64,
    /// Answers cut at their limit.
    pub n_truncated: u64,
    /// Answers that the provider's filter ended (`content_filter`): what is there of them counts as the answer.
    pub n_filtered: u64,
    /// Calls that this tier cannot answer, such as prompts longer than its window.
    pub n_unanswerable: u64,
    /// Calls that failed in a way that may pass.
    pub n_failed: u64,
    /// Calls under way, of a run that goes on or was killed.
    pub n_open: u64,
    /// Requests sent, as far as is known.
    pub n_requests: u64,
    /// Requests under way when a run was killed.
    pub n_lost: u64,
    /// Tokens of prompts.
    pub input_tokens: u64,
    /// Those of them that the provider had cached.
    pub cached_input_tokens: u64,
    /// Tokens of replies.
    pub output_tokens: u64,
    /// Answers whose tokens were counted here.
    pub n_tokens_estimated: u64,
    /// US dollars.
    pub cost_usd: f64,
    /// Mean seconds to the end of an answer.
    pub mean_latency_s: Option<f64>,
}

impl TierTotals {
    /// Results: calls that are not asked again.
    pub fn n_done(&self) -> u64 {
        self.n_answered + self.n_unanswerable
    }

    /// Requests beyond one per answer: retries, failures, and those lost in a kill.
    pub fn n_extra_requests(&self) -> u64 {
        (self.n_requests + self.n_lost).saturating_sub(self.n_answered)
    }
}

/// Errors of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorCount {
    /// In one word.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// A message of the kind, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
}

impl Ledger {
    /// Sums over the calls of `tier` to the prompts of the run.
    pub fn totals(&self, tier: &RunTier, n_samples: u32) -> Result<TierTotals, CollectError> {
        let query = "SELECT count(*) FILTER (WHERE status = 'answered'), count(*) FILTER (WHERE truncated), \
                     count(*) FILTER (WHERE status = 'unanswerable'), count(*) FILTER (WHERE status = 'failed'), \
                     count(*) FILTER (WHERE status = 'open'), coalesce(sum(attempts), 0), coalesce(sum(lost), 0), \
                     coalesce(sum(input_tokens), 0), coalesce(sum(cached_input_tokens), 0), \
                     coalesce(sum(output_tokens), 0), count(*) FILTER (WHERE tokens_estimated), \
                     coalesce(sum(cost_usd), 0.0), avg(latency_s), \
                     count(*) FILTER (WHERE status = 'answered' AND finish_reason = 'content_filter') \
                     FROM calls WHERE tier = ?1 AND parameters_hash = ?2 AND sample < ?3 \
                     AND prompt_id IN (SELECT prompt_id FROM prompts)";
        let parameters = params![tier.name, tier.parameters_hash, n_samples];
        let totals = self.connection.query_row(query, parameters, |row| {
            Ok(TierTotals {
                n_answered: row.get(0)?,
                n_truncated: row.get(1)?,
                n_unanswerable: row.get(2)?,
                n_failed: row.get(3)?,
                n_open: row.get(4)?,
                n_requests: row.get(5)?,
                n_lost: row.get(6)?,
                input_tokens: row.get(7)?,
                cached_input_tokens: row.get(8)?,
                output_tokens: row.get(9)?,
                n_tokens_estimated: row.get(10)?,
                cost_usd: row.get(11)?,
                mean_latency_s: row.get(12)?,
                n_filtered: row.get(13)?,
            })
        });
        totals.map_err(self.failed("read"))
    }

    /// US dollars of all calls, of tiers and prompts that are no longer asked too.
    pub fn spent_usd(&self) -> Result<f64, CollectError> {
        let sum = "SELECT coalesce(sum(cost_usd), 0.0) FROM calls";
        let sum = self.connection.query_row(sum, [], |row| row.get(0));
        sum.map_err(self.failed("read"))
    }

    /// Failed attempts of a tier by kind, those that a retry mended too.
    pub fn request_errors(&self, tier: &str) -> Result<Vec<ErrorCount>, CollectError> {
        self.errors(
            "SELECT kind, count(*), NULL FROM failed_attempts WHERE tier = ?1 GROUP BY kind ORDER BY 2 DESC, 1",
            tier,
        )
    }

    /// Calls of a tier without an answer by kind of their last error.
    pub fn call_errors(&self, tier: &str) -> Result<Vec<ErrorCount>, CollectError> {
        self.errors(
            "SELECT error_kind, count(*), max(error_message) FROM calls WHERE tier = ?1 \
             AND status IN ('failed', 'unanswerable') AND error_kind IS NOT NULL \
             AND prompt_id IN (SELECT prompt_id FROM prompts) GROUP BY error_kind ORDER BY 2 DESC, 1",
            tier,
        )
    }

    fn errors(&self, query: &str, tier: &str) -> Result<Vec<ErrorCount>, CollectError> {
        let read = || -> rusqlite::Result<Vec<ErrorCount>> {
            let mut select = self.connection.prepare_cached(query)?;
            let rows = select.query_map([tier], |row| {
                Ok(ErrorCount {
                    kind: row.get(0)?,
                    count: row.get(1)?,
                    example: row.get(2)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(self.failed("read"))
    }
}
