//! The training loop: AdamW, first on the task, then on CRPS; each phase stops early on validation
//! and keeps its best epoch.

use burn::grad_clipping::GradientClippingConfig;
use burn::module::{Module, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tiercast_predictor::network::{Dropout, NetworkConfig, QualityNetwork, unit};
use tiercast_routing::distribution::GRID_POINTS;

use crate::dataset::{LengthScale, Row, batch};
use crate::loss::{crps, quality_loss, task_loss};
use crate::tables::{histograms, task_histograms};

/// How to fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FitConfig {
    /// Seed of weights, order and dropout.
    pub seed: u64,
    /// Most passes over the training rows, in each phase.
    pub max_epochs: usize,
    /// Epochs without a better validation score before a phase stops.
    pub patience: usize,
    /// Rows per step.
    pub batch_size: usize,
    /// Peak learning rate of the quality phase, reached after the first epoch.
    pub learning_rate: f64,
    /// Peak learning rate of the task phase.
    pub task_learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Share of hidden units dropped in training.
    pub dropout: f32,
    /// Share of a prompt's n-grams dropped in training.
    pub ngram_dropout: f32,
    /// Share of rows whose guessed task is hidden in training, so that what does not depend on
    /// knowing the task is learnt too.
    pub task_dropout: f32,
    /// Weight of the length's likelihood beside CRPS.
    pub length_weight: f32,
}

impl Default for FitConfig {
    /// Chosen on inner folds of the training rows of the `mmlu_pro` pool, all within noise: `evals/LOG.md`.
    fn default() -> Self {
        Self {
            seed: 0,
            max_epochs: 24,
            patience: 5,
            batch_size: 128,
            learning_rate: 5e-4,
            task_learning_rate: 3e-3,
            weight_decay: 0.05,
            dropout: 0.6,
            ngram_dropout: 0.3,
            task_dropout: 0.1,
            length_weight: 0.05,
        }
    }
}

/// What is being learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The task branch, by cross-entropy.
    Task,
    /// Quality and length, by CRPS and likelihood; the task branch gets no gradient.
    Quality,
}

/// One point of the learning curves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Member of the ensemble, from 0.
    pub member: usize,
    /// What is being learnt.
    pub phase: Phase,
    /// Epoch of the phase, from 1.
    pub epoch: usize,
    /// Mean training loss.
    pub train_loss: f64,
    /// Cross-entropy of the task, or CRPS, on the validation rows.
    pub validation_score: f64,
    /// Whether this is the best so far, and so the weights kept.
    pub best: bool,
}

/// The rows to fit on.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    /// For steps.
    pub train: &'a [&'a Row],
    /// For stopping.
    pub validation: &'a [&'a Row],
    /// Scale of the output lengths, per tier.
    pub lengths: &'a [LengthScale],
}

/// Fits one network; `stream` sets its random numbers apart from those of others of the same seed,
/// and is the `member` of every epoch that `report` hears of.
pub fn fit_one(
    config: &NetworkConfig,
    options: &FitConfig,
    data: Data<'_>,
    stream: usize,
    device: &Device,
    report: &mut dyn FnMut(Epoch),
) -> QualityNetwork {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    rng.set_stream(stream as u64);
    Fit {
        config,
        options,
        data,
        device,
        rng,
    }
    .member(&mut |epoch| {
        report(Epoch {
            member: stream,
            ..epoch
        });
    })
}

/// One member's fit: what stays the same, and its own stream of random numbers.
struct Fit<'a> {
    config: &'a NetworkConfig,
    options: &'a FitConfig,
    data: Data<'a>,
    device: &'a Device,
    rng: ChaCha8Rng,
}

impl Fit<'_> {
    /// The task branch first: the quality branch then learns what the guessed task leaves open.
    /// Learnt together, the quality branch overfits long before the task is known.
    fn member(mut self, report: &mut dyn FnMut(Epoch)) -> QualityNetwork {
        let training_device = self.device.clone().autodiff();
        let mut network = self.config.init_member(&mut self.rng, &training_device);
        network.task_base = task_base(self.data.train, self.config, &training_device);
        if self.config.n_tasks > 1 {
            network = self.phase(Phase::Task, network, report);
        }
        self.phase(Phase::Quality, network, report).valid()
    }

    /// Steps until validation stops improving; returns the best epoch's network.
    fn phase(&mut self, phase: Phase, mut network: QualityNetwork, report: &mut dyn FnMut(Epoch)) -> QualityNetwork {
        let mut optimizer = AdamWConfig::new()
            .with_weight_decay(self.options.weight_decay)
            .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
            .init();
        let mut order: Vec<usize> = (0..self.data.train.len()).collect();
        let n_steps = order.len().div_ceil(self.options.batch_size);
        let (mut best, mut best_score, mut since_best) = (network.clone(), f64::INFINITY, 0);

        for epoch in 1..=self.options.max_epochs {
            shuffle(&mut order, &mut self.rng);
            let mut total = 0.0;
            for (step, chunk) in order.chunks(self.options.batch_size).enumerate() {
                let value = self.loss(phase, &network, chunk);
                let gradients = GradientsParams::from_grads(value.backward(), &network);
                let rate = self.learning_rate(phase, (epoch - 1) * n_steps + step, n_steps);
                network = optimizer.step(rate, network, gradients);
                total += f64::from(value.into_scalar::<f32>()) * chunk.len() as f64;
            }
            let validation_score = self.validation_score(phase, &network.valid());
            let is_best = validation_score < best_score;
            let train_loss = total / order.len() as f64;
            report(Epoch {
                member: 0,
                phase,
                epoch,
                train_loss,
                validation_score,
                best: is_best,
            });
            if is_best {
                (best, best_score, since_best) = (network.clone(), validation_score, 0);
            } else {
                since_best += 1;
            }
            if since_best >= self.options.patience {
                break;
            }
        }
        best
    }

    /// Training loss of a batch, with dropout, `[1]`.
    fn loss(&mut self, phase: Phase, network: &QualityNetwork, chunk: &[usize]) -> Tensor<1> {
        let device = self.device.clone().autodiff();
        let rows: Vec<&Row> = chunk.iter().map(|row| self.data.train[*row]).collect();
        let (mut inputs, targets) = batch(&rows, self.config, self.data.lengths, &device);
        let mut mask = |shape, rate| dropout_mask(shape, rate, &mut self.rng, &device);
        inputs.weights = inputs.weights.clone() * mask(inputs.weights.dims(), self.options.ngram_dropout);
        let hidden = [rows.len(), self.config.d_hidden];
        let dropout = Dropout {
            task: mask(hidden, self.options.dropout),
            quality: mask(hidden, self.options.dropout),
            keep_task: keep_mask(rows.len(), self.options.task_dropout, &mut self.rng, &device),
        };
        let output = network.forward(inputs, Some(dropout));
        match phase {
            Phase::Task => task_loss(&output, &targets),
            Phase::Quality => quality_loss(&output, &targets, self.options.length_weight),
        }
    }

    /// Mean over the validation rows of what the phase minimises: cross-entropy or CRPS.
    fn validation_score(&self, phase: Phase, network: &QualityNetwork) -> f64 {
        let (mut total, mut count) = (0.0, 0.0);
        for chunk in self.data.validation.chunks(512) {
            let (inputs, targets) = batch(chunk, self.config, self.data.lengths, self.device);
            let output = network.forward(inputs, None);
            let (score, mask) = match phase {
                Phase::Task => (task_loss(&output, &targets), targets.task_known),
                Phase::Quality => (crps(output.quality, &targets), targets.answered),
            };
            let n: f32 = mask.sum().into_scalar();
            total += f64::from(score.into_scalar::<f32>() * n);
            count += f64::from(n);
        }
        total / count.max(1.0)
    }

    /// Linear over the first epoch, then half a cosine down to a twentieth.
    fn learning_rate(&self, phase: Phase, step: usize, steps_per_epoch: usize) -> f64 {
        let peak = match phase {
            Phase::Task => self.options.task_learning_rate,
            Phase::Quality => self.options.learning_rate,
        };
        let warmup = steps_per_epoch.max(1) as f64;
        let end = (self.options.max_epochs * steps_per_epoch).max(1) as f64;
        let at = step as f64 + 1.0;
        if at < warmup {
            return peak * at / warmup;
        }
        let progress = ((at - warmup) / (end - warmup).max(1.0)).min(1.0);
        peak * (0.05 + 0.475 * (1.0 + (std::f64::consts::PI * progress).cos()))
    }
}

/// The table of task distributions, or the overall ones where there is one task: what the quality
/// branch says before it has learnt.
fn task_base(train: &[&Row], config: &NetworkConfig, device: &Device) -> Param<Tensor<2>> {
    let base = histograms(train, config.n_tiers);
    let mut tasks = task_histograms(train, config, &base);
    if tasks.is_empty() {
        tasks = vec![base; config.n_tasks];
    }
    let values: Vec<f32> = tasks
        .iter()
        .flat_map(|tiers| tiers.as_flattened())
        .map(|mass| *mass as f32)
        .collect();
    let shape = [config.n_tasks, config.n_tiers * GRID_POINTS];
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device)).set_require_grad(false)
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

/// 1 where a row's guessed task is used, else 0, `[n, 1]`
fn keep_mask(n: usize, rate: f32, rng: &mut impl Rng, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..n).map(|_| if unit(rng) < rate { 0.0 } else { 1.0 }).collect();
    Tensor::from_data(TensorData::new(values, [n, 1]), device)
}
