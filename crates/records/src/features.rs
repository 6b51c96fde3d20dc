//! Features of a prompt as stored: figures from which no text can be read back.
//!
//! `features.parquet` has one row per prompt and says which version of the features it holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod reading;
mod writing;

#[cfg(test)]
mod tests;

pub use reading::read;
pub use writing::write;

/// Key of the version in the file's metadata.
const VERSION_KEY: &str = "tiercast.feature_version";

/// Features of one request. Made by `predictor::features`, stored in `features.parquet`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Features {
    /// Tokens of the ask (WordPiece).
    pub ask_tokens: u32,
    /// Estimated tokens of everything around the ask.
    pub context_tokens: u32,
    /// Surface signals, one per name in `predictor::surface::NAMES`.
    pub surface: Vec<f32>,
    /// Static text embedding of the ask: unit length, in steps of 1/256.
    pub embedding: Vec<i8>,
    /// Transformer embedding of the ask: unit length, in steps of 1/256; empty where none was made.
    pub dense: Vec<i8>,
    /// Hashed word n-grams of the ask, strongest first: (hash, count).
    pub word_ngrams: Vec<(u32, u16)>,
    /// Hashed character n-grams of the ask, strongest first: (hash, count).
    pub char_ngrams: Vec<(u32, u16)>,
}

impl Features {
    /// The same without the transformer's embedding.
    #[must_use]
    pub fn without_dense(mut self) -> Self {
        self.dense.clear();
        self
    }
}

/// A `features.parquet` in memory. The reader compares `version` with the one it computes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FeatureFile {
    /// Version of the code that made the features.
    pub version: u32,
    /// Features by prompt id.
    pub rows: BTreeMap<String, Features>,
}
