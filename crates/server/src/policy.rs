//! The routing policies: each a value in the settings and of a header.

use std::hash::{DefaultHasher, Hash, Hasher};

use tiercast_routing::cascade::{Cascade, Expected};
use tiercast_routing::catalog::Catalog;
use tiercast_routing::decide::{Because, Constraints, Forecast, Objective, Preferred, decide};
use tiercast_routing::evidence::Assessment;

use crate::deployment::Deployment;
use crate::settings::cascade::Cascading;

/// How a tier is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// Quality distributions: the cheapest acceptable tier.
    #[default]
    Meta,
    /// The rules of the settings, or the field's baseline.
    Rules,
    /// The cheapest tier that is good enough, predicted directly.
    Classifier,
    /// A cheap tier, and a dearer one where its answer is not good enough.
    Cascade,
    /// Meta or cascade, whichever is expected to cost less within the latency target.
    Auto,
    /// This tier (by index).
    Fixed(usize),
    /// A tier by chance: the same for the same seed and ask.
    Random(u64),
}

impl Policy {
    /// What can be written, for messages.
    pub(crate) const KNOWN: &str = "meta, rules, classifier, cascade, auto, random:SEED and fixed:TIER";

    /// Reads what [`Policy::KNOWN`] lists; `None` for anything else.
    pub(crate) fn read(text: &str, catalog: &Catalog) -> Option<Self> {
        match text.split_once(':') {
            None => match text {
                "meta" => Some(Self::Meta),
                "rules" => Some(Self::Rules),
                "classifier" => Some(Self::Classifier),
                "cascade" => Some(Self::Cascade),
                "auto" => Some(Self::Auto),
                _ => None,
            },
            Some(("fixed", tier)) => catalog.position(tier).map(Self::Fixed),
            Some(("random", seed)) => seed.parse().ok().map(Self::Random),
            Some(_) => None,
        }
    }

    /// Without its argument: in answers, headers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Rules => "rules",
            Self::Classifier => "classifier",
            Self::Cascade => "cascade",
            Self::Auto => "auto",
            Self::Fixed(_) => "fixed",
            Self::Random(_) => "random",
        }
    }
}

/// The tier that the classifier takes to be the cheapest that is enough; `None` without a classifier.
pub(crate) fn classified(
    deployment: &Deployment,
    assessment: &Assessment,
    forecasts: &[Forecast],
    confidence: f64,
) -> Option<Objective> {
    let enough = deployment.enough(assessment)?;
    let mut order: Vec<usize> = (0..forecasts.len()).collect();
    order.sort_by(|a, b| {
        forecasts[*a]
            .ask_cost_usd
            .total_cmp(&forecasts[*b].ask_cost_usd)
            .then(a.cmp(b))
    });
    let found = order.iter().find(|tier| enough[**tier] >= confidence);
    let tier = found.or(order.last()).copied()?;
    Some(Objective::Preferred {
        what: Preferred::Tier(tier),
        why: Because::Classifier,
    })
}

/// A tier by chance, each that fits as likely as any other.
pub(crate) fn by_chance(
    seed: u64,
    ask: &str,
    catalog: &Catalog,
    forecasts: &[Forecast],
    constraints: &Constraints,
) -> Objective {
    let fitting = decide(catalog, forecasts, Objective::Best, constraints).ranked;
    let mut tiers: Vec<usize> = fitting.iter().map(|ranked| ranked.tier).collect();
    tiers.sort_unstable();
    let mut hasher = DefaultHasher::new();
    (seed, ask).hash(&mut hasher);
    let at = hasher.finish() % tiers.len().max(1) as u64;
    Objective::Preferred {
        what: Preferred::Tier(tiers.get(at as usize).copied().unwrap_or_default()),
        why: Because::Chance,
    }
}

/// What is expected of the tiers that fit, for a cascade; `None` for the others.
pub(crate) fn expected(
    cascading: &Cascading,
    catalog: &Catalog,
    forecasts: &[Forecast],
    constraints: &Constraints,
) -> Vec<Option<Expected>> {
    let fitting = decide(catalog, forecasts, Objective::Best, constraints).ranked;
    let of = |(tier, forecast): (usize, &Forecast)| {
        let is_fitting = fitting.iter().any(|ranked| ranked.tier == tier);
        let before = Expected {
            quality: forecast.quality.mean(),
            spread: 0.0,
            cost_usd: forecast.cost_usd,
            latency_s: forecast.latency_p95_s,
        };
        is_fitting.then(|| cascading.expected(tier, before))
    };
    forecasts.iter().enumerate().map(of).collect()
}

/// Whether a cascade is expected to cost less than one call of `tier`, and its longest way is within the
/// latency target.
pub(crate) fn is_cheaper(
    cascading: &Cascading,
    expected: &[Option<Expected>],
    tier: usize,
    max_latency_s: Option<f64>,
) -> bool {
    let Some(outlook) = cascading.cascade.outlook(expected, &cascading.acceptance) else {
        return false;
    };
    let is_in_time = max_latency_s.is_none_or(|most| outlook.longest_s.is_some_and(|longest| longest <= most));
    is_in_time && expected[tier].is_some_and(|one| outlook.cost_usd < one.cost_usd)
}

/// The first stage that can be asked, as a preference.
pub(crate) fn first_stage(cascade: &Cascade, expected: &[Option<Expected>]) -> Option<Objective> {
    let tier = cascade
        .stages()
        .iter()
        .copied()
        .find(|stage| expected[*stage].is_some())?;
    Some(Objective::Preferred {
        what: Preferred::Tier(tier),
        why: Because::Cascade,
    })
}
