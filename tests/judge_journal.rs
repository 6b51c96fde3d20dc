//! A sample of what was served is judged: beside the server and without it, once, and told apart from users.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::endpoint::Endpoint;
use crate::gateway::{Gateway, tier};
use crate::http::Server;
use crate::replay::{N_TEXTS, Recording, text};
use crate::run::{Run, command, tiercast};

/// Nothing here takes a tenth of it.
const DEADLINE: Duration = Duration::from_secs(60);

/// Requests that `large` answers; `small` has the others.
const N_LARGE: usize = 10;

/// A journal, a server that writes it, and a model that judges.
struct World {
    folder: TempDir,
    judge: Endpoint,
    _replay: Server,
    gateway: Gateway,
}

impl World {
    /// Every recorded prompt is asked once, and is in the journal.
    fn new(journal: &str, judge: Endpoint) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let replay = Recording::small().replay(&["--instant"]);
        let at = folder.path().join("journal").to_str().unwrap().to_owned();
        let config = format!("[journal]\nfolder = \"{at}\"\nflush_ms = 50\n{journal}\n");
        let tiers = tier("large", replay.url(), "") + &tier("small", replay.url(), "");
        let world = Self {
            folder,
            judge,
            _replay: replay,
            gateway: Gateway::start(&(config + &tiers)),
        };
        world.configure("A good answer is large.");
        for number in 0..N_TEXTS {
            let model = if number < N_LARGE { "large" } else { "small" };
            let more = json!({"stream": number % 2 == 0});
            let headers = [("x-session-id", "talk")];
            let reply = world.gateway.chat_with(model, &text(number), &more, &headers);
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        world.until("all are kept", |world| {
            world.report()["figures"]["totals"]["requests"] == json!(N_TEXTS)
        });
        world
    }

    /// The same with an endpoint that finds `large` perfect and `small` useless.
    fn judged_fairly(journal: &str) -> Self {
        Self::new(journal, Endpoint::start(|body| (200, verdict(body))))
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A judge of this rubric, and one that needs a reference.
    fn configure(&self, rubric: &str) {
        fs::write(self.at("rubric.md"), format!("+++\nscale = [1, 10]\n+++\n{rubric}\n")).unwrap();
        let endpoint = format!(
            "endpoint = {{ base_url = \"{}\", model = \"judge\", concurrency = 4, max_retries = 0 }}",
            self.judge.url()
        );
        let config = format!(
            "[judge]\ndefault = \"both\"\n[judge.judges.both]\nkind = \"all\"\nof = [\"exact\", \"fair\"]\n\
             [judge.judges.exact]\nkind = \"numeric\"\n[judge.judges.fair]\nkind = \"llm_rubric\"\nrubric = \"rubric.md\"\n\
             input_usd_per_mtok = 1\noutput_usd_per_mtok = 1\n{endpoint}\n"
        );
        fs::write(self.at("judge.toml"), config).unwrap();
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let (journal, config) = (self.at("journal"), self.at("judge.toml"));
        let arguments = [
            &["judge", "--journal", &journal, "--config", &config, "--json"][..],
            more,
        ]
        .concat();
        arguments.into_iter().map(str::to_owned).collect()
    }

    fn run(&self, more: &[&str]) -> Run {
        let arguments = self.arguments(more);
        tiercast(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn judge(&self, more: &[&str]) -> Value {
        serde_json::from_str(&self.run(more).ok().stdout).unwrap()
    }

    fn report(&self) -> Value {
        let run = tiercast(&["report", "--json", "--without-drift", "--journal", &self.at("journal")]);
        serde_json::from_str(&run.ok().stdout).unwrap()
    }

    fn quality(&self) -> Value {
        self.report()["figures"]["quality"].clone()
    }

    fn n_asked(&self) -> usize {
        self.judge.asked().len()
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            assert!(start.elapsed() < DEADLINE, "{what}: {}", self.report());
            sleep(Duration::from_millis(50));
        }
    }
}

fn said(text: &str) -> String {
    json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    })
    .to_string()
}

fn asked(body: &Value) -> &str {
    body["messages"][1]["content"].as_str().unwrap()
}

fn verdict(body: &Value) -> String {
    let score = if asked(body).contains("says large") { 10 } else { 1 };
    said(&json!({"reasons": "so it is", "score": score}).to_string())
}

fn of<'v>(rows: &'v Value, name: &str) -> &'v Value {
    rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap_or_else(|| panic!("{value}"))).unwrap()
}

#[test]
fn a_sample_of_what_was_served_is_judged_once_and_reported_by_route() {
    let mut world = World::judged_fairly("keep = \"text\"\nrotate_rows = 16");
    // A user who is cross about a good answer.
    let first = world.gateway.chat("large", &text(1));
    let id = first.header("x-tiercast-decision-id").to_owned();
    let cross = json!({"decision_id": id, "score": 0});
    assert_eq!(world.gateway.server.post_with("/v1/feedback", &[], &cross).status, 202);
    world.until("the user is heard", |world| world.quality()["all"]["n_by_users"] == 1);
    let (n_served, n_large) = (N_TEXTS + 1, N_LARGE + 1);

    // Asking what it takes asks nobody.
    let estimate = world.judge(&["--rate", "1", "--estimate"]);
    assert_eq!(number(&estimate["n_to_judge"]), n_served, "{estimate}");
    assert!(estimate["most_cost_usd"].as_f64() > Some(0.0), "{estimate}");
    assert_eq!(world.n_asked(), 0);

    // Half of it, while the server runs, whose figures know of it.
    let half = world.judge(&["--rate", "0.5"]);
    let n_half = number(&half["n_judged"]);
    assert!((n_served / 4..3 * n_served / 4).contains(&n_half), "{half}");
    assert_eq!(
        (number(&half["n_sampled"]), world.n_asked()),
        (n_half, n_half),
        "{half}"
    );
    assert_eq!(half["skipped"][0]["judge"], "exact", "{half}");
    let usd = half["cost_usd"].as_f64().unwrap();
    assert!((usd - n_half as f64 * 1100.0 / 1e6).abs() < 1e-9, "{half}");
    let start = Instant::now();
    loop {
        let all = world.gateway.stats()["figures"]["quality"]["all"].clone();
        if all["n_judged"] == json!(n_half) {
            assert_eq!(all["n_by_users"], 1, "{all}");
            break;
        }
        assert!(start.elapsed() < DEADLINE, "{all}");
        sleep(Duration::from_millis(100));
    }
    let metrics = world.gateway.server.get("/metrics").text;
    let line = format!("tiercast_feedback_total{{source=\"judge\",verdict=\"none\"}} {n_half}");
    assert!(metrics.contains(&line), "{metrics}");

    // Again: nothing is paid twice, nor is a smaller sample anything but a part of it.
    let again = world.judge(&["--rate", "0.5"]);
    assert_eq!(
        (number(&again["n_judged"]), number(&again["n_judged_before"])),
        (0, n_half)
    );
    let quarter = world.judge(&["--rate", "0.25"]);
    assert_eq!(quarter["n_judged"], 0, "{quarter}");
    assert!(number(&quarter["n_sampled"]) < n_half, "{quarter}");
    assert_eq!(world.n_asked(), n_half);
    let other = world.judge(&["--rate", "0.5", "--seed", "7", "--estimate"]);
    assert!(number(&other["n_to_judge"]) > 0, "another seed draws others: {other}");

    // The rest, without the server.
    assert_eq!(world.gateway.server.end("TERM").code, Some(0));
    let rest = world.judge(&["--rate", "1"]);
    assert_eq!(number(&rest["n_judged"]), n_served - n_half, "{rest}");
    let distinct: BTreeSet<(String, String)> = world.judge.asked().into_iter().collect();
    assert_eq!((world.n_asked(), distinct.len()), (n_served, n_served));

    let quality = world.quality();
    assert_eq!(quality["judged_at_rates"], json!([0.5, 1.0]));
    for (name, n, judged) in [("large", n_large, 1.0), ("small", n_served - n_large, 0.0)] {
        let row = of(&quality["by_tier"], name);
        assert_eq!((&row["n_judged"], &row["judged"]), (&json!(n), &json!(judged)), "{row}");
    }
    let direct = of(&quality["by_path"], "direct");
    assert_eq!(
        (&direct["n_judged"], &direct["n_by_users"]),
        (&json!(n_served), &json!(1))
    );
    // The user's word counts beside the judge's in what was observed, and not in what was judged.
    assert!(of(&quality["by_tier"], "large")["observed"].as_f64() < Some(1.0));
    let page = tiercast(&["report", "--journal", &world.at("journal")]).ok().stdout;
    let says =
        format!("{n_served} were judged, drawn by chance at rates of 50.0 % to 100.0 %, and of 1 users said something");
    assert!(page.contains(&says), "{page}");

    // A judge that goes by something else judges anew, and its word replaces the other's.
    world.configure("A good answer is short.");
    let anew = world.run(&["--rate", "1"]).ok();
    assert!(
        anew.stderr
            .contains(&format!("{n_served} answers of the sample have a verdict")),
        "{anew:?}"
    );
    assert_eq!(
        (world.n_asked(), &world.quality()["all"]["n_judged"]),
        (2 * n_served, &json!(n_served))
    );

    // What is forgotten takes its verdicts with it.
    tiercast(&["data", "forget", "--journal", &world.at("journal"), "--session", "talk"]).ok();
    assert_eq!(world.quality()["all"]["n_judged"], 1);
}

#[test]
fn a_kill_loses_no_verdict_and_a_budget_ends_a_run() {
    let world = World::new("keep = \"text\"", Endpoint::holding(5, |body| (200, verdict(body))));
    let mut child = command(
        &world
            .arguments(&["--rate", "1"])
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    )
    .stdout(Stdio::null())
    .stderr(Stdio::null())
    .spawn()
    .unwrap();
    world.until("five are stored", |world| world.quality()["all"]["n_judged"] == 5);
    // The others are in flight.
    world.judge.wait_for(9);
    world
        .run(&["--rate", "1"])
        .refused("two at a time", 2, &["another `tiercast judge --journal`"]);
    child.kill().unwrap();
    child.wait().unwrap();
    world.judge.open(usize::MAX);

    let few = world.run(&["--rate", "1", "--max-cost-usd", "0.01"]);
    few.refused(
        "budget",
        1,
        &["exceed --max-cost-usd 0.01", "are left; the same command"],
    );
    let few: Value = serde_json::from_str(&few.stdout).unwrap();
    assert!(few["cost_usd"].as_f64() <= Some(0.01), "{few}");
    let (n_few, n_before) = (number(&few["n_judged"]), number(&few["n_judged_before"]));
    assert!((1..N_TEXTS - 5).contains(&n_few) && n_before == 5, "{few}");

    let rest = world.judge(&["--rate", "1"]);
    assert_eq!(
        (number(&rest["n_judged"]), number(&rest["n_judged_before"])),
        (N_TEXTS - 5 - n_few, 5 + n_few)
    );
}

#[test]
fn what_cannot_be_read_is_asked_once_more_and_counted_and_what_fails_is_left() {
    let answer = |body: &Value| match asked(body) {
        asked if asked.contains("What is 3 times") => (200, said("I would rather not.")),
        asked if asked.contains("What is 4 times") && !asked.contains("short") => (400, "{}".to_owned()),
        _ => (200, verdict(body)),
    };
    let world = World::new("keep = \"text\"", Endpoint::start(answer));
    let run = world.run(&["--rate", "1"]);
    run.refused(
        "a failed call",
        1,
        &["1 calls to the judge failed", "1 answers of the sample are left"],
    );
    let first: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        (number(&first["n_judged"]), &first["n_unparseable"], &first["n_failed"]),
        (N_TEXTS - 2, &json!(1), &json!(1)),
        "{first}"
    );
    assert_eq!(world.n_asked(), N_TEXTS + 1);
    // Only what failed is asked again.
    world
        .run(&["--rate", "1"])
        .refused("again", 1, &["1 answers of the sample are left"]);
    assert_eq!(world.n_asked(), N_TEXTS + 2);
    assert_eq!(world.quality()["all"]["n_judged"], json!(N_TEXTS - 2));
}

#[test]
fn what_cannot_be_judged_is_said_with_its_mend() {
    let world = World::judged_fairly("keep = \"features\"");
    world
        .run(&[])
        .refused("no text", 2, &["keeps no text", "keep = \"text\""]);
    world.run(&["--estimate"]).refused("no text", 2, &["keep = \"text\""]);
    for rate in ["0", "1.5", "-1", "half", "NaN"] {
        let rate = format!("--rate={rate}");
        world.run(&[&rate]).refused(&rate, 2, &["above 0 and up to 1"]);
    }
    world
        .run(&["--judge", "exact"])
        .refused("needs a reference", 2, &["`exact`: it compares", "`fair`"]);
    world
        .run(&["--judge", "nobody"])
        .refused("no such judge", 2, &["no judge `nobody`", "fair"]);
    world.run(&["--since", "soon"]).refused("no time", 2, &["--since soon"]);
    let (journal, config) = (world.at("journal"), world.at("judge.toml"));
    let check = |arguments: &[&str], parts: &[&str]| {
        tiercast(&[&["judge"], arguments].concat()).refused(&arguments.join(" "), 2, parts);
    };
    check(
        &["--journal", "no/such/folder", "--config", &config],
        &["no/such/folder", "[journal]"],
    );
    check(&["--journal", &journal, "--run", "run"], &["--run", "--journal"]);
    check(&["--config", &config], &["--run", "--journal"]);
    fs::write(world.at("judge.toml"), "[tiers]\n").unwrap();
    check(
        &["--journal", &journal, "--config", &config],
        &["no table [judge]", "judge.default"],
    );
    assert_eq!(world.n_asked(), 0);
}
