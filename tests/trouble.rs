//! Upstreams that leak, fail in odd ways or never end, and a gateway that goes away: what clients get, and what is
//! accounted.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::endpoint::request;
use crate::gateway::{Gateway, body, open, tier, wait_until};
use crate::http::Reply;
use crate::replay::text;
use crate::run::tiercast;

const KEY: &str = "sk-hidden-secret-42";

const STREAM: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";
const FIRST: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"four\"},\"finish_reason\":null}]}\n\n";
const LAST: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// An upstream that writes what a test says and closes the connection when it has returned. Gives its base URL.
fn upstream(answer: impl Fn(&Value, &mut TcpStream) + Send + Sync + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            spawn(move || {
                let mut stream = stream.unwrap();
                if let Some(asked) = request(&mut BufReader::new(&stream)) {
                    answer(&asked.body.unwrap(), &mut stream);
                }
            });
        }
    });
    url
}

/// Writes pieces with a pause between them. A client that left is none of an upstream's business.
fn write(stream: &mut TcpStream, pieces: &[&str]) {
    for piece in pieces {
        let _ = stream.write_all(piece.as_bytes());
        sleep(Duration::from_millis(30));
    }
}

fn whole(status: u16, headers: &str, text: &str) -> String {
    let n = text.len();
    format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}content-length: {n}\r\n\r\n{text}")
}

fn reply(usage: &Value) -> String {
    let message = json!({"role": "assistant", "content": "four"});
    json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}).to_string()
}

/// Says nothing until the client leaves.
fn hang(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 1]);
}

/// What the last message of the user asks an upstream to do.
fn wanted(body: &Value) -> &str {
    body["messages"][0]["content"].as_str().unwrap()
}

#[test]
fn an_upstreams_key_reaches_no_client() {
    let url = upstream(|body, stream| {
        let quoted = json!({"error": {"message": format!("no such field for {KEY}"), "code": KEY}}).to_string();
        let (one, other) = quoted.split_at(quoted.find("secret").unwrap());
        match wanted(body) {
            "refuse" => write(stream, &[&whole(400, "", &quoted)]),
            "header" => write(
                stream,
                &[&whole(200, &format!("x-request-id: {KEY}\r\n"), &reply(&Value::Null))],
            ),
            "event" => write(stream, &[STREAM, FIRST, "data: ", one, other, "\n\n"]),
            _ => write(stream, &[&whole(200, "", &reply(&json!({"key": KEY})))]),
        }
    });
    let config = tier("small", &url, "api_key_env = \"UPSTREAM_KEY\"");
    let mut gateway = Gateway::start_with(&config, &[("UPSTREAM_KEY", KEY)]);
    for (wanted, status) in [("refuse", 400), ("header", 200), ("event", 200), ("reply", 200)] {
        for dialect in ["/v1/chat/completions", "/v1/messages"] {
            let request = body("small", wanted, &json!({"stream": wanted == "event", "max_tokens": 9}));
            let reply = gateway.server.post_with(dialect, &[], &request);
            assert_eq!(reply.status, status, "{wanted}: {reply:?}");
            assert!(!format!("{reply:?}").contains(KEY), "{wanted}: {reply:?}");
            if ["refuse", "event"].contains(&wanted) {
                assert!(reply.text.contains("no such field for [key]"), "{wanted}: {reply:?}");
            }
        }
    }
    assert!(!gateway.server.end("TERM").stderr.contains(KEY));
}

#[test]
fn an_upstream_that_only_pretends_to_answer_is_left_alone() {
    let url = upstream(|body, stream| match body["model"].as_str().unwrap() {
        "web" => write(
            stream,
            &[&whole(200, "content-type: text/html\r\n", "<html>Sign in</html>")],
        ),
        "garbage" => write(stream, &[&whole(200, "", "}{")]),
        "half" => write(stream, &[&whole(200, "", "{\"choices\": [{\"mess")]),
        "lost" => write(stream, &[&whole(404, "", "{}")]),
        "keyless" => write(stream, &[&whole(401, "", "")]),
        _ => write(stream, &[STREAM, FIRST]),
    });
    let names = ["web", "garbage", "half", "lost", "keyless", "breaks"];
    let few = "breaker_failures = 2\nbreaker_pause_s = 600";
    let gateway = Gateway::start(&names.map(|name| tier(name, &url, few)).concat());
    for name in names {
        let ask = || gateway.chat_with(name, "hello", &json!({"stream": name == "breaks"}), &[]);
        for _ in 0..2 {
            let reply = ask();
            assert!(
                reply.text.contains("\"error\"") && reply.status != 503,
                "{name}: {reply:?}"
            );
        }
        let open = ask();
        open.refused(name, 503, &[name, "left alone"]);
        assert_eq!(open.json()["error"]["code"], "circuit_open", "{name}");
        assert!(open.header("retry-after").parse::<u64>().unwrap() > 500, "{open:?}");
    }
    // The same where no tier is named and none is left; a request that is wrong by itself is no failure.
    gateway.chat("auto", "hello").refused("all", 503, &["left alone"]);
    let picky = upstream(|_, stream| write(stream, &[&whole(400, "", "")]));
    let gateway = Gateway::start(&tier("small", &picky, few));
    for _ in 0..4 {
        gateway
            .chat("small", "hello")
            .refused("picky", 400, &["`small`", "400"]);
    }
}

#[test]
fn a_stream_that_said_its_last_word_ends() {
    let url = upstream(|_, stream| {
        write(stream, &[STREAM, FIRST, LAST]);
        hang(stream);
    });
    let gateway = Gateway::start(&tier("small", &url, ""));
    for (dialect, end) in [("/v1/chat/completions", "[DONE]"), ("/v1/messages", "message_stop")] {
        let start = Instant::now();
        let request = body("small", "hello", &json!({"stream": true, "max_tokens": 9}));
        let reply = gateway.server.post_with(dialect, &[], &request);
        assert!(
            reply.text.contains(end) && !reply.text.contains("\"error\""),
            "{reply:?}"
        );
        // The wait for the next piece would be a minute.
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{dialect}: {:?}",
            start.elapsed()
        );
    }
    assert_eq!(gateway.stats()["accounts"]["small"]["calls"], json!({"complete": 2}));
}

#[test]
fn usage_that_cannot_be_is_estimated_and_the_answer_passed_on() {
    let url = upstream(|body, stream| {
        let usage: Value = serde_json::from_str(wanted(body)).unwrap();
        write(stream, &[&whole(200, "", &reply(&usage))]);
    });
    let gateway = Gateway::start(&tier("small", &url, ""));
    let told = json!({"prompt_tokens": 12.0, "completion_tokens": 3});
    assert_eq!(gateway.chat("small", &told.to_string()).status, 200);
    let account = gateway.stats()["accounts"]["small"].clone();
    assert_eq!(
        (
            &account["input_tokens"],
            &account["output_tokens"],
            &account["estimated"]
        ),
        (&json!(12.0), &json!(3.0), &json!(0))
    );
    let odd = [
        json!(null),
        json!({}),
        json!({"prompt_tokens": null, "completion_tokens": null}),
        json!({"prompt_tokens": 12}),
        json!({"prompt_tokens": -5, "completion_tokens": 3}),
        json!({"prompt_tokens": "12", "completion_tokens": 3}),
        json!({"prompt_tokens": 1e30, "completion_tokens": 3}),
        json!({"prompt_tokens": 12, "completion_tokens": 500_000_000}),
    ];
    for (n, usage) in odd.iter().enumerate() {
        let reply = gateway.chat("small", &usage.to_string());
        assert_eq!(reply.status, 200, "{usage}: {reply:?}");
        let after = gateway.stats()["accounts"]["small"].clone();
        assert_eq!(after["estimated"], json!(n + 1), "{usage}: {after}");
    }
    let sums = gateway.stats()["accounts"]["small"].clone();
    assert!(sums["estimated_cost_usd"].as_f64().unwrap() > 0.0, "{sums}");
    assert!(sums["output_tokens"].as_f64().unwrap() < 100.0, "{sums}");
}

#[test]
fn an_answer_says_which_decision_it_is_of_and_who_failed_before() {
    let dead = "http://127.0.0.1:1";
    let well = upstream(|_, stream| write(stream, &[&whole(200, "", &reply(&Value::Null))]));
    let gateway = Gateway::start(&(tier("small", dead, "") + &tier("large", &well, "")));
    let request = body("auto:q=0", &text(0), &json!({}));
    let decided = gateway.server.route(&request).json();
    let of = |tier: &str| {
        decided["tiers"]
            .as_array()
            .unwrap()
            .iter()
            .find(|of| of["tier"] == tier)
            .unwrap()
            .clone()
    };
    let reply = gateway.server.post_with("/v1/chat/completions", &[], &request);
    assert_eq!(
        (
            reply.header("x-tiercast-tier"),
            reply.header("x-tiercast-fallback-from")
        ),
        ("large", "small:unreachable"),
        "{reply:?}"
    );
    let number = |name: &str| reply.header(name).parse::<f64>().unwrap();
    let is_near = |header: f64, tier: &str, field: &str| (header - of(tier)[field].as_f64().unwrap()).abs() < 1e-4;
    assert!(
        is_near(number("x-tiercast-quality"), "large", "quality_mean"),
        "{reply:?}"
    );
    let cost = number("x-tiercast-cost-usd");
    assert!(
        (cost / of("large")["cost_usd"].as_f64().unwrap() - 1.0).abs() < 0.01,
        "{reply:?}"
    );
    // Nobody answers: the decision and who failed are told all the same, and no host, port or setting is.
    let gateway = Gateway::start(&(tier("small", dead, "") + &tier("large", dead, "")));
    let failed = gateway.server.post_with("/v1/chat/completions", &[], &request);
    failed.refused(
        "both",
        502,
        &["tier `large`", "cannot be reached", "1 other tiers failed"],
    );
    assert!(
        failed.header("x-tiercast-decision-id").starts_with("dec_"),
        "{failed:?}"
    );
    assert_eq!(
        (
            failed.header("x-tiercast-fallback-from"),
            failed.header("x-tiercast-tier")
        ),
        ("small:unreachable, large:unreachable", "")
    );
    for word in ["127.0.0.1", "base_url", "concurrency", "run again", "refused"] {
        assert!(!failed.text.contains(word), "{word}: {failed:?}");
    }
}

#[test]
fn a_client_that_does_not_wait_for_a_whole_answer_is_accounted_for() {
    let url = upstream(|_, stream| hang(stream));
    let gateway = Gateway::start(&tier("small", &url, "timeout_s = 1"));
    let account = || gateway.stats()["accounts"]["small"].clone();
    gateway.chat("small", "hello").refused("slow", 504, &["in time"]);
    let slow = account();
    assert_eq!(
        (&slow["calls"], &slow["estimated"]),
        (&json!({"failed": 1}), &json!(1)),
        "{slow}"
    );
    assert!(slow["cost_usd"].as_f64().unwrap() > 0.0, "{slow}");
    let address = gateway.url().strip_prefix("http://").unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let request = body("small", "hello", &json!({})).to_string();
    let n = request.len();
    write(
        &mut client,
        &[&format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {n}\r\n\r\n{request}"
        )],
    );
    sleep(Duration::from_millis(200));
    drop(client);
    wait_until("it is accounted for", || account()["calls"]["client_gone"] == json!(1));
    assert_eq!(account()["estimated"], json!(2));
}

#[test]
fn a_drain_that_gives_up_tells_the_clients_and_loses_no_row() {
    let url = upstream(|body, stream| {
        if body["stream"] == true {
            write(stream, &[STREAM, FIRST]);
        }
        hang(stream);
    });
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let store = folder.path().join("budgets.sqlite");
    let config = format!(
        "drain_ms = 200\nrequest_timeout_ms = 200\n[journal]\nfolder = {journal:?}\n[budgets]\npath = {store:?}\n\
         [[budgets.limits]]\nscope = \"session\"\nusd = 1.0\n{}",
        tier("large", &url, "")
    );
    let mut gateway = Gateway::start(&config);
    let streams = [json!({"stream": true}), json!({"stream": true, "max_tokens": 9})];
    let mut clients = streams.map(|more| open(&gateway.server, &body("large", "hello", &more)));
    let address = gateway.url().strip_prefix("http://").unwrap().to_owned();
    let mut waiting = TcpStream::connect(address).unwrap();
    let request = body("large", "hello", &json!({})).to_string();
    let n = request.len();
    write(
        &mut waiting,
        &[&format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-session-id: s\r\ncontent-length: {n}\r\n\r\n{request}"
        )],
    );
    sleep(Duration::from_millis(300));
    let run = gateway.server.end("TERM");
    assert_eq!(run.code, Some(0), "{run:?}");
    for client in &mut clients {
        let mut rest = String::new();
        client.read_to_string(&mut rest).unwrap();
        let last = rest
            .rfind("shutting_down")
            .unwrap_or_else(|| panic!("no error event: {rest}"));
        assert!(rest.find("four").unwrap() < last && !rest.contains("[DONE]"), "{rest}");
        assert!(rest.ends_with("0\r\n\r\n"), "the body is not cut: {rest}");
    }
    let mut refusal = String::new();
    waiting.read_to_string(&mut refusal).unwrap();
    assert!(
        refusal.starts_with("HTTP/1.1 503") && refusal.contains("x-tiercast-decision-id"),
        "{refusal}"
    );
    let report = tiercast(&["report", "--json", "--journal", journal.to_str().unwrap()])
        .ok()
        .stdout;
    let figures = serde_json::from_str::<Value>(&report).unwrap()["figures"].clone();
    assert_eq!(figures["totals"]["calls"], json!(3), "{figures}");
    assert_eq!(
        figures["failures"]["by_tier"],
        json!([{"tier": "large", "error": "shutting_down", "calls": 3}])
    );
    // What the calls took is in the budgets, and nothing is held any more.
    let again = Gateway::start(&config);
    let session = again.server.get("/v1/sessions/s").json()["budgets"][0].clone();
    assert!(session["spent_usd"].as_f64().unwrap() > 0.0, "{session}");
    assert_eq!(session["held_usd"], json!(0.0), "{session}");
    drop(fs::remove_dir_all(folder));
}

#[test]
fn of_a_request_on_unknown_ground_the_better_tiers_stand_in() {
    let dead = "http://127.0.0.1:1";
    let tiers =
        tier("small", dead, "") + &tier("large", dead, "") + &tier("other", dead, "").replace("class = 3", "class = 2");
    let gateway = Gateway::start(&format!("safe_tier = \"small\"\n{tiers}"));
    // Nothing to read: no forecast is to be trusted, whatever it says of who is good enough.
    let reply: Reply = gateway.chat_with("auto:cheap", " ", &json!({}), &[]);
    assert_eq!(reply.header("x-tiercast-reason"), "insufficient_evidence", "{reply:?}");
    assert_eq!(
        reply.header("x-tiercast-fallback-from"),
        "small:unreachable, large:unreachable, other:unreachable"
    );
}
