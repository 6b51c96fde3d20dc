//! The quality network: shared trunk, per tier a quality distribution and an output length.
//!
//! Structure: two branches read surface signals, the embeddings and a bag of n-grams. The task
//! branch guesses the task; the table of every tier's distribution on every task, mixed by that
//! guess, is the base measure. In the quality branch a `difficulty` (rank r) meets per-tier
//! `ability` (item response theory) and n-grams add effects of their own; the sum gives `N_SHAPES`
//! coefficients per tier. The quality distribution of a tier is the exponential family over the
//! grid with these coefficients on Legendre polynomials, through the base measure. Without any
//! signal the network therefore predicts the table of the task it guesses.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::module::embedding;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tiercast_routing::distribution::{GRID, GRID_POINTS};

use crate::encoding::Batch;

/// Shape functions on the grid: Legendre polynomials of degree 1 to 3 on [-1, 1].
pub const N_SHAPES: usize = 3;

/// Their values, `[N_SHAPES, GRID_POINTS]`
pub const SHAPES: [[f32; GRID_POINTS]; N_SHAPES] = {
    let mut shapes = [[0.0; GRID_POINTS]; N_SHAPES];
    let mut point = 0;
    while point < GRID_POINTS {
        let x = 2.0 * GRID[point] - 1.0;
        shapes[0][point] = x as f32;
        shapes[1][point] = (1.5 * x * x - 0.5) as f32;
        shapes[2][point] = (2.5 * x * x * x - 1.5 * x) as f32;
        point += 1;
    }
    shapes
};

/// Bounds of the log standard deviation of the standardised log output length.
pub const LENGTH_LOG_STD: [f32; 2] = [-4.0, 2.0];

/// Members of an ensemble where nothing else is asked for.
pub const DEFAULT_MEMBERS: usize = 5;

/// Sizes of the network.
#[derive(Config, Debug, PartialEq)]
pub struct NetworkConfig {
    /// Surface signals and embedding together.
    pub d_dense: usize,
    /// N-grams known from training (at least 1; position 0 also serves as padding of weight 0).
    pub n_ngrams: usize,
    /// Tiers, in catalog order.
    pub n_tiers: usize,
    /// Tasks told apart by the auxiliary head (at least 1).
    pub n_tasks: usize,
    /// Width of an n-gram's vector.
    #[config(default = 16)]
    pub d_ngram: usize,
    /// Width of the trunk.
    #[config(default = 96)]
    pub d_hidden: usize,
    /// Rank of difficulty and ability.
    #[config(default = 4)]
    pub d_difficulty: usize,
    /// Networks whose distributions are averaged.
    #[config(default = "DEFAULT_MEMBERS")]
    pub n_members: usize,
}

/// Upper bound on any size above: a hostile config must not make us allocate without end.
const LARGEST_SIZE: usize = 1 << 20;
/// Upper bound on the number of parameters.
const LARGEST_NETWORK: usize = 1 << 26;

impl NetworkConfig {
    /// Number of trainable parameters of all members.
    pub fn n_params(&self) -> usize {
        let coefficients = self.n_tiers * N_SHAPES;
        let d_in = self.d_dense + self.d_ngram;
        let member = self.n_ngrams * self.d_ngram
            + (d_in + 1) * self.d_hidden * 2
            + (self.d_hidden + 1) * self.n_tasks
            + self.d_hidden * self.d_difficulty
            + self.d_difficulty * coefficients
            + self.d_ngram * coefficients
            + self.n_tasks * self.n_tiers * GRID_POINTS
            + (self.d_hidden + 1) * 2 * self.n_tiers;
        member * self.n_members
    }

    /// Whether the sizes are sane; says which is not.
    pub fn check(&self) -> Result<(), String> {
        let sizes = [
            ("d_dense", self.d_dense),
            ("n_ngrams", self.n_ngrams),
            ("n_tiers", self.n_tiers),
            ("n_tasks", self.n_tasks),
            ("d_ngram", self.d_ngram),
            ("d_hidden", self.d_hidden),
            ("d_difficulty", self.d_difficulty),
            ("n_members", self.n_members),
        ];
        for (name, size) in sizes {
            if !(1..=LARGEST_SIZE).contains(&size) {
                return Err(format!("{name} = {size} is outside 1..={LARGEST_SIZE}"));
            }
        }
        // Sizes are below 2^20, so the products of two and their sums fit in 64 bits; the number
        // of members could still take the product over it.
        let params = Self {
            n_members: 1,
            ..self.clone()
        }
        .n_params()
        .saturating_mul(self.n_members);
        if params > LARGEST_NETWORK {
            return Err(format!("{params} parameters are more than {LARGEST_NETWORK}"));
        }
        Ok(())
    }

    /// An ensemble with weights drawn from `seed`.
    pub fn init(&self, seed: u64, device: &Device) -> Ensemble {
        let members = (0..self.n_members).map(|member| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(member as u64);
            self.init_member(&mut rng, device)
        });
        Ensemble {
            members: members.collect(),
        }
    }

    /// One member with weights drawn from `rng`.
    pub fn init_member(&self, rng: &mut ChaCha8Rng, device: &Device) -> QualityNetwork {
        let coefficients = self.n_tiers * N_SHAPES;
        let d_in = self.d_dense + self.d_ngram;
        let mut uniform = |shape: [usize; 2], bound: f32| param(uniform(rng, shape, bound), shape, device);
        let fan_in = |size: usize| (1.0 / size as f32).sqrt();
        QualityNetwork {
            ngram_vectors: uniform([self.n_ngrams, self.d_ngram], 0.05),
            trunk_weight: uniform([d_in, self.d_hidden], fan_in(d_in)),
            trunk_bias: zeros([self.d_hidden], device),
            task_trunk_weight: uniform([d_in, self.d_hidden], fan_in(d_in)),
            task_trunk_bias: zeros([self.d_hidden], device),
            task_weight: uniform([self.d_hidden, self.n_tasks], fan_in(self.d_hidden)),
            task_bias: zeros([self.n_tasks], device),
            difficulty: uniform([self.d_hidden, self.d_difficulty], fan_in(self.d_hidden)),
            ability: uniform([self.d_difficulty, coefficients], 0.1 * fan_in(self.d_difficulty)),
            ngram_effect: zeros([self.d_ngram, coefficients], device),
            task_base: flat([self.n_tasks, self.n_tiers * GRID_POINTS], device),
            length_weight: uniform([self.d_hidden, 2 * self.n_tiers], 0.1 * fan_in(self.d_hidden)),
            length_bias: zeros([2 * self.n_tiers], device),
        }
    }
}

/// One network.
#[derive(Module, Debug)]
pub struct QualityNetwork {
    pub(crate) ngram_vectors: Param<Tensor<2>>,
    pub(crate) trunk_weight: Param<Tensor<2>>,
    pub(crate) trunk_bias: Param<Tensor<1>>,
    pub(crate) task_trunk_weight: Param<Tensor<2>>,
    pub(crate) task_trunk_bias: Param<Tensor<1>>,
    pub(crate) task_weight: Param<Tensor<2>>,
    pub(crate) task_bias: Param<Tensor<1>>,
    pub(crate) difficulty: Param<Tensor<2>>,
    pub(crate) ability: Param<Tensor<2>>,
    pub(crate) ngram_effect: Param<Tensor<2>>,
    /// Distribution of every tier on every task, `[n_tasks, n_tiers * GRID_POINTS]`; set from the
    /// training rows and not learnt.
    pub task_base: Param<Tensor<2>>,
    pub(crate) length_weight: Param<Tensor<2>>,
    pub(crate) length_bias: Param<Tensor<1>>,
}

/// What the network says of `n` rows.
#[derive(Debug, Clone)]
pub struct Output {
    /// Quality distribution, `[n, n_tiers, GRID_POINTS]`
    pub quality: Tensor<3>,
    /// Mean of the standardised log output length, `[n, n_tiers]`
    pub length_mean: Tensor<2>,
    /// Log of its standard deviation, `[n, n_tiers]`
    pub length_log_std: Tensor<2>,
    /// Logits of the task, `[n, n_tasks]`
    pub task: Tensor<2>,
}

impl QualityNetwork {
    /// Runs `n` rows; with dropout in training.
    pub fn forward(&self, batch: Batch, dropout: Option<Dropout>) -> Output {
        let [n, _] = batch.dense.dims();
        let [_, n_masses] = self.task_base.dims();
        let n_tiers = n_masses / GRID_POINTS;
        let bag = self.bag(batch.ngrams, batch.weights); // [n, d_ngram]
        let input = Tensor::cat(vec![batch.dense, bag.clone()], 1); // [n, d_dense + d_ngram]
        let (task_mask, mask, keep_task) = match dropout {
            Some(dropout) => (Some(dropout.task), Some(dropout.quality), Some(dropout.keep_task)),
            None => (None, None, None),
        };
        let task_hidden = hidden(input.clone(), &self.task_trunk_weight, &self.task_trunk_bias, task_mask);
        let task = task_hidden.matmul(self.task_weight.val()) + self.task_bias.val().unsqueeze(); // [n, n_tasks]
        let hidden = hidden(input, &self.trunk_weight, &self.trunk_bias, mask); // [n, d_hidden]
        let coefficients = hidden.clone().matmul(self.difficulty.val()).matmul(self.ability.val())
            + bag.matmul(self.ngram_effect.val()); // [n, n_tiers * N_SHAPES]
        let tilt = coefficients
            .reshape([n * n_tiers, N_SHAPES])
            .matmul(shapes(&self.task_base.device())); // [n * n_tiers, GRID_POINTS]
        let base = self.base(task.clone(), keep_task).reshape([n, n_tiers, GRID_POINTS]);
        let logits = tilt.reshape([n, n_tiers, GRID_POINTS]) + base.log();
        let length = hidden.matmul(self.length_weight.val()) + self.length_bias.val().unsqueeze(); // [n, 2 * n_tiers]
        let [least, most] = LENGTH_LOG_STD;
        Output {
            quality: softmax(logits, 2),
            length_mean: length.clone().slice([0..n, 0..n_tiers]),
            length_log_std: length.slice([0..n, n_tiers..2 * n_tiers]).clamp(least, most),
            task,
        }
    }

    /// The table of task distributions mixed by the guessed task, without gradient for the guess,
    /// `[n, n_tiers * GRID_POINTS]`
    fn base(&self, task: Tensor<2>, keep: Option<Tensor<2>>) -> Tensor<2> {
        let [_, n_tasks] = task.dims();
        let guess = softmax(task, 1).detach();
        let guess = match keep {
            // Hidden, every task is as likely.
            Some(keep) => guess * keep.clone() + keep.neg().add_scalar(1.0).div_scalar(n_tasks as f32),
            None => guess,
        };
        guess.matmul(self.task_base.val()).detach()
    }

    /// Weighted sum of the vectors of a row's n-grams, `[n, d_ngram]`
    fn bag(&self, ngrams: Tensor<2, Int>, weights: Tensor<2>) -> Tensor<2> {
        let [n, n_slots] = ngrams.dims();
        let vectors = embedding(self.ngram_vectors.val(), ngrams); // [n, n_slots, d_ngram]
        weights.reshape([n, 1, n_slots]).matmul(vectors).squeeze_dim::<2>(1)
    }
}

fn hidden(input: Tensor<2>, weight: &Param<Tensor<2>>, bias: &Param<Tensor<1>>, mask: Option<Tensor<2>>) -> Tensor<2> {
    let hidden = gelu(input.matmul(weight.val()) + bias.val().unsqueeze());
    match mask {
        Some(mask) => hidden * mask,
        None => hidden,
    }
}

/// Masks for training; those of hidden vectors are `[n, d_hidden]` with entries 0 or 1 / (1 - rate).
/// They come from outside so that the seed does.
#[derive(Debug, Clone)]
pub struct Dropout {
    /// On the task branch.
    pub task: Tensor<2>,
    /// On the quality branch.
    pub quality: Tensor<2>,
    /// 1 where the guessed task is used, 0 where it is hidden so that the rest has to do without
    /// it, `[n, 1]`
    pub keep_task: Tensor<2>,
}

/// Members whose distributions are averaged.
#[derive(Module, Debug)]
pub struct Ensemble {
    /// The members.
    pub members: Vec<QualityNetwork>,
}

/// [`SHAPES`] as a tensor.
fn shapes(device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(SHAPES.concat(), [N_SHAPES, GRID_POINTS]), device)
}

fn uniform(rng: &mut ChaCha8Rng, shape: [usize; 2], bound: f32) -> Vec<f32> {
    (0..shape[0] * shape[1])
        .map(|_| bound * (2.0 * unit(rng) - 1.0))
        .collect()
}

/// Uniform in [0, 1), from the top 24 bits.
pub fn unit(rng: &mut impl Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1 << 24) as f32
}

fn param<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}

/// Every distribution flat: what is known before there are rows.
fn flat(shape: [usize; 2], device: &Device) -> Param<Tensor<2>> {
    param(vec![1.0 / GRID_POINTS as f32; shape.iter().product()], shape, device)
}

fn zeros<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    param(vec![0.0; shape.iter().product()], shape, device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Encoded;

    fn config() -> NetworkConfig {
        NetworkConfig::new(3, 4, 2, 2).with_n_members(1)
    }

    #[test]
    fn shapes_of_the_output() {
        let device = Device::flex();
        let network = config().init(7, &device);
        let row = Encoded {
            dense: vec![1.0, -1.0, 0.5],
            key: Vec::new(),
            ngrams: vec![2, 3],
            weights: vec![0.6, 0.8],
        };
        let empty = Encoded {
            dense: vec![0.0; 3],
            ..Encoded::default()
        };
        let output = network.members[0].forward(Batch::new(&[&row, &empty], &device), None);
        assert_eq!(output.quality.dims(), [2, 2, GRID_POINTS]);
        assert_eq!(output.length_mean.dims(), [2, 2]);
        assert_eq!(output.task.dims(), [2, 2]);
        let sums: Vec<f32> = output.quality.sum_dim(2).into_data().try_to_vec().unwrap();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    }

    #[test]
    fn n_params_counts_what_is_there() {
        assert_eq!(config().init(1, &Device::flex()).num_params(), config().n_params());
    }

    #[test]
    fn sizes_without_end_are_refused() {
        assert!(
            NetworkConfig::new(3, 1 << 19, 2, 2)
                .with_d_ngram(1 << 19)
                .check()
                .unwrap_err()
                .contains("parameters")
        );
        assert!(NetworkConfig::new(0, 4, 2, 2).check().unwrap_err().contains("d_dense"));
    }
}
