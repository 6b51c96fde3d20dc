//! How a checkpoint came about: counts, figures on `validation`, what was masked.

use std::collections::BTreeMap;

use tiercast_predictor::checkpoint::Provenance;
use tiercast_records::outcomes::{CostKind, Outcomes};
use tiercast_routing::evidence::Assessment;

use crate::dataset::Row;
use crate::fit::{Epoch, Phase};
use crate::prepare::Prepared;
use crate::train::TrainOptions;

/// With fewer training outcomes the estimate of a tier is called the prior's.
const FEW_OUTCOMES: usize = 20;

/// What the model card says of the validation rows.
pub(crate) fn validation_figures(curves: &[Epoch], assessments: &[Assessment], rows: &[Row]) -> BTreeMap<String, f64> {
    let best: Vec<f64> = curves
        .iter()
        .filter(|epoch| epoch.best && epoch.phase == Phase::Quality)
        .map(|epoch| epoch.validation_score)
        .collect();
    let mut squares = Vec::new();
    for (assessment, row) in assessments.iter().zip(rows) {
        for (forecast, answer) in assessment.forecasts.iter().zip(&row.answers) {
            squares.extend(answer.map(|answer| (forecast.quality.mean() - answer.score).powi(2)));
        }
    }
    BTreeMap::from([
        (
            "crps_of_best_member".to_owned(),
            best.into_iter().fold(f64::INFINITY, f64::min),
        ),
        (
            "brier".to_owned(),
            squares.iter().sum::<f64>() / squares.len().max(1) as f64,
        ),
    ])
}

/// What the manifest says of how the checkpoint came about.
pub(crate) fn provenance(
    outcomes: &Outcomes,
    models: &[usize],
    prepared: &Prepared,
    options: &TrainOptions,
    validation: BTreeMap<String, f64>,
) -> Provenance {
    Provenance {
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: options.fit.seed,
        device: format!("{:?}", options.device).to_lowercase(),
        encoder: options.encoder.clone(),
        data: options.data.clone(),
        counts: counts(prepared),
        tasks: prepared.tasks.clone(),
        validation,
        notes: notes(outcomes, models, prepared, options),
    }
}

fn counts(prepared: &Prepared) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::from([
        ("train_prompts".to_owned(), prepared.train.len()),
        ("validation_prompts".to_owned(), prepared.validation.len()),
        ("known_ngrams".to_owned(), prepared.encoding.ngram_hashes.len()),
    ]);
    if !prepared.certifying.is_empty() {
        counts.insert("certifying_prompts".to_owned(), prepared.certifying.len());
    }
    counts
}

/// What was masked, per tier.
fn notes(outcomes: &Outcomes, models: &[usize], prepared: &Prepared, options: &TrainOptions) -> Vec<String> {
    let mut notes = Vec::new();
    for (tier, name) in options.tiers.iter().enumerate() {
        let n = prepared.train.iter().filter(|row| row.answers[tier].is_some()).count();
        if n < FEW_OUTCOMES {
            notes.push(format!(
                "{name}: {n} outcomes in train; its estimate is mostly the prior, which is what all tiers together did"
            ));
        }
        if prepared.lengths[tier].std == 0.0 {
            notes.push(format!(
                "{name}: output tokens are absent or constant; masked in the cost head"
            ));
        }
        let mut partial: Vec<CostKind> = outcomes
            .outcomes
            .iter()
            .filter(|row| row.model == models[tier] && !row.cost_kind.is_whole())
            .map(|row| row.cost_kind)
            .collect();
        partial.sort_unstable();
        partial.dedup();
        if !partial.is_empty() {
            let kinds: Vec<String> = partial.iter().map(|kind| kind.name().to_owned()).collect();
            notes.push(format!(
                "{name}: rows with partial cost ({}) are masked in the cost head",
                kinds.join(", ")
            ));
        }
    }
    notes
}
