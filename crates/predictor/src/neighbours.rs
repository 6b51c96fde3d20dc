//! The nearest training prompts: what the tiers did there, and how near they are.

use tiercast_encoder::kernel::Kernel;
use tiercast_routing::distribution::GRID_POINTS;

use crate::views::{Pmf, add_outcome};

/// Neighbours looked at; the fitted settings use some of them.
pub const MOST_NEIGHBOURS: usize = 96;
/// Neighbours whose mean similarity is the similarity of a prompt: one alone may be a coincidence.
const N_SIMILARITY: usize = 3;
/// Keys are unit vectors in steps of 1/256.
const SQUARED_STEPS: f32 = 256.0 * 256.0;
/// Prompts compared at a time; their products stay in the nearest cache.
const BLOCK: usize = 512;
/// Stands for "did not answer" among the scores.
const NO_SCORE: f32 = -1.0;
/// Prompts kept: the search is linear, so this bounds its time.
pub const MOST_PROMPTS: usize = 1 << 14;

/// Training prompts with the scores of all tiers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Neighbours {
    dim: usize,
    n_tiers: usize,
    /// `[n, dim]`
    keys: Vec<i8>,
    /// `[n, n_tiers]`
    scores: Vec<f32>,
}

/// One neighbour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Cosine similarity.
    pub similarity: f32,
    /// Position among the training prompts.
    pub position: u32,
}

impl Neighbours {
    /// None yet.
    pub fn new(dim: usize, n_tiers: usize) -> Self {
        Self {
            dim,
            n_tiers,
            ..Self::default()
        }
    }

    /// Adds a prompt; `scores` has one entry per tier.
    pub fn push(&mut self, key: &[i8], scores: impl Iterator<Item = Option<f64>>) {
        self.keys.extend_from_slice(key);
        self.scores
            .extend(scores.map(|score| score.map_or(NO_SCORE, |score| score as f32)));
    }

    /// Prompts held.
    pub fn len(&self) -> usize {
        self.keys.len() / self.dim.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The most similar prompts among those that `admit` lets through, nearest first, at most
    /// [`MOST_NEIGHBOURS`]. Equal ones stay in their order, so that the result is always the same.
    pub fn nearest(&self, key: &[i8], admit: impl Fn(usize) -> bool) -> Vec<Neighbour> {
        let kernel = Kernel::best();
        let mut found = Vec::with_capacity(2 * MOST_NEIGHBOURS);
        let mut least = i64::MIN;
        for (block_idx, block) in self.keys.chunks(BLOCK * self.dim.max(1)).enumerate() {
            let mut products = [0; BLOCK];
            let products = &mut products[..block.len() / self.dim];
            kernel.products(key, block, products);
            for (row, product) in products.iter().enumerate() {
                let position = block_idx * BLOCK + row;
                let ranked = rank(*product, position as u32);
                if ranked > least && admit(position) {
                    found.push(ranked);
                }
                if found.len() == 2 * MOST_NEIGHBOURS {
                    least = keep_first(&mut found);
                }
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.truncate(MOST_NEIGHBOURS);
        found.into_iter().map(neighbour).collect()
    }

    /// What each tier did on the neighbours: their outcomes weighted by exp(`sharpness` x
    /// similarity), and `prior_rows` outcomes of the tier's `base` distribution.
    pub fn distributions(&self, nearest: &[Neighbour], settings: &NeighbourSettings, base: &[Pmf]) -> Vec<Pmf> {
        let used = &nearest[..settings.k.min(nearest.len())];
        let first = used.first().map_or(0.0, |neighbour| neighbour.similarity);
        let weight =
            |neighbour: &Neighbour| f64::from(settings.sharpness as f32 * (neighbour.similarity - first)).exp();
        let weights: Vec<f64> = used.iter().map(weight).collect();
        let of_tier = |(tier, base): (usize, &Pmf)| {
            let mut pmf = [0.0; GRID_POINTS];
            let (mut total, mut squares) = (0.0, 0.0);
            for (neighbour, weight) in used.iter().zip(&weights) {
                let score = self.scores[neighbour.position as usize * self.n_tiers + tier];
                if score >= 0.0 {
                    add_outcome(&mut pmf, f64::from(score), *weight);
                    (total, squares) = (total + weight, squares + weight * weight);
                }
            }
            // Kish's effective number of rows.
            let n = if squares > 0.0 { total * total / squares } else { 0.0 };
            let share = n / (n + settings.prior_rows);
            std::array::from_fn(|point| share * pmf[point] / total.max(f64::MIN_POSITIVE) + (1.0 - share) * base[point])
        };
        base.iter().enumerate().map(of_tier).collect()
    }

    /// As bytes, little endian: keys, then scores.
    pub fn to_bytes(&self) -> Vec<u8> {
        let keys = self.keys.iter().map(|step| step.cast_unsigned());
        keys.chain(self.scores.iter().flat_map(|score| score.to_le_bytes()))
            .collect()
    }

    /// From bytes; says what is wrong with them.
    pub fn from_bytes(bytes: &[u8], n: usize, dim: usize, n_tiers: usize) -> Result<Self, String> {
        let wanted = n
            .checked_mul(dim.saturating_add(4 * n_tiers))
            .filter(|_| n <= MOST_PROMPTS);
        if wanted != Some(bytes.len()) {
            return Err(format!("{} bytes are not those of {n} prompts", bytes.len()));
        }
        let (keys, scores) = bytes.split_at(n * dim);
        let scores: Vec<f32> = scores
            .chunks_exact(4)
            .map(|chunk| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]))
            .collect();
        if let Some(score) = scores
            .iter()
            .find(|score| **score != NO_SCORE && !(0.0..=1.0).contains(*score))
        {
            return Err(format!("{score} is no score"));
        }
        Ok(Self {
            dim,
            n_tiers,
            keys: keys.iter().map(|byte| byte.cast_signed()).collect(),
            scores,
        })
    }
}

/// How neighbours become a distribution. Fitted out of fold.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeighbourSettings {
    /// Neighbours used.
    pub k: usize,
    /// Weight of a neighbour is exp(this x similarity).
    pub sharpness: f64,
    /// Weight of the tier's base distribution, in rows.
    pub prior_rows: f64,
}

/// Similarity of a prompt to what was trained on; 0 where there is nothing.
pub fn similarity(nearest: &[Neighbour]) -> f64 {
    let first = &nearest[..N_SIMILARITY.min(nearest.len())];
    let sum: f64 = first.iter().map(|neighbour| f64::from(neighbour.similarity)).sum();
    if first.is_empty() {
        0.0
    } else {
        sum / first.len() as f64
    }
}

/// Product and position as one number: the larger product first, then the earlier position.
fn rank(product: i32, position: u32) -> i64 {
    i64::from(product) << 32 | i64::from(u32::MAX - position)
}

/// Back from [`rank`].
fn neighbour(ranked: i64) -> Neighbour {
    let product = (ranked >> 32) as i32;
    Neighbour {
        similarity: (product as f32 / SQUARED_STEPS).min(1.0),
        position: u32::MAX - ranked as u32,
    }
}

/// Leaves the first [`MOST_NEIGHBOURS`] of more, in any order, and returns the last of them.
fn keep_first(found: &mut Vec<i64>) -> i64 {
    let (_, last, _) = found.select_nth_unstable_by(MOST_NEIGHBOURS - 1, |a, b| b.cmp(a));
    let last = *last;
    found.truncate(MOST_NEIGHBOURS);
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Pmf = {
        let mut pmf = [0.0; GRID_POINTS];
        (pmf[0], pmf[GRID_POINTS - 1]) = (0.5, 0.5);
        pmf
    };

    fn three() -> Neighbours {
        let mut neighbours = Neighbours::new(2, 1);
        neighbours.push(&[127, 0], [Some(1.0)].into_iter());
        neighbours.push(&[0, 127], [Some(0.0)].into_iter());
        neighbours.push(&[90, 90], [None].into_iter());
        neighbours
    }

    #[test]
    fn nearest_first_and_only_those_admitted() {
        let order = |admit: fn(usize) -> bool| -> Vec<u32> {
            let found = three().nearest(&[127, 10], admit);
            found.iter().map(|neighbour| neighbour.position).collect()
        };
        assert_eq!(order(|_| true), [0, 2, 1]);
        assert_eq!(order(|position| position != 0), [2, 1]);
        assert_eq!(similarity(&[]), 0.0);
    }

    #[test]
    fn the_first_of_many_are_kept_in_order() {
        let mut neighbours = Neighbours::new(1, 1);
        let key = |position: usize| ((position * 37) % 101) as i8;
        let n = 3 * BLOCK + 5;
        for position in 0..n {
            neighbours.push(&[key(position)], [None].into_iter());
        }
        let admit = |position: usize| !position.is_multiple_of(3);
        let mut expected: Vec<usize> = (0..n).filter(|position| admit(*position)).collect();
        expected.sort_by_key(|position| std::cmp::Reverse(key(*position)));
        let found: Vec<usize> = neighbours
            .nearest(&[127], admit)
            .iter()
            .map(|neighbour| neighbour.position as usize)
            .collect();
        assert_eq!(found, expected[..MOST_NEIGHBOURS]);
    }

    #[test]
    fn outcomes_are_weighted_and_shrunk() {
        let neighbours = three();
        let nearest = neighbours.nearest(&[127, 10], |_| true);
        let top = |sharpness, prior_rows| {
            let settings = NeighbourSettings {
                k: 3,
                sharpness,
                prior_rows,
            };
            neighbours.distributions(&nearest, &settings, &[BASE])[0][GRID_POINTS - 1]
        };
        // The second of the two that answered counts exp(0) as the first.
        assert!((top(0.0, 0.0) - 0.5).abs() < 1e-12);
        assert!(top(100.0, 0.0) > 0.99);
        // One effective row against one of the base.
        assert!((top(1e3, 1.0) - 0.75).abs() < 1e-6);
        let none = neighbours.distributions(
            &[],
            &NeighbourSettings {
                k: 3,
                sharpness: 1.0,
                prior_rows: 1.0,
            },
            &[BASE],
        );
        assert_eq!(none[0], BASE);
    }

    #[test]
    fn bytes_come_back_and_others_are_refused() {
        let bytes = three().to_bytes();
        assert_eq!(Neighbours::from_bytes(&bytes, 3, 2, 1).unwrap(), three());
        assert!(Neighbours::from_bytes(&bytes, 4, 2, 1).is_err());
        assert!(Neighbours::from_bytes(&bytes, usize::MAX, 2, 1).is_err());
        let mut broken = bytes;
        broken[6..10].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(
            Neighbours::from_bytes(&broken, 3, 2, 1)
                .unwrap_err()
                .contains("no score")
        );
    }
}
