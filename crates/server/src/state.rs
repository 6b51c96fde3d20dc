//! What every handler shares.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use tiercast_routing::decide::{Exclusion, Forecast};
use tiercast_upstream::client::Client;
use tiercast_upstream::error::ErrorKind;
use tokio::sync::Semaphore;

use crate::accounts::Accounts;
use crate::answer::{Answer, answer};
use crate::dials::Dials;
use crate::error::Error;
use crate::gateway::asked::Asked;
use crate::gateway::ways::Ways;
use crate::gateway::{unavailable, wait_of};
use crate::keys::Caller;
use crate::latency::Latencies;
use crate::metrics::Metrics;
use crate::serving::{Checkpoint, Env, Serving};
use crate::sessions::Sessions;
use crate::settings::{Settings, SettingsError};
use crate::worker::{Forecaster, Refusal, Worker};

/// Reads the settings anew: their text, or why it cannot be read.
pub type Source = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// One served deployment: what it serves, its limits, its inference threads and its metrics.
pub struct State {
    serving: RwLock<Arc<Serving>>,
    checkpoint: Checkpoint,
    client: Client,
    env: Box<Env>,
    source: Option<Source>,
    /// One reload at a time.
    reloading: Mutex<()>,
    pub(crate) worker: Worker,
    pub(crate) metrics: Metrics,
    pub(crate) accounts: Accounts,
    pub(crate) latencies: Latencies,
    pub(crate) sessions: Sessions,
    pub(crate) permits: Arc<Semaphore>,
    draining: AtomicBool,
    process: u64,
    n_decisions: AtomicU64,
}

/// Everything a state is made of.
pub struct Parts {
    /// What is served.
    pub checkpoint: Checkpoint,
    /// The settings to begin with.
    pub settings: Settings,
    /// One per inference thread.
    pub forecasters: Vec<Forecaster>,
    /// Connections to endpoints.
    pub client: Client,
    /// Where keys are read.
    pub env: Box<Env>,
    /// Where settings are read anew; none where there is no file.
    pub source: Option<Source>,
}

/// A decision and what led to it.
pub(crate) struct Decided {
    pub(crate) answer: Answer,
    pub(crate) forecasts: Vec<Forecast>,
    pub(crate) dials: Dials,
}

/// Why a state cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings do not go with the checkpoint, or a key is missing.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No threads.
    #[error("starting the inference threads: {0}")]
    Threads(#[from] std::io::Error),
}

impl State {
    /// Starts one inference thread per forecaster.
    pub fn new(parts: Parts) -> Result<Arc<Self>, StartError> {
        let Parts {
            checkpoint,
            settings,
            forecasters,
            client,
            env,
            source,
        } = parts;
        let metrics = Metrics::new();
        let serving = Serving::new(&checkpoint, settings, &client, env.as_ref(), None)?;
        let settings = &serving.settings;
        let worker = Worker::start(forecasters, settings.queue_capacity, metrics.queue_depth())?;
        let state = Self {
            permits: Arc::new(Semaphore::new(settings.max_concurrency)),
            serving: RwLock::new(Arc::new(serving)),
            checkpoint,
            client,
            env,
            source,
            reloading: Mutex::new(()),
            worker,
            metrics,
            accounts: Accounts::default(),
            latencies: Latencies::default(),
            sessions: Sessions::default(),
            draining: AtomicBool::new(false),
            process: RandomState::new().hash_one(std::process::id()),
            n_decisions: AtomicU64::new(0),
        };
        state.mark_borrowed(&state.serving(), true);
        Ok(Arc::new(state))
    }

    /// What is in force now. A request keeps it to its end.
    pub(crate) fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the settings anew and puts them in force as a whole, or leaves everything as it was.
    pub fn reload(&self) -> Result<(), String> {
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let source = self.source.as_ref();
        let source = source.ok_or("the server was started without --config, so there is nothing to reload")?;
        let text = source()?;
        let before = self.serving();
        let next = || -> Result<Serving, SettingsError> {
            let settings = Settings::parse(&text)?;
            let settings = settings.listening_on(before.settings.listen)?;
            before.settings.check_reload(&settings)?;
            Serving::new(
                &self.checkpoint,
                settings,
                &self.client,
                self.env.as_ref(),
                Some(&before),
            )
        };
        let next = next().map_err(|error| error.located(&text).to_string())?;
        self.mark_borrowed(&before, false);
        self.mark_borrowed(&next, true);
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    fn mark_borrowed(&self, serving: &Serving, is_served: bool) {
        for (tier_idx, tier) in serving.deployment.catalog().tiers().iter().enumerate() {
            if let Some(from) = serving.deployment.borrowed_from(tier_idx) {
                self.metrics.borrowed(&tier.name, from, is_served);
            }
        }
    }

    /// Forecasts and decides. `start` is when the body had been read.
    pub(crate) async fn decide(
        &self,
        serving: &Serving,
        asked: &Asked,
        headers: &HeaderMap,
        caller: &Caller,
        ways: &Ways,
        start: Instant,
    ) -> Result<Decided, Error> {
        let mut dials = Dials::read(asked.model(), headers, &asked.request, serving, caller)?;
        let assessment = self
            .worker
            .forecast(asked.request.clone())
            .await
            .inspect_err(|refusal| {
                if *refusal == Refusal::Full {
                    self.metrics.queue_rejection();
                }
            })?;
        let (deployment, now) = (&serving.deployment, Instant::now());
        let mut forecasts = deployment.forecasts(&assessment);
        let wait = wait_of(asked.is_streamed());
        for (tier, forecast) in deployment.catalog().tiers().iter().zip(&mut forecasts) {
            forecast.latency_p95_s = self.latencies.p95_s(&tier.name, wait, now).or(forecast.latency_p95_s);
        }
        if let Some(session) = &dials.session {
            let lasts = Duration::from_secs(serving.settings.session_cache_s);
            self.sessions
                .price(session, deployment.catalog(), &mut forecasts, lasts, now);
        }
        let mut notes = Vec::new();
        for (tier_idx, upstream) in serving.upstreams.iter().enumerate() {
            let foreign = upstream
                .as_ref()
                .and_then(|upstream| ways.why_not(upstream.settings(), asked));
            let why = match foreign {
                Some(untranslatable) => {
                    notes.push((tier_idx, untranslatable.to_string()));
                    Some(Exclusion::Untranslatable)
                }
                None => unavailable(upstream.as_ref(), serving.settings.has_endpoints()),
            };
            dials.constraints.unavailable.extend(why.map(|why| (tier_idx, why)));
        }
        let expected = (forecasts.as_slice(), &assessment.evidence);
        let mut answer = answer(deployment, &dials, expected, &notes, self.next_id())?;
        let took = start.elapsed();
        answer.overhead_ms = took.as_secs_f64() * 1000.0;
        self.metrics.decision(&answer, &dials, took);
        self.accounts.decided(&answer.decision.tier);
        tracing::debug!(
            id = answer.decision.id,
            tier = answer.decision.tier,
            reason = answer.decision.reason,
            "decided"
        );
        Ok(Decided {
            answer,
            forecasts,
            dials,
        })
    }

    pub(crate) fn fell_back(&self, from: &str, to: &str, kind: ErrorKind) {
        self.accounts.fell_back(from, to);
        self.metrics.fallback(from, to, kind.name());
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
