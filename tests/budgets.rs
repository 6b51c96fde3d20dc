//! Budgets over HTTP: what is left enters the choice, and every call is booked once.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clients::skipped;
use crate::endpoint::{Endpoint, echo};
use crate::gateway::{Gateway, body, tier};
use crate::http::{Reply, Server};
use crate::reference::is_required;
use crate::replay::{N_TEXTS, Recording, text};
use crate::run::{send, tiercast};

/// 46 tokens at a tenth of a dollar a million.
const CALL_USD: f64 = 4.6e-6;

fn gateway(replay: &Server, budgets: &str) -> Gateway {
    Gateway::start(&format!(
        "{budgets}\n{}{}",
        tier("large", replay.url(), ""),
        tier("small", replay.url(), "")
    ))
}

fn ask(gateway: &Gateway, model: &str, headers: &[(&str, &str)]) -> Reply {
    gateway.chat_with(model, &text(1), &json!({}), headers)
}

/// How the only purse of a session stands, once what has ended is booked.
fn standing(gateway: &Gateway, session: &str) -> Value {
    let read = || gateway.server.get(&format!("/v1/sessions/{session}")).json()["budgets"][0].clone();
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let found = read();
        if found["held_usd"] == 0.0 || Instant::now() > end {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `tiercast config validate` says no, and where.
fn refused(case: &str, config: &str, parts: &[&str]) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tiercast.toml");
    fs::write(&path, config).unwrap();
    let run = tiercast(&[
        "config",
        "validate",
        path.to_str().unwrap(),
        "--checkpoint",
        "checkpoints/reference",
    ]);
    run.refused(case, 2, parts);
}

fn near(value: &Value, expected: f64) {
    assert!(
        (value.as_f64().unwrap() - expected).abs() < 1e-9,
        "{value} is not {expected}"
    );
}

#[test]
fn a_session_gets_cheaper_tiers_before_it_gets_refusals() {
    let recording = Recording::small();
    let replay = recording.replay(&["--instant"]);
    let gateway = gateway(
        &replay,
        "[budgets]\nstore = \"memory\"\n[[budgets.limits]]\nscope = \"session\"\nusd = 0.0002\n",
    );
    let session = [("x-session-id", "s1")];
    // The best tier is the dear one, but for those who cannot pay it.
    assert_eq!(ask(&gateway, "auto:best", &[]).header("x-tiercast-tier"), "large");
    let first = ask(&gateway, "auto:best", &session);
    assert_eq!(
        (first.status, first.header("x-tiercast-tier")),
        (200, "small"),
        "{first:?}"
    );
    let mut n_answered = 1;
    let refusal = loop {
        let reply = ask(&gateway, "auto:best", &session);
        if reply.status != 200 {
            break reply;
        }
        n_answered += 1;
        assert!(n_answered < 100, "nothing is ever refused");
    };
    refusal.refused(
        "a spent session",
        429,
        &["budget of session `s1` is spent", "[budgets]"],
    );
    assert_eq!(refusal.json()["error"]["code"], "budget_spent");
    let stands = standing(&gateway, "s1");
    near(&stands["spent_usd"], f64::from(n_answered) * CALL_USD);
    near(&stands["left_usd"], 0.0002 - f64::from(n_answered) * CALL_USD);
    assert_eq!(stands["spent_tokens"], 46 * n_answered);
    // Another session has a purse of its own, and a decision can be asked for without spending.
    assert_eq!(ask(&gateway, "auto", &[("x-session-id", "s2")]).status, 200);
    let excluded = gateway.server.post_with(
        "/v1/route",
        &[("x-session-id", "s2")],
        &body("auto:best", &text(1), &json!({})),
    );
    assert_eq!(
        excluded.json()["decision"]["excluded"],
        json!([{"tier": "large", "why": "budget"}])
    );
    assert!(
        gateway
            .server
            .get("/metrics")
            .text
            .contains("tiercast_budget_refusals_total 1")
    );
}

#[test]
fn a_spent_budget_degrades_or_defers_where_that_is_configured() {
    let recording = Recording::small();
    let replay = recording.replay(&["--instant"]);
    let gateway = gateway(
        &replay,
        "deadline_ms = 1500\ncohorts = [\"free\", \"slow\"]\n[budgets]\nstore = \"memory\"\n\
         [[budgets.limits]]\nscope = \"cohort\"\nname = \"free\"\nperiod = \"day\"\nusd = 0.000001\nwhen_spent = \"degrade\"\n\
         [[budgets.limits]]\nscope = \"cohort\"\nname = \"slow\"\nperiod = \"day\"\ntokens = 1\nwhen_spent = \"defer\"\n",
    );
    let free = ask(&gateway, "auto:best", &[("x-tiercast-cohort", "free")]);
    assert_eq!(
        (free.status, free.header("x-tiercast-tier")),
        (200, "small"),
        "{free:?}"
    );
    assert_eq!(free.header("x-tiercast-reason"), "budget_spent");
    // A tier that was named is not replaced by another.
    ask(&gateway, "large", &[("x-tiercast-cohort", "free")]).refused("named", 429, &["cohort `free` today (UTC)"]);
    let slow = |mode: &str| {
        let start = Instant::now();
        let reply = ask(
            &gateway,
            "auto",
            &[("x-tiercast-cohort", "slow"), ("x-tiercast-mode", mode)],
        );
        reply.refused("spent", 429, &["cohort `slow`", "midnight"]);
        let wait: u64 = reply.header("retry-after").parse().unwrap();
        assert!((1..=86_400).contains(&wait));
        start.elapsed()
    };
    assert!(
        slow("async") >= Duration::from_millis(1000),
        "it waits for room until its deadline"
    );
    slow("sync");
}

#[test]
fn what_was_spent_outlasts_a_kill() {
    let recording = Recording::small();
    let replay = recording.replay(&["--instant"]);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("budgets.sqlite");
    let budgets = format!(
        "[budgets]\npath = {path:?}\n[[budgets.limits]]\nscope = \"session\"\nusd = 1.0\n[[budgets.limits]]\nscope = \"all\"\nperiod = \"day\"\nusd = 9.0\n"
    );
    let mut killed = gateway(&replay, &budgets);
    for number in 0..12 {
        let reply = killed.chat_with("small", &text(number % N_TEXTS), &json!({}), &[("x-session-id", "s")]);
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    near(&standing(&killed, "s")["spent_usd"], 12.0 * CALL_USD);
    killed.server.end("KILL");
    let again = gateway(&replay, &budgets);
    near(&standing(&again, "s")["spent_usd"], 12.0 * CALL_USD);
}

#[test]
fn racing_requests_never_pass_a_limit_together() {
    let recording = Recording::small();
    let replay = recording.replay(&["--instant"]);
    let gateway = gateway(
        &replay,
        "[budgets]\nstore = \"memory\"\n[[budgets.limits]]\nscope = \"session\"\ntokens = 4000\n",
    );
    // A reply is bounded, so what is held is the most that it can be.
    let bounded = json!({"max_tokens": 500});
    let n_answered: usize = std::thread::scope(|scope| {
        let one = || {
            let replies = (0..20).map(|_| {
                gateway
                    .chat_with("small", &text(1), &bounded, &[("x-session-id", "r")])
                    .status
            });
            replies.filter(|status| *status == 200).count()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let stands = standing(&gateway, "r");
    let spent = stands["spent_tokens"].as_u64().unwrap();
    assert_eq!(
        spent,
        46 * n_answered as u64,
        "every answer is booked, and nothing else"
    );
    assert!(spent <= 4000 && n_answered > 20, "{stands}");
}

/// A call whose reply is not bounded holds all that is left where that is more than is expected and less than twice:
/// else a second one would count on the same money.
#[test]
fn the_last_of_a_purse_is_held_by_one_call() {
    let endpoint = Endpoint::holding(0, echo);
    let tiers = tier("small", endpoint.url().trim_end_matches("/v1"), "");
    let asked = body("small", &text(1), &json!({}));
    let decision = Gateway::start(&tiers).server.route(&asked).json()["decision"].clone();
    let expected = decision["cost_usd"].as_f64().unwrap();
    let limit = 1.5 * expected;
    let gateway = Gateway::start(&format!(
        "[budgets]\nstore = \"memory\"\n[[budgets.limits]]\nscope = \"session\"\nusd = {limit}\n{tiers}"
    ));
    let session = [("x-session-id", "last")];
    std::thread::scope(|scope| {
        let first = scope.spawn(|| ask(&gateway, "small", &session).status);
        endpoint.wait_for(1);
        let stands = gateway.server.get("/v1/sessions/last").json()["budgets"][0].clone();
        let held = stands["held_usd"].as_f64().unwrap();
        assert!((held - limit).abs() < 2e-9, "{stands} of {limit}, expected {expected}");
        ask(&gateway, "small", &session).refused("nothing is left", 429, &["session `last`"]);
        endpoint.open(usize::MAX);
        assert_eq!(first.join().unwrap(), 200);
    });
    // 30 tokens at a tenth of a dollar a million.
    near(&standing(&gateway, "last")["spent_usd"], 3e-6);
    assert_eq!(endpoint.asked().len(), 1);
}

/// A Valkey (or Redis) server of the test's own.
struct Valkey {
    program: &'static str,
    process: Child,
    port: u16,
    folder: TempDir,
}

impl Valkey {
    /// `None` where there is none, unless it is required.
    fn start() -> Option<Self> {
        let found = ["valkey-server", "redis-server"].into_iter().find(|name| {
            let version = Command::new(name)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            version.is_ok_and(|status| status.success())
        });
        let Some(program) = found else {
            assert!(!is_required("valkey"), "valkey-server is required and not there");
            skipped("neither valkey-server nor redis-server is here");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = TempDir::new().unwrap();
        Some(Self {
            process: Self::run(program, port, &folder),
            program,
            port,
            folder,
        })
    }

    /// Once more on the same port, after it has ended.
    fn start_again(&mut self) {
        self.process = Self::run(self.program, self.port, &self.folder);
    }

    fn run(program: &str, port: u16, folder: &TempDir) -> Child {
        let arguments = ["--port", &port.to_string(), "--save", "", "--bind", "127.0.0.1"].map(str::to_owned);
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "{program} does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        process
    }
}

impl Drop for Valkey {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn replicas_share_a_budget_in_valkey() {
    let Some(valkey) = Valkey::start() else { return };
    let recording = Recording::small();
    let replay = recording.replay(&["--instant"]);
    let url = format!("redis://127.0.0.1:{}", valkey.port);
    let start = |when: &str| {
        let budgets = format!(
            "[budgets]\nstore = \"valkey\"\nurl_env = \"TEST_VALKEY\"\nwhen_unavailable = \"{when}\"\ntimeout_ms = 300\n\
             [[budgets.limits]]\nscope = \"session\"\nusd = 1.0\n{}{}",
            tier("large", replay.url(), ""),
            tier("small", replay.url(), "")
        );
        Gateway::start_with(&budgets, &[("TEST_VALKEY", &url)])
    };
    let (closed, open) = (start("closed"), start("open"));
    let session = [("x-session-id", "shared")];
    for gateway in [&closed, &open, &closed] {
        assert_eq!(ask(gateway, "small", &session).status, 200);
    }
    for gateway in [&closed, &open] {
        near(&standing(gateway, "shared")["spent_usd"], 3.0 * CALL_USD);
    }
    // Gone: one refuses and says so, the other goes on and counts.
    send("STOP", valkey.process.id());
    ask(&closed, "small", &session).refused("no store", 503, &["when_unavailable"]);
    assert_eq!(ask(&open, "small", &session).status, 200);
    assert!(
        !open
            .server
            .get("/metrics")
            .text
            .contains("tiercast_budget_store_failures_total 0")
    );
    assert_eq!(closed.server.get("/health").status, 200);
    send("CONT", valkey.process.id());
    let end = Instant::now() + Duration::from_secs(20);
    while ask(&closed, "small", &session).status != 200 {
        assert!(Instant::now() < end, "it never comes back");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_store_that_is_not_there_yet() {
    let Some(mut valkey) = Valkey::start() else { return };
    drop(valkey.process.kill());
    drop(valkey.process.wait());
    let recording = Recording::small();
    let replay = recording.replay(&["--instant"]);
    let url = format!("redis://127.0.0.1:{}", valkey.port);
    let config = |when: &str| {
        format!(
            "[budgets]\nstore = \"valkey\"\nurl_env = \"TEST_VALKEY\"\nwhen_unavailable = \"{when}\"\ntimeout_ms = 300\n\
             [[budgets.limits]]\nscope = \"session\"\nusd = 1.0\n{}",
            tier("small", replay.url(), "")
        )
    };
    // Counted from the first request on, once it is there.
    let open = Gateway::start_with(&config("open"), &[("TEST_VALKEY", &url)]);
    let session = [("x-session-id", "early")];
    assert_eq!(ask(&open, "small", &session).status, 200);
    let failures = || open.server.get("/metrics").text;
    assert!(!failures().contains("tiercast_budget_store_failures_total 0"));
    valkey.start_again();
    let end = Instant::now() + Duration::from_secs(20);
    while standing(&open, "early")["spent_usd"]
        .as_f64()
        .is_none_or(|spent| spent < CALL_USD / 2.0)
    {
        assert!(Instant::now() < end, "nothing is counted: {}", failures());
        assert_eq!(ask(&open, "small", &session).status, 200);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn budgets_that_make_no_sense_are_refused_with_their_place() {
    let limit = |more: &str| format!("[budgets]\nstore = \"memory\"\n[[budgets.limits]]\nscope = \"all\"\n{more}\n");
    for (case, config, parts) in [
        ("negative", limit("usd = -1.0"), &["budgets.limits[1]", "-1"][..]),
        ("no number", limit("usd = nan"), &["budgets.limits[1]", "NaN"]),
        ("nothing", limit("usd = 0.0"), &["budgets.limits[1]", "admits nothing"]),
        ("no limit", limit(""), &["budgets.limits[1]", "no limit"]),
        (
            "a name",
            limit("usd = 1.0\nname = \"x\""),
            &["budgets.limits[1].name", "leave it out"],
        ),
        (
            "twice",
            limit("usd = 1.0\n[[budgets.limits]]\nscope = \"all\"\ntokens = 5.0"),
            &["budgets.limits[2]", "same purse"],
        ),
        (
            "no address",
            "[budgets]\nstore = \"valkey\"\n[[budgets.limits]]\nscope = \"all\"\nusd = 1.0\n".to_owned(),
            &["budgets.url_env", "environment variable"],
        ),
        (
            "an unknown cohort",
            "[[budgets.limits]]\nscope = \"cohort\"\nname = \"gold\"\nusd = 1.0\n".to_owned(),
            &["budgets.limits[1].name", "gold"],
        ),
        (
            "an unknown policy",
            "policy = \"magic\"\n".to_owned(),
            &["`policy`", "magic", "classifier"],
        ),
    ] {
        refused(case, &config, parts);
    }
    let folder = TempDir::new().unwrap();
    fs::write(
        folder.path().join("budgets.sqlite"),
        "this is no database, whatever its name says",
    )
    .unwrap();
    let path = folder.path().join("budgets.sqlite");
    let config = folder.path().join("tiercast.toml");
    fs::write(
        &config,
        format!("[budgets]\npath = {path:?}\n[[budgets.limits]]\nscope = \"all\"\nusd = 1.0\n"),
    )
    .unwrap();
    let refused = tiercast(&["serve", "--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()]);
    refused.refused("no database", 1, &["budgets.sqlite"]);
}
