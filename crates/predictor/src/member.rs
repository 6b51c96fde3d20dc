//! One network on one row, in plain Rust: the figures of [`QualityNetwork`], whose tensors cost many
//! times the arithmetic when there is a single row.
//!
//! Everything that predicts goes through here. Burn's module is what the trainer fits, and the
//! reference that the tests compare with.

use burn::module::Param;
use burn::tensor::Tensor;
use tiercast_routing::distribution::GRID_POINTS;

use crate::encoding::Encoded;
use crate::network::{LENGTH_LOG_STD, N_SHAPES, QualityNetwork, SHAPES};
use crate::views::Pmf;

/// The weights of a network.
#[derive(Debug, Clone)]
pub struct Member {
    ngram_vectors: Matrix,
    /// The quality branch, then the task branch, side by side: `[d_in, 2 * d_hidden]`
    trunks: Layer,
    task: Layer,
    difficulty: Matrix,
    ability: Matrix,
    ngram_effect: Matrix,
    task_base: Matrix,
    length: Layer,
}

/// What a network says of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Says {
    /// Mass over the grid, per tier.
    pub quality: Vec<Pmf>,
    /// Mean of the standardised log output length, per tier.
    pub length_mean: Vec<f32>,
    /// Its standard deviation, per tier.
    pub length_std: Vec<f32>,
    /// Probability of each task.
    pub tasks: Vec<f32>,
}

impl Member {
    /// The weights of `network` as they are now.
    pub fn new(network: &QualityNetwork) -> Self {
        let matrix = Matrix::new;
        let layer = |weights: &Param<Tensor<2>>, bias: &Param<Tensor<1>>| Layer {
            weights: matrix(weights),
            bias: floats(bias),
        };
        let trunk = layer(&network.trunk_weight, &network.trunk_bias);
        Self {
            ngram_vectors: matrix(&network.ngram_vectors),
            trunks: trunk.beside(&layer(&network.task_trunk_weight, &network.task_trunk_bias)),
            task: layer(&network.task_weight, &network.task_bias),
            difficulty: matrix(&network.difficulty),
            ability: matrix(&network.ability),
            ngram_effect: matrix(&network.ngram_effect),
            task_base: matrix(&network.task_base),
            length: layer(&network.length_weight, &network.length_bias),
        }
    }

    /// See [`QualityNetwork::forward`].
    pub fn says(&self, row: &Encoded) -> Says {
        let bag = self.bag(row); // [d_ngram]
        let input = [row.dense.as_slice(), &bag].concat(); // [d_dense + d_ngram]
        let mut both = self.trunks.of(&input); // [2 * d_hidden]
        both.iter_mut().for_each(|value| *value = gelu(*value));
        let (hidden, task_hidden) = both.split_at(both.len() / 2);
        let mut tasks = self.task.of(task_hidden); // [n_tasks]
        softmax(&mut tasks);
        let base = self.task_base.of(&tasks); // [n_tiers * GRID_POINTS]
        let mut coefficients = self.ability.of(&self.difficulty.of(hidden)); // [n_tiers * N_SHAPES]
        self.ngram_effect.add(&bag, &mut coefficients);
        let tiers = base
            .as_chunks::<GRID_POINTS>()
            .0
            .iter()
            .zip(coefficients.as_chunks::<N_SHAPES>().0);
        let quality: Vec<Pmf> = tiers
            .map(|(base, coefficients)| exponential_family(base, coefficients))
            .collect();
        let mut length_mean = self.length.of(hidden); // [2 * n_tiers]
        let length_log_std = length_mean.split_off(quality.len());
        let [least, most] = LENGTH_LOG_STD;
        Says {
            quality,
            length_mean,
            length_std: length_log_std
                .iter()
                .map(|value| value.clamp(least, most).exp())
                .collect(),
            tasks,
        }
    }

    /// Weighted sum of the vectors of the row's n-grams, `[d_ngram]`
    fn bag(&self, row: &Encoded) -> Vec<f32> {
        let mut bag = vec![0.0; self.ngram_vectors.n_columns];
        for (ngram, weight) in row.ngrams.iter().zip(&row.weights) {
            add_scaled(&mut bag, self.ngram_vectors.row(*ngram as usize), *weight);
        }
        bag
    }
}

/// `base` x exp(coefficients x shapes), summing to one.
fn exponential_family(base: &[f32; GRID_POINTS], coefficients: &[f32; N_SHAPES]) -> Pmf {
    let mut tilt = [0.0; GRID_POINTS];
    for (shape, coefficient) in SHAPES.iter().zip(coefficients) {
        add_scaled(&mut tilt, shape, *coefficient);
    }
    let highest = tilt.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mass: Pmf = std::array::from_fn(|point| f64::from(base[point]) * f64::from(tilt[point] - highest).exp());
    let total: f64 = mass.iter().sum();
    mass.map(|mass| mass / total)
}

/// x P(a standard normal variable is below x).
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + libm::erff(x / std::f32::consts::SQRT_2))
}

fn softmax(logits: &mut [f32]) {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter_mut().for_each(|logit| *logit = (*logit - highest).exp());
    let total: f32 = logits.iter().sum();
    logits.iter_mut().for_each(|mass| *mass /= total);
}

/// `sum += factor * values`
fn add_scaled(sum: &mut [f32], values: &[f32], factor: f32) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += factor * value;
    }
}

/// `[n_rows, n_columns]`
#[derive(Debug, Clone)]
struct Matrix {
    values: Vec<f32>,
    n_columns: usize,
}

impl Matrix {
    fn new(tensor: &Param<Tensor<2>>) -> Self {
        let [_, n_columns] = tensor.dims();
        Self {
            values: floats(tensor),
            n_columns,
        }
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.n_columns..][..self.n_columns]
    }

    /// `input` x matrix, `[n_columns]`
    fn of(&self, input: &[f32]) -> Vec<f32> {
        let mut output = vec![0.0; self.n_columns];
        self.add(input, &mut output);
        output
    }

    /// `output += input` x matrix. Each output is summed in the order of the inputs, whatever the
    /// width of the registers: the bits are the same on every machine.
    fn add(&self, input: &[f32], output: &mut [f32]) {
        let n = self.n_columns;
        // Four rows at a time: sums then go to memory and back a quarter as often.
        let (fours, rest) = input.as_chunks::<4>();
        let (blocks, last) = self.values.split_at(4 * n * fours.len());
        for (four, block) in fours.iter().zip(blocks.chunks_exact(4 * n)) {
            let (first, second) = block.split_at(2 * n);
            let (first, second) = (first.split_at(n), second.split_at(n));
            let weights = first.0.iter().zip(first.1).zip(second.0.iter().zip(second.1));
            for (sum, ((a, b), (c, d))) in output.iter_mut().zip(weights) {
                *sum = *sum + four[0] * a + four[1] * b + four[2] * c + four[3] * d;
            }
        }
        for (value, weights) in rest.iter().zip(last.chunks_exact(n)) {
            add_scaled(output, weights, *value);
        }
    }
}

/// A linear layer.
#[derive(Debug, Clone)]
struct Layer {
    weights: Matrix,
    bias: Vec<f32>,
}

impl Layer {
    fn of(&self, input: &[f32]) -> Vec<f32> {
        let mut output = self.bias.clone();
        self.weights.add(input, &mut output);
        output
    }

    /// One layer with the outputs of both.
    fn beside(&self, other: &Self) -> Self {
        let (left, right) = (&self.weights, &other.weights);
        let rows = left
            .values
            .chunks_exact(left.n_columns)
            .zip(right.values.chunks_exact(right.n_columns));
        Self {
            weights: Matrix {
                values: rows.flat_map(|(left, right)| [left, right].concat()).collect(),
                n_columns: left.n_columns + right.n_columns,
            },
            bias: [self.bias.as_slice(), &other.bias].concat(),
        }
    }
}

fn floats<const D: usize>(tensor: &Param<Tensor<D>>) -> Vec<f32> {
    tensor.val().into_data().iter::<f32>().collect()
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, ModuleMapper};
    use burn::tensor::activation::softmax;
    use burn::tensor::{Device, TensorData};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::encoding::Batch;
    use crate::network::{NetworkConfig, unit};

    /// Draws every weight, those that start at zero too.
    struct Draw(ChaCha8Rng);

    impl Draw {
        /// Between 0 and 1 for the table, which is of probabilities, else around 0.
        fn values(&mut self, n: usize, low: f32) -> Vec<f32> {
            (0..n).map(|_| low + (1.0 - low) * unit(&mut self.0)).collect()
        }
    }

    impl ModuleMapper for Draw {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let shape = param.dims();
            let values = self.values(shape.iter().product(), -0.8);
            Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &param.device()))
        }
    }

    fn network(config: &NetworkConfig, seed: u64) -> QualityNetwork {
        let device = Device::flex();
        let mut draw = Draw(ChaCha8Rng::seed_from_u64(seed));
        let ensemble = config.clone().with_n_members(1).init(seed, &device).map(&mut draw);
        let mut network = ensemble.members.into_iter().next().unwrap();
        let mut table = Vec::new();
        for _ in 0..config.n_tasks * config.n_tiers {
            let mass = draw.values(GRID_POINTS, 0.001);
            let total: f32 = mass.iter().sum();
            table.extend(mass.into_iter().map(|mass| mass / total));
        }
        let shape = [config.n_tasks, config.n_tiers * GRID_POINTS];
        network.task_base = Param::from_tensor(Tensor::from_data(TensorData::new(table, shape), &device));
        network
    }

    fn close(found: impl IntoIterator<Item = f64>, wanted: &Tensor<1>) {
        let found: Vec<f64> = found.into_iter().collect();
        let wanted: Vec<f32> = wanted.to_data().iter::<f32>().collect();
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.into_iter().zip(wanted) {
            let wanted = f64::from(wanted);
            assert!(
                (found - wanted).abs() < 1e-6 * wanted.abs().max(1.0),
                "{found} {wanted}"
            );
        }
    }

    #[test]
    fn it_says_what_the_module_says() {
        let config = NetworkConfig::new(7, 9, 3, 4).with_d_hidden(12);
        for seed in 0..20 {
            let network = network(&config, seed);
            let member = Member::new(&network);
            let mut draw = Draw(ChaCha8Rng::seed_from_u64(1000 + seed));
            let n_ngrams = seed as usize % 4;
            let row = Encoded {
                dense: draw.values(7, -1.0),
                key: Vec::new(),
                ngrams: [1, 5, 8][..n_ngrams.min(3)].to_vec(),
                weights: draw.values(n_ngrams.min(3), 0.0),
            };
            let says = member.says(&row);
            let output = network.forward(Batch::new(&[&row], &Device::flex()), None);
            close(
                says.quality.as_flattened().iter().copied(),
                &output.quality.flatten(0, 2),
            );
            let single = |values: &[f32]| -> Vec<f64> { values.iter().copied().map(f64::from).collect() };
            close(single(&says.length_mean), &output.length_mean.flatten(0, 1));
            close(single(&says.length_std), &output.length_log_std.exp().flatten(0, 1));
            close(single(&says.tasks), &softmax(output.task, 1).flatten(0, 1));
        }
    }

    #[test]
    fn extreme_coefficients_stay_a_distribution() {
        for coefficients in [[1e4, -1e4, 1e4], [-300.0, 0.0, 0.0], [0.0; N_SHAPES]] {
            let mass = exponential_family(&[1.0 / GRID_POINTS as f32; GRID_POINTS], &coefficients);
            assert!((mass.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{coefficients:?}");
        }
    }
}
