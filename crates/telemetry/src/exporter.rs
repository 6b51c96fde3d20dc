//! Takes finished rows from the server, makes spans of them and sends these, on a thread of its own.
//!
//! Whatever the collector does, [`Exporter::record`] returns at once. A batch that fails in a way that may pass
//! is sent again, after pauses that double; meanwhile rows wait in a bounded queue, and beyond that they
//! are dropped and counted. Source of what may be sent again: OTLP 1.x, "OTLP/HTTP Response".

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tiercast_records::journal::{Served, Trace};

use crate::error::TelemetryError;
use crate::queue::Queue;
use crate::settings::Settings;
use crate::spans::{n_spans, outline};
use crate::targets::Targets;

mod collector;
#[cfg(test)]
mod tests;
mod worker;

use collector::Collector;
use worker::Worker;

/// Most rows in one request: about a thousand spans, half a megabyte.
const BATCH: usize = 256;

/// The exporter. Dropping it sends nothing more: [`Self::close`] does.
#[derive(Debug)]
pub struct Exporter {
    shared: Arc<Shared>,
    sample_ratio: f64,
}

/// How it goes. Counts are of spans, since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Taken by the collector.
    pub exported: u64,
    /// Lost: the queue was full, or the collector did not take them.
    pub dropped: u64,
    /// Requests of clients whose spans are still to be sent, beside those that are being sent.
    pub waiting: usize,
    /// What is wrong with the collector and how to mend it, as of the last attempt.
    pub failing: Option<String>,
}

/// What the server's threads and the exporter's share.
#[derive(Debug)]
struct Shared {
    queue: Queue<Waiting>,
    exported: AtomicU64,
    dropped: AtomicU64,
    failing: Mutex<Option<String>>,
}

/// A row on its way.
#[derive(Debug)]
struct Waiting {
    row: Served,
    trace: Trace,
    targets: Arc<Targets>,
}

/// How long the exporter waits for what.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// For a batch to fill.
    gather: Duration,
    /// Before a second attempt; doubles from one to the next.
    first_pause: Duration,
    /// Between attempts at most, whatever the collector asks for.
    longest_pause: Duration,
    /// Attempts at a batch.
    n_attempts: u32,
}

/// A batch is given up after 15 seconds of pauses.
const PACE: Pace = Pace {
    gather: Duration::from_secs(1),
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(30),
    n_attempts: 5,
};

impl Exporter {
    /// Starts the thread. `variable` reads the environment variables that the settings name. That the
    /// collector is there is not asked: it may come later.
    pub fn start(settings: &Settings, variable: impl Fn(&str) -> Option<String>) -> Result<Self, TelemetryError> {
        Self::start_at(PACE, settings, variable)
    }

    fn start_at(
        pace: Pace,
        settings: &Settings,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, TelemetryError> {
        let collector = Collector::new(settings.url(), settings.headers(variable)?);
        let shared = Arc::new(Shared {
            queue: Queue::new(settings.queue(), BATCH.min(settings.queue())),
            exported: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failing: Mutex::new(None),
        });
        let worker = Worker::new(Arc::clone(&shared), collector, settings, pace);
        let thread = thread::Builder::new().name("telemetry".to_owned());
        thread
            .spawn(move || worker.run())
            .map_err(|error| TelemetryError::Thread(error.to_string()))?;
        Ok(Self {
            shared,
            sample_ratio: settings.sample_ratio(),
        })
    }

    /// Where a request stands in a trace, from its `traceparent`; `fresh` gives random numbers. The client
    /// decides whether its own trace is kept, the settings' ratio whether one that begins here is.
    pub fn trace(&self, traceparent: Option<&str>, fresh: impl FnMut() -> u64) -> Trace {
        Trace::read(traceparent, fresh).sampled_at(self.sample_ratio)
    }

    /// Hands a finished row over, where its trace is kept. Never waits and never fails: a row for which there is no
    /// room is dropped and counted. `targets` are those that its calls went to.
    pub fn record(&self, row: &Served, targets: &Arc<Targets>) {
        let Some(trace) = row.trace.filter(|trace| trace.sampled) else {
            return;
        };
        let is_taken = self.shared.queue.push(|| Waiting {
            row: outline(row),
            trace,
            targets: Arc::clone(targets),
        });
        if !is_taken {
            self.shared.drop_spans(n_spans(row));
        }
    }

    /// How it goes.
    pub fn health(&self) -> Health {
        Health {
            exported: self.shared.exported.load(Ordering::Acquire),
            dropped: self.shared.dropped.load(Ordering::Acquire),
            waiting: self.shared.queue.n_waiting(),
            failing: self.shared.failing().clone(),
        }
    }

    /// Sends what waits, within the time given, and stops. What could not be sent is counted as dropped;
    /// rows that come later are dropped too.
    pub fn close(&self, within: Duration) -> Health {
        let left = self.shared.queue.close(Instant::now() + within);
        self.shared
            .drop_spans(left.iter().map(|waiting| n_spans(&waiting.row)).sum());
        self.health()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}

impl Shared {
    fn drop_spans(&self, n: u64) {
        self.dropped.fetch_add(n, Ordering::Release);
    }

    fn failing(&self) -> MutexGuard<'_, Option<String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is wrong now. Only the first failure and the recovery are logged: a collector may be down
    /// for hours.
    fn tell(&self, problem: Option<String>) {
        let mut failing = self.failing();
        match (&*failing, &problem) {
            (None, Some(problem)) => tracing::warn!("traces are not exported: {problem}"),
            (Some(_), None) => tracing::info!("traces are exported again"),
            _ => {}
        }
        *failing = problem;
    }
}
