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
use axum::response::Response;
use tiercast_chat::Dialect;
use tiercast_routing::decide::{Exclusion, Reason};
use tiercast_upstream::error::{CallError, ErrorKind};
use tiercast_upstream::upstream::Upstream;

use crate::answer::Answer;
use crate::error::Error;
use crate::keys::Caller;
use crate::latency::Wait;
use crate::serving::Serving;
use crate::state::State;
use asked::Asked;
use attempt::attempt;
use ways::Ways;

pub(crate) mod asked;
mod attempt;
mod relay;
mod settle;
pub(crate) mod ways;

use settle::Settle;

/// A tier that failed before the reply began.
struct Failed {
    tier: String,
    kind: ErrorKind,
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
    let decided = state.decide(&serving, &asked, headers, caller, &ways, start).await?;
    let mut failed: Vec<Failed> = Vec::new();
    let mut last: Option<(String, CallError, Vec<u8>)> = None;
    for tier_idx in candidates(&decided.answer, &serving) {
        let tier = &serving.deployment.catalog().tiers()[tier_idx];
        let (Some(upstream), Some(way)) = (&serving.upstreams[tier_idx], ways.way(tier_idx, &asked, &serving)) else {
            continue;
        };
        if let Some(before) = failed.last() {
            state.fell_back(&before.tier, &tier.name, before.kind);
        }
        let settle = Settle::new(
            Arc::clone(state),
            tier,
            &decided.forecasts[tier_idx],
            decided.dials.session.clone(),
        );
        match attempt(upstream, &way, &asked, headers, settle, deadline, &serving).await {
            Ok(begun) => return Ok(respond(begun, &decided.answer, &tier.name, &failed)),
            Err((error, refusal)) => {
                tracing::info!(
                    id = decided.answer.decision.id,
                    tier = tier.name,
                    kind = error.kind.name(),
                    status = error.status,
                    "call failed"
                );
                let goes_on = leads_on(error.kind);
                failed.push(Failed {
                    tier: tier.name.clone(),
                    kind: error.kind,
                });
                last = Some((tier.name.clone(), error, refusal));
                if !goes_on || Instant::now() >= deadline {
                    break;
                }
            }
        }
    }
    let Some((tier, error, refusal)) = last else {
        return Err(Error::NoEndpoints);
    };
    Err(Error::upstream(&tier, &error, &refusal, failed.len()))
}

/// The tiers to try, best first: the chosen one, then what is acceptable. Where nothing is, what is
/// nearest. A tier that the caller named is tried alone.
fn candidates(answer: &Answer, serving: &Serving) -> Vec<usize> {
    let position = |name: &String| serving.deployment.catalog().position(name);
    let chosen = position(&answer.decision.tier);
    if answer.reason == Reason::NamedByCaller {
        return chosen.into_iter().collect();
    }
    let is_acceptable = |tier: &usize| answer.tiers[*tier].acceptable || answer.reason == Reason::NoneAcceptable;
    let rest = answer.decision.ranked.iter().filter_map(position);
    let rest = rest.filter(|tier| Some(*tier) != chosen && is_acceptable(tier));
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

/// The answer with our headers on it.
fn respond(mut response: Response, answer: &Answer, tier: &str, failed: &[Failed]) -> Response {
    crate::app::decorate(response.headers_mut(), answer);
    let mut set = |name: &'static str, value: &str| {
        // A tier's name may hold what a header cannot.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            response.headers_mut().insert(name, value);
        }
    };
    set("x-tiercast-tier", tier);
    if !failed.is_empty() {
        let words: Vec<String> = failed
            .iter()
            .map(|failed| format!("{}:{}", failed.tier, failed.kind.name()))
            .collect();
        set("x-tiercast-fallback-from", &words.join(", "));
    }
    response
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
