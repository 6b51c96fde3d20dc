//! The journal's row of a request while it is under way. It is handed on when the last that holds it lets go,
//! so that whatever way a request ends it is told of once, with all of its calls.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tiercast_records::features::Features;
use tiercast_records::journal::{Call, Expected, Label, Role, Served, Trace};
use tiercast_routing::decide::Forecast;

use crate::answer::Answer;
use crate::budgets::now_ms;
use crate::dials::Dials;
use crate::observer::Observer;

/// A row and what is only kept where text is.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) served: Served,
    pub(crate) ask: String,
    /// Of the call that is over last, and its place: a plain reply is over before it is known who answers.
    pub(crate) reply: Option<(usize, String)>,
}

impl Finished {
    /// The text that the client got.
    pub(crate) fn answer(&mut self) -> Option<String> {
        let (at, text) = self.reply.take()?;
        (self.served.answered_by == Some(at)).then_some(text)
    }
}

/// A request under way.
pub(crate) struct Record {
    observer: Arc<Observer>,
    start: Instant,
    /// Until it is handed on.
    row: Mutex<Option<Finished>>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").finish_non_exhaustive()
    }
}

impl Record {
    pub(crate) fn new(observer: Arc<Observer>, row: Finished) -> Arc<Self> {
        Arc::new(Self {
            observer,
            start: Instant::now(),
            row: Mutex::new(Some(row)),
        })
    }

    /// Whether the text of a reply is to be kept.
    pub(crate) fn keeps_text(&self) -> bool {
        self.observer.keeps_text()
    }

    /// A call is made; returns its place, and what its upstream is told of the trace.
    pub(crate) fn begin(&self, tier: &str, role: Role) -> (usize, String) {
        let start_ms = milliseconds(self.start);
        self.with(|row| {
            let calls = &mut row.served.calls;
            calls.push(Call {
                tier: Label::from(tier),
                role,
                outcome: Label::from("failed"),
                error: None,
                input_tokens: 0.0,
                cached_tokens: 0.0,
                output_tokens: 0.0,
                is_estimated: false,
                cost_usd: 0.0,
                start_ms,
                first_token_ms: None,
                total_ms: 0.0,
                estimate: None,
            });
            let at = calls.len() - 1;
            let trace = row.served.trace.as_ref().map(|trace| trace.header_for_call(at));
            (at, trace.unwrap_or_default())
        })
        .unwrap_or_default()
    }

    /// A call is over.
    pub(crate) fn end(&self, at: usize, reply: Option<String>, change: impl FnOnce(&mut Call)) {
        self.with(|row| {
            if let Some(call) = row.served.calls.get_mut(at) {
                change(call);
            }
            if row.served.answered_by.is_none_or(|by| by == at) {
                row.reply = reply.map(|text| (at, text));
            }
        });
    }

    /// The estimate of a call's answer.
    pub(crate) fn estimated(&self, at: usize, quality: f64) {
        self.with(|row| {
            if let Some(call) = row.served.calls.get_mut(at) {
                call.estimate = Some(quality as f32);
            }
        });
    }

    /// The client gets the reply of this call. `reply` is its text, where that is known and kept.
    pub(crate) fn answered_by(&self, at: usize, reply: Option<String>) {
        self.with(|row| {
            row.served.answered_by = Some(at);
            if let Some(text) = reply {
                row.reply = Some((at, text));
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut Finished) -> T) -> Option<T> {
        self.lock().as_mut().map(change)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Finished>> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let row = self.lock().take();
        if let Some(row) = row {
            self.observer.finished(row);
        }
    }
}

/// What led to a decision.
pub(crate) struct Basis<'a> {
    pub(crate) answer: &'a Answer,
    pub(crate) dials: &'a Dials,
    pub(crate) forecasts: &'a [Forecast],
    pub(crate) endpoint: &'static str,
    pub(crate) task: (Label, bool),
    pub(crate) feature_version: u32,
    pub(crate) features: Features,
    /// Where traces are made.
    pub(crate) trace: Option<Trace>,
}

/// The row of a decision, before any call.
pub(crate) fn row(basis: Basis<'_>) -> Served {
    let Basis { answer, dials, .. } = basis;
    let decision = &answer.decision;
    let (task, task_is_told) = basis.task;
    Served {
        id: decision.id.clone(),
        time_ms: now_ms(),
        endpoint: Label::from(basis.endpoint),
        session: dials.session.clone(),
        cohort: Label::from(dials.cohort.as_str()),
        task,
        task_is_told,
        policy: Label::from(decision.policy),
        reason: Label::from(decision.reason.as_str()),
        rule: decision.rule.as_deref().map(Label::from),
        checkpoint: Label::from(decision.checkpoint.as_str()),
        feature_version: basis.feature_version,
        target: crate::answer::target(dials.objective).map(|target| target as f32),
        propensity: decision.propensity,
        chosen: answer
            .tiers
            .iter()
            .position(|tier| tier.tier == decision.tier)
            .unwrap_or_default(),
        tiers: (0..answer.tiers.len())
            .map(|tier| expected(answer, basis.forecasts, tier))
            .collect(),
        evidence: answer.evidence.sufficient,
        overhead_ms: answer.overhead_ms as f32,
        calls: Vec::new(),
        answered_by: None,
        prompt_hash: String::new(),
        features: Some(basis.features),
        prompt: None,
        reply: None,
        trace: basis.trace,
    }
}

fn expected(answer: &Answer, forecasts: &[Forecast], tier_idx: usize) -> Expected {
    let (view, forecast) = (&answer.tiers[tier_idx], &forecasts[tier_idx]);
    let excluded = answer
        .decision
        .excluded
        .iter()
        .find(|excluded| excluded.tier == view.tier);
    Expected {
        tier: Label::from(view.tier.as_str()),
        predicted_as: view.predicted_as.as_deref().map(Label::from),
        quality_mean: view.quality_mean as f32,
        quality_pmf: forecast.quality.pmf().iter().map(|mass| *mass as f32).collect(),
        cost_usd: forecast.cost_usd,
        input_tokens: forecast.input_tokens as f32,
        output_tokens: forecast.output_tokens as f32,
        latency_p95_ms: view.latency_ms.map(|milliseconds| milliseconds as f32),
        acceptable: view.acceptable,
        excluded: excluded.map(|excluded| Label::from(excluded.why.name())),
    }
}

/// Milliseconds since then.
pub(crate) fn milliseconds(since: Instant) -> f32 {
    since.elapsed().as_secs_f32() * 1000.0
}
