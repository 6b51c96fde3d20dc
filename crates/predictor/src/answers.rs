//! The answer-aware estimate of a cascade: how good is this reply, now that it has been seen?
//!
//! Signs of the reply and of its question, its n-grams, the forecast that was made before asking, and
//! where given its log-probabilities and its agreement with other samples, stacked and calibrated.
//! `trainer::answers` fits; the server and the evaluation ask [`AnswerHead::quality`].

use serde::{Deserialize, Serialize};
use tiercast_records::features::Features;

use crate::calibration::{Platt, logit};
use crate::ngrams::ngrams;
use crate::surface::{self, cut};

mod agreement;
mod arithmetic;
mod conclusion;
mod numbers;
pub mod signs;
mod work;

#[cfg(test)]
mod tests;

pub use agreement::agreement;

/// Changes whenever the signs of some reply change; a head serves one version.
pub const SIGNS_VERSION: u32 = 1;

/// Hashed n-grams fall into this many columns.
pub const NGRAM_COLUMNS: u32 = 1 << 14;

/// Signs are cut to this many standard deviations: a reply of a million numbers is not certain.
const MOST_DEVIATIONS: f32 = 4.0;

/// Figures that do not depend on the data's n-grams: signs, surface signals of the question, forecast.
pub const N_FIGURES: usize = signs::N + surface::NAMES.len() + 1;

/// Inputs of a stack: own signs, pooled signs, n-grams, forecast, log-probability, agreement.
pub const N_STACKED: usize = 6;

/// A reply, and what is known of it besides.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// The ask that it answers.
    pub question: &'a str,
    /// Features of the ask.
    pub features: &'a Features,
    /// Expected quality of the tier on the ask, forecast before the reply was seen; for training,
    /// by parts that were not fitted on the ask.
    pub forecast: f64,
    /// The reply's text.
    pub text: &'a str,
    /// Mean log-probability of the reply's tokens, in nats.
    pub mean_logprob: Option<f64>,
    /// Share in [0, 1] of other samples of the same tier that conclude the same.
    pub agreement: Option<f64>,
}

/// A reply in figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    /// [`N_FIGURES`] figures.
    pub figures: Vec<f32>,
    /// Columns of the n-grams with their counts, by column.
    pub ngrams: Vec<(u16, u32)>,
    /// Logit of the forecast.
    pub forecast: f64,
    /// See [`Reply::mean_logprob`]; what is not finite counts as not given.
    pub mean_logprob: Option<f64>,
    /// See [`Reply::agreement`].
    pub agreement: Option<f64>,
}

impl Inputs {
    /// Time grows with the texts up to [`surface::ASK_BYTES`] and no further.
    pub fn of(reply: &Reply<'_>) -> Self {
        let forecast = if reply.forecast.is_finite() {
            reply.forecast
        } else {
            0.5
        };
        // Two decimals of doubt: a forecast is never worth a certainty.
        let forecast = logit(forecast.clamp(0.01, 0.99));
        let mut figures = signs::signs(reply.question, reply.text);
        // Features of another version are refused where they are read.
        figures.extend(reply.features.surface.iter().copied().take(surface::NAMES.len()));
        figures.resize(N_FIGURES - 1, 0.0);
        figures.push(forecast as f32);
        Self {
            figures,
            ngrams: columns(reply.text),
            forecast,
            mean_logprob: reply.mean_logprob.filter(|value| value.is_finite()),
            agreement: reply
                .agreement
                .filter(|value| value.is_finite())
                .map(|value| value.clamp(0.0, 1.0)),
        }
    }
}

fn columns(text: &str) -> Vec<(u16, u32)> {
    // Without the characters' n-grams, which only add noise here (`evals/cascade`).
    let found = ngrams(&cut(text)).words;
    let column = |hash: u32| u16::try_from(hash % NGRAM_COLUMNS).expect("2^14 columns fit");
    let mut all: Vec<(u16, u32)> = found
        .iter()
        .map(|(hash, count)| (column(*hash), u32::from(*count)))
        .collect();
    all.sort_unstable();
    all.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        kept.1 += if is_same { next.1 } else { 0 };
        is_same
    });
    all
}

/// A row of a linear model: (column, value).
pub type SparseRow = Vec<(u32, f32)>;

/// Centre and scale of the figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// Means on the training replies.
    pub mean: Vec<f32>,
    /// One over the standard deviations; 0 for figures that were constant.
    pub scale: Vec<f32>,
}

impl Scaling {
    /// The figures in standard deviations, cut.
    pub fn row(&self, figures: &[f32]) -> SparseRow {
        let scaled = figures.iter().zip(&self.mean).zip(&self.scale);
        scaled
            .enumerate()
            .map(|(column, ((x, mean), scale))| {
                (
                    column as u32,
                    ((x - mean) * scale).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS),
                )
            })
            .filter(|(_, value)| *value != 0.0)
            .collect()
    }
}

/// The columns of n-grams that are known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vocabulary {
    /// In ascending order, below [`NGRAM_COLUMNS`].
    pub columns: Vec<u16>,
    /// Inverse document frequency of each.
    pub idf: Vec<f32>,
}

impl Vocabulary {
    /// (1 + ln count) x idf, of unit length; positions in the vocabulary are the columns.
    pub fn row(&self, ngrams: &[(u16, u32)]) -> SparseRow {
        let known = |(column, count): &(u16, u32)| {
            let at = self.columns.binary_search(column).ok()?;
            Some((at as u32, (1.0 + (*count as f32).ln()) * self.idf[at]))
        };
        let mut row: SparseRow = ngrams.iter().filter_map(known).collect();
        let length = row.iter().map(|(_, value)| value * value).sum::<f32>().sqrt();
        row.iter_mut().for_each(|(_, value)| *value /= length);
        row
    }
}

/// A linear model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Added to all.
    pub intercept: f32,
    /// One per column.
    pub weights: Vec<f32>,
}

impl Linear {
    /// Intercept + weights x row. Columns without a weight count nothing.
    pub fn logit(&self, row: &[(u32, f32)]) -> f64 {
        let of = |(column, value): &(u32, f32)| {
            let weight = self.weights.get(*column as usize).copied().unwrap_or(0.0);
            f64::from(weight) * f64::from(*value)
        };
        f64::from(self.intercept) + row.iter().map(of).sum::<f64>()
    }
}

/// Two linear models of one kind of replies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Views {
    /// On the scaled figures.
    pub figures: Linear,
    /// On the n-grams.
    pub ngrams: Linear,
}

/// How the views are weighed where certain evidence is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// Needs the mean log-probability.
    pub mean_logprob: bool,
    /// Needs the agreement.
    pub agreement: bool,
    /// Of the stacked inputs.
    pub scaling: Scaling,
    /// On the scaled inputs.
    pub linear: Linear,
}

impl Stack {
    /// Whether all that it needs is given.
    pub fn suits(&self, inputs: &Inputs) -> bool {
        (!self.mean_logprob || inputs.mean_logprob.is_some()) && (!self.agreement || inputs.agreement.is_some())
    }
}

/// The estimate for one tier, or for all that have too few judged replies of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Fitted on the replies of this tier.
    pub views: Views,
    /// The plainest first; the last that suits is used.
    pub stacks: Vec<Stack>,
    /// Fitted on validation.
    pub platt: Platt,
}

/// What a stack reads; `pooled` is the logit of the figures of all tiers' replies.
pub fn stacked(
    views: &Views,
    pooled: Option<f64>,
    row: &[(u32, f32)],
    ngrams: &[(u32, f32)],
    inputs: &Inputs,
) -> [f32; N_STACKED] {
    let own = views.figures.logit(row);
    [
        own as f32,
        pooled.unwrap_or(own) as f32,
        views.ngrams.logit(ngrams) as f32,
        inputs.forecast as f32,
        inputs.mean_logprob.unwrap_or(0.0) as f32,
        inputs.agreement.unwrap_or(0.0) as f32,
    ]
}

/// The fitted estimate of all tiers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerHead {
    /// [`SIGNS_VERSION`] of the fit.
    pub signs_version: u32,
    /// Of the figures.
    pub scaling: Scaling,
    /// Of the n-grams.
    pub vocabulary: Vocabulary,
    /// Over the replies of all tiers.
    pub pooled: Head,
    /// Per tier, where it had enough judged replies and is not the only one.
    pub tiers: Vec<Option<Head>>,
}

impl AnswerHead {
    /// E\[quality\] of a reply of a tier, in [0, 1].
    pub fn quality(&self, tier: usize, reply: &Reply<'_>) -> f64 {
        self.quality_of(tier, &Inputs::of(reply))
    }

    /// The same of a reply whose figures are at hand.
    pub fn quality_of(&self, tier: usize, inputs: &Inputs) -> f64 {
        let raw = self.raw(tier, inputs);
        let platt = self
            .tiers
            .get(tier)
            .and_then(Option::as_ref)
            .unwrap_or(&self.pooled)
            .platt;
        platt.survival(1.0 / (1.0 + (-raw).exp()))
    }

    /// Logit before the Platt scaling, which is fitted on it.
    pub fn raw(&self, tier: usize, inputs: &Inputs) -> f64 {
        let own = self.tiers.get(tier).and_then(Option::as_ref);
        let head = own.unwrap_or(&self.pooled);
        let (row, ngrams) = (self.scaling.row(&inputs.figures), self.vocabulary.row(&inputs.ngrams));
        let pooled = own.map(|_| self.pooled.views.figures.logit(&row));
        let values = stacked(&head.views, pooled, &row, &ngrams, inputs);
        let stack = head.stacks.iter().rfind(|stack| stack.suits(inputs));
        // Without a stack, which `check` refuses, the forecast stands.
        stack.map_or(inputs.forecast, |stack| stack.linear.logit(&stack.scaling.row(&values)))
    }

    /// Says what is wrong with a head that was read from a file, if anything.
    pub fn check(&self, n_tiers: usize) -> Result<(), String> {
        if self.signs_version != SIGNS_VERSION {
            let found = self.signs_version;
            return Err(format!(
                "made for version {found} of the signs, this program makes {SIGNS_VERSION}: train the cascade anew"
            ));
        }
        if self.tiers.len() != n_tiers {
            return Err(format!(
                "{} tiers, the catalog has {n_tiers}: train the cascade anew",
                self.tiers.len()
            ));
        }
        let vocabulary = &self.vocabulary;
        if !vocabulary.columns.is_sorted_by(|a, b| a < b) || vocabulary.columns.len() != vocabulary.idf.len() {
            return Err("n-gram columns are not ascending or not as many as their idf".to_owned());
        }
        check_finite("vocabulary.idf", &vocabulary.idf)?;
        check_scaling("scaling", &self.scaling, N_FIGURES)?;
        check_head("pooled", &self.pooled, vocabulary.columns.len())?;
        for (tier, head) in self.tiers.iter().enumerate() {
            if let Some(head) = head {
                check_head(&format!("tiers[{tier}]"), head, vocabulary.columns.len())?;
            }
        }
        Ok(())
    }
}

fn check_head(place: &str, head: &Head, n_ngrams: usize) -> Result<(), String> {
    check_linear(&format!("{place}.views.figures"), &head.views.figures, N_FIGURES)?;
    check_linear(&format!("{place}.views.ngrams"), &head.views.ngrams, n_ngrams)?;
    let plain = head
        .stacks
        .first()
        .is_some_and(|stack| !stack.mean_logprob && !stack.agreement);
    if !plain {
        return Err(format!("{place}.stacks: the first must need no evidence"));
    }
    for (at, stack) in head.stacks.iter().enumerate() {
        check_scaling(&format!("{place}.stacks[{at}].scaling"), &stack.scaling, N_STACKED)?;
        check_linear(&format!("{place}.stacks[{at}].linear"), &stack.linear, N_STACKED)?;
    }
    let Platt { slope, offset } = head.platt;
    if slope.is_finite() && slope > 0.0 && offset.is_finite() {
        Ok(())
    } else {
        Err(format!("{place}.platt: slope {slope}, offset {offset} is out of range"))
    }
}

fn check_linear(place: &str, linear: &Linear, n_columns: usize) -> Result<(), String> {
    check_length(place, linear.weights.len(), n_columns)?;
    check_finite(place, &linear.weights)?;
    check_finite(place, &[linear.intercept])
}

fn check_scaling(place: &str, scaling: &Scaling, n_columns: usize) -> Result<(), String> {
    check_length(place, scaling.mean.len(), n_columns)?;
    check_length(place, scaling.scale.len(), n_columns)?;
    check_finite(place, &scaling.mean)?;
    check_finite(place, &scaling.scale)
}

fn check_length(place: &str, found: usize, wanted: usize) -> Result<(), String> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!(
            "{place} has {found} columns instead of {wanted}: train the cascade anew"
        ))
    }
}

fn check_finite(place: &str, values: &[f32]) -> Result<(), String> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("{place}: {value} is not finite")),
        None => Ok(()),
    }
}
