//! Recorded replies, served and asked for as collecting does.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tiercast_records::RecordsError;
use tiercast_records::collected::{Completion, write_completions};
use tiercast_records::outcomes::{PromptText, Split};
use tiercast_records::prompts::Prompt;
use tiercast_upstream::call::{ChatCall, OnCut, Reply};
use tiercast_upstream::client::Client;
use tiercast_upstream::error::{CallError, ErrorKind};
use tiercast_upstream::upstream::Upstream;

use crate::http::{Reply as HttpReply, Server, ask};
use crate::run::{command, tiercast};

const MODELS: [&str; 2] = ["large", "small"];

/// Prompts that are text; one more is chat messages, and one has a row without a reply.
pub(crate) const N_TEXTS: usize = 40;

pub(crate) fn text(number: usize) -> String {
    format!("What is {number} times three? Explain it to a child.")
}

pub(crate) fn answer(number: usize, model: &str) -> String {
    format!(
        "Three times {number} is {}, says {model}. Take {number} apples, three times ✓.",
        number * 3
    )
}

const MESSAGES: &str =
    r#"{"tools": [], "messages": [{"content": "Be brief.", "role": "system"}, {"content": "Hi", "role": "user"}]}"#;

pub(crate) fn row(text: PromptText, model: &str, response: Option<String>, latency_s: f64) -> Completion {
    let prompt = Prompt {
        prompt_id: "0000000000000000".to_owned(),
        split_key: "0000000000000000".to_owned(),
        split: Split::Train,
        dataset: "made_up".to_owned(),
        subset: "made_up".to_owned(),
        domain: "general".to_owned(),
        text,
        response_format: None,
        schema: None,
        reference: None,
        judge: None,
    };
    Completion {
        prompt,
        model: model.to_owned(),
        class: 3,
        sample: 0,
        response,
        tool_calls: None,
        finish_reason: Some(if model == "small" { "length" } else { "stop" }.to_owned()),
        truncated: model == "small",
        logprobs: None,
        input_tokens: Some(12),
        cached_input_tokens: None,
        output_tokens: Some(34),
        tokens_estimated: false,
        cost_usd: None,
        time_to_first_token_s: None,
        latency_s: Some(latency_s),
        n_requests: 1,
        error: None,
    }
}

/// A folder with `outcomes.parquet`.
pub(crate) struct Recording(TempDir);

impl Recording {
    pub(crate) fn new(rows: impl IntoIterator<Item = Completion>) -> Self {
        let recording = Self(tempfile::tempdir().unwrap());
        let written: Result<u64, RecordsError> =
            write_completions(&recording.path(), |write| rows.into_iter().try_for_each(write));
        written.unwrap();
        recording
    }

    pub(crate) fn small() -> Self {
        let rows = (0..N_TEXTS).flat_map(|number| {
            MODELS.map(|model| row(PromptText::Text(text(number)), model, Some(answer(number, model)), 3.0))
        });
        let messages = row(
            PromptText::MessagesJson(MESSAGES.to_owned()),
            "large",
            Some("Hi.".to_owned()),
            3.0,
        );
        let silent = row(PromptText::Text("silence".to_owned()), "large", None, 3.0);
        Self::new(rows.chain([messages, silent]))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("outcomes.parquet")
    }

    fn at(&self) -> String {
        self.path().into_os_string().into_string().unwrap()
    }

    pub(crate) fn replay(&self, more: &[&str]) -> Server {
        Server::run(&[&["replay", "--outcomes", &self.at()], more].concat())
    }
}

fn upstream(server: &Server, model: &str, more: &str) -> Upstream {
    let settings = format!("base_url = \"{}/v1\"\n{more}", server.url());
    Upstream::new(
        model,
        &toml::from_str(&settings).unwrap(),
        None,
        &Client::new().unwrap(),
    )
    .unwrap()
}

fn chat(text: &str, stream: bool) -> ChatCall {
    ChatCall {
        messages: vec![json!({"role": "user", "content": text})],
        stream,
        on_cut: OnCut::AskAgain,
        ..ChatCall::default()
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

fn call(upstream: &Upstream, call: &ChatCall) -> Result<Reply, CallError> {
    wait(upstream.chat(call))
}

pub(crate) fn stats(server: &Server) -> Value {
    server.get("/replay/stats").json()
}

pub(crate) fn switch(server: &Server, faults: &Value) {
    let reply = server.post("/replay/faults", faults.to_string().as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
}

fn sum(counts: &Value) -> u64 {
    counts
        .as_object()
        .unwrap()
        .values()
        .map(|count| count.as_u64().unwrap())
        .sum()
}

#[test]
fn recorded_log_probabilities_are_given_to_who_asks() {
    let told = json!({"content": [{"token": "Hi", "logprob": -0.25}]});
    let recording = Recording::new([Completion {
        logprobs: Some(told.to_string()),
        ..row(
            PromptText::Text("Hello?".to_owned()),
            "large",
            Some("Hi".to_owned()),
            1.0,
        )
    }]);
    let server = recording.replay(&["--instant"]);
    let upstream = upstream(&server, "large", "");
    for stream in [false, true] {
        let asking = ChatCall {
            parameters: json!({"logprobs": true}).as_object().unwrap().clone(),
            ..chat("Hello?", stream)
        };
        assert_eq!(call(&upstream, &asking).unwrap().logprobs.as_ref(), Some(&told));
        assert_eq!(call(&upstream, &chat("Hello?", stream)).unwrap().logprobs, None);
    }
}

#[test]
fn replies_are_as_recorded() {
    let recording = Recording::small();
    let server = recording.replay(&["--instant"]);
    for model in MODELS {
        let upstream = upstream(&server, model, "");
        for (number, stream) in [(0, false), (1, true), (N_TEXTS - 1, true)] {
            let reply = call(&upstream, &chat(&text(number), stream)).unwrap();
            let usage = reply.usage.unwrap();
            assert_eq!(reply.text, answer(number, model));
            assert_eq!((usage.input_tokens, usage.output_tokens), (12, 34));
            assert_eq!(reply.is_truncated(), model == "small");
            assert_eq!(reply.time_to_first_token_s.is_some(), stream);
        }
    }
    let messages: Value = serde_json::from_str(MESSAGES).unwrap();
    let as_messages = ChatCall {
        messages: messages["messages"].as_array().unwrap().clone(),
        ..ChatCall::default()
    };
    assert_eq!(call(&upstream(&server, "large", ""), &as_messages).unwrap().text, "Hi.");
    let models = server.get("/v1/models").json();
    assert_eq!(
        (&models["data"][0]["id"], &models["data"][1]["id"]),
        (&json!("large"), &json!("small"))
    );
    let stats = stats(&server);
    assert_eq!(
        (&stats["calls"], &stats["pairs"], &stats["streamed"]),
        (&json!(7), &json!(7), &json!(4))
    );
}

#[test]
fn what_is_not_recorded_is_refused_by_name() {
    let recording = Recording::small();
    let server = recording.replay(&["--instant", "--models", "large"]);
    let asked = |model: &str, text: &str| -> HttpReply {
        let mut body = ask(text);
        body["model"] = json!(model);
        server.post("/v1/chat/completions", body.to_string().as_bytes())
    };
    asked("large", "never asked").refused("prompt", 404, &["no reply to this prompt is recorded"]);
    asked("large", "silence").refused("reply", 404, &["`large`", "`response` is empty"]);
    asked("small", &text(0)).refused("left out", 404, &["`small` does not exist here", "large"]);
    server
        .post("/v1/chat/completions", b"{")
        .refused("body", 400, &["not a chat request"]);
    let kind = |model, text: &str| call(&upstream(&server, model, ""), &chat(text, true)).unwrap_err().kind;
    assert_eq!(kind("tiny", &text(0)), ErrorKind::ModelNotFound);
    assert_eq!(kind("large", "never asked"), ErrorKind::BadRequest);
    let stats = stats(&server);
    assert_eq!((&stats["calls"], sum(&stats["refused"])), (&json!(6), 6));
}

#[test]
fn every_fault_is_told_by_its_kind() {
    let recording = Recording::small();
    let server = recording.replay(&["--instant"]);
    let cases = [
        ("rate_limit", Some(ErrorKind::RateLimited), Some(ErrorKind::RateLimited)),
        (
            "retry_after",
            Some(ErrorKind::RateLimited),
            Some(ErrorKind::RateLimited),
        ),
        ("server_error", Some(ErrorKind::Server), Some(ErrorKind::Server)),
        ("timeout", Some(ErrorKind::Timeout), Some(ErrorKind::Timeout)),
        ("cut_stream", Some(ErrorKind::CutJson), Some(ErrorKind::CutStream)),
        ("malformed_json", Some(ErrorKind::CutJson), Some(ErrorKind::CutJson)),
        ("html", Some(ErrorKind::Html), Some(ErrorKind::Html)),
        ("wrong_usage", None, None),
        ("false_usage", None, None),
        ("slow_drip", None, None),
    ];
    for (number, (fault, plain, streamed)) in cases.into_iter().enumerate() {
        let shares: BTreeMap<&str, f64> = BTreeMap::from([(fault, 1.0)]);
        switch(&server, &json!({"shares": shares, "retry_after_s": 7, "drip_s": 0.5}));
        let limit = if fault == "timeout" { 0.2 } else { 30.0 };
        // A tier of its own for each: what one is told to wait does not hold for the next.
        let upstream = upstream(&server, "large", &format!("max_retries = 0\ntimeout_s = {limit}"));
        for (stream, expected) in [(false, plain), (true, streamed)] {
            if fault == "retry_after" && stream {
                continue;
            }
            let said = call(&upstream, &chat(&text(number), stream));
            let kind = said.as_ref().err().map(|error| error.kind);
            assert_eq!(kind, expected, "{fault}, streamed: {stream}: {said:?}");
            match (fault, said) {
                ("retry_after", Err(error)) => assert_eq!(error.retry_after, Some(Duration::from_secs(7))),
                ("wrong_usage", Ok(reply)) => assert!(reply.usage.is_none() && reply.is_usage_contradictory),
                ("false_usage", Ok(reply)) => assert_eq!(reply.usage.unwrap().output_tokens, 340),
                ("slow_drip", Ok(reply)) => {
                    assert!(
                        reply.text == answer(number, "large") && reply.latency_s >= 0.5,
                        "{reply:?}"
                    );
                }
                _ => {}
            }
        }
    }
    let stats = stats(&server);
    assert_eq!((&stats["calls"], sum(&stats["faults"])), (&json!(19), 19));
}

#[test]
fn retries_get_every_reply_and_every_call_is_accounted_for() {
    let recording = Recording::small();
    let kinds = [
        "server_error",
        "cut_stream",
        "malformed_json",
        "html",
        "rate_limit",
        "retry_after",
        "timeout",
    ];
    let faults = kinds
        .map(|kind| ["--fault".to_owned(), format!("{kind}=0.03")])
        .concat();
    let arguments: Vec<&str> = faults
        .iter()
        .map(String::as_str)
        .chain(["--instant", "--fault-seed", "5"])
        .collect();
    let server = recording.replay(&arguments);
    let n_failed: usize = wait(async {
        let settings = "concurrency = 40\nmax_retries = 20\ntimeout_s = 2\nbreaker_failures = 1000";
        let tiers = MODELS.map(|model| Arc::new(upstream(&server, model, settings)));
        let calls = (0..N_TEXTS).flat_map(|number| {
            MODELS.into_iter().zip(&tiers).map(move |(model, tier)| {
                let tier = Arc::clone(tier);
                tokio::spawn(async move {
                    let reply = tier.chat(&chat(&text(number), true)).await.unwrap();
                    assert_eq!(reply.text, answer(number, model));
                    reply.attempts.len()
                })
            })
        });
        let mut n_failed = 0;
        for call in calls.collect::<Vec<_>>() {
            n_failed += call.await.unwrap();
        }
        n_failed
    });
    let stats = stats(&server);
    let n_pairs = (MODELS.len() * N_TEXTS) as u64;
    assert!(n_failed > 0);
    assert_eq!(
        (&stats["pairs"], &stats["calls_beyond_first"]),
        (&json!(n_pairs), &json!(n_failed))
    );
    assert_eq!(sum(&stats["faults"]), n_failed as u64);
    assert_eq!(stats["calls"], json!(n_pairs + n_failed as u64));
}

#[test]
fn recorded_time_is_kept_and_scaled() {
    let recording = Recording::small();
    let server = recording.replay(&["--speed", "5"]);
    let reply = call(&upstream(&server, "large", ""), &chat(&text(0), true)).unwrap();
    // 3 s were recorded; the first piece comes after a fifth of the time.
    assert!(reply.latency_s >= 0.59, "{reply:?}");
    let first = reply.time_to_first_token_s.unwrap();
    assert!(first >= 0.11 && first < reply.latency_s, "{reply:?}");
}

#[test]
fn a_thousand_calls_at_once() {
    const N: usize = 1000;
    let recording = Recording::new((0..N).map(|number| {
        row(
            PromptText::Text(text(number)),
            "large",
            Some(answer(number, "large")),
            6.0,
        )
    }));
    let server = recording.replay(&[]);
    let start = Instant::now();
    wait(async {
        let settings = "concurrency = 1000\ntimeout_s = 60\nmax_retries = 0";
        let tier = Arc::new(upstream(&server, "large", settings));
        let calls: Vec<_> = (0..N)
            .map(|number| {
                let tier = Arc::clone(&tier);
                tokio::spawn(async move { tier.chat(&chat(&text(number), true)).await.unwrap().text })
            })
            .collect();
        for (number, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), answer(number, "large"));
        }
    });
    let stats = stats(&server);
    let peak = stats["peak_in_flight"].as_u64().unwrap();
    assert!(peak >= 900, "{peak} at once in {:?}", start.elapsed());
    assert_eq!((&stats["calls"], &stats["abandoned"]), (&json!(N), &json!(0)));
}

#[test]
fn ctrl_c_ends_it_with_its_counts() {
    let recording = Recording::small();
    let mut server = recording.replay(&["--instant"]);
    call(&upstream(&server, "large", ""), &chat(&text(0), false)).unwrap();
    let run = server.end("INT").ok();
    let counts: Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(counts["calls"], 1);
}

#[test]
fn what_cannot_be_replayed_is_said() {
    let recording = Recording::small();
    let at = recording.at();
    let twice = || row(PromptText::Text(text(0)), "large", Some("a".to_owned()), 1.0);
    let twice = Recording::new([twice(), twice()]).0;
    let twice = twice
        .path()
        .join("outcomes.parquet")
        .into_os_string()
        .into_string()
        .unwrap();
    let cases: [(&[&str], i32, &[&str]); 8] = [
        (
            &["--outcomes", "nothing.parquet"],
            1,
            &["nothing.parquet could not be opened"],
        ),
        (&["--outcomes", "README.md"], 1, &["cannot be read as Parquet"]),
        (
            &["--outcomes", "datasets/reference/mmlu_pro.parquet"],
            1,
            &["`response`", "missing"],
        ),
        (&["--outcomes", &twice], 1, &["twice", "`large`"]),
        (
            &["--outcomes", &at, "--models", "tiny"],
            2,
            &["no reply of `tiny`", "large, small"],
        ),
        (
            &["--outcomes", &at, "--fault", "fire=0.1"],
            2,
            &["`fire` is no fault", "slow_drip"],
        ),
        (
            &["--outcomes", &at, "--fault", "html=0.6", "--fault", "timeout=0.6"],
            2,
            &["add up to 1.2"],
        ),
        (&["--outcomes", &at, "--speed", "0"], 2, &["--instant"]),
    ];
    for (arguments, code, parts) in cases {
        let run = tiercast(&[&["replay", "--listen", "127.0.0.1:0"], arguments].concat());
        run.refused(&arguments.join(" "), code, parts);
    }
    let server = recording.replay(&[]);
    let address = server.url().strip_prefix("http://").unwrap();
    let taken = command(&["replay", "--outcomes", &at, "--listen", address])
        .output()
        .unwrap();
    crate::run::Run::from(taken).refused("port in use", 1, &["--listen 127.0.0.1:PORT"]);
}
