//! Whether a positive quantity, such as a latency, has grown or shrunk against its first values.
//!
//! By ranks, so that neither outliers nor the shape of the distribution matter: a value becomes the share of the
//! first values below it, which is 0.5 on average while nothing changes, and a betting detector watches that.

use std::collections::VecDeque;

use tiercast_statistics::betting::{Change, Detector};

use super::finding::Moment;

/// Mean rank that is granted besides the error of the first values: load goes up and down.
const MARGIN: f64 = 0.05;
/// Standard deviations of the first values' mean rank that are granted.
const DEVIATIONS: f64 = 4.0;
/// Last values that tell the size of a change.
const RECENT: usize = 200;

/// Watches one quantity.
#[derive(Debug, Default)]
pub(super) struct Ranks {
    /// Logarithms; sorted once they are complete.
    first: Vec<f32>,
    recent: VecDeque<f32>,
    detectors: Option<Detectors>,
}

#[derive(Debug)]
struct Detectors {
    up: Detector<Moment>,
    down: Detector<Moment>,
    margin: f64,
}

/// What a change needs to be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needed {
    /// Values that later ones are compared with.
    pub(super) n_first: usize,
    /// Evidence, in each direction.
    pub(super) evidence: f64,
    /// Factor of the medians.
    pub(super) factor: f64,
    /// Factor up to which there is no evidence of a change at all: 1, or more for what comes and goes.
    pub(super) granted: f64,
}

/// The quantity has changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shift {
    /// Median now by median at first: above 1 where it has grown.
    pub(super) factor: f64,
    /// Where it began.
    pub(super) since: Moment,
}

impl Ranks {
    /// Forgets all.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }

    /// Takes a value.
    pub(super) fn observe(&mut self, value: f64, at: Moment, needed: &Needed) -> Option<Shift> {
        let log = value.ln() as f32;
        if !log.is_finite() {
            return None;
        }
        let Some(detectors) = &mut self.detectors else {
            self.first.push(log);
            if self.first.len() >= needed.n_first {
                self.first.sort_by(f32::total_cmp);
                self.detectors = Some(Detectors::new(self.first.len()));
            }
            return None;
        };
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(log);
        let granted = needed.granted.ln() as f32;
        let (above, below) = (
            rank(&self.first, log - granted) - 0.5,
            0.5 - rank(&self.first, log + granted),
        );
        let up = detectors.up.observe(above - detectors.margin, at, needed.evidence);
        let down = detectors.down.observe(below - detectors.margin, at, needed.evidence);
        let change = up.or(down)?;
        let shift = self.shift(&change);
        let is_large = if up.is_some() {
            shift.factor >= needed.factor
        } else {
            shift.factor <= 1.0 / needed.factor
        };
        is_large.then_some(shift)
    }

    fn shift(&self, change: &Change<Moment>) -> Shift {
        let n = usize::try_from(change.values.n)
            .unwrap_or(RECENT)
            .min(self.recent.len());
        let mut since: Vec<f32> = self.recent.iter().rev().take(n.max(1)).copied().collect();
        since.sort_by(f32::total_cmp);
        let before = f64::from(self.first[self.first.len() / 2]);
        Shift {
            factor: (f64::from(since[since.len() / 2]) - before).exp(),
            since: change.since,
        }
    }
}

impl Detectors {
    fn new(n_first: usize) -> Self {
        // The mean of n ranks, which are uniform, has variance 1 / (12 n).
        let error = (1.0 / (12.0 * n_first as f64)).sqrt();
        let margin = MARGIN.max(DEVIATIONS * error);
        Self {
            up: Detector::new(0.5 + margin),
            down: Detector::new(0.5 + margin),
            margin,
        }
    }
}

/// Share of sorted values below, equal ones by half.
fn rank(sorted: &[f32], value: f32) -> f64 {
    let below = sorted.partition_point(|other| *other < value);
    let up_to = sorted.partition_point(|other| *other <= value);
    (below + up_to) as f64 / (2 * sorted.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: Needed = Needed {
        n_first: 500,
        evidence: 1e6,
        factor: 1.5,
        granted: 1.2,
    };

    fn moment(request: u64) -> Moment {
        Moment { time_ms: 0, request }
    }

    #[test]
    fn ranks_by_hand() {
        let sorted = [1.0, 2.0, 2.0, 3.0];
        let ranks = [0.0, 1.0, 2.0, 3.0, 4.0].map(|value| rank(&sorted, value));
        assert_eq!(ranks, [0.0, 0.125, 0.5, 0.875, 1.0]);
    }

    /// Values that go round in a circle, then grow by a factor.
    fn first_shift(factor: f64, n: u64) -> Option<(u64, Shift)> {
        let mut ranks = Ranks::default();
        (1..=n).find_map(|at| {
            let value = ((at * 37 % 101) as f64 / 50.0).exp() * if at > 2_000 { factor } else { 1.0 };
            ranks.observe(value, moment(at), &NEEDED).map(|shift| (at, shift))
        })
    }

    #[test]
    fn a_change_is_found_in_both_directions() {
        for factor in [2.0, 0.5] {
            let (at, shift) = first_shift(factor, 3_000).unwrap();
            assert!((2_020..2_300).contains(&at), "{at}");
            assert!(shift.since.request.abs_diff(2_000) < 50, "{shift:?}");
            assert!((shift.factor / factor - 1.0).abs() < 0.2, "{shift:?}");
        }
    }

    #[test]
    fn small_changes_and_none_are_not_told() {
        assert_eq!(first_shift(1.0, 50_000), None);
        assert_eq!(first_shift(1.3, 50_000), None);
        let mut ranks = Ranks::default();
        for at in 0..5_000 {
            // All equal, and now and then what is no latency.
            let value = [5.0, f64::NAN, 0.0, -1.0, f64::INFINITY][at % 5];
            assert_eq!(
                ranks.observe(
                    value,
                    moment(at as u64),
                    &Needed {
                        evidence: 20.0,
                        ..NEEDED
                    }
                ),
                None
            );
        }
    }
}
