//! The answer of `POST /v1/route` and of `tiercast route --json`: the decision, and what is
//! expected of every tier.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};
use tiercast_predictor::checkpoint::Loss;
use tiercast_routing::decide::{
    Acceptable, Constraints, Decision, Exclusion, Forecast, Objective, Preferred, Reason, decide,
};
use tiercast_routing::distribution::GRID;
use tiercast_routing::evidence::Evidence;

use crate::deployment::Deployment;
use crate::dials::Dials;

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// What was chosen and why.
    pub decision: DecisionView,
    /// The same reason, for programs.
    #[serde(skip)]
    pub reason: Reason,
    /// What the forecasts rest on.
    pub evidence: Evidence,
    /// Every tier, in the catalog's order.
    pub tiers: Vec<TierView>,
    /// Milliseconds from the read request to this answer; set by whoever keeps the clock.
    pub overhead_ms: f64,
    /// What was read from the request, where `x-tiercast-debug` asks for it. Never text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug: Option<Value>,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecisionView {
    /// Unique name of this decision.
    pub id: String,
    /// The chosen tier.
    pub tier: String,
    /// Its class, 1 to 4.
    pub tier_class: u8,
    /// The trained tier whose evidence it borrows, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted_as: Option<String>,
    /// Why it was chosen.
    pub reason: String,
    /// What chose it: `meta` (the predictor), `rules`, `classifier`, `random` or `fixed` (the caller).
    pub policy: &'static str,
    /// The rule that fired, where rules decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The checkpoint that predicted.
    pub checkpoint: String,
    /// What is guaranteed of this decision, where something is: the share of requests sent to a cheaper tier
    /// that is lost at most, and the confidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateView>,
    /// Probability with which this tier was chosen.
    pub propensity: f64,
    /// What was looked for.
    pub objective: Value,
    /// Tiers that fit, best first.
    pub ranked: Vec<String>,
    /// Tiers that do not fit.
    pub excluded: Vec<ExcludedView>,
    /// Expected quality of the chosen tier.
    pub quality_mean: f64,
    /// Its expected cost, US dollars.
    pub cost_usd: f64,
    /// 95th percentile of its latency, milliseconds, where known.
    pub latency_ms: Option<f64>,
}

/// A guarantee.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CertificateView {
    /// `missed` (below the target) or `avoidable` (and the dearest tier reaches it).
    pub loss: Loss,
    /// Quality that an answer has to reach.
    pub target: f64,
    /// Largest share lost.
    pub alpha: f64,
    /// Probability that this holds.
    pub confidence: f64,
}

/// A tier that is out of the question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExcludedView {
    /// Its name.
    pub tier: String,
    /// Why.
    pub why: Exclusion,
    /// The field of the request that is at fault, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What is expected of one tier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TierView {
    /// Its name.
    pub tier: String,
    /// Its class, 1 to 4.
    pub class: u8,
    /// The trained tier whose evidence it borrows, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted_as: Option<String>,
    /// Expected quality.
    pub quality_mean: f64,
    /// Grid of the quality distribution.
    pub quality_grid: Vec<f64>,
    /// Probability at each point of the grid.
    pub quality_pmf: Vec<f64>,
    /// P(quality >= target), where the request has a target or a floor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality_p_at_least_target: Option<f64>,
    /// Whether it fits and is good enough.
    pub acceptable: bool,
    /// Expected cost of the call, US dollars.
    pub cost_usd: f64,
    /// Tokens of the prompt.
    pub input_tokens: f64,
    /// Expected tokens of the reply.
    pub output_tokens: f64,
    /// 95th percentile of its latency, milliseconds, where known.
    pub latency_ms: Option<f64>,
}

/// Decides and says so; the safe tier where the evidence is insufficient. `forecasts` has one per
/// served tier. `notes` says of a tier (by index) which field of the request it cannot take.
pub fn answer(
    deployment: &Deployment,
    dials: &Dials,
    (forecasts, evidence): (&[Forecast], &Evidence),
    notes: &[(usize, String)],
    id: String,
) -> Result<Answer, NoTierFits> {
    let constraints = Constraints {
        unknown_ground: (!evidence.sufficient).then(|| deployment.safe_tier()),
        ..dials.constraints.clone()
    };
    let decision = decide(deployment.catalog(), forecasts, dials.objective, &constraints);
    let chosen = chosen(&decision, dials.objective).ok_or_else(|| no_tier_fits(deployment, dials, &decision, notes))?;
    let mut view = decision_view(deployment, dials, forecasts, &decision, chosen, id);
    for (excluded, (tier, _)) in view.excluded.iter_mut().zip(&decision.excluded) {
        excluded.detail = note(notes, *tier).map(str::to_owned);
    }
    Ok(Answer {
        decision: view,
        reason: decision.reason,
        evidence: *evidence,
        tiers: (0..forecasts.len())
            .map(|tier| tier_view(deployment, dials, &forecasts[tier], &decision, tier))
            .collect(),
        overhead_ms: 0.0,
        debug: None,
    })
}

fn note(notes: &[(usize, String)], tier_idx: usize) -> Option<&str> {
    let mut notes = notes.iter();
    notes.find(|(of, _)| *of == tier_idx).map(|(_, note)| note.as_str())
}

/// The chosen tier; none where the caller named a tier that does not fit.
fn chosen(decision: &Decision, objective: Objective) -> Option<usize> {
    decision.chosen.filter(|chosen| match objective {
        Objective::Fixed(wanted) => *chosen == wanted,
        _ => true,
    })
}

fn decision_view(
    deployment: &Deployment,
    dials: &Dials,
    forecasts: &[Forecast],
    decision: &Decision,
    chosen: usize,
    id: String,
) -> DecisionView {
    let (tier, forecast) = (&deployment.catalog().tiers()[chosen], &forecasts[chosen]);
    let excluded = decision.excluded.iter();
    DecisionView {
        id,
        tier: tier.name.clone(),
        tier_class: tier.class,
        predicted_as: deployment.borrowed_from(chosen).map(str::to_owned),
        reason: reason_word(decision.reason),
        policy: dials.policy.name(),
        rule: dials.rule.clone(),
        checkpoint: deployment.checkpoint().to_owned(),
        certificate: certificate(deployment, decision, dials.objective),
        propensity: decision.propensity,
        objective: objective_view(dials.objective, deployment),
        ranked: decision
            .ranked
            .iter()
            .map(|ranked| deployment.name(ranked.tier).to_owned())
            .collect(),
        excluded: excluded
            .map(|&(tier, why)| ExcludedView {
                tier: deployment.name(tier).to_owned(),
                why,
                detail: None,
            })
            .collect(),
        quality_mean: forecast.quality.mean(),
        cost_usd: forecast.cost_usd,
        latency_ms: milliseconds(forecast),
    }
}

/// Holds for the cheapest tier above a floor that was tested, where nothing but quality and cost decided.
fn certificate(deployment: &Deployment, decision: &Decision, objective: Objective) -> Option<CertificateView> {
    let certificate = deployment.certificate()?;
    let is_covered = match objective {
        Objective::Cheapest(Acceptable::Floor(floor)) => certificate.covers(floor),
        _ => false,
    };
    let is_plain = decision.reason == Reason::CheapestAcceptable && decision.excluded.is_empty();
    (is_covered && is_plain).then_some(CertificateView {
        loss: certificate.loss,
        target: certificate.target,
        alpha: certificate.alpha,
        confidence: 1.0 - certificate.delta,
    })
}

fn tier_view(
    deployment: &Deployment,
    dials: &Dials,
    forecast: &Forecast,
    decision: &Decision,
    tier_idx: usize,
) -> TierView {
    let tier = &deployment.catalog().tiers()[tier_idx];
    TierView {
        tier: tier.name.clone(),
        class: tier.class,
        predicted_as: deployment.borrowed_from(tier_idx).map(str::to_owned),
        quality_mean: forecast.quality.mean(),
        quality_grid: GRID.to_vec(),
        quality_pmf: forecast.quality.pmf().to_vec(),
        quality_p_at_least_target: target(dials.objective).map(|target| forecast.quality.at_least(target)),
        acceptable: decision
            .ranked
            .iter()
            .any(|ranked| ranked.tier == tier_idx && ranked.acceptable),
        cost_usd: forecast.cost_usd,
        input_tokens: forecast.input_tokens,
        output_tokens: forecast.output_tokens,
        latency_ms: milliseconds(forecast),
    }
}

fn milliseconds(forecast: &Forecast) -> Option<f64> {
    forecast.latency_p95_s.map(|seconds| seconds * 1000.0)
}

/// The quality that is aimed at, as target or as floor.
pub(crate) fn target(objective: Objective) -> Option<f64> {
    match objective {
        Objective::Cheapest(level) | Objective::Fastest(level) => Some(match level {
            Acceptable::Floor(floor) => floor,
            Acceptable::Confidence { target, .. } => target,
        }),
        Objective::Best | Objective::TradeOff { .. } | Objective::Fixed(_) | Objective::Preferred { .. } => None,
    }
}

fn objective_view(objective: Objective, deployment: &Deployment) -> Value {
    let level = |kind: &str, level: Acceptable| match level {
        Acceptable::Floor(floor) => json!({ "kind": kind, "floor": floor }),
        Acceptable::Confidence { target, confidence } => {
            json!({ "kind": kind, "target": target, "confidence": confidence })
        }
    };
    match objective {
        Objective::Cheapest(acceptable) => level("cheapest", acceptable),
        Objective::Fastest(acceptable) => level("fastest", acceptable),
        Objective::Best => json!({ "kind": "best" }),
        Objective::TradeOff { lambda_per_usd } => json!({ "kind": "trade_off", "lambda_per_usd": lambda_per_usd }),
        Objective::Fixed(tier) => json!({ "kind": "fixed", "tier": deployment.name(tier) }),
        Objective::Preferred { what, why } => match what {
            Preferred::Class(class) => json!({ "kind": "preferred", "by": why, "class": class }),
            Preferred::Tier(tier) => json!({ "kind": "preferred", "by": why, "tier": deployment.name(tier) }),
        },
    }
}

/// The reason as it is written in JSON, in headers and in metrics.
fn reason_word(reason: Reason) -> String {
    let word = serde_json::to_value(reason).ok();
    word.as_ref()
        .and_then(Value::as_str)
        .expect("a reason is a unit variant, written as a string")
        .to_owned()
}

/// Why no tier (or not the one that was named) can take the request, and what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoTierFits {
    message: String,
    open_circuits: Vec<usize>,
}

impl NoTierFits {
    /// The tiers (by index) that are out of the question for a while alone.
    pub(crate) fn open_circuits(&self) -> &[usize] {
        &self.open_circuits
    }
}

impl fmt::Display for NoTierFits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for NoTierFits {}

fn no_tier_fits(deployment: &Deployment, dials: &Dials, decision: &Decision, notes: &[(usize, String)]) -> NoTierFits {
    let named = match dials.objective {
        Objective::Fixed(wanted) => Some(wanted),
        _ => None,
    };
    let relevant = || {
        decision
            .excluded
            .iter()
            .filter(|(tier, _)| named.is_none_or(|wanted| *tier == wanted))
    };
    let who = named.map_or("no tier".to_owned(), |wanted| {
        format!("tier `{}`, which was named,", deployment.name(wanted))
    });
    let can = if named.is_some() { "cannot" } else { "can" };
    let why: Vec<String> = relevant()
        .map(|(tier, why)| {
            let detail = note(notes, *tier).map(|note| format!(" ({note})")).unwrap_or_default();
            format!("{}: {}{detail}", deployment.name(*tier), why_of(*why))
        })
        .collect();
    let mut mends: Vec<&str> = Vec::new();
    for (_, why) in relevant() {
        if !mends.contains(&mend_of(*why)) {
            mends.push(mend_of(*why));
        }
    }
    let open = relevant().filter(|(_, why)| *why == Exclusion::CircuitOpen);
    NoTierFits {
        message: format!(
            "{who} {can} take this request ({}). To change that: {}",
            why.join("; "),
            mends.join("; or ")
        ),
        open_circuits: open.map(|(tier, _)| *tier).collect(),
    }
}

fn why_of(exclusion: Exclusion) -> &'static str {
    match exclusion {
        Exclusion::ByCaller => "excluded by x-tiercast-exclude",
        Exclusion::NoEndpoint => "has no endpoint",
        Exclusion::CircuitOpen => "failed too often in a row and is left alone for a while",
        Exclusion::Untranslatable => "speaks dialects that cannot say a field of this request",
        Exclusion::NoTools => "takes no tools",
        Exclusion::NoJsonSchema => "keeps to no JSON schema",
        Exclusion::NoVision => "reads no images (no `vision`)",
        Exclusion::ContextWindow => "prompt and longest reply do not fit its context window",
        Exclusion::Cost => "expected to cost more than x-tiercast-max-cost-usd",
        Exclusion::Budget => "expected to take more than a budget has left",
        Exclusion::Latency => "expected to take longer than x-tiercast-latency-ms",
    }
}

fn mend_of(exclusion: Exclusion) -> &'static str {
    match exclusion {
        Exclusion::ByCaller => "exclude fewer tiers",
        Exclusion::NoEndpoint => "give the tier a table [tiers.\"NAME\".endpoint] in tiercast.toml",
        Exclusion::CircuitOpen => "try again in a while, and see whether the endpoint is up (`tiercast doctor`)",
        Exclusion::Untranslatable => {
            "leave the field out, or declare the `dialects` that the tier's endpoint speaks in tiercast.toml"
        }
        Exclusion::NoTools => {
            "declare capabilities in tiercast.toml if a tier takes tools: [tiers.\"NAME\"] capabilities = { tools = true }"
        }
        Exclusion::NoJsonSchema => {
            "declare capabilities in tiercast.toml if a tier keeps to schemas: \
             [tiers.\"NAME\"] capabilities = { json_schema = true }"
        }
        Exclusion::NoVision => {
            "declare capabilities in tiercast.toml if a tier reads images: \
             [tiers.\"NAME\"] capabilities = { vision = true }"
        }
        Exclusion::ContextWindow => {
            "shorten the conversation, lower `max_tokens`, or correct `context_window` in tiercast.toml"
        }
        Exclusion::Cost => "raise x-tiercast-max-cost-usd",
        Exclusion::Budget => "wait for the budget to be renewed, or raise it ([budgets] in tiercast.toml)",
        Exclusion::Latency => "raise x-tiercast-latency-ms, or send x-tiercast-mode: async",
    }
}
