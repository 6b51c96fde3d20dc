//! Plans for agents: a tier for every step of a task, within one budget.
//!
//! [`solve`] chooses so that the sum of importance times expected quality is as large as the budget allows.
//! A plan is solved again as steps finish: a finished step takes its real cost from the budget, and the
//! steps that wait share what is left.
//!
//! Expected costs are means, so a plan that spends every cent lets an early, unimportant step eat what the
//! decisive one needs. Therefore a share of what is left is held back from all steps but the most important
//! of those that wait ([`Terms::reserve_share`]). It is theirs: the plan may spend it on them, and what it
//! does not spend stays for their overruns. Once they have finished, the next most important have a reserve.
//! It is not capped by what they are expected to cost, since a call may cost more than its mean.
//!
//! Replies have long tails: several calls in a hundred cost more than twice their mean, and a step that gets no answer
//! loses more than a better tier wins. So a share of what is left is a cushion that no step is planned for
//! ([`Terms::cushion_share`]), as far as the cheapest tiers leave it, and as long as more than one step waits.
//!
//! Money is planned in whole picodollars (1e-12 US dollars), so 0.1 and 0.2 fit into 0.3. Budgets in tokens
//! are not planned: tiers price tokens differently, and the dollars are what is scarce.

mod check;
mod error;
mod knapsack;
mod order;
mod reserve;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use error::PlanError;

/// Picodollars in a dollar.
const PER_USD: f64 = 1e12;

/// A step of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name; unique in the task.
    pub id: String,
    /// What a unit of its quality is worth, above 0.
    pub importance: f64,
    /// Names of the steps that have to finish first.
    pub depends_on: Vec<String>,
    /// Where it stands.
    pub state: State,
}

/// Where a step stands.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It is to be planned. One entry per tier, in the catalog's order; `None` where the tier does not fit.
    Waiting(Vec<Option<Estimate>>),
    /// It is finished, or was given up.
    Done {
        /// What it really cost, US dollars.
        cost_usd: f64,
    },
}

/// What is expected of one tier on one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Expected quality, in [0, 1].
    pub quality: f64,
    /// Expected cost, US dollars.
    pub cost_usd: f64,
}

/// What a plan has to keep to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// For the whole task, finished steps included, US dollars.
    pub budget_usd: f64,
    /// Share of what is left that only the most important of the waiting steps may spend, in [0, 1].
    pub reserve_share: f64,
    /// Share of what is left that is planned for no step, in [0, 1]; the last step may spend all.
    pub cushion_share: f64,
    /// Roughly how many states one search may look at: what bounds time and memory.
    pub max_states: usize,
}

impl Terms {
    /// Largest budget, US dollars: what can be counted exactly.
    pub const LARGEST_BUDGET_USD: f64 = 1e6;
    /// Held back where nothing is said.
    pub const DEFAULT_RESERVE_SHARE: f64 = 0.1;
    /// Left unplanned where nothing is said; chosen on validation tasks (`evals/agents`).
    pub const DEFAULT_CUSHION_SHARE: f64 = 0.2;
    /// Looked at where nothing is said: less than ten milliseconds, where a search gets that far at all.
    pub const DEFAULT_MAX_STATES: usize = 60_000;

    /// A budget with the default reserve and cushion.
    pub fn of_budget(budget_usd: f64) -> Self {
        Self {
            budget_usd,
            reserve_share: Self::DEFAULT_RESERVE_SHARE,
            cushion_share: Self::DEFAULT_CUSHION_SHARE,
            max_states: Self::DEFAULT_MAX_STATES,
        }
    }
}

/// A tier per waiting step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The steps that wait, in an order that keeps to the dependencies: of those that may run, the one
    /// given first.
    pub steps: Vec<PlannedStep>,
    /// Sum of importance times expected quality over the steps that wait.
    pub quality: f64,
    /// What no plan under these terms exceeds.
    pub upper_bound: f64,
    /// `upper_bound` less `quality`; 0 where the plan is proven to be the best.
    pub gap: f64,
    /// Expected cost of the steps that wait, US dollars.
    pub cost_usd: f64,
    /// What they would cost at the least, US dollars.
    pub least_usd: f64,
    /// The budget, US dollars.
    pub budget_usd: f64,
    /// What the finished steps cost, US dollars.
    pub spent_usd: f64,
    /// What is held back for the most important steps, planned for them or not, US dollars.
    pub reserve_usd: f64,
    /// What is planned for no step, US dollars.
    pub cushion_usd: f64,
}

/// A step and its tier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedStep {
    /// Position among the steps as given.
    pub step_idx: usize,
    /// Its name.
    pub id: String,
    /// What was chosen.
    pub choice: Choice,
    /// The cheapest tier that fits: what the step falls back to.
    pub fallback: Choice,
    /// What other steps must leave for it, US dollars: its expected cost, and for the most important steps
    /// an equal part of what is held back beyond theirs.
    pub reserved_usd: f64,
    /// Why this tier.
    pub why: Why,
}

/// A tier for a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Choice {
    /// Index in the catalog.
    pub tier: usize,
    /// Expected quality.
    pub quality: f64,
    /// Expected cost, US dollars.
    pub cost_usd: f64,
}

/// Why a step got its tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It is the only tier that fits.
    OnlyTier,
    /// No tier is expected to be better.
    Best,
    /// The best that the budget reaches, even with every other step at its cheapest.
    BestWithinBudget,
    /// Cheaper, to leave room for steps where the money adds more.
    LeavesRoom,
    /// Cheaper, since a reserve is held for the most important steps.
    LeavesReserve,
    /// The best that the budget reaches without its cushion.
    LeavesCushion,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::OnlyTier => "the only tier that fits",
            Self::Best => "no tier is expected to be better",
            Self::BestWithinBudget => "the best that the budget reaches",
            Self::LeavesRoom => "cheaper, to leave room for steps where the money adds more",
            Self::LeavesReserve => "cheaper, since a reserve is held for the most important steps",
            Self::LeavesCushion => "cheaper, since a share is left for calls that cost more than expected",
        })
    }
}

/// Plans the steps that wait. The same steps and terms give the same plan.
///
/// Errors say which step and what to change; a budget that is too small says the least it would cost.
pub fn solve(steps: &[Step], terms: &Terms) -> Result<Plan, PlanError> {
    let task = check::check(steps, terms)?;
    let allotment = reserve::allot(&task, terms);
    Ok(plan(steps, terms, &task, &allotment))
}

fn plan(steps: &[Step], terms: &Terms, task: &check::Task, allotment: &reserve::Allotment) -> Plan {
    let chosen = || {
        task.waiting
            .iter()
            .zip(&allotment.chosen)
            .map(|(step, place)| &step.options[*place])
    };
    let quality: f64 = chosen().map(|option| option.value).sum();
    let is_proven = allotment.upper - quality <= knapsack::rounding(steps.len(), quality);
    let upper_bound = if is_proven { quality } else { allotment.upper };
    let top_cost: i64 = task
        .waiting
        .iter()
        .zip(chosen())
        .filter(|(step, _)| step.is_top)
        .map(|(_, of)| of.cost)
        .sum();
    let n_top = task.waiting.iter().filter(|step| step.is_top).count();
    let beyond_usd = usd((allotment.reserve - top_cost).max(0)) / n_top.max(1) as f64;
    Plan {
        steps: task
            .waiting
            .iter()
            .zip(chosen())
            .map(|(step, option)| PlannedStep {
                step_idx: step.step_idx,
                id: steps[step.step_idx].id.clone(),
                choice: option.choice(),
                fallback: step.cheapest().choice(),
                reserved_usd: usd(option.cost) + if step.is_top { beyond_usd } else { 0.0 },
                why: why(step, option, task, allotment),
            })
            .collect(),
        quality,
        upper_bound,
        gap: upper_bound - quality,
        cost_usd: usd(chosen().map(|option| option.cost).sum()),
        least_usd: usd(task.least),
        budget_usd: terms.budget_usd,
        spent_usd: usd(task.spent),
        reserve_usd: usd(allotment.reserve),
        cushion_usd: usd(task.cushion),
    }
}

fn why(step: &check::Waiting, chosen: &check::Choosable, task: &check::Task, allotment: &reserve::Allotment) -> Why {
    let affordable = step.cheapest().cost + (task.left - task.least);
    let is_best_of = |limit: i64| {
        let mut options = step.options.iter().filter(|option| option.cost <= limit);
        options.all(|option| option.quality <= chosen.quality)
    };
    if step.options.len() == 1 {
        Why::OnlyTier
    } else if is_best_of(i64::MAX) {
        Why::Best
    } else if is_best_of(affordable + task.cushion) {
        Why::BestWithinBudget
    } else if allotment.is_split && !step.is_top {
        Why::LeavesReserve
    } else if is_best_of(affordable) {
        Why::LeavesCushion
    } else {
        Why::LeavesRoom
    }
}

fn picodollars(usd: f64) -> i64 {
    (usd * PER_USD).round() as i64
}

fn usd(picodollars: i64) -> f64 {
    picodollars as f64 / PER_USD
}
