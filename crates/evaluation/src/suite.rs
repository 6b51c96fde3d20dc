//! Measures a suite: one split, or out-of-fold forecasts pooled and measured once.
//!
//! A fold rewrites the splits of one table of outcomes, so prompt indices are those of every fold.
//! Baselines are fitted per fold on the rows that tiercast was trained on, then pooled alike.

use std::collections::{BTreeMap, BTreeSet};

use tiercast_routing::distribution::{GRID, GRID_POINTS, QualityDistribution};
use tiercast_statistics::curve::strong_first;
use tiercast_statistics::score::crps;

use crate::baselines::{self, Predicted};
use crate::evaluate;
use crate::interval::dot;
use crate::method::{Method, Replicated};
use crate::report::{Estimate, MethodKind, Report};
use crate::study::{EvaluationError, Inputs, Study, Table};
use crate::two_tier::two_tier;

pub mod result;

/// Name of the baseline that sends long prompts to the dearer tier and learns nothing.
const UNTRAINED: &str = "length_untrained";

/// A report with the replicates of its headline figure.
pub struct Measured {
    /// All figures.
    pub report: Report,
    /// Which figure leads.
    pub headline: Headline,
    /// Per method, in the order of the report: the headline on each replicate.
    pub(crate) replicates: Vec<Vec<f64>>,
    /// Per method: APGR of ranks within each fold, and its replicates. Pooled and two tiers only.
    pub(crate) within_folds: Vec<Option<(f64, Vec<f64>)>>,
    /// CRPS of tiercast minus that of the histogram of each tier's training outcomes.
    pub(crate) crps_minus_histogram: Option<Estimate>,
}

/// The figure that a suite is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Headline {
    /// Average performance gap recovered, two tiers (A.1).
    Apgr,
    /// Mean quality over all budgets on linear cost (A.2).
    Aiq,
}

impl Headline {
    /// For a heading.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apgr => "APGR",
            Self::Aiq => "AIQ",
        }
    }
}

/// Baselines fitted on one fold or several: predicted quality per tested prompt.
#[derive(Default)]
pub struct Baselines {
    /// By name, in the order of their first fold.
    fitted: Vec<Fitted>,
    notes: BTreeSet<String>,
}

struct Fitted {
    name: String,
    label: String,
    kind: MethodKind,
    settings: Vec<String>,
    /// Per prompt: a value per tier.
    quality: BTreeMap<usize, Vec<f64>>,
}

impl Baselines {
    /// Fits on the train and validation rows of `inputs`, predicts the rows of its split.
    pub fn fit(inputs: &Inputs<'_>, progress: &dyn Fn(&str)) -> Result<Self, EvaluationError> {
        let study = Study::new(inputs)?;
        let (predicted, notes) = baselines::fit_all(&study, progress);
        let fitted = predicted.into_iter().map(|predicted| Fitted {
            quality: rows(&predicted.items, &study.items.prompts),
            name: predicted.name,
            label: predicted.label,
            kind: predicted.kind,
            settings: vec![predicted.setting],
        });
        Ok(Self {
            fitted: fitted.collect(),
            notes: notes.into_iter().collect(),
        })
    }

    /// Takes in the predictions of another fold.
    pub fn extend(&mut self, other: Self) {
        self.notes.extend(other.notes);
        for fitted in other.fitted {
            match self.fitted.iter_mut().find(|held| held.name == fitted.name) {
                Some(held) => {
                    held.quality.extend(fitted.quality);
                    held.settings.extend(fitted.settings);
                }
                None => self.fitted.push(fitted),
            }
        }
    }
}

fn rows(table: &Table, prompts: &[usize]) -> BTreeMap<usize, Vec<f64>> {
    let row = |(item, prompt): (usize, &usize)| (*prompt, table.row(item).to_vec());
    prompts.iter().enumerate().map(row).collect()
}

/// Measures the rows of one split, with baselines fitted on its train rows.
pub fn measure(inputs: &Inputs<'_>, progress: &dyn Fn(&str)) -> Result<Measured, EvaluationError> {
    let study = Study::new(inputs)?;
    let (predicted, notes) = baselines::fit_all(&study, progress);
    Ok(measured(&study, predicted, notes, None, progress))
}

/// Measures forecasts that were made without their rows: `inputs` has the tested rows of every fold
/// in its split and none in train or validation. `folds` has the fold of each prompt.
pub fn measure_pooled(
    inputs: &Inputs<'_>,
    baselines: &Baselines,
    folds: &[usize],
    progress: &dyn Fn(&str),
) -> Result<Measured, EvaluationError> {
    let study = Study::new(inputs)?;
    let mut notes: Vec<String> = baselines.notes.iter().cloned().collect();
    notes.push(
        "Forecasts are out of fold: every row was predicted by networks and baselines fitted on others.".to_owned(),
    );
    let predicted = baselines
        .fitted
        .iter()
        .filter_map(|fitted| pooled(&study, fitted))
        .collect();
    Ok(measured(&study, predicted, notes, Some(folds), progress))
}

/// `None` where some fold could not fit it.
fn pooled(study: &Study<'_>, fitted: &Fitted) -> Option<Predicted> {
    let row = |prompt: &usize| fitted.quality.get(prompt).cloned();
    let items: Vec<Vec<f64>> = study.items.prompts.iter().map(row).collect::<Option<_>>()?;
    let settings: BTreeSet<&str> = fitted
        .settings
        .iter()
        .map(String::as_str)
        .filter(|s| !s.is_empty())
        .collect();
    Some(Predicted {
        name: fitted.name.clone(),
        label: fitted.label.clone(),
        kind: fitted.kind,
        setting: settings.into_iter().collect::<Vec<_>>().join("; "),
        validation: Table::from_rows(study.n_tiers, &[]),
        items: Table::from_rows(study.n_tiers, &items),
    })
}

fn measured(
    study: &Study<'_>,
    mut predicted: Vec<Predicted>,
    notes: Vec<String>,
    folds: Option<&[usize]>,
    progress: &dyn Fn(&str),
) -> Measured {
    predicted.extend((study.n_tiers == 2).then(|| untrained_length(study)));
    let methods = evaluate::methods(study, predicted);
    let (report, replicated) = evaluate::report(study, &methods, notes, progress);
    let within_folds = |method: &Method| within_folds(study, method.scores.as_ref()?, folds?);
    let headline = if study.n_tiers == 2 {
        Headline::Apgr
    } else {
        Headline::Aiq
    };
    let of = |replicated: Replicated| match headline {
        Headline::Apgr => replicated.apgr,
        Headline::Aiq => replicated.aiq,
    };
    Measured {
        report,
        headline,
        replicates: replicated.into_iter().map(of).collect(),
        within_folds: methods.iter().map(within_folds).collect(),
        crps_minus_histogram: crps_minus_histogram(study),
    }
}

/// Paired on the replicates of all other figures; `None` without training rows.
fn crps_minus_histogram(study: &Study<'_>) -> Option<Estimate> {
    let histograms: Vec<QualityDistribution> = (0..study.n_tiers)
        .map(|tier| histogram(&study.train.quality.column(tier)))
        .collect::<Option<_>>()?;
    let mut by_group = vec![0.0; study.group_sizes.len()];
    for (item, prompt) in study.items.prompts.iter().enumerate() {
        for (tier, forecast) in study.inputs.forecasts[*prompt].iter().enumerate() {
            let of = |quality: &QualityDistribution| crps(&GRID, &quality.cdf(), study.items.quality.at(item, tier));
            by_group[study.groups[item]] += of(&forecast.quality) - of(&histograms[tier]);
        }
    }
    let n_tiers = study.n_tiers as f64;
    let mean = |weights: &[f64]| dot(weights, &by_group) / dot(weights, &study.group_sizes) / n_tiers;
    Some(study.replicates.estimate(mean))
}

/// Outcomes at their nearest grid points.
fn histogram(qualities: &[f64]) -> Option<QualityDistribution> {
    let mut mass = [0.0; GRID_POINTS];
    let point = |quality: &f64| (quality.clamp(0.0, 1.0) * (GRID_POINTS - 1) as f64).round() as usize;
    qualities.iter().for_each(|quality| mass[point(quality)] += 1.0);
    QualityDistribution::new(mass).ok()
}

/// APGR with each fold ranked by itself. Pooled scores compare folds with each other too, and there
/// a fold that is hard is forecast from the easier others: a constant then falls below random.
fn within_folds(study: &Study<'_>, scores: &[f64], folds: &[usize]) -> Option<(f64, Vec<f64>)> {
    let of_item: Vec<usize> = study.items.prompts.iter().map(|prompt| folds[*prompt]).collect();
    let all: Vec<usize> = (0..scores.len()).collect();
    let (two_tier, replicates) = two_tier(study, &ranks(scores, &of_item), &all);
    Some((two_tier.apgr?.value, replicates))
}

/// Rank of each score inside its fold, in (0, 1); equal scores share the mean of theirs.
fn ranks(scores: &[f64], folds: &[usize]) -> Vec<f64> {
    let mut ranks = vec![0.0; scores.len()];
    for fold in folds.iter().copied().collect::<BTreeSet<usize>>() {
        let inside: Vec<usize> = (0..scores.len()).filter(|item| folds[*item] == fold).collect();
        let of_fold: Vec<f64> = inside.iter().map(|item| scores[*item]).collect();
        let mut n_above = 0.0;
        for block in strong_first(&of_fold) {
            let size = block.len() as f64;
            let rank = 1.0 - (n_above + size / 2.0) / of_fold.len() as f64;
            block.iter().for_each(|place| ranks[inside[*place]] = rank);
            n_above += size;
        }
    }
    ranks
}

/// Longer is harder, with nothing learned: what the published figures for prompt length mean. Only
/// the order counts, so the gain is the logarithm of the tokens scaled into [0, 1].
fn untrained_length(study: &Study<'_>) -> Predicted {
    let gain = |prompt: &usize| {
        let tokens = f64::from(study.inputs.features[*prompt].ask_tokens);
        tokens.ln_1p() / f64::from(u32::MAX).ln_1p()
    };
    let row = |prompt: &usize| {
        let mut row = vec![1.0; study.n_tiers];
        row[study.references.cheapest] -= gain(prompt);
        row
    };
    let table = |prompts: &[usize]| Table::from_rows(study.n_tiers, &prompts.iter().map(row).collect::<Vec<_>>());
    Predicted {
        name: UNTRAINED.to_owned(),
        label: "Prompt length, untrained".to_owned(),
        kind: MethodKind::Learned,
        setting: "nothing is fitted: longer is harder".to_owned(),
        validation: table(&study.validation.prompts),
        items: table(&study.items.prompts),
    }
}

#[cfg(test)]
mod tests;
