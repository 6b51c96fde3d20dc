//! Why a list of rules is refused: which rule, what is wrong with it, and the mend.

use std::fmt;

use super::signal::{Domain, Signal};

/// Why a list of rules is refused. `rule` is its number, from 1, and its name.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleError {
    /// There is no rule.
    Empty,
    /// A rule without a name.
    NoName {
        /// The rule.
        rule: String,
    },
    /// A name that an earlier rule has.
    SameName {
        /// The rule.
        rule: String,
    },
    /// An `any`, `all` or `is` of nothing.
    NothingListed {
        /// The rule.
        rule: String,
    },
    /// A limit that is negative or not a number.
    Limit {
        /// The rule.
        rule: String,
        /// What is compared with it.
        signal: Signal,
        /// The limit.
        limit: f64,
    },
    /// `is` on a number.
    NumberAsLabel {
        /// The rule.
        rule: String,
        /// The number.
        signal: Signal,
    },
    /// `above` or the like on a label.
    LabelAsNumber {
        /// The rule.
        rule: String,
        /// The label.
        signal: Signal,
    },
    /// A class without a tier.
    EmptyClass {
        /// The rule.
        rule: String,
        /// The class.
        class: u8,
        /// The classes there are.
        known: Vec<u8>,
    },
    /// A tier that is not there.
    UnknownTier {
        /// The rule.
        rule: String,
        /// Its name.
        tier: String,
        /// The tiers there are.
        known: Vec<String>,
    },
    /// A comparison that no value meets.
    NeverMet {
        /// The rule.
        rule: String,
        /// What is compared.
        signal: Signal,
    },
    /// A condition that no request meets.
    Contradiction {
        /// The rule.
        rule: String,
    },
    /// A rule that another one leaves nothing to.
    Shadowed {
        /// The rule.
        rule: String,
        /// What takes its requests.
        by: String,
    },
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no rule; write one [[rules]] table at least"),
            Self::NoName { rule } => write!(f, "{rule} has no name; give it one, the decision shows it"),
            Self::SameName { rule } => write!(f, "{rule} has the name of an earlier rule; give it one of its own"),
            Self::NothingListed { rule } => {
                write!(
                    f,
                    "{rule}: a list (any, all or is) has nothing in it; fill it or take it out"
                )
            }
            Self::Limit { rule, signal, limit } => {
                write!(
                    f,
                    "{rule}: {} is compared with {limit}; give a number of at least 0",
                    signal.name()
                )
            }
            Self::NumberAsLabel { rule, signal } => write!(
                f,
                "{rule}: {} is a number and has no labels; compare it by above, at_least, below or at_most",
                signal.name()
            ),
            Self::LabelAsNumber { rule, signal } => {
                write!(
                    f,
                    "{rule}: {} is a label; compare it by is = [\"LABEL\"]",
                    signal.name()
                )
            }
            Self::EmptyClass { rule, class, known } => {
                let known: Vec<String> = known.iter().map(u8::to_string).collect();
                write!(
                    f,
                    "{rule}: no tier has class {class}; the tiers' classes are {}",
                    known.join(", ")
                )
            }
            Self::UnknownTier { rule, tier, known } => {
                write!(
                    f,
                    "{rule}: there is no tier `{tier}`; the tiers are {}",
                    known.join(", ")
                )
            }
            Self::NeverMet { rule, signal } => {
                write!(f, "{rule}: no request meets the condition on {}, ", signal.name())?;
                match signal.domain() {
                    Domain::Flag => f.write_str("which is 0 or 1"),
                    Domain::Count | Domain::OptionalCount => f.write_str("which is a whole number of at least 0"),
                    Domain::Labels(known) => write!(f, "which is one of {}", known.join(", ")),
                    Domain::FreeLabel => f.write_str("which has one label"),
                }?;
                f.write_str("; change it or take it out")
            }
            Self::Contradiction { rule } => write!(
                f,
                "{rule} can never fire: the parts of its condition contradict one another; change them or take it out"
            ),
            Self::Shadowed { rule, by } => write!(
                f,
                "{rule} can never fire: every request that it is for goes to {by}; move it up or take it out"
            ),
        }
    }
}

impl std::error::Error for RuleError {}
