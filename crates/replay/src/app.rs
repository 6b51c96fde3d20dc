//! The router.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tiercast_chat::{Dialect, ReplyOptions};

use crate::completion::Completion;
use crate::error::Error;
use crate::faults::{FaultKind, Faults};
use crate::request::{Request, last_user_text};
use crate::script::{Script, Terms};
use crate::state::State;
use crate::stats::Flight;

/// Largest request: many times the largest window.
const MAX_BODY_BYTES: usize = 32 << 20;

/// The endpoints of one outcome file.
pub fn app(state: Arc<State>) -> Router {
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", asked_in(Dialect::Chat))
        .route("/v1/responses", asked_in(Dialect::Responses))
        .route("/v1/messages", asked_in(Dialect::Messages))
        .route("/replay/faults", get(faults).post(set_faults))
        .route("/replay/stats", get(stats))
        .fallback(async |uri: Uri| Error::NoSuchPath {
            path: uri.path().to_owned(),
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state)
}

async fn models(Shared(state): Shared<Arc<State>>) -> Json<Value> {
    let models = state.library.models().iter();
    let data: Vec<Value> = models
        .map(|id| json!({"id": id, "object": "model", "created": 0, "owned_by": "tiercast-replay"}))
        .collect();
    Json(json!({"object": "list", "data": data}))
}

async fn stats(Shared(state): Shared<Arc<State>>) -> Json<Value> {
    Json(state.stats())
}

async fn faults(Shared(state): Shared<Arc<State>>) -> Json<Faults> {
    Json(Faults::clone(&state.faults()))
}

async fn set_faults(Shared(state): Shared<Arc<State>>, body: Bytes) -> Result<Json<Faults>, Error> {
    let faults: Faults = serde_json::from_slice(&body).map_err(|error| Error::Faults(error.to_string()))?;
    let faults = faults.checked().map_err(Error::Faults)?;
    state.set_faults(faults.clone());
    Ok(Json(faults))
}

fn asked_in(dialect: Dialect) -> MethodRouter<Arc<State>> {
    post(async move |Shared(state): Shared<Arc<State>>, body: Bytes| answer(&state, dialect, &body).await)
}

async fn answer(state: &State, dialect: Dialect, body: &[u8]) -> Response {
    let mut flight = Flight::start(&state.stats);
    match script(state, dialect, body) {
        Ok((model, script)) => {
            flight.bring(model, script.told);
            play(script, flight).await
        }
        Err(error) => {
            flight.end();
            let (_, code) = error.kind();
            state.stats.refused(code);
            error.response(dialect)
        }
    }
}

/// What the request gets, and the index of the model that it asks.
fn script(state: &State, dialect: Dialect, body: &[u8]) -> Result<(usize, Script), Error> {
    let request = Request::parse(body, dialect)?;
    let text = last_user_text(&request.messages);
    let library = &state.library;
    let (key, model, pair) = library
        .find(&request.model, &request.messages, &request.tools, text.as_deref())
        .map_err(|missing| Error::missing(missing, request.model.clone(), library.models()))?;
    let attempt = pair.attempt();
    let faults = state.faults();
    let fault = faults.draw(key.0, &request.model, attempt);
    let id = format!("replay-{:016x}-{attempt}", key.0);
    let completion = Completion {
        id: &id,
        model: &request.model,
        recorded: pair.turn(fault.is_none_or(FaultKind::leaves_whole)),
        // Other dialects have another word for it, if any.
        with_logprobs: dialect == Dialect::Chat && request.body.get("logprobs") == Some(&true.into()),
    };
    let terms = Terms {
        dialect,
        options: &ReplyOptions::to(&request.body, &request.model, &id, 0),
        is_streamed: request.is_streamed(),
        wants_usage: request.wants_usage(),
        pace: state.pace,
        fault,
        faults: &faults,
        way: key.0,
    };
    let script = Script::of(&completion, &terms)?;
    state.stats.found(model, request.is_streamed(), fault);
    Ok((model, script))
}

/// Sends an answer piece by piece. A client that leaves drops it, and with it `flight`.
async fn play(script: Script, mut flight: Flight) -> Response {
    if !script.wait.is_zero() {
        tokio::time::sleep(script.wait).await;
    }
    let mut response = match script.pieces.as_slice() {
        [(after, body)] if after.is_zero() && !script.is_cut => {
            flight.end();
            Body::from(body.clone())
        }
        _ => streamed(script.pieces, script.is_cut, flight),
    }
    .into_response();
    *response.status_mut() = StatusCode::from_u16(script.status).expect("the statuses of scripts are statuses");
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(script.content_type),
    );
    if let Some(seconds) = script.retry_after_s {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn streamed(pieces: Vec<(std::time::Duration, Bytes)>, is_cut: bool, flight: Flight) -> Body {
    let pieces = pieces.into_iter();
    Body::from_stream(stream::unfold(
        (pieces, is_cut, flight),
        async |(mut pieces, is_cut, mut flight)| {
            match pieces.next() {
                Some((after, bytes)) => {
                    if !after.is_zero() {
                        tokio::time::sleep(after).await;
                    }
                    Some((Ok(bytes), (pieces, is_cut, flight)))
                }
                None => {
                    flight.end();
                    if is_cut {
                        // The server sends what it has when it finds nothing more to send. An error in
                        // the same breath would drop the half reply unsent, head and all.
                        tokio::task::yield_now().await;
                    }
                    // An error makes the server drop the connection in the middle of the body.
                    let cut = || Err(io::Error::other("cut, as was asked for"));
                    is_cut.then(|| (cut(), (pieces, false, flight)))
                }
            }
        },
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::body::to_bytes;
    use futures_util::StreamExt;
    use tower::ServiceExt;

    use super::*;
    use crate::library::tests::{library, row};
    use crate::pace::Pace;

    fn state(faults: Faults) -> Arc<State> {
        let rows = [
            row("hi", "m", Some("a")),
            row("ho", "m", None),
            row("hi", "n", Some("b")),
        ];
        State::new(library(&rows), Pace::Instant, faults)
    }

    async fn send(state: &Arc<State>, method: &str, path: &str, body: &Value) -> (u16, Result<String, String>) {
        let request = axum::http::Request::builder().method(method).uri(path);
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = app(Arc::clone(state)).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await;
        (
            status,
            bytes
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(|e| e.to_string()),
        )
    }

    /// The path and a body that asks for this, in a dialect.
    fn asking(dialect: Dialect, model: &str, text: &str, stream: bool) -> (&'static str, Value) {
        let messages = json!([{"role": "user", "content": text}]);
        match dialect {
            Dialect::Chat => (
                "/v1/chat/completions",
                json!({
                    "model": model, "messages": messages, "stream": stream,
                    "stream_options": {"include_usage": true},
                }),
            ),
            Dialect::Responses => (
                "/v1/responses",
                json!({"model": model, "input": text, "stream": stream}),
            ),
            Dialect::Messages => (
                "/v1/messages",
                json!({"model": model, "max_tokens": 9, "messages": messages, "stream": stream}),
            ),
        }
    }

    async fn ask(state: &Arc<State>, model: &str, text: &str) -> (u16, String) {
        let body = json!({"model": model, "messages": [{"role": "user", "content": text}]});
        let (status, said) = send(state, "POST", "/v1/chat/completions", &body).await;
        (status, said.unwrap_or_else(|error| error))
    }

    #[tokio::test]
    async fn replies_and_refusals_and_their_counts() {
        let state = state(Faults::default());
        let cases = [
            ("m", "hi", 200, "\"content\":\"a\""),
            ("n", "hi", 200, "\"content\":\"b\""),
            ("m", "hi", 200, "\"id\":\"replay-"),
            ("m", "ho", 404, "reply_not_recorded"),
            ("n", "ho", 404, "row_not_recorded"),
            ("m", "hm", 404, "prompt_not_recorded"),
            ("o", "hi", 404, "model_not_found"),
        ];
        for (model, text, status, part) in cases {
            let (found, said) = ask(&state, model, text).await;
            assert!(found == status && said.contains(part), "{model} {text}: {found} {said}");
        }
        let stats = state.stats();
        assert_eq!(stats["calls"], 7);
        assert_eq!(
            stats["models"]["m"],
            json!({
                "calls": 2, "replies": 2, "abandoned": 0,
                "input_tokens": 18, "cached_input_tokens": 0, "output_tokens": 4,
            })
        );
        assert_eq!((&stats["pairs"], &stats["calls_beyond_first"]), (&json!(2), &json!(1)));
        assert_eq!((&stats["in_flight"], &stats["abandoned"]), (&json!(0), &json!(0)));
        let refused: BTreeMap<String, u64> = serde_json::from_value(stats["refused"].clone()).unwrap();
        assert_eq!(refused.values().sum::<u64>(), 4);
    }

    #[tokio::test]
    async fn faults_are_switched_while_it_runs() {
        let state = state(Faults::default());
        let cut = json!({"shares": {"cut_stream": 1.0}});
        let (status, said) = send(&state, "POST", "/replay/faults", &cut).await;
        assert!(status == 200 && said.unwrap().contains("\"hang_s\":600.0"));
        let (status, said) = ask(&state, "m", "hi").await;
        assert!(status == 200 && said.contains("cut, as was asked for"), "{said}");
        let html = state.faults().shares[&FaultKind::CutStream];
        assert!((html - 1.0).abs() < f64::EPSILON);
        for wrong in [
            json!({"shares": {"fire": 1}}),
            json!({"share": {}}),
            json!({"hang_s": -1}),
            json!(3),
        ] {
            let (status, said) = send(&state, "POST", "/replay/faults", &wrong).await;
            assert!(status == 400 && said.unwrap().contains("invalid_faults"), "{wrong}");
        }
        let stats = state.stats();
        assert_eq!(
            (&stats["faults"]["cut_stream"], &stats["abandoned"]),
            (&json!(1), &json!(0))
        );
    }

    #[tokio::test]
    async fn models_are_listed_and_other_paths_are_not_there() {
        let state = state(Faults::default());
        let (_, said) = send(&state, "GET", "/v1/models", &json!({})).await;
        let said: Value = serde_json::from_str(&said.unwrap()).unwrap();
        assert_eq!(
            (&said["data"][0]["id"], &said["data"][1]["id"]),
            (&json!("m"), &json!("n"))
        );
        let (status, said) = send(&state, "POST", "/v1/embeddings", &json!({})).await;
        assert!(status == 404 && said.unwrap().contains("/v1/embeddings"));
    }

    #[tokio::test]
    async fn every_dialect_is_answered_in_its_own_words() {
        let state = state(Faults::default());
        let cases = [
            (
                Dialect::Chat,
                false,
                "\"object\":\"chat.completion\"",
                "\"content\":\"a\"",
            ),
            (Dialect::Chat, true, "chat.completion.chunk", "data: [DONE]"),
            (Dialect::Responses, false, "\"object\":\"response\"", "\"text\":\"a\""),
            (
                Dialect::Responses,
                true,
                "event: response.output_text.delta",
                "event: response.completed",
            ),
            (Dialect::Messages, false, "\"type\":\"message\"", "\"text\":\"a\""),
            (
                Dialect::Messages,
                true,
                "event: content_block_delta",
                "event: message_stop",
            ),
        ];
        for (n, (dialect, stream, part, other)) in cases.into_iter().enumerate() {
            let (path, body) = asking(dialect, "m", "hi", stream);
            let (status, said) = send(&state, "POST", path, &body).await;
            let said = said.unwrap();
            assert!(
                status == 200 && said.contains(part) && said.contains(other),
                "{dialect:?}: {said}"
            );
            let counts = &state.stats()["models"]["m"];
            let told = (counts["input_tokens"].as_u64(), counts["output_tokens"].as_u64());
            let n = n as u64 + 1;
            assert_eq!(told, (Some(9 * n), Some(2 * n)));
        }
    }

    #[tokio::test]
    async fn every_dialect_refuses_in_its_own_words() {
        let state = state(Faults::default());
        for dialect in Dialect::ALL {
            let (path, unknown) = asking(dialect, "m", "hm", false);
            let cases = [(json!({}), 400, "is not a"), (unknown, 404, "no reply to this prompt")];
            for (body, expected, part) in cases {
                let (status, said) = send(&state, "POST", path, &body).await;
                let said: Value = serde_json::from_str(&said.unwrap()).unwrap();
                assert!(
                    status == expected && said["error"]["message"].as_str().unwrap().contains(part),
                    "{said}"
                );
                let is_anthropic = said["type"] == "error" && said["error"].get("code").is_none();
                assert_eq!(is_anthropic, dialect == Dialect::Messages, "{said}");
            }
        }
        let wrong = json!({"model": "m", "input": "hi", "previous_response_id": "resp_1"});
        let (status, said) = send(&state, "POST", "/v1/responses", &wrong).await;
        assert!(status == 400 && said.unwrap().contains("`previous_response_id`"));
        assert_eq!(state.stats()["refused"]["invalid_body"], 4);
    }

    #[tokio::test]
    async fn calls_are_replayed_but_not_where_a_dialect_cannot_say_them() {
        let calling = |prompt, calls| tiercast_records::completions::Completion {
            tool_calls: Some(calls),
            ..row(prompt, "m", None)
        };
        let whole = r#"[{"id": "c", "function": {"name": "add", "arguments": "{\"x\": 17}"}}]"#;
        let cut = r#"[{"id": "c", "function": {"name": "add", "arguments": "{\"x\": 1"}}]"#;
        let rows = [calling("hi", whole), calling("ho", cut)];
        let state = State::new(library(&rows), Pace::Instant, Faults::default());
        let cases = [
            (Dialect::Chat, "hi", false, 200, "\"finish_reason\":\"tool_calls\""),
            (Dialect::Chat, "hi", true, 200, "\"finish_reason\":\"tool_calls\""),
            (
                Dialect::Responses,
                "hi",
                false,
                200,
                "\"arguments\":\"{\\\"x\\\": 17}\"",
            ),
            (
                Dialect::Responses,
                "hi",
                true,
                200,
                "response.function_call_arguments.delta",
            ),
            (Dialect::Messages, "hi", false, 200, "\"input\":{\"x\":17}"),
            (Dialect::Messages, "hi", true, 200, "input_json_delta"),
            (Dialect::Chat, "ho", false, 200, "\"arguments\":\"{\\\"x\\\": 1\""),
            (Dialect::Messages, "ho", false, 404, "not a JSON object"),
        ];
        for (dialect, text, stream, expected, part) in cases {
            let (path, body) = asking(dialect, "m", text, stream);
            let (status, said) = send(&state, "POST", path, &body).await;
            let said = said.unwrap();
            assert!(status == expected && said.contains(part), "{dialect:?} {text}: {said}");
        }
        let stats = state.stats();
        assert_eq!(
            (&stats["calls"], &stats["refused"]["reply_untranslatable"]),
            (&json!(8), &json!(1))
        );
    }

    #[tokio::test]
    async fn tokens_are_counted_as_told_and_at_the_end_alone() {
        let cases = [
            ("false_usage", [90, 20]),
            ("slow_drip", [9, 2]),
            ("wrong_usage", [0, 0]),
            ("cut_stream", [0, 0]),
            ("malformed_json", [0, 0]),
            ("html", [0, 0]),
        ];
        for (fault, expected) in cases {
            for (dialect, stream) in Dialect::ALL
                .into_iter()
                .flat_map(|dialect| [(dialect, false), (dialect, true)])
            {
                let faults = json!({"shares": {fault: 1.0}, "drip_s": 0.0});
                let state = state(serde_json::from_value(faults).unwrap());
                let (path, body) = asking(dialect, "m", "hi", stream);
                drop(send(&state, "POST", path, &body).await);
                let counts = &state.stats()["models"]["m"];
                assert_eq!(
                    json!([counts["input_tokens"], counts["output_tokens"]]),
                    json!(expected),
                    "{fault}"
                );
            }
        }
    }

    #[tokio::test]
    async fn who_leaves_in_the_middle_is_counted_by_model() {
        let drip = json!({"shares": {"slow_drip": 1.0}, "drip_s": 0.1});
        let state = state(serde_json::from_value(drip).unwrap());
        let (path, body) = asking(Dialect::Messages, "n", "hi", true);
        let request = axum::http::Request::post(path)
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = app(Arc::clone(&state)).oneshot(request).await.unwrap();
        let mut pieces = response.into_body().into_data_stream();
        assert!(pieces.next().await.unwrap().is_ok());
        drop(pieces);
        let stats = state.stats();
        let counts = &stats["models"]["n"];
        assert_eq!((&stats["abandoned"], &counts["abandoned"]), (&json!(1), &json!(1)));
        assert_eq!(
            (&counts["input_tokens"], &stats["models"]["m"]["abandoned"]),
            (&json!(0), &json!(0))
        );
    }
}
