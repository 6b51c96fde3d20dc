//! The multiple-choice knapsack problem: one item of each class, the largest value, costs within a room.
//!
//! Whole numbers for costs, so that sums are exact in any order. The linear relaxation is solved over the
//! convex hull of each class (Sinha and Zoltners, Operations Research 27(3), 1979; Dyer, Mathematical
//! Programming 29, 1984; Zemel, Information Processing Letters 18, 1984). Around its solution the classes
//! are enumerated one by one, those whose slopes are nearest to the relaxation's first, as lists of
//! undominated states with a bound on each (Pisinger, "A minimal algorithm for the multiple-choice knapsack
//! problem", European Journal of Operational Research 83, 1995). Most classes never leave the relaxation's
//! choice, so that hundreds of classes take a millisecond; where they do, a limit on the states ends the
//! search with the best selection found and what no selection can exceed.

mod relaxation;
mod search;

use relaxation::Relaxation;

/// One of the ways to fill a class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Item {
    /// At least 0.
    pub(super) cost: i64,
    /// Finite.
    pub(super) value: f64,
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Selection {
    /// Position of the chosen item, per class.
    pub(super) chosen: Vec<usize>,
    /// Its value.
    pub(super) value: f64,
    /// What no selection within the room exceeds; the value itself where that is proven the largest.
    pub(super) upper: f64,
    /// Value of one more unit of room, by the relaxation; 0 where every class has its best.
    pub(super) slope: f64,
}

/// An item that is worth its cost, seen from the cheapest item of its class.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    /// Position among the items of its class.
    item: usize,
    cost: i64,
    value: f64,
}

/// The selection of the largest value. `room` is at least the sum of the classes' cheapest items, and no
/// class is empty. At most about `max_states` states are looked at.
pub(super) fn select(classes: &[Vec<Item>], room: i64, max_states: usize) -> Selection {
    let spare = room - classes.iter().map(|items| cheapest(items)).sum::<i64>();
    let candidates: Vec<Vec<Candidate>> = classes.iter().map(|items| undominated(items, spare)).collect();
    let relaxation = Relaxation::solve(&candidates, spare);
    let found = search::search(&candidates, &relaxation, spare, max_states);
    let chosen: Vec<usize> = candidates
        .iter()
        .zip(&found.places)
        .map(|(class, place)| class[*place].item)
        .collect();
    let value = chosen
        .iter()
        .zip(classes)
        .map(|(item, items)| items[*item].value)
        .sum::<f64>();
    let floor = classes
        .iter()
        .zip(&candidates)
        .map(|(items, class)| items[class[0].item].value)
        .sum::<f64>();
    let upper = if found.is_proven {
        value
    } else {
        (floor + found.upper).max(value)
    };
    Selection {
        chosen,
        value,
        upper,
        slope: relaxation.slope,
    }
}

/// What rounding may add to a sum of `n_terms` numbers that come to `total`.
pub(super) fn rounding(n_terms: usize, total: f64) -> f64 {
    f64::EPSILON * (n_terms + 4) as f64 * total.abs()
}

fn cheapest(items: &[Item]) -> i64 {
    items.iter().map(|item| item.cost).min().unwrap_or_default()
}

/// The items that cost more only for a larger value, by cost; none that is too dear with every other class
/// at its cheapest. Among equals the earlier stays.
fn undominated(items: &[Item], spare: i64) -> Vec<Candidate> {
    let cheapest = cheapest(items);
    let mut order: Vec<usize> = (0..items.len())
        .filter(|item| items[*item].cost - cheapest <= spare)
        .collect();
    order.sort_by(|a, b| {
        let (a, b) = (&items[*a], &items[*b]);
        a.cost.cmp(&b.cost).then(b.value.total_cmp(&a.value))
    });
    let mut kept: Vec<Candidate> = Vec::with_capacity(order.len());
    let floor = items[order[0]].value;
    for item in order {
        let value = items[item].value - floor;
        if kept.last().is_none_or(|last| value > last.value) {
            kept.push(Candidate {
                item,
                cost: items[item].cost - cheapest,
                value,
            });
        }
    }
    kept
}
