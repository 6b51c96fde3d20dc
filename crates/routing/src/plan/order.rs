//! The order in which steps may run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::Step;
use super::error::PlanError;

/// Positions of the steps so that each comes after those it depends on; of those that may run, the one given
/// first (Kahn, Communications of the ACM 5(11), 1962). `positions` has the name of every step.
pub(super) fn order(steps: &[Step], positions: &BTreeMap<&str, usize>) -> Result<Vec<usize>, PlanError> {
    let needed = needed(steps, positions)?;
    let mut needed_by = vec![Vec::new(); steps.len()];
    let mut n_open: Vec<usize> = needed.iter().map(Vec::len).collect();
    for (step_idx, needed) in needed.iter().enumerate() {
        for earlier in needed {
            needed_by[*earlier].push(step_idx);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..steps.len())
        .filter(|step| n_open[*step] == 0)
        .map(Reverse)
        .collect();
    let mut order = Vec::with_capacity(steps.len());
    while let Some(Reverse(step_idx)) = ready.pop() {
        order.push(step_idx);
        for later in &needed_by[step_idx] {
            n_open[*later] -= 1;
            if n_open[*later] == 0 {
                ready.push(Reverse(*later));
            }
        }
    }
    match (0..steps.len()).find(|step_idx| n_open[*step_idx] > 0) {
        None => Ok(order),
        Some(stuck) => Err(PlanError::Ring(ring(stuck, &needed, &n_open, steps))),
    }
}

fn needed(steps: &[Step], positions: &BTreeMap<&str, usize>) -> Result<Vec<Vec<usize>>, PlanError> {
    let needed_of = |step: &Step| {
        let found = step.depends_on.iter().map(|id| {
            positions
                .get(id.as_str())
                .copied()
                .ok_or_else(|| PlanError::UnknownDependency {
                    step: step.id.clone(),
                    depends_on: id.clone(),
                })
        });
        found.collect()
    };
    steps.iter().map(needed_of).collect()
}

/// Names of the steps of a ring, each followed by one that it depends on. Every step that is stuck depends on
/// another one that is, so that a walk along them comes round.
fn ring(stuck: usize, needed: &[Vec<usize>], n_open: &[usize], steps: &[Step]) -> Vec<String> {
    let mut walk = Vec::new();
    let mut visited_at = vec![None; steps.len()];
    let mut step_idx = stuck;
    while visited_at[step_idx].is_none() {
        visited_at[step_idx] = Some(walk.len());
        walk.push(step_idx);
        let next = needed[step_idx].iter().find(|earlier| n_open[**earlier] > 0);
        step_idx = *next.expect("a stuck step depends on a stuck step");
    }
    let start = visited_at[step_idx].unwrap_or_default();
    walk[start..]
        .iter()
        .map(|step_idx| steps[*step_idx].id.clone())
        .collect()
}
