//! Costs, savings, the frontier.

use serde::Serialize;

use crate::summary::interval::Interval;

/// What it cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostSection {
    /// The tier that savings are counted against; absent where nothing was predicted.
    pub always_best: Option<AlwaysBest>,
    /// All requests.
    pub all: CostFigures,
    /// By tier. What was spent is the cost of calls to it; requests and savings are those that it answered.
    pub by_tier: Vec<CostFigures>,
    /// By task.
    pub by_task: Vec<CostFigures>,
    /// By cohort.
    pub by_cohort: Vec<CostFigures>,
}

/// The best single tier: that of the highest mean predicted quality.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlwaysBest {
    /// Its name.
    pub tier: String,
    /// Its mean predicted quality over all requests.
    pub quality_mean: f64,
    /// Mean predicted quality of the tiers that answered: what the savings were had at.
    pub decided_quality_mean: Option<f64>,
    /// Real by expected cost, with which its forecasts of cost are multiplied.
    pub cost_ratio: f64,
    /// Its complete calls that had a forecast.
    pub n_calls: u64,
    /// Where the ratio comes from.
    pub basis: CostBasis,
}

/// Where the ratio of real to expected cost comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CostBasis {
    /// Complete calls of the tier itself; only then there is an interval.
    CallsOfTheTier,
    /// It was hardly called: complete calls of all tiers.
    CallsOfOtherTiers,
    /// Hardly any call was complete: the forecasts as they are.
    ForecastsAlone,
}

/// Money of a group of requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostFigures {
    /// Tier, task or cohort; `other` for the rest.
    pub name: String,
    /// The trained tier whose evidence this tier borrows: what is expected of it is a guess.
    pub predicted_as: Option<String>,
    /// Whether these are all that had no place of their own.
    pub is_rest: bool,
    /// At most so many requests of this name are counted in the rest: it had no place when they came.
    pub missed_at_most: u64,
    /// Requests that were decided; by tier, that it answered.
    pub requests: u64,
    /// Those whose client got a reply.
    pub answered: u64,
    /// Calls, by tier only.
    pub calls: Option<u64>,
    /// Cost of all calls, US dollars, also of those whose answers nobody saw.
    pub spent_usd: f64,
    /// Against the best single tier.
    pub saved: Option<Saved>,
}

/// What was saved against asking the best single tier always: an estimate, as that tier was not asked always. How
/// it is estimated is written in `summary::cost`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Saved {
    /// Answered requests that had a forecast for the best single tier.
    pub compared_requests: u64,
    /// What these did cost, US dollars.
    pub compared_spent_usd: f64,
    /// What they would have cost with the best single tier alone, US dollars.
    pub always_best_usd: f64,
    /// The difference, US dollars; negative where routing cost more.
    pub saved_usd: f64,
    /// Interval of that, from the spread of real around expected costs.
    pub saved_usd_interval: Option<Interval>,
    /// Saved by what the best single tier would have cost.
    pub saved_share: Option<f64>,
    /// Interval of that.
    pub saved_share_interval: Option<Interval>,
}

/// Expected cost and quality of other dials on the same requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FrontierSection {
    /// The cheapest tier whose expected quality reaches a floor; where none does, the best.
    pub floors: Vec<FloorPoint>,
    /// Each tier alone.
    pub tiers: Vec<TierPoint>,
    /// What was decided: expected cost and quality of the tiers that were chosen first.
    pub decided: Option<Point>,
    /// What came of it: real cost of all calls, and expected quality of the tiers that answered.
    pub answered: Option<Point>,
}

/// A point of cost and quality.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Requests.
    pub n: u64,
    /// Mean cost of a request, US dollars.
    pub cost_usd: f64,
    /// Mean expected quality.
    pub quality: f64,
}

/// A floor on expected quality.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FloorPoint {
    /// The floor.
    pub floor: f64,
    /// What is expected of it.
    #[serde(flatten)]
    pub point: Point,
}

/// A tier alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TierPoint {
    /// The tier.
    pub tier: String,
    /// What is expected of it.
    #[serde(flatten)]
    pub point: Point,
}
