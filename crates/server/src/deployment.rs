//! What is served: a checkpoint's tiers and levels, with the deployment's own prices.

use tiercast_predictor::checkpoint::ServiceLevels;
use tiercast_routing::catalog::Catalog;

use crate::settings::{Settings, SettingsError};

/// Tiers, levels and the safe tier of one deployment.
#[derive(Debug, Clone)]
pub struct Deployment {
    catalog: Catalog,
    checkpoint: String,
    service_levels: ServiceLevels,
    safe_tier: usize,
}

impl Deployment {
    /// Lays the settings over the checkpoint's catalog. Without a `safe_tier` there, the dearest
    /// tier is the safe one.
    pub fn new(
        catalog: &Catalog,
        checkpoint: impl Into<String>,
        service_levels: ServiceLevels,
        settings: &Settings,
    ) -> Result<Self, SettingsError> {
        let catalog = settings.apply(catalog)?;
        let named = settings.safe_tier.as_deref().and_then(|name| catalog.position(name));
        let safe_tier = named.unwrap_or_else(|| catalog.dearest());
        Ok(Self {
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
