//! The run: all tiers at once, each within its own limits, until nothing is left or something says
//! stop. Memory holds what is in flight and a page of prompts per tier.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tiercast_records::prompts::Prompt;
use tiercast_upstream::upstream::Upstream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::budget::Budget;
use crate::config::{CollectConfig, TierConfig};
use crate::error::CollectError;
use crate::ledger::{Ledger, Status, Writer};
use crate::status::{StatusReport, status};

mod calls;
mod tier;

pub(crate) use self::calls::later;
use self::tier::TierEnd;

/// How much is to be stopped; only ever rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// Go on.
    #[default]
    No,
    /// Send nothing more; what is in flight is paid for and waited for.
    Finish,
    /// Leave what is in flight: it is asked again by the next run.
    Abandon,
}

/// What a run needs from the caller.
pub struct Run {
    /// The ledger, begun with the same configuration.
    pub ledger: Ledger,
    /// Tiers and samples.
    pub config: CollectConfig,
    /// Endpoints of the tiers, in the order of the configuration.
    pub upstreams: Vec<Upstream>,
    /// The most that all calls of the ledger may cost together.
    pub max_cost_usd: Option<f64>,
    /// Told of every call that came to an end.
    pub on_step: Box<dyn Fn(&Step) + Send + Sync>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// A call that came to an end.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The tier.
    pub tier: String,
    /// What came of it.
    pub status: Status,
    /// US dollars.
    pub cost_usd: f64,
    /// What went wrong, in one word.
    pub error_kind: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Where the ledger stands now.
    #[serde(flatten)]
    pub status: StatusReport,
    /// Why it ended before everything was asked, in words.
    pub stopped: Option<String>,
    /// Tiers that were left alone, and why.
    pub tiers_stopped: BTreeMap<String, String>,
    /// Tiers that were asked for log probabilities, refused, and were asked without.
    pub tiers_without_logprobs: Vec<String>,
    /// Replies that came and could not be stored.
    pub n_unstored: u64,
}

impl Summary {
    /// Whether every call has a result.
    pub fn is_complete(&self) -> bool {
        self.status.n_left == 0
    }
}

/// Opens or begins the ledger of `folder`. Returns notes for the user. Nothing is sent.
pub fn begin(
    folder: &std::path::Path,
    prompts: &[Prompt],
    config: &CollectConfig,
) -> Result<(Ledger, Vec<String>), CollectError> {
    let mut ledger = Ledger::open_or_create(folder)?;
    let notes = ledger.begin(prompts, &config.run_tiers())?;
    ledger.set_meta(SAMPLES, &config.samples.to_string())?;
    Ok((ledger, notes))
}

/// Name of the note that holds the number of samples.
pub(crate) const SAMPLES: &str = "samples";

/// What the tiers of a run share.
struct Shared {
    writer: Writer,
    budget: Budget,
    /// Of the caller.
    stop: watch::Receiver<Stop>,
    /// Of the run itself: why it stops, once it does.
    halt: watch::Sender<Option<String>>,
    n_samples: u32,
    n_unstored: AtomicU64,
    on_step: Box<dyn Fn(&Step) + Send + Sync>,
}

impl Shared {
    /// Whether nothing more is to be sent.
    fn is_stopping(&self) -> bool {
        *self.stop.borrow() >= Stop::Finish || self.halt.borrow().is_some()
    }

    /// Stops the run; the first reason counts.
    fn halt(&self, why: String) {
        self.halt.send_if_modified(|halt| {
            let is_first = halt.is_none();
            halt.get_or_insert(why);
            is_first
        });
    }

    /// Resolves once nothing more is to be sent.
    async fn stopping(&self) {
        let (mut stop, mut halt) = (self.stop.clone(), self.halt.subscribe());
        tokio::select! {
            () = reached(&mut stop, Stop::Finish) => {}
            _ = halt.wait_for(Option::is_some) => {}
        }
    }

    /// Resolves once what is in flight is to be left.
    async fn abandoning(&self) {
        reached(&mut self.stop.clone(), Stop::Abandon).await;
    }
}

/// Resolves once the signal is at least `level`; never if its sender is gone.
pub(crate) async fn reached(stop: &mut watch::Receiver<Stop>, level: Stop) {
    if stop.wait_for(|stop| *stop >= level).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Asks what is left. Fails only where the ledger cannot be read; what goes wrong with tiers is in
/// the summary.
pub async fn run(run: Run, stop: watch::Receiver<Stop>) -> Result<Summary, CollectError> {
    let Run {
        ledger,
        config,
        upstreams,
        max_cost_usd,
        on_step,
    } = run;
    let shared = Arc::new(Shared {
        writer: ledger.writer()?,
        budget: Budget::new(max_cost_usd, ledger.spent_usd()?),
        stop,
        halt: watch::Sender::new(None),
        n_samples: config.samples,
        n_unstored: AtomicU64::new(0),
        on_step,
    });
    let ends = ask_tiers(&ledger, config.tiers, upstreams, &shared).await?;
    let stopped = match *shared.stop.borrow() {
        Stop::No => shared.halt.borrow().clone(),
        Stop::Finish => Some("stopped as asked; what was in flight is stored".to_owned()),
        Stop::Abandon => Some("stopped as asked; what was in flight is asked again by the next run".to_owned()),
    };
    let n_unstored = shared.n_unstored.load(Ordering::Relaxed);
    match Arc::try_unwrap(shared) {
        Ok(shared) => shared.writer.finish(),
        // Abandoned calls may still hold it; their rows are not waited for.
        Err(shared) => drop(shared),
    }
    // A full disk must not hide what happened: reading still works.
    if let Err(error) = ledger.tidy() {
        tracing::debug!(%error, "the ledger's log stays beside it");
    }
    let named = |end: &TierEnd| Some((end.name.clone(), end.stopped.clone()?));
    let tiers_stopped = ends.iter().filter_map(named).collect();
    let refusing = ends.into_iter().filter(|end| end.refuses_logprobs);
    let mut tiers_without_logprobs: Vec<String> = refusing.map(|end| end.name).collect();
    tiers_without_logprobs.sort();
    Ok(Summary {
        status: status(&ledger)?,
        stopped,
        tiers_stopped,
        tiers_without_logprobs,
        n_unstored,
    })
}

/// Runs every tier to its end.
async fn ask_tiers(
    ledger: &Ledger,
    tiers: Vec<TierConfig>,
    upstreams: Vec<Upstream>,
    shared: &Arc<Shared>,
) -> Result<Vec<TierEnd>, CollectError> {
    let mut running = JoinSet::new();
    for (tier, upstream) in tiers.into_iter().zip(upstreams) {
        let n_answered = ledger.totals(&tier.run, shared.n_samples)?.n_answered;
        let run = tier::TierRun::new(tier, upstream, n_answered, Arc::clone(shared));
        running.spawn(run.ask_all(ledger.again()?));
    }
    let mut ends = Vec::new();
    let mut failed = Ok(());
    while let Some(ended) = running.join_next().await {
        match ended.expect("the task of a tier does not panic") {
            Ok(end) => ends.push(end),
            // The other tiers end their calls first: what they paid for is stored.
            Err(error) => {
                shared.halt("the ledger could not be read".to_owned());
                failed = Err(error);
            }
        }
    }
    failed.map(|()| ends)
}
