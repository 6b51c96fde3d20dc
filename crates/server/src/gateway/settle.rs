//! Settles a call when it is over, however it ends: the accounts, the metrics, the latencies and the
//! session's cache. Dropping it settles too, so that a client that leaves is accounted for.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use tiercast_budgets::amount::Amount;
use tiercast_chat::{Dialect, StreamSummary, Usage, said, said_in_stream};
use tiercast_records::journal::{Label, Role};
use tiercast_routing::catalog::Tier;
use tiercast_routing::decide::Forecast;
use tiercast_upstream::error::ErrorKind;

use crate::accounts::{Call, Outcome};
use crate::budgets::Hold;
use crate::latency::Wait;
use crate::record::{Record, milliseconds};
use crate::state::{Ending, State};

/// Bytes per token where an endpoint tells no tokens; English text has about four.
const BYTES_PER_TOKEN: f64 = 4.0;

/// Tokens that the largest window holds: more than that no call takes, where the tier's window is not known.
const LARGEST_WINDOW: u64 = 10_000_000;

/// How far a window may be off, or counted otherwise than the endpoint does.
const WINDOW_SLACK: u64 = 2;

/// Bytes of a reply that are kept to be read; what comes after is lost to the journal alone.
const LONGEST_TEXT: usize = 1 << 20;

/// Why calls end that the server does not wait for.
pub(crate) const SHUTTING_DOWN: &str = "shutting_down";

/// What a call is a part of.
pub(crate) struct Part {
    /// The session.
    pub(crate) session: Option<String>,
    /// The step of its plan.
    pub(crate) step: Option<String>,
    /// What it holds of budgets.
    pub(crate) hold: Option<Hold>,
    /// The request.
    pub(crate) record: Arc<Record>,
    /// Why it is made.
    pub(crate) role: Role,
}

/// A call under way.
pub(crate) struct Settle {
    state: Arc<State>,
    tier: Tier,
    forecast: Forecast,
    of: Part,
    start: Instant,
    /// Whether the endpoint has begun to answer.
    is_begun: bool,
    /// Whether it was asked, and has not said that it will not answer: it reads the prompt, whoever waits for it.
    is_asked: bool,
    outcome: Outcome,
    usage: Option<Usage>,
    n_bytes: usize,
    /// Its place among the request's calls.
    at: usize,
    first_token_ms: Option<f32>,
    error: Option<&'static str>,
    /// What the client got, where text is kept.
    text: Option<Text>,
}

/// The reply, piece by piece.
struct Text {
    bytes: Vec<u8>,
    read: fn(&[u8], Dialect) -> String,
    dialect: Dialect,
}

impl Settle {
    /// Also returns what the endpoint is told of the trace.
    pub(crate) fn new(state: Arc<State>, tier: &Tier, forecast: &Forecast, of: Part) -> (Self, String) {
        let (at, traceparent) = of.record.begin(&tier.name, of.role);
        let settle = Self {
            state,
            tier: tier.clone(),
            forecast: *forecast,
            of,
            start: Instant::now(),
            is_begun: false,
            is_asked: false,
            outcome: Outcome::ClientGone,
            usage: None,
            n_bytes: 0,
            at,
            first_token_ms: None,
            error: None,
            text: None,
        };
        (settle, traceparent)
    }

    /// Its place among the request's calls.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// What the client gets is in this dialect; it is kept where text is.
    pub(crate) fn speaks(&mut self, dialect: Dialect, is_streamed: bool) {
        if self.of.record.keeps_text() {
            let (bytes, read) = (Vec::new(), if is_streamed { text_of_stream } else { text_of });
            self.text = Some(Text { bytes, read, dialect });
        }
    }

    /// The client gets these bytes.
    pub(crate) fn gives(&mut self, bytes: &[u8]) {
        if let Some(text) = &mut self.text
            && text.bytes.len() < LONGEST_TEXT
        {
            text.bytes.extend_from_slice(bytes);
        }
    }

    /// The endpoint is asked.
    pub(crate) fn asked(&mut self) {
        self.is_asked = true;
    }

    /// It failed before anything came. What took too long or broke off was read by a model, and is owed for.
    pub(crate) fn fail(&mut self, kind: ErrorKind) {
        self.is_asked &= matches!(kind, ErrorKind::Timeout | ErrorKind::CutJson | ErrorKind::TooLarge);
        self.broke_off(kind.name());
    }

    /// It ends here, and this is why.
    pub(crate) fn broke_off(&mut self, why: &'static str) {
        self.error = Some(why);
        self.end(Outcome::Failed);
    }

    /// Resolves once the server ends without waiting for what is under way.
    pub(crate) async fn given_up(&self) {
        self.state.ends(Ending::GivingUp).await;
    }

    /// The first piece of the reply has come.
    pub(crate) fn begun(&mut self) {
        if !std::mem::replace(&mut self.is_begun, true) {
            let (now, seconds) = (Instant::now(), self.start.elapsed().as_secs_f64());
            self.state
                .latencies
                .record(&self.tier.name, Wait::FirstToken, seconds, now);
            self.state.metrics.first_byte(&self.tier.name, seconds);
            self.first_token_ms = Some(milliseconds(self.start));
        }
    }

    /// What has come so far.
    pub(crate) fn note(&mut self, summary: &StreamSummary) {
        self.usage = summary.usage.filter(|usage| self.can_be(*usage)).or(self.usage);
        self.n_bytes = self.n_bytes.max(summary.n_bytes);
    }

    /// It is over.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        self.outcome = outcome;
        if outcome == Outcome::Complete {
            let (now, seconds) = (Instant::now(), self.start.elapsed().as_secs_f64());
            self.state.latencies.record(&self.tier.name, Wait::Total, seconds, now);
            self.state.metrics.call_seconds(&self.tier.name, seconds);
        }
    }

    /// Whether the window could hold what is told.
    fn can_be(&self, usage: Usage) -> bool {
        let window = self.tier.context_window.map(u64::from);
        let most = window.map_or(LARGEST_WINDOW, |window| WINDOW_SLACK.saturating_mul(window));
        usage.input.max(usage.output) <= most
    }

    fn is_owed(&self) -> bool {
        self.is_begun || self.is_asked
    }

    fn call(&self) -> Call {
        let estimated = || match self.is_owed() {
            true => (self.forecast.input_tokens, 0.0, self.n_bytes as f64 / BYTES_PER_TOKEN),
            false => (0.0, 0.0, 0.0),
        };
        let told = |usage: Usage| (usage.input as f64, usage.cached_input as f64, usage.output as f64);
        let (input_tokens, cached_tokens, output_tokens) = self.usage.map_or_else(estimated, told);
        let output_tokens = output_tokens.ceil();
        let full = self.tier.cost_usd(input_tokens, output_tokens);
        Call {
            outcome: self.outcome,
            input_tokens,
            cached_tokens,
            output_tokens,
            cost_usd: full - self.tier.cache_saving_usd(cached_tokens.min(input_tokens)),
            is_estimated: self.usage.is_none() && self.is_owed(),
        }
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if self.outcome == Outcome::ClientGone && self.state.is_giving_up() {
            self.broke_off(SHUTTING_DOWN);
        }
        let call = self.call();
        let name = &self.tier.name;
        self.state.accounts.settle(name, &call);
        self.state.metrics.call(name, &call);
        let reply = self.text.take().map(|text| (text.read)(&text.bytes, text.dialect));
        self.of.record.end(self.at, reply, |of| {
            of.outcome = Label::from(call.outcome.name());
            of.error = self.error.map(Label::from);
            of.input_tokens = call.input_tokens;
            of.cached_tokens = call.cached_tokens;
            of.output_tokens = call.output_tokens;
            of.is_estimated = call.is_estimated;
            of.cost_usd = call.cost_usd;
            of.first_token_ms = self.first_token_ms;
            of.total_ms = milliseconds(self.start);
        });
        if let (Some(session), true) = (&self.of.session, self.is_begun) {
            let tokens = call.input_tokens + call.output_tokens;
            self.state.sessions.record(session, name, tokens, Instant::now());
        }
        if let (Some(session), Some(step), true) = (&self.of.session, &self.of.step, self.is_owed()) {
            self.state.plans.spent(session, step, call.cost_usd);
        }
        if let Some(hold) = self.of.hold.take() {
            let is_owed = self.is_owed() || self.usage.is_some();
            let used = Amount::new(call.cost_usd.max(0.0), call.input_tokens + call.output_tokens);
            hold.settle(is_owed.then(|| used.unwrap_or(Amount::ZERO)));
        }
        tracing::debug!(
            tier = name,
            outcome = call.outcome.name(),
            input_tokens = call.input_tokens,
            output_tokens = call.output_tokens,
            cost_usd = call.cost_usd,
            "call settled"
        );
    }
}

fn text_of(bytes: &[u8], dialect: Dialect) -> String {
    let body: Option<Value> = serde_json::from_slice(bytes).ok();
    let said = body.as_ref().and_then(Value::as_object).map(|body| said(body, dialect));
    said.and_then(Result::ok).unwrap_or_default().text
}

fn text_of_stream(bytes: &[u8], dialect: Dialect) -> String {
    said_in_stream(bytes, dialect).text
}
