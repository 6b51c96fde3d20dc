//! Conditions over signals.

use serde::{Deserialize, Serialize};

use super::error::RuleError;
use super::signal::{Domain, Signal, Value};

/// When a rule fires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Condition {
    /// All tests of one signal hold.
    Signal(Signal, Vec<Test>),
    /// One of them holds.
    Any(Vec<Condition>),
    /// All of them hold.
    All(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
}

/// A comparison of a signal. None holds where the signal is absent.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Greater than.
    Above(f64),
    /// Greater than or equal to.
    AtLeast(f64),
    /// Less than.
    Below(f64),
    /// Less than or equal to.
    AtMost(f64),
    /// One of these labels.
    Is(Vec<String>),
}

impl Condition {
    /// Whether it holds; `None` where that hangs on a signal that `value` does not know yet.
    pub(super) fn holds<'a>(&self, value: &impl Fn(Signal) -> Option<Value<'a>>) -> Option<bool> {
        match self {
            Self::Signal(signal, tests) => value(*signal).map(|value| tests.iter().all(|test| test.holds(value))),
            Self::Any(members) => first_to_be(true, members, value),
            Self::All(members) => first_to_be(false, members, value),
            Self::Not(member) => member.holds(value).map(|holds| !holds),
        }
    }

    /// Calls `visit` with every comparison.
    pub(super) fn each_signal<'a>(&'a self, visit: &mut impl FnMut(Signal, &'a [Test])) {
        match self {
            Self::Signal(signal, tests) => visit(*signal, tests),
            Self::Any(members) | Self::All(members) => members.iter().for_each(|member| member.each_signal(visit)),
            Self::Not(member) => member.each_signal(visit),
        }
    }

    /// Checks that it compares what can be compared. `rule` is what an error calls the rule.
    pub(super) fn check(&self, rule: &str) -> Result<(), RuleError> {
        match self {
            Self::Signal(signal, tests) => tests.iter().try_for_each(|test| test.check(*signal, rule)),
            Self::Any(members) | Self::All(members) if members.is_empty() => {
                Err(RuleError::NothingListed { rule: rule.to_owned() })
            }
            Self::Any(members) | Self::All(members) => members.iter().try_for_each(|member| member.check(rule)),
            Self::Not(member) => member.check(rule),
        }
    }
}

/// Whether one of the members is `wanted`: then so is the whole, and else it is the opposite.
fn first_to_be<'a>(wanted: bool, members: &[Condition], value: &impl Fn(Signal) -> Option<Value<'a>>) -> Option<bool> {
    let mut is_open = false;
    for member in members {
        match member.holds(value) {
            Some(holds) if holds == wanted => return Some(wanted),
            Some(_) => {}
            None => is_open = true,
        }
    }
    (!is_open).then_some(!wanted)
}

impl Test {
    pub(super) fn holds(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Is(labels), Value::Label(label)) => labels.iter().any(|known| known == label),
            (_, Value::Number(number)) => self.holds_for(number),
            _ => false,
        }
    }

    fn holds_for(&self, number: f64) -> bool {
        match self {
            Self::Above(limit) => number > *limit,
            Self::AtLeast(limit) => number >= *limit,
            Self::Below(limit) => number < *limit,
            Self::AtMost(limit) => number <= *limit,
            Self::Is(_) => false,
        }
    }

    /// What a number is compared with.
    pub(super) fn limit(&self) -> Option<f64> {
        match self {
            Self::Above(limit) | Self::AtLeast(limit) | Self::Below(limit) | Self::AtMost(limit) => Some(*limit),
            Self::Is(_) => None,
        }
    }

    fn check(&self, signal: Signal, rule: &str) -> Result<(), RuleError> {
        let rule = || rule.to_owned();
        let is_label = matches!(signal.domain(), Domain::FreeLabel | Domain::Labels(_));
        match self {
            Self::Is(_) if !is_label => Err(RuleError::NumberAsLabel { rule: rule(), signal }),
            Self::Is(labels) if labels.is_empty() => Err(RuleError::NothingListed { rule: rule() }),
            Self::Is(_) => Ok(()),
            _ if is_label => Err(RuleError::LabelAsNumber { rule: rule(), signal }),
            _ => match self.limit() {
                Some(limit) if !limit.is_finite() || limit < 0.0 => Err(RuleError::Limit {
                    rule: rule(),
                    signal,
                    limit,
                }),
                _ => Ok(()),
            },
        }
    }
}

/// A condition with the keys of the file.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    any: Option<Vec<Condition>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<Vec<Condition>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not: Option<Box<Condition>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<Signal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    above: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    below: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is: Option<Vec<String>>,
}

impl TryFrom<Written> for Condition {
    type Error = &'static str;
    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written {
            any,
            all,
            not,
            signal,
            above,
            at_least,
            below,
            at_most,
            is,
        } = written;
        let tests: Vec<Test> = [
            above.map(Test::Above),
            at_least.map(Test::AtLeast),
            below.map(Test::Below),
            at_most.map(Test::AtMost),
            is.map(Test::Is),
        ]
        .into_iter()
        .flatten()
        .collect();
        match (any, all, not, signal, tests.is_empty()) {
            (Some(members), None, None, None, true) => Ok(Self::Any(members)),
            (None, Some(members), None, None, true) => Ok(Self::All(members)),
            (None, None, Some(member), None, true) => Ok(Self::Not(member)),
            (None, None, None, Some(signal), false) => Ok(Self::Signal(signal, tests)),
            (None, None, None, Some(_), true) => {
                Err("a condition on a signal needs above, at_least, below, at_most or is")
            }
            _ => Err(
                "a condition is one of { any = [...] }, { all = [...] }, { not = {...} } and { signal = \"NAME\", \
                 above = 1 }; put one into another instead of joining them",
            ),
        }
    }
}

impl From<Condition> for Written {
    fn from(condition: Condition) -> Self {
        let mut written = Self::default();
        match condition {
            Condition::Any(members) => written.any = Some(members),
            Condition::All(members) => written.all = Some(members),
            Condition::Not(member) => written.not = Some(member),
            Condition::Signal(signal, tests) => {
                written.signal = Some(signal);
                for test in tests {
                    match test {
                        Test::Above(limit) => written.above = Some(limit),
                        Test::AtLeast(limit) => written.at_least = Some(limit),
                        Test::Below(limit) => written.below = Some(limit),
                        Test::AtMost(limit) => written.at_most = Some(limit),
                        Test::Is(labels) => written.is = Some(labels),
                    }
                }
            }
        }
        written
    }
}
