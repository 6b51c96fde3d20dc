//! What is served: a checkpoint's tiers and levels, with the deployment's own prices and tiers.

use tiercast_predictor::checkpoint::ServiceLevels;
use tiercast_routing::catalog::Catalog;
use tiercast_routing::decide::Forecast;
use tiercast_routing::evidence::Assessment;

use crate::settings::{Settings, SettingsError};

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
        })
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
