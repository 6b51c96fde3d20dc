//! One call of a run, from the ledger to the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tiercast_upstream::error::CallError;
use tiercast_upstream::upstream::Upstream;

use super::{Shared, Step};
use crate::ask::{Meaning, answered, chat_call, failed, key, meaning, too_long};
use crate::config::TierConfig;
use crate::ledger::{Call, CallKey, Entry, FailedAttempt, Pending, Status};

/// How often storing a reply is tried again: somebody may be making room on the disk.
const STORE_TRIES: u32 = 10;

/// Between two tries.
const STORE_WAIT: Duration = Duration::from_millis(500);

/// What the calls of a tier share.
pub(super) struct Caller {
    pub(super) tier: TierConfig,
    pub(super) upstream: Upstream,
    pub(super) shared: Arc<Shared>,
    /// By all runs: a tier that has answered is not set up wrongly.
    n_answered: AtomicU64,
}

/// A call with what is set aside for it.
pub(super) struct Asked {
    pub(super) pending: Pending,
    pub(super) most_usd: f64,
}

/// How a call ended.
pub(super) enum Ended {
    /// With an answer.
    Answered,
    /// With anything else that is in the ledger.
    Stored,
    /// The circuit was open.
    NotSent { pending: Box<Pending>, why: String },
    /// In a way that may pass.
    Failed(String),
    /// As every other call to this tier would.
    Configuration(String),
    /// As every other call to this tier would for longer than a call waits.
    Later(String),
    /// Refused by a tier that has never answered.
    Refused(String),
}

impl Caller {
    pub(super) fn new(tier: TierConfig, upstream: Upstream, n_answered: u64, shared: Arc<Shared>) -> Self {
        Self {
            tier,
            upstream,
            shared,
            n_answered: AtomicU64::new(n_answered),
        }
    }

    /// Stores that the prompt does not fit the tier's window.
    pub(super) async fn too_long(self: Arc<Self>, pending: Pending, tokens: u32) -> Ended {
        let call = too_long(&self.tier, key(&self.tier, &pending), tokens);
        self.close(call, Vec::new()).await;
        Ended::Stored
    }

    /// Sends the call and stores what comes of it.
    pub(super) async fn ask(self: Arc<Self>, asked: Asked) -> Ended {
        let reserved = Reserved {
            caller: Arc::clone(&self),
            most_usd: asked.most_usd,
            cost_usd: 0.0,
        };
        self.send(asked.pending, reserved).await
    }

    async fn send(&self, pending: Pending, mut reserved: Reserved) -> Ended {
        let key = key(&self.tier, &pending);
        if let Err(error) = self.shared.writer.store(Entry::Open(key.clone())).await {
            self.shared.halt(error.to_string());
            return Ended::Stored;
        }
        let reply = self.upstream.chat(&chat_call(&self.tier, &pending.prompt)).await;
        match reply {
            Ok(reply) => {
                self.n_answered.fetch_add(1, Ordering::Relaxed);
                let (call, tries) = answered(&self.tier, key, &pending.prompt, reply);
                reserved.cost_usd = call.cost_usd.unwrap_or_default();
                self.close(call, tries).await;
                Ended::Answered
            }
            Err(error) => self.note_error(key, pending, error).await,
        }
    }

    async fn note_error(&self, key: CallKey, pending: Pending, error: CallError) -> Ended {
        let has_answered = self.n_answered.load(Ordering::Relaxed) > 0;
        let meaning = meaning(error.kind);
        let status = match meaning {
            Meaning::Unanswerable => Status::Unanswerable,
            Meaning::Refused if has_answered => Status::Unanswerable,
            _ => Status::Failed,
        };
        let (call, tries) = failed(key, &error, status);
        self.close(call, tries).await;
        if let Some(wait) = error.long_wait() {
            return Ended::Later(later(&error.message, wait));
        }
        match meaning {
            Meaning::CircuitOpen => Ended::NotSent {
                pending: Box::new(pending),
                why: error.message,
            },
            Meaning::Configuration => Ended::Configuration(error.message),
            Meaning::Refused | Meaning::NotFound if !has_answered => Ended::Refused(error.message),
            Meaning::MayPass | Meaning::NotFound => Ended::Failed(error.message),
            Meaning::Unanswerable | Meaning::Refused => Ended::Stored,
        }
    }

    /// Stores what came of a call. Where that fails nothing more is sent, and what came is held
    /// for a while, since it is paid for.
    async fn close(&self, call: Call, tries: Vec<FailedAttempt>) {
        let step = Step {
            tier: call.key.tier.clone(),
            status: call.status,
            cost_usd: call.cost_usd.unwrap_or_default(),
            error_kind: call.error_kind.clone(),
        };
        let entry = Entry::Close(Box::new(call), tries);
        for _ in 0..STORE_TRIES {
            match self.shared.writer.store(entry.clone()).await {
                Ok(()) => {
                    (self.shared.on_step)(&step);
                    return;
                }
                Err(error) => self.shared.halt(error.to_string()),
            }
            tokio::time::sleep(STORE_WAIT).await;
        }
        self.shared.n_unstored.fetch_add(1, Ordering::Relaxed);
    }
}

/// When to come again, in words.
pub(crate) fn later(message: &str, wait: Duration) -> String {
    let minutes = wait.as_secs().div_ceil(60);
    let wait = match minutes {
        0..120 => format!("{minutes} minutes"),
        _ => format!("{} hours", minutes.div_ceil(60)),
    };
    format!("{message}. It asks to be left alone for {wait}: run the same command again after that")
}

/// Settled when dropped, also where the call was abandoned.
struct Reserved {
    caller: Arc<Caller>,
    most_usd: f64,
    cost_usd: f64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.caller.shared.budget.settle(self.most_usd, self.cost_usd);
    }
}
