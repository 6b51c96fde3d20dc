//! Baselines: what simple predictors of quality reach on the same rows.
//!
//! Each is fitted on `train`, with its settings chosen on `validation` by the Brier score. They
//! predict quality only; cost is forecast by the checkpoint for all alike.

mod knn;
mod label_table;
mod prompt_length;
mod tfidf;

use rayon::prelude::*;
use tiercast_statistics::score::brier;

use crate::report::MethodKind;
use crate::study::{Rows, Study, Table};

/// Predicted mean quality of a baseline.
pub(crate) struct Predicted {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) kind: MethodKind,
    pub(crate) setting: String,
    pub(crate) validation: Table,
    pub(crate) items: Table,
}

/// Fits all baselines that the data allows; the second value says which are absent and why.
pub(crate) fn fit_all(study: &Study<'_>, progress: &dyn Fn(&str)) -> (Vec<Predicted>, Vec<String>) {
    if study.train.is_empty() {
        return (
            Vec::new(),
            vec!["Learned baselines are absent: the file has no training rows.".to_owned()],
        );
    }
    let mut notes = Vec::new();
    progress("baseline: prompt length");
    let mut fitted = vec![prompt_length::fit(study)];
    progress("baseline: TF-IDF");
    match tfidf::fit(study) {
        Some(predicted) => fitted.push(predicted),
        None => notes.push("The TF-IDF baseline is absent: the features hold no word n-grams.".to_owned()),
    }
    progress("baseline: nearest neighbours");
    let neighbours = knn::fit(study);
    if neighbours.is_none() {
        notes.push("The nearest-neighbour baseline is absent: the features hold no embedding.".to_owned());
    }
    let (neighbours, shuffled) = neighbours.unzip();
    fitted.extend(neighbours);
    progress("baseline: label tables");
    fitted.extend(label_table::fit(study));
    fitted.push(shuffled.unwrap_or_else(|| label_table::fit_shuffled(study)));
    (fitted, notes)
}

/// A prediction per tier for every row.
fn predict(study: &Study<'_>, rows: &Rows, predict_one: impl Fn(usize) -> Vec<f64> + Sync) -> Table {
    let predicted: Vec<Vec<f64>> = rows.prompts.par_iter().map(|prompt| predict_one(*prompt)).collect();
    Table::from_rows(study.n_tiers, &predicted)
}

/// Of candidate predictions on validation, the index of that with the lowest Brier score; the
/// middle one without validation rows.
fn choose(study: &Study<'_>, candidates: &[Table]) -> usize {
    if study.validation.is_empty() {
        return candidates.len() / 2;
    }
    let scores: Vec<f64> = candidates
        .iter()
        .map(|table| brier(table.values(), study.validation.quality.values()))
        .collect();
    (0..scores.len())
        .min_by(|a, b| scores[*a].total_cmp(&scores[*b]))
        .unwrap_or(0)
}

/// The rows of `table` in an order drawn from the seed: labels without their questions.
fn shuffled(table: &Table, seed: u64) -> Table {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..table.n_items()).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, rng.random_range(0..=last));
    }
    let rows: Vec<Vec<f64>> = order.into_iter().map(|item| table.row(item).to_vec()).collect();
    Table::from_rows(table.row(0).len(), &rows)
}
