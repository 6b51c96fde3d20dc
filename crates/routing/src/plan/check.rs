//! From the steps as given to a task that can be planned: every number holds, the order is found, and
//! the cheapest tiers fit into what is left.

use std::collections::BTreeMap;

use super::error::PlanError;
use super::order::order;
use super::{Choice, Estimate, State, Step, Terms, picodollars, usd};

/// What is to be planned. Money in picodollars.
pub(super) struct Task {
    /// In the order of execution.
    pub(super) waiting: Vec<Waiting>,
    /// What the finished steps cost.
    pub(super) spent: i64,
    /// What is left of the budget to plan; no less than `least`.
    pub(super) left: i64,
    /// What is left beside that.
    pub(super) cushion: i64,
    /// What the steps that wait cost at the least.
    pub(super) least: i64,
}

/// A step that waits.
pub(super) struct Waiting {
    pub(super) step_idx: usize,
    /// Whether none that waits is more important.
    pub(super) is_top: bool,
    /// The tiers that fit, at least one.
    pub(super) options: Vec<Choosable>,
}

/// A tier that fits a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Choosable {
    pub(super) tier: usize,
    pub(super) quality: f64,
    /// Importance times quality.
    pub(super) value: f64,
    /// Picodollars.
    pub(super) cost: i64,
    pub(super) cost_usd: f64,
}

impl Waiting {
    /// The cheapest option, of equals the best.
    pub(super) fn cheapest(&self) -> &Choosable {
        let cheaper = |a: &&Choosable, b: &&Choosable| a.cost.cmp(&b.cost).then(b.quality.total_cmp(&a.quality));
        self.options
            .iter()
            .min_by(cheaper)
            .expect("a step that no tier fits is refused")
    }
}

impl Choosable {
    pub(super) fn choice(&self) -> Choice {
        Choice {
            tier: self.tier,
            quality: self.quality,
            cost_usd: self.cost_usd,
        }
    }
}

/// Checks steps and terms.
pub(super) fn check(steps: &[Step], terms: &Terms) -> Result<Task, PlanError> {
    check_terms(terms)?;
    let positions = positions(steps)?;
    for step in steps {
        check_step(step)?;
    }
    let waiting = waiting(steps, &order(steps, &positions)?);
    let spent = done(steps).map(picodollars).fold(0, i64::saturating_add);
    let left = picodollars(terms.budget_usd).saturating_sub(spent);
    let least = waiting
        .iter()
        .map(|step| step.cheapest().cost)
        .fold(0, i64::saturating_add);
    if least > left && !waiting.is_empty() {
        return Err(PlanError::BudgetTooSmall {
            least_usd: usd(least),
            budget_usd: terms.budget_usd,
            spent_usd: usd(spent),
        });
    }
    let cushion = match waiting.len() {
        0 | 1 => 0,
        _ => ((terms.cushion_share * left as f64) as i64).min(left - least),
    };
    Ok(Task {
        waiting,
        spent,
        left: left - cushion,
        cushion,
        least,
    })
}

fn check_terms(terms: &Terms) -> Result<(), PlanError> {
    if !(0.0..=Terms::LARGEST_BUDGET_USD).contains(&terms.budget_usd) {
        return Err(PlanError::Budget(terms.budget_usd));
    }
    for (name, share) in [
        ("reserve_share", terms.reserve_share),
        ("cushion_share", terms.cushion_share),
    ] {
        if !(0.0..=1.0).contains(&share) {
            return Err(PlanError::Share { name, share });
        }
    }
    Ok(())
}

/// Where each name is.
fn positions(steps: &[Step]) -> Result<BTreeMap<&str, usize>, PlanError> {
    if steps.is_empty() {
        return Err(PlanError::NoSteps);
    }
    let mut positions = BTreeMap::new();
    for (step_idx, step) in steps.iter().enumerate() {
        if positions.insert(step.id.as_str(), step_idx).is_some() {
            return Err(PlanError::DuplicateStep(step.id.clone()));
        }
    }
    Ok(positions)
}

fn check_step(step: &Step) -> Result<(), PlanError> {
    let id = || step.id.clone();
    if !step.importance.is_finite() || step.importance <= 0.0 {
        return Err(PlanError::Importance {
            step: id(),
            importance: step.importance,
        });
    }
    match &step.state {
        State::Done { cost_usd } if !is_cost(*cost_usd) => Err(PlanError::RealCost {
            step: id(),
            cost_usd: *cost_usd,
        }),
        State::Done { .. } => Ok(()),
        State::Waiting(tiers) if tiers.iter().all(Option::is_none) => Err(PlanError::NoTierFits(id())),
        State::Waiting(tiers) => fitting(tiers).try_for_each(|(tier, Estimate { quality, cost_usd })| {
            if !(0.0..=1.0).contains(quality) {
                return Err(PlanError::Quality {
                    step: id(),
                    tier,
                    quality: *quality,
                });
            }
            if !is_cost(*cost_usd) {
                return Err(PlanError::Cost {
                    step: id(),
                    tier,
                    cost_usd: *cost_usd,
                });
            }
            Ok(())
        }),
    }
}

fn is_cost(cost_usd: f64) -> bool {
    cost_usd.is_finite() && cost_usd >= 0.0
}

fn fitting(tiers: &[Option<Estimate>]) -> impl Iterator<Item = (usize, &Estimate)> {
    tiers
        .iter()
        .enumerate()
        .filter_map(|(tier, estimate)| Some((tier, estimate.as_ref()?)))
}

fn done(steps: &[Step]) -> impl Iterator<Item = f64> {
    steps.iter().filter_map(|step| match step.state {
        State::Done { cost_usd } => Some(cost_usd),
        State::Waiting(_) => None,
    })
}

fn waiting(steps: &[Step], order: &[usize]) -> Vec<Waiting> {
    let waiting = || {
        order.iter().filter_map(|step_idx| match &steps[*step_idx].state {
            State::Waiting(tiers) => Some((*step_idx, steps[*step_idx].importance, tiers)),
            State::Done { .. } => None,
        })
    };
    let top = waiting().map(|(_, importance, _)| importance).fold(0.0, f64::max);
    waiting()
        .map(|(step_idx, importance, tiers)| Waiting {
            step_idx,
            is_top: importance >= top,
            options: fitting(tiers)
                .map(|(tier, estimate)| Choosable {
                    tier,
                    quality: estimate.quality,
                    value: importance * estimate.quality,
                    cost: picodollars(estimate.cost_usd),
                    cost_usd: estimate.cost_usd,
                })
                .collect(),
        })
        .collect()
}
