//! The training loop: AdamW on CRPS, early stopping on validation, the best epoch kept.

use burn::grad_clipping::GradientClippingConfig;
use burn::module::{Module, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tiercast_predictor::network::{Ensemble, NetworkConfig, QualityNetwork, unit};
use tiercast_routing::distribution::{GRID, GRID_POINTS};

use crate::dataset::{LengthScale, Row, batch};
use crate::loss::{LossWeights, crps, loss};

/// How to fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FitConfig {
    /// Seed of weights, order and dropout.
    pub seed: u64,
    /// Most passes over the training rows.
    pub max_epochs: usize,
    /// Epochs without a better validation score before stopping.
    pub patience: usize,
    /// Rows per step.
    pub batch_size: usize,
    /// Peak learning rate, reached after the first epoch, then falling as half a cosine.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Share of hidden units dropped in training.
    pub dropout: f32,
    /// Share of n-grams dropped in training.
    pub ngram_dropout: f32,
    /// Weight of the task's cross-entropy.
    pub task_weight: f32,
    /// Weight of the length's likelihood.
    pub length_weight: f32,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            max_epochs: 24,
            patience: 5,
            batch_size: 64,
            learning_rate: 2e-3,
            weight_decay: 0.05,
            dropout: 0.3,
            ngram_dropout: 0.0,
            task_weight: 0.1,
            length_weight: 0.05,
        }
    }
}

/// One point of the learning curves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Member of the ensemble, from 0.
    pub member: usize,
    /// Epoch, from 1.
    pub epoch: usize,
    /// Mean training loss, auxiliary terms included.
    pub train_loss: f64,
    /// CRPS on the validation rows.
    pub validation_crps: f64,
    /// Whether this is the best so far, and so the weights kept.
    pub best: bool,
}

/// The rows to fit on.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    /// For steps.
    pub train: &'a [Row],
    /// For stopping.
    pub validation: &'a [Row],
    /// Scale of the output lengths, per tier.
    pub lengths: &'a [LengthScale],
}

/// Fits all members, one after the other; `report` hears of every epoch.
pub fn fit(
    config: &NetworkConfig,
    options: &FitConfig,
    data: Data<'_>,
    device: &Device,
    report: &mut dyn FnMut(Epoch),
) -> Ensemble {
    let members = (0..config.n_members).map(|member| fit_member(config, options, data, device, member, report));
    Ensemble {
        members: members.collect(),
    }
}

fn fit_member(
    config: &NetworkConfig,
    options: &FitConfig,
    data: Data<'_>,
    device: &Device,
    member: usize,
    report: &mut dyn FnMut(Epoch),
) -> QualityNetwork {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    rng.set_stream(member as u64);
    let training_device = device.clone().autodiff();
    let mut network = config.init_member(&mut rng, &training_device);
    network.base = base_measure(data.train, config.n_tiers, &training_device);
    let mut optimizer = AdamWConfig::new()
        .with_weight_decay(options.weight_decay)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
        .init();
    let weights = LossWeights {
        task: options.task_weight,
        length: options.length_weight,
    };
    let mut order: Vec<usize> = (0..data.train.len()).collect();
    let n_steps = data.train.len().div_ceil(options.batch_size);
    let (mut best, mut best_crps, mut since_best) = (network.valid(), f64::INFINITY, 0);

    for epoch in 1..=options.max_epochs {
        shuffle(&mut order, &mut rng);
        let mut total = 0.0;
        for (step, chunk) in order.chunks(options.batch_size).enumerate() {
            let rows: Vec<&Row> = chunk.iter().map(|row| &data.train[*row]).collect();
            let (mut inputs, targets) = batch(&rows, config, data.lengths, &training_device);
            if options.ngram_dropout > 0.0 {
                let shape = inputs.weights.dims();
                inputs.weights = inputs.weights * dropout_mask(shape, options.ngram_dropout, &mut rng, &training_device);
            }
            let mask = dropout_mask(
                [rows.len(), config.d_hidden],
                options.dropout,
                &mut rng,
                &training_device,
            );
            let value = loss(&network.forward(inputs, Some(mask)), &targets, weights);
            let gradients = GradientsParams::from_grads(value.backward(), &network);
            let rate = learning_rate(options, (epoch - 1) * n_steps + step, n_steps);
            network = optimizer.step(rate, network, gradients);
            total += f64::from(value.into_scalar::<f32>()) * rows.len() as f64;
        }
        let snapshot = network.valid();
        let validation_crps = mean_crps(&snapshot, config, data, device);
        let is_best = validation_crps < best_crps;
        report(Epoch {
            member,
            epoch,
            train_loss: total / data.train.len() as f64,
            validation_crps,
            best: is_best,
        });
        if is_best {
            (best, best_crps, since_best) = (snapshot, validation_crps, 0);
        } else {
            since_best += 1;
        }
        if since_best >= options.patience {
            break;
        }
    }
    best
}

/// Log of each tier's smoothed training histogram: what the network says before it has learnt.
fn base_measure(train: &[Row], n_tiers: usize, device: &Device) -> Param<Tensor<2>> {
    /// Pseudo-count per grid point.
    const SMOOTHING: f64 = 0.05;
    let mut counts = vec![[SMOOTHING; GRID_POINTS]; n_tiers];
    for row in train {
        for (answer, counts) in row.answers.iter().zip(&mut counts) {
            let Some(answer) = answer else { continue };
            // Between two grid points the mass is shared so that the mean is kept.
            let place = answer.score * (GRID_POINTS - 1) as f64;
            let lower = (place.floor() as usize).min(GRID_POINTS - 2);
            counts[lower + 1] += place - lower as f64;
            counts[lower] += 1.0 - (place - lower as f64);
        }
    }
    let logs = counts.iter().flat_map(|counts| {
        let total: f64 = counts.iter().sum();
        counts.map(move |count| (count / total).ln() as f32)
    });
    Param::from_tensor(Tensor::from_data(
        TensorData::new(logs.collect::<Vec<f32>>(), [n_tiers, GRID.len()]),
        device,
    ))
}

/// Linear over the first epoch, then half a cosine down to a twentieth.
fn learning_rate(options: &FitConfig, step: usize, steps_per_epoch: usize) -> f64 {
    let warmup = steps_per_epoch.max(1) as f64;
    let end = (options.max_epochs * steps_per_epoch).max(1) as f64;
    let at = step as f64 + 1.0;
    if at < warmup {
        return options.learning_rate * at / warmup;
    }
    let progress = ((at - warmup) / (end - warmup).max(1.0)).min(1.0);
    options.learning_rate * (0.05 + 0.475 * (1.0 + (std::f64::consts::PI * progress).cos()))
}

/// Fisher-Yates.
fn shuffle(order: &mut [usize], rng: &mut impl Rng) {
    for last in (1..order.len()).rev() {
        order.swap(last, (rng.next_u64() % (last as u64 + 1)) as usize);
    }
}

/// Mask of 0 and 1 / (1 - rate). It comes from our own generator: burn's is shared by all threads.
fn dropout_mask(shape: [usize; 2], rate: f32, rng: &mut impl Rng, device: &Device) -> Tensor<2> {
    let keep = 1.0 / (1.0 - rate);
    let values: Vec<f32> = (0..shape[0] * shape[1])
        .map(|_| if unit(rng) < rate { 0.0 } else { keep })
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// CRPS over the validation rows (over the training rows where there are none).
fn mean_crps(network: &QualityNetwork, config: &NetworkConfig, data: Data<'_>, device: &Device) -> f64 {
    let (mut total, mut n_answers) = (0.0, 0.0);
    for chunk in data.validation.chunks(512) {
        let rows: Vec<&Row> = chunk.iter().collect();
        let (inputs, targets) = batch(&rows, config, data.lengths, device);
        let n: f32 = targets.answered.clone().sum().into_scalar();
        let score: f32 = crps(network.forward(inputs, None).quality, &targets).into_scalar();
        total += f64::from(score * n);
        n_answers += f64::from(n);
    }
    total / n_answers.max(1.0)
}
