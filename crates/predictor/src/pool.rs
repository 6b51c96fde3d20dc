//! The linear opinion pool of the views, and the doubt about it.

use serde::{Deserialize, Serialize};
use tiercast_routing::distribution::GRID_POINTS;
use tiercast_routing::evidence::Evidence;

use crate::model::mean_variance;
use crate::neighbours::NeighbourSettings;
use crate::views::{N_POOLED, Pmf, add_scaled};

/// What was fitted out of fold about the views (linear pool: Stone 1961; weights by stacking:
/// Wolpert 1992, Breiman 1996).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Weight of each view on prompts like those of training; a switched-off view has 0.
    pub known: [f64; N_POOLED],
    /// Weight of each view on prompts of tasks never seen.
    pub unknown: [f64; N_POOLED],
    /// Which of the two a prompt gets.
    pub gate: Gate,
    /// How neighbours are used.
    pub neighbours: NeighbourSettings,
    /// When a forecast is not to be relied on.
    pub doubt: Doubt,
}

/// P(task never seen) = 1 / (1 + exp(-(offset + slope x similarity))).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// On the similarity; negative.
    pub slope: f64,
    /// Constant.
    pub offset: f64,
}

impl Gate {
    /// Every prompt is like those of training.
    pub const OPEN: Self = Self {
        slope: 0.0,
        offset: -30.0,
    };

    /// Probability that a prompt of this similarity is of a task never seen.
    pub fn unknown(&self, similarity: f64) -> f64 {
        1.0 / (1.0 + (-(self.offset + self.slope * similarity)).exp())
    }
}

/// Doubt as a rank among the training prompts, each forecast without its fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Doubt {
    /// Less similar than this to all training prompts: the evidence is insufficient.
    pub least_similarity: f64,
    /// Members that differ by more than this: the evidence is insufficient.
    pub most_spread: f64,
    /// Expected loss = constant + similarity, spread and variance times these.
    pub loss: [f64; 4],
    /// Quantiles of the expected loss of the training prompts, evenly spaced from 0 to 1.
    pub quantiles: Vec<f64>,
}

impl Pool {
    /// The pool of what the views say, per tier. `None` where a view says nothing.
    pub fn mix(&self, views: &[Option<Vec<Pmf>>; N_POOLED], similarity: f64) -> Vec<Pmf> {
        let unknown = self.gate.unknown(similarity);
        let n_tiers = views.iter().flatten().map(Vec::len).next().unwrap_or(0);
        let mut mixed = vec![[0.0; GRID_POINTS]; n_tiers];
        for (view, (known_weight, unknown_weight)) in views.iter().zip(self.known.iter().zip(self.unknown)) {
            let weight = (1.0 - unknown) * known_weight + unknown * unknown_weight;
            if let Some(tiers) = view.as_ref().filter(|_| weight > 0.0) {
                for (sum, pmf) in mixed.iter_mut().zip(tiers) {
                    add_scaled(sum, pmf, weight);
                }
            }
        }
        mixed
    }

    /// Which views ever have a weight; [`Self::mix`] does not read the others.
    pub fn used(&self) -> [bool; N_POOLED] {
        std::array::from_fn(|view| self.known[view] > 0.0 || self.unknown[view] > 0.0)
    }

    /// Says what is wrong with the values, if anything.
    pub fn check(&self) -> Result<(), String> {
        for (name, weights) in [("known", &self.known), ("unknown", &self.unknown)] {
            let sum: f64 = weights.iter().sum();
            if weights.iter().any(|weight| !(0.0..=1.0).contains(weight)) || (sum - 1.0).abs() > 1e-6 {
                return Err(format!("weights `{name}` are not shares that sum to 1"));
            }
        }
        let Doubt {
            least_similarity,
            most_spread,
            loss,
            quantiles,
        } = &self.doubt;
        let numbers = [self.gate.slope, self.gate.offset, *least_similarity, *most_spread];
        let settings = [self.neighbours.sharpness, self.neighbours.prior_rows];
        if !numbers
            .iter()
            .chain(&settings)
            .chain(loss)
            .chain(quantiles)
            .all(|value| value.is_finite())
        {
            return Err("a value is not finite".to_owned());
        }
        match quantiles.is_sorted() && !quantiles.is_empty() {
            true => Ok(()),
            false => Err("the quantiles of the doubt are not in ascending order".to_owned()),
        }
    }
}

impl Doubt {
    /// What a forecast of this quality per tier rests on.
    pub fn of(&self, similarity: f64, spread: f64, quality: &[Pmf]) -> Evidence {
        self.evidence(similarity, spread, mean_variance(quality))
    }

    /// The same, where `variance` is that of the predicted quality, mean over tiers.
    fn evidence(&self, similarity: f64, spread: f64, variance: f64) -> Evidence {
        let loss = self.expected_loss(similarity, spread, variance);
        let below = self.quantiles.partition_point(|quantile| *quantile < loss);
        Evidence {
            similarity,
            spread,
            doubt: below as f64 / self.quantiles.len() as f64,
            sufficient: similarity >= self.least_similarity && spread <= self.most_spread,
        }
    }

    /// Expected loss of a forecast (CRPS, mean over tiers).
    pub fn expected_loss(&self, similarity: f64, spread: f64, variance: f64) -> f64 {
        let [constant, by_similarity, by_spread, by_variance] = self.loss;
        constant + by_similarity * similarity + by_spread * spread + by_variance * variance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Pool {
        Pool {
            known: [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            unknown: [0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
            gate: Gate {
                slope: -20.0,
                offset: 10.0,
            },
            neighbours: NeighbourSettings {
                k: 8,
                sharpness: 10.0,
                prior_rows: 4.0,
            },
            doubt: Doubt {
                least_similarity: 0.2,
                most_spread: 0.3,
                loss: [0.1, -0.1, 0.5, 1.0],
                quantiles: vec![0.0, 0.1, 0.2, 0.3],
            },
        }
    }

    fn point(at: usize) -> Option<Vec<Pmf>> {
        let mut pmf = [0.0; GRID_POINTS];
        pmf[at] = 1.0;
        Some(vec![pmf])
    }

    #[test]
    fn the_gate_chooses_between_the_weights() {
        let views = [point(0), None, None, None, None, point(20)];
        let top = |similarity| pool().mix(&views, similarity)[0][20];
        assert!(top(0.9) < 0.001 && top(0.1) > 0.99 && (top(0.5) - 0.5).abs() < 1e-12);
        assert!(Gate::OPEN.unknown(-1.0) < 1e-12);
        assert_eq!(pool().used(), [true, false, false, false, false, true]);
    }

    #[test]
    fn doubt_is_a_rank_and_far_prompts_are_insufficient() {
        let doubt = pool().doubt;
        let near = doubt.evidence(1.0, 0.0, 0.15);
        assert_eq!((near.doubt, near.sufficient), (0.5, true));
        assert!(!doubt.evidence(0.1, 0.0, 0.15).sufficient);
        assert!(!doubt.evidence(0.9, 0.4, 0.15).sufficient);
        assert_eq!(doubt.evidence(0.1, 1.0, 0.2).doubt, 1.0);
    }

    #[test]
    fn what_is_no_pool_is_refused() {
        assert!(pool().check().is_ok());
        let mut negative = pool();
        (negative.known[0], negative.known[1]) = (1.5, -0.5);
        let mut unsorted = pool();
        unsorted.doubt.quantiles.reverse();
        let mut infinite = pool();
        infinite.gate.slope = f64::NAN;
        assert!([negative, unsorted, infinite].iter().all(|pool| pool.check().is_err()));
    }
}
