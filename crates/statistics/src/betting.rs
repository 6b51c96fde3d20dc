//! Detects a mean that has come to lie above zero, by betting: how long it runs until a false alarm is proved.
//!
//! Bets: Waudby-Smith and Ramdas (2023), "Estimating means of bounded random variables by betting". Restarted
//! at every value: Shin, Ramdas and Rinaldo (2023), "E-detectors: a nonparametric framework for sequential
//! change detection", in the form of Shiryaev and Roberts.

use crate::shift::Moments;

/// Stakes as shares of the largest that cannot lose everything: small ones find small shifts, large ones fast.
const STAKES: [f64; 5] = [0.05, 0.1, 0.2, 0.4, 0.8];

/// Watches a stream of values for a mean above zero. `M` marks places in the stream, such as a time.
///
/// While every value's mean, given those before it, is at most zero, evidence grows by at most one per value on
/// average. So alarms at `threshold` are expected at most once in `threshold` values, whatever the
/// distribution and whenever one looks (the paper's theorem 2.4, and its sum over restarts).
#[derive(Debug, Clone)]
pub struct Detector<M> {
    most_lost: f64,
    bets: Vec<Bet<M>>,
}

/// A mean has risen above zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change<M> {
    /// Where it probably began: where the winning bet last started from nothing.
    pub since: M,
    /// The values from there to the alarm. Their mean is somewhat too high: they are those that led to the alarm.
    pub values: Moments,
}

/// One stake, held all the time.
#[derive(Debug, Clone)]
struct Bet<M> {
    stake: f64,
    /// Wealth of bets begun at every value so far, a unit each: what the alarm goes by.
    total: f64,
    /// Wealth of the best of them: says where the change began.
    best: f64,
    run: Option<Run<M>>,
}

#[derive(Debug, Clone, Copy)]
struct Run<M> {
    since: M,
    values: Moments,
}

impl<M: Copy> Detector<M> {
    /// For values of at least -`most_lost`, which is over zero.
    pub fn new(most_lost: f64) -> Self {
        let bets = STAKES
            .iter()
            .map(|share| Bet {
                stake: share / most_lost,
                total: 0.0,
                best: 1.0,
                run: None,
            })
            .collect();
        Self { most_lost, bets }
    }

    /// Takes the next value; begins anew after an alarm. A value that is no number is left out. `threshold` may
    /// change from value to value, but must not depend on this one.
    pub fn observe(&mut self, value: f64, at: M, threshold: f64) -> Option<Change<M>> {
        if !value.is_finite() {
            return None;
        }
        debug_assert!(value >= -self.most_lost - 1e-9, "{value} below -{}", self.most_lost);
        for bet in &mut self.bets {
            bet.observe(value, at);
        }
        if self.evidence() < threshold {
            return None;
        }
        let winner = self.bets.iter().max_by(|a, b| a.total.total_cmp(&b.total));
        let change = winner.and_then(|bet| bet.run).map(|run| Change {
            since: run.since,
            values: run.values,
        });
        *self = Self::new(self.most_lost);
        change
    }

    /// Evidence so far, to be compared with a threshold.
    pub fn evidence(&self) -> f64 {
        self.bets.iter().map(|bet| bet.total).sum::<f64>() / self.bets.len() as f64
    }
}

impl<M: Copy> Bet<M> {
    fn observe(&mut self, value: f64, at: M) {
        let factor = (1.0 + self.stake * value).max(0.0);
        self.total = (self.total + 1.0) * factor;
        if self.best <= 1.0 || self.run.is_none() {
            self.best = 1.0;
            self.run = Some(Run {
                since: at,
                values: Moments::default(),
            });
        }
        self.best *= factor;
        if let Some(run) = &mut self.run {
            run.values.add(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn alarms(n: u64, threshold: f64, seed: u64, value: impl Fn(u64, f64) -> f64) -> Vec<(u64, Change<u64>)> {
        let (mut rng, mut detector) = (ChaCha8Rng::seed_from_u64(seed), Detector::new(1.0));
        (0..n)
            .filter_map(|at| {
                let value = value(at, rng.random::<f64>());
                detector.observe(value, at, threshold).map(|change| (at, change))
            })
            .collect()
    }

    #[test]
    fn evidence_by_hand() {
        // One value of 1 and one of -1: (1 + s)(1 - s) + (1 - s) for each stake s, averaged.
        let mut detector = Detector::new(1.0);
        detector.observe(1.0, 0, f64::INFINITY);
        detector.observe(-1.0, 1, f64::INFINITY);
        let expected = STAKES.iter().map(|s| (2.0 + s) * (1.0 - s)).sum::<f64>() / 5.0;
        assert!((detector.evidence() - expected).abs() < 1e-12);
    }

    /// The worst case of the guarantee: coins that are exactly fair, and rare large values of mean zero.
    #[test]
    fn false_alarms_are_as_rare_as_is_said() {
        let (n, threshold) = (100_000, 500.0);
        let fair = |_, chance: f64| if chance < 0.5 { 1.0 } else { -1.0 };
        let skewed = |_, chance: f64| if chance < 0.05 { 0.95 } else { -0.05 };
        for (seed, value) in [(1, fair as fn(u64, f64) -> f64), (2, skewed), (3, fair)] {
            let found = alarms(n, threshold, seed, value).len() as f64;
            // At most 200 on average; the detector stays under it because evidence overshoots the threshold.
            assert!(found <= 200.0 + 3.0 * 200.0_f64.sqrt(), "{found}");
            assert!(found > 0.0, "a threshold that is never reached proves nothing");
        }
    }

    #[test]
    fn a_shift_is_found_and_its_beginning_told() {
        let value = |at: u64, chance: f64| {
            let heads = if at < 5_000 { 0.5 } else { 0.65 };
            if chance < heads { 0.5 } else { -0.5 }
        };
        let found = alarms(6_000, 1e6, 4, value);
        let (at, change) = found[0];
        assert!((5_050..5_800).contains(&at), "{at}");
        assert!(
            change.since.abs_diff(5_000) < 300 && (change.values.mean - 0.15).abs() < 0.1,
            "{change:?}"
        );
        assert_eq!(change.values.n, at - change.since + 1);
    }

    #[test]
    fn degenerate() {
        let mut detector = Detector::new(1.0);
        assert_eq!(detector.observe(f64::NAN, 0, 1.0), None);
        assert_eq!(detector.evidence(), 0.0);
        // Ever the largest loss: evidence stays finite and low.
        for at in 0..1_000 {
            assert_eq!(detector.observe(-1.0, at, 10.0), None);
        }
        assert!(detector.evidence() < 20.0);
    }
}
