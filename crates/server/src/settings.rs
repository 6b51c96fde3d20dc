//! `tiercast.toml`: where to listen, limits, who may ask, and the tiers of this deployment.
//!
//! The binary reads the file and hands the text over. [`Settings::parse`] is the only way in
//! beside the defaults, so settings that exist are settings that hold.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tiercast_routing::catalog::{Capabilities, Catalog, Tier};
use tiercast_routing::rules::{Rule, RuleList};
use tiercast_upstream::settings::EndpointSettings;
use tiercast_upstream::told::without_keys;

use crate::keys::KeySettings;
use crate::policy::Policy;

pub mod budgets;
pub(crate) mod cascade;
mod error;
pub mod journal;
#[cfg(test)]
mod tests;

use budgets::BudgetSettings;
use cascade::CascadeSettings;
pub use error::SettingsError;
use journal::JournalSettings;

/// Names of cohorts are labels of metrics: each one is a time series per tier and reason.
const MAX_COHORTS: usize = 100;

/// What `tiercast.toml` says. Every key has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub(crate) listen: SocketAddr,
    /// What the file says of it, where `--listen` outranks the file.
    #[serde(skip)]
    listen_written: Option<SocketAddr>,
    pub(crate) allow_without_key: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) safe_tier: Option<String>,
    /// How `auto` chooses.
    pub(crate) policy: String,
    pub(crate) cascade: CascadeSettings,
    /// Of the policy `rules`; none: the field's baseline.
    pub(crate) rules: Vec<Rule>,
    pub(crate) body_limit_bytes: usize,
    pub(crate) queue_capacity: usize,
    pub(crate) workers: usize,
    pub(crate) max_concurrency: usize,
    pub(crate) request_timeout_ms: u64,
    pub(crate) deadline_ms: u64,
    pub(crate) idle_timeout_ms: u64,
    pub(crate) drain_ms: u64,
    pub(crate) session_cache_s: u64,
    pub(crate) cohorts: Vec<String>,
    pub(crate) service_levels: BTreeMap<String, LevelSettings>,
    pub(crate) budgets: BudgetSettings,
    pub(crate) journal: JournalSettings,
    /// Where traces go; absent: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) traces: Option<tiercast_telemetry::settings::Settings>,
    pub(crate) drift: tiercast_observation::drift::Settings,
    pub(crate) keys: BTreeMap<String, KeySettings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admin: Option<KeySettings>,
    pub(crate) tiers: BTreeMap<String, TierSettings>,
    /// Read by `collect`.
    collect: toml::Table,
    /// Read by `judge`.
    judge: toml::Table,
}

/// What a cohort gets where a request says nothing: `[service_levels.COHORT]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LevelSettings {
    /// Quality to reach: a floor on the expected quality, or with `confidence` a target.
    pub(crate) quality: Option<f64>,
    /// Probability to reach it with.
    pub(crate) confidence: Option<f64>,
    /// 95th percentile of the latency of sync requests, milliseconds.
    pub(crate) latency_ms: Option<f64>,
    /// Most expected cost of a request, US dollars.
    pub(crate) max_cost_usd: Option<f64>,
}

/// What this deployment knows better about a tier than the checkpoint; absent keys keep its word.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TierSettings {
    class: Option<u8>,
    input_usd_per_mtok: Option<f64>,
    output_usd_per_mtok: Option<f64>,
    cached_input_usd_per_mtok: Option<f64>,
    context_window: Option<u32>,
    #[serde(skip_serializing_if = "CapabilitySettings::say_nothing")]
    capabilities: CapabilitySettings,
    latency_p95_s: Option<f64>,
    pub(crate) predict_as: Option<String>,
    pub(crate) endpoint: Option<EndpointSettings>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CapabilitySettings {
    tools: Option<bool>,
    json_schema: Option<bool>,
    vision: Option<bool>,
}

impl CapabilitySettings {
    fn say_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What may be told of a key: not what opens the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyView<'a> {
    /// Its table, as in `keys."app"`, or `admin`.
    pub place: String,
    /// The cohort of who has it.
    pub cohort: Option<&'a str>,
    /// The variable that holds it; none where its digest is written.
    pub variable: Option<&'a str>,
}

/// The tiers that are served, and where each one's evidence comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Served {
    pub(crate) catalog: Catalog,
    /// Per tier, the position of the trained tier whose forecasts it takes.
    pub(crate) sources: Vec<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen_written: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            allow_without_key: false,
            safe_tier: None,
            policy: "meta".to_owned(),
            cascade: CascadeSettings::default(),
            rules: Vec::new(),
            body_limit_bytes: 4 << 20,
            queue_capacity: 256,
            workers: 1,
            max_concurrency: 512,
            request_timeout_ms: 10_000,
            deadline_ms: 600_000,
            idle_timeout_ms: 60_000,
            drain_ms: 30_000,
            session_cache_s: 300,
            cohorts: Vec::new(),
            service_levels: BTreeMap::new(),
            budgets: BudgetSettings::default(),
            journal: JournalSettings::default(),
            traces: None,
            drift: tiercast_observation::drift::Settings::default(),
            keys: BTreeMap::new(),
            admin: None,
            tiers: BTreeMap::new(),
            collect: toml::Table::new(),
            judge: toml::Table::new(),
        }
    }
}

impl Settings {
    /// Reads the text of a `tiercast.toml` and checks every value.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let settings: Self = toml::from_str(text).map_err(|error| SettingsError::Toml(without_keys(&error)))?;
        settings.checked().map_err(|error| error.located(text))
    }

    /// The same, listening elsewhere (`--listen`).
    pub fn listening_on(mut self, listen: SocketAddr) -> Result<Self, SettingsError> {
        self.listen_written = Some(self.listen_written());
        self.listen = listen;
        self.checked()
    }

    fn listen_written(&self) -> SocketAddr {
        self.listen_written.unwrap_or(self.listen)
    }

    /// Where to listen.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Number of inference threads, each with a predictor of its own.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// How long a decision may take.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// Whether any tier can be asked.
    pub fn has_endpoints(&self) -> bool {
        self.tiers.values().any(|tier| tier.endpoint.is_some())
    }

    /// Every tier with an endpoint, by name.
    pub fn endpoints(&self) -> impl Iterator<Item = (&str, &EndpointSettings)> {
        let tiers = self.tiers.iter();
        tiers.filter_map(|(name, tier)| Some((name.as_str(), tier.endpoint.as_ref()?)))
    }

    /// Every tier by name, with the trained tier whose evidence it borrows.
    pub fn tiers(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let tiers = self.tiers.iter();
        tiers.map(|(name, tier)| (name.as_str(), tier.predict_as.as_deref()))
    }

    /// What is kept of the requests.
    pub fn journal(&self) -> &JournalSettings {
        &self.journal
    }

    /// Where traces go.
    pub fn traces(&self) -> Option<&tiercast_telemetry::settings::Settings> {
        self.traces.as_ref()
    }

    /// What counts as drift.
    pub fn drift(&self) -> &tiercast_observation::drift::Settings {
        &self.drift
    }

    /// What may be spent.
    pub fn budgets(&self) -> &BudgetSettings {
        &self.budgets
    }

    /// Names that a request or a key may give as its cohort.
    pub fn cohorts(&self) -> &[String] {
        &self.cohorts
    }

    /// The keys of clients.
    pub fn client_keys(&self) -> Vec<KeyView<'_>> {
        let keys = self.keys.iter();
        keys.map(|(name, key)| key.view(format!("keys.\"{name}\""))).collect()
    }

    /// The key of the admin calls.
    pub fn admin_key(&self) -> Option<KeyView<'_>> {
        self.admin.as_ref().map(|key| key.view("admin".to_owned()))
    }

    /// The settings in force as TOML, every default filled in, without anything that opens a door.
    /// `collect` and `judge` are those tables as the commands of that name take them.
    pub fn shown(&self, collect: toml::Table, judge: toml::Table) -> Result<String, toml::ser::Error> {
        toml::to_string(&Self {
            collect,
            judge,
            ..self.clone()
        })
    }

    /// The tiers to serve: those of the settings where any of them can be asked, else those of the
    /// checkpoint, with this deployment's prices, windows, capabilities and latencies.
    pub(crate) fn served(&self, trained: &Catalog) -> Result<Served, SettingsError> {
        let known = || {
            let names: Vec<&str> = trained.tiers().iter().map(|tier| tier.name.as_str()).collect();
            names.join(", ")
        };
        let position = |key: String, name: &str| {
            trained.position(name).ok_or_else(|| SettingsError::UnknownTier {
                key,
                tier: name.to_owned(),
                known: known(),
                line: None,
            })
        };
        let (mut tiers, mut sources) = (Vec::new(), Vec::new());
        if !self.has_endpoints() {
            let unnamed = trained.tiers().iter().enumerate();
            for (source, tier) in unnamed.filter(|(_, tier)| !self.tiers.contains_key(&tier.name)) {
                tiers.push(tier.clone());
                sources.push(source);
            }
        }
        for (name, settings) in &self.tiers {
            let key = format!("tiers.\"{name}\"");
            let source = match &settings.predict_as {
                Some(other) => position(format!("{key}.predict_as"), other)?,
                None => position(key, name)?,
            };
            tiers.push(settings.over(name, &trained.tiers()[source])?);
            sources.push(source);
        }
        // As in the checkpoint, so that a forecast reads alike with settings and without.
        let mut order: Vec<usize> = (0..tiers.len()).collect();
        order.sort_by_key(|at| (sources[*at], *at));
        let catalog = Catalog::new(order.iter().map(|at| tiers[*at].clone()).collect());
        let catalog = catalog.map_err(|invalid| value("tiers", invalid.0))?;
        if let Some(name) = self.safe_tier.as_deref()
            && catalog.position(name).is_none()
        {
            let names: Vec<&str> = catalog.tiers().iter().map(|tier| tier.name.as_str()).collect();
            return Err(value(
                "safe_tier",
                format!(
                    "names tier `{name}`, which is not served; the tiers are {}",
                    names.join(", ")
                ),
            ));
        }
        Ok(Served {
            catalog,
            sources: order.into_iter().map(|at| sources[at]).collect(),
        })
    }

    /// The policy that is named, true of these tiers.
    pub(crate) fn policy_among(&self, catalog: &Catalog) -> Result<Policy, SettingsError> {
        Policy::read(&self.policy, catalog).ok_or_else(|| {
            let names: Vec<&str> = catalog.tiers().iter().map(|tier| tier.name.as_str()).collect();
            let (given, known) = (&self.policy, Policy::KNOWN);
            let mend = format!(
                "is `{given}`; the policies are {known}, where TIER is one of {}",
                names.join(", ")
            );
            value("policy", mend)
        })
    }

    /// The rules, true of these tiers; the field's baseline where none are given.
    pub(crate) fn rules_among(&self, catalog: &Catalog) -> Result<RuleList, SettingsError> {
        if self.rules.is_empty() {
            return Ok(RuleList::baseline());
        }
        RuleList::check(&self.rules, catalog).map_err(|error| value("rules", format!("will not do: {error}")))
    }

    /// Refuses what a running server cannot take over from these settings, and what looks like a file that is
    /// only half there: to serve nothing more, or to let everybody in, is said by a restart.
    pub(crate) fn check_reload(&self, next: &Self) -> Result<(), SettingsError> {
        let lost = [
            (
                "[tiers.NAME.endpoint] table",
                self.has_endpoints() && !next.has_endpoints(),
            ),
            ("[keys.NAME] table", !self.keys.is_empty() && next.keys.is_empty()),
            ("[admin] table", self.admin.is_some() && next.admin.is_none()),
        ];
        if let Some((what, _)) = lost.into_iter().find(|(_, is_lost)| *is_lost) {
            return Err(SettingsError::Lost(what));
        }
        let changed = [
            ("listen", self.listen_written() != next.listen_written()),
            ("workers", self.workers != next.workers),
            ("queue_capacity", self.queue_capacity != next.queue_capacity),
            ("max_concurrency", self.max_concurrency != next.max_concurrency),
            ("budgets", !self.budgets.is_kept_alike(&next.budgets)),
            ("journal", self.journal != next.journal),
            ("traces", self.traces != next.traces),
            ("drift", self.drift != next.drift),
        ];
        match changed.into_iter().find(|(_, is_changed)| *is_changed) {
            Some((key, _)) => Err(SettingsError::NeedsRestart { key, line: None }),
            None => Ok(()),
        }
    }

    fn checked(self) -> Result<Self, SettingsError> {
        within("body_limit_bytes", self.body_limit_bytes, 1..=1 << 30)?;
        within("queue_capacity", self.queue_capacity, 1..=65_536)?;
        within("workers", self.workers, 1..=64)?;
        within("max_concurrency", self.max_concurrency, 1..=65_536)?;
        within("request_timeout_ms", self.request_timeout_ms, 1..=600_000)?;
        within("deadline_ms", self.deadline_ms, 1..=86_400_000)?;
        within("idle_timeout_ms", self.idle_timeout_ms, 1..=86_400_000)?;
        within("drain_ms", self.drain_ms, 0..=86_400_000)?;
        within("session_cache_s", self.session_cache_s, 0..=86_400)?;
        if self.cohorts.len() > MAX_COHORTS || self.cohorts.iter().any(|name| name.trim().is_empty()) {
            return Err(value(
                "cohorts",
                format!("takes at most {MAX_COHORTS} names, none of them empty"),
            ));
        }
        for (name, level) in &self.service_levels {
            level.check(name)?;
            if !self.cohorts.contains(name) {
                let mend = format!("is for no cohort: add \"{name}\" to `cohorts`");
                return Err(value(format!("service_levels.\"{name}\""), mend));
            }
        }
        for (name, key) in &self.keys {
            let place = format!("keys.\"{name}\"");
            key.check(&place)?;
            if let Some(cohort) = key.cohort.as_ref().filter(|cohort| !self.cohorts.contains(cohort)) {
                let mend = format!("is `{cohort}`, which is not one of `cohorts`; add it there");
                return Err(value(format!("{place}.cohort"), mend));
            }
        }
        if let Some(key) = &self.admin {
            key.check("admin")?;
        }
        self.cascade.check()?;
        self.journal.check()?;
        self.drift
            .check()
            .map_err(|error| value(format!("drift.{}", error.name), error.expected))?;
        let keys: Vec<&str> = self.keys.keys().map(String::as_str).collect();
        self.budgets.check(&self.cohorts, &keys)?;
        for (name, tier) in &self.tiers {
            tier.check(name)?;
        }
        if !self.listen.ip().is_loopback() && !self.allow_without_key && self.keys.is_empty() {
            return Err(SettingsError::NoKeys(self.listen));
        }
        Ok(self)
    }
}

impl LevelSettings {
    fn check(&self, name: &str) -> Result<(), SettingsError> {
        let key = |field: &str| format!("service_levels.\"{name}\".{field}");
        for (field, share) in [("quality", self.quality), ("confidence", self.confidence)] {
            if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
                return Err(value(key(field), "must be a number from 0 to 1"));
            }
        }
        if self.confidence.is_some() && self.quality.is_none() {
            return Err(value(
                key("confidence"),
                "needs `quality` beside it: the quality to reach with it",
            ));
        }
        if self.latency_ms.is_some_and(|ms| !ms.is_finite() || ms <= 0.0) {
            return Err(value(key("latency_ms"), "must be milliseconds, more than 0"));
        }
        if self.max_cost_usd.is_some_and(|usd| !usd.is_finite() || usd < 0.0) {
            return Err(value(key("max_cost_usd"), "must be US dollars, 0 or more"));
        }
        Ok(())
    }
}

impl TierSettings {
    fn check(&self, name: &str) -> Result<(), SettingsError> {
        let key = |field: &str| format!("tiers.\"{name}\".{field}");
        for (field, price) in [
            ("input_usd_per_mtok", self.input_usd_per_mtok),
            ("output_usd_per_mtok", self.output_usd_per_mtok),
            ("cached_input_usd_per_mtok", self.cached_input_usd_per_mtok),
        ] {
            if price.is_some_and(|price| !price.is_finite() || price < 0.0) {
                return Err(value(key(field), "must be US dollars per million tokens, 0 or more"));
            }
        }
        if self.class.is_some_and(|class| !(1..=4).contains(&class)) {
            return Err(value(
                key("class"),
                "must be 1 (frontier or reasoner), 2 (mid generalist), 3 (light) or 4 (fine-tuned for one domain)",
            ));
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

    /// The tier under `name`, where these settings say nothing as the trained one.
    fn over(&self, name: &str, trained: &Tier) -> Result<Tier, SettingsError> {
        // What another tier costs says nothing about this one.
        let is_borrowed = self.predict_as.is_some();
        let price = |field: &str, own: Option<f64>, trained: f64| match own {
            Some(own) => Ok(own),
            None if !is_borrowed => Ok(trained),
            None => Err(value(
                format!("tiers.\"{name}\".{field}"),
                "is missing: write US dollars per million tokens, 0 for a model of your own",
            )),
        };
        let (own, before) = (self.capabilities, trained.capabilities);
        let before = if is_borrowed { Capabilities::default() } else { before };
        let unless_borrowed = |latency: Option<f64>| latency.filter(|_| !is_borrowed);
        Ok(Tier {
            name: name.to_owned(),
            class: self.class.unwrap_or(trained.class),
            input_usd_per_mtok: price(
                "input_usd_per_mtok",
                self.input_usd_per_mtok,
                trained.input_usd_per_mtok,
            )?,
            output_usd_per_mtok: price(
                "output_usd_per_mtok",
                self.output_usd_per_mtok,
                trained.output_usd_per_mtok,
            )?,
            cached_input_usd_per_mtok: self.cached_input_usd_per_mtok.or(trained.cached_input_usd_per_mtok),
            context_window: self.context_window.or(trained.context_window.filter(|_| !is_borrowed)),
            latency_p95_s: self.latency_p95_s.or(unless_borrowed(trained.latency_p95_s)),
            capabilities: Capabilities {
                tools: own.tools.unwrap_or(before.tools),
                json_schema: own.json_schema.unwrap_or(before.json_schema),
                vision: own.vision.unwrap_or(before.vision),
            },
        })
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

pub(crate) fn value(key: impl Into<String>, mend: impl Into<String>) -> SettingsError {
    SettingsError::Value {
        key: key.into(),
        mend: mend.into(),
        line: None,
    }
}
