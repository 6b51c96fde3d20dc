//! Fits the encoding of features on the training rows: scaling of the surface signals, and which
//! n-grams are known.

use std::collections::BTreeMap;

use tiercast_predictor::encoder::EMBEDDING_DIM;
use tiercast_predictor::encoding::Encoding;
use tiercast_predictor::features::FEATURE_VERSION;
use tiercast_predictor::surface::NAMES;
use tiercast_records::features::Features;

use crate::train::TrainOptions;

/// An n-gram has to stand in this many training prompts to be known.
const LEAST_PROMPTS: u32 = 4;

/// Most n-grams kept, the more common first.
const MOST_NGRAMS: usize = 1 << 12;

/// A signal whose standard deviation is smaller is constant.
const LEAST_SPREAD: f64 = 1e-6;

/// Fits on the features of the training prompts alone. A view that is off has no inputs: its signals
/// get scale 0, its embedding no length, its vocabulary no words.
pub fn fit_encoding(train: &[&Features], options: &TrainOptions) -> Encoding {
    let (surface_mean, mut surface_scale): (Vec<f32>, Vec<f32>) =
        (0..NAMES.len()).map(|signal| scaling(train, signal)).unzip();
    if options.is_off("surface") {
        surface_scale.fill(0.0);
    }
    let known = if options.is_off("ngrams") {
        Vec::new()
    } else {
        fit_ngrams(train)
    };
    let (ngram_hashes, ngram_idf) = known.into_iter().unzip();
    Encoding {
        feature_version: FEATURE_VERSION,
        surface_mean,
        surface_scale,
        embedding_dim: if options.is_off("embedding") { 0 } else { EMBEDDING_DIM },
        dense_dim: match train.first() {
            Some(features) if !options.is_off("dense") => features.dense.len(),
            _ => 0,
        },
        ngram_hashes,
        ngram_idf,
    }
}

fn scaling(train: &[&Features], signal: usize) -> (f32, f32) {
    let values = || train.iter().map(|features| f64::from(features.surface[signal]));
    let n = train.len().max(1) as f64;
    let mean = values().sum::<f64>() / n;
    let spread = (values().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
    (
        mean as f32,
        if spread < LEAST_SPREAD {
            0.0
        } else {
            (1.0 / spread) as f32
        },
    )
}

/// Known n-grams in ascending order of hash, with ln((1 + n) / (1 + df)) + 1 as idf.
fn fit_ngrams(train: &[&Features]) -> Vec<(u32, f32)> {
    let mut n_prompts: BTreeMap<u32, u32> = BTreeMap::new();
    for features in train {
        // Word and character n-grams share the hash space; within one prompt each counts once.
        for (hash, _) in features.word_ngrams.iter().chain(&features.char_ngrams) {
            *n_prompts.entry(*hash).or_default() += 1;
        }
    }
    let mut known: Vec<(u32, u32)> = n_prompts
        .into_iter()
        .filter(|(_, count)| *count >= LEAST_PROMPTS)
        .collect();
    known.sort_by_key(|(hash, count)| (std::cmp::Reverse(*count), *hash));
    known.truncate(MOST_NGRAMS);
    known.sort_unstable();
    let n = train.len() as f32;
    known
        .into_iter()
        .map(|(hash, count)| (hash, ((1.0 + n) / (1.0 + count as f32)).ln() + 1.0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(signal: f32, hash: u32) -> Features {
        let mut surface = vec![0.0; NAMES.len()];
        surface[0] = signal;
        Features {
            surface,
            embedding: vec![0; EMBEDDING_DIM],
            word_ngrams: vec![(hash, 1)],
            ..Features::default()
        }
    }

    #[test]
    fn scaling_and_vocabulary() {
        let rows: Vec<Features> = (0..8)
            .map(|row| features(row as f32, if row < 4 { 7 } else { row }))
            .collect();
        let rows: Vec<&Features> = rows.iter().collect();
        let encoding = fit_encoding(&rows, &TrainOptions::default());
        assert_eq!(encoding.surface_mean[0], 3.5);
        assert!((encoding.surface_scale[0] - 1.0 / 5.25_f32.sqrt()).abs() < 1e-6);
        assert_eq!(encoding.surface_scale[1], 0.0, "a constant signal is switched off");
        // Hash 7 stands in five prompts (four, and row 7 itself), the others in one.
        assert_eq!(encoding.ngram_hashes, [7]);
    }
}
