//! Outcome rows and features to training rows: one per prompt, all tiers side by side.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use tiercast_predictor::encoding::{Batch, Encoded, Encoding};
use tiercast_predictor::network::NetworkConfig;
use tiercast_records::features::Features;
use tiercast_records::outcomes::{Outcome, Outcomes, Prompt, Split};

use crate::loss::{N_CELLS, Targets, share_above};

/// A task label needs this many training prompts to get a place in the auxiliary head.
const LEAST_TASK_PROMPTS: usize = 20;

/// Spread of ln(1 + output tokens) under which a tier's lengths count as constant.
const LEAST_LENGTH_SPREAD: f64 = 1e-3;

/// What one tier did on one prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// Quality in [0, 1].
    pub score: f64,
    /// Tokens of the reply, where they cover the whole reply.
    pub output_tokens: Option<f64>,
    /// Tokens of the reply as recorded, hidden ones perhaps missing.
    pub visible_tokens: Option<f64>,
    /// Tokens of the prompt as this tier counts them.
    pub input_tokens: Option<f64>,
    /// US dollars, where known.
    pub cost_usd: Option<f64>,
}

/// One prompt with the answers of all tiers.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Network inputs.
    pub encoded: Encoded,
    /// Index into the features given.
    pub prompt: usize,
    /// Per tier; `None` where it did not answer.
    pub answers: Vec<Option<Answer>>,
    /// Position in [`tasks`]'s list.
    pub task: Option<usize>,
}

/// Mean and spread of ln(1 + output tokens) of one tier; a spread of 0 where tokens are absent or
/// constant, which masks the tier in the length head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LengthScale {
    /// Mean.
    pub mean: f64,
    /// Standard deviation, or 0.
    pub std: f64,
}

/// Names of the tasks that the auxiliary head learns: `dataset/subset` of training prompts.
pub fn tasks(prompts: &[&Prompt]) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for prompt in prompts {
        *counts.entry(task_name(prompt)).or_default() += 1;
    }
    counts
        .into_iter()
        .filter(|(_, count)| *count >= LEAST_TASK_PROMPTS)
        .map(|(name, _)| name)
        .collect()
}

fn task_name(prompt: &Prompt) -> String {
    let label = if prompt.subset.is_empty() {
        &prompt.domain
    } else {
        &prompt.subset
    };
    format!("{}/{label}", prompt.dataset)
}

/// The rows of one split with at least one answer of the given models, in order of prompts.
pub fn rows(
    outcomes: &Outcomes,
    features: &[Features],
    models: &[usize],
    split: Split,
    encoding: &Encoding,
    tasks: &[String],
) -> Vec<Row> {
    let mut answers: BTreeMap<usize, Vec<Option<Answer>>> = BTreeMap::new();
    for outcome in outcomes
        .outcomes
        .iter()
        .filter(|outcome| outcomes.prompts[outcome.prompt].split == split)
    {
        let Some(tier) = models.iter().position(|model| *model == outcome.model) else {
            continue;
        };
        answers
            .entry(outcome.prompt)
            .or_insert_with(|| vec![None; models.len()])[tier] = Some(answer(outcome));
    }
    let row = |(prompt, answers)| Row {
        encoded: encoding.encode(&features[prompt]),
        prompt,
        answers,
        task: tasks.binary_search(&task_name(&outcomes.prompts[prompt])).ok(),
    };
    answers.into_iter().map(row).collect()
}

fn answer(outcome: &Outcome) -> Answer {
    Answer {
        score: outcome.score,
        output_tokens: outcome
            .output_tokens
            .filter(|_| outcome.cost_kind.is_whole())
            .map(f64::from),
        visible_tokens: outcome.output_tokens.map(f64::from),
        input_tokens: outcome.input_tokens.map(f64::from),
        cost_usd: outcome.cost_usd,
    }
}

/// Scale of the lengths of one tier on the training rows. Where no row has whole token counts the
/// mean of the visible ones stands in, as a constant and a lower bound.
pub fn length_scale(rows: &[Row], tier: usize) -> LengthScale {
    let answers = || rows.iter().filter_map(|row| row.answers[tier]);
    let whole: Vec<f64> = answers()
        .filter_map(|answer| answer.output_tokens)
        .map(log_tokens)
        .collect();
    if let Some(mean) = mean(&whole) {
        let std = (whole.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / whole.len() as f64).sqrt();
        return LengthScale {
            mean,
            std: if std < LEAST_LENGTH_SPREAD { 0.0 } else { std },
        };
    }
    let visible: Vec<f64> = answers().filter_map(|answer| answer.visible_tokens).collect();
    LengthScale {
        mean: mean(&visible).map_or(0.0, log_tokens),
        std: 0.0,
    }
}

fn log_tokens(tokens: f64) -> f64 {
    (1.0 + tokens).ln()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Stacks rows into network inputs and targets.
pub fn batch(rows: &[&Row], config: &NetworkConfig, lengths: &[LengthScale], device: &Device) -> (Batch, Targets) {
    let encoded: Vec<&Encoded> = rows.iter().map(|row| &row.encoded).collect();
    (
        Batch::new(&encoded, device),
        targets(rows, config.n_tiers, lengths, device),
    )
}

fn targets(rows: &[&Row], n_tiers: usize, lengths: &[LengthScale], device: &Device) -> Targets {
    let n = rows.len();
    let mut above = Vec::with_capacity(n * n_tiers * N_CELLS);
    let (mut answered, mut length, mut length_known) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        for (answer, scale) in row.answers.iter().zip(lengths) {
            above.extend(answer.map_or([0.0; N_CELLS], |answer| share_above(answer.score)));
            answered.push(f32::from(answer.is_some()));
            let tokens = answer
                .and_then(|answer| answer.output_tokens)
                .filter(|_| scale.std > 0.0);
            length.push(tokens.map_or(0.0, |tokens| (((1.0 + tokens).ln() - scale.mean) / scale.std) as f32));
            length_known.push(f32::from(tokens.is_some()));
        }
    }
    let per_tier = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, [n, n_tiers]), device);
    let task: Vec<i32> = rows.iter().map(|row| row.task.unwrap_or(0) as i32).collect();
    let task_known: Vec<f32> = rows.iter().map(|row| f32::from(row.task.is_some())).collect();
    Targets {
        above: Tensor::from_data(TensorData::new(above, [n, n_tiers, N_CELLS]), device),
        answered: per_tier(answered),
        length: per_tier(length),
        length_known: per_tier(length_known),
        task: Tensor::from_data(TensorData::new(task, [n, 1]), device),
        task_known: Tensor::from_data(TensorData::new(task_known, [n, 1]), device),
    }
}
