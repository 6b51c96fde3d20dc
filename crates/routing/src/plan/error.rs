//! Why a task cannot be planned: which step, what is wrong with it, and the mend.

use std::fmt;

use super::Terms;

/// Steps of a ring that are named.
const NAMED_OF_RING: usize = 10;

/// Why a task cannot be planned. Tiers are given by their index in the catalog.
#[derive(Debug, Clone, PartialEq)]
pub enum PlanError {
    /// There is nothing to plan.
    NoSteps,
    /// Two steps of one name.
    DuplicateStep(String),
    /// A step waits for one that is not there.
    UnknownDependency {
        /// The step.
        step: String,
        /// What it waits for.
        depends_on: String,
    },
    /// Steps that wait for one another, each followed by the one that it waits for.
    Ring(Vec<String>),
    /// An importance that is not a number above 0.
    Importance {
        /// The step.
        step: String,
        /// Its importance.
        importance: f64,
    },
    /// A quality outside of [0, 1].
    Quality {
        /// The step.
        step: String,
        /// The tier.
        tier: usize,
        /// The quality.
        quality: f64,
    },
    /// An expected cost that is negative or not finite.
    Cost {
        /// The step.
        step: String,
        /// The tier.
        tier: usize,
        /// The cost, US dollars.
        cost_usd: f64,
    },
    /// A real cost that is negative or not finite.
    RealCost {
        /// The step.
        step: String,
        /// The cost, US dollars.
        cost_usd: f64,
    },
    /// No tier can take the step.
    NoTierFits(String),
    /// A budget that is negative, not a number, or larger than can be counted.
    Budget(f64),
    /// A share outside [0, 1].
    Share {
        /// Which.
        name: &'static str,
        /// As given.
        share: f64,
    },
    /// Not even the cheapest tiers fit.
    BudgetTooSmall {
        /// What the cheapest tiers would cost, US dollars.
        least_usd: f64,
        /// The budget, US dollars.
        budget_usd: f64,
        /// What of it the finished steps took, US dollars.
        spent_usd: f64,
    },
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSteps => f.write_str("the plan has no steps; give at least one"),
            Self::DuplicateStep(step) => write!(f, "step `{step}` is there twice; give each step an id of its own"),
            Self::UnknownDependency { step, depends_on } => write!(
                f,
                "step `{step}` depends on `{depends_on}`, which is not a step of this plan; add it or take it out of \
                 depends_on"
            ),
            Self::Ring(steps) => write_ring(f, steps),
            Self::Importance { step, importance } => {
                write!(f, "step `{step}`: importance is {importance}; give a number above 0")
            }
            Self::Quality { step, tier, quality } => write!(
                f,
                "step `{step}`, tier {tier} (counted from 0): the expected quality is {quality}; it lies in [0, 1]"
            ),
            Self::Cost { step, tier, cost_usd } => write!(
                f,
                "step `{step}`, tier {tier} (counted from 0): the expected cost is {cost_usd}; give US dollars, 0 or more"
            ),
            Self::RealCost { step, cost_usd } => {
                write!(
                    f,
                    "step `{step}` is done and its cost is {cost_usd}; give US dollars, 0 or more"
                )
            }
            Self::NoTierFits(step) => write!(
                f,
                "step `{step}`: no tier can take it; make it shorter, need less of it, or add a tier that can"
            ),
            Self::Budget(budget_usd) => write!(
                f,
                "the budget is {budget_usd}; give US dollars from 0 to {}",
                Terms::LARGEST_BUDGET_USD
            ),
            Self::Share { name, share } => write!(f, "`{name}` is {share}; give a number from 0 to 1"),
            Self::BudgetTooSmall {
                least_usd,
                budget_usd,
                spent_usd,
            } => {
                write!(
                    f,
                    "the cheapest tiers would cost {least_usd} US dollars; the budget is {budget_usd}"
                )?;
                if *spent_usd > 0.0 {
                    write!(f, ", of which finished steps took {spent_usd}")?;
                }
                f.write_str("; raise the budget, or take out or shorten steps")
            }
        }
    }
}

impl std::error::Error for PlanError {}

fn write_ring(f: &mut fmt::Formatter<'_>, steps: &[String]) -> fmt::Result {
    f.write_str("steps depend on one another in a ring: ")?;
    for step in steps.iter().take(NAMED_OF_RING) {
        write!(f, "`{step}` -> ")?;
    }
    if steps.len() > NAMED_OF_RING {
        write!(f, "({} more) -> ", steps.len() - NAMED_OF_RING)?;
    }
    let first = steps.first().map_or("", String::as_str);
    write!(f, "`{first}`; take one of these out of depends_on")
}
