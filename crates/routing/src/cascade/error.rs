//! Why a cascade is refused, and the mend.

use std::fmt;

/// Why a cascade is refused.
#[derive(Debug, Clone, PartialEq)]
pub enum CascadeError {
    /// Fewer than two tiers.
    TooShort(Vec<String>),
    /// A tier that comes round again.
    Cycle(String),
    /// A tier that is not there.
    UnknownTier {
        /// Its name.
        tier: String,
        /// The tiers there are.
        known: Vec<String>,
    },
    /// A tier that is cheaper than the one before it.
    Order {
        /// The dearer one.
        earlier: String,
        /// The cheaper one.
        later: String,
    },
    /// Not one threshold per stage but the last.
    NThresholds {
        /// Thresholds given.
        n: usize,
        /// Stages.
        n_stages: usize,
    },
    /// A threshold outside of [0, 1].
    Threshold(f64),
    /// A price of quality that is not above 0.
    Lambda(f64),
    /// A dependence outside of [0, 1].
    Dependence(f64),
}

impl fmt::Display for CascadeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort(tiers) => write!(
                f,
                "a cascade needs two tiers at least and has {}; add a dearer one to escalate to, or use fixed:TIER",
                if tiers.is_empty() {
                    "none".to_owned()
                } else {
                    format!("`{}` alone", tiers.join("`, `"))
                }
            ),
            Self::Cycle(tier) => {
                write!(
                    f,
                    "the cascade comes back to `{tier}`, a cycle; name each tier once, cheapest first"
                )
            }
            Self::UnknownTier { tier, known } => {
                write!(
                    f,
                    "the cascade names `{tier}`, which is no tier; the tiers are {}",
                    known.join(", ")
                )
            }
            Self::Order { earlier, later } => write!(
                f,
                "the cascade goes from `{earlier}` to `{later}`, which is cheaper; order its tiers cheapest first"
            ),
            Self::NThresholds { n, n_stages } => write!(
                f,
                "the cascade has {n_stages} tiers and {n} thresholds; give {}, one per tier but the last",
                n_stages.saturating_sub(1)
            ),
            Self::Threshold(threshold) => {
                write!(
                    f,
                    "a threshold of the cascade is {threshold}; give a quality from 0 to 1"
                )
            }
            Self::Lambda(lambda) => write!(
                f,
                "lambda_per_usd of the cascade is {lambda}; give the quality that a US dollar is worth, above 0"
            ),
            Self::Dependence(dependence) => {
                write!(
                    f,
                    "the dependence of the cascade is {dependence}; give a number from 0 to 1"
                )
            }
        }
    }
}

impl std::error::Error for CascadeError {}
