//! The router: paths, limits and handlers. [`crate::server`] puts it on a socket.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tiercast_routing::request::Request as Ask;

use crate::answer::{Answer, answer};
use crate::dials::{Dials, VIRTUAL_MODELS};
use crate::error::Error;
use crate::state::State;
use crate::worker::Refusal;

/// The paths there are; others share one label in the metrics.
const PATHS: [&str; 5] = ["/v1/route", "/v1/models", "/health", "/ready", "/metrics"];

/// How many times the limit is read and thrown away, so that a client that is still sending gets
/// to read the refusal instead of a reset connection.
const READ_ON: usize = 4;

/// The whole application.
pub fn app(state: Arc<State>) -> Router {
    let api = Router::new()
        .route("/v1/route", post(route))
        .route("/v1/models", get(models))
        .layer(from_fn_with_state(Arc::clone(&state), limit));
    // Probes and metrics answer whatever the load.
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(prometheus))
        .merge(api)
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::clone(&state), count))
        .with_state(state)
}

/// Predicts and decides; forwards nothing.
async fn route(Shared(state): Shared<Arc<State>>, headers: HeaderMap, body: Body) -> Result<Response, Error> {
    let body = read(body, state.settings.body_limit_bytes).await?;
    let start = Instant::now();
    let chat = tiercast_chat::parse(&body)?;
    let request = chat.request();
    let dials = Dials::read(
        chat.model.as_deref(),
        &headers,
        &request,
        &state.deployment,
        &state.settings.cohorts,
    )?;
    let debug = dials.debug.then(|| debug_view(&request, &dials));
    let assessment = state.worker.forecast(request).await.inspect_err(|refusal| {
        if *refusal == Refusal::Full {
            state.metrics.queue_rejection();
        }
    })?;
    let mut answer = answer(&state.deployment, &dials, &assessment, state.next_id())?;
    let took = start.elapsed();
    answer.overhead_ms = took.as_secs_f64() * 1000.0;
    answer.debug = debug;
    state.metrics.decision(&answer, &dials, took);
    tracing::debug!(
        id = answer.decision.id,
        tier = answer.decision.tier,
        reason = answer.decision.reason,
        "decided"
    );
    Ok(respond(&answer))
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
    let mut response = Json(answer).into_response();
    for (name, value) in values {
        // A tier's name may hold what a header cannot; the body has it in any case.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Reads a body of at most `limit` bytes.
async fn read(mut body: Body, limit: usize) -> Result<Vec<u8>, Error> {
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
    let tiers = state.deployment.catalog().tiers().iter().map(|tier| {
        let mut entry = model(&tier.name, false);
        entry["class"] = json!(tier.class);
        entry
    });
    let data: Vec<Value> = VIRTUAL_MODELS
        .iter()
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
        true => (StatusCode::OK, Json(json!({ "status": "ready" }))),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "not ready" }))),
    }
}

async fn prometheus(Shared(state): Shared<Arc<State>>) -> impl IntoResponse {
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

/// Bounds how many requests are under way, and for how long.
async fn limit(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Result<Response, Error> {
    let busy = |_| Error::Busy {
        what: "too many requests are under way",
        key: "max_concurrency",
    };
    let _permit = state.permits.try_acquire().map_err(busy)?;
    let limit_ms = state.settings.request_timeout_ms;
    let answered = tokio::time::timeout(Duration::from_millis(limit_ms), next.run(request)).await;
    answered.map_err(|_| Error::TimedOut { limit_ms })
}

/// Counts every answer, refusals too.
async fn count(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let path = PATHS
        .into_iter()
        .find(|path| *path == request.uri().path())
        .unwrap_or("other");
    let response = next.run(request).await;
    state.metrics.request(path, response.status().as_u16());
    response
}

#[cfg(test)]
mod tests;
