//! Counts of every call, so that a test can account for each: calls = replies + faults + refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tiercast_chat::Usage;

use crate::faults::FaultKind;
use crate::library::Library;

/// Codes of refusals that are counted.
const REFUSALS: [&str; 7] = [
    "invalid_body",
    "model_not_found",
    "prompt_not_recorded",
    "prompt_ambiguous",
    "row_not_recorded",
    "reply_not_recorded",
    "reply_untranslatable",
];

#[derive(Debug, Default)]
pub(crate) struct Stats {
    calls: AtomicU64,
    streamed: AtomicU64,
    by_model: Vec<ModelStats>,
    faults: [AtomicU64; FaultKind::ALL.len()],
    refused: [AtomicU64; REFUSALS.len()],
    abandoned: AtomicU64,
    in_flight: AtomicU64,
    peak: AtomicU64,
}

/// Counts of one model.
#[derive(Debug, Default)]
struct ModelStats {
    calls: AtomicU64,
    replies: AtomicU64,
    abandoned: AtomicU64,
    /// Of replies that were sent to their end, as they tell it.
    input_tokens: AtomicU64,
    cached_input_tokens: AtomicU64,
    output_tokens: AtomicU64,
}

impl ModelStats {
    fn tell(&self, usage: Usage) {
        self.input_tokens.fetch_add(usage.input, Ordering::Relaxed);
        self.cached_input_tokens
            .fetch_add(usage.cached_input, Ordering::Relaxed);
        self.output_tokens.fetch_add(usage.output, Ordering::Relaxed);
    }

    fn json(&self) -> Value {
        json!({
            "calls": value(&self.calls),
            "replies": value(&self.replies),
            "abandoned": value(&self.abandoned),
            "input_tokens": value(&self.input_tokens),
            "cached_input_tokens": value(&self.cached_input_tokens),
            "output_tokens": value(&self.output_tokens),
        })
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Stats {
    pub(crate) fn new(n_models: usize) -> Self {
        Self {
            by_model: (0..n_models).map(|_| ModelStats::default()).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn refused(&self, code: &str) {
        add(&self.calls);
        if let Some(index) = REFUSALS.iter().position(|name| *name == code) {
            add(&self.refused[index]);
        }
    }

    pub(crate) fn found(&self, model: usize, is_streamed: bool, fault: Option<FaultKind>) {
        let counts = &self.by_model[model];
        add(&self.calls);
        add(&counts.calls);
        if is_streamed {
            add(&self.streamed);
        }
        match fault.and_then(|kind| FaultKind::ALL.iter().position(|other| *other == kind)) {
            Some(index) => add(&self.faults[index]),
            None => add(&counts.replies),
        }
    }

    pub(crate) fn json(&self, library: &Library) -> Value {
        let models = library.models().iter().zip(&self.by_model);
        let by_model: BTreeMap<&str, Value> = models.map(|(name, counts)| (name.as_str(), counts.json())).collect();
        let named = |names: &[&'static str], counters: &[AtomicU64]| -> BTreeMap<&'static str, u64> {
            names.iter().copied().zip(counters.iter().map(value)).collect()
        };
        let (pairs, calls_beyond_first) = library.asked();
        json!({
            "calls": value(&self.calls),
            "streamed": value(&self.streamed),
            "models": by_model,
            "faults": named(&FaultKind::ALL.map(FaultKind::name), &self.faults),
            "refused": named(&REFUSALS, &self.refused),
            "pairs": pairs,
            "calls_beyond_first": calls_beyond_first,
            "abandoned": value(&self.abandoned),
            "in_flight": value(&self.in_flight),
            "peak_in_flight": value(&self.peak),
        })
    }
}

/// A call under way; when it is dropped it is over, and abandoned unless it got to its end.
#[derive(Debug)]
pub(crate) struct Flight {
    stats: Arc<Stats>,
    has_ended: bool,
    /// Index of the model that was asked.
    model: Option<usize>,
    /// What the reply tells at its end.
    told: Option<Usage>,
}

impl Flight {
    pub(crate) fn start(stats: &Arc<Stats>) -> Self {
        let now = stats.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        stats.peak.fetch_max(now, Ordering::Relaxed);
        Self {
            stats: Arc::clone(stats),
            has_ended: false,
            model: None,
            told: None,
        }
    }

    /// What it brings: an answer of this model.
    pub(crate) fn bring(&mut self, model: usize, told: Option<Usage>) {
        self.model = Some(model);
        self.told = told;
    }

    pub(crate) fn end(&mut self) {
        self.has_ended = true;
        if let (Some(model), Some(told)) = (self.model, self.told.take()) {
            self.stats.by_model[model].tell(told);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.stats.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.has_ended {
            add(&self.stats.abandoned);
            if let Some(model) = self.model {
                add(&self.stats.by_model[model].abandoned);
            }
        }
    }
}
