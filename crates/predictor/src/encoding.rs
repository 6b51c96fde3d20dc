//! Features to network inputs: what was fitted on the training rows, and nothing more.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use tiercast_records::features::Features;

/// Embeddings come at unit length in steps of this many to one.
const STEPS: f32 = 256.0;

/// Standardised surface signals stay within this, so that one odd prompt cannot dominate.
const SURFACE_LIMIT: f32 = 5.0;

/// How features become numbers for the network. Fitted by `trainer`, stored in the checkpoint.
///
/// A surface signal that never varied in training has scale 0 and is thus without effect: the
/// network cannot know what it means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoding {
    /// Version of the features this was fitted on.
    pub feature_version: u32,
    /// Mean of each surface signal on the training rows.
    pub surface_mean: Vec<f32>,
    /// 1 / standard deviation of each surface signal, 0 for a constant one.
    pub surface_scale: Vec<f32>,
    /// Length of the static text embedding; 0 when that view is off.
    pub embedding_dim: usize,
    /// Length of the transformer's embedding; 0 when there is none.
    pub dense_dim: usize,
    /// Hashes of the n-grams known from training, ascending.
    pub ngram_hashes: Vec<u32>,
    /// Inverse document frequency of each.
    pub ngram_idf: Vec<f32>,
}

/// One encoded row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Encoded {
    /// Standardised surface signals, then the embeddings at unit variance.
    pub dense: Vec<f32>,
    /// What neighbours are looked up by: the transformer's embedding, else the static one.
    pub key: Vec<i8>,
    /// Positions of known n-grams in [`Encoding::ngram_hashes`].
    pub ngrams: Vec<u32>,
    /// TF-IDF weight of each, the row at unit length.
    pub weights: Vec<f32>,
}

impl Encoding {
    /// Length of [`Encoded::dense`].
    pub fn d_dense(&self) -> usize {
        self.surface_mean.len() + self.embedding_dim + self.dense_dim
    }

    /// Length of [`Encoded::key`].
    pub fn d_key(&self) -> usize {
        match self.dense_dim {
            0 => self.embedding_dim,
            dim => dim,
        }
    }

    /// Encodes one row. The features hold a transformer embedding where the encoding has one.
    pub fn encode(&self, features: &Features) -> Encoded {
        let surface = features
            .surface
            .iter()
            .zip(self.surface_mean.iter().zip(&self.surface_scale))
            .map(|(value, (mean, scale))| ((value - mean) * scale).clamp(-SURFACE_LIMIT, SURFACE_LIMIT));
        let embedding = &features.embedding[..self.embedding_dim];
        let transformer = &features.dense[..self.dense_dim];
        let dense = surface
            .chain(unit_variance(embedding))
            .chain(unit_variance(transformer))
            .collect();
        let key = if self.dense_dim > 0 { transformer } else { embedding };
        let (ngrams, mut weights): (Vec<u32>, Vec<f32>) = self.known_ngrams(features).into_iter().unzip();
        let length = weights.iter().map(|weight| weight * weight).sum::<f32>().sqrt();
        if length > 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= length);
        }
        Encoded {
            dense,
            key: key.to_vec(),
            ngrams,
            weights,
        }
    }

    /// Known n-grams with TF-IDF weight (1 + ln count) x idf, in ascending order of position.
    fn known_ngrams(&self, features: &Features) -> Vec<(u32, f32)> {
        let all = features.word_ngrams.iter().chain(&features.char_ngrams);
        let known = all.filter_map(|(hash, count)| {
            let position = self.ngram_hashes.binary_search(hash).ok()?;
            let weight = (1.0 + f32::from(*count).ln()) * self.ngram_idf[position];
            Some((position as u32, weight))
        });
        let mut known: Vec<(u32, f32)> = known.collect();
        known.sort_by_key(|(position, _)| *position);
        // Characters may have the hash of a word; of two weights the last one stands.
        known.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same {
                first.1 = later.1;
            }
            same
        });
        known
    }
}

/// A unit vector of n components has them at a variance of 1 / n.
fn unit_variance(embedding: &[i8]) -> impl Iterator<Item = f32> {
    let scale = (embedding.len() as f32).sqrt() / STEPS;
    embedding.iter().map(move |step| f32::from(*step) * scale)
}

/// Network inputs of `n` rows on a device.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[n, d_dense]`
    pub dense: Tensor<2>,
    /// `[n, n_slots]`, padded with position 0
    pub ngrams: Tensor<2, Int>,
    /// `[n, n_slots]`, padded with weight 0
    pub weights: Tensor<2>,
}

impl Batch {
    /// Stacks rows; `rows` is not empty.
    pub fn new(rows: &[&Encoded], device: &Device) -> Self {
        let n = rows.len();
        let n_slots = rows.iter().map(|row| row.ngrams.len()).max().unwrap_or(0).max(1);
        let d_dense = rows.first().map_or(0, |row| row.dense.len());
        let mut ngrams = vec![0_i32; n * n_slots];
        let mut weights = vec![0.0_f32; n * n_slots];
        for (row_idx, row) in rows.iter().enumerate() {
            let start = row_idx * n_slots;
            for (slot, (position, weight)) in row.ngrams.iter().zip(&row.weights).enumerate() {
                ngrams[start + slot] = *position as i32;
                weights[start + slot] = *weight;
            }
        }
        let dense: Vec<f32> = rows.iter().flat_map(|row| row.dense.iter().copied()).collect();
        Self {
            dense: Tensor::from_data(TensorData::new(dense, [n, d_dense]), device),
            ngrams: Tensor::from_data(TensorData::new(ngrams, [n, n_slots]), device),
            weights: Tensor::from_data(TensorData::new(weights, [n, n_slots]), device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding() -> Encoding {
        Encoding {
            feature_version: 1,
            surface_mean: vec![1.0, 3.0],
            surface_scale: vec![2.0, 0.0],
            embedding_dim: 1,
            dense_dim: 0,
            ngram_hashes: vec![5, 9],
            ngram_idf: vec![1.0, 2.0],
        }
    }

    fn features(surface: [f32; 2]) -> Features {
        Features {
            surface: surface.to_vec(),
            embedding: vec![-128],
            word_ngrams: vec![(9, 1), (7, 3)],
            ..Features::default()
        }
    }

    #[test]
    fn a_signal_that_never_varied_has_no_effect() {
        let usual = encoding().encode(&features([2.0, 3.0]));
        assert_eq!(usual.dense, [2.0, 0.0, -0.5]);
        assert_eq!(usual.key, [-128]);
        assert_eq!(encoding().encode(&features([2.0, 1e9])), usual);
    }

    #[test]
    fn unknown_ngrams_are_left_out() {
        let row = encoding().encode(&features([0.0, 0.0]));
        assert_eq!((row.ngrams, row.weights), (vec![1], vec![1.0]));
    }

    #[test]
    fn of_two_ngrams_with_one_hash_the_characters_stand() {
        let features = Features {
            word_ngrams: vec![(9, 7), (5, 1)],
            char_ngrams: vec![(9, 1)],
            ..features([0.0, 0.0])
        };
        let row = encoding().encode(&features);
        let length = 5.0_f32.sqrt();
        assert_eq!(
            (row.ngrams, row.weights),
            (vec![0, 1], vec![1.0 / length, 2.0 / length])
        );
    }
}
