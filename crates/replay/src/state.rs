//! What all requests share.

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use crate::faults::Faults;
use crate::library::Library;
use crate::pace::Pace;
use crate::stats::Stats;

/// Replies, pace, faults that can be switched, and counts.
#[derive(Debug)]
pub struct State {
    pub(crate) library: Library,
    pub(crate) pace: Pace,
    pub(crate) stats: Arc<Stats>,
    faults: RwLock<Arc<Faults>>,
}

impl State {
    /// Replays `library` at `pace` with `faults`.
    pub fn new(library: Library, pace: Pace, faults: Faults) -> Arc<Self> {
        let stats = Arc::new(Stats::new(library.models().len()));
        Arc::new(Self {
            library,
            pace,
            stats,
            faults: RwLock::new(Arc::new(faults)),
        })
    }

    /// The replies.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The counts, as `GET /replay/stats` gives them.
    pub fn stats(&self) -> Value {
        self.stats.json(&self.library)
    }

    pub(crate) fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.faults.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        *self.faults.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(faults);
    }
}
