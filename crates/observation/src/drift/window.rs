//! Requests that are compared together.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use tiercast_records::features::Features;
use tiercast_records::journal::{Label, Served};

use super::finding::Moment;

/// What a window keeps of a request.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) at: Moment,
    /// Hash of the session, where there is one.
    session: Option<u64>,
    /// Whether the era's checkpoint predicted.
    pub(super) is_current: bool,
    pub(super) feature_version: u32,
    /// Signals and embedding alone, where features are kept.
    pub(super) features: Option<Features>,
    pub(super) task: Label,
    pub(super) task_is_told: bool,
    /// The tier that was chosen and its predicted quality.
    pub(super) chosen: Option<(Label, f32)>,
    /// Predicted quality by tier.
    pub(super) predicted: Vec<(Label, f32)>,
}

impl Row {
    pub(super) fn new(row: &Served, is_current: bool, at: Moment) -> Self {
        let of = |features: &Features| Features {
            surface: features.surface.clone(),
            embedding: features.embedding.clone(),
            ..Features::default()
        };
        let predicted = row.tiers.iter().map(|tier| (tier.tier.clone(), tier.quality_mean));
        Self {
            at,
            session: row.session.as_deref().map(hash),
            is_current,
            feature_version: row.feature_version,
            features: row.features.as_ref().map(of),
            task: row.task.clone(),
            task_is_told: row.task_is_told,
            chosen: row
                .tiers
                .get(row.chosen)
                .map(|tier| (tier.tier.clone(), tier.quality_mean)),
            predicted: predicted.collect(),
        }
    }
}

/// Requests since the last window, one of each session: an agent's loop is one observation and not a hundred.
#[derive(Debug, Default)]
pub(super) struct Window {
    rows: Vec<Row>,
    sessions: HashSet<u64>,
}

impl Window {
    pub(super) fn add(&mut self, row: Row) {
        if row.session.is_none_or(|session| self.sessions.insert(session)) {
            self.rows.push(row);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Another checkpoint predicts: forecasts of the rows so far are those of the one before.
    pub(super) fn begin_anew(&mut self) {
        self.rows.iter_mut().for_each(|row| row.is_current = false);
    }

    /// The rows, and an empty window.
    pub(super) fn close(&mut self) -> Vec<Row> {
        self.sessions.clear();
        std::mem::take(&mut self.rows)
    }
}

fn hash(session: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    session.hash(&mut hasher);
    hasher.finish()
}
