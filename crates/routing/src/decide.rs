//! The decision: the cheapest tier that is good enough.
//!
//! Evaluation and server call [`decide`] alike, so the rule that is measured is the rule that is
//! served. Filter, constrain, choose: DESIGN section 3.

use serde::{Deserialize, Serialize};

use crate::catalog::Catalog;
use crate::distribution::QualityDistribution;
use crate::request::Needs;

/// What the predictor expects of one tier on one request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Distribution of the outcome.
    pub quality: QualityDistribution,
    /// Tokens of the whole prompt, as this tier counts them.
    pub input_tokens: f64,
    /// Those of the ask alone.
    pub ask_input_tokens: f64,
    /// Expected tokens of the reply.
    pub output_tokens: f64,
    /// Expected cost of the whole call, US dollars.
    pub cost_usd: f64,
    /// Expected cost of the ask and its reply alone, US dollars: what tiers are ranked by, since
    /// system prompts and tool lists (the part that providers cache) never alone set the tier.
    pub ask_cost_usd: f64,
    /// 95th percentile of the latency, seconds, where known.
    pub latency_p95_s: Option<f64>,
}

/// When a tier is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acceptable {
    /// Expected quality is at least this.
    Floor(f64),
    /// P(quality >= target) is at least `confidence`.
    Confidence {
        /// Quality to reach.
        target: f64,
        /// Probability to reach it with.
        confidence: f64,
    },
}

impl Acceptable {
    /// What is compared with the threshold, for this distribution.
    pub fn evidence(self, quality: &QualityDistribution) -> f64 {
        match self {
            Self::Floor(_) => quality.mean(),
            Self::Confidence { target, .. } => quality.at_least(target),
        }
    }

    /// The threshold.
    pub fn threshold(self) -> f64 {
        match self {
            Self::Floor(floor) => floor,
            Self::Confidence { confidence, .. } => confidence,
        }
    }

    fn holds(self, quality: &QualityDistribution) -> bool {
        self.evidence(quality) >= self.threshold()
    }
}

/// What is being looked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The cheapest acceptable tier.
    Cheapest(Acceptable),
    /// The lowest latency among the acceptable; unknown latency ranks last, then cost.
    Fastest(Acceptable),
    /// The highest expected quality.
    Best,
    /// The largest E\[quality\] - lambda x cost, lambda in quality per US dollar.
    TradeOff {
        /// Quality given up per US dollar saved.
        lambda_per_usd: f64,
    },
    /// This tier (by index), whatever is predicted.
    Fixed(usize),
    /// What something else than the forecast prefers; the other tiers rank behind it, so that they can stand
    /// in. Insufficient evidence changes nothing, since no forecast is asked.
    Preferred {
        /// A class or a tier.
        what: Preferred,
        /// Who says so.
        why: Because,
    },
}

/// What is preferred without a forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preferred {
    /// The cheapest tier of this class; where none fits, of the nearest class, of two the dearer kind.
    Class(u8),
    /// This tier (by index); where it does not fit, the next dearer one, and last the cheaper ones.
    Tier(usize),
}

/// Who prefers a tier without a forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// A rule fired.
    Rule,
    /// The classifier of the cheapest tier that is good enough.
    Classifier,
    /// A die.
    Chance,
    /// A cascade begins here.
    Cascade,
    /// A budget is spent: the cheapest tier, and no better one.
    Budget,
    /// A plan gave this step the tier.
    Plan,
}

impl Because {
    fn reason(self) -> Reason {
        match self {
            Self::Rule => Reason::RuleFired,
            Self::Classifier => Reason::Classified,
            Self::Chance => Reason::ByChance,
            Self::Cascade => Reason::CascadeBegun,
            Self::Budget => Reason::BudgetSpent,
            Self::Plan => Reason::Planned,
        }
    }
}

/// What may still be spent; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Budget {
    /// US dollars.
    pub usd: Option<f64>,
    /// Tokens, input and output together.
    pub tokens: Option<f64>,
}

impl Budget {
    /// Whether a call of this cost and size is within it.
    pub fn admits(&self, usd: f64, tokens: f64) -> bool {
        self.usd.is_none_or(|left| usd <= left) && self.tokens.is_none_or(|left| tokens <= left)
    }
}

/// What the caller allows, beside the objective.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Constraints {
    /// What a tier must be able to do.
    pub needs: Needs,
    /// Tiers (by index) that the caller excludes.
    pub excluded: Vec<usize>,
    /// Tiers (by index) that cannot be asked just now, or not for this.
    pub unavailable: Vec<(usize, Exclusion)>,
    /// Tokens of the longest reply that the request allows: the window has to hold them, however short a reply is
    /// expected, since endpoints refuse what they might not finish.
    pub max_output_tokens: Option<u32>,
    /// Largest expected cost of the call, US dollars.
    pub max_cost_usd: Option<f64>,
    /// What session, key, cohort and all together may still spend.
    pub budget: Budget,
    /// Largest 95th percentile of latency, seconds; a tier of unknown latency passes.
    pub max_latency_s: Option<f64>,
    /// Set when the prompt is too far from all that was trained on: the tier (by index) to take.
    pub unknown_ground: Option<usize>,
}

/// Why a tier was out of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// The caller excluded it.
    ByCaller,
    /// It has no endpoint.
    NoEndpoint,
    /// It failed too often in a row and is left alone for a while.
    CircuitOpen,
    /// The request has a field that none of its dialects can say.
    Untranslatable,
    /// It takes no tools.
    NoTools,
    /// It keeps to no JSON schema.
    NoJsonSchema,
    /// It reads no images.
    NoVision,
    /// Prompt and longest reply do not fit its context window.
    ContextWindow,
    /// It is expected to cost more than allowed.
    Cost,
    /// It is expected to take more than a budget has left.
    Budget,
    /// It is expected to take longer than allowed.
    Latency,
}

impl Exclusion {
    /// As it is written in JSON and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::ByCaller => "by_caller",
            Self::NoEndpoint => "no_endpoint",
            Self::CircuitOpen => "circuit_open",
            Self::Untranslatable => "untranslatable",
            Self::NoTools => "no_tools",
            Self::NoJsonSchema => "no_json_schema",
            Self::NoVision => "no_vision",
            Self::ContextWindow => "context_window",
            Self::Cost => "cost",
            Self::Budget => "budget",
            Self::Latency => "latency",
        }
    }
}

/// Why the chosen tier was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Cheapest among the acceptable.
    CheapestAcceptable,
    /// Fastest among the acceptable.
    FastestAcceptable,
    /// Highest expected quality was asked for.
    HighestQuality,
    /// Best quality for its price at the given trade-off.
    BestTradeOff,
    /// No tier is acceptable: the one nearest to it.
    NoneAcceptable,
    /// The evidence is insufficient: the safe tier.
    InsufficientEvidence,
    /// The caller named it.
    NamedByCaller,
    /// A rule fired.
    RuleFired,
    /// The classifier named it.
    Classified,
    /// A die fell on it.
    ByChance,
    /// A cascade begins with it.
    CascadeBegun,
    /// A budget is spent: the cheapest tier.
    BudgetSpent,
    /// A plan gave the step to it.
    Planned,
    /// No tier is left after filtering.
    NoTierFits,
}

/// One tier in the ranking.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// Index in the catalog.
    pub tier: usize,
    /// Whether it is acceptable at the asked-for level.
    pub acceptable: bool,
}

/// The answer of [`decide`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Index of the chosen tier; `None` only with [`Reason::NoTierFits`].
    pub chosen: Option<usize>,
    /// Why.
    pub reason: Reason,
    /// Tiers that fit, best first; the chosen one leads.
    pub ranked: Vec<Ranked>,
    /// Tiers that do not fit, with the first reason found.
    pub excluded: Vec<(usize, Exclusion)>,
    /// Probability with which this tier was chosen (1: no exploration took place).
    pub propensity: f64,
}

/// Decides. `forecasts` has one entry per tier of `catalog`, in its order.
pub fn decide(catalog: &Catalog, forecasts: &[Forecast], objective: Objective, constraints: &Constraints) -> Decision {
    let mut excluded = Vec::new();
    let mut fitting = Vec::with_capacity(forecasts.len());
    for (tier, forecast) in forecasts.iter().enumerate() {
        match exclusion(catalog, forecast, tier, constraints) {
            Some(why) => excluded.push((tier, why)),
            None => fitting.push(tier),
        }
    }
    let (order, reason) = rank(catalog, fitting, forecasts, objective, constraints.unknown_ground);
    let ranked: Vec<Ranked> = order
        .into_iter()
        .map(|tier| Ranked {
            tier,
            acceptable: is_acceptable(objective, &forecasts[tier]),
        })
        .collect();
    Decision {
        chosen: ranked.first().map(|first| first.tier),
        reason,
        propensity: propensity(objective, ranked.len()),
        ranked,
        excluded,
    }
}

/// A die falls on every fitting tier alike; everything else is certain.
fn propensity(objective: Objective, n_fitting: usize) -> f64 {
    match objective {
        Objective::Preferred {
            why: Because::Chance, ..
        } if n_fitting > 0 => 1.0 / n_fitting as f64,
        _ => 1.0,
    }
}

fn exclusion(catalog: &Catalog, forecast: &Forecast, tier_idx: usize, constraints: &Constraints) -> Option<Exclusion> {
    let tier = &catalog.tiers()[tier_idx];
    let over = |value: Option<f64>, limit: Option<f64>| value.zip(limit).is_some_and(|(value, limit)| value > limit);
    let tokens = forecast.input_tokens + forecast.output_tokens;
    let longest = constraints.max_output_tokens.map_or(0.0, f64::from);
    let most_tokens = forecast.input_tokens + forecast.output_tokens.max(longest);
    let unavailable = constraints.unavailable.iter().find(|(tier, _)| *tier == tier_idx);
    if let Some((_, why)) = unavailable {
        return Some(*why);
    }
    let tests = [
        (constraints.excluded.contains(&tier_idx), Exclusion::ByCaller),
        (constraints.needs.tools && !tier.capabilities.tools, Exclusion::NoTools),
        (
            constraints.needs.json_schema && !tier.capabilities.json_schema,
            Exclusion::NoJsonSchema,
        ),
        (
            constraints.needs.vision && !tier.capabilities.vision,
            Exclusion::NoVision,
        ),
        (
            over(Some(most_tokens), tier.context_window.map(f64::from)),
            Exclusion::ContextWindow,
        ),
        (over(Some(forecast.cost_usd), constraints.max_cost_usd), Exclusion::Cost),
        (!constraints.budget.admits(forecast.cost_usd, tokens), Exclusion::Budget),
        (
            over(forecast.latency_p95_s, constraints.max_latency_s),
            Exclusion::Latency,
        ),
    ];
    tests.into_iter().find_map(|(hit, why)| hit.then_some(why))
}

fn is_acceptable(objective: Objective, forecast: &Forecast) -> bool {
    match objective {
        Objective::Cheapest(level) | Objective::Fastest(level) => level.holds(&forecast.quality),
        Objective::Best | Objective::TradeOff { .. } | Objective::Fixed(_) | Objective::Preferred { .. } => true,
    }
}

/// The fitting tiers, best first, and why the first is first. Ties go to the cheaper, then to the
/// earlier tier.
fn rank(
    catalog: &Catalog,
    mut fitting: Vec<usize>,
    forecasts: &[Forecast],
    objective: Objective,
    unknown_ground: Option<usize>,
) -> (Vec<usize>, Reason) {
    // A tier that the caller names is never replaced by another.
    if let Objective::Fixed(wanted) = objective
        && !fitting.contains(&wanted)
    {
        fitting.clear();
    }
    if fitting.is_empty() {
        return (fitting, Reason::NoTierFits);
    }
    let cost = |tier: &usize| forecasts[*tier].ask_cost_usd;
    let mean = |tier: &usize| forecasts[*tier].quality.mean();
    // Highest value first, then cheapest.
    let by_value = |tiers: &mut Vec<usize>, value: &dyn Fn(&usize) -> f64| {
        tiers.sort_by(|a, b| {
            value(b)
                .total_cmp(&value(a))
                .then(cost(a).total_cmp(&cost(b)))
                .then(a.cmp(b))
        });
    };
    let mut reason = match objective {
        Objective::Best => {
            by_value(&mut fitting, &mean);
            Reason::HighestQuality
        }
        Objective::TradeOff { lambda_per_usd } => {
            by_value(&mut fitting, &|tier| mean(tier) - lambda_per_usd * cost(tier));
            Reason::BestTradeOff
        }
        Objective::Fixed(wanted) => {
            by_value(&mut fitting, &mean);
            bring_to_front(&mut fitting, wanted);
            Reason::NamedByCaller
        }
        Objective::Preferred { what, why } => {
            fitting.sort_by(|a, b| {
                let (a_is, b_is) = (
                    distance(what, *a, catalog, forecasts),
                    distance(what, *b, catalog, forecasts),
                );
                a_is.0.cmp(&b_is.0).then(a_is.1.total_cmp(&b_is.1)).then(a.cmp(b))
            });
            why.reason()
        }
        Objective::Cheapest(level) | Objective::Fastest(level) => {
            let (mut good, mut rest): (Vec<usize>, Vec<usize>) =
                fitting.iter().partition(|tier| level.holds(&forecasts[**tier].quality));
            let seconds = |tier: &usize| match objective {
                Objective::Fastest(_) => forecasts[*tier].latency_p95_s.unwrap_or(f64::INFINITY),
                _ => 0.0,
            };
            good.sort_by(|a, b| {
                seconds(a)
                    .total_cmp(&seconds(b))
                    .then(cost(a).total_cmp(&cost(b)))
                    .then(a.cmp(b))
            });
            by_value(&mut rest, &|tier| level.evidence(&forecasts[*tier].quality));
            let reason = match (good.is_empty(), objective) {
                (true, _) => Reason::NoneAcceptable,
                (false, Objective::Fastest(_)) => Reason::FastestAcceptable,
                (false, _) => Reason::CheapestAcceptable,
            };
            good.append(&mut rest);
            fitting = good;
            reason
        }
    };
    if let Some(safe) = unknown_ground
        && !matches!(objective, Objective::Fixed(_) | Objective::Preferred { .. })
    {
        bring_to_front(&mut fitting, safe);
        reason = Reason::InsufficientEvidence;
    }
    (fitting, reason)
}

/// How far a tier is from what is preferred: steps, and within a step the cost.
fn distance(what: Preferred, tier: usize, catalog: &Catalog, forecasts: &[Forecast]) -> (u8, f64) {
    let cost = forecasts[tier].ask_cost_usd;
    match what {
        Preferred::Class(wanted) => {
            let class = catalog.tiers()[tier].class;
            // Of two classes as near the lower number is the dearer kind.
            (2 * class.abs_diff(wanted) + u8::from(class > wanted), cost)
        }
        Preferred::Tier(wanted) if tier == wanted => (0, 0.0),
        Preferred::Tier(wanted) if cost >= forecasts[wanted].ask_cost_usd => (1, cost),
        // Of cheaper ones that which is expected to answer best: a dearer one need not be better.
        Preferred::Tier(_) => (2, -forecasts[tier].quality.mean()),
    }
}

fn bring_to_front(tiers: &mut [usize], wanted: usize) {
    if let Some(position) = tiers.iter().position(|tier| *tier == wanted) {
        tiers[..=position].rotate_right(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Capabilities, Tier};

    /// Three tiers, dearest first: quality .9/.8/.6, cost 3/2/1, latency 3/1/2 s.
    fn catalog() -> Catalog {
        let tier = |name: &str, vision| Tier {
            name: name.to_owned(),
            class: 2,
            input_usd_per_mtok: 1.0,
            output_usd_per_mtok: 1.0,
            cached_input_usd_per_mtok: None,
            context_window: Some(1000),
            capabilities: Capabilities {
                vision,
                ..Capabilities::default()
            },
            latency_p95_s: None,
        };
        Catalog::new(vec![tier("large", true), tier("mid", false), tier("small", false)]).unwrap()
    }

    fn forecasts() -> Vec<Forecast> {
        [(0.9, 3.0, 3.0), (0.8, 2.0, 1.0), (0.6, 1.0, 2.0)]
            .map(|(quality, cost, seconds)| Forecast {
                quality: QualityDistribution::two_point(quality),
                input_tokens: 100.0,
                ask_input_tokens: 100.0,
                output_tokens: 100.0,
                cost_usd: cost,
                ask_cost_usd: cost,
                latency_p95_s: Some(seconds),
            })
            .to_vec()
    }

    fn check(objective: Objective, constraints: &Constraints, expected: Option<usize>, reason: Reason) {
        let decision = decide(&catalog(), &forecasts(), objective, constraints);
        assert_eq!(
            (decision.chosen, decision.reason),
            (expected, reason),
            "{objective:?} {constraints:?}"
        );
        assert_eq!(decision.ranked.len() + decision.excluded.len(), 3);
    }

    const FLOOR_7: Objective = Objective::Cheapest(Acceptable::Floor(0.7));

    #[test]
    fn objectives() {
        let free = Constraints::default();
        check(FLOOR_7, &free, Some(1), Reason::CheapestAcceptable);
        check(
            Objective::Cheapest(Acceptable::Floor(0.5)),
            &free,
            Some(2),
            Reason::CheapestAcceptable,
        );
        check(
            Objective::Cheapest(Acceptable::Floor(0.95)),
            &free,
            Some(0),
            Reason::NoneAcceptable,
        );
        check(
            Objective::Cheapest(Acceptable::Confidence {
                target: 0.5,
                confidence: 0.85,
            }),
            &free,
            Some(0),
            Reason::CheapestAcceptable,
        );
        check(
            Objective::Fastest(Acceptable::Floor(0.5)),
            &free,
            Some(1),
            Reason::FastestAcceptable,
        );
        check(Objective::Best, &free, Some(0), Reason::HighestQuality);
        check(
            Objective::TradeOff { lambda_per_usd: 0.0 },
            &free,
            Some(0),
            Reason::BestTradeOff,
        );
        check(
            Objective::TradeOff { lambda_per_usd: 10.0 },
            &free,
            Some(2),
            Reason::BestTradeOff,
        );
        check(Objective::Fixed(2), &free, Some(2), Reason::NamedByCaller);
    }

    #[test]
    fn constraints() {
        let with = |change: fn(&mut Constraints)| {
            let mut constraints = Constraints::default();
            change(&mut constraints);
            constraints
        };
        check(
            FLOOR_7,
            &with(|c| c.excluded = vec![1]),
            Some(0),
            Reason::CheapestAcceptable,
        );
        check(
            FLOOR_7,
            &with(|c| c.needs.vision = true),
            Some(0),
            Reason::CheapestAcceptable,
        );
        check(
            FLOOR_7,
            &with(|c| c.max_cost_usd = Some(1.5)),
            Some(2),
            Reason::NoneAcceptable,
        );
        check(
            FLOOR_7,
            &with(|c| c.max_latency_s = Some(0.5)),
            None,
            Reason::NoTierFits,
        );
        check(
            FLOOR_7,
            &with(|c| c.unknown_ground = Some(0)),
            Some(0),
            Reason::InsufficientEvidence,
        );
    }

    #[test]
    fn what_is_preferred_leads_and_the_others_can_stand_in() {
        let free = Constraints::default();
        let prefer = |what, why| Objective::Preferred { what, why };
        let rule = |class| prefer(Preferred::Class(class), Because::Rule);
        check(rule(2), &free, Some(2), Reason::RuleFired);
        let order = |objective, constraints: &Constraints| -> Vec<usize> {
            let decision = decide(&catalog(), &forecasts(), objective, constraints);
            decision.ranked.iter().map(|ranked| ranked.tier).collect()
        };
        let classified = prefer(Preferred::Tier(1), Because::Classifier);
        check(classified, &free, Some(1), Reason::Classified);
        assert_eq!(
            order(classified, &free),
            [1, 0, 2],
            "the next dearer one, then the cheaper"
        );
        let gone = Constraints {
            excluded: vec![1],
            unknown_ground: Some(2),
            ..Constraints::default()
        };
        assert_eq!(order(classified, &gone), [0, 2]);
        check(
            prefer(Preferred::Tier(2), Because::Chance),
            &gone,
            Some(2),
            Reason::ByChance,
        );
    }

    #[test]
    fn of_two_classes_as_near_the_dearer_kind_leads() {
        let mut tiers = catalog().tiers().to_vec();
        (tiers[0].class, tiers[1].class, tiers[2].class) = (1, 3, 4);
        let objective = Objective::Preferred {
            what: Preferred::Class(2),
            why: Because::Rule,
        };
        let decision = decide(
            &Catalog::new(tiers).unwrap(),
            &forecasts(),
            objective,
            &Constraints::default(),
        );
        let order: Vec<usize> = decision.ranked.iter().map(|ranked| ranked.tier).collect();
        assert_eq!(order, [0, 1, 2]);
    }

    #[test]
    fn what_a_budget_has_left_enters_the_choice() {
        let with = |usd, tokens| Constraints {
            budget: Budget { usd, tokens },
            ..Constraints::default()
        };
        check(FLOOR_7, &with(Some(2.0), None), Some(1), Reason::CheapestAcceptable);
        check(FLOOR_7, &with(Some(1.5), None), Some(2), Reason::NoneAcceptable);
        check(FLOOR_7, &with(None, Some(199.0)), None, Reason::NoTierFits);
        let spent = decide(&catalog(), &forecasts(), FLOOR_7, &with(Some(0.0), None));
        assert!(spent.excluded.iter().all(|(_, why)| *why == Exclusion::Budget));
    }

    #[test]
    fn a_named_tier_that_does_not_fit_is_not_replaced() {
        let constraints = Constraints {
            excluded: vec![2],
            ..Constraints::default()
        };
        let decision = decide(&catalog(), &forecasts(), Objective::Fixed(2), &constraints);
        assert_eq!((decision.chosen, decision.reason), (None, Reason::NoTierFits));
    }

    #[test]
    fn a_context_window_too_small_excludes() {
        let mut long = forecasts();
        for forecast in &mut long {
            forecast.input_tokens = 2000.0;
        }
        let decision = decide(&catalog(), &long, FLOOR_7, &Constraints::default());
        assert_eq!(decision.chosen, None);
        assert!(
            decision
                .excluded
                .iter()
                .all(|(_, why)| *why == Exclusion::ContextWindow)
        );
        // The longest reply that is allowed has to fit too, however short it is expected to be.
        let bounded = |most| Constraints {
            max_output_tokens: Some(most),
            ..Constraints::default()
        };
        assert_eq!(decide(&catalog(), &forecasts(), FLOOR_7, &bounded(500)).excluded, []);
        let long = decide(&catalog(), &forecasts(), FLOOR_7, &bounded(1_000_000));
        assert!(long.excluded.contains(&(1, Exclusion::ContextWindow)), "{long:?}");
    }
}
