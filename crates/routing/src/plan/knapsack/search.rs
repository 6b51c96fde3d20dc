//! The search around the relaxation: classes are let go one by one, over lists of undominated states.

use super::relaxation::Relaxation;
use super::{Candidate, rounding};

/// Most states in one list. Beyond it the least promising are dropped, and their bound is kept.
const MAX_WIDTH: usize = 1 << 13;

/// What the search found; values as seen from the cheapest items.
pub(super) struct Found {
    /// Place of the item among the candidates, per class.
    pub(super) places: Vec<usize>,
    /// What no selection exceeds.
    pub(super) upper: f64,
    /// Whether no selection is better, but for the rounding of sums.
    pub(super) is_proven: bool,
}

/// A class that may leave the relaxation's choice.
struct Free {
    class: usize,
    /// Where it may go, and first where it is.
    moves: Vec<Move>,
    /// Most value per unit of cost that a dearer item adds.
    up: f64,
    /// Least value per unit of cost that a cheaper item gives up.
    down: f64,
    /// Most that a cheaper item gives back.
    savings: i64,
}

/// From the relaxation's item to another.
#[derive(Clone, Copy)]
struct Move {
    to: usize,
    cost: i64,
    value: f64,
    /// What the bound loses by it.
    loss: f64,
}

/// A choice for the classes let go so far, all others at the relaxation's item.
#[derive(Clone, Copy)]
struct State {
    cost: i64,
    value: f64,
    /// Position in the list before.
    parent: u32,
    /// Place of the item of the class let go last.
    to: u32,
}

/// The best slopes of the classes that have not been let go: what a state may still gain.
#[derive(Clone, Copy)]
struct Slopes {
    up: f64,
    down: f64,
    /// What they can give back in all.
    savings: i64,
}

impl Slopes {
    const NONE: Self = Self {
        up: 0.0,
        down: f64::INFINITY,
        savings: 0,
    };

    /// What no completion of the state exceeds: spare room is filled at the best slope, and what is over
    /// the room is given back at the least loss.
    fn bound(self, state: &State, spare: i64) -> f64 {
        match spare - state.cost {
            0 => state.value,
            left @ 1.. => state.value + self.up * left as f64,
            over if -over > self.savings => f64::NEG_INFINITY,
            over => state.value + self.down * over as f64,
        }
    }
}

/// The best selection, or the best that was found when `max_states` states had been made.
pub(super) fn search(classes: &[Vec<Candidate>], relaxation: &Relaxation, spare: i64, max_states: usize) -> Found {
    let slack = rounding(classes.len(), relaxation.upper);
    let free = free_classes(classes, relaxation, relaxation.greedy_value + slack);
    let slopes = slopes_after(&free);
    let mut lists = Lists {
        spare,
        slack,
        states: vec![State {
            cost: relaxation.cost,
            value: relaxation.value,
            parent: 0,
            to: 0,
        }],
        history: Vec::new(),
        best: relaxation.greedy_value,
        best_at: None,
        n_made: 0,
        dropped: f64::NEG_INFINITY,
    };
    for (class, slopes) in free.iter().zip(slopes) {
        lists.let_go(class, slopes, relaxation.upper);
        if lists.states.is_empty() {
            break;
        }
        if lists.n_made > max_states {
            lists.give_up(slopes);
            break;
        }
    }
    Found {
        places: lists.places(relaxation, &free),
        upper: lists.dropped.max(lists.best),
        is_proven: lists.dropped <= lists.best + slack,
    }
}

struct Lists {
    spare: i64,
    slack: f64,
    /// Undominated, by cost.
    states: Vec<State>,
    /// Parent and place of each state of the earlier lists.
    history: Vec<Vec<(u32, u32)>>,
    /// Largest value within the room so far.
    best: f64,
    /// Its list, its parent and its last place; none while it is the greedy selection.
    best_at: Option<(usize, u32, u32)>,
    n_made: usize,
    /// Largest bound of a state that was dropped unexamined.
    dropped: f64,
}

impl Lists {
    /// Every state with every move of the class, less those that are dominated or cannot become the best.
    fn let_go(&mut self, class: &Free, slopes: Slopes, upper: f64) {
        let mut made = Vec::with_capacity(self.states.len() * 2);
        for there in &class.moves {
            if upper - there.loss <= self.best + self.slack {
                continue;
            }
            self.n_made += self.states.len();
            for (parent, state) in self.states.iter().enumerate() {
                let state = State {
                    cost: state.cost + there.cost,
                    value: state.value + there.value,
                    parent: parent as u32,
                    to: there.to as u32,
                };
                if state.cost <= self.spare && state.value > self.best {
                    self.best = state.value;
                    self.best_at = Some((self.history.len(), state.parent, state.to));
                }
                if slopes.bound(&state, self.spare) > self.best + self.slack {
                    made.push(state);
                }
            }
        }
        // Stable, since each move left a sorted run and runs are merged fast.
        made.sort_by(|a, b| a.cost.cmp(&b.cost).then(b.value.total_cmp(&a.value)));
        let (best, slack, spare) = (self.best, self.slack, self.spare);
        let mut highest = f64::NEG_INFINITY;
        made.retain(|state| {
            let is_kept = state.value > highest && slopes.bound(state, spare) > best + slack;
            highest = highest.max(state.value);
            is_kept
        });
        self.narrow(&mut made, slopes);
        self.history
            .push(made.iter().map(|state| (state.parent, state.to)).collect());
        self.states = made;
    }

    /// Drops the states of the lowest bounds where there are too many.
    fn narrow(&mut self, states: &mut Vec<State>, slopes: Slopes) {
        if states.len() <= MAX_WIDTH {
            return;
        }
        let spare = self.spare;
        let mut bounds: Vec<f64> = states.iter().map(|state| slopes.bound(state, spare)).collect();
        let (_, threshold, _) = bounds.select_nth_unstable_by(MAX_WIDTH, |a, b| b.total_cmp(a));
        let threshold = *threshold;
        self.dropped = self.dropped.max(threshold);
        states.retain(|state| slopes.bound(state, spare) > threshold);
    }

    /// Ends the search: every state there is counts as dropped.
    fn give_up(&mut self, slopes: Slopes) {
        for state in &self.states {
            self.dropped = self.dropped.max(slopes.bound(state, self.spare));
        }
    }

    /// The best selection, read backwards through the lists.
    fn places(&self, relaxation: &Relaxation, free: &[Free]) -> Vec<usize> {
        let Some((mut list, mut parent, mut to)) = self.best_at else {
            return relaxation.greedy.clone();
        };
        let mut places = relaxation.places.clone();
        loop {
            places[free[list].class] = to as usize;
            if list == 0 {
                return places;
            }
            list -= 1;
            (parent, to) = self.history[list][parent as usize];
        }
    }
}

/// The classes with a move that could beat `best`, nearest to the relaxation's slope first.
fn free_classes(classes: &[Vec<Candidate>], relaxation: &Relaxation, best: f64) -> Vec<Free> {
    let could_beat = |there: &Move| relaxation.upper - there.loss > best;
    let mut free: Vec<Free> = classes
        .iter()
        .enumerate()
        .filter_map(|(class, items)| free_class(class, items, relaxation, could_beat))
        .collect();
    let slope = relaxation.slope;
    let distance = |class: &Free| (slope - class.up).min(class.down - slope);
    free.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
    free
}

fn free_class(
    class: usize,
    items: &[Candidate],
    relaxation: &Relaxation,
    could_beat: impl Fn(&Move) -> bool,
) -> Option<Free> {
    let here = relaxation.places[class];
    let stay = Move {
        to: here,
        cost: 0,
        value: 0.0,
        loss: 0.0,
    };
    let mut free = Free {
        class,
        moves: vec![stay],
        up: 0.0,
        down: f64::INFINITY,
        savings: 0,
    };
    for to in (0..items.len()).filter(|to| *to != here) {
        let (cost, value) = (items[to].cost - items[here].cost, items[to].value - items[here].value);
        let there = Move {
            to,
            cost,
            value,
            loss: relaxation.slope * cost as f64 - value,
        };
        if could_beat(&there) {
            free.moves.push(there);
            free.savings = free.savings.max(-cost);
            match value / cost as f64 {
                slope if cost > 0 => free.up = free.up.max(slope),
                slope => free.down = free.down.min(slope),
            }
        }
    }
    (free.moves.len() > 1).then_some(free)
}

/// Per class, the best slopes of all that come after it.
fn slopes_after(free: &[Free]) -> Vec<Slopes> {
    let mut slopes = vec![Slopes::NONE; free.len()];
    for idx in (1..free.len()).rev() {
        slopes[idx - 1] = Slopes {
            up: slopes[idx].up.max(free[idx].up),
            down: slopes[idx].down.min(free[idx].down),
            savings: slopes[idx].savings + free[idx].savings,
        };
    }
    slopes
}
