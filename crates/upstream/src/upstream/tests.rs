//! Calls over a socket whose other end says what a test wants.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const KEY: &str = "sk-secret-123";
const PROMPT: &str = "the prompt nobody else may read";

const REPLY: &str = r#"{"choices": [{"message": {"content": "42"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}"#;
const EVENTS: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"42\"}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
const HALF: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"4\"}}]}\n\n";

/// An answer as it goes over the wire, length and all.
fn answer(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
}

fn json_answer(status: u16, body: &str) -> String {
    answer(status, "content-type: application/json\r\n", body)
}

fn event_answer(body: &str) -> String {
    answer(200, "content-type: text/event-stream\r\n", body)
}

/// Gives `answers` to one connection each, then none; keeps what was sent.
struct Endpoint {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    async fn new(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&heard);
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = request(&mut stream).await;
                keep.lock().unwrap().push(request);
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        Self { url, heard }
    }

    fn bodies(&self) -> Vec<Value> {
        let heard = self.heard.lock().unwrap();
        heard
            .iter()
            .map(|request| serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap())
            .collect()
    }

    fn upstream(&self, more: &str) -> Upstream {
        self.upstream_with(&format!("timeout_s = 20\n{more}"))
    }

    fn upstream_with(&self, more: &str) -> Upstream {
        let settings = format!("base_url = \"{}\"\napi_key_env = \"A_KEY\"\n{more}", self.url);
        let key = Secret::from(format!("{KEY}\n"));
        Upstream::new(
            "light",
            &toml::from_str(&settings).unwrap(),
            Some(key),
            &Client::new().unwrap(),
        )
        .unwrap()
    }
}

async fn request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).await.unwrap();
        text.extend_from_slice(&buffer[..n]);
        let said = String::from_utf8_lossy(&text).into_owned();
        let is_whole = if said.starts_with("GET ") {
            said.ends_with("\r\n\r\n")
        } else {
            said.contains("\r\n\r\n") && said.ends_with('}')
        };
        if n == 0 || is_whole {
            return said;
        }
    }
}

fn call(stream: bool) -> ChatCall {
    ChatCall {
        messages: vec![json!({"role": "user", "content": PROMPT})],
        stream,
        on_cut: OnCut::AskAgain,
        ..ChatCall::default()
    }
}

#[tokio::test]
async fn plain_and_streamed_calls_carry_the_key_and_give_the_reply() {
    let endpoint = Endpoint::new(vec![json_answer(200, REPLY), event_answer(EVENTS)]).await;
    let upstream = endpoint.upstream("");
    let plain = upstream.chat(&call(false)).await.unwrap();
    let streamed = upstream.chat(&call(true)).await.unwrap();
    assert_eq!((plain.text.as_str(), streamed.text.as_str()), ("42", "42"));
    assert_eq!(
        (plain.usage.unwrap().input_tokens, plain.time_to_first_token_s),
        (7, None)
    );
    assert!(streamed.time_to_first_token_s.unwrap() <= streamed.latency_s);
    let heard = endpoint.heard.lock().unwrap().join("");
    assert!(heard.contains(&format!("authorization: Bearer {KEY}\r\n")), "{heard}");
    assert!(heard.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"));
}

/// Each waits its half second, so they wait side by side.
#[tokio::test]
async fn failures_that_may_pass_are_tried_again_and_told() {
    use ErrorKind as K;
    let cases = [
        (json_answer(500, "{}"), K::Server, 500),
        (answer(429, "retry-after: 0\r\n", ""), K::RateLimited, 429),
        (answer(200, "content-type: text/html\r\n", "<html>"), K::Html, 200),
        (json_answer(200, &REPLY[..30]), K::CutJson, 200),
        (event_answer("data: {\"choices\"\n\n"), K::CutJson, 200),
        (event_answer(HALF), K::CutStream, 200),
        (json_answer(200, "{\"choices\": []}"), K::EmptyChoices, 200),
    ];
    let tries = cases.map(|(answer, kind, status)| {
        tokio::spawn(async move {
            let endpoint = Endpoint::new(vec![answer, event_answer(EVENTS)]).await;
            let reply = endpoint.upstream("").chat(&call(true)).await.unwrap();
            assert_eq!((reply.text.as_str(), reply.attempts.len()), ("42", 1));
            assert_eq!((reply.attempts[0].kind, reply.attempts[0].status), (kind, Some(status)));
        })
    });
    for tried in tries {
        tried.await.unwrap();
    }
}

#[tokio::test]
async fn an_endpoint_that_says_when_is_not_asked_before() {
    let endpoint = Endpoint::new(vec![answer(429, "retry-after: 1\r\n", ""), json_answer(200, REPLY)]).await;
    let start = Instant::now();
    endpoint.upstream("").chat(&call(false)).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn failures_that_stay_are_told_at_once_without_key_or_prompt() {
    use ErrorKind as K;
    let echo = json!({"error": {"message": format!("{KEY} {PROMPT}"), "code": KEY, "type": PROMPT}}).to_string();
    let cases = [
        (json_answer(401, &echo), K::Unauthorized, "A_KEY"),
        (
            json_answer(404, r#"{"error": {"code": "model_not_found"}}"#),
            K::ModelNotFound,
            "`light`",
        ),
        (
            json_answer(400, r#"{"error": {"code": "context_length_exceeded"}}"#),
            K::ContextTooLong,
            "window",
        ),
        (json_answer(400, &echo), K::BadRequest, "`parameters`"),
        (
            answer(307, "location: http://elsewhere/\r\n", ""),
            K::Redirected,
            "`base_url`",
        ),
        (
            answer(429, "retry-after: 3600\r\n", ""),
            K::RateLimited,
            "`requests_per_minute`",
        ),
    ];
    for (answer, kind, mend) in cases {
        let endpoint = Endpoint::new(vec![answer]).await;
        let error = endpoint.upstream("").chat(&call(false)).await.unwrap_err();
        let host = endpoint
            .url
            .strip_prefix("http://")
            .unwrap()
            .strip_suffix("/v1")
            .unwrap();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(host) && error.message.contains(mend), "{error}");
        let said = format!("{error:?}");
        assert!(!said.contains(KEY) && !said.contains(PROMPT), "{said}");
        assert_eq!(error.attempts.len(), 1);
        assert_eq!(error.retry_after.is_some(), kind == K::RateLimited);
    }
}

#[tokio::test]
async fn a_cut_stream_is_asked_again_only_where_the_caller_wants_it() {
    let endpoint = Endpoint::new(vec![event_answer(HALF), event_answer(EVENTS)]).await;
    let upstream = endpoint.upstream("");
    let given_up = ChatCall {
        on_cut: OnCut::GiveUp,
        ..call(true)
    };
    let error = upstream.chat(&given_up).await.unwrap_err();
    assert_eq!((error.kind, endpoint.bodies().len()), (ErrorKind::CutStream, 1));
    assert_eq!(upstream.chat(&call(true)).await.unwrap().text, "42");
}

#[tokio::test]
async fn what_an_endpoint_refuses_of_streaming_is_not_asked_twice() {
    let refused = |what: &str| {
        json_answer(
            400,
            &json!({"error": {"message": format!("no {what} here")}}).to_string(),
        )
    };
    let answers = vec![
        refused("stream_options"),
        refused("stream"),
        json_answer(200, REPLY),
        json_answer(200, REPLY),
    ];
    let endpoint = Endpoint::new(answers).await;
    let upstream = endpoint.upstream("");
    for _ in 0..2 {
        assert_eq!(upstream.chat(&call(true)).await.unwrap().text, "42");
    }
    let bodies = endpoint.bodies();
    let asked = bodies
        .iter()
        .map(|body| (body["stream"] == true, body["stream_options"] != Value::Null));
    assert_eq!(
        asked.collect::<Vec<_>>(),
        [(true, true), (true, false), (false, false), (false, false)]
    );
}

#[tokio::test]
async fn log_probabilities_that_an_endpoint_refuses_are_not_asked_for_twice() {
    // OpenAI's word for it, and one of a framework that validates bodies.
    let refusals = [
        (
            403,
            r#"{"error": {"message": "You are not allowed to request logprobs from this model."}}"#,
        ),
        (
            422,
            r#"{"detail": [{"loc": ["body", "top_logprobs"], "msg": "extra fields not permitted"}]}"#,
        ),
    ];
    for (status, said) in refusals {
        let answers = vec![
            json_answer(status, said),
            json_answer(200, REPLY),
            json_answer(200, REPLY),
        ];
        let endpoint = Endpoint::new(answers).await;
        let upstream = endpoint.upstream("");
        let parameters = json!({"logprobs": true, "top_logprobs": 3, "seed": 1});
        let call = ChatCall {
            parameters: parameters.as_object().unwrap().clone(),
            ..call(false)
        };
        assert!(!upstream.refuses_logprobs());
        let first = upstream.chat(&call).await.unwrap();
        assert_eq!((first.text.as_str(), first.attempts.len()), ("42", 1));
        assert_eq!(upstream.chat(&call).await.unwrap().attempts.len(), 0);
        assert!(upstream.refuses_logprobs());
        let bodies = endpoint.bodies();
        let asked = bodies.iter().map(|body| (body["logprobs"] == true, body["seed"] == 1));
        assert_eq!(asked.collect::<Vec<_>>(), [(true, true), (false, true), (false, true)]);
    }
    // Who did not ask for them has another trouble.
    let endpoint = Endpoint::new(vec![json_answer(400, r#"{"error": "no logprobs"}"#)]).await;
    let error = endpoint.upstream("").chat(&call(false)).await.unwrap_err();
    assert_eq!((error.kind, error.attempts.len()), (ErrorKind::BadRequest, 1));
}

#[tokio::test]
async fn calls_that_wait_for_their_turn_end_with_the_run() {
    let endpoint = Endpoint::new(vec![answer(429, "retry-after: 60\r\n", "")]).await;
    let upstream = Arc::new(endpoint.upstream("concurrency = 2"));
    let ask = || {
        let upstream = Arc::clone(&upstream);
        tokio::spawn(async move { upstream.chat(&call(false)).await.unwrap_err() })
    };
    let told = ask();
    while upstream.pause.is_over() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // One waits to try again, one in the same pause, one for a permit.
    let waiting = [ask(), ask()];
    tokio::task::yield_now().await;
    let start = Instant::now();
    upstream.stop_waiting();
    assert_eq!(told.await.unwrap().kind, ErrorKind::RateLimited);
    for waiting in waiting {
        let error = waiting.await.unwrap();
        assert_eq!((error.kind, error.attempts.len()), (ErrorKind::Stopped, 0), "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_endpoint_that_is_down_opens_the_circuit() {
    let endpoint = Endpoint::new(Vec::new()).await;
    let upstream = endpoint.upstream("max_retries = 0\nbreaker_failures = 2\nbreaker_pause_s = 600");
    let mut errors = Vec::new();
    for _ in 0..3 {
        errors.push(upstream.chat(&call(false)).await.unwrap_err());
    }
    let kinds: Vec<ErrorKind> = errors.iter().map(|error| error.kind).collect();
    assert_eq!(
        kinds,
        [ErrorKind::Unreachable, ErrorKind::Unreachable, ErrorKind::CircuitOpen]
    );
    // Whoever is told that the circuit is open is told why, and what to do.
    for part in ["unreachable", "check `base_url`"] {
        assert!(errors[2].message.contains(part), "{}", errors[2].message);
    }
    assert!(upstream.circuit_open_for().unwrap() > Duration::from_secs(590));
}

#[tokio::test]
async fn what_takes_too_long_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let endpoint = Endpoint {
        url,
        heard: Arc::default(),
    };
    let upstream = endpoint.upstream_with("max_retries = 0\ntimeout_s = 0.05");
    let error = upstream.chat(&call(true)).await.unwrap_err();
    assert!(
        error.kind == ErrorKind::Timeout && error.message.contains("`timeout_s`"),
        "{error}"
    );
}

#[test]
fn keys_are_asked_for_and_checked() {
    let settings: EndpointSettings = toml::from_str("base_url = \"http://h\"\napi_key_env = \"A_KEY\"").unwrap();
    let client = Client::new().unwrap();
    let made = |key: Option<&str>| {
        let key = key.map(|key| Secret::from(key.to_owned()));
        Upstream::new("light", &settings, key, &client)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    for missing in [None, Some(""), Some(" \n")] {
        let message = made(missing).unwrap_err();
        assert!(message.contains("A_KEY") && message.contains("`light`"), "{message}");
    }
    let message = made(Some("sk-sec\nret")).unwrap_err();
    assert!(message.contains("A_KEY") && !message.contains("ret\""), "{message}");
    assert_eq!(made(Some("sk-1\n")), Ok(()));
}

#[test]
fn secrets_are_not_printed() {
    assert!(!format!("{:?}", Secret::from(KEY.to_owned())).contains("secret"));
}

#[tokio::test]
async fn models_are_listed_with_the_key_of_the_dialect() {
    let limit = Duration::from_secs(20);
    let list = json_answer(200, r#"{"data": [{"id": "a"}, {"id": "b"}]}"#);
    let other = json_answer(200, r#"{"models": []}"#);
    let page = answer(200, "content-type: text/html\r\n", "<html>");
    let wrong = json_answer(401, &json!({"error": {"message": KEY}}).to_string());
    let endpoint = Endpoint::new(vec![list.clone(), other, page, wrong, list]).await;
    let upstream = endpoint.upstream("");
    let names = Some(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(upstream.models(limit).await, Ok(names.clone()));
    assert_eq!(upstream.models(limit).await, Ok(None));
    assert_eq!(upstream.models(limit).await.unwrap_err().kind, ErrorKind::Html);
    let refused = upstream.models(limit).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unauthorized);
    assert!(
        refused.message.contains("A_KEY") && !refused.message.contains(KEY),
        "{refused}"
    );
    let anthropic = endpoint.upstream("dialects = [\"messages\"]");
    assert_eq!(anthropic.models(limit).await, Ok(names));
    let heard = endpoint.heard.lock().unwrap();
    assert!(heard[0].starts_with("GET /v1/models HTTP/1.1\r\n"), "{}", heard[0]);
    assert!(
        heard[0].contains(&format!("authorization: Bearer {KEY}\r\n")),
        "{}",
        heard[0]
    );
    assert!(heard[4].contains(&format!("x-api-key: {KEY}\r\n")), "{}", heard[4]);
    assert!(heard[4].contains("anthropic-version: "), "{}", heard[4]);
}

#[tokio::test]
async fn a_silent_endpoint_is_given_up_when_models_are_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = format!("base_url = \"http://{}/v1\"", listener.local_addr().unwrap());
    let client = Client::new().unwrap();
    let upstream = Upstream::new("light", &toml::from_str(&settings).unwrap(), None, &client).unwrap();
    let error = upstream.models(Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.message.contains("no answer within 0.02 s"), "{error}");
}
