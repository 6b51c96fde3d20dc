//! `/metrics` against the page that describes it (`deploy/metrics.md`), and rules, alerts and dashboard against a
//! real Prometheus, where one is installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cascade::{World, is_hard, question};
use crate::clients::skipped;
use crate::gateway::{Gateway, body, tier, wait_until};
use crate::http::{Reply, Server, agent};
use crate::reference::is_required;
use crate::replay::{Recording, switch, text};
use crate::run::checkout;

/// A metric, as the page has it.
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
    /// What has to happen before it is there.
    appears: String,
}

/// A metric, as `/metrics` has it: its type, and the sets of labels of its series.
#[derive(Default)]
struct Found {
    kind: String,
    labels: BTreeSet<BTreeSet<String>>,
}

fn page() -> BTreeMap<String, Metric> {
    let page = fs::read_to_string(checkout().join("deploy/metrics.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `tiercast_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, name, kind, labels, _unit, appears, _meaning, _] = cells[..] else {
            panic!("this row of metrics.md has not six cells: {row}");
        };
        let labels = labels.split(',').map(str::trim).filter(|label| !label.is_empty());
        let metric = Metric {
            kind: kind.to_owned(),
            labels: labels.map(str::to_owned).collect(),
            appears: appears.to_owned(),
        };
        (name.trim_matches('`').to_owned(), metric)
    })
    .collect()
}

/// The families of a text of Prometheus; a histogram's bounds are no label of its own.
fn families(text: &str) -> BTreeMap<String, Found> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for line in text.lines() {
        if let Some(said) = line.strip_prefix("# TYPE ") {
            let (name, kind) = said.split_once(' ').unwrap();
            found.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if !line.is_empty() && !line.starts_with('#') {
            let (series, _value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|part| name.strip_suffix(*part).filter(|family| found.contains_key(*family)));
            let labels = labels.split("\",").filter_map(|label| label.split_once("=\""));
            let labels = labels.map(|(name, _)| name.to_owned()).filter(|name| name != "le");
            let labels = labels.collect();
            let family = found.entry(family.unwrap_or(name).to_owned()).or_default();
            family.labels.insert(labels);
        }
    }
    found
}

/// Asserts that a server tells what the page says, and all of it that appears with what it has `seen`.
fn holds(server: &Server, seen: &[&str]) {
    let (page, found) = (page(), families(&server.get("/metrics").text));
    for (name, found) in &found {
        let said = page.get(name);
        let said = said.unwrap_or_else(|| panic!("`{name}` is in /metrics and not in deploy/metrics.md"));
        assert_eq!(found.kind, said.kind, "{name}");
        assert_eq!(found.labels, BTreeSet::from([said.labels.clone()]), "{name}");
    }
    for (name, said) in &page {
        assert!(
            found.contains_key(name) || !seen.contains(&said.appears.as_str()),
            "`{name}` is in deploy/metrics.md ({}) and not in /metrics",
            said.appears
        );
    }
}

/// Says how good an answer was, once the server knows that it is over. `n` requests are over then.
fn rate(gateway: &Gateway, reply: &Reply, n: usize) {
    wait_until("the requests are over", || n_served(gateway) >= n);
    let said =
        json!({"decision_id": reply.header("x-tiercast-decision-id"), "score": 0.9, "source": "somebody made up"});
    let taken = gateway.server.post_with("/v1/feedback", &[], &said);
    assert_eq!(taken.status, 202, "{taken:?}");
}

/// Requests that are over.
fn n_served(gateway: &Gateway) -> usize {
    let text = gateway.server.get("/metrics").text;
    let series = text.lines().filter(|line| line.starts_with("tiercast_served_total{"));
    series
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap())
        .sum()
}

#[test]
fn metrics_are_those_of_their_page() {
    let recording = Recording::small();
    let (ill, well) = (recording.replay(&["--instant"]), recording.replay(&["--instant"]));
    let journal = TempDir::new().unwrap();
    let gateway = Gateway::start(&format!(
        "[journal]\nfolder = {:?}\n{}{}",
        journal.path(),
        tier("small", ill.url(), ""),
        tier("large", well.url(), "")
    ));
    holds(&gateway.server, &["start", "journal", "borrowed"]);
    let made_up = [
        ("x-tiercast-cohort", "a cohort made up"),
        ("x-tiercast-task", "a task made up"),
    ];
    let plain = gateway.chat_with("auto:q=0", &text(0), &json!({}), &made_up);
    assert_eq!((plain.status, plain.header("x-tiercast-tier")), (200, "small"));
    rate(&gateway, &plain, 1);
    let streamed = gateway.chat_with("auto:q=0", &text(1), &json!({"stream": true}), &[]);
    assert_eq!(streamed.status, 200, "{streamed:?}");
    gateway.server.route(&body("auto", &text(2), &json!({})));
    switch(&ill, &json!({"shares": {"server_error": 1.0}}));
    let fallback = gateway.chat("auto:q=0", &text(3));
    assert_eq!(fallback.header("x-tiercast-tier"), "large", "{fallback:?}");
    wait_until("all four are over", || n_served(&gateway) == 4);
    wait_until("the rating is heard", || {
        let text = gateway.server.get("/metrics").text;
        text.contains("tiercast_observed_quality_count{tier=\"small\"} 1")
    });
    holds(
        &gateway.server,
        &["start", "request", "feedback", "fallback", "journal", "borrowed"],
    );
    let text = gateway.server.get("/metrics").text;
    for part in [
        "path=\"direct\"",
        "path=\"fallback\"",
        "path=\"unanswered\"",
        "task=\"a task made up\"",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // What nobody bounds becomes no label.
    assert!(
        !text.contains("a cohort made up") && !text.contains("somebody made up"),
        "{text}"
    );
}

/// Whether a program of Debian's `prometheus` is here, which it must be where it is required.
fn is_here(program: &str) -> bool {
    let mut version = Command::new(program);
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if version.status().is_ok_and(|status| status.success()) {
        return true;
    }
    assert!(!is_required("prometheus"), "{program} is required and not there");
    skipped(&format!("{program} is not here"));
    false
}

/// Runs a command in the checkout; it must go well.
fn runs(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(checkout())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{program} {arguments:?}: {}", said.concat());
}

#[test]
fn rules_do_on_made_up_traffic_what_their_tests_say() {
    if !is_here("promtool") {
        return;
    }
    let at = |name: &str| format!("deploy/prometheus/{name}.yml");
    runs("promtool", &["check", "config", &at("prometheus")]);
    runs(
        "promtool",
        &["test", "rules", &at("tiercast.tests"), &at("tiercast.long.tests")],
    );
}

/// A Prometheus of the test's own, with the files of `deploy/prometheus`, but in a hurry.
struct Prometheus {
    process: Child,
    url: String,
    _folder: TempDir,
}

impl Prometheus {
    fn start(gateway: &Gateway) -> Self {
        let folder = TempDir::new().unwrap();
        hurried(folder.path(), gateway.url().strip_prefix("http://").unwrap());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("prometheus");
        command
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let prometheus = Self {
            process: command.spawn().unwrap(),
            url: format!("http://127.0.0.1:{port}"),
            _folder: folder,
        };
        wait_until("Prometheus is ready", || {
            let answer = agent().get(format!("{}/-/ready", prometheus.url)).call();
            answer.is_ok_and(|answer| answer.status() == 200)
        });
        prometheus
    }

    /// The values of an expression now.
    fn query(&self, expression: &str) -> Vec<f64> {
        let request = agent().get(format!("{}/api/v1/query", self.url));
        let mut answer = request.query("query", expression).call().unwrap();
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let values = answer["data"]["result"].as_array().unwrap().iter();
        values
            .map(|of| of["value"][1].as_str().unwrap().parse().unwrap())
            .collect()
    }

    fn is_firing(&self, alert: &str) -> bool {
        let firing = format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
        !self.query(&firing).is_empty()
    }

    /// Waits for two scrapes more, so that what was just done is in a rate.
    fn scrapes_twice(&self) {
        let scrapes = || {
            self.query("count_over_time(tiercast_queue_depth[10m])")
                .iter()
                .sum::<f64>()
        };
        let before = scrapes();
        wait_until("it has scraped twice", || scrapes() >= before + 2.0);
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The files of `deploy/prometheus` for a server at `address`: seconds where those have minutes to wait.
fn hurried(folder: &Path, address: &str) {
    let read = |name: &str| fs::read_to_string(checkout().join("deploy/prometheus").join(name)).unwrap();
    let write = |name: &str, text: String| fs::write(folder.join(name), text).unwrap();
    let config = read("prometheus.yml");
    for part in ["scrape_interval: 15s", "evaluation_interval: 15s", "localhost:8080"] {
        assert!(
            config.contains(part),
            "`{part}` is not in prometheus.yml: this test replaces it"
        );
    }
    write(
        "prometheus.yml",
        config
            .replace("interval: 15s", "interval: 1s")
            .replace("localhost:8080", address),
    );
    write("tiercast.rules.yml", read("tiercast.rules.yml"));
    let alerts = read("tiercast.alerts.yml");
    let alerts = alerts.lines().map(|line| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s\n"),
        _ => format!("{line}\n"),
    });
    write("tiercast.alerts.yml", alerts.collect());
}

/// A tier that fails, and is asked again all the same.
fn fails(gateway: &Gateway, ill: &Server) {
    switch(ill, &json!({"shares": {"server_error": 1.0}}));
    let fallback = gateway.chat("auto:q=0", &question(21));
    assert_eq!(fallback.header("x-tiercast-tier"), "large", "{fallback:?}");
}

/// Something of everything that there are metrics of.
fn traffic(gateway: &Gateway, ill: &Server) {
    let (easy, hard) = (21, 10);
    assert!(!is_hard(easy) && is_hard(hard));
    switch(ill, &json!({"shares": {}}));
    let before = n_served(gateway);
    let plain = gateway.chat("auto:q=0", &question(easy));
    assert_eq!((plain.status, plain.header("x-tiercast-tier")), (200, "small"));
    rate(gateway, &plain, before + 1);
    let streamed = gateway.chat_with("auto:q=0", &question(easy), &json!({"stream": true}), &[]);
    assert_eq!(streamed.status, 200, "{streamed:?}");
    let cascade = [("x-tiercast-policy", "cascade")];
    let escalated = gateway.chat_with("auto", &question(hard), &json!({}), &cascade);
    assert_eq!(escalated.header("x-tiercast-escalated-from"), "small", "{escalated:?}");
    fails(gateway, ill);
    wait_until("all four are over", || n_served(gateway) >= before + 4);
}

#[test]
fn a_real_prometheus_takes_rules_alerts_and_dashboard() {
    if !["prometheus", "python3"].iter().all(|program| is_here(program)) {
        return;
    }
    let world = World::new();
    let checkpoint = world.train("checkpoint", &["--cascade"]);
    let outcomes = world.at("outcomes.parquet");
    let replay = || Server::run(&["replay", "--instant", "--outcomes", &outcomes]);
    let (ill, well, journal) = (replay(), replay(), TempDir::new().unwrap());
    // Its circuit stays closed: it is asked, and fails, as often as we like.
    let endpoint = |name: &str, replay: &Server| {
        format!(
            "[tiers.{name}.endpoint]\nbase_url = \"{}/v1\"\nbreaker_failures = 100000\n",
            replay.url()
        )
    };
    let config = format!(
        "[journal]\nfolder = {:?}\n{}{}",
        journal.path(),
        endpoint("small", &ill),
        endpoint("large", &well)
    );
    let mut gateway = Gateway::of(&checkpoint, &config, &[]);
    let prometheus = Prometheus::start(&gateway);
    // Twice: a series has a rate from its second event on.
    for _ in 0..2 {
        traffic(&gateway, &ill);
        prometheus.scrapes_twice();
    }
    let seen = ["start", "request", "feedback", "fallback", "cascade", "journal"];
    holds(&gateway.server, &seen);
    // One after the other: each rule rests on those before it.
    for recorded in [
        "job:tiercast_answered:rate5m",
        "job:tiercast_fallback:ratio5m",
        "job:tiercast_escalated:ratio1d",
        "tier:tiercast_quality_gap:mean6h",
        "task:tiercast_spent_usd:increase1h",
        "job:tiercast_usd_per_answer:mean1h",
        "job:tiercast_saved:ratio",
        "tier:tiercast_call_seconds:p95_5m",
    ] {
        wait_until(recorded, || !prometheus.query(recorded).is_empty());
    }
    let share = prometheus.query("job:tiercast_fallback:ratio5m");
    assert!(
        share.len() == 1 && (0.0..=1.0).contains(&share[0]) && share[0] > 0.0,
        "{share:?}"
    );
    let metrics = format!("{}/metrics", gateway.url());
    let expected = format!("--expect-data={}", seen.join(","));
    runs(
        "python3",
        &["deploy/check.py", &prometheus.url, "--target", &metrics, &expected],
    );
    // Alerts fire when they should, and not before.
    wait_until("the alert on fallbacks fires", || {
        fails(&gateway, &ill);
        prometheus.is_firing("TiercastFallbacks")
    });
    for quiet in ["TiercastDown", "TiercastJournalFailing", "TiercastSpendHigh"] {
        assert!(!prometheus.is_firing(quiet), "{quiet} fires");
    }
    gateway.server.end("KILL");
    wait_until("the alert on a server that is down fires", || {
        prometheus.is_firing("TiercastDown")
    });
}
