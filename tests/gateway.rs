//! The gateway before replayed tiers: what clients get, what tiers are asked, what is accounted.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::endpoint::Endpoint;
use crate::http::{Reply, Server, ask};
use crate::replay::{N_TEXTS, Recording, answer, stats, switch, text};
use crate::run::command;

const CHECKPOINT: &str = "checkpoints/reference";

/// What takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// A server with a `tiercast.toml` of its own.
pub(crate) struct Gateway {
    pub(crate) server: Server,
    folder: TempDir,
}

/// A tier that borrows the evidence of a trained one.
pub(crate) fn tier(name: &str, url: &str, more: &str) -> String {
    let (predict_as, price, class) = match name {
        "large" => ("gemini-1.5-pro-002", 10.0, 1),
        _ => ("mathstral-7B", 0.1, 3),
    };
    format!(
        "[tiers.{name}]\nclass = {class}\npredict_as = \"{predict_as}\"\ninput_usd_per_mtok = {price}\n\
         output_usd_per_mtok = {price}\n[tiers.{name}.endpoint]\nbase_url = \"{url}/v1\"\n{more}\n"
    )
}

impl Gateway {
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// The same with environment variables.
    pub(crate) fn start_with(config: &str, variables: &[(&str, &str)]) -> Self {
        Self::of(CHECKPOINT, config, variables)
    }

    /// The same with another checkpoint.
    pub(crate) fn of(checkpoint: &str, config: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiercast.toml");
        fs::write(&path, config).unwrap();
        let arguments = ["serve", "--checkpoint", checkpoint, "--config", path.to_str().unwrap()];
        let server = Server::run_with(&arguments, variables);
        Self { server, folder }
    }

    pub(crate) fn url(&self) -> &str {
        self.server.url()
    }

    /// Both tiers at one replay.
    pub(crate) fn before(replay: &Server) -> Self {
        Self::start(&(tier("large", replay.url(), "") + &tier("small", replay.url(), "")))
    }

    pub(crate) fn configure(&self, config: &str) {
        fs::write(self.folder.path().join("tiercast.toml"), config).unwrap();
    }

    pub(crate) fn chat(&self, model: &str, text: &str) -> Reply {
        self.chat_with(model, text, &json!({}), &[])
    }

    pub(crate) fn chat_with(&self, model: &str, text: &str, more: &Value, headers: &[(&str, &str)]) -> Reply {
        self.server
            .post_with("/v1/chat/completions", headers, &body(model, text, more))
    }

    pub(crate) fn stats(&self) -> Value {
        self.server.get("/v1/stats").json()
    }
}

pub(crate) fn body(model: &str, text: &str, more: &Value) -> Value {
    let mut body = ask(text);
    body["model"] = json!(model);
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn said(reply: &Reply) -> Value {
    reply.json()["choices"][0]["message"]["content"].clone()
}

/// The text of a chat stream.
fn streamed(reply: &Reply) -> String {
    let events = reply.text.lines().filter_map(|line| line.strip_prefix("data: "));
    let chunks = events.filter(|data| *data != "[DONE]");
    let chunks = chunks.map(|data| serde_json::from_str::<Value>(data).unwrap());
    let text = |chunk: Value| {
        chunk["choices"][0]["delta"]["content"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    chunks.map(text).collect()
}

#[test]
fn the_same_dialect_is_passed_through_byte_for_byte() {
    let recording = Recording::small();
    let (direct, behind) = (recording.replay(&["--instant"]), recording.replay(&["--instant"]));
    let gateway = Gateway::before(&behind);
    let usage = json!({"include_usage": true});
    for (path, more) in [
        ("/v1/chat/completions", json!({})),
        ("/v1/chat/completions", json!({"stream": true, "stream_options": usage})),
        (
            "/v1/chat/completions",
            json!({"stream": true, "temperature": 1e0, "unknown": [1, {"a": null}]}),
        ),
    ] {
        let request = body("small", &text(3), &more);
        let plain = direct.post_with(path, &[], &request);
        let through = gateway.server.post_with(path, &[], &request);
        assert_eq!((plain.status, through.status), (200, 200), "{through:?}");
        assert_eq!(through.text, plain.text);
        assert_eq!(through.header("content-type"), plain.header("content-type"));
        assert_eq!(through.header("x-tiercast-tier"), "small");
    }
    // The usage that only we asked for was read and taken out: all three calls are accounted for.
    let account = &gateway.stats()["accounts"]["small"];
    assert_eq!(account["calls"], json!({"complete": 3}), "{account}");
    assert_eq!(
        (&account["input_tokens"], &account["estimated"]),
        (&json!(36.0), &json!(0))
    );
}

#[test]
fn every_dialect_reaches_a_tier_of_every_other() {
    let recording = Recording::small();
    for spoken in ["chat", "responses", "messages"] {
        let replay = recording.replay(&["--instant"]);
        let dialects = format!("dialects = [\"{spoken}\"]");
        let gateway = Gateway::start(&tier("small", replay.url(), &dialects));
        let asked = text(5);
        let expected = answer(5, "small");
        let chat = gateway.chat("auto", &asked);
        assert_eq!(said(&chat), json!(expected), "{chat:?}");
        let stream = gateway.chat_with("auto", &asked, &json!({"stream": true}), &[]);
        assert_eq!(streamed(&stream), expected, "{stream:?}");
        for is_streamed in [false, true] {
            let request = json!({"model": "auto", "input": asked, "stream": is_streamed});
            let reply = gateway.server.post_with("/v1/responses", &[], &request);
            assert!(
                reply.status == 200 && reply.text.contains("says small."),
                "{spoken}: {reply:?}"
            );
            assert_eq!(
                reply.text.contains("event: response.incomplete"),
                is_streamed,
                "cut, as recorded: {reply:?}"
            );
            let message = [json!({"role": "user", "content": asked})];
            let request = json!({"model": "auto", "max_tokens": 99, "messages": message, "stream": is_streamed});
            let reply = gateway.server.post_with("/v1/messages", &[], &request);
            assert!(
                reply.status == 200 && reply.text.contains("says small."),
                "{spoken}: {reply:?}"
            );
            assert_eq!(reply.text.contains("event: message_stop"), is_streamed, "{reply:?}");
        }
        let account = &gateway.stats()["accounts"]["small"];
        assert_eq!(account["calls"], json!({"complete": 6}), "{spoken}: {account}");
        assert_eq!(account["input_tokens"], json!(72.0), "{spoken}: {account}");
    }
}

#[test]
fn a_failure_before_the_first_byte_goes_to_the_next_tier() {
    let recording = Recording::small();
    let (ill, well) = (recording.replay(&["--instant"]), recording.replay(&["--instant"]));
    let few = "breaker_failures = 4\nbreaker_pause_s = 600\ntimeout_s = 1";
    let gateway = Gateway::start(&(tier("small", ill.url(), few) + &tier("large", well.url(), "")));
    let cheap = [("x-tiercast-quality", "0")];
    let sound = gateway.chat_with("auto", &text(0), &json!({}), &cheap);
    assert_eq!(sound.header("x-tiercast-tier"), "small", "{sound:?}");
    for (fault, kind) in [
        ("server_error", "server"),
        ("malformed_json", "cut_json"),
        ("html", "html"),
        ("timeout", "timeout"),
        ("rate_limit", "rate_limited"),
    ] {
        // An answer between them, or the circuit would open.
        switch(&ill, &json!({"shares": {}}));
        assert_eq!(gateway.chat_with("auto", &text(0), &json!({}), &cheap).status, 200);
        switch(&ill, &json!({"shares": {fault: 1.0}}));
        for is_streamed in [false, true] {
            let reply = gateway.chat_with("auto", &text(1), &json!({"stream": is_streamed}), &cheap);
            let got = if is_streamed {
                json!(streamed(&reply))
            } else {
                said(&reply)
            };
            assert_eq!(got, json!(answer(1, "large")), "{fault}: {reply:?}");
            assert_eq!(reply.header("x-tiercast-tier"), "large");
            let from = reply.header("x-tiercast-fallback-from");
            // A stream of broken JSON is told from a broken reply.
            assert!(
                from.starts_with("small:") && (is_streamed || from == format!("small:{kind}")),
                "{from}"
            );
        }
    }
    let account = gateway.stats()["accounts"].clone();
    assert_eq!(
        (&account["small"]["fallbacks_out"], &account["large"]["fallbacks_in"]),
        (&json!(10), &json!(10))
    );
    assert_eq!(
        (&account["small"]["decisions"], &account["large"]["decisions"]),
        (&json!(16), &json!(0))
    );
    // Named by hand it is not replaced, and the client learns why.
    switch(&ill, &json!({"shares": {"server_error": 1.0}}));
    gateway
        .chat("small", &text(1))
        .refused("named", 502, &["`small`", "500"]);
    for _ in 0..6 {
        gateway.chat("auto:q=0", &text(1));
    }
    let decision = gateway.server.route(&body("auto:q=0", &text(1), &json!({}))).json();
    assert_eq!(
        decision["decision"]["excluded"],
        json!([{"tier": "small", "why": "circuit_open"}])
    );
    assert_eq!(
        gateway.chat("auto:q=0", &text(1)).header("x-tiercast-fallback-from"),
        "",
        "it is not asked any more"
    );
    let metrics = gateway.server.get("/metrics").text;
    assert!(
        metrics.contains("tiercast_fallbacks_total{from=\"small\",to=\"large\",kind=\"server\"}"),
        "{metrics}"
    );
}

#[test]
fn after_the_first_byte_nothing_is_asked_again() {
    let recording = Recording::small();
    let (ill, well) = (recording.replay(&["--instant"]), recording.replay(&["--instant"]));
    let gateway = Gateway::start(&(tier("small", ill.url(), "") + &tier("large", well.url(), "")));
    switch(&ill, &json!({"shares": {"cut_stream": 1.0}}));
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let request = body("auto:q=0", &text(2), &json!({"stream": true, "max_tokens": 99}));
        let reply = gateway.server.post_with(path, &[], &request);
        assert_eq!((reply.status, reply.header("x-tiercast-tier")), (200, "small"));
        assert!(
            reply.text.contains("\"error\"") && !reply.text.contains("[DONE]"),
            "{reply:?}"
        );
    }
    assert_eq!(stats(&well)["calls"], json!(0));
    assert_eq!(gateway.stats()["accounts"]["small"]["calls"], json!({"failed": 2}));
}

#[test]
fn what_the_upstream_told_is_what_is_accounted() {
    let recording = Recording::small();
    let replay = recording.replay(&["--instant", "--fault", "server_error=0.2", "--fault", "rate_limit=0.1"]);
    let more = "breaker_failures = 100000";
    let gateway = Gateway::start(&(tier("large", replay.url(), more) + &tier("small", replay.url(), more)));
    let n_wrong: usize = std::thread::scope(|scope| {
        let ask = |thread: usize| {
            let gateway = &gateway;
            move || {
                let one = |number: usize| {
                    let model = ["auto", "auto:cheap", "auto:best"][number % 3];
                    let is_streamed = number.is_multiple_of(2);
                    let reply = gateway.chat_with(model, &text(number), &json!({"stream": is_streamed}), &[]);
                    let tier = reply.header("x-tiercast-tier").to_owned();
                    let right = answer(number, &tier);
                    match reply.status {
                        200 if is_streamed => usize::from(streamed(&reply) != right),
                        200 => usize::from(said(&reply) != json!(right)),
                        429 | 502 => 0, // Both tiers failed.
                        _ => 1,
                    }
                };
                (thread..N_TEXTS).step_by(4).map(one).sum::<usize>()
            }
        };
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(ask(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(n_wrong, 0);
    let (ours, theirs) = (gateway.stats(), stats(&replay));
    for name in ["large", "small"] {
        let (account, model) = (&ours["accounts"][name], &theirs["models"][name]);
        if model.is_null() {
            continue;
        }
        for tokens in ["input_tokens", "output_tokens"] {
            assert_eq!(
                account[tokens].as_f64(),
                model[tokens].as_f64(),
                "{name}: {account} {model}"
            );
        }
        assert_eq!(
            account["calls"]["complete"], model["replies"],
            "{name}: {account} {model}"
        );
    }
    let price = |name: &str, tokens: f64| tokens * if name == "large" { 10e-6 } else { 0.1e-6 };
    let settled: f64 = ["large", "small"]
        .iter()
        .filter_map(|name| {
            let account = &ours["accounts"][*name];
            Some(price(
                name,
                account["input_tokens"].as_f64()? + account["output_tokens"].as_f64()?,
            ))
        })
        .sum();
    assert!((ours["cost_usd"].as_f64().unwrap() - settled).abs() < 1e-9, "{ours}");
}

/// Sends a request on a socket of its own and returns once the head of the answer has come.
pub(crate) fn open(server: &Server, request: &Value) -> BufReader<TcpStream> {
    let address = server.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let body = request.to_string();
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
    reader
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "never came: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_client_that_leaves_ends_the_upstreams_call() {
    let recording = Recording::small();
    let replay = recording.replay(&["--instant"]);
    switch(&replay, &json!({"shares": {"slow_drip": 1.0}, "drip_s": 300.0}));
    let gateway = Gateway::start(&tier("small", replay.url(), ""));
    let request = body("auto", &text(4), &json!({"stream": true}));
    let client = open(&gateway.server, &request);
    assert_eq!(stats(&replay)["in_flight"], json!(1));
    drop(client);
    wait_until("the replay is left", || stats(&replay)["abandoned"] == json!(1));
    wait_until("it is accounted for", || {
        gateway.stats()["accounts"]["small"]["calls"] == json!({"client_gone": 1})
    });
}

#[test]
fn overload_is_shed_while_health_stays_green_and_a_shutdown_drains() {
    let recording = Recording::small();
    let replay = recording.replay(&["--instant"]);
    switch(&replay, &json!({"shares": {"slow_drip": 1.0}, "drip_s": 3.0}));
    let mut gateway = Gateway::start(&format!("max_concurrency = 2\n{}", tier("small", replay.url(), "")));
    let request = body("auto", &text(4), &json!({"stream": true}));
    let mut clients = [open(&gateway.server, &request), open(&gateway.server, &request)];
    let refused = gateway.chat("auto", &text(4));
    refused.refused("third", 429, &["max_concurrency"]);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(gateway.server.get("/health").status, 200);
    // What is under way goes on to its end.
    let run = gateway.server.end("TERM");
    assert_eq!(run.code, Some(0), "{run:?}");
    for client in &mut clients {
        let mut rest = String::new();
        client.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("[DONE]"), "{rest}");
    }
}

#[test]
fn keys_are_asked_for_and_never_shown() {
    let endpoint = Endpoint::start(|_| {
        let message = "Incorrect API key provided: sk-upstream-secret.";
        (
            401,
            json!({"error": {"message": message, "type": "invalid_request_error", "code": "invalid_api_key"}})
                .to_string(),
        )
    });
    let url = endpoint.url().strip_suffix("/v1").unwrap();
    let keyed = tier("small", url, "api_key_env = \"UPSTREAM_KEY\"");
    let config = format!(
        "cohorts = [\"gold\"]\n[keys.app]\nenv = \"APP_KEY\"\ncohort = \"gold\"\n[admin]\nenv = \"ADMIN_KEY\"\n{keyed}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiercast.toml");
    fs::write(&path, &config).unwrap();
    let arguments = ["serve", "--checkpoint", CHECKPOINT, "--config", path.to_str().unwrap()];
    let missing = command(&arguments).output().unwrap();
    let message = String::from_utf8_lossy(&missing.stderr);
    assert!(!missing.status.success() && message.contains("APP_KEY"), "{message}");
    let variables = [
        ("UPSTREAM_KEY", "sk-upstream-secret"),
        ("APP_KEY", "tc-app-secret"),
        ("ADMIN_KEY", "tc-admin-secret"),
    ];
    let mut server = Server::run_with(&arguments, &variables);
    let request = body("auto", "hello", &json!({}));
    server
        .post_with("/v1/chat/completions", &[], &request)
        .refused("none", 401, &["authorization: Bearer"]);
    let wrong = [("authorization", "Bearer tc-admin-secret")];
    server
        .post_with("/v1/route", &wrong, &request)
        .refused("of another", 401, &["authorization: Bearer"]);
    let anthropic = server.post_with("/v1/messages", &[], &request);
    assert_eq!(
        anthropic.json()["error"]["type"],
        "authentication_error",
        "{anthropic:?}"
    );
    assert_eq!(
        (server.get("/health").status, server.get("/metrics").status),
        (200, 401)
    );
    let key = [("authorization", "Bearer tc-app-secret")];
    let decided = server.post_with("/v1/route", &key, &request);
    assert_eq!(decided.status, 200, "{decided:?}");
    let other = [key[0], ("x-tiercast-cohort", "silver")];
    server
        .post_with("/v1/route", &other, &request)
        .refused("cohort", 400, &["gold"]);
    server
        .post_with("/admin/config/reload", &key, &json!({}))
        .refused("admin", 403, &["admin key"]);
    assert_eq!(server.post_with("/admin/config/reload", &wrong, &json!({})).status, 200);
    let failed = server.post_with("/v1/chat/completions", &[("x-api-key", "tc-app-secret")], &request);
    failed.refused("upstream", 502, &["`small`", "refuses to serve this gateway"]);
    let log = server.end("TERM").stderr;
    assert!(
        log.contains("UPSTREAM_KEY") && !failed.text.contains("UPSTREAM_KEY"),
        "{failed:?}"
    );
    for secret in ["sk-upstream-secret", "tc-app-secret", "tc-admin-secret"] {
        assert!(
            !failed.text.contains(secret) && !log.contains(secret),
            "{secret} was shown"
        );
    }
    assert!(!log.contains("hello"), "prompts are not logged");
}

#[test]
fn settings_are_reloaded_as_a_whole_or_not_at_all() {
    let recording = Recording::small();
    let replay = recording.replay(&["--instant"]);
    let small = tier("small", replay.url(), "");
    let mut gateway = Gateway::start(&small);
    let tiers = |gateway: &Gateway| {
        let models = gateway.server.get("/v1/models").json();
        let models = models["data"].as_array().unwrap().iter();
        let own = models.filter(|model| model["virtual"] == false);
        own.map(|model| model["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(tiers(&gateway), ["small"]);
    // The file is watched.
    gateway.configure(&(small.clone() + &tier("large", replay.url(), "")));
    wait_until("the new tier", || tiers(&gateway) == ["large", "small"]);
    // A request under way goes on with what it began with.
    switch(&replay, &json!({"shares": {"slow_drip": 1.0}, "drip_s": 3.0}));
    let mut client = open(&gateway.server, &body("large", &text(4), &json!({"stream": true})));
    for (text, parts) in [
        (format!("workers = 0\n{small}"), ["line 1", "`workers` is 0"]),
        (format!("{small}\n[tiers.other]\nclass = 9\n"), ["line 11", "class"]),
        (format!("{small}\nspeed = 3\n"), ["line 10", "speed"]),
        (format!("workers = 2\n{small}"), ["line 1", "restart"]),
        (format!("listen = \"127.0.0.1:1\"\n{small}"), ["line 1", "`listen`"]),
        (String::new(), ["[tiers.NAME.endpoint]", "restart"]),
        (small.replace("mathstral-7B", "nobody"), ["line 3", "nobody"]),
        (
            small.replace("input_usd_per_mtok = 0.1\n", ""),
            ["line 1", "input_usd_per_mtok"],
        ),
        (format!("{small}\n{small}"), ["line 10", "small"]),
    ] {
        gateway.configure(&text);
        let refused = gateway.server.post("/admin/config/reload", b"");
        refused.refused(&text, 422, &parts);
        assert_eq!(tiers(&gateway), ["large", "small"], "{text}");
    }
    gateway.configure(&small);
    assert_eq!(gateway.server.post("/admin/config/reload", b"").status, 200);
    assert_eq!(tiers(&gateway), ["small"]);
    let mut rest = String::new();
    client.get_mut().set_read_timeout(Some(DEADLINE)).unwrap();
    while !rest.contains("[DONE]") {
        assert!(client.read_line(&mut rest).unwrap() > 0, "{rest}");
    }
    drop(client);
    let log = gateway.server.end("TERM").stderr;
    assert!(log.contains("settings reloaded"), "{log}");
}

#[test]
fn a_file_that_is_half_written_opens_no_door() {
    let recording = Recording::small();
    let replay = recording.replay(&["--instant"]);
    let tiers = tier("small", replay.url(), "") + &tier("large", replay.url(), "");
    let keys = "[keys.app]\nenv = \"APP_KEY\"\n[admin]\nenv = \"ADMIN_KEY\"\n";
    let variables = [("APP_KEY", "tc-app-secret"), ("ADMIN_KEY", "tc-admin-secret")];
    let gateway = Gateway::start_with(&(tiers.clone() + keys), &variables);
    let admin = [("authorization", "Bearer tc-admin-secret")];
    let reload = || gateway.server.post_with("/admin/config/reload", &admin, &json!({}));
    for (text, part) in [
        (tiers.clone(), "[keys.NAME]"),
        (tiers.clone() + "[keys.app]\nenv = \"APP_KEY\"\n", "[admin]"),
        (keys.to_owned(), "[tiers.NAME.endpoint]"),
    ] {
        gateway.configure(&text);
        reload().refused(&text, 422, &[part, "restart"]);
        assert_eq!(gateway.server.get("/v1/models").status, 401, "{text}");
    }
    // A writer that takes its time: no state between two looks is put in force, the last one is.
    let whole = format!("cohorts = [\"new\"]\n{keys}{tiers}");
    let key = [
        ("authorization", "Bearer tc-app-secret"),
        ("x-tiercast-cohort", "new"),
        ("x-tiercast-debug", "1"),
    ];
    let decided = || {
        let answer = gateway
            .server
            .post_with("/v1/route", &key, &body("auto", "hello", &json!({})))
            .json();
        (
            answer["tiers"].as_array().unwrap().len(),
            answer["debug"]["cohort"].clone(),
        )
    };
    let n = whole.len();
    for end in (n / 2..n).step_by(n / 16) {
        gateway.configure(&whole[..end]);
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(decided(), (2, json!("other")), "after {end} bytes");
    }
    gateway.configure(&whole);
    wait_until("the whole file", || decided() == (2, json!("new")));
}

#[test]
fn a_tier_that_cannot_be_told_a_field_is_left_out_and_named() {
    let recording = Recording::small();
    let replay = recording.replay(&["--instant"]);
    let messages = tier("large", replay.url(), "dialects = [\"messages\"]");
    let gateway = Gateway::start(&(messages + &tier("small", replay.url(), "")));
    let odd = json!({"n": 2});
    let decision = gateway.server.route(&body("auto:best", &text(0), &odd)).json()["decision"].clone();
    assert_eq!(decision["excluded"][0]["why"], json!("untranslatable"), "{decision}");
    assert!(
        decision["excluded"][0]["detail"].as_str().unwrap().contains("`n`"),
        "{decision}"
    );
    assert_eq!(decision["predicted_as"], json!("mathstral-7B"));
    let named = gateway.chat_with("large", &text(0), &odd, &[]);
    named.refused("named", 422, &["`large`", "`n`", "dialects"]);
    assert_eq!(
        gateway
            .chat_with("auto:best", &text(0), &odd, &[])
            .header("x-tiercast-tier"),
        "small"
    );
}

#[test]
fn bad_input_is_refused_by_name() {
    let recording = Recording::small();
    let replay = recording.replay(&["--instant"]);
    let config = format!("body_limit_bytes = 20000\n{}", tier("small", replay.url(), ""));
    let gateway = Gateway::start(&config);
    let post = |body: &[u8]| gateway.server.post("/v1/chat/completions", body);
    let nested = format!("{{\"messages\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let large = body("auto", &"long ".repeat(5_000), &json!({})).to_string();
    for (name, sent, status, part) in [
        ("empty", &b""[..], 400, "JSON"),
        ("not UTF-8", b"{\"model\":\"\xff\"}", 400, "UTF-8"),
        ("nested", nested.as_bytes(), 400, "JSON"),
        ("large", large.as_bytes(), 413, "body_limit_bytes"),
        ("no messages", b"{\"model\":\"auto\",\"messages\":[]}", 400, "messages"),
        ("model", b"{\"model\":7,\"messages\":[]}", 400, "`model`"),
        ("stream", b"{\"stream\":\"yes\",\"messages\":[]}", 400, "`stream`"),
        ("list", b"[]", 400, "the body"),
    ] {
        post(sent).refused(name, status, &[part]);
    }
    gateway
        .chat("gpt-9", "hi")
        .refused("model", 404, &["gpt-9", "auto:cheap", "small"]);
    let high = [("x-tiercast-quality", "2")];
    gateway
        .chat_with("auto", "hi", &json!({}), &high)
        .refused("quality", 400, &["x-tiercast-quality", "0 to 1"]);
    gateway
        .chat("auto", "never recorded")
        .refused("unknown to the upstream", 404, &["`small`", "recorded"]);
    assert_eq!(gateway.stats()["accounts"]["small"]["calls"], json!({"failed": 1}));
    // Without endpoints the same paths say what is missing.
    let bare = Server::start(CHECKPOINT);
    let reply = bare.post_with("/v1/chat/completions", &[], &ask("hi"));
    reply.refused("no endpoint", 503, &["[tiers.\"NAME\".endpoint]"]);
}
