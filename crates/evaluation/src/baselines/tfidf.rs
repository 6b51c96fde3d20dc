//! TF-IDF of word n-grams and a logistic regression per tier.

use std::collections::BTreeMap;

use rayon::prelude::*;
use tiercast_statistics::logistic::{Logistic, SparseRow};

use super::{Predicted, choose, predict};
use crate::report::MethodKind;
use crate::study::Study;

/// Hashes are folded to this many columns, then numbered as they occur in training.
const N_HASHES: u32 = 1 << 18;

/// Inverse strengths of the penalty, as in scikit-learn: l2 = 1 / (C n).
const STRENGTHS: [f64; 6] = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// Training prompts that a hash must occur in; what occurs once cannot be generalised from.
const MIN_PROMPTS: f32 = 2.0;

/// Number and inverse document frequency per hash known from training.
struct Vocabulary(BTreeMap<u32, (u32, f32)>);

impl Vocabulary {
    /// ln((1 + n) / (1 + documents with the hash)) + 1, over the training prompts.
    fn of(study: &Study<'_>) -> Self {
        let mut counts: BTreeMap<u32, f32> = BTreeMap::new();
        for prompt in &study.train.prompts {
            for hash in folded(&study.inputs.features[*prompt].word_ngrams).into_keys() {
                *counts.entry(hash).or_default() += 1.0;
            }
        }
        counts.retain(|_, count| *count >= MIN_PROMPTS);
        let n = study.train.len() as f32;
        let idf = |count: f32| ((1.0 + n) / (1.0 + count)).ln() + 1.0;
        Self(
            counts
                .into_iter()
                .zip(0..)
                .map(|((hash, count), column)| (hash, (column, idf(count))))
                .collect(),
        )
    }

    /// Unit length; hashes not known from training are dropped.
    fn row(&self, ngrams: &[(u32, u16)]) -> SparseRow {
        let known = |(hash, count): (u32, f32)| {
            self.0
                .get(&hash)
                .map(|(column, idf)| (*column, (1.0 + count.ln()) * idf))
        };
        let mut row: SparseRow = folded(ngrams).into_iter().filter_map(known).collect();
        let length = row
            .iter()
            .map(|(_, value)| value * value)
            .sum::<f32>()
            .sqrt()
            .max(f32::MIN_POSITIVE);
        row.iter_mut().for_each(|(_, value)| *value /= length);
        row
    }
}

fn folded(ngrams: &[(u32, u16)]) -> BTreeMap<u32, f32> {
    let mut counts = BTreeMap::new();
    for (hash, count) in ngrams.iter().filter(|(_, count)| *count > 0) {
        *counts.entry(hash % N_HASHES).or_default() += f32::from(*count);
    }
    counts
}

/// `None` when the training prompts share no n-gram.
pub(super) fn fit(study: &Study<'_>) -> Option<Predicted> {
    let vocabulary = Vocabulary::of(study);
    let n_columns = vocabulary.0.len();
    let row = |prompt: usize| vocabulary.row(&study.inputs.features[prompt].word_ngrams);
    let rows: Vec<SparseRow> = study.train.prompts.par_iter().map(|prompt| row(*prompt)).collect();
    if n_columns == 0 {
        return None;
    }
    let l2 = |strength: f64| 1.0 / (strength * rows.len() as f64);
    let jobs: Vec<(f64, usize)> = STRENGTHS
        .iter()
        .flat_map(|s| (0..study.n_tiers).map(|tier| (*s, tier)))
        .collect();
    let models: Vec<Logistic> = jobs
        .into_par_iter()
        .map(|(strength, tier)| Logistic::fit(&rows, &study.train.quality.column(tier), n_columns, l2(strength)))
        .collect();
    let table = |models: &[Logistic], on| {
        predict(study, on, |prompt| {
            let row = row(prompt);
            models.iter().map(|model| model.predict(&row)).collect()
        })
    };
    let per_strength: Vec<&[Logistic]> = models.chunks(study.n_tiers).collect();
    let mut candidates: Vec<_> = per_strength
        .iter()
        .map(|models| table(models, &study.validation))
        .collect();
    let chosen = choose(study, &candidates);
    Some(Predicted {
        name: "tfidf".to_owned(),
        label: "TF-IDF + logistic".to_owned(),
        kind: MethodKind::Learned,
        setting: format!("C = {} of {STRENGTHS:?}", STRENGTHS[chosen]),
        items: table(per_strength[chosen], &study.items),
        validation: candidates.swap_remove(chosen),
    })
}
