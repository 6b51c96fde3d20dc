//! The linear relaxation: items may be mixed, so the money goes where a unit of it adds most.

use super::Candidate;

/// The solution of the relaxation, rounded down to whole items.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Relaxation {
    /// Place of the item among the candidates, per class.
    pub(super) places: Vec<usize>,
    /// Cost of those items.
    pub(super) cost: i64,
    /// Their value.
    pub(super) value: f64,
    /// Value per unit of cost of the step that no longer fits whole; 0 where all fit.
    pub(super) slope: f64,
    /// What no selection exceeds.
    pub(super) upper: f64,
    /// A selection that is at least as good: what fits of the steps after that one is taken too.
    pub(super) greedy: Vec<usize>,
    /// Its value.
    pub(super) greedy_value: f64,
}

/// From one corner of a class's hull to the next.
#[derive(Debug, Clone, Copy)]
struct Rise {
    class: usize,
    to: usize,
    cost: i64,
    value: f64,
    slope: f64,
}

impl Relaxation {
    /// Takes the rises steepest first until one does not fit; within a class each is less steep than the
    /// one before it.
    pub(super) fn solve(classes: &[Vec<Candidate>], spare: i64) -> Self {
        let mut rises: Vec<Rise> = classes
            .iter()
            .enumerate()
            .flat_map(|(class, items)| rises(class, items))
            .collect();
        rises.sort_by(|a, b| b.slope.total_cmp(&a.slope));
        let mut places = vec![0; classes.len()];
        let (mut cost, mut value) = (0, 0.0);
        let fitting = rises.iter().take_while(|rise| {
            let fits = cost + rise.cost <= spare;
            if fits {
                places[rise.class] = rise.to;
                cost += rise.cost;
                value += rise.value;
            }
            fits
        });
        let n_taken = fitting.count();
        let slope = rises.get(n_taken).map_or(0.0, |rise| rise.slope);
        let (greedy, greedy_value) = fill(&rises[n_taken..], &places, value, spare - cost);
        Self {
            upper: value + slope * (spare - cost) as f64,
            places,
            cost,
            value,
            slope,
            greedy,
            greedy_value,
        }
    }
}

/// Goes on with the rises that still fit; a class that one of them is too dear for stays where it is.
fn fill(rises: &[Rise], places: &[usize], mut value: f64, mut spare: i64) -> (Vec<usize>, f64) {
    let mut places = places.to_vec();
    let mut is_closed = vec![false; places.len()];
    for rise in rises {
        if rise.cost > spare {
            is_closed[rise.class] = true;
        } else if !is_closed[rise.class] {
            places[rise.class] = rise.to;
            spare -= rise.cost;
            value += rise.value;
        }
    }
    (places, value)
}

/// The corners of the upper hull of a class, as steps from one to the next, ever less steep.
fn rises(class: usize, items: &[Candidate]) -> Vec<Rise> {
    let rise = |from: usize, to: usize| {
        let (cost, value) = (items[to].cost - items[from].cost, items[to].value - items[from].value);
        Rise {
            class,
            to,
            cost,
            value,
            slope: value / cost as f64,
        }
    };
    let mut hull: Vec<Rise> = Vec::with_capacity(items.len());
    for to in 1..items.len() {
        let mut next = rise(hull.last().map_or(0, |last| last.to), to);
        while hull.last().is_some_and(|last| last.slope <= next.slope) {
            hull.pop();
            next = rise(hull.last().map_or(0, |last| last.to), to);
        }
        hull.push(next);
    }
    hull
}
