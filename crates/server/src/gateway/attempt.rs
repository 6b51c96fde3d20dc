//! One call to one tier, up to the first byte for the client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use serde_json::{Map, Value};
use tiercast_chat::{BadReply, Dialect, Failure, ReplyOptions, StreamSummary, summarise, translate_response};
use tiercast_upstream::answer::Answer;
use tiercast_upstream::breaker::Health;
use tiercast_upstream::conceal::Concealer;
use tiercast_upstream::error::{CallError, ErrorKind};
use tiercast_upstream::upstream::Upstream;

use super::asked::Asked;
use super::relay::{Pipe, Relay};
use super::settle::Settle;
use super::ways::Way;
use crate::accounts::Outcome;
use crate::serving::Serving;

/// Headers of a client that its provider may need to read.
const PASSED_ON: [&str; 4] = ["anthropic-version", "anthropic-beta", "openai-beta", "idempotency-key"];

/// The version of Anthropic's API that translated requests are written for.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// Headers of a provider that its client may want to read, and beginnings of such.
const PASSED_BACK: [&str; 3] = ["request-id", "x-request-id", "retry-after"];
const PASSED_BACK_BEGINNINGS: [&str; 3] = ["x-ratelimit-", "anthropic-ratelimit-", "openai-"];

/// What went wrong, and what the endpoint itself says of it where it refuses.
type Failed = (CallError, Option<Failure>);

/// Asks `upstream` and returns once a reply has begun, or why none has.
pub(super) async fn attempt(
    upstream: &Arc<Upstream>,
    way: &Way,
    asked: &Asked,
    headers: &HeaderMap,
    (mut settle, traceparent): (Settle, String),
    deadline: Instant,
    serving: &Serving,
) -> Result<Response, Failed> {
    settle.speaks(asked.dialect, asked.is_streamed());
    let mut admission = upstream.admit().map_err(|wait| {
        settle.fail(ErrorKind::CircuitOpen);
        let mut error = upstream.failure(ErrorKind::CircuitOpen, "not asked, since it failed too often in a row");
        error.retry_after = Some(wait);
        (error, None)
    })?;
    let limit = upstream
        .settings()
        .timeout()
        .min(deadline.saturating_duration_since(Instant::now()));
    let begun = tokio::time::timeout(limit, begin(upstream, way, asked, (headers, &traceparent), &mut settle)).await;
    let begun = match begun {
        Ok(begun) => begun,
        Err(_) => {
            let what = format!("no reply within {:.1} s", limit.as_secs_f64());
            Err((upstream.failure(ErrorKind::Timeout, what), None))
        }
    };
    match begun {
        Ok(Begun::Whole { body, headers }) => {
            admission.finish(Health::Alive);
            settle.gives(&body);
            settle.end(Outcome::Complete);
            Ok(whole(body, &headers))
        }
        Ok(Begun::Stream(stream)) => {
            admission.begun();
            let relay = Relay {
                answer: Some(stream.answer),
                pipe: stream.pipe,
                first: stream.first,
                settle,
                admission: Some(admission),
                upstream: Arc::clone(upstream),
                concealer: stream.concealer,
                dialect: asked.dialect,
                idle: Duration::from_millis(serving.settings.idle_timeout_ms),
                deadline,
                is_over: false,
            };
            Ok(streamed(relay.into_body(), &stream.headers))
        }
        Err((error, said)) => {
            admission.finish(error.kind.usefulness());
            settle.fail(error.kind);
            Err((error, said))
        }
    }
}

enum Begun {
    Whole { body: Bytes, headers: HeaderMap },
    Stream(Box<Stream>),
}

/// A stream whose reply has begun.
struct Stream {
    answer: Answer,
    pipe: Pipe,
    /// What the client is owed of it so far.
    first: Vec<u8>,
    concealer: Concealer,
    headers: HeaderMap,
}

async fn begin(
    upstream: &Upstream,
    way: &Way,
    asked: &Asked,
    (headers, traceparent): (&HeaderMap, &str),
    settle: &mut Settle,
) -> Result<Begun, Failed> {
    let bare = |error: CallError| (error, None);
    let mut passed_on = passed_on(headers, way.dialect);
    if !traceparent.is_empty() {
        passed_on.push(("traceparent", traceparent));
    }
    settle.asked();
    let answer = upstream
        .send(way.dialect, way.body.clone(), &passed_on)
        .await
        .map_err(bare)?;
    if !(200..300).contains(&answer.status()) {
        return Err(refused(upstream, answer).await);
    }
    let passed_back = passed_back(upstream, answer.headers(), asked.dialect == way.dialect);
    match (asked.is_streamed(), answer.is_event_stream()) {
        (true, true) => begin_stream(upstream, answer, way, asked, settle, passed_back)
            .await
            .map_err(bare),
        (true, false) => {
            // An error in the place of a stream says more than that there is no stream.
            let error = read_whole(upstream, answer)
                .await
                .and_then(|body| object(upstream, &body));
            let error = error.and_then(|body| summarise(&body, way.dialect).map_err(|bad| of_reply(upstream, &bad)));
            Err(bare(error.err().unwrap_or_else(|| {
                upstream.failure(
                    ErrorKind::StreamRefused,
                    "it answered whole where a stream was asked for",
                )
            })))
        }
        (false, true) => Err(bare(
            upstream.failure(ErrorKind::NotJson, "it answered with a stream that was not asked for"),
        )),
        (false, false) => {
            let body = read_whole(upstream, answer).await.map_err(bare)?;
            settle.begun();
            let body = translated(upstream, way, asked, body, settle).map_err(bare)?;
            Ok(Begun::Whole {
                body,
                headers: passed_back,
            })
        }
    }
}

/// What a refusal means, and its words without our key, which some endpoints quote.
async fn refused(upstream: &Upstream, answer: Answer) -> Failed {
    let (error, body) = upstream.refused(answer).await;
    let said = serde_json::from_slice(&body).ok().and_then(|body| Failure::read(&body));
    let said = said.map(|said| Failure {
        code: upstream.conceal(&said.code),
        message: upstream.conceal(&said.message),
        ..said
    });
    (error, said)
}

/// The reply in the client's dialect; in the same dialect the bytes stay as they are.
fn translated(
    upstream: &Upstream,
    way: &Way,
    asked: &Asked,
    body: Bytes,
    settle: &mut Settle,
) -> Result<Bytes, CallError> {
    let reply = object(upstream, &body)?;
    settle.note(&summarise(&reply, way.dialect).map_err(|bad| of_reply(upstream, &bad))?);
    if way.dialect == asked.dialect {
        return Ok(concealed(upstream, body.into()).into());
    }
    let options = options(upstream, asked);
    let reply = translate_response(&reply, way.dialect, asked.dialect, &options);
    let reply = reply.map_err(|bad| of_reply(upstream, &bad))?;
    Ok(concealed(upstream, Value::Object(reply).to_string().into_bytes()).into())
}

fn concealed(upstream: &Upstream, body: Vec<u8>) -> Vec<u8> {
    let mut concealer = upstream.concealer();
    let mut body = concealer.push(body);
    body.extend(concealer.finish());
    body
}

fn object(upstream: &Upstream, body: &[u8]) -> Result<Map<String, Value>, CallError> {
    serde_json::from_slice(body).map_err(|error| {
        if body.trim_ascii_start().starts_with(b"<") {
            upstream.failure(ErrorKind::Html, "it answered with a web page")
        } else if error.is_eof() {
            upstream.failure(ErrorKind::CutJson, "its reply broke off")
        } else {
            upstream.failure(
                ErrorKind::NotJson,
                "it answered with something that is not a JSON object",
            )
        }
    })
}

fn of_reply(upstream: &Upstream, bad: &BadReply) -> CallError {
    match bad {
        BadReply::Malformed(_) => upstream.failure(ErrorKind::Malformed, "its reply is not one of its dialect"),
        BadReply::Failed(_) => upstream.failure(ErrorKind::Server, "it reported an error in the place of a reply"),
    }
}

async fn read_whole(upstream: &Upstream, mut answer: Answer) -> Result<Bytes, CallError> {
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.into()),
            Err(error) => return Err(upstream.failure(ErrorKind::CutJson, error.to_string())),
        }
    }
}

/// Reads until something of a reply has come: what goes wrong before is nothing that the client sees.
async fn begin_stream(
    upstream: &Upstream,
    mut answer: Answer,
    way: &Way,
    asked: &Asked,
    settle: &mut Settle,
    headers: HeaderMap,
) -> Result<Begun, CallError> {
    let mut pipe = Pipe::new(way.dialect, asked, options(upstream, asked));
    let mut concealer = upstream.concealer();
    let mut first = Vec::new();
    loop {
        let (ended, bytes) = match answer.chunk().await {
            Ok(Some(chunk)) => (false, pipe.push(&chunk)),
            Ok(None) => (true, pipe.finish()),
            Err(error) => return Err(upstream.failure(ErrorKind::CutStream, error.to_string())),
        };
        first.extend(concealer.push(bytes));
        let StreamSummary { failure, is_begun, .. } = pipe.summary();
        if failure.is_some() {
            return Err(upstream.failure(ErrorKind::Server, "it reported an error in the place of a reply"));
        }
        if *is_begun {
            settle.begun();
            settle.note(pipe.summary());
            return Ok(Begun::Stream(Box::new(Stream {
                answer,
                pipe,
                first,
                concealer,
                headers,
            })));
        }
        if ended {
            return Err(upstream.failure(ErrorKind::EmptyChoices, "its stream ended before a reply began"));
        }
    }
}

fn options(upstream: &Upstream, asked: &Asked) -> ReplyOptions {
    let created = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let created = created.map_or(0, |since| since.as_secs());
    let id = format!("tc-{:016x}", rand_id());
    ReplyOptions::to(&asked.body, upstream.model(), &id, created)
}

/// Replies of upstreams that name none need some name.
fn rand_id() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Instant::now())
}

/// What of a client's headers goes to the provider: nothing of ours, and no key.
fn passed_on(headers: &HeaderMap, dialect: Dialect) -> Vec<(&'static str, &str)> {
    let given = |name: &'static str| Some((name, headers.get(name)?.to_str().ok()?));
    let mut passed: Vec<(&str, &str)> = PASSED_ON.into_iter().filter_map(given).collect();
    let has_version = passed.iter().any(|(name, _)| *name == "anthropic-version");
    if dialect == Dialect::Messages && !has_version {
        passed.push(("anthropic-version", ANTHROPIC_VERSION));
    }
    passed
}

/// What of a provider's headers goes to the client: none that holds our key.
fn passed_back(upstream: &Upstream, headers: &HeaderMap, is_same_dialect: bool) -> HeaderMap {
    let is_passed = |name: &HeaderName| {
        let name = name.as_str();
        PASSED_BACK.contains(&name)
            || PASSED_BACK_BEGINNINGS
                .iter()
                .any(|beginning| name.starts_with(beginning))
            || (is_same_dialect && name == "content-type")
    };
    let holds_key = |value: &HeaderValue| {
        let value = String::from_utf8_lossy(value.as_bytes());
        upstream.conceal(&value) != value
    };
    let passed = headers
        .iter()
        .filter(|(name, value)| is_passed(name) && !holds_key(value));
    passed.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn whole(body: Bytes, passed_back: &HeaderMap) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.extend(passed_back.clone());
    response
}

fn streamed(body: Body, passed_back: &HeaderMap) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.extend(passed_back.clone());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
