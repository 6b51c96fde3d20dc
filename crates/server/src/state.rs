//! What every handler shares.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Semaphore;

use crate::deployment::Deployment;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::worker::{Forecaster, Worker};

/// One served deployment: what it serves, its limits, its inference threads and its metrics.
pub struct State {
    pub(crate) deployment: Deployment,
    pub(crate) settings: Settings,
    pub(crate) worker: Worker,
    pub(crate) metrics: Metrics,
    pub(crate) permits: Semaphore,
    draining: AtomicBool,
    process: u64,
    n_decisions: AtomicU64,
}

impl State {
    /// Starts one inference thread per forecaster.
    pub fn new(deployment: Deployment, settings: Settings, forecasters: Vec<Forecaster>) -> std::io::Result<Arc<Self>> {
        let metrics = Metrics::new();
        let worker = Worker::start(forecasters, settings.queue_capacity, metrics.queue_depth())?;
        Ok(Arc::new(Self {
            permits: Semaphore::new(settings.max_concurrency),
            deployment,
            settings,
            worker,
            metrics,
            draining: AtomicBool::new(false),
            process: RandomState::new().hash_one(std::process::id()),
            n_decisions: AtomicU64::new(0),
        }))
    }

    /// Whether requests should come here: a forecast has come back and we are not leaving.
    pub(crate) fn is_ready(&self) -> bool {
        self.worker.answers() && !self.draining.load(Ordering::Relaxed)
    }

    /// Says that we are leaving; what is under way goes on.
    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Answers what is queued and ends the inference threads.
    pub(crate) fn drain(&self) {
        self.start_draining();
        self.worker.drain();
    }

    /// A name for a decision: random per process, counted within.
    pub(crate) fn next_id(&self) -> String {
        let count = self.n_decisions.fetch_add(1, Ordering::Relaxed);
        format!("dec_{:016x}{count:08x}", self.process)
    }
}
