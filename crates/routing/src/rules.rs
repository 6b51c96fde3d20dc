//! The policy `rules`: a list of rules over the signals of a request, the first that holds decides.
//!
//! A [`Rule`] is as it is written in `tiercast.toml`; a [`RuleList`] is one whose every rule can fire. A
//! list need not end with a rule without `when`: where none fires, it is as if the last one said class 2.
//! A class or a tier is preferred, not forced: [`crate::decide`] still filters, and falls back to the
//! nearest class.

mod condition;
mod error;
mod reach;
mod signal;
mod task;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use condition::{Condition, Test};
pub use error::RuleError;
pub use signal::{Signal, Told};

use crate::catalog::Catalog;
use crate::decide::Preferred;
use crate::request::Request;

/// What decides where no rule of the list fires.
const OTHERWISE: &str = "no rule fired";
/// Its class: the middle.
const OTHERWISE_CLASS: u8 = 2;

/// A rule, as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Rule {
    /// What the decision calls it.
    pub name: String,
    /// When it fires; always, where there is none.
    pub when: Option<Condition>,
    /// What it prefers.
    pub then: Then,
}

/// What a rule prefers, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// The cheapest tier of a class that fits.
    Class(u8),
    /// A tier, by name.
    Tier(String),
}

/// Rules that have been checked: there is one at least, each can fire, and what they prefer is there.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleList {
    rules: Vec<Checked>,
}

#[derive(Debug, Clone, PartialEq)]
struct Checked {
    name: String,
    when: Option<Condition>,
    target: Preferred,
}

/// The rule that fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fired<'a> {
    /// Its position in the list; the list's length where none of them fired.
    pub rule_idx: usize,
    /// Its name.
    pub name: &'a str,
    /// What it prefers.
    pub target: Preferred,
}

impl RuleList {
    /// Checks rules against the catalog that they will choose from.
    ///
    /// Errors when there is none, when a rule names a class or a tier that is not there or compares what
    /// cannot be compared, and when a rule can never fire, be it for itself or for the rules before it.
    pub fn check(rules: &[Rule], catalog: &Catalog) -> Result<Self, RuleError> {
        if rules.is_empty() {
            return Err(RuleError::Empty);
        }
        for (rule_idx, rule) in rules.iter().enumerate() {
            let label = label(rule_idx, rule);
            if rule.name.trim().is_empty() {
                return Err(RuleError::NoName { rule: label });
            }
            if rules[..rule_idx].iter().any(|earlier| earlier.name == rule.name) {
                return Err(RuleError::SameName { rule: label });
            }
            if let Some(when) = &rule.when {
                when.check(&label)?;
            }
        }
        reach::check(rules)?;
        let checked = rules.iter().enumerate().map(|(rule_idx, rule)| {
            Ok(Checked {
                name: rule.name.clone(),
                when: rule.when.clone(),
                target: target(rule, &label(rule_idx, rule), catalog)?,
            })
        });
        Ok(Self {
            rules: checked.collect::<Result<_, _>>()?,
        })
    }

    /// The usual rules of the field: more than 8,000 tokens or more than 3 tool calls to class 1,
    /// classification and slot filling to class 3, all else to class 2. They hold with any catalog; a class
    /// that it lacks is its nearest.
    pub fn baseline() -> Self {
        let above = |signal, number| Condition::Signal(signal, vec![Test::Above(number)]);
        let small = ["classification", "slot_filling"].map(str::to_owned).to_vec();
        let rule = |name: &str, when, class| Checked {
            name: name.to_owned(),
            when,
            target: Preferred::Class(class),
        };
        let long = Condition::Any(vec![above(Signal::InputTokens, 8000.0), above(Signal::NToolCalls, 3.0)]);
        Self {
            rules: vec![
                rule("long or many tool calls", Some(long), 1),
                rule(
                    "classification and slot filling",
                    Some(Condition::Signal(Signal::Task, vec![Test::Is(small)])),
                    3,
                ),
                rule("everything else", None, 2),
            ],
        }
    }

    /// The first rule that holds.
    pub fn fire(&self, request: &Request, told: Told<'_>) -> Fired<'_> {
        let value = |signal: Signal| Some(signal.value(request, told));
        let holds = |rule: &Checked| rule.when.as_ref().is_none_or(|when| when.holds(&value) == Some(true));
        match self.rules.iter().enumerate().find(|(_, rule)| holds(rule)) {
            Some((rule_idx, rule)) => Fired {
                rule_idx,
                name: &rule.name,
                target: rule.target,
            },
            None => Fired {
                rule_idx: self.rules.len(),
                name: OTHERWISE,
                target: Preferred::Class(OTHERWISE_CLASS),
            },
        }
    }
}

/// How an error calls a rule.
fn label(rule_idx: usize, rule: &Rule) -> String {
    format!("rule {} (`{}`)", rule_idx + 1, rule.name)
}

fn target(rule: &Rule, label: &str, catalog: &Catalog) -> Result<Preferred, RuleError> {
    let tiers = catalog.tiers();
    match &rule.then {
        Then::Tier(name) => catalog
            .position(name)
            .map(Preferred::Tier)
            .ok_or_else(|| RuleError::UnknownTier {
                rule: label.to_owned(),
                tier: name.clone(),
                known: tiers.iter().map(|tier| tier.name.clone()).collect(),
            }),
        Then::Class(class) if tiers.iter().any(|tier| tier.class == *class) => Ok(Preferred::Class(*class)),
        Then::Class(class) => {
            let mut known: Vec<u8> = tiers.iter().map(|tier| tier.class).collect();
            known.sort_unstable();
            known.dedup();
            Err(RuleError::EmptyClass {
                rule: label.to_owned(),
                class: *class,
                known,
            })
        }
    }
}

/// A rule with the keys of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    when: Option<Condition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tier: Option<String>,
}

impl TryFrom<Written> for Rule {
    type Error = String;
    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let then = match (written.class, written.tier) {
            (Some(class), None) => Then::Class(class),
            (None, Some(tier)) => Then::Tier(tier),
            _ => {
                return Err(format!(
                    "rule `{}` needs either class = 1 to 4 or tier = \"NAME\", and not both",
                    written.name
                ));
            }
        };
        Ok(Self {
            name: written.name,
            when: written.when,
            then,
        })
    }
}

impl From<Rule> for Written {
    fn from(rule: Rule) -> Self {
        let (class, tier) = match rule.then {
            Then::Class(class) => (Some(class), None),
            Then::Tier(tier) => (None, Some(tier)),
        };
        Self {
            name: rule.name,
            when: rule.when,
            class,
            tier,
        }
    }
}
