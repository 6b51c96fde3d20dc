//! Inference off the async threads: a bounded queue and dedicated threads that forecast.
//!
//! One request is one forward pass; requests are not batched. A batch makes its first request wait
//! for the last, and a row must give the same bits here as it did in the evaluation. More
//! throughput is the setting `workers`. `evals/serving` measures what one thread does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use metrics::Gauge;
use tiercast_records::features::Features;
use tiercast_routing::evidence::Assessment;
use tiercast_routing::request::Request;
use tokio::sync::oneshot;

/// What is expected of every tier, and the figures that it was told by.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecasted {
    /// What is expected.
    pub assessment: Assessment,
    /// Figures of the request.
    pub features: Features,
}

/// Forecasts one request for every tier. Owned by one thread.
pub type Forecaster = Box<dyn Fn(&Request) -> Forecasted + Send>;

/// Why there is no forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The queue is full.
    Full,
    /// The server is shutting down.
    Closed,
    /// The forecaster panicked on this request.
    Panicked,
}

struct Job {
    request: Request,
    /// Dropped unanswered when the forecaster panics.
    reply: oneshot::Sender<Forecasted>,
}

/// The queue and its threads.
pub(crate) struct Worker {
    /// `None` once draining.
    queue: Mutex<Option<SyncSender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    answers: Arc<AtomicBool>,
    depth: Gauge,
}

impl Worker {
    /// Starts one thread per forecaster. Each warms up on a request of its own before the first job.
    pub(crate) fn start(forecasters: Vec<Forecaster>, capacity: usize, depth: Gauge) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(capacity);
        let receiver = Arc::new(Mutex::new(receiver));
        let answers = Arc::new(AtomicBool::new(false));
        depth.set(0.0);
        let mut threads = Vec::with_capacity(forecasters.len());
        for (thread_idx, forecaster) in forecasters.into_iter().enumerate() {
            let (receiver, answers, depth) = (Arc::clone(&receiver), Arc::clone(&answers), depth.clone());
            let thread = std::thread::Builder::new().name(format!("forecast-{thread_idx}"));
            threads.push(thread.spawn(move || work(&forecaster, &receiver, &answers, &depth))?);
        }
        Ok(Self {
            queue: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
            answers,
            depth,
        })
    }

    /// Waits for the forecast of one request.
    pub(crate) async fn forecast(&self, request: Request) -> Result<Forecasted, Refusal> {
        self.submit(request)?.await.map_err(|_| Refusal::Panicked)
    }

    /// Queues one request, or refuses at once.
    pub(crate) fn submit(&self, request: Request) -> Result<oneshot::Receiver<Forecasted>, Refusal> {
        let (reply, answer) = oneshot::channel();
        let queue = lock(&self.queue);
        let sender = queue.as_ref().ok_or(Refusal::Closed)?;
        // Counted before it is queued, so that the thread never counts it out first.
        self.depth.increment(1.0);
        sender.try_send(Job { request, reply }).map_err(|refused| {
            self.depth.decrement(1.0);
            match refused {
                TrySendError::Full(_) => Refusal::Full,
                TrySendError::Disconnected(_) => Refusal::Closed,
            }
        })?;
        Ok(answer)
    }

    /// Whether a forecast has come back yet.
    pub(crate) fn answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    /// Takes no more requests, answers the queued ones and returns when the threads are done.
    pub(crate) fn drain(&self) {
        drop(lock(&self.queue).take());
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A thread ends by panic only outside a forecast, and there is nobody left to tell.
            drop(thread.join());
        }
    }
}

fn work(forecaster: &Forecaster, queue: &Mutex<Receiver<Job>>, answers: &AtomicBool, depth: &Gauge) {
    let forecast = |request: &Request| {
        // A forecaster takes the request by reference and leaves nothing half-written behind.
        let forecasts = catch_unwind(AssertUnwindSafe(|| forecaster(request))).ok()?;
        answers.store(true, Ordering::Relaxed);
        Some(forecasts)
    };
    forecast(&Request::of_text("warm-up"));
    // The lock is held while waiting for a job and let go before working on it.
    while let Ok(job) = { lock(queue).recv() } {
        depth.decrement(1.0);
        if job.reply.is_closed() {
            continue; // The caller gave up, by timeout or by hanging up.
        }
        if let Some(forecasts) = forecast(&job.request) {
            drop(job.reply.send(forecasts));
        }
    }
}

/// No code panics while holding one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
