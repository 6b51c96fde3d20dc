//! Of a report: what is left when the doubtful items are set aside.

use serde::{Deserialize, Serialize};

use super::Estimate;

/// What is left when the doubtful items are set aside (Geifman and El-Yaniv 2017). Two risks of an
/// item: that of the decision, 1 unless the tier that `auto` chose reached the best outcome among
/// the tiers (ties are right); and that of the forecast, its squared error (Brier), mean over tiers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelectiveReport {
    /// References for the risk of the decision: the share of wrong decisions.
    pub decision: SelectiveReference,
    /// References for the risk of the forecast.
    pub forecast: SelectiveReference,
    /// Ways to say which items are doubtful: `doubt`, what the forecast rests on, where the caller
    /// gave evidence; then `confidence`, 1 - P(quality of the chosen tier >= target).
    pub orders: Vec<SelectiveOrder>,
    /// The gate that calls evidence insufficient; `None` where the caller gave no evidence.
    pub gate: Option<GateReport>,
}

/// The area under the risk-coverage curve (AURC) of orders that need no doubt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SelectiveReference {
    /// Of a random order, in expectation: the risk over all items.
    pub random: Estimate,
    /// Of the order by the risk itself: no order can be lower.
    pub optimal: Estimate,
}

/// One way to order items by doubt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelectiveOrder {
    /// `doubt` or `confidence`.
    pub name: String,
    /// Area for the risk of the decision.
    pub decision: SelectiveArea,
    /// Area for the risk of the forecast.
    pub forecast: SelectiveArea,
    /// At coverages of 5 %, 10 %, ..., 100 %.
    pub curve: Vec<CoveragePoint>,
}

/// Area under the risk-coverage curve: mean over k of the risk of the k least doubtful items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SelectiveArea {
    /// The area; lower is better.
    pub aurc: Estimate,
    /// The area minus that of a random order, paired: below zero is in favour of the order.
    pub minus_random: Estimate,
    /// Whether the 95 % interval of that difference excludes zero.
    pub significant: bool,
}

/// The items of least doubt, up to one coverage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CoveragePoint {
    /// Share of the items that are kept.
    pub coverage: f64,
    /// Mean quality of the tier that `auto` chose.
    pub quality: Estimate,
    /// Share of right decisions.
    pub accuracy: Estimate,
    /// Brier score, mean over tiers.
    pub brier: Estimate,
}

/// The two sides of the gate, and what it does to `auto`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// Share of items whose evidence is insufficient.
    pub insufficient_share: Estimate,
    /// Items of sufficient evidence; `None` when there are none.
    pub sufficient: Option<GateSide>,
    /// The others; `None` when there are none.
    pub insufficient: Option<GateSide>,
    /// Sufficient minus insufficient, paired; `None` when either side is empty.
    pub difference: Option<GateDifference>,
    /// The tier that the insufficient go to: the dearest.
    pub safe_tier: String,
    /// Quality of `auto` with the gate minus without.
    pub quality_change: Estimate,
    /// Cost of `auto` with the gate minus without, US dollars per item.
    pub cost_change_usd: Estimate,
}

/// `auto` (without the gate) and the forecasts on one side of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GateSide {
    /// Items.
    pub n_items: usize,
    /// Mean quality of the tier that `auto` chose.
    pub quality: Estimate,
    /// Share of right decisions.
    pub accuracy: Estimate,
    /// Brier score, mean over tiers.
    pub brier: Estimate,
}

/// One side of the gate minus the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GateDifference {
    /// In the share of right decisions.
    pub accuracy: Estimate,
    /// In the Brier score.
    pub brier: Estimate,
}
