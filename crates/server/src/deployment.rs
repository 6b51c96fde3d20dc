//! What is served: a checkpoint's tiers and levels, with the deployment's own prices and tiers.

use tiercast_predictor::cascade::CascadeFit;
use tiercast_predictor::checkpoint::{Certificate, ServiceLevels};
use tiercast_routing::catalog::Catalog;
use tiercast_routing::decide::Forecast;
use tiercast_routing::evidence::Assessment;
use tiercast_routing::rules::RuleList;

use crate::policy::Policy;
use crate::settings::cascade::Cascading;
use crate::settings::{Settings, SettingsError, value};

/// Tiers, levels and the safe tier of one deployment.
#[derive(Debug, Clone)]
pub struct Deployment {
    catalog: Catalog,
    /// Per tier, the position of the trained tier whose forecasts it takes.
    sources: Vec<usize>,
    /// Per tier, the name of that tier where it is another.
    borrowed: Vec<Option<String>>,
    checkpoint: String,
    service_levels: ServiceLevels,
    safe_tier: usize,
    policy: Policy,
    rules: RuleList,
    certificate: Option<Certificate>,
    cascade: Option<Cascading>,
}

impl Deployment {
    /// Lays the settings over the checkpoint's catalog. Without a `safe_tier` there, the dearest
    /// tier is the safe one.
    pub fn new(
        trained: &Catalog,
        checkpoint: impl Into<String>,
        service_levels: ServiceLevels,
        settings: &Settings,
    ) -> Result<Self, SettingsError> {
        let served = settings.served(trained)?;
        let catalog = served.catalog;
        let policy = settings.policy_among(&catalog)?;
        let rules = settings.rules_among(&catalog)?;
        let named = settings.safe_tier.as_deref().and_then(|name| catalog.position(name));
        let safe_tier = named.unwrap_or_else(|| catalog.dearest());
        let pairs = catalog.tiers().iter().zip(&served.sources);
        let borrowed = pairs.map(|(tier, source)| {
            let of = &trained.tiers()[*source].name;
            (*of != tier.name).then(|| of.clone())
        });
        Ok(Self {
            borrowed: borrowed.collect(),
            sources: served.sources,
            catalog,
            checkpoint: checkpoint.into(),
            service_levels,
            safe_tier,
            policy,
            rules,
            certificate: None,
            cascade: None,
        })
    }

    /// The same with a cascade: of the settings, or as fitted.
    /// Errors where the settings' policy is `cascade` and there is none, or nothing that reads its answers.
    pub fn with_cascade(mut self, settings: &Settings, fit: Option<&CascadeFit>) -> Result<Self, SettingsError> {
        self.cascade = settings.cascade.among(&self.catalog, fit, self.service_levels.auto)?;
        if self.policy == Policy::Cascade && (self.cascade.is_none() || fit.is_none()) {
            let mend = match fit {
                None => "is `cascade`, and the checkpoint cannot read answers: train it with --cascade",
                Some(_) => "is `cascade`, and a tier of the fitted one is not served: serve it, or set `cascade.tiers`",
            };
            return Err(value("policy", mend));
        }
        Ok(self)
    }

    /// The policy `cascade`, where there are stages.
    pub(crate) fn cascade(&self) -> Option<&Cascading> {
        self.cascade.as_ref()
    }

    /// The trained tier that a tier (by index) is judged as.
    pub(crate) fn source(&self, tier_idx: usize) -> usize {
        self.sources[tier_idx]
    }

    /// The same with what is guaranteed of the checkpoint, where that holds here: for its own tiers, the dearest
    /// one being the safe one. Prices do not enter it but by their order.
    #[must_use]
    pub(crate) fn with_certificate(mut self, trained: &Catalog, certificate: Option<Certificate>) -> Self {
        let order = |catalog: &Catalog| {
            let tiers = catalog.tiers();
            let mut order: Vec<&str> = tiers.iter().map(|tier| tier.name.as_str()).collect();
            order.sort_by(|a, b| {
                let price = |name: &str| catalog.position(name).map_or(0.0, |at| tiers[at].cost_usd(1e6, 1e6));
                price(a).total_cmp(&price(b)).then(a.cmp(b))
            });
            order.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let holds = order(&self.catalog) == order(trained) && self.safe_tier == self.catalog.dearest();
        self.certificate = certificate.filter(|certificate| holds && certificate.floors.is_some());
        self
    }

    /// What is guaranteed.
    pub(crate) fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// The tiers, in the order of every forecast.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Forecasts of the served tiers, at their prices. `assessment` has one per trained tier.
    pub fn forecasts(&self, assessment: &Assessment) -> Vec<Forecast> {
        let priced = |(tier, source): (&tiercast_routing::catalog::Tier, &usize)| {
            let forecast = assessment.forecasts[*source];
            Forecast {
                cost_usd: tier.cost_usd(forecast.input_tokens, forecast.output_tokens),
                ask_cost_usd: tier.cost_usd(forecast.ask_input_tokens, forecast.output_tokens),
                latency_p95_s: tier.latency_p95_s,
                ..forecast
            }
        };
        self.catalog.tiers().iter().zip(&self.sources).map(priced).collect()
    }

    /// Per served tier the probability that it or a cheaper one is enough, as the classifier says; `None` where
    /// the checkpoint has none.
    pub(crate) fn enough(&self, assessment: &Assessment) -> Option<Vec<f64>> {
        let enough = assessment.enough.as_ref()?;
        Some(self.sources.iter().map(|source| enough[*source]).collect())
    }

    /// The trained tier whose evidence a tier (by index) borrows, if it does.
    pub fn borrowed_from(&self, tier_idx: usize) -> Option<&str> {
        self.borrowed[tier_idx].as_deref()
    }

    /// Name of the checkpoint.
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// Floors behind `auto` and `auto:cheap`.
    pub fn service_levels(&self) -> ServiceLevels {
        self.service_levels
    }

    /// How requests for `auto` are decided that name no policy.
    pub(crate) fn policy(&self) -> Policy {
        self.policy
    }

    /// What the policy `rules` goes by.
    pub(crate) fn rules(&self) -> &RuleList {
        &self.rules
    }

    /// Index of the tier that is taken where the evidence is insufficient.
    pub fn safe_tier(&self) -> usize {
        self.safe_tier
    }

    /// Name of a tier by index.
    pub(crate) fn name(&self, tier_idx: usize) -> &str {
        &self.catalog.tiers()[tier_idx].name
    }

    /// All tier names, for messages: `a, b, c`.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self.catalog.tiers().iter().map(|tier| tier.name.as_str()).collect();
        names.join(", ")
    }
}
