//! The division of what is left: all steps at once, or two pots where the reserve would be eaten.

use super::Terms;
use super::check::{Task, Waiting};
use super::knapsack::{Item, Selection, select};

/// What each step gets.
pub(super) struct Allotment {
    /// Position among the options, per waiting step.
    pub(super) chosen: Vec<usize>,
    /// What no plan that leaves the reserve alone exceeds.
    pub(super) upper: f64,
    /// What only the most important steps may spend, picodollars.
    pub(super) reserve: i64,
    /// Whether the others had to be kept from it.
    pub(super) is_split: bool,
}

/// Divides. All steps are solved at once first; nearly always the most important ones get more than the
/// reserve, and that is the best plan there is. Otherwise the other steps are solved for what is theirs,
/// and then the most important ones for all that remains.
pub(super) fn allot(task: &Task, terms: &Terms) -> Allotment {
    let all: Vec<usize> = (0..task.waiting.len()).collect();
    let (top, others): (Vec<usize>, Vec<usize>) = all.iter().partition(|step| task.waiting[**step].is_top);
    let reserve = reserve(task, terms, &others);
    let joint = solve(task, &all, task.left, terms);
    let cost_of_others: i64 = others
        .iter()
        .map(|step| task.waiting[*step].options[joint.chosen[*step]].cost)
        .sum();
    if cost_of_others <= task.left - reserve {
        return Allotment {
            chosen: joint.chosen,
            upper: joint.upper,
            reserve,
            is_split: false,
        };
    }
    split(task, terms, &joint, &top, &others, reserve)
}

/// The reserve: a share of what is left, as far as the cheapest tiers of the other steps leave it.
fn reserve(task: &Task, terms: &Terms, others: &[usize]) -> i64 {
    if others.is_empty() {
        return 0;
    }
    let least: i64 = others.iter().map(|step| task.waiting[*step].cheapest().cost).sum();
    let share = (terms.reserve_share * task.left as f64) as i64;
    share.min(task.left - least)
}

fn split(task: &Task, terms: &Terms, joint: &Selection, top: &[usize], others: &[usize], reserve: i64) -> Allotment {
    let of_others = solve(task, others, task.left - reserve, terms);
    let cost = |steps: &[usize], found: &Selection| -> i64 {
        steps
            .iter()
            .zip(&found.chosen)
            .map(|(step, place)| task.waiting[*step].options[*place].cost)
            .sum()
    };
    let of_top = solve(task, top, task.left - cost(others, &of_others), terms);
    let mut chosen = vec![0; task.waiting.len()];
    for (step, place) in others
        .iter()
        .zip(&of_others.chosen)
        .chain(top.iter().zip(&of_top.chosen))
    {
        chosen[*step] = *place;
    }
    // Three things that no plan exceeds: that without a reserve, both pots with the most important steps at
    // their best, and the Lagrangian dual at the pots' prices.
    let best = |step: &usize| largest(&task.waiting[*step], 0.0);
    let at_best = of_others.upper + top.iter().map(best).sum::<f64>();
    let upper = joint
        .upper
        .min(at_best)
        .min(dual(task, reserve, of_top.slope, of_others.slope));
    Allotment {
        chosen,
        upper,
        reserve,
        is_split: true,
    }
}

/// The Lagrangian dual of both limits: a picodollar has the price `top_slope`, and one of the other
/// steps' pot at least that.
fn dual(task: &Task, reserve: i64, top_slope: f64, others_slope: f64) -> f64 {
    let others_slope = others_slope.max(top_slope);
    let of_steps: f64 = task
        .waiting
        .iter()
        .map(|step| largest(step, if step.is_top { top_slope } else { others_slope }))
        .sum();
    of_steps + top_slope * task.left as f64 + (others_slope - top_slope) * (task.left - reserve) as f64
}

/// Largest value less the price of its cost.
fn largest(step: &Waiting, slope: f64) -> f64 {
    let net = step
        .options
        .iter()
        .map(|option| option.value - slope * option.cost as f64);
    net.fold(f64::NEG_INFINITY, f64::max)
}

fn solve(task: &Task, steps: &[usize], room: i64, terms: &Terms) -> Selection {
    let items = |step: &usize| {
        let options = task.waiting[*step].options.iter();
        options
            .map(|option| Item {
                cost: option.cost,
                value: option.value,
            })
            .collect()
    };
    let classes: Vec<Vec<Item>> = steps.iter().map(items).collect();
    select(&classes, room, terms.max_states)
}
