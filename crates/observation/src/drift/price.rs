//! Whether a tier's tokens cost what they did: prices are constant until they change, so a few calls tell.

use std::collections::VecDeque;

use super::finding::Moment;

/// Calls from which prices are learnt.
const LEARNT_FROM: usize = 30;
/// Last calls of which most must be off.
const RECENT: usize = 20;
/// Share of calls that may be off for reasons of their own (long prompts, fees).
const OFF_ANYWAY: f64 = 0.1;
/// Granted beyond what four of five learnt calls are off, where cost is no sum of prices.
const GRANTED: f64 = 1.5;

/// What a call used and cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    /// Tokens: fresh of the prompt, cached of the prompt, of the reply.
    pub(super) tokens: [f64; 3],
    /// US dollars.
    pub(super) cost_usd: f64,
}

/// Prices per token in the order of [`Usage::tokens`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prices {
    per_token: [f64; 3],
    /// Part of a call's cost that it may be off.
    tolerance: f64,
}

/// Watches the prices of one tier.
#[derive(Debug, Default)]
pub(super) struct PriceWatch {
    learning: Vec<Usage>,
    prices: Option<Prices>,
    /// Of the last calls: whether it was off, its cost by what it would have been, and where.
    recent: VecDeque<(bool, f64, Moment)>,
}

/// The price has changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PriceChange {
    /// Cost now by cost before, of the same tokens; infinite where it was free.
    pub(super) factor: f64,
    /// Prices before, US dollars per million tokens: prompt, reply.
    pub(super) before: [f64; 2],
    /// Where it began.
    pub(super) since: Moment,
}

impl PriceWatch {
    /// Takes a call. `chance` is that of a false alarm that it may have, `tolerance` how far off a cost is the same.
    pub(super) fn observe(&mut self, usage: Usage, at: Moment, tolerance: f64, chance: f64) -> Option<PriceChange> {
        if !usage.is_valid() {
            return None;
        }
        let Some(prices) = self.prices else {
            self.learning.push(usage);
            if self.learning.len() >= LEARNT_FROM {
                self.prices = Some(Prices::fit(&self.learning, tolerance));
                self.learning.clear();
            }
            return None;
        };
        let would_be = prices.cost(&usage);
        let ratio = if would_be > 0.0 {
            usage.cost_usd / would_be
        } else {
            f64::INFINITY
        };
        // A free call is off by more than the error of a sum.
        let is_off = (usage.cost_usd - would_be).abs() > prices.tolerance * would_be.abs() + 1e-12;
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((is_off, ratio, at));
        let n_off = self.recent.iter().filter(|(is_off, _, _)| *is_off).count();
        if n_off < n_needed(chance) {
            return None;
        }
        let change = self.change(&prices);
        // What it costs now is learnt anew, so that the next change is seen too.
        *self = Self::default();
        Some(change)
    }

    fn change(&self, prices: &Prices) -> PriceChange {
        let off = self.recent.iter().filter(|(is_off, _, _)| *is_off);
        let mut ratios: Vec<f64> = off.clone().map(|(_, ratio, _)| *ratio).collect();
        ratios.sort_by(f64::total_cmp);
        PriceChange {
            factor: ratios.get(ratios.len() / 2).copied().unwrap_or(1.0),
            before: [prices.per_token[0] * 1e6, prices.per_token[2] * 1e6],
            since: off.map(|(_, _, at)| *at).next().unwrap_or_default(),
        }
    }
}

impl Usage {
    fn is_valid(&self) -> bool {
        let is_count = |tokens: &f64| tokens.is_finite() && *tokens >= 0.0;
        self.tokens.iter().all(is_count) && self.cost_usd.is_finite() && self.cost_usd >= 0.0
    }
}

impl Prices {
    /// Least squares of relative errors, and once more without the fifth of the calls that is off most: those may have
    /// surcharges of their own. Prices of what was never used are zero.
    fn fit(calls: &[Usage], tolerance: f64) -> Self {
        let mut calls: Vec<Usage> = calls.iter().filter(|call| call.cost_usd > 0.0).copied().collect();
        let first = Self {
            per_token: least_squares(&calls),
            tolerance,
        };
        calls.sort_by(|a, b| first.off(a).total_cmp(&first.off(b)));
        calls.truncate((calls.len() * 4).div_ceil(5));
        let second = Self {
            per_token: least_squares(&calls),
            tolerance,
        };
        let most = calls.iter().map(|call| second.off(call)).fold(0.0, f64::max);
        Self {
            tolerance: tolerance.max(GRANTED * most),
            ..second
        }
    }

    /// Relative error of a call that cost something.
    fn off(&self, call: &Usage) -> f64 {
        (self.cost(call) / call.cost_usd - 1.0).abs()
    }

    fn cost(&self, usage: &Usage) -> f64 {
        usage
            .tokens
            .iter()
            .zip(self.per_token)
            .map(|(tokens, price)| tokens * price)
            .sum()
    }
}

fn least_squares(calls: &[Usage]) -> [f64; 3] {
    let mut normal = [[0.0; 4]; 3];
    for call in calls {
        let row = call.tokens.map(|tokens| tokens / call.cost_usd);
        for (line, left) in normal.iter_mut().zip(row) {
            for (cell, right) in line.iter_mut().zip(row.into_iter().chain([1.0])) {
                *cell += left * right;
            }
        }
    }
    solve(normal)
}

/// Gauss and Jordan, the largest diagonal first; an unknown that the others tell already is zero.
fn solve(mut normal: [[f64; 4]; 3]) -> [f64; 3] {
    let scales = [0, 1, 2].map(|at| normal[at][at]);
    let mut open = vec![0, 1, 2];
    let mut solved = Vec::new();
    let left = |normal: &[[f64; 4]; 3], at: usize| {
        if scales[at] > 0.0 {
            normal[at][at] / scales[at]
        } else {
            0.0
        }
    };
    while let Some(pivot) = open
        .iter()
        .copied()
        .max_by(|a, b| left(&normal, *a).total_cmp(&left(&normal, *b)))
    {
        if left(&normal, pivot) < 1e-9 {
            break;
        }
        open.retain(|at| *at != pivot);
        solved.push(pivot);
        let line = normal[pivot].map(|cell| cell / normal[pivot][pivot]);
        normal[pivot] = line;
        for (_, other) in normal.iter_mut().enumerate().filter(|(at, _)| *at != pivot) {
            let factor = other[pivot];
            other
                .iter_mut()
                .zip(line)
                .for_each(|(cell, value)| *cell -= factor * value);
        }
    }
    [0, 1, 2].map(|at| if solved.contains(&at) { normal[at][3] } else { 0.0 })
}

/// Fewest of the last calls that are off with a chance below `chance`, where one in ten is off anyway. By a binomial tail.
fn n_needed(chance: f64) -> usize {
    let mut tail = 0.0;
    for n in (1..=RECENT).rev() {
        let choices: f64 = (0..n).map(|i| (RECENT - i) as f64 / (i + 1) as f64).product();
        tail += choices * OFF_ANYWAY.powi(n as i32) * (1.0 - OFF_ANYWAY).powi((RECENT - n) as i32);
        if tail > chance {
            return (n + 1).min(RECENT);
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usage(at: u64, prices: [f64; 3]) -> Usage {
        let tokens = [
            (at * 37 % 900 + 10) as f64,
            if at.is_multiple_of(3) { 0.0 } else { (at % 50) as f64 },
            (at * 11 % 400) as f64,
        ];
        let cost_usd = tokens.iter().zip(prices).map(|(tokens, price)| tokens * price).sum();
        Usage { tokens, cost_usd }
    }

    const PRICES: [f64; 3] = [3e-6, 3e-7, 1.5e-5];

    fn first_change(cost: impl Fn(u64) -> Usage, n: u64) -> Option<(u64, PriceChange)> {
        let mut watch = PriceWatch::default();
        (1..=n).find_map(|at| {
            let moment = Moment {
                time_ms: 0,
                request: at,
            };
            watch.observe(cost(at), moment, 0.02, 1e-8).map(|change| (at, change))
        })
    }

    #[test]
    fn prices_are_learnt_exactly() {
        let calls: Vec<Usage> = (1..31).map(|at| usage(at, PRICES)).collect();
        let found = Prices::fit(&calls, 0.02);
        for (price, expected) in found.per_token.iter().zip(PRICES) {
            assert!((price / expected - 1.0).abs() < 1e-6, "{found:?}");
        }
        assert_eq!(found.tolerance, 0.02);
    }

    #[test]
    fn a_new_price_is_found_within_twenty_calls() {
        let raised = |at| {
            usage(
                at,
                if at > 100 {
                    PRICES.map(|price| 1.25 * price)
                } else {
                    PRICES
                },
            )
        };
        let (at, change) = first_change(raised, 200).unwrap();
        assert!((110..=120).contains(&at), "{at}");
        assert_eq!(change.since.request, 101);
        assert!(
            (change.factor - 1.25).abs() < 1e-6 && (change.before[1] - 15.0).abs() < 1e-3,
            "{change:?}"
        );
        // Only the reply became dearer.
        let raised = |at| usage(at, [3e-6, 3e-7, if at > 100 { 2e-5 } else { 1.5e-5 }]);
        assert!(first_change(raised, 140).is_some());
        // What was free is not.
        let raised = |at| usage(at, if at > 100 { PRICES } else { [0.0; 3] });
        assert_eq!(first_change(raised, 140).unwrap().1.factor, f64::INFINITY);
    }

    #[test]
    fn the_same_price_is_no_change() {
        assert_eq!(first_change(|at| usage(at, PRICES), 20_000), None);
        // A surcharge on a tenth of the calls, and costs with noise.
        let surcharged = |at| {
            usage(
                at,
                if at.is_multiple_of(10) {
                    PRICES.map(|price| 2.0 * price)
                } else {
                    PRICES
                },
            )
        };
        assert_eq!(first_change(surcharged, 20_000), None);
        let noisy = |at: u64| {
            let mut call = usage(at, PRICES);
            call.cost_usd *= 1.0 + 0.1 * ((at * 7919 % 1000) as f64 / 500.0 - 1.0);
            call
        };
        assert_eq!(first_change(noisy, 20_000), None);
    }

    #[test]
    fn tails_by_hand() {
        // 0.1^20 for all; 0.9^20 = .12 that none is off.
        assert_eq!(n_needed(1e-19), 20);
        assert_eq!(n_needed(0.9), 1);
        // P(at least 12 of 20) = 5.4e-8, at least 11 is 7.1e-7.
        assert_eq!((n_needed(1e-7), n_needed(1e-8)), (12, 13));
    }

    #[test]
    fn degenerate() {
        assert_eq!(solve([[0.0; 4]; 3]), [0.0; 3]);
        let broken = |at: u64| Usage {
            tokens: [f64::NAN, -1.0, 0.0],
            cost_usd: at as f64,
        };
        assert_eq!(first_change(broken, 1_000), None);
        // Prompt and reply always equally long: one price tells all.
        let same = |at: u64| Usage {
            tokens: [at as f64, 0.0, at as f64],
            cost_usd: 5e-6 * at as f64,
        };
        let calls: Vec<Usage> = (1..31).map(same).collect();
        assert!((Prices::fit(&calls, 0.02).cost(&same(1000)) - 5e-3).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn any_prices_are_learnt(prices in prop::array::uniform3(1e-9..1e-3), seed in 0_u64..1_000) {
            let calls: Vec<Usage> = (1..31).map(|at| usage(at + seed, prices)).collect();
            let found = Prices::fit(&calls, 0.02);
            let next = usage(seed + 31, prices);
            prop_assert!(found.off(&next) < 1e-3, "{found:?}");
        }
    }
}
