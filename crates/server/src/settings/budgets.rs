//! `[budgets]`: what sessions, keys, cohorts and all together may spend, and where that is kept.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tiercast_budgets::account::{Period, Scope};
use tiercast_budgets::amount::Limit;

use super::{SettingsError, value};

/// The table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetSettings {
    /// Where the sums are kept.
    pub(crate) store: StoreKind,
    /// Of SQLite.
    pub(crate) path: PathBuf,
    /// Of Valkey: the variable that holds `redis://...`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url_env: Option<String>,
    /// Of Valkey: parts deployments that share a server.
    pub(crate) deployment: String,
    /// Of Valkey: longest wait for an answer.
    pub(crate) timeout_ms: u64,
    /// What happens while the store does not answer.
    pub(crate) when_unavailable: WhenUnavailable,
    /// After this long the hold of a client that vanished ends.
    pub(crate) hold_s: u64,
    /// The purses.
    pub(crate) limits: Vec<LimitSettings>,
}

/// Where budgets are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// A file of this process.
    #[default]
    Sqlite,
    /// Nowhere: sums end with the process.
    Memory,
    /// A Valkey or Redis server, shared by replicas.
    Valkey,
}

/// What a request is told while the store does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhenUnavailable {
    /// It is refused.
    #[default]
    Closed,
    /// It goes on without a budget, and is counted.
    Open,
}

/// What happens to a request that does not fit any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhenSpent {
    /// The cheapest tier answers, over the budget.
    Degrade,
    /// An async request waits for room until its deadline; a sync one is refused.
    Defer,
    /// It is refused.
    #[default]
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ScopeName {
    Session,
    Key,
    Cohort,
    All,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PeriodName {
    #[default]
    Total,
    Day,
}

/// One of `[[budgets.limits]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitSettings {
    scope: ScopeName,
    /// Of the key or cohort; absent: each of them has such a purse of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default)]
    period: PeriodName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    usd: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<f64>,
    #[serde(default)]
    pub(crate) when_spent: WhenSpent,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self {
            store: StoreKind::default(),
            path: PathBuf::from("tiercast-budgets.sqlite"),
            url_env: None,
            deployment: "tiercast".to_owned(),
            timeout_ms: 1000,
            when_unavailable: WhenUnavailable::default(),
            hold_s: 900,
            limits: Vec::new(),
        }
    }
}

impl BudgetSettings {
    /// Whether requests go on while the store is away.
    pub fn goes_on_without(&self) -> bool {
        self.when_unavailable == WhenUnavailable::Open
    }

    /// Whether there is anything to keep.
    pub fn has_limits(&self) -> bool {
        !self.limits.is_empty()
    }

    /// Where the sums are kept.
    pub fn store(&self) -> StoreKind {
        self.store
    }

    /// The file of SQLite.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The variable that holds the address of Valkey.
    pub fn url_env(&self) -> Option<&str> {
        self.url_env.as_deref()
    }

    /// Parts deployments that share a server.
    pub fn deployment(&self) -> &str {
        &self.deployment
    }

    /// Longest wait for an answer of Valkey.
    pub fn timeout(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.timeout_ms)
    }

    /// Whether sums stay where they are: a running server does not move them, and begins no keeping.
    pub(super) fn is_kept_alike(&self, next: &Self) -> bool {
        let place = |of: &Self| {
            (
                of.store,
                of.path.clone(),
                of.url_env.clone(),
                of.deployment.clone(),
                of.timeout_ms,
            )
        };
        !next.has_limits() || (self.has_limits() && place(self) == place(next))
    }

    pub(super) fn check(&self, cohorts: &[String], keys: &[&str]) -> Result<(), SettingsError> {
        let needs_url = self.store == StoreKind::Valkey && self.has_limits();
        if needs_url && self.url_env.as_deref().is_none_or(|name| name.trim().is_empty()) {
            let mend = "is missing: the name of the environment variable that holds redis://HOST:PORT";
            return Err(value("budgets.url_env", mend));
        }
        if !(1..=86_400).contains(&self.hold_s) {
            return Err(value("budgets.hold_s", "must be seconds from 1 to 86400"));
        }
        if !(1..=60_000).contains(&self.timeout_ms) {
            return Err(value("budgets.timeout_ms", "must be milliseconds from 1 to 60000"));
        }
        for (idx, limit) in self.limits.iter().enumerate() {
            let place = format!("budgets.limits[{}]", idx + 1);
            limit.check(&place, cohorts, keys)?;
            let is_same = |other: &LimitSettings| {
                (other.scope, &other.name, other.period) == (limit.scope, &limit.name, limit.period)
            };
            if self.limits[..idx].iter().any(is_same) {
                return Err(value(
                    place,
                    "is for the same purse as one before it: write usd and tokens together",
                ));
            }
        }
        Ok(())
    }

    /// The limits that a request draws on: where one names the key or cohort, it stands for the one that does
    /// not.
    pub(crate) fn limits_of(&self, scope: ScopeName, name: &str) -> impl Iterator<Item = &LimitSettings> {
        let of_scope = move |limit: &&LimitSettings| limit.scope == scope;
        let all = move || self.limits.iter().filter(of_scope);
        let is_outranked = move |limit: &LimitSettings| {
            limit.name.is_none()
                && all().any(|other| other.name.as_deref() == Some(name) && other.period == limit.period)
        };
        let fits = move |limit: &&LimitSettings| limit.name.as_deref().is_none_or(|own| own == name);
        all().filter(fits).filter(move |limit| !is_outranked(limit))
    }
}

impl LimitSettings {
    pub(crate) fn limit(&self) -> Limit {
        Limit::new(self.usd, self.tokens).expect("limits are checked when settings are read")
    }

    pub(crate) fn scope(&self) -> Scope {
        match self.scope {
            ScopeName::Session => Scope::Session,
            ScopeName::Key => Scope::Key,
            ScopeName::Cohort => Scope::Cohort,
            ScopeName::All => Scope::All,
        }
    }

    pub(crate) fn period(&self) -> Period {
        match self.period {
            PeriodName::Day => Period::Day,
            PeriodName::Total => Period::Total,
        }
    }

    fn check(&self, place: &str, cohorts: &[String], keys: &[&str]) -> Result<(), SettingsError> {
        Limit::new(self.usd, self.tokens).map_err(|error| value(place, format!("will not do: {error}")))?;
        let Some(name) = &self.name else { return Ok(()) };
        let known = match self.scope {
            ScopeName::Cohort => cohorts.iter().any(|known| known == name),
            ScopeName::Key => keys.contains(&name.as_str()),
            ScopeName::Session | ScopeName::All => {
                let mend = "is for keys and cohorts alone: leave it out, each session has a purse of its own";
                return Err(value(format!("{place}.name"), mend));
            }
        };
        match known {
            true => Ok(()),
            false => {
                let mend = format!("is `{name}`, which is no key and no cohort of these settings");
                Err(value(format!("{place}.name"), mend))
            }
        }
    }
}
