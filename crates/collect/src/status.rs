//! Where a run stands, from its ledger alone: also while it is going on.

use std::path::PathBuf;

use serde::Serialize;

use crate::error::CollectError;
use crate::ledger::{ErrorCount, Ledger, TierTotals};
use crate::run::SAMPLES;

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusReport {
    /// The folder of the run.
    pub folder: PathBuf,
    /// Prompts.
    pub n_prompts: u64,
    /// Answers per prompt and tier.
    pub samples: u32,
    /// Calls that the run consists of.
    pub n_wanted: u64,
    /// Calls without a result.
    pub n_left: u64,
    /// US dollars of all calls, of tiers that are no longer asked too.
    pub cost_usd: f64,
    /// Requests beyond one per answer: retries, failures, and those lost in a kill.
    pub n_extra_requests: u64,
    /// Per tier.
    pub tiers: Vec<TierStatus>,
}

/// Where a tier stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TierStatus {
    /// The tier.
    pub tier: String,
    /// What the endpoint calls the model.
    pub model: String,
    /// Calls without a result.
    pub n_left: u64,
    /// Sums over its calls.
    #[serde(flatten)]
    pub totals: TierTotals,
    /// Requests beyond one per answer.
    pub n_extra_requests: u64,
    /// Calls without an answer, by kind of their last error.
    pub call_errors: Vec<ErrorCount>,
    /// Requests that failed, by kind, those that a retry mended too.
    pub request_errors: Vec<ErrorCount>,
}

/// Reads where the run of `ledger` stands.
pub fn status(ledger: &Ledger) -> Result<StatusReport, CollectError> {
    let n_prompts = ledger.n_prompts()?;
    let samples = samples(ledger)?;
    let n_wanted = n_prompts * u64::from(samples);
    let tiers = ledger.tiers()?.into_iter().map(|tier| {
        let totals = ledger.totals(&tier, samples)?;
        Ok(TierStatus {
            n_left: n_wanted.saturating_sub(totals.n_done()),
            n_extra_requests: totals.n_extra_requests(),
            call_errors: ledger.call_errors(&tier.name)?,
            request_errors: ledger.request_errors(&tier.name)?,
            tier: tier.name,
            model: tier.model,
            totals,
        })
    });
    let tiers = tiers.collect::<Result<Vec<_>, CollectError>>()?;
    Ok(StatusReport {
        folder: ledger.folder().to_path_buf(),
        n_prompts,
        samples,
        n_wanted: n_wanted * tiers.len() as u64,
        n_left: tiers.iter().map(|tier| tier.n_left).sum(),
        cost_usd: ledger.spent_usd()?,
        n_extra_requests: tiers.iter().map(|tier| tier.n_extra_requests).sum(),
        tiers,
    })
}

/// Answers per prompt and tier of the last run.
pub fn samples(ledger: &Ledger) -> Result<u32, CollectError> {
    let samples = ledger.meta(SAMPLES)?;
    Ok(samples.and_then(|samples| samples.parse().ok()).unwrap_or(1))
}
