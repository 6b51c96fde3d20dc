//! Fits the answer-aware estimate of a cascade: logistic views of judged replies, stacked on rows that
//! they were not fitted on, Platt-scaled on validation. What was tried: `evals/cascade`.

use std::collections::BTreeMap;

use rayon::prelude::*;
use tiercast_predictor::answers::{
    AnswerHead, Head, Inputs, Linear, N_FIGURES, N_STACKED, Reply, SIGNS_VERSION, Scaling, SparseRow, Stack, Views,
    Vocabulary, stacked,
};
use tiercast_predictor::calibration::Platt;
use tiercast_statistics::logistic::Logistic;

use crate::calibrate::platt_of;
use crate::folds::fold_of_key;

#[cfg(test)]
mod tests;

/// Judged training replies under which nothing is learnt.
pub const LEAST_REPLIES: usize = 50;
/// A tier with fewer is estimated as the pool of all tiers.
const LEAST_OF_TIER: usize = 200;
/// A stack that needs some evidence is fitted where this many replies have it.
const LEAST_WITH_EVIDENCE: usize = 50;
/// Folds out of which the stacked logits are made.
const N_FOLDS: usize = 5;

/// Pull of the weights on the figures to 0: precision of a normal prior, that is 1 / C.
const FIGURES_PRECISION: f64 = 100.0;
/// The same on the n-grams, whose rows have unit length.
const NGRAMS_PRECISION: f64 = 1.0;
/// The same on the stacked logits.
const STACK_PRECISION: f64 = 1.0;

/// Weights are whole steps, which halves their file; the noise of the fit is far larger.
const STEP: f64 = 1e-4;
/// An n-gram column has to be hit by this many training replies to be known.
const LEAST_HITS: u32 = 3;
/// A figure whose standard deviation is smaller is constant.
const LEAST_SPREAD: f64 = 1e-6;
/// Pull of the Platt scaling to none, in rows.
const PLATT_PRIOR_ROWS: f64 = 10.0;

/// A reply that was judged.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// Position of its tier in the catalog.
    pub tier: usize,
    /// Key of the bare question: replies to one question are left out together.
    pub split_key: &'a str,
    /// The reply.
    pub reply: Reply<'a>,
    /// Quality in [0, 1].
    pub score: f64,
}

/// Why there is no estimate.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AnswersError {
    /// Too few training replies.
    #[error(
        "{found} judged replies with text in the train split; the cascade needs at least {LEAST_REPLIES}: add outcomes with a `response` column"
    )]
    TooFew {
        /// What there is.
        found: usize,
    },
    /// A reply of a tier that the catalog does not have.
    #[error("a reply is of tier {tier}, but there are {n_tiers} tiers")]
    UnknownTier {
        /// Its position.
        tier: usize,
        /// Tiers of the catalog.
        n_tiers: usize,
    },
}

/// Fits on `train`, calibrates on `validation`; forecasts of both are by parts that were not fitted on
/// the row. The same rows give the same head on any number of threads.
pub fn fit_answers(
    train: &[Judged<'_>],
    validation: &[Judged<'_>],
    n_tiers: usize,
) -> Result<AnswerHead, AnswersError> {
    if train.len() < LEAST_REPLIES {
        return Err(AnswersError::TooFew { found: train.len() });
    }
    if let Some(judged) = train.iter().chain(validation).find(|judged| judged.tier >= n_tiers) {
        let tier = judged.tier;
        return Err(AnswersError::UnknownTier { tier, n_tiers });
    }
    let inputs = inputs(train);
    let (scaling, vocabulary) = (fit_scaling(&inputs), fit_vocabulary(&inputs));
    let rows = rows(train, &inputs, &scaling, &vocabulary);
    let sizes = [N_FIGURES, vocabulary.columns.len()];
    let own_tiers = tiers_of_their_own(train, n_tiers);
    let out_of_fold = out_of_fold(&rows, &own_tiers, sizes);
    let all: Vec<&Row<'_>> = rows.iter().collect();
    let level = Level::fit(&all, &own_tiers, sizes);
    let head = |views: Views, is_in: &dyn Fn(usize) -> bool, of: fn(&Stacked) -> &[f32; N_STACKED]| {
        let members: Vec<_> = (0..rows.len()).filter(|row| is_in(rows[*row].tier)).collect();
        let of_row = |row: &usize| (of(&out_of_fold[*row]), &rows[*row]);
        fit_head(views, &members.iter().map(of_row).collect::<Vec<_>>())
    };
    let pooled = head(level.pooled, &|_| true, |stacked| &stacked.pooled);
    let own = |(tier, views): (usize, Option<Views>)| {
        views.map(|views| head(views, &|other| other == tier, |stacked| &stacked.own))
    };
    let tiers = level.tiers.into_iter().enumerate().map(own).collect();
    let head = AnswerHead {
        signs_version: SIGNS_VERSION,
        scaling,
        vocabulary,
        pooled,
        tiers,
    };
    Ok(calibrated(head, validation))
}

/// A training row.
struct Row<'a> {
    tier: usize,
    fold: usize,
    score: f64,
    inputs: &'a Inputs,
    figures: SparseRow,
    ngrams: SparseRow,
}

fn inputs(judged: &[Judged<'_>]) -> Vec<Inputs> {
    judged.par_iter().map(|judged| Inputs::of(&judged.reply)).collect()
}

fn rows<'a>(judged: &[Judged<'_>], inputs: &'a [Inputs], scaling: &Scaling, vocabulary: &Vocabulary) -> Vec<Row<'a>> {
    let row = |(judged, inputs): (&Judged<'_>, &'a Inputs)| Row {
        tier: judged.tier,
        fold: fold_of_key(judged.split_key, N_FOLDS),
        score: judged.score,
        inputs,
        figures: scaling.row(&inputs.figures),
        ngrams: vocabulary.row(&inputs.ngrams),
    };
    judged.par_iter().zip(inputs).map(row).collect()
}

/// Whether each tier has enough replies for views of its own; a single tier is the pool.
fn tiers_of_their_own(train: &[Judged<'_>], n_tiers: usize) -> Vec<bool> {
    let mut counts = vec![0; n_tiers];
    for judged in train {
        counts[judged.tier] += 1;
    }
    let is_alone = counts.iter().filter(|count| **count > 0).count() < 2;
    counts
        .iter()
        .map(|count| !is_alone && *count >= LEAST_OF_TIER)
        .collect()
}

fn fit_scaling(inputs: &[Inputs]) -> Scaling {
    let columns: Vec<Vec<f32>> = (0..N_FIGURES)
        .map(|column| inputs.iter().map(|inputs| inputs.figures[column]).collect())
        .collect();
    scaling_of(&columns)
}

fn scaling_of(columns: &[Vec<f32>]) -> Scaling {
    let (mean, scale) = columns.iter().map(|values| scale(values)).unzip();
    Scaling { mean, scale }
}

fn scale(values: &[f32]) -> (f32, f32) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / n;
    let variance = values
        .iter()
        .map(|value| (f64::from(*value) - mean).powi(2))
        .sum::<f64>()
        / n;
    let spread = variance.sqrt();
    (
        mean as f32,
        if spread < LEAST_SPREAD {
            0.0
        } else {
            (1.0 / spread) as f32
        },
    )
}

/// Columns that enough replies hit, with ln((1 + n) / (1 + hits)) + 1 as idf.
fn fit_vocabulary(inputs: &[Inputs]) -> Vocabulary {
    let mut hits: BTreeMap<u16, u32> = BTreeMap::new();
    for (column, _) in inputs.iter().flat_map(|inputs| &inputs.ngrams) {
        *hits.entry(*column).or_default() += 1;
    }
    let known = hits.into_iter().filter(|(_, count)| *count >= LEAST_HITS);
    let idf = |count: u32| ((1.0 + inputs.len() as f64) / (1.0 + f64::from(count))).ln() + 1.0;
    let (columns, idf) = known.map(|(column, count)| (column, idf(count) as f32)).unzip();
    Vocabulary { columns, idf }
}

/// Views of all tiers together and of those with enough replies.
struct Level {
    pooled: Views,
    tiers: Vec<Option<Views>>,
}

impl Level {
    fn fit(rows: &[&Row<'_>], own_tiers: &[bool], sizes: [usize; 2]) -> Self {
        let of_tier = |tier: usize| -> Vec<&Row<'_>> { rows.iter().copied().filter(|row| row.tier == tier).collect() };
        let own = |(tier, is_own): (usize, &bool)| is_own.then(|| fit_views(&of_tier(tier), sizes));
        Self {
            pooled: fit_views(rows, sizes),
            tiers: own_tiers.par_iter().enumerate().map(own).collect(),
        }
    }
}

fn fit_views(rows: &[&Row<'_>], [n_figures, n_ngrams]: [usize; 2]) -> Views {
    let targets: Vec<f64> = rows.iter().map(|row| row.score).collect();
    let figures: Vec<SparseRow> = rows.iter().map(|row| row.figures.clone()).collect();
    let ngrams: Vec<SparseRow> = rows.iter().map(|row| row.ngrams.clone()).collect();
    let (figures, ngrams) = rayon::join(
        || linear(&figures, &targets, n_figures, FIGURES_PRECISION),
        || linear(&ngrams, &targets, n_ngrams, NGRAMS_PRECISION),
    );
    Views { figures, ngrams }
}

/// A logistic regression whose weights have a normal prior of this precision.
fn linear(rows: &[SparseRow], targets: &[f64], n_columns: usize, precision: f64) -> Linear {
    let fitted = Logistic::fit(rows, targets, n_columns, precision / rows.len().max(1) as f64);
    let short = |weight: &f64| ((weight / STEP).round() * STEP) as f32;
    let (weights, intercept) = fitted.coefficients().split_at(n_columns);
    Linear {
        intercept: short(&intercept[0]),
        weights: weights.iter().map(short).collect(),
    }
}

/// What views say of a row that they were not fitted on.
struct Stacked {
    own: [f32; N_STACKED],
    pooled: [f32; N_STACKED],
}

fn out_of_fold(rows: &[Row<'_>], own_tiers: &[bool], sizes: [usize; 2]) -> Vec<Stacked> {
    let mut found: Vec<Option<Stacked>> = rows.iter().map(|_| None).collect();
    for fold in 0..N_FOLDS {
        let rest: Vec<&Row<'_>> = rows.iter().filter(|row| row.fold != fold).collect();
        let level = Level::fit(&rest, own_tiers, sizes);
        for (row, found) in rows.iter().zip(&mut found).filter(|(row, _)| row.fold == fold) {
            *found = Some(look(&level, row));
        }
    }
    found
        .into_iter()
        .map(|stacked| stacked.expect("each row is in one fold"))
        .collect()
}

fn look(level: &Level, row: &Row<'_>) -> Stacked {
    let of = |views, pooled| stacked(views, pooled, &row.figures, &row.ngrams, row.inputs);
    let pooled = level.pooled.figures.logit(&row.figures);
    Stacked {
        own: of(level.tiers[row.tier].as_ref().unwrap_or(&level.pooled), Some(pooled)),
        pooled: of(&level.pooled, None),
    }
}

/// One stack without evidence, and one per kind of evidence that enough rows have.
fn fit_head(views: Views, rows: &[(&[f32; N_STACKED], &Row<'_>)]) -> Head {
    let mut stacks = Vec::new();
    for (mean_logprob, agreement) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut stack = Stack {
            mean_logprob,
            agreement,
            scaling: scaling_of(&[]),
            linear: Linear {
                intercept: 0.0,
                weights: Vec::new(),
            },
        };
        let suited: Vec<_> = rows.iter().filter(|(_, row)| stack.suits(row.inputs)).collect();
        if suited.len() >= LEAST_WITH_EVIDENCE || (!mean_logprob && !agreement) {
            fit_stack(&mut stack, &suited);
            stacks.push(stack);
        }
    }
    Head {
        views,
        stacks,
        platt: Platt::IDENTITY,
    }
}

fn fit_stack(stack: &mut Stack, rows: &[&(&[f32; N_STACKED], &Row<'_>)]) {
    let column = |at: usize| rows.iter().map(|(values, _)| values[at]).collect();
    let mut scaling = scaling_of(&(0..N_STACKED).map(column).collect::<Vec<Vec<f32>>>());
    // Evidence that this stack does not need has no weight, even where some rows have it.
    for (at, is_on) in [(4, stack.mean_logprob), (5, stack.agreement)] {
        scaling.scale[at] *= f32::from(u8::from(is_on));
    }
    let scaled: Vec<SparseRow> = rows.iter().map(|(values, _)| scaling.row(values.as_slice())).collect();
    let targets: Vec<f64> = rows.iter().map(|(_, row)| row.score).collect();
    stack.linear = linear(&scaled, &targets, N_STACKED, STACK_PRECISION);
    stack.scaling = scaling;
}

/// With the Platt scaling that makes it right on validation, per tier of its own and for the pool.
fn calibrated(mut head: AnswerHead, validation: &[Judged<'_>]) -> AnswerHead {
    let raw: Vec<f64> = validation
        .par_iter()
        .map(|judged| head.raw(judged.tier, &Inputs::of(&judged.reply)))
        .collect();
    let fit = |is_in: &dyn Fn(usize) -> bool| {
        let events = validation.iter().zip(&raw).filter(|(judged, _)| is_in(judged.tier));
        let events: Vec<_> = events.map(|(judged, raw)| (*raw, judged.score, 1.0)).collect();
        platt_of(&events, Platt::IDENTITY, PLATT_PRIOR_ROWS)
    };
    let has_own: Vec<bool> = head.tiers.iter().map(Option::is_some).collect();
    head.pooled.platt = fit(&|tier| !has_own[tier]);
    for (tier, own) in head.tiers.iter_mut().enumerate() {
        if let Some(own) = own {
            own.platt = fit(&|other| other == tier);
        }
    }
    head
}
