//! `tiercast.toml`: where to listen, limits, and what this deployment pays for its tiers.
//!
//! The binary reads the file and hands the text over. [`Settings::parse`] is the only way in
//! beside the defaults, so settings that exist are settings that hold.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use tiercast_routing::catalog::{Capabilities, Catalog, Tier};

/// Names of cohorts are labels of metrics: each one is a time series per tier and reason.
const MAX_COHORTS: usize = 100;

/// What `tiercast.toml` says. Every key has a default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) allow_without_key: bool,
    pub(crate) safe_tier: Option<String>,
    pub(crate) body_limit_bytes: usize,
    pub(crate) queue_capacity: usize,
    pub(crate) workers: usize,
    pub(crate) max_concurrency: usize,
    pub(crate) request_timeout_ms: u64,
    pub(crate) cohorts: Vec<String>,
    pub(crate) tiers: BTreeMap<String, TierSettings>,
}

/// What this deployment knows better about a tier than the checkpoint; absent keys keep its word.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TierSettings {
    input_usd_per_mtok: Option<f64>,
    output_usd_per_mtok: Option<f64>,
    context_window: Option<u32>,
    capabilities: CapabilitySettings,
    latency_p95_s: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CapabilitySettings {
    tools: Option<bool>,
    json_schema: Option<bool>,
    vision: Option<bool>,
}

/// Why settings are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// Not TOML, an unknown key or a value of another type; has line and column.
    #[error("tiercast.toml: {0}")]
    Toml(String),
    /// A value that cannot be.
    #[error("tiercast.toml: `{key}` {mend}")]
    Value {
        /// The key, with its table.
        key: String,
        /// What it has to be.
        mend: String,
    },
    /// A tier that the checkpoint does not have.
    #[error("tiercast.toml: `{key}` names tier `{tier}`, which the checkpoint does not have; its tiers are {known}")]
    UnknownTier {
        /// Where it is named.
        key: &'static str,
        /// The name.
        tier: String,
        /// The names there are.
        known: String,
    },
    /// An address that others can reach, without keys.
    #[error(
        "refusing to listen on {0}: others can reach it and this version checks no keys. \
         Listen on 127.0.0.1, or set `allow_without_key = true` in tiercast.toml if a proxy guards it"
    )]
    NoKeys(SocketAddr),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            allow_without_key: false,
            safe_tier: None,
            body_limit_bytes: 4 << 20,
            queue_capacity: 256,
            workers: 1,
            max_concurrency: 512,
            request_timeout_ms: 10_000,
            cohorts: Vec::new(),
            tiers: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Reads the text of a `tiercast.toml` and checks every value.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let settings: Self =
            toml::from_str(text).map_err(|e| SettingsError::Toml(e.to_string().trim_end().to_owned()))?;
        settings.checked()
    }

    /// The same, listening elsewhere (`--listen`).
    pub fn listening_on(mut self, listen: SocketAddr) -> Result<Self, SettingsError> {
        self.listen = listen;
        self.checked()
    }

    /// Where to listen.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Number of inference threads, each with a predictor of its own.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// How long a request may take.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// The catalog with this deployment's prices, windows, capabilities and latencies.
    ///
    /// Costs in a forecast come from the predictor's catalog: hand this one to the predictor.
    pub fn apply(&self, catalog: &Catalog) -> Result<Catalog, SettingsError> {
        let named = self.tiers.keys().map(|name| ("tiers", name));
        let unknown = named.chain(self.safe_tier.iter().map(|name| ("safe_tier", name)));
        if let Some((key, tier)) = unknown.into_iter().find(|(_, name)| catalog.position(name).is_none()) {
            let known: Vec<&str> = catalog.tiers().iter().map(|tier| tier.name.as_str()).collect();
            return Err(SettingsError::UnknownTier {
                key,
                tier: tier.clone(),
                known: known.join(", "),
            });
        }
        let tiers = catalog.tiers().iter().map(|tier| match self.tiers.get(&tier.name) {
            Some(settings) => settings.over(tier),
            None => tier.clone(),
        });
        let invalid = |e: tiercast_routing::catalog::InvalidCatalog| value("tiers", e.0);
        Catalog::new(tiers.collect()).map_err(invalid)
    }

    fn checked(self) -> Result<Self, SettingsError> {
        within("body_limit_bytes", self.body_limit_bytes, 1..=1 << 30)?;
        within("queue_capacity", self.queue_capacity, 1..=65_536)?;
        within("workers", self.workers, 1..=64)?;
        within("max_concurrency", self.max_concurrency, 1..=65_536)?;
        within("request_timeout_ms", self.request_timeout_ms, 1..=600_000)?;
        if self.cohorts.len() > MAX_COHORTS || self.cohorts.iter().any(|name| name.trim().is_empty()) {
            return Err(value(
                "cohorts",
                format!("takes at most {MAX_COHORTS} names, none of them empty"),
            ));
        }
        for (name, tier) in &self.tiers {
            tier.check(name)?;
        }
        if !self.listen.ip().is_loopback() && !self.allow_without_key {
            return Err(SettingsError::NoKeys(self.listen));
        }
        Ok(self)
    }
}

impl TierSettings {
    fn check(&self, name: &str) -> Result<(), SettingsError> {
        let key = |field: &str| format!("tiers.\"{name}\".{field}");
        for (field, price) in [
            ("input_usd_per_mtok", self.input_usd_per_mtok),
            ("output_usd_per_mtok", self.output_usd_per_mtok),
        ] {
            if price.is_some_and(|price| !price.is_finite() || price < 0.0) {
                return Err(value(key(field), "must be US dollars per million tokens, 0 or more"));
            }
        }
        if self.context_window == Some(0) {
            return Err(value(key("context_window"), "must be a number of tokens, 1 or more"));
        }
        if self
            .latency_p95_s
            .is_some_and(|seconds| !seconds.is_finite() || seconds <= 0.0)
        {
            return Err(value(key("latency_p95_s"), "must be seconds, more than 0"));
        }
        Ok(())
    }

    fn over(&self, tier: &Tier) -> Tier {
        let (own, trained) = (self.capabilities, tier.capabilities);
        Tier {
            input_usd_per_mtok: self.input_usd_per_mtok.unwrap_or(tier.input_usd_per_mtok),
            output_usd_per_mtok: self.output_usd_per_mtok.unwrap_or(tier.output_usd_per_mtok),
            context_window: self.context_window.or(tier.context_window),
            latency_p95_s: self.latency_p95_s.or(tier.latency_p95_s),
            capabilities: Capabilities {
                tools: own.tools.unwrap_or(trained.tools),
                json_schema: own.json_schema.unwrap_or(trained.json_schema),
                vision: own.vision.unwrap_or(trained.vision),
            },
            ..tier.clone()
        }
    }
}

fn within<T: Copy + PartialOrd + std::fmt::Display>(
    key: &str,
    given: T,
    range: RangeInclusive<T>,
) -> Result<(), SettingsError> {
    if range.contains(&given) {
        return Ok(());
    }
    Err(value(
        key,
        format!("is {given}; it must be {} to {}", range.start(), range.end()),
    ))
}

fn value(key: impl Into<String>, mend: impl Into<String>) -> SettingsError {
    SettingsError::Value {
        key: key.into(),
        mend: mend.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, part: &str) {
        let message = Settings::parse(text).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }

    fn catalog() -> Catalog {
        let tier = |name: &str| Tier {
            name: name.to_owned(),
            class: 2,
            input_usd_per_mtok: 1.0,
            output_usd_per_mtok: 2.0,
            context_window: None,
            capabilities: Capabilities::default(),
            latency_p95_s: None,
        };
        Catalog::new(vec![tier("large"), tier("small")]).unwrap()
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
    }

    #[test]
    fn refusals_say_where_and_what_to_change() {
        refused("listen = \"127.0.0.1:80\"\nqueue_size = 3", "line 2");
        refused("\n\nworkers = \"two\"", "line 3");
        refused("listen = \"here\"", "listen = \"here\"");
        refused("queue_capacity = 0", "`queue_capacity` is 0; it must be 1 to 65536");
        refused("workers = 65", "`workers` is 65");
        refused("max_concurrency = 0", "`max_concurrency`");
        refused("body_limit_bytes = 0", "`body_limit_bytes`");
        refused("request_timeout_ms = 0", "`request_timeout_ms`");
        refused("cohorts = [\"\"]", "`cohorts`");
        refused(
            "[tiers.\"a b\"]\ninput_usd_per_mtok = -1",
            "`tiers.\"a b\".input_usd_per_mtok` must be US dollars",
        );
        refused("[tiers.a]\noutput_usd_per_mtok = nan", "output_usd_per_mtok");
        refused("[tiers.a]\ncontext_window = 0", "context_window");
        refused("[tiers.a]\nlatency_p95_s = 0", "latency_p95_s");
        refused("[tiers.a]\ncapabilities = { sight = true }", "sight");
    }

    #[test]
    fn an_open_address_needs_consent() {
        refused("listen = \"0.0.0.0:8080\"", "allow_without_key = true");
        assert!(Settings::parse("listen = \"0.0.0.0:8080\"\nallow_without_key = true").is_ok());
        let open = SocketAddr::from(([0, 0, 0, 0], 1));
        assert_eq!(Settings::default().listening_on(open), Err(SettingsError::NoKeys(open)));
    }

    #[test]
    fn prices_and_capabilities_are_laid_over_the_catalog() {
        let text = "[tiers.small]\ninput_usd_per_mtok = 5\ncontext_window = 9\ncapabilities = { vision = true }";
        let catalog = Settings::parse(text).unwrap().apply(&catalog()).unwrap();
        let small = &catalog.tiers()[1];
        assert_eq!(
            (
                small.input_usd_per_mtok,
                small.output_usd_per_mtok,
                small.context_window
            ),
            (5.0, 2.0, Some(9))
        );
        assert_eq!(
            small.capabilities,
            Capabilities {
                tools: true,
                json_schema: true,
                vision: true
            }
        );
        assert_eq!(catalog.tiers()[0], super::tests::catalog().tiers()[0]);
    }

    #[test]
    fn a_tier_that_is_not_there() {
        for text in ["[tiers.tiny]\ncontext_window = 9", "safe_tier = \"tiny\""] {
            let message = Settings::parse(text)
                .unwrap()
                .apply(&catalog())
                .unwrap_err()
                .to_string();
            assert!(
                message.contains("`tiny`") && message.contains("large, small"),
                "{message}"
            );
        }
    }
}
