//! The router: paths, limits and handlers. [`crate::server`] puts it on a socket.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Extension, Path, Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use futures_util::FutureExt;
use http_body::{Frame, SizeHint};
use serde_json::{Value, json};
use tiercast_chat::Dialect;
use tiercast_records::journal::About;
use tiercast_routing::request::Request as Ask;
use tokio::sync::OwnedSemaphorePermit;

use crate::answer::Answer;
use crate::budgets::Purses;
use crate::dashboard;
use crate::dials::{self, CERTIFIED_MODEL, Dials, VIRTUAL_MODELS};
use crate::error::{Error, in_dialect};
use crate::feedback;
use crate::gateway::asked::Asked;
use crate::gateway::forward;
use crate::gateway::ways::Ways;
use crate::keys::Caller;
use crate::latency::Wait;
use crate::plans::view;
use crate::serving::Serving;
use crate::sessions::LONGEST_ID;
use crate::settings::Settings;
use crate::state::State;

/// The paths there are; others share one label in the metrics.
const PATHS: [&str; 14] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/route",
    "/v1/plans",
    "/v1/feedback",
    "/v1/decisions",
    "/v1/models",
    "/v1/stats",
    "/admin/config/reload",
    "/health",
    "/ready",
    "/metrics",
    "/",
];

/// Decisions that are listed where no number is asked for.
const DECISIONS: usize = 50;

/// How many times the limit is read and thrown away, so that a client that is still sending gets
/// to read the refusal instead of a reset connection.
const READ_ON: usize = 4;

/// The whole application.
pub fn app(state: Arc<State>) -> Router {
    let api = Router::new()
        .route("/v1/route", post(route))
        .route("/v1/plans", post(plan))
        .route("/v1/feedback", post(feedback))
        .route("/v1/chat/completions", forwarding(Dialect::Chat))
        .route("/v1/responses", forwarding(Dialect::Responses))
        .route("/v1/messages", forwarding(Dialect::Messages))
        .layer(from_fn_with_state(Arc::clone(&state), limit));
    // What is read of us answers whatever the load.
    let known = Router::new()
        .route("/v1/models", get(models))
        .route("/v1/stats", get(stats))
        .route("/v1/sessions/{id}", get(session))
        .route("/v1/decisions", get(decisions))
        .route("/v1/decisions/{id}", get(decision))
        .route("/metrics", get(prometheus))
        .merge(api)
        .layer(from_fn_with_state(Arc::clone(&state), let_in));
    let admin = Router::new()
        .route("/admin/config/reload", post(reload))
        .layer(from_fn_with_state(Arc::clone(&state), let_administer));
    // Probes ask for no key, and the page asks for one itself.
    Router::new()
        .route("/", get(dashboard::page))
        .route("/dashboard/{file}", get(dashboard::file))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .merge(known)
        .merge(admin)
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::clone(&state), count))
        .with_state(state)
}

/// Predicts and decides; forwards nothing.
async fn route(
    Shared(state): Shared<Arc<State>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let serving = state.serving();
    let limit_ms = serving.settings.request_timeout_ms;
    let decided = async {
        let body = read(body, &serving.settings).await?;
        let start = Instant::now();
        let asked = Asked::read(body, Dialect::Chat)?;
        let ways = Ways::of(&asked, &serving);
        // Nothing is forwarded, so nothing waits for a budget.
        let now = (start, start);
        let from = (&headers, "route");
        let decided = state.decide(&serving, &asked, from, &caller, &ways, now).await?;
        let mut answer = decided.answer;
        answer.debug = decided.dials.debug.then(|| debug_view(&asked.request, &decided.dials));
        Ok(respond(&answer))
    };
    let decided = tokio::time::timeout(Duration::from_millis(limit_ms), decided).await;
    decided.map_err(|_| Error::TimedOut { limit_ms })?
}

/// Decides on bodies of a dialect and forwards them.
fn forwarding(dialect: Dialect) -> MethodRouter<Arc<State>> {
    post(
        move |Shared(state): Shared<Arc<State>>,
              Extension(caller): Extension<Caller>,
              headers: HeaderMap,
              body: Body| async move { forward(&state, dialect, &caller, &headers, body).await },
    )
}

/// Puts the settings in force that the file holds now.
async fn reload(Shared(state): Shared<Arc<State>>) -> Result<Json<Value>, Error> {
    state.reload().map_err(Error::Reload)?;
    Ok(Json(
        json!({ "reloaded": true, "tiers": state.serving().deployment.names() }),
    ))
}

/// What the calls took so far, and how the tiers are.
async fn stats(Shared(state): Shared<Arc<State>>) -> Json<Value> {
    let serving = state.serving();
    let now = Instant::now();
    let names = serving.deployment.catalog().tiers().iter().zip(&serving.upstreams);
    let health = names.enumerate().map(|(tier_idx, (tier, upstream))| {
        let p95_ms = |wait| {
            state
                .latencies
                .p95_s(&tier.name, wait, now)
                .map(|seconds| seconds * 1000.0)
        };
        let open_s = upstream.as_ref().and_then(|upstream| upstream.circuit_open_for());
        let health = json!({
            "has_endpoint": upstream.is_some(),
            "circuit_open_s": open_s.map(|wait| wait.as_secs_f64()),
            "first_token_p95_ms": p95_ms(Wait::FirstToken),
            "total_p95_ms": p95_ms(Wait::Total),
            "predicted_as": serving.deployment.borrowed_from(tier_idx),
        });
        (tier.name.clone(), health)
    });
    let health: serde_json::Map<String, Value> = health.collect();
    let accounts = state.accounts.all();
    let cost_usd: f64 = accounts.values().map(|account| account.cost_usd).sum();
    Json(json!({
        "checkpoint": serving.deployment.checkpoint(),
        "figures": state.observer.figures(),
        "findings": state.observer.findings(),
        "journal": state.observer.journal(),
        "cost_usd": cost_usd,
        "accounts": accounts,
        "tiers": health,
    }))
}

/// A tier per step of a task.
async fn plan(Shared(state): Shared<Arc<State>>, headers: HeaderMap, body: Body) -> Result<Json<Value>, Error> {
    let serving = state.serving();
    let limit_ms = serving.settings.request_timeout_ms;
    let session = dials::session(&headers)?;
    let planned = async {
        let body = read(body, &serving.settings).await?;
        state.plan(&serving, &body, session.as_deref()).await
    };
    let planned = tokio::time::timeout(Duration::from_millis(limit_ms), planned).await;
    let plan = planned.map_err(|_| Error::TimedOut { limit_ms })??;
    let mut answer = view(&plan, &serving.deployment);
    answer["session"] = json!(session);
    Ok(Json(answer))
}

/// What a session has spent and has left, and its plan as it stands.
async fn session(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Result<Json<Value>, Error> {
    let serving = state.serving();
    let purses = Purses::of_session(&serving.settings.budgets, &id).map_err(Error::Budgets)?;
    let budgets = match &state.budgets {
        Some(store) if !purses.is_empty() => purses.standing(store.as_ref()).await.map_err(Error::Budgets)?,
        _ => Vec::new(),
    };
    let mut answer = json!({ "session": id, "budgets": budgets });
    match state.plans.of(&id) {
        Some(Ok(plan)) => answer["plan"] = view(&plan, &serving.deployment),
        Some(Err(error)) => answer["plan"] = json!({ "error": error.to_string() }),
        None => {}
    }
    Ok(Json(answer))
}

/// What somebody says of an answer.
async fn feedback(Shared(state): Shared<Arc<State>>, body: Body) -> Result<(StatusCode, Json<Value>), Error> {
    let body = read(body, &state.serving().settings).await?;
    let said = feedback::read(&body, |id| state.observer.is_ours(id))?;
    let about = match &said.about {
        About::Decision(id) => json!({ "decision_id": id }),
        About::Session(id) => json!({ "session_id": id }),
    };
    if !state.observer.said(said) {
        return Err(Error::Busy {
            what: "its journal is behind",
            key: "journal.queue",
        });
    }
    let kept = state.observer.has_journal();
    Ok((
        StatusCode::ACCEPTED,
        Json(json!({ "accepted": true, "kept": kept, "about": about })),
    ))
}

/// The latest decisions, newest first: `?limit=50`.
async fn decisions(Shared(state): Shared<Arc<State>>, uri: Uri) -> Json<Value> {
    let limits = uri.query().unwrap_or_default().split('&');
    let limit = limits
        .filter_map(|pair| pair.strip_prefix("limit=")?.parse().ok())
        .next();
    Json(json!({ "decisions": state.observer.recent(limit.unwrap_or(DECISIONS)) }))
}

/// One of the latest decisions: what was expected of every tier, and what came of it.
async fn decision(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Result<Json<Value>, Error> {
    match state.observer.decision(&id) {
        Some(row) => Ok(Json(json!(*row))),
        None if state.observer.is_ours(&id) => Err(Error::Forgotten(id)),
        None => Err(Error::NoSuchDecision(id.chars().take(LONGEST_ID).collect())),
    }
}

/// Counts and dials as they were read; the ask only by its length.
fn debug_view(request: &Ask, dials: &Dials) -> Value {
    json!({
        "ask_bytes": request.ask.len(),
        "context": request.context,
        "constraints": dials.constraints,
        "cohort": dials.cohort,
    })
}

fn respond(answer: &Answer) -> Response {
    let mut response = Json(answer).into_response();
    decorate(response.headers_mut(), answer);
    response
}

/// Says in headers what was decided.
pub(crate) fn decorate(headers: &mut HeaderMap, answer: &Answer) {
    let decision = &answer.decision;
    let values = [
        ("x-tiercast-decision-id", decision.id.clone()),
        ("x-tiercast-tier", decision.tier.clone()),
        ("x-tiercast-policy", decision.policy.to_owned()),
        ("x-tiercast-reason", decision.reason.clone()),
        ("x-tiercast-quality", format!("{:.4}", decision.quality_mean)),
        ("x-tiercast-cost-usd", format!("{:.8}", decision.cost_usd)),
        ("x-tiercast-overhead-ms", format!("{:.3}", answer.overhead_ms)),
        ("x-tiercast-checkpoint", decision.checkpoint.clone()),
    ];
    for (name, value) in values {
        // A tier's name may hold what a header cannot; the body has it in any case.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(name, value);
        }
    }
}

/// Reads a body of the size and in the time that the settings allow.
pub(crate) async fn read(body: Body, settings: &Settings) -> Result<Vec<u8>, Error> {
    let whole = read_at_most(body, settings.body_limit_bytes);
    let read = tokio::time::timeout(settings.request_timeout(), whole).await;
    read.map_err(|_| Error::BodySlow {
        limit_ms: settings.request_timeout_ms,
    })?
}

async fn read_at_most(mut body: Body, limit: usize) -> Result<Vec<u8>, Error> {
    let (mut bytes, mut n_bytes) = (Vec::new(), 0_usize);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|_| Error::BodyLost)?.into_data() else {
            continue;
        };
        n_bytes = n_bytes.saturating_add(data.len());
        if n_bytes <= limit {
            bytes.extend_from_slice(&data);
        } else if n_bytes / READ_ON > limit {
            break;
        }
    }
    if n_bytes > limit {
        Err(Error::TooLarge { limit })
    } else {
        Ok(bytes)
    }
}

/// The tiers and the virtual names, in OpenAI's list shape.
async fn models(Shared(state): Shared<Arc<State>>) -> Json<Value> {
    let model = |id: &str, is_virtual: bool| json!({ "id": id, "object": "model", "created": 0, "owned_by": "tiercast", "virtual": is_virtual });
    let serving = state.serving();
    let tiers = serving
        .deployment
        .catalog()
        .tiers()
        .iter()
        .enumerate()
        .map(|(tier_idx, tier)| {
            let mut entry = model(&tier.name, false);
            entry["class"] = json!(tier.class);
            if let Some(from) = serving.deployment.borrowed_from(tier_idx) {
                entry["predicted_as"] = json!(from);
            }
            entry
        });
    let data: Vec<Value> = VIRTUAL_MODELS
        .iter()
        .chain(serving.deployment.certificate().map(|_| &CERTIFIED_MODEL))
        .map(|name| model(name, true))
        .chain(tiers)
        .collect();
    Json(json!({ "object": "list", "data": data }))
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

async fn ready(Shared(state): Shared<Arc<State>>) -> (StatusCode, Json<Value>) {
    match state.is_ready() {
        true => {
            // What cannot be kept does not keep requests from being served.
            let failing = state.observer.failing();
            (
                StatusCode::OK,
                Json(json!({ "status": "ready", "journal_failing": failing })),
            )
        }
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "not ready" }))),
    }
}

async fn prometheus(Shared(state): Shared<Arc<State>>) -> impl IntoResponse {
    state.observer.measure(&state.metrics);
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        state.metrics.render(),
    )
}

async fn no_such_path(uri: Uri) -> Error {
    Error::NoSuchPath {
        path: uri.path().to_owned(),
    }
}

async fn no_such_method(method: Method, uri: Uri) -> Error {
    Error::Method {
        method: method.to_string(),
        path: uri.path().to_owned(),
    }
}

/// Lets clients in that have a key, and tells the handlers who they are.
async fn let_in(Shared(state): Shared<Arc<State>>, mut request: Request, next: Next) -> Result<Response, Error> {
    let serving = state.serving();
    one_key(&serving, request.headers())?;
    let caller = serving.keys.caller(request.headers());
    request.extensions_mut().insert(caller.ok_or(Error::Unauthorized)?);
    Ok(next.run(request).await)
}

async fn let_administer(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Result<Response, Error> {
    let serving = state.serving();
    one_key(&serving, request.headers())?;
    if !serving.keys.is_admin(request.headers()) {
        return Err(Error::NotAdmin);
    }
    Ok(next.run(request).await)
}

fn one_key(serving: &Serving, headers: &HeaderMap) -> Result<(), Error> {
    if serving.keys.are_at_odds(headers) {
        let mend = "the header `authorization` carries another key: send one of the two";
        return Err(Error::header("x-api-key", "(not shown)", mend));
    }
    Ok(())
}

/// Bounds how many requests are under way, to the end of their answers.
async fn limit(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Result<Response, Error> {
    let busy = |_| Error::Busy {
        what: "too many requests are under way",
        key: "max_concurrency",
    };
    let permit = Arc::clone(&state.permits).try_acquire_owned().map_err(busy)?;
    let response = next.run(request).await;
    Ok(response.map(|body| Body::new(Held { body, _permit: permit })))
}

/// A body that counts as a request under way until it is read to its end or dropped.
struct Held {
    body: Body,
    _permit: OwnedSemaphorePermit,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Counts every answer, refusals too; a panic is one request's 500. Errors take the shape that the
/// path's clients read.
async fn count(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let path = PATHS
        .into_iter()
        .find(|path| *path == request.uri().path())
        .unwrap_or("other");
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let response = answered.unwrap_or_else(|_| Error::Panicked.into_response());
    state.metrics.request(path, response.status().as_u16());
    match path {
        "/v1/messages" => in_dialect(response, Dialect::Messages),
        _ => response,
    }
}

#[cfg(test)]
mod tests;
