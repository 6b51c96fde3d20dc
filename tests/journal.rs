//! What was served is kept, spoken of and reported: the journal from the request to the report.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::endpoint::Endpoint;
use crate::gateway::{Gateway, tier};
use crate::http::{Reply, Server};
use crate::replay::{Recording, text};
use crate::run::tiercast;

/// Nothing here takes a tenth of it.
const DEADLINE: Duration = Duration::from_secs(30);

/// A folder for a journal, and the settings that name it.
struct World {
    folder: TempDir,
    replay: Server,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            replay: Recording::small().replay(&["--instant"]),
        }
    }

    fn journal(&self) -> String {
        self.folder.path().join("journal").to_str().unwrap().to_owned()
    }

    fn gateway(&self, more: &str) -> Gateway {
        let journal = format!(
            "cohorts = [\"gold\"]\n[journal]\nfolder = \"{}\"\n{more}\n",
            self.journal()
        );
        let url = self.replay.url();
        Gateway::start(&(journal + &tier("large", url, "") + &tier("small", url, "")))
    }

    fn report(&self, more: &[&str]) -> Value {
        let journal = self.journal();
        let run = tiercast(&[&["report", "--json", "--journal", &journal][..], more].concat());
        serde_json::from_str(&run.ok().stdout).unwrap()
    }
}

fn feedback(gateway: &Gateway, body: &Value) -> Reply {
    gateway.server.post_with("/v1/feedback", &[], body)
}

fn id(reply: &Reply) -> String {
    reply.header("x-tiercast-decision-id").to_owned()
}

/// Waits until so many requests are in the figures.
fn settled(gateway: &Gateway, n: u64) -> Value {
    let start = Instant::now();
    loop {
        let stats = gateway.stats();
        if stats["figures"]["totals"]["requests"].as_u64() >= Some(n) {
            return stats;
        }
        assert!(start.elapsed() < DEADLINE, "{stats}");
        sleep(Duration::from_millis(20));
    }
}

/// Every byte under a folder.
fn bytes(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(bytes(&path));
        } else {
            all.extend(fs::read(path).unwrap());
        }
    }
    all
}

fn holds(all: &[u8], part: &str) -> bool {
    all.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn requests_are_kept_spoken_of_and_reported() {
    let world = World::new();
    let mut gateway = world.gateway("rotate_rows = 8");
    let mut ids = Vec::new();
    for number in 0..10 {
        let more = json!({"stream": number % 2 == 0});
        let headers = [
            ("x-tiercast-cohort", "gold"),
            ("x-session-id", "talk"),
            ("x-tiercast-task", "sums"),
        ];
        let reply = gateway.chat_with("small", &text(number), &more, &headers);
        assert_eq!(reply.status, 200, "{reply:?}");
        ids.push(id(&reply));
    }
    gateway.server.route(&crate::http::ask("Where is the key?"));
    let stats = settled(&gateway, 11);
    let totals = &stats["figures"]["totals"];
    assert_eq!(
        (&totals["answered"], &totals["decided_only"]),
        (&json!(10), &json!(1)),
        "{totals}"
    );

    // What one of them was decided by can be looked at, without a word of the prompt.
    let shown = gateway.server.get(&format!("/v1/decisions/{}", ids[3])).json();
    assert_eq!(
        (&shown["task"], &shown["cohort"], &shown["session"], &shown["endpoint"]),
        (&json!("sums"), &json!("gold"), &json!("talk"), &json!("chat"))
    );
    let call = &shown["calls"][0];
    assert_eq!(
        (&call["tier"], &call["role"], &call["outcome"]),
        (&json!("small"), &json!("chosen"), &json!("complete"))
    );
    assert!(
        call["cost_usd"].as_f64() > Some(0.0) && call["input_tokens"].as_f64() > Some(0.0),
        "{call}"
    );
    assert_eq!(shown["tiers"].as_array().unwrap().len(), 2);
    let mass: f64 = shown["tiers"][0]["quality_pmf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mass| mass.as_f64().unwrap())
        .sum();
    assert!((mass - 1.0).abs() < 1e-5, "{mass}");
    let listed = gateway.server.get("/v1/decisions?limit=3").json();
    assert_eq!(listed["decisions"].as_array().unwrap().len(), 3);
    assert!(!listed.to_string().contains("key?") && !shown.to_string().contains("times three"));

    // Feedback: by decision, twice the same, by session, and what is none.
    let good = feedback(&gateway, &json!({"decision_id": ids[0], "score": 1.0}));
    assert_eq!((good.status, &good.json()["kept"]), (202, &json!(true)), "{good:?}");
    for _ in 0..3 {
        assert_eq!(
            feedback(&gateway, &json!({"decision_id": ids[1], "verdict": "underpowered"})).status,
            202
        );
    }
    assert_eq!(
        feedback(&gateway, &json!({"session_id": "talk", "comment": "nice"})).status,
        202
    );
    feedback(&gateway, &json!({"decision_id": "dec_0123456789abcdef", "score": 1})).refused(
        "unknown",
        404,
        &["dec_0123"],
    );
    feedback(&gateway, &json!({"decision_id": ids[0], "score": 7})).refused("range", 422, &["`score` is 7", "0"]);
    let start = Instant::now();
    while gateway.stats()["figures"]["quality"]["all"]["n_observed"] != json!(2) {
        assert!(
            start.elapsed() < DEADLINE,
            "{}",
            gateway.stats()["figures"]["quality"]["all"]
        );
        sleep(Duration::from_millis(20));
    }
    let metrics = gateway.server.get("/metrics").text;
    for line in [
        "tiercast_served_total{tier=\"small\",policy=\"fixed\",task=\"sums\",cohort=\"gold\",path=\"direct\"} 10",
        "tiercast_feedback_total{source=\"client\",verdict=\"underpowered\"} 3",
        "tiercast_journal_failing 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    // More than eight rows were open: they have become a segment.
    let start = Instant::now();
    while gateway.stats()["journal"]["n_segments"].as_u64() < Some(1) {
        assert!(start.elapsed() < DEADLINE, "{}", gateway.stats()["journal"]);
        sleep(Duration::from_millis(20));
    }
    assert_eq!(gateway.server.end("TERM").code, Some(0));

    // A restart: the decisions of before can still be spoken of.
    let mut again = world.gateway("rotate_rows = 8");
    assert_eq!(
        feedback(&again, &json!({"decision_id": ids[2], "score": 0.5})).status,
        202
    );
    assert_eq!(again.chat("small", &text(1)).status, 200);
    settled(&again, 1);
    assert_eq!(again.server.end("TERM").code, Some(0));

    let report = world.report(&[]);
    let figures = &report["figures"];
    assert_eq!(figures["totals"]["requests"], 12, "{report}");
    let all = &figures["quality"]["all"];
    assert_eq!(all["n_observed"], 3, "what was said thrice counts once: {all}");
    let mean = all["observed"].as_f64().unwrap();
    assert!((mean - 0.5).abs() < 1e-9, "{all}");
    assert!(
        fs::read_dir(Path::new(&world.journal()).join("segments"))
            .unwrap()
            .count()
            > 0,
        "rotated"
    );
    let none = world.report(&["--until", "2020-01-01"]);
    assert_eq!(none["figures"]["totals"]["requests"], 0);

    // Nothing of what was asked or answered is in the journal, nor what a session said of it.
    let all = bytes(Path::new(&world.journal()));
    assert!(!holds(&all, "times three") && !holds(&all, "apples") && !holds(&all, "nice"));

    // As pages.
    let out = world.folder.path().join("report");
    let (journal, at) = (world.journal(), out.to_str().unwrap().to_owned());
    tiercast(&["report", "--journal", &journal, "--out", &at]).ok();
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(
        page.contains("gold") && page.contains("sums") && !page.contains("<script"),
        "{page}"
    );
    assert!(fs::read_to_string(out.join("report.md")).unwrap().contains("gold"));

    // A session can be forgotten, with what was said of it.
    let forgotten = tiercast(&["data", "forget", "--journal", &journal, "--session", "talk"]).ok();
    assert!(forgotten.stdout.contains("10 "), "{forgotten:?}");
    let rest = world.report(&[]);
    assert_eq!(
        (
            &rest["figures"]["totals"]["requests"],
            &rest["figures"]["quality"]["all"]["n_observed"]
        ),
        (&json!(2), &json!(0))
    );
    tiercast(&["report", "--journal", "no/such/folder"]).refused("no journal", 2, &["no/such/folder", "[journal]"]);
}

#[test]
fn a_kill_loses_no_more_than_the_flush_interval() {
    let world = World::new();
    let mut gateway = world.gateway("flush_ms = 100");
    for number in 0..5 {
        assert_eq!(gateway.chat("small", &text(number)).status, 200);
    }
    settled(&gateway, 5);
    sleep(Duration::from_millis(1000));
    gateway.server.end("KILL");
    assert_eq!(world.report(&[])["figures"]["totals"]["requests"], 5);
}

/// A client that calls itself something else each time: as many as a test has patience for; the tables are
/// the same for a million (`a_million_labels_leave_the_frequent_ones_and_little_else`).
#[test]
fn a_hostile_cohort_header_fills_no_table() {
    const N: usize = 1500;
    let world = World::new();
    let gateway = world.gateway("");
    for number in 0..N {
        let made_up = format!("hostile-{number}");
        let cohort = if number % 3 == 0 { "gold" } else { &made_up };
        let reply = gateway.chat_with("small", &text(0), &json!({}), &[("x-tiercast-cohort", cohort)]);
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    let stats = settled(&gateway, N as u64);
    let check = |figures: &Value| {
        let rows = figures["cost"]["by_cohort"].as_array().unwrap();
        let requests = |label: &str| {
            let of = rows.iter().find(|row| row["name"] == label);
            of.map_or(0, |row| row["requests"].as_u64().unwrap())
        };
        assert!((2..=102).contains(&rows.len()), "{} rows", rows.len());
        assert_eq!(requests("gold"), N as u64 / 3, "{rows:?}");
        let all: u64 = rows.iter().map(|row| row["requests"].as_u64().unwrap()).sum();
        assert_eq!(all, N as u64, "the others are in the rest");
    };
    check(&stats["figures"]);
    let metrics = gateway.server.get("/metrics").text;
    assert!(metrics.contains("cohort=\"gold\"") && metrics.contains("cohort=\"other\""));
    assert!(!metrics.contains("hostile-"), "a label that a client made up");
    sleep(Duration::from_millis(1500));
    check(&world.report(&[])["figures"]);
}

#[test]
fn words_are_kept_where_that_is_switched_on() {
    let world = World::new();
    let mut gateway = world.gateway("keep = \"text\"");
    for (number, is_streamed) in [(4, false), (5, true)] {
        let reply = gateway.chat_with("small", &text(number), &json!({"stream": is_streamed}), &[]);
        assert_eq!(reply.status, 200);
        assert_eq!(
            feedback(
                &gateway,
                &json!({"decision_id": id(&reply), "score": 1, "comment": "well put"})
            )
            .status,
            202
        );
    }
    settled(&gateway, 2);
    assert!(
        !gateway.server.get("/v1/decisions").text.contains("apples"),
        "kept, not shown"
    );
    assert_eq!(gateway.server.end("TERM").code, Some(0));
    let all = bytes(Path::new(&world.journal()));
    for words in ["What is 4 times three?", "Take 4 apples", "Take 5 apples", "well put"] {
        assert!(holds(&all, words), "{words}");
    }
}

#[test]
fn the_ways_of_an_answer_are_told_apart() {
    let fails = Endpoint::start(|_| (500, "{}".to_owned()));
    let world = World::new();
    let journal = format!("[journal]\nfolder = \"{}\"\nkeep = \"hash\"\n", world.journal());
    let url = world.replay.url();
    let small = tier("small", fails.url().strip_suffix("/v1").unwrap(), "");
    let mut gateway = Gateway::start(&(journal + &tier("large", url, "") + &small));
    for number in 0..3 {
        let reply = gateway.chat("auto:q=0.01", &text(number));
        assert_eq!(
            (reply.status, reply.header("x-tiercast-tier")),
            (200, "large"),
            "{reply:?}"
        );
    }
    settled(&gateway, 3);
    assert_eq!(gateway.server.end("TERM").code, Some(0));
    let figures = world.report(&[])["figures"].clone();
    let of = |path: &str| {
        let paths = figures["quality"]["by_path"].as_array().unwrap();
        paths.iter().find(|of| of["name"] == path).unwrap()["requests"].clone()
    };
    assert_eq!((of("fallback"), of("direct")), (json!(3), json!(0)), "{figures}");
    // The shape of what was kept says nothing of the prompts but whether two were the same.
    assert!(!holds(&bytes(Path::new(&world.journal())), "ask_tokens\":"));
}

#[test]
fn what_cannot_be_a_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let check = |config: &str, parts: &[&str]| {
        let path = folder.path().join("tiercast.toml");
        fs::write(&path, config).unwrap();
        let arguments = [
            "serve",
            "--checkpoint",
            "checkpoints/reference",
            "--listen",
            "127.0.0.1:0",
            "--config",
        ];
        tiercast(&[&arguments[..], &[path.to_str().unwrap()]].concat()).refused(config, 2, parts);
    };
    check("[journal]\nfolder = \"\"\n", &["journal.folder"]);
    check("[journal]\nfolder = \"j\"\nflush_ms = 0\n", &["journal", "flush_ms"]);
    check("[journal]\nkeep = \"all\"\n", &["keep", "features"]);
    check("[traces]\nendpoint = \"nowhere\"\n", &["[traces]", "`endpoint`"]);
    check("[drift]\nwindow = 0\n", &["drift"]);
}
