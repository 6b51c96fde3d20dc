//! `POST /v1/chat/completions`, `/v1/responses`, `/v1/messages`: decide, then forward.
//!
//! ```text
//! body -> asked -> dials, forecasts -> ways (a body per tier, or why not) -> decide
//!      -> attempt at each acceptable tier in turn, until one begins to answer -> relay -> settle
//! ```
//! Until the first byte goes to the client, a failure leads to the next tier; after it never.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use tiercast_chat::{Dialect, Failure};
use tiercast_records::journal::Role;
use tiercast_routing::decide::{Exclusion, Reason};
use tiercast_upstream::error::{CallError, ErrorKind};
use tiercast_upstream::upstream::Upstream;

use crate::answer::Answer;
use crate::error::Error;
use crate::keys::Caller;
use crate::latency::Wait;
use crate::serving::Serving;
use crate::state::{Decided, Ending, State};
use asked::Asked;
use attempt::attempt;
use ways::Ways;

pub(crate) mod asked;
mod attempt;
mod cascade;
mod evidence;
mod relay;
mod settle;
pub(crate) mod ways;

use settle::{Part, Settle};

/// A tier that failed before the reply began.
struct Failed {
    tier: String,
    kind: ErrorKind,
}

/// What became of asking a tier.
enum Sent {
    /// Its reply has begun; and its place among the request's calls.
    Begun(Response, usize),
    /// It failed before; and what the endpoint says of it.
    Failed(CallError, Option<Failure>),
    /// It was not asked: it cannot be, or another call took what was left of a budget.
    Skipped(Error),
}

/// Why a tier is asked.
#[derive(Clone, Copy)]
enum Why<'a> {
    /// It is the decision's.
    Chosen,
    /// This one failed before.
    After(&'a Failed),
    /// The answer before was not good enough.
    Escalation,
    /// To judge an answer by.
    Evidence,
}

impl Why<'_> {
    fn role(self) -> Role {
        match self {
            Self::Chosen => Role::Chosen,
            Self::After(_) => Role::Fallback,
            Self::Escalation => Role::Escalation,
            Self::Evidence => Role::Evidence,
        }
    }
}

/// A request on its way: all that its calls need to know.
struct Run<'a> {
    state: &'a Arc<State>,
    serving: &'a Serving,
    decided: &'a Decided,
    asked: &'a Asked,
    ways: &'a Ways,
    headers: &'a HeaderMap,
    deadline: Instant,
}

/// Decides and forwards.
pub(crate) async fn forward(
    state: &Arc<State>,
    dialect: Dialect,
    caller: &Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let serving = state.serving();
    if !serving.settings.has_endpoints() {
        return Err(Error::NoEndpoints);
    }
    let deadline = Instant::now() + Duration::from_millis(serving.settings.deadline_ms);
    let bytes = crate::app::read(body, &serving.settings).await?;
    let start = Instant::now();
    let asked = Asked::read(bytes, dialect)?;
    let ways = Ways::of(&asked, &serving);
    let endpoint = endpoint(dialect);
    let decided = state
        .decide(&serving, &asked, (headers, endpoint), caller, &ways, (start, deadline))
        .await?;
    let run = Run {
        state,
        serving: &serving,
        decided: &decided,
        asked: &asked,
        ways: &ways,
        headers,
        deadline,
    };
    let mut failed = Vec::new();
    let answering = async {
        match &decided.cascade {
            Some(cascade) => run.cascade(cascade, &mut failed).await,
            None => run.first_to_answer(&mut failed).await,
        }
    };
    let answered = tokio::select! {
        biased;
        () = state.ends(Ending::GivingUp) => Err(Error::Closed),
        answered = answering => answered,
    };
    if let Err(Error::Spent(_)) = &answered {
        state.metrics.budget_refusal();
    }
    Ok(answered.unwrap_or_else(|error| refusal(error, &decided.answer, &failed)))
}

impl Run<'_> {
    /// Asks one tier after another until a reply has begun.
    async fn first_to_answer(&self, failed: &mut Vec<Failed>) -> Result<Response, Error> {
        let mut last: Option<(String, CallError, Option<Failure>)> = None;
        let mut skipped = None;
        for tier_idx in candidates(&self.decided.answer, self.serving) {
            let why = failed.last().map_or(Why::Chosen, Why::After);
            match self.send(tier_idx, failed.len(), why).await? {
                Sent::Begun(response, at) => {
                    self.decided.record.answered_by(at, None);
                    return Ok(respond(response, &self.decided.answer, tier_idx, failed));
                }
                Sent::Skipped(why) => skipped = Some(why),
                Sent::Failed(error, said) => {
                    let goes_on = leads_on(error.kind);
                    failed.push(self.failed(tier_idx, &error));
                    last = Some((self.name(tier_idx).to_owned(), error, said));
                    if !goes_on || Instant::now() >= self.deadline {
                        break;
                    }
                }
            }
        }
        match last {
            Some((tier, error, said)) => Err(Error::upstream(&tier, &error, said.as_ref(), failed.len())),
            None => Err(skipped.unwrap_or(Error::NoEndpoints)),
        }
    }

    /// Asks one tier. `n_attempts` numbers the calls of this request.
    async fn send(&self, tier_idx: usize, n_attempts: usize, why: Why<'_>) -> Result<Sent, Error> {
        let tier = &self.serving.deployment.catalog().tiers()[tier_idx];
        let way = self.ways.way(tier_idx, self.asked, self.serving);
        let (Some(upstream), Some(way)) = (&self.serving.upstreams[tier_idx], way) else {
            return Ok(Sent::Skipped(Error::NoEndpoints));
        };
        let most = self.asked.request.max_output_tokens;
        let hold = self
            .state
            .hold(self.serving, self.decided, tier_idx, most, n_attempts)
            .await;
        let hold = match hold {
            Ok(hold) => hold,
            // Another call was quicker; a cheaper tier may still fit.
            Err(Error::Spent(spent)) => return Ok(Sent::Skipped(Error::Spent(spent))),
            Err(error) => return Err(error),
        };
        if let Why::After(before) = why {
            self.state.fell_back(&before.tier, &tier.name, before.kind);
        }
        let dials = &self.decided.dials;
        let of = Part {
            session: dials.session.clone(),
            step: dials.step.clone(),
            hold,
            record: Arc::clone(&self.decided.record),
            role: why.role(),
        };
        let settle = Settle::new(Arc::clone(self.state), tier, &self.decided.forecasts[tier_idx], of);
        let at = settle.0.at();
        let begun = attempt(
            upstream,
            &way,
            self.asked,
            self.headers,
            settle,
            self.deadline,
            self.serving,
        )
        .await;
        Ok(match begun {
            Ok(response) => Sent::Begun(response, at),
            Err((error, said)) => {
                tracing::info!(
                    id = self.decided.answer.decision.id,
                    tier = tier.name,
                    kind = error.kind.name(),
                    status = error.status,
                    %error,
                    "call failed"
                );
                Sent::Failed(error, said)
            }
        })
    }

    fn failed(&self, tier_idx: usize, error: &CallError) -> Failed {
        Failed {
            tier: self.name(tier_idx).to_owned(),
            kind: error.kind,
        }
    }

    fn name(&self, tier_idx: usize) -> &str {
        self.serving.deployment.name(tier_idx)
    }
}

/// A dialect's path in the journal.
fn endpoint(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Chat => "chat",
        Dialect::Responses => "responses",
        Dialect::Messages => "messages",
    }
}

/// The tiers to try, best first: the chosen one, then what is acceptable. Where nothing is, what is
/// nearest. Where the forecasts rest on too little, they do not say who comes next either: the higher classes
/// first, of one class the dearer. A tier that the caller named is tried alone.
fn candidates(answer: &Answer, serving: &Serving) -> Vec<usize> {
    let catalog = serving.deployment.catalog();
    let position = |name: &String| catalog.position(name);
    let chosen = position(&answer.decision.tier);
    if answer.reason == Reason::NamedByCaller {
        return chosen.into_iter().collect();
    }
    let is_blind = answer.reason == Reason::InsufficientEvidence;
    let is_acceptable =
        |tier: &usize| answer.tiers[*tier].acceptable || is_blind || answer.reason == Reason::NoneAcceptable;
    let rest = answer.decision.ranked.iter().filter_map(position);
    let rest = rest.filter(|tier| Some(*tier) != chosen && is_acceptable(tier));
    let mut rest: Vec<usize> = rest.collect();
    if is_blind {
        let tiers = catalog.tiers();
        let price = |tier: usize| tiers[tier].input_usd_per_mtok + tiers[tier].output_usd_per_mtok;
        rest.sort_by(|a, b| {
            let by_class = tiers[*a].class.cmp(&tiers[*b].class);
            by_class.then(price(*b).total_cmp(&price(*a)))
        });
    }
    chosen.into_iter().chain(rest).collect()
}

/// Whether another tier may succeed where this one failed. What is wrong with the request itself is
/// told to the client.
fn leads_on(kind: ErrorKind) -> bool {
    kind.is_transient()
        || kind.is_configuration()
        || matches!(
            kind,
            ErrorKind::ContextTooLong | ErrorKind::StreamRefused | ErrorKind::TooLarge
        )
}

/// The answer with our headers on it: of the tier that answers, which need not be the decision's.
fn respond(mut response: Response, answer: &Answer, tier_idx: usize, failed: &[Failed]) -> Response {
    let headers = response.headers_mut();
    let tier = &answer.tiers[tier_idx];
    crate::app::decorate(headers, answer);
    set(headers, "x-tiercast-tier", &tier.tier);
    set(headers, "x-tiercast-quality", &format!("{:.4}", tier.quality_mean));
    set(headers, "x-tiercast-cost-usd", &format!("{:.8}", tier.cost_usd));
    came_from(headers, failed);
    response
}

/// An error that came after the decision: its headers say which decision and who failed.
fn refusal(error: Error, answer: &Answer, failed: &[Failed]) -> Response {
    let mut response = error.into_response();
    let headers = response.headers_mut();
    crate::app::decorate(headers, answer);
    // Nobody answered, so there is nothing to expect of an answer.
    for name in ["x-tiercast-tier", "x-tiercast-quality", "x-tiercast-cost-usd"] {
        headers.remove(name);
    }
    came_from(headers, failed);
    response
}

fn came_from(headers: &mut HeaderMap, failed: &[Failed]) {
    if !failed.is_empty() {
        let word = |failed: &Failed| format!("{}:{}", failed.tier, failed.kind.name());
        let words: Vec<String> = failed.iter().map(word).collect();
        set(headers, "x-tiercast-fallback-from", &words.join(", "));
    }
}

/// A tier's name may hold what a header cannot.
fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}

/// Why a tier cannot be asked now, whatever the request.
pub(crate) fn unavailable(upstream: Option<&Arc<Upstream>>, is_gateway: bool) -> Option<Exclusion> {
    match upstream {
        None => Some(Exclusion::NoEndpoint).filter(|_| is_gateway),
        Some(upstream) => upstream.circuit_open_for().map(|_| Exclusion::CircuitOpen),
    }
}

/// Which wait a latency target is about: a streamed reply is judged by its beginning.
pub(crate) fn wait_of(is_streamed: bool) -> Wait {
    if is_streamed { Wait::FirstToken } else { Wait::Total }
}
