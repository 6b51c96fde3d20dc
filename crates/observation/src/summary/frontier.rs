//! Expected cost and quality of other dials on the same requests, from their forecasts.

use super::cost::Forecast;
use super::figures::{FloorPoint, Point};
use super::sum::Sum;

/// Floors on expected quality: 0, 0.05, ..., 1.
const N_FLOORS: usize = 21;

/// Sums of expected cost and quality.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct PointSums {
    pub(crate) n: u64,
    cost: Sum,
    quality: Sum,
}

impl PointSums {
    #[inline]
    pub(crate) fn add(&mut self, cost: f64, quality: f64) {
        self.n += 1;
        self.cost.add(cost);
        self.quality.add(quality);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.cost.merge(other.cost);
        self.quality.merge(other.quality);
    }

    pub(crate) fn quality_mean(&self) -> Option<f64> {
        self.quality.mean(self.n)
    }

    pub(crate) fn cost_mean(&self) -> Option<f64> {
        self.cost.mean(self.n)
    }

    pub(crate) fn figures(&self) -> Option<Point> {
        Some(Point {
            n: self.n,
            cost_usd: self.cost_mean()?,
            quality: self.quality_mean()?,
        })
    }
}

/// The cheapest tier whose expected quality reaches a floor, for a grid of floors; where none does, the best one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Frontier {
    n: u64,
    cost: FloorSums,
    quality: FloorSums,
    /// Tiers of the row at hand by cost; kept for its memory.
    order: Vec<(f64, f64)>,
}

impl Frontier {
    pub(crate) fn add(&mut self, forecasts: &[Forecast]) {
        self.order.clear();
        let open = forecasts.iter().filter(|forecast| forecast.is_open);
        self.order
            .extend(open.map(|forecast| (forecast.cost, forecast.quality)));
        self.order
            .sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.total_cmp(&a.1)));
        // Of equally good ones the first, which is the cheapest.
        let better = |best: (f64, f64), tier: &(f64, f64)| if tier.1 > best.1 { *tier } else { best };
        let Some(first) = self.order.first() else { return };
        let best = self.order.iter().fold(*first, better);
        let (mut costs, mut qualities) = ([0.0; N_FLOORS], [0.0; N_FLOORS]);
        let mut n_filled = 0;
        for (cost, quality) in &self.order {
            // A tier is the cheapest for the floors that it reaches and no cheaper one does.
            let n_reached = n_reached(*quality);
            if n_reached > n_filled {
                costs[n_filled..n_reached].fill(*cost);
                qualities[n_filled..n_reached].fill(*quality);
                n_filled = n_reached;
            }
        }
        costs[n_filled..].fill(best.0);
        qualities[n_filled..].fill(best.1);
        self.n += 1;
        self.cost.add(&costs);
        self.quality.add(&qualities);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.cost.merge(&other.cost);
        self.quality.merge(&other.quality);
    }

    pub(crate) fn figures(&self) -> Vec<FloorPoint> {
        let of = |i: usize| {
            Some(FloorPoint {
                floor: floor(i),
                point: Point {
                    n: self.n,
                    cost_usd: self.cost.mean(i, self.n)?,
                    quality: self.quality.mean(i, self.n)?,
                },
            })
        };
        (0..N_FLOORS).filter_map(of).collect()
    }
}

/// A [`Sum`] per floor, with the parts of each kind side by side: adding to all of them is a few vector
/// instructions.
#[derive(Debug, Clone, Default, PartialEq)]
struct FloorSums {
    total: [f64; N_FLOORS],
    lost: [f64; N_FLOORS],
}

impl FloorSums {
    #[inline]
    fn add(&mut self, values: &[f64; N_FLOORS]) {
        for ((sum, lost), value) in self.total.iter_mut().zip(&mut self.lost).zip(values) {
            let total = *sum + value;
            let taken = total - *sum;
            *lost += (*sum - (total - taken)) + (value - taken);
            *sum = total;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.add(&other.total);
        self.lost
            .iter_mut()
            .zip(other.lost)
            .for_each(|(lost, more)| *lost += more);
    }

    fn mean(&self, i: usize, n: u64) -> Option<f64> {
        (n > 0).then(|| (self.total[i] + self.lost[i]) / n as f64)
    }
}

/// Floors that a quality reaches. Rows hold qualities in single precision, so a millionth below is on it.
fn n_reached(quality: f64) -> usize {
    let highest = quality * (N_FLOORS - 1) as f64 + 2e-5;
    (highest as usize + 1).min(N_FLOORS)
}

fn floor(i: usize) -> f64 {
    i as f64 / (N_FLOORS - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast(cost: f64, quality: f64) -> Forecast {
        Forecast {
            slot: 0,
            quality,
            cost,
            is_open: true,
            real: None,
        }
    }

    #[test]
    fn the_cheapest_that_reaches_the_floor_else_the_best() {
        let mut frontier = Frontier::default();
        let closed = Forecast {
            is_open: false,
            ..forecast(0.1, 1.0)
        };
        frontier.add(&[forecast(3.0, 0.9), forecast(1.0, 0.4), closed, forecast(2.0, 0.7)]);
        frontier.add(&[forecast(1.0, 0.2)]);
        let at = |i: usize| frontier.figures()[i];
        assert_eq!((at(0).point.cost_usd, at(0).point.quality), (1.0, 0.30000000000000004));
        // Floor 0.5: the second tier, and the only one there is.
        assert_eq!((at(10).floor, at(10).point.cost_usd), (0.5, 1.5));
        // Nothing reaches 1: the best of each.
        assert_eq!((at(20).point.cost_usd, at(20).point.n), (2.0, 2));
    }

    #[test]
    fn a_quality_in_single_precision_reaches_its_own_floor() {
        for i in 0..N_FLOORS {
            assert_eq!(n_reached(f64::from(floor(i) as f32)), i + 1);
            assert_eq!(n_reached(floor(i) - 1e-4), i.max(1));
        }
    }

    #[test]
    fn no_open_tier_is_no_point() {
        let mut frontier = Frontier::default();
        frontier.add(&[Forecast {
            is_open: false,
            ..forecast(1.0, 1.0)
        }]);
        assert!(frontier.figures().is_empty());
    }
}
