//! Counts of every call, so that a test can account for each: calls = replies + faults + refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::faults::FaultKind;
use crate::library::Library;

/// Codes of refusals that are counted.
const REFUSALS: [&str; 5] = [
    "invalid_body",
    "model_not_found",
    "prompt_not_recorded",
    "row_not_recorded",
    "reply_not_recorded",
];

#[derive(Debug, Default)]
pub(crate) struct Stats {
    calls: AtomicU64,
    streamed: AtomicU64,
    by_model: Vec<[AtomicU64; 2]>,
    faults: [AtomicU64; FaultKind::ALL.len()],
    refused: [AtomicU64; REFUSALS.len()],
    abandoned: AtomicU64,
    in_flight: AtomicU64,
    peak: AtomicU64,
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
            by_model: (0..n_models).map(|_| Default::default()).collect(),
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
        let [calls, replies] = &self.by_model[model];
        add(&self.calls);
        add(calls);
        if is_streamed {
            add(&self.streamed);
        }
        match fault.and_then(|kind| FaultKind::ALL.iter().position(|other| *other == kind)) {
            Some(index) => add(&self.faults[index]),
            None => add(replies),
        }
    }

    pub(crate) fn json(&self, library: &Library) -> Value {
        let models = library.models().iter().zip(&self.by_model);
        let by_model: BTreeMap<&str, Value> = models
            .map(|(name, [calls, replies])| {
                let counts = json!({"calls": value(calls), "replies": value(replies)});
                (name.as_str(), counts)
            })
            .collect();
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
}

impl Flight {
    pub(crate) fn start(stats: &Arc<Stats>) -> Self {
        let now = stats.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        stats.peak.fetch_max(now, Ordering::Relaxed);
        Self {
            stats: Arc::clone(stats),
            has_ended: false,
        }
    }

    pub(crate) fn end(&mut self) {
        self.has_ended = true;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.stats.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.has_ended {
            add(&self.stats.abandoned);
        }
    }
}
