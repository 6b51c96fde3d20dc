//! One tier's part of a run: its pages, its calls in flight, and when to leave it alone.

use std::collections::VecDeque;
use std::sync::Arc;

use tiercast_upstream::upstream::Upstream;
use tokio::task::JoinSet;

use super::Shared;
use super::calls::{Asked, Caller, Ended};
use crate::config::TierConfig;
use crate::error::CollectError;
use crate::estimate::{input_tokens, is_too_long, most_cost_usd};
use crate::ledger::{Ledger, Pending};

/// Prompts read at a time.
const PAGE: usize = 256;

/// Times in a row that a circuit may open without an answer in between. An endpoint that is
/// restarted comes back within that; one that is down is left for the next run.
const MAX_OPENINGS: u32 = 3;

/// Refusals after which a tier that has never answered is taken to be set up wrongly.
const MAX_REFUSALS: u32 = 5;

/// Calls in a row that may fail, each after its retries. A circuit opens sooner where an endpoint is
/// down; this ends a run against one that answers, but never with a reply.
const MAX_FAILURES: u32 = 20;

/// A tier being asked.
pub(super) struct TierRun {
    caller: Arc<Caller>,
    in_flight: JoinSet<Ended>,
    /// Not sent because the circuit was open; as many as are in flight at most.
    again: VecDeque<Pending>,
    /// Why the circuit opened, until something is answered: one call at a time tries meanwhile.
    probing: Option<String>,
    n_openings: u32,
    n_refusals: u32,
    n_failures: u32,
    /// Why nothing more is sent to it.
    stopped: Option<String>,
}

/// How a tier's part ended.
pub(super) struct TierEnd {
    pub(super) name: String,
    /// Why it was left alone, if it was.
    pub(super) stopped: Option<String>,
    /// It was asked for log probabilities and refused.
    pub(super) refuses_logprobs: bool,
}

impl TierRun {
    pub(super) fn new(tier: TierConfig, upstream: Upstream, n_answered: u64, shared: Arc<Shared>) -> Self {
        Self {
            caller: Arc::new(Caller::new(tier, upstream, n_answered, shared)),
            in_flight: JoinSet::new(),
            again: VecDeque::new(),
            probing: None,
            n_openings: 0,
            n_refusals: 0,
            n_failures: 0,
            stopped: None,
        }
    }

    /// Asks everything that is left of this tier.
    pub(super) async fn ask_all(mut self, ledger: Ledger) -> Result<TierEnd, CollectError> {
        let asked = self.ask_pages(ledger).await;
        self.drain().await;
        asked?;
        Ok(TierEnd {
            name: self.caller.tier.run.name.clone(),
            refuses_logprobs: self.caller.upstream.refuses_logprobs(),
            stopped: self.stopped,
        })
    }

    async fn ask_pages(&mut self, mut ledger: Ledger) -> Result<(), CollectError> {
        let mut after = None;
        loop {
            let caller = Arc::clone(&self.caller);
            let read = tokio::task::spawn_blocking(move || {
                let page = ledger.pending(&caller.tier.run, caller.shared.n_samples, after, PAGE);
                (ledger, page)
            });
            let page;
            (ledger, page) = read.await.expect("reading a page does not panic");
            let page = page?;
            let Some(last) = page.last() else { break };
            after = Some(last.at);
            for pending in page {
                self.ask_all_again().await;
                self.ask(pending).await;
                if self.is_over() {
                    return Ok(());
                }
            }
        }
        self.ask_again().await;
        Ok(())
    }

    /// What was left because the circuit was open, until it is answered or the tier is left alone.
    async fn ask_again(&mut self) {
        loop {
            self.ask_all_again().await;
            if self.is_over() || (self.in_flight.is_empty() && self.again.is_empty()) {
                return;
            }
            self.next_ended().await;
        }
    }

    async fn ask_all_again(&mut self) {
        while !self.is_over()
            && let Some(pending) = self.again.pop_front()
        {
            self.ask(pending).await;
        }
    }

    fn is_over(&self) -> bool {
        self.stopped.is_some() || self.caller.shared.is_stopping()
    }

    /// Calls that may be in flight.
    fn room(&self) -> usize {
        match self.probing {
            Some(_) => 1,
            None => self.caller.tier.endpoint.concurrency(),
        }
    }

    /// Sends one call as soon as there is room for it.
    async fn ask(&mut self, pending: Pending) {
        let caller = Arc::clone(&self.caller);
        let tokens = input_tokens(&pending.prompt);
        while self.in_flight.len() >= self.room() && !self.is_over() {
            self.next_ended().await;
        }
        if let Some(why) = self.probing.clone() {
            self.wait_for_circuit(why).await;
        }
        if self.is_over() {
            return;
        }
        if is_too_long(&caller.tier, tokens) {
            self.in_flight.spawn(caller.too_long(pending, tokens));
            return;
        }
        let most_usd = most_cost_usd(&caller.tier, &pending.prompt);
        let reserved = tokio::select! {
            reserved = caller.shared.budget.reserve(most_usd) => reserved,
            () = caller.shared.stopping() => return,
        };
        match reserved {
            Ok(()) => drop(
                self.in_flight
                    .spawn(Arc::clone(&caller).ask(Asked { pending, most_usd })),
            ),
            // Nothing is in flight by now, so that what is spent is what all calls have cost.
            Err(exhausted) => {
                let table = format!("tiers.{}.endpoint", caller.tier.run.name);
                caller.shared.halt(exhausted.message("call", &table));
            }
        }
    }

    /// Waits for one call to end, or for the word to stop.
    async fn next_ended(&mut self) {
        let shared = Arc::clone(&self.caller.shared);
        tokio::select! {
            Some(ended) = self.in_flight.join_next() => self.note(ended.expect("a call does not panic")),
            () = shared.stopping() => {}
        }
    }

    fn note(&mut self, ended: Ended) {
        match ended {
            Ended::Answered => {
                self.probing = None;
                self.n_openings = 0;
                self.n_refusals = 0;
                self.n_failures = 0;
            }
            Ended::Stored => {}
            Ended::NotSent { pending, why } => {
                self.again.push_back(*pending);
                self.probing = Some(why);
            }
            Ended::Failed(why) => {
                self.n_failures += 1;
                if self.n_failures >= MAX_FAILURES {
                    self.stop(format!("{MAX_FAILURES} calls in a row failed, the last so: {why}"));
                }
            }
            Ended::Configuration(why) | Ended::Later(why) => self.stop(why),
            Ended::Refused(why) => {
                self.n_refusals += 1;
                if self.n_refusals >= MAX_REFUSALS {
                    self.stop(why);
                }
            }
        }
    }

    /// Leaves the endpoint alone while its circuit is open, and for good if it opens again and again.
    async fn wait_for_circuit(&mut self, why: String) {
        let caller = Arc::clone(&self.caller);
        let Some(wait) = caller.upstream.circuit_open_for() else {
            return;
        };
        self.n_openings += 1;
        if self.n_openings >= MAX_OPENINGS {
            self.stop(why);
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = caller.shared.stopping() => {}
        }
    }

    fn stop(&mut self, why: String) {
        self.stopped.get_or_insert(why);
    }

    /// Waits for what is in flight: it is paid for. Leaves it where the caller says so. What waits for its turn is
    /// not paid for, and a turn may be minutes away.
    async fn drain(&mut self) {
        let caller = Arc::clone(&self.caller);
        let shared = &caller.shared;
        let mut is_waiting = true;
        loop {
            if is_waiting && self.is_over() {
                caller.upstream.stop_waiting();
                is_waiting = false;
            }
            tokio::select! {
                ended = self.in_flight.join_next() => match ended {
                    None => return,
                    Some(Ok(Ended::Configuration(why) | Ended::Later(why))) => self.stop(why),
                    Some(_) => {}
                },
                () = shared.stopping(), if is_waiting => {}
                () = shared.abandoning() => {
                    self.in_flight.shutdown().await;
                    return;
                }
            }
        }
    }
}
