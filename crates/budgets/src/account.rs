//! Whose purse it is, and for how long.

use std::fmt;

use crate::error::BudgetError;

/// Bytes of a name: session ids come from clients, and a key of a store is no place for a novel.
const MAX_NAME: usize = 256;

/// Milliseconds of a UTC day; leap seconds do not exist in Unix time.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Who shares a purse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// One session.
    Session,
    /// All requests with one key.
    Key,
    /// All requests of one cohort.
    Cohort,
    /// All requests of the deployment.
    All,
}

impl Scope {
    /// As in keys of stores and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Key => "key",
            Self::Cohort => "cohort",
            Self::All => "all",
        }
    }
}

/// How long a purse lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    /// A UTC day; the next one starts at zero.
    Day,
    /// Without end.
    Total,
}

/// One purse.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account {
    scope: Scope,
    name: String,
    period: Period,
}

impl Account {
    /// The purse of `name`, such as a session id; for [`Scope::All`] the name is often empty.
    /// [`BudgetError::Invalid`] where the name is longer than 256 bytes or has control characters.
    pub fn new(scope: Scope, name: &str, period: Period) -> Result<Self, BudgetError> {
        check_name(scope.name(), name)?;
        let name = name.to_owned();
        Ok(Self { scope, name, period })
    }

    /// Who shares it.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Of whom.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long it lasts.
    pub fn period(&self) -> Period {
        self.period
    }

    /// What it is called in a store at `now_ms`. Stores read scope and period from the front of it.
    pub(crate) fn key(&self, now_ms: i64) -> String {
        let scope = self.scope.name();
        match self.period {
            Period::Day => format!("{scope}:day-{}:{}", day(now_ms), self.name),
            Period::Total => format!("{scope}:total:{}", self.name),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.scope, self.name.as_str()) {
            (Scope::All, "") => f.write_str("all requests")?,
            (scope, name) => write!(f, "{} `{name}`", scope.name())?,
        }
        f.write_str(match self.period {
            Period::Day => " today (UTC)",
            Period::Total => "",
        })
    }
}

/// Days since 1970, UTC.
pub(crate) fn day(now_ms: i64) -> i64 {
    now_ms.div_euclid(DAY_MS)
}

/// Whether `name` may be part of a key of a store, where lines are separators.
pub(crate) fn check_name(of: &str, name: &str) -> Result<(), BudgetError> {
    if name.len() > MAX_NAME {
        return Err(BudgetError::Invalid(format!(
            "the {of} name has {} bytes, and {MAX_NAME} are the most: use a shorter one, or its hash",
            name.len()
        )));
    }
    if name.chars().any(char::is_control) {
        return Err(BudgetError::Invalid(format!(
            "the {of} name {name:?} has control characters: leave them out"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_scope_period_and_day() {
        let check = |scope, name, period, now_ms, expected: &str| {
            assert_eq!(Account::new(scope, name, period).unwrap().key(now_ms), expected);
        };
        check(Scope::Session, "s:1", Period::Total, 0, "session:total:s:1");
        check(Scope::Key, "team", Period::Day, 0, "key:day-0:team");
        check(Scope::Key, "team", Period::Day, DAY_MS - 1, "key:day-0:team");
        check(Scope::Cohort, "free", Period::Day, DAY_MS, "cohort:day-1:free");
        check(Scope::All, "", Period::Day, 20_000 * DAY_MS, "all:day-20000:");
    }

    #[test]
    fn names_that_no_key_can_hold() {
        let check = |name: &str, part: &str| {
            let error = Account::new(Scope::Session, name, Period::Total).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        };
        check("a\nb", "control characters");
        check(&"é".repeat(129), "258 bytes");
    }
}
