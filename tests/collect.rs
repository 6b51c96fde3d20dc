//! Collecting as a user does it: prompts, a config, a folder; and what can happen on the way.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tiercast_records::completions;
use tiercast_records::manifest;
use tiercast_records::outcomes::PromptText;
use tiercast_records::prompts::{self, Prompt};

use crate::endpoint::{Endpoint, echo, reply};
use crate::http::{lines, rest};
use crate::run::{Run, binary, checkout, command, send, tiercast};

/// What collecting needs, in one folder.
struct Bench {
    folder: TempDir,
}

impl Bench {
    /// A folder with `n` prompts.
    fn new(n: usize) -> Self {
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let lines: String = (0..n).map(|n| format!("{}\n", json!({"prompt": ask(n)}))).collect();
        bench.write("prompts.jsonl", &lines);
        bench
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn at(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().unwrap()
    }

    /// Writes the config: tiers by name with their endpoint, and what else stands in the endpoint's table.
    fn config(&self, tiers: &[(&str, &str, &str)]) {
        let table = |(name, url, more): &(&str, &str, &str)| {
            format!(
                "[tiers.{name}]\ninput_usd_per_mtok = 100\noutput_usd_per_mtok = 1000\n{}\n[tiers.{name}.endpoint]\n\
                 base_url = \"{url}\"\nbreaker_pause_s = 0.05\n{}\n",
                if more.starts_with("context_window") { more } else { "" },
                if more.starts_with("context_window") { "" } else { more },
            )
        };
        self.write("tiercast.toml", &tiers.iter().map(table).collect::<String>());
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let (prompts, config, out) = (self.at("prompts.jsonl"), self.at("tiercast.toml"), self.at("run"));
        let fixed = ["collect", "--prompts", &prompts, "--config", &config, "--out", &out];
        [&fixed, more].concat().into_iter().map(str::to_owned).collect()
    }

    fn collect(&self, more: &[&str]) -> Run {
        let arguments = self.arguments(more);
        tiercast(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start(&self, more: &[&str]) -> Child {
        let arguments = self.arguments(more);
        let mut command = command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn status(&self) -> Value {
        let run = tiercast(&["collect", "status", "--out", &self.at("run"), "--json"]).ok();
        serde_json::from_str(&run.stdout).unwrap()
    }

    /// The prompts of the completions, after the manifest was found to be right.
    fn completions(&self) -> Vec<Prompt> {
        let manifest = manifest::verify(&self.path("run")).unwrap();
        assert_eq!(manifest.kind, "tiercast-run");
        prompts::read(&self.path("run").join("completions.parquet"), false)
            .unwrap()
            .prompts
    }

    fn n_completions(&self) -> u64 {
        manifest::verify(&self.path("run")).unwrap().files[0].rows
    }
}

fn ask(number: usize) -> String {
    format!("What does the lighthouse keeper number {number} have for breakfast?")
}

/// Every model and prompt of a bench, each once.
fn pairs(n: usize, models: &[&str]) -> BTreeSet<(String, String)> {
    let pair = |n: usize| models.iter().map(move |model| ((*model).to_owned(), ask(n)));
    (0..n).flat_map(pair).collect()
}

#[test]
fn a_whole_run_and_nothing_is_asked_twice() {
    let (bench, endpoint) = (Bench::new(30), Endpoint::start(echo));
    bench.config(&[
        ("big", endpoint.url(), ""),
        ("small", endpoint.url(), "model = \"tiny\""),
    ]);
    let run = bench.collect(&["--samples", "2"]).ok();
    assert!(run.stdout.contains("120 of 120 calls done"), "{run:?}");
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 120);
    assert_eq!(asked.into_iter().collect::<BTreeSet<_>>(), pairs(30, &["big", "tiny"]));
    assert_eq!((bench.n_completions(), bench.completions().len()), (120, 30));
    let status = bench.status();
    let big = &status["tiers"][0];
    assert_eq!(
        (&big["n_answered"], &big["input_tokens"], &big["n_extra_requests"]),
        (&json!(60), &json!(1200), &json!(0))
    );
    // 20 tokens at 100 and 10 at 1000 per million.
    assert!(
        (status["cost_usd"].as_f64().unwrap() - 120.0 * 0.012).abs() < 1e-9,
        "{status}"
    );
    bench.collect(&["--samples", "2"]).ok();
    assert_eq!(endpoint.asked().len(), 120);
}

#[test]
fn chat_prompts_arrive_as_they_are() {
    let (bench, bodies) = (Bench::new(0), std::sync::mpsc::channel());
    let sender = std::sync::Mutex::new(bodies.0);
    let endpoint = Endpoint::start(move |body| {
        sender.lock().unwrap().send(body.clone()).unwrap();
        (200, reply(body, "stop"))
    });
    let messages = json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]);
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let line = json!({"messages": messages, "tools": tools, "response_format": {"type": "json_object"}});
    bench.write("prompts.jsonl", &line.to_string());
    bench.config(&[("big", endpoint.url(), "parameters = { max_tokens = 7 }")]);
    bench.collect(&[]).ok();
    let body = bodies.1.recv().unwrap();
    assert_eq!((&body["messages"], &body["tools"]), (&messages, &tools));
    assert_eq!(
        (&body["max_tokens"], &body["response_format"]["type"]),
        (&json!(7), &json!("json_object"))
    );
    let text = &bench.completions()[0].text;
    assert!(
        matches!(text, PromptText::MessagesJson(text) if text.contains("be brief")),
        "{text:?}"
    );
}

#[test]
fn a_killed_run_goes_on_and_every_pair_is_there_once() {
    let bench = Bench::new(40);
    let endpoint = Endpoint::holding(25, echo);
    bench.config(&[
        ("big", endpoint.url(), "concurrency = 4"),
        ("small", endpoint.url(), "concurrency = 4"),
    ]);
    let mut child = bench.start(&[]);
    // 25 answered, 8 held.
    endpoint.wait_for(33);
    child.kill().unwrap();
    child.wait().unwrap();
    let n_before = endpoint.asked().len();
    endpoint.open(usize::MAX);
    let run = bench.collect(&[]).ok();
    assert!(
        run.stderr.contains("were under way when the last run was killed"),
        "{run:?}"
    );
    let asked = endpoint.asked();
    assert_eq!(
        asked.iter().cloned().collect::<BTreeSet<_>>(),
        pairs(40, &["big", "small"])
    );
    let n_extra = asked.len() - 80;
    let status = bench.status();
    let n_lost: u64 = status["tiers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tier| tier["n_lost"].as_u64().unwrap())
        .sum();
    // All calls beyond the minimum are those that were in flight, and the ledger knows them.
    assert!(
        n_extra as u64 <= n_lost && n_lost <= 8,
        "{n_extra} {n_lost} of {n_before}"
    );
    assert_eq!((bench.n_completions(), &status["n_left"]), (80, &json!(0)));
}

#[test]
fn ctrl_c_keeps_what_is_in_flight() {
    let bench = Bench::new(40);
    let endpoint = Endpoint::holding(10, echo);
    bench.config(&[("big", endpoint.url(), "concurrency = 4")]);
    let mut child = bench.start(&[]);
    let stderr = lines(child.stderr.take().unwrap());
    endpoint.wait_for(14);
    send("INT", child.id());
    while !stderr.recv().unwrap().contains("stopping") {}
    endpoint.open(usize::MAX);
    let said = rest(&stderr);
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("26 of 40 calls are left"), "{said}");
    assert_eq!((bench.n_completions(), endpoint.asked().len()), (14, 14));
    bench.collect(&[]).ok();
    assert_eq!(
        endpoint.asked().into_iter().collect::<BTreeSet<_>>(),
        pairs(40, &["big"])
    );
    assert_eq!(endpoint.asked().len(), 40);
}

#[test]
fn the_budget_holds_and_a_higher_one_goes_on() {
    let (bench, endpoint) = (Bench::new(40), Endpoint::start(echo));
    // At most 67 bytes at 100 and 10 tokens at 1000 per million: 0.017 at most, 0.012 in fact.
    bench.config(&[(
        "big",
        endpoint.url(),
        "concurrency = 4\nparameters = { max_tokens = 10 }",
    )]);
    let run = bench.collect(&["--max-cost-usd", "0.1"]);
    run.refused(
        "budget",
        1,
        &[
            "--max-cost-usd 0.1",
            "the next call could cost up to 0.0",
            "max_tokens",
            "calls are left",
            "run the same command again",
        ],
    );
    let status = bench.status();
    let cost = status["cost_usd"].as_f64().unwrap();
    assert!((0.07..=0.1).contains(&cost), "{status}");
    let n_asked = endpoint.asked().len();
    bench
        .collect(&["--max-cost-usd", "0.1"])
        .refused("again", 1, &["--max-cost-usd 0.1"]);
    assert_eq!(endpoint.asked().len(), n_asked);
    bench.collect(&["--max-cost-usd", "1"]).ok();
    assert_eq!(endpoint.asked().len(), 40);
}

#[test]
fn looking_ahead_sends_and_leaves_nothing() {
    let (bench, endpoint) = (Bench::new(10), Endpoint::start(echo));
    bench.config(&[("big", endpoint.url(), "parameters = { max_tokens = 8 }")]);
    let run = bench.collect(&["--estimate", "--json"]).ok();
    let estimate: Value = serde_json::from_str(&run.stdout).unwrap();
    let tier = &estimate["tiers"][0];
    assert_eq!((&tier["n_calls"], &tier["output_tokens"]), (&json!(10), &json!(80)));
    assert!(estimate["counted"].as_str().unwrap().contains("characters / 4"));
    let run = bench.collect(&["--dry-run"]).ok();
    for part in [
        "nothing was sent",
        "big: model big at 127.0.0.1",
        "max_tokens",
        "US dollars",
    ] {
        assert!(run.stdout.contains(part), "{run:?}");
    }
    assert!(endpoint.asked().is_empty() && !bench.path("run").exists());
}

#[test]
fn a_missing_key_is_named_and_a_key_is_never_shown() {
    let (bench, endpoint) = (Bench::new(2), Endpoint::start(echo));
    bench.config(&[
        ("big", endpoint.url(), "api_key_env = \"TIERCAST_TEST_BIG\""),
        ("small", endpoint.url(), "api_key_env = \"TIERCAST_TEST_SMALL\""),
    ]);
    for more in [&["--dry-run"][..], &[]] {
        bench
            .collect(more)
            .refused("no key", 2, &["TIERCAST_TEST_BIG", "TIERCAST_TEST_SMALL"]);
    }
    assert!(endpoint.asked().is_empty() && !bench.path("run").exists());
    let arguments = bench.arguments(&[]);
    let run: Run = command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        .env("TIERCAST_TEST_BIG", "sk-very-secret")
        .env("TIERCAST_TEST_SMALL", "sk-very-secret")
        .env("TIERCAST_LOG", "trace")
        .output()
        .unwrap()
        .into();
    let run = run.ok();
    assert!(!format!("{run:?}").contains("very-secret"), "the key was printed");
    let ledger = fs::read(bench.path("run").join("ledger.sqlite")).unwrap();
    assert!(
        !ledger.windows(11).any(|bytes| bytes == b"very-secret"),
        "the key was stored"
    );
}

#[test]
fn an_endpoint_that_is_down_leaves_its_calls_and_the_others_go_on() {
    let (bench, endpoint) = (Bench::new(10), Endpoint::start(echo));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let down = format!("http://{}/v1", nobody.local_addr().unwrap());
    drop(nobody);
    let hasty = "max_retries = 0\nbreaker_failures = 2";
    bench.config(&[("big", &down, hasty), ("small", endpoint.url(), "")]);
    let run = bench.collect(&[]);
    run.refused(
        "down",
        1,
        &[
            "tier `big` was left alone",
            "unreachable",
            "10 of 20 calls are left",
            "base_url",
        ],
    );
    assert_eq!(endpoint.asked().len(), 10);
    assert_eq!(bench.n_completions(), 10);
    // It is back, elsewhere.
    bench.config(&[("big", endpoint.url(), hasty), ("small", endpoint.url(), "")]);
    let run = bench.collect(&[]).ok();
    assert!(run.stderr.contains("is now at"), "{run:?}");
    assert_eq!((endpoint.asked().len(), bench.n_completions()), (20, 20));
}

#[test]
fn an_endpoint_that_never_gives_a_reply_is_left_alone() {
    let check = |answer: (u16, &str), parts: &[&str]| {
        let (bench, status, text) = (Bench::new(60), answer.0, answer.1.to_owned());
        let endpoint = Endpoint::start(move |_| (status, text.clone()));
        bench.config(&[("big", endpoint.url(), "max_retries = 0")]);
        bench.collect(&[]).refused(answer.1, 1, parts);
        assert!(endpoint.asked().len() < 60, "{answer:?}: all were sent");
        assert_eq!(bench.status()["n_left"], 60);
    };
    check((200, "<html>please log in</html>"), &["`big` was left alone", "html"]);
    check(
        (
            404,
            r#"{"error": {"code": "model_not_found", "message": "no such model"}}"#,
        ),
        &["no model `big`"],
    );
    check(
        (401, r#"{"error": {"message": "who are you"}}"#),
        &["`big` was left alone", "key"],
    );
    check(
        (400, r#"{"error": {"message": "unknown parameter"}}"#),
        &["`big` was left alone", "parameters"],
    );
}

#[test]
fn a_truncated_reply_is_marked() {
    let (bench, endpoint) = (Bench::new(4), Endpoint::start(|body| (200, reply(body, "length"))));
    bench.config(&[("big", endpoint.url(), "")]);
    bench.collect(&[]).ok();
    let status = bench.status();
    assert_eq!(
        (&status["tiers"][0]["n_truncated"], &status["tiers"][0]["n_answered"]),
        (&json!(4), &json!(4))
    );
}

#[test]
fn a_prompt_longer_than_the_window_is_a_result_without_a_call() {
    let (bench, endpoint) = (Bench::new(5), Endpoint::start(echo));
    bench.config(&[
        ("big", endpoint.url(), ""),
        ("small", endpoint.url(), "context_window = 9"),
    ]);
    let run = bench.collect(&[]).ok();
    assert!(run.stdout.contains("context_window is 9"), "{run:?}");
    assert_eq!(
        endpoint.asked().into_iter().collect::<BTreeSet<_>>(),
        pairs(5, &["big"])
    );
    assert_eq!(bench.status()["tiers"][1]["n_unanswerable"], 5);
    bench.collect(&[]).ok();
    assert_eq!(endpoint.asked().len(), 5);
}

#[test]
fn a_broken_line_is_named_or_skipped() {
    let (bench, endpoint) = (Bench::new(6), Endpoint::start(echo));
    bench.config(&[("big", endpoint.url(), "")]);
    let whole = fs::read_to_string(bench.path("prompts.jsonl")).unwrap();
    bench.write(
        "prompts.jsonl",
        &whole.replacen(
            "{\"prompt\":\"What does the lighthouse keeper number 3",
            "{\"prompt\":",
            1,
        ),
    );
    let parts = ["prompts.jsonl", "line 4", "not JSON"];
    bench
        .collect(&[])
        .refused("broken", 1, &[&parts[..], &["--skip-invalid"]].concat());
    tiercast(&["data", "validate", &bench.at("prompts.jsonl")]).refused("validate", 1, &parts);
    assert!(!bench.path("run").exists());
    let run = bench.collect(&["--skip-invalid"]).ok();
    assert!(
        run.stderr.contains("1 rows skipped") && run.stderr.contains("line 4"),
        "{run:?}"
    );
    assert_eq!(endpoint.asked().len(), 5);
    bench.write("prompts.jsonl", &whole);
    let valid = tiercast(&["data", "validate", &bench.at("prompts.jsonl")]).ok();
    assert!(
        valid.stdout.starts_with("OK") && valid.stdout.contains("6 prompts"),
        "{valid:?}"
    );
}

#[test]
fn a_ledger_of_another_configuration_is_refused() {
    let (bench, endpoint) = (Bench::new(3), Endpoint::start(echo));
    bench.config(&[("big", endpoint.url(), "parameters = { max_tokens = 5 }")]);
    bench.collect(&[]).ok();
    let refused = |parts: &[&str]| {
        bench
            .collect(&[])
            .refused("other", 1, &[parts, &["new --out", "concurrency"]].concat());
    };
    bench.config(&[("big", endpoint.url(), "parameters = { max_tokens = 6 }")]);
    refused(&["parameters of tier `big`", "\"max_tokens\":5", "\"max_tokens\":6"]);
    bench.config(&[(
        "big",
        endpoint.url(),
        "model = \"other\"\nparameters = { max_tokens = 5 }",
    )]);
    refused(&["model `big`", "`other`"]);
    bench.config(&[(
        "big",
        endpoint.url(),
        "concurrency = 2\ntimeout_s = 5\nparameters = { max_tokens = 5 }",
    )]);
    bench.collect(&[]).ok();
    bench.write("prompts.jsonl", "{\"prompt\": \"something else\"}\n");
    refused(&["the ledger has 3, the file has 1, 0 are the same"]);
    assert_eq!(endpoint.asked().len(), 3);
}

#[test]
fn prompts_come_and_go_but_do_not_change_under_their_id() {
    let (bench, endpoint) = (Bench::new(0), Endpoint::start(echo));
    bench.config(&[("big", endpoint.url(), "")]);
    let named = |numbers: &[usize], text: fn(usize) -> String| -> String {
        let line = |n: &usize| json!({"prompt": text(*n), "prompt_id": format!("q{n}")});
        numbers.iter().map(|n| format!("{}\n", line(n))).collect()
    };
    bench.write("prompts.jsonl", &named(&[1, 2, 3], ask));
    bench.collect(&[]).ok();
    bench.write("prompts.jsonl", &named(&[2, 3, 4, 5], ask));
    let run = bench.collect(&["--estimate", "--json"]).ok();
    let estimate: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(estimate["tiers"][0]["n_calls"], 2, "{estimate}");
    let run = bench.collect(&[]).ok();
    assert!(
        run.stderr.contains("2 prompts are new") && run.stderr.contains("1 prompts are no longer in the file"),
        "{run:?}"
    );
    assert_eq!((endpoint.asked().len(), bench.n_completions()), (5, 4));
    bench.write("prompts.jsonl", &named(&[1, 2, 3, 4, 5], ask));
    bench.collect(&[]).ok();
    assert_eq!((endpoint.asked().len(), bench.n_completions()), (5, 5));
    bench.write("prompts.jsonl", &named(&[1, 2], |n| format!("Another question, {n}?")));
    bench
        .collect(&[])
        .refused("changed", 1, &["`q1`, `q2` have another text", "another prompt_id"]);
    assert_eq!(endpoint.asked().len(), 5);
}

#[test]
fn log_probabilities_are_asked_for_and_kept() {
    let (bench, bodies) = (Bench::new(2), std::sync::mpsc::channel());
    let sender = std::sync::Mutex::new(bodies.0);
    let endpoint = Endpoint::start(move |body| {
        sender.lock().unwrap().send(body.clone()).unwrap();
        let mut said: Value = serde_json::from_str(&reply(body, "stop")).unwrap();
        said["choices"][0]["logprobs"] = json!({"content": [{"token": "big", "logprob": -0.25}]});
        (200, said.to_string())
    });
    bench.config(&[("big", endpoint.url(), "")]);
    let config = fs::read_to_string(bench.path("tiercast.toml")).unwrap();
    bench.write("tiercast.toml", &format!("{config}[collect]\nlogprobs = true\n"));
    bench.collect(&[]).ok();
    assert_eq!(bodies.1.recv().unwrap()["logprobs"], json!(true));
    let mut kept = Vec::new();
    completions::for_each(&bench.path("run").join("completions.parquet"), |row| {
        kept.push(row.logprobs.unwrap_or_default().to_owned());
    })
    .unwrap();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|logprobs| logprobs.contains("-0.25")), "{kept:?}");
}

/// One tier of two offers none: it is asked without, and nothing of the other is lost.
#[test]
fn a_tier_without_log_probabilities_is_asked_without_them() {
    let (bench, bodies) = (Bench::new(12), std::sync::mpsc::channel());
    let sender = std::sync::Mutex::new(bodies.0);
    let endpoint = Endpoint::start(move |body| {
        sender.lock().unwrap().send(body.clone()).unwrap();
        match body["model"] == "small" && body.get("logprobs").is_some() {
            true => (
                400,
                r#"{"error": {"message": "Unknown parameter: 'logprobs'"}}"#.to_owned(),
            ),
            false => (200, reply(body, "stop")),
        }
    });
    bench.config(&[
        ("big", endpoint.url(), ""),
        ("small", endpoint.url(), "concurrency = 3"),
    ]);
    let config = fs::read_to_string(bench.path("tiercast.toml")).unwrap();
    bench.write("tiercast.toml", &format!("{config}[collect]\nlogprobs = true\n"));
    let run = bench.collect(&[]).ok();
    assert!(
        run.stderr.contains("tier `small` refuses to give log probabilities"),
        "{run:?}"
    );
    assert!(!run.stderr.contains("tier `big` refuses"), "{run:?}");
    assert_eq!(bench.n_completions(), 24);
    // At most those that were under way when the first was refused.
    let n_refused = endpoint.asked().len() - 24;
    assert!((1..=3).contains(&n_refused), "{n_refused}");
    assert_eq!(bench.status()["tiers"][1]["request_errors"][0]["count"], n_refused);
    let bodies: Vec<Value> = bodies.1.try_iter().collect();
    let asks = |model: &str| {
        bodies
            .iter()
            .filter(|body| body["model"] == model && body["logprobs"] == true)
            .count()
    };
    assert_eq!((asks("big"), asks("small")), (12, n_refused));
}

#[test]
fn parameters_may_be_mended_while_there_is_no_result() {
    let bench = Bench::new(8);
    let endpoint = Endpoint::start(|body| match body.get("seed") {
        Some(_) => (400, r#"{"error": {"message": "unknown parameter"}}"#.to_owned()),
        None => echo(body),
    });
    bench.config(&[("big", endpoint.url(), "parameters = { seed = 1 }")]);
    bench.collect(&[]).refused("refused", 1, &["`big` was left alone"]);
    bench.config(&[("big", endpoint.url(), "parameters = { max_tokens = 9 }")]);
    let run = bench.collect(&[]).ok();
    assert!(run.stderr.contains("it has no result yet"), "{run:?}");
    assert_eq!(bench.n_completions(), 8);
    bench.config(&[("big", endpoint.url(), "parameters = { max_tokens = 8 }")]);
    bench.collect(&[]).refused("mixed", 1, &["parameters of tier `big`"]);
}

/// An hour of silence would be no answer to a run that somebody waits for.
#[test]
fn a_tier_that_asks_for_long_patience_is_left_alone_at_once() {
    let (bench, endpoint) = (Bench::new(12), Endpoint::start(echo));
    let busy = Endpoint::busy_for(3600, |_| (429, "{}".to_owned()));
    bench.config(&[("big", busy.url(), "concurrency = 2"), ("small", endpoint.url(), "")]);
    let started = Instant::now();
    let run = bench.collect(&[]);
    run.refused(
        "busy",
        1,
        &["tier `big` was left alone", "for 60 minutes", "12 of 24 calls are left"],
    );
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert!(busy.asked().len() <= 2, "{}", busy.asked().len());
    assert_eq!(bench.n_completions(), 12);
}

#[test]
fn ctrl_c_does_not_wait_for_calls_that_wait_for_their_turn() {
    let (bench, endpoint) = (Bench::new(12), Endpoint::start(echo));
    bench.config(&[("big", endpoint.url(), "requests_per_minute = 1\nconcurrency = 4")]);
    let mut child = bench.start(&[]);
    endpoint.wait_for(1);
    let started = Instant::now();
    send("INT", child.id());
    let said = rest(&lines(child.stderr.take().unwrap()));
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    // The next turn is a minute away, and so is the grace half of it.
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    assert!(said.contains("11 of 12 calls are left"), "{said}");
    let status = bench.status();
    assert_eq!(
        (&status["tiers"][0]["n_lost"], &status["n_extra_requests"]),
        (&json!(0), &json!(0)),
        "{status}"
    );
    bench.config(&[("big", endpoint.url(), "")]);
    bench.collect(&[]).ok();
    assert_eq!(endpoint.asked().len(), 12);
}

#[test]
fn a_web_page_costs_a_handful_of_requests() {
    let (bench, page) = (
        Bench::new(60),
        Endpoint::start(|_| (200, "<html>please log in</html>".to_owned())),
    );
    // Retries as by default.
    bench.config(&[("big", page.url(), "concurrency = 2")]);
    let parts = ["`big` was left alone", "web page", "check that `base_url`"];
    bench.collect(&[]).refused("page", 1, &parts);
    assert!(page.asked().len() <= 14, "{}", page.asked().len());
    assert_eq!(bench.status()["n_left"], 60);
}

#[test]
fn answers_that_a_filter_ended_are_counted() {
    let bench = Bench::new(3);
    let endpoint = Endpoint::start(|body| (200, reply(body, "content_filter")));
    bench.config(&[("big", endpoint.url(), "")]);
    let run = bench.collect(&[]).ok();
    assert!(run.stdout.contains("content filter ended: 3"), "{run:?}");
    assert_eq!(bench.status()["tiers"][0]["n_filtered"], 3);
}

/// The completions of one run are the prompts of another, with ids, splits and data set.
#[test]
fn prompts_may_be_parquet() {
    let (bench, endpoint) = (Bench::new(5), Endpoint::start(echo));
    bench.config(&[("big", endpoint.url(), ""), ("small", endpoint.url(), "")]);
    bench.collect(&[]).ok();
    let before = bench.completions();
    fs::copy(
        bench.path("run").join("completions.parquet"),
        bench.path("prompts.parquet"),
    )
    .unwrap();
    let (prompts, config, out) = (
        bench.at("prompts.parquet"),
        bench.at("tiercast.toml"),
        bench.at("again"),
    );
    let run = tiercast(&["collect", "--prompts", &prompts, "--config", &config, "--out", &out]).ok();
    assert!(run.stdout.contains("10 of 10 calls done"), "{run:?}");
    let again = prompts::read(&bench.path("again").join("completions.parquet"), false).unwrap();
    assert_eq!(again.prompts, before);
}

#[test]
fn a_dead_tier_says_why_however_often_it_was_tried() {
    let bench = Bench::new(40);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let down = format!("http://{}/v1", nobody.local_addr().unwrap());
    drop(nobody);
    // As by default, in less time.
    bench.config(&[("big", &down, "max_retries = 2")]);
    bench.collect(&[]).refused(
        "dead",
        1,
        &["tier `big` was left alone", "no connection", "check `base_url`"],
    );
}

/// What a user sees of `tiercast ... | head -1`: no panic, and the exit code of the work.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (bench, endpoint) = (Bench::new(3), Endpoint::start(echo));
    bench.config(&[("big", endpoint.url(), "")]);
    let mut child = bench.start(&[]);
    drop(child.stdout.take());
    let said = rest(&lines(child.stderr.take().unwrap()));
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(bench.n_completions(), 3);
}

#[test]
fn a_config_that_will_not_do() {
    let bench = Bench::new(1);
    let check = |text: &str, parts: &[&str]| {
        bench.write("tiercast.toml", text);
        bench
            .collect(&[])
            .refused(text, 2, &[&["tiercast.toml"], parts].concat());
    };
    check("[tiers.a]\nspeed = 3\n", &["line 2", "speed"]);
    check("[tiers.a.endpoint]\nbase_url = \"ftp://x\"\n", &["base_url", "http://"]);
    check("[tiers.a]\n", &["no tier has an endpoint"]);
    fs::remove_file(bench.path("tiercast.toml")).unwrap();
    bench.collect(&[]).refused("no config", 2, &["tiercast.toml"]);
    tiercast(&["collect"]).refused("nothing", 2, &["--prompts", "--out"]);
    tiercast(&["collect", "status", "--out", &bench.at("none")]).refused("no run", 1, &["no ledger.sqlite"]);
}

/// A limit on the size of files stands for the full disk: writing past it fails in the same way.
#[test]
fn a_full_disk_loses_nothing_that_was_stored() {
    let (bench, endpoint) = (Bench::new(400), Endpoint::start(echo));
    bench.config(&[("big", endpoint.url(), "")]);
    // Blocks of 512 bytes: the prompts fit, the replies do not.
    let run: Run = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 500; exec \"$0\" \"$@\""])
        .arg(binary())
        .args(bench.arguments(&[]))
        .current_dir(checkout())
        .output()
        .unwrap()
        .into();
    run.refused("full disk", 1, &["ledger.sqlite", "make room"]);
    let n_asked = endpoint.asked().len();
    assert!(n_asked < 400, "all were asked");
    bench.collect(&[]).ok();
    assert_eq!(
        endpoint.asked().into_iter().collect::<BTreeSet<_>>(),
        pairs(400, &["big"])
    );
    assert_eq!(bench.n_completions(), 400);
    // At most the calls in flight were asked again.
    assert!(endpoint.asked().len() <= 404, "{}", endpoint.asked().len());
}

#[test]
fn a_key_that_was_written_into_the_config_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let (config, prompts) = (folder.path().join("tiercast.toml"), folder.path().join("prompts.jsonl"));
    fs::write(&prompts, "{\"prompt\": \"What is 2 + 2?\"}\n").unwrap();
    let out = folder.path().join("run");
    for mistake in [
        "[tiers.a.endpoint]\nbase_url = \"http://h\"\napi_key = \"sk-hush-hush\"\n",
        "[judge.judges.a]\nkind = \"llm_rubric\"\napi_key = \"sk-hush-hush\"\n",
    ] {
        fs::write(&config, mistake).unwrap();
        let [config, prompts, out] = [&config, &prompts, &out].map(|path| path.to_str().unwrap());
        let collect = tiercast(&["collect", "--prompts", prompts, "--config", config, "--out", out]);
        let judge = tiercast(&["judge", "--run", out, "--config", config]);
        let validate = tiercast(&["config", "validate", config]);
        validate.refused(mistake, 2, &["at line"]);
        for run in [collect, judge, validate] {
            assert!(run.code != Some(0) && !format!("{run:?}").contains("hush"), "{run:?}");
        }
    }
}
