//! What the training prompts were like, in some ten kilobytes: the reference that traffic is compared with.
//!
//! Training makes it and the checkpoint keeps it; `observation::drift` compares windows of the journal with it.
//! It holds counts and means, and no row can be read back from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tiercast_statistics::fourier::{self, Frequencies, Spread};

use crate::features::Features;

mod signal;

#[cfg(test)]
mod tests;

pub use signal::Signal;

/// Version of this file; a reader refuses others by name.
pub const REFERENCE_VERSION: u32 = 1;

/// Rows that are kept while fitting: beyond twice as many, half of them are left out.
const ROWS: usize = 10_000;
/// Tasks that are told apart; the rarer ones are [`OTHER`].
const TASKS: usize = 64;
/// Directions of the embedding's kernel, so twice as many features.
const DIRECTIONS: usize = 64;
/// Rows whose distances give the kernel its bandwidth.
const BANDWIDTH_ROWS: usize = 64;
/// Seed of the directions.
const SEED: u64 = 0x7469_6572;

/// Name of the tasks that are not told apart.
pub const OTHER: &str = "(other)";

/// A summary of many rows of features. Valid however it came to be: made by [`Reference::fit`] or read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Reference(Parts);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Parts {
    version: u32,
    feature_version: u32,
    n_rows: u64,
    signals: Vec<Signal>,
    /// Rows by task, of those that have one.
    tasks: BTreeMap<String, u64>,
    embedding: Option<EmbeddingSummary>,
}

/// Mean of random Fourier features of the embeddings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingSummary {
    /// Length of an embedding.
    pub dim: usize,
    /// Directions of the kernel.
    pub n_directions: usize,
    /// Standard deviation of the kernel: the median distance of two rows.
    pub bandwidth: f32,
    /// Seed of the directions.
    pub seed: u64,
    /// Mean of the features, shape (2 `n_directions`).
    pub mean: Vec<f32>,
    /// Sum of the eigenvalues of their covariance.
    pub trace: f32,
    /// Root of the sum of the squared eigenvalues.
    pub frobenius: f32,
    /// Largest eigenvalue.
    pub largest: f32,
}

/// Why a stored reference cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// Written by another version of this program.
    #[error("the reference has version {0}, this program reads version {REFERENCE_VERSION}: train the checkpoint anew")]
    Version(u32),
    /// Its parts contradict each other.
    #[error("the reference is damaged: {0}; train the checkpoint anew")]
    Damaged(&'static str),
}

impl Reference {
    /// Summary of rows of features with their tasks, where they have one. `names` are those of the surface signals;
    /// rows with another number of signals, or with one that is no number, are left out. `None` where no row is left.
    ///
    /// Memory does not grow with the number of rows: of many, some 10,000 to 20,000 are kept.
    pub fn fit<'a>(
        feature_version: u32,
        names: &[&str],
        rows: impl Iterator<Item = (&'a Features, Option<&'a str>)>,
    ) -> Option<Self> {
        let is_whole =
            |row: &Features| row.surface.len() == names.len() && row.surface.iter().all(|value| value.is_finite());
        let rows = thinned(rows.filter(|(features, _)| is_whole(features)));
        let signal = |(at, name): (usize, &&str)| {
            let values = rows.iter().map(|(features, _)| features.surface[at]).collect();
            Signal::fit(name, values)
        };
        let dim = rows.iter().map(|(features, _)| features.embedding.len()).max()?;
        let embeddings: Vec<Vec<f32>> = rows
            .iter()
            .filter(|(features, _)| dim > 0 && features.embedding.len() == dim)
            .map(|(features, _)| unit_steps(&features.embedding))
            .collect();
        Some(Self(Parts {
            version: REFERENCE_VERSION,
            feature_version,
            n_rows: rows.len() as u64,
            signals: names.iter().enumerate().map(signal).collect(),
            tasks: task_counts(rows.iter().filter_map(|(_, task)| *task)),
            embedding: (!embeddings.is_empty()).then(|| EmbeddingSummary::fit(&embeddings)),
        }))
    }

    /// Version of the features.
    pub fn feature_version(&self) -> u32 {
        self.0.feature_version
    }

    /// Rows behind it: those that were kept while fitting.
    pub fn n_rows(&self) -> u64 {
        self.0.n_rows
    }

    /// The surface signals, in their order.
    pub fn signals(&self) -> &[Signal] {
        &self.0.signals
    }

    /// Rows by task, of those that have one.
    pub fn tasks(&self) -> &BTreeMap<String, u64> {
        &self.0.tasks
    }

    /// The embeddings, where there were any.
    pub fn embedding(&self) -> Option<&EmbeddingSummary> {
        self.0.embedding.as_ref()
    }
}

impl EmbeddingSummary {
    /// Of one row at least, all equally long.
    fn fit(embeddings: &[Vec<f32>]) -> Self {
        let dim = embeddings[0].len();
        let bandwidth = median_distance(embeddings);
        let frequencies = Frequencies::new(dim, DIRECTIONS, bandwidth, SEED);
        let features: Vec<Vec<f32>> = embeddings.iter().map(|row| frequencies.features(row)).collect();
        let (mean, spread) = fourier::mean_and_spread(&features);
        Self {
            dim,
            n_directions: DIRECTIONS,
            bandwidth,
            seed: SEED,
            mean: mean.into_iter().map(|value| value as f32).collect(),
            trace: spread.trace as f32,
            frobenius: spread.frobenius as f32,
            largest: spread.largest as f32,
        }
    }

    /// The directions of its kernel. Takes a millisecond: make them once.
    pub fn frequencies(&self) -> Frequencies {
        Frequencies::new(self.dim, self.n_directions, self.bandwidth, self.seed)
    }

    /// Spread of the features.
    pub fn spread(&self) -> Spread {
        Spread {
            trace: f64::from(self.trace),
            frobenius: f64::from(self.frobenius),
            largest: f64::from(self.largest),
        }
    }
}

/// An embedding as stored, in steps of 1/256, as numbers.
pub fn unit_steps(embedding: &[i8]) -> Vec<f32> {
    embedding.iter().map(|step| f32::from(*step) / 256.0).collect()
}

/// At most twice [`ROWS`], at random by their position: tasks may alternate, so every second one would not do.
fn thinned<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    let (mut kept, mut step) = (Vec::new(), 1_u64);
    for (at, item) in (0_u64..).zip(items) {
        if mixed(at).is_multiple_of(step) {
            kept.push((at, item));
        }
        if kept.len() >= 2 * ROWS {
            step *= 2;
            kept.retain(|(at, _)| mixed(*at).is_multiple_of(step));
        }
    }
    kept.into_iter().map(|(_, item)| item).collect()
}

/// SplitMix64 of Steele, Lea and Flood (2014).
fn mixed(at: u64) -> u64 {
    let state = (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// Rows by task, the rarer ones together.
fn task_counts<'a>(tasks: impl Iterator<Item = &'a str>) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for task in tasks {
        *counts.entry(task).or_default() += 1;
    }
    let mut ranked: Vec<(&str, u64)> = counts.into_iter().collect();
    ranked.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let rest = ranked.split_off(ranked.len().min(TASKS));
    let mut kept: BTreeMap<String, u64> = ranked.into_iter().map(|(task, n)| (task.to_owned(), n)).collect();
    if !rest.is_empty() {
        *kept.entry(OTHER.to_owned()).or_default() += rest.iter().map(|(_, n)| n).sum::<u64>();
    }
    kept
}

/// Median distance of pairs of evenly spread rows (Gretton et al. 2012, section 8); 1 where most rows are equal.
fn median_distance(rows: &[Vec<f32>]) -> f32 {
    // Odd, because rows of several tiers or tasks often alternate.
    let step = rows.len().div_ceil(BANDWIDTH_ROWS) | 1;
    let some: Vec<&Vec<f32>> = rows.iter().step_by(step).collect();
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
    let mut distances: Vec<f32> = (some.iter().enumerate())
        .flat_map(|(at, a)| some[..at].iter().map(move |b| distance(a, b)))
        .collect();
    distances.sort_by(f32::total_cmp);
    match distances.get(distances.len() / 2) {
        Some(median) if *median > 0.0 => *median,
        _ => 1.0,
    }
}

impl From<Reference> for Parts {
    fn from(reference: Reference) -> Self {
        reference.0
    }
}

impl TryFrom<Parts> for Reference {
    type Error = ReferenceError;

    fn try_from(parts: Parts) -> Result<Self, ReferenceError> {
        if parts.version != REFERENCE_VERSION {
            return Err(ReferenceError::Version(parts.version));
        }
        let damaged = |what| Err(ReferenceError::Damaged(what));
        if parts.n_rows == 0 {
            return damaged("it rests on no row");
        }
        if !parts.signals.iter().all(|signal| signal.is_valid(parts.n_rows)) {
            return damaged("a signal's bins are not in order or do not count every row");
        }
        if !parts.embedding.iter().all(EmbeddingSummary::is_valid) {
            return damaged("the summary of the embeddings has figures that are none, or too few");
        }
        Ok(Self(parts))
    }
}

impl EmbeddingSummary {
    /// Bounds also keep a damaged file from asking for much memory.
    fn is_valid(&self) -> bool {
        let figures = [self.trace, self.frobenius, self.largest];
        (1..=8192).contains(&self.dim)
            && (1..=4096).contains(&self.n_directions)
            && self.mean.len() == 2 * self.n_directions
            && self.bandwidth.is_finite()
            && self.bandwidth > 0.0
            && figures.iter().all(|figure| figure.is_finite() && *figure >= 0.0)
            && self.mean.iter().all(|value| value.is_finite())
    }
}
