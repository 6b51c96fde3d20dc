//! The one value that a comparison of policies makes; JSON, Markdown, HTML and SVG are views of it.

use serde::{Deserialize, Serialize};

use crate::report::{CheckpointInfo, DataSummary, Estimate, Point, References, TierSummary};

/// Version of this format; raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// Policies on the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// What made the forecasts.
    pub checkpoint: CheckpointInfo,
    /// On what.
    pub data: DataSummary,
    /// The tiers, in catalog order.
    pub tiers: Vec<TierSummary>,
    /// Best single tier (chosen on validation), cheapest and dearest.
    pub references: References,
    /// The policies, the leading one first, then every single tier.
    pub policies: Vec<PolicyRow>,
    /// How often certificates of the first policy are broken; empty where its dial is no floor.
    pub certificates: Vec<CertificateReport>,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

/// A certificate, tried on random halves of the rows: "among items sent to a cheaper tier than the dearest, the
/// share lost is at most alpha, with confidence 1 - delta" (A.8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CertificateReport {
    /// `missed` (quality under .5) or `avoidable` (and the dearest tier's at least .5).
    pub loss: String,
    /// Largest share lost.
    pub alpha: f64,
    /// Probability that it is more.
    pub delta: f64,
    /// Random halves tried.
    pub n_splits: usize,
    /// Share of them where something was certified.
    pub certified: f64,
    /// Mean share of the items sent to a cheaper tier, none where nothing was certified.
    pub share: f64,
    /// Share of the splits whose other half lost more than alpha: what was certified and the noise of that half.
    pub broken_on_other_half: f64,
    /// Share of the splits at whose floor all rows together lose more than alpha.
    pub broken_on_all: f64,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyRow {
    /// As in the config.
    pub name: String,
    /// For a reader.
    pub label: String,
    /// What the dial is; empty where there is none.
    pub dial: String,
    /// Settings tried.
    pub settings: Vec<f64>,
    /// Mean cost (US dollars per item) and quality at each of them.
    pub sweep: Vec<Point>,
    /// Mean height of the hull between the cheapest and the dearest tier's mean cost (A.2); `None` without
    /// a dial.
    pub aiq: Option<Estimate>,
    /// That minus the first policy's, paired on the same replicates.
    pub aiq_minus_first: Option<Estimate>,
    /// The settings chosen on validation, or the only one.
    pub points: Vec<PolicyPoint>,
}

/// A policy at one setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyPoint {
    /// Share of the best single tier's quality that the setting had to keep on validation; `None` without
    /// a dial.
    pub kept_on_validation: Option<f64>,
    /// The setting; `None` without a dial.
    pub setting: Option<f64>,
    /// Mean quality of the answers given.
    pub quality: Estimate,
    /// Mean cost of all calls, US dollars per item.
    pub cost_usd: Estimate,
    /// Quality over the best single tier's; paired replicates.
    pub kept_of_best: Estimate,
    /// One minus cost over the best single tier's.
    pub saved_of_best: Estimate,
    /// Quality over the dearest tier's.
    pub kept_of_dearest: Estimate,
    /// One minus cost over the dearest tier's.
    pub saved_of_dearest: Estimate,
    /// Calls per item.
    pub calls: f64,
    /// Share of the items with more than one call.
    pub escalated: f64,
    /// Share of the items answered by each tier, catalog order.
    pub tier_shares: Vec<f64>,
    /// Of the items that the cheapest tier answers with a quality of at least .5, the share that went there
    /// and nowhere else; `None` where there are none.
    pub cheapest_captured: Option<Estimate>,
    /// Mean over items of the summed latencies, seconds; `None` where the data has none.
    pub latency_s: Option<f64>,
}
