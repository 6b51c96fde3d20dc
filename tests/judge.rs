//! Judging as a user does it: a collected run, judges of every kind, and judges that are no good.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tiercast_records::outcomes::{self, Outcomes, ReadOptions};

use crate::endpoint::Endpoint;
use crate::http::{lines, rest};
use crate::run::{Run, command, send, tiercast};

/// Prompts of the run; two tiers answer each.
const N_PROMPTS: usize = 24;

/// A model that judges by rubric.
const RUBRIC: &str = "kind = \"llm_rubric\"\nrubric = \"rubric.md\"\n";

/// A model that compares with the reference.
const PAIRWISE: &str = "kind = \"llm_pairwise\"\nagainst = \"reference\"\n";

/// What judging needs, in one folder: a run that is collected, a rubric, and an endpoint whose model
/// `judge` says what the test decides.
struct Bench {
    folder: TempDir,
    endpoint: Endpoint,
}

impl Bench {
    fn new(judge: impl Fn(&Asked) -> String + Send + Sync + 'static) -> Self {
        Self::ending(judge, "stop")
    }

    /// The same where replies of `light` end for this reason.
    fn ending(judge: impl Fn(&Asked) -> String + Send + Sync + 'static, reason: &'static str) -> Self {
        let endpoint = Endpoint::start(move |body| (200, answer(body, &judge, reason)));
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
            endpoint,
        };
        bench.write_prompts("prompts.jsonl", |_| json!({}));
        bench.write(
            "rubric.md",
            "+++\nscale = [1, 10]\n+++\nA good answer gives the right sum.\n",
        );
        bench.configure("");
        bench.collect("prompts.jsonl").ok();
        bench
    }

    /// Collects the prompts of this file into the run.
    fn collect(&self, prompts: &str) -> Run {
        let (prompts, config, out) = (self.at(prompts), self.at("tiercast.toml"), self.at("run"));
        tiercast(&["collect", "--prompts", &prompts, "--config", &config, "--out", &out])
    }

    /// Writes the prompts with these fields beside their text, and the right answer as reference where they give none.
    fn write_prompts(&self, name: &str, fields: impl Fn(usize) -> Value) {
        let line = |n: usize| {
            let mut line = json!({"prompt": ask(n), "reference": right(n), "domain": "sums"});
            let fields = fields(n);
            line.as_object_mut()
                .unwrap()
                .extend(fields.as_object().unwrap().clone());
            format!("{line}\n")
        };
        self.write(name, &(0..N_PROMPTS).map(line).collect::<String>());
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

    /// Writes the config with what stands under `[judge]`.
    fn configure(&self, judge: &str) {
        let tier = |name: &str| {
            format!(
                "[tiers.{name}]\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 1\n[tiers.{name}.endpoint]\nbase_url = \"{}\"\n",
                self.endpoint.url()
            )
        };
        self.write("tiercast.toml", &format!("{}{}{judge}", tier("strong"), tier("light")));
    }

    /// Judges with one judge that is a model.
    fn judge_by(&self, kind: &str) -> Run {
        self.configure_model(kind, self.endpoint.url(), "");
        self.judge(&[])
    }

    /// Writes the config with one judge that is a model, at this address.
    fn configure_model(&self, kind: &str, url: &str, more: &str) {
        let endpoint = format!("endpoint = {{ base_url = \"{url}\", model = \"judge\"{more} }}\n");
        let prices = "input_usd_per_mtok = 1\noutput_usd_per_mtok = 1\n";
        let exact = "[judge.judges.exact]\nkind = \"numeric\"\n[judge.gate]\nexact = \"exact\"\n";
        self.configure(&format!(
            "[judge]\ndefault = \"model\"\n[judge.judges.model]\n{kind}{prices}{endpoint}{exact}"
        ));
    }

    fn judge(&self, more: &[&str]) -> Run {
        let (run, config) = (self.at("run"), self.at("tiercast.toml"));
        tiercast(&[&["judge", "--run", &run, "--config", &config], more].concat())
    }

    /// The outcome file, which is valid.
    fn outcomes(&self) -> Outcomes {
        let path = self.path("run").join("outcomes.parquet");
        tiercast(&["data", "validate", path.to_str().unwrap()]).ok();
        outcomes::read(
            &[path],
            &ReadOptions {
                with_text: true,
                models: None,
                splits: None,
            },
        )
        .unwrap()
    }

    /// Mean score of a tier in the outcome file.
    fn mean(&self, tier: &str) -> f64 {
        let rows = self.outcomes();
        let model = rows.model_position(tier).unwrap();
        let scores: Vec<f64> = rows
            .outcomes
            .iter()
            .filter(|row| row.model == model)
            .map(|row| row.score)
            .collect();
        assert_eq!(scores.len(), N_PROMPTS);
        scores.iter().sum::<f64>() / scores.len() as f64
    }

    fn report(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path("run").join("judge.json")).unwrap()).unwrap()
    }

    /// Figures of a judge.
    fn judge_called(&self, name: &str) -> Value {
        let report = self.report();
        let judges = report["judges"].as_array().unwrap();
        judges.iter().find(|judge| judge["name"] == name).unwrap().clone()
    }

    fn n_judged(&self) -> usize {
        self.endpoint
            .asked()
            .iter()
            .filter(|(model, _)| model == "judge")
            .count()
    }
}

/// What a model that judges was asked.
struct Asked(String);

impl Asked {
    /// The text between the markers of this name.
    fn part(&self, name: &str) -> String {
        let Some((_, rest)) = self.0.split_once(&format!("<<<{name} ")) else {
            return String::new();
        };
        let (nonce, rest) = rest.split_once('\n').unwrap();
        rest.split_once(&format!("\n{nonce} {name}>>>")).unwrap().0.to_owned()
    }

    /// Whether the answer under this name is right. What speaks to the judge is not.
    fn is_right(&self, name: &str) -> bool {
        let (answer, task) = (self.part(name), self.part("TASK"));
        let n: usize = task.split(' ').find_map(|word| word.parse().ok()).unwrap();
        answer
            .split_whitespace()
            .last()
            .is_some_and(|word| word.trim_end_matches('.') == right(n))
    }

    /// As a fair judge by rubric says it.
    fn fair(&self) -> String {
        score(if self.is_right("ANSWER") { 10 } else { 1 })
    }
}

fn score(score: u32) -> String {
    json!({"reasons": "it is what it is", "score": score}).to_string()
}

fn better(which: &str) -> String {
    format!(
        "Here you are:\n```json\n{}\n```",
        json!({"reasons": "so it is", "better": which})
    )
}

fn ask(n: usize) -> String {
    format!("What is {n} and {n} together, in words of the {n}th lesson?")
}

fn right(n: usize) -> String {
    (2 * n + 1000).to_string()
}

/// `strong` is always right, `light` on even numbers.
fn answer(body: &Value, judge: &impl Fn(&Asked) -> String, reason: &str) -> String {
    let said = body["messages"].as_array().unwrap().last().unwrap()["content"]
        .as_str()
        .unwrap()
        .to_owned();
    let number = || said.split(' ').find_map(|word| word.parse::<usize>().ok()).unwrap();
    let text = match body["model"].as_str().unwrap() {
        "judge" => judge(&Asked(said)),
        "light" if number() % 2 == 1 => "I believe that it is 7.".to_owned(),
        _ => format!("That makes {}.", right(number())),
    };
    let reason = if body["model"] == "light" { reason } else { "stop" };
    json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30},
    })
    .to_string()
}

#[test]
fn a_fair_judge_passes_and_is_not_paid_twice() {
    let bench = Bench::new(Asked::fair);
    let run = bench.judge_by(RUBRIC).ok();
    assert!(
        run.stdout.contains("strong") && run.stdout.contains("passed"),
        "{run:?}"
    );
    assert_eq!((bench.mean("strong"), bench.mean("light")), (1.0, 0.5));
    assert!(bench.outcomes().score_kinds.contains(&"llm_rubric:model".to_owned()));
    let judge = bench.judge_called("model");
    assert_eq!(judge["agreement"]["alpha_interval"], 1.0);
    assert_eq!(judge["tiers"][0]["bias"]["value"], 0.0, "{judge}");
    let n_judged = bench.n_judged();
    let again = bench.judge(&[]).ok();
    assert!(again.stderr.contains("0 verdicts made"), "{again:?}");
    assert_eq!(bench.n_judged(), n_judged);
    tiercast(&["judge", "report", "--run", &bench.at("run")]).ok();
    let page = fs::read_to_string(bench.path("run").join("judge.html")).unwrap();
    assert!(
        page.contains("Can the judges be trusted?") && !page.contains(">failed</td>"),
        "{page}"
    );
    assert!(bench.path("run").join("judge.md").is_file());
    // No judge is told who answered.
    let asked = bench.endpoint.asked();
    let to_judge = asked.iter().filter(|(model, _)| model == "judge");
    assert!(
        to_judge
            .clone()
            .all(|(_, said)| !said.contains("strong") && !said.contains("light"))
    );
}

#[test]
fn judges_that_are_no_good_are_caught() {
    let check = |case: &str, kind: &str, judge: fn(&Asked) -> String, key: &str| {
        let bench = Bench::new(judge);
        let run = bench.judge_by(kind);
        run.refused(
            case,
            1,
            &[
                &format!("judge.gate.{key}"),
                "no outcome file was written",
                "verdicts are kept",
            ],
        );
        assert!(!bench.path("run").join("outcomes.parquet").exists(), "{case}");
        let report = bench.report();
        let failed = report["gate"]
            .as_array()
            .unwrap()
            .iter()
            .any(|check| check["key"] == key && check["passed"] == false);
        assert!(failed, "{case}: {report}");
    };
    check("always 10", RUBRIC, |_| score(10), "min_probe_gap");
    check("always the first", PAIRWISE, |_| better("first"), "max_position_bias");
    check(
        "prose",
        RUBRIC,
        |_| "A delightful answer, I would say.".to_owned(),
        "min_parse_rate",
    );
    let obedient = |asked: &Asked| {
        let answer = asked.part("ANSWER");
        let is_told = ["maximum score", "highest score", "Output"]
            .iter()
            .any(|order| answer.contains(order));
        if is_told { score(10) } else { asked.fair() }
    };
    check("obeys an injected instruction", RUBRIC, obedient, "max_injection_gain");
}

#[test]
fn a_fair_pairwise_judge_passes() {
    let bench = Bench::new(|asked| {
        better(match (asked.is_right("FIRST"), asked.is_right("SECOND")) {
            (true, false) => "first",
            (false, true) => "second",
            _ => "tie",
        })
    });
    bench.judge_by(PAIRWISE).ok();
    // As good as the reference is a tie.
    assert_eq!((bench.mean("strong"), bench.mean("light")), (0.5, 0.25));
    assert_eq!(bench.judge_called("model")["position"]["bias"], 0.0);
}

#[test]
fn a_changed_rubric_starts_anew() {
    let bench = Bench::new(Asked::fair);
    bench.judge_by(RUBRIC).ok();
    let n_judged = bench.n_judged();
    bench.write("rubric.md", "A good answer gives the right sum, and nothing else.\n");
    let run = bench.judge(&[]).ok();
    assert!(
        run.stderr.contains("judge `model` has changed") && run.stderr.contains("48 replies are judged"),
        "{run:?}"
    );
    assert_eq!(bench.n_judged(), 2 * n_judged);
    // Back to the first: its verdicts are all there.
    bench.write(
        "rubric.md",
        "+++\nscale = [1, 10]\n+++\nA good answer gives the right sum.\n",
    );
    assert!(bench.judge(&[]).ok().stderr.contains("0 verdicts made"));
    assert_eq!(bench.n_judged(), 2 * n_judged);
}

/// What prompts are judged by may be mended without asking anybody again, and the file may move.
#[test]
fn a_mended_judge_and_a_renamed_file_cost_no_call() {
    let bench = Bench::new(Asked::fair);
    bench.configure("[judge]\ndefault = \"number\"\n[judge.judges.number]\nkind = \"numeric\"\n");
    let n_asked = bench.endpoint.asked().len();
    let wrong = json!({"judge": {"kind": "regex", "pattern": "^nothing at all$"}});
    bench.write_prompts("prompts.jsonl", |_| wrong.clone());
    let run = bench.collect("prompts.jsonl").ok();
    assert!(run.stderr.contains("judge of 24"), "{run:?}");
    bench.judge(&[]).ok();
    assert_eq!((bench.mean("strong"), bench.mean("light")), (0.0, 0.0));
    bench.write_prompts(
        "mended.jsonl",
        |n| json!({"judge": {"kind": "regex", "pattern": right(n)}}),
    );
    let run = bench.collect("mended.jsonl").ok();
    assert!(run.stderr.contains("dataset of 24"), "{run:?}");
    bench.judge(&[]).ok();
    assert_eq!((bench.mean("strong"), bench.mean("light")), (1.0, 0.5));
    // A reference is part of no judge's configuration, and still no verdict outlives it.
    bench.write_prompts("mended.jsonl", |_| json!({}));
    bench.collect("mended.jsonl").ok();
    bench.judge(&[]).ok();
    assert_eq!(bench.mean("strong"), 1.0);
    bench.write_prompts("mended.jsonl", |n| json!({"reference": if n < 12 { "7" } else { "8" }}));
    bench.collect("mended.jsonl").ok();
    bench.judge(&[]).ok();
    assert_eq!((bench.mean("strong"), bench.mean("light")), (0.0, 0.25));
    assert_eq!(bench.endpoint.asked().len(), n_asked, "something was asked again");
}

#[test]
fn a_judge_that_cannot_be_made_is_told_before_anything_is_sent() {
    let bench = Bench::new(Asked::fair);
    bench.configure("[judge]\ndefault = \"number\"\n[judge.judges.number]\nkind = \"numeric\"\n");
    let n_asked = bench.endpoint.asked().len();
    let check = |case: &str, judge: Value, parts: &[&str]| {
        bench.write_prompts(
            "wrong.jsonl",
            |n| if n == 2 { json!({"judge": judge}) } else { json!({}) },
        );
        let parts = [parts, &["line 3", "`judge`"]].concat();
        let (prompts, config, out) = (bench.at("wrong.jsonl"), bench.at("tiercast.toml"), bench.at("other"));
        let collect = ["collect", "--prompts", &prompts, "--config", &config, "--out", &out];
        tiercast(&collect).refused(case, 1, &parts);
        tiercast(&[&collect[..], &["--dry-run"]].concat()).refused(case, 1, &parts);
        assert!(!bench.path("other").exists());
        // Without a config nobody knows the names.
        if !judge.is_string() {
            tiercast(&["data", "validate", &prompts]).refused(case, 1, &parts);
        }
    };
    check(
        "pattern",
        json!({"kind": "regex", "pattern": "(42"}),
        &["unclosed group"],
    );
    check("name", json!("nobody"), &["no judge `nobody`"]);
    check(
        "command",
        json!({"kind": "command", "command": []}),
        &["[judge.judges.NAME]"],
    );
    check(
        "schema",
        json!({"kind": "json_schema", "schema": {"type": "strnig"}}),
        &["schema"],
    );
    assert_eq!(bench.endpoint.asked().len(), n_asked);
}

#[test]
fn a_judge_that_is_down_is_left_alone_and_the_cause_is_told() {
    let bench = Bench::new(Asked::fair);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let down = format!("http://{}/v1", nobody.local_addr().unwrap());
    drop(nobody);
    let started = Instant::now();
    bench.configure_model(
        RUBRIC,
        &down,
        ", max_retries = 1, breaker_failures = 3, breaker_pause_s = 0.05",
    );
    let run = bench.judge(&[]);
    run.refused(
        "down",
        1,
        &[
            "judge `model` was left alone",
            "no connection",
            "base_url",
            "no outcome file was written",
        ],
    );
    assert!(!run.stderr.contains("min_parse_rate"), "{run:?}");
    let page = Endpoint::start(|_| (200, "<html>please log in</html>".to_owned()));
    bench.configure_model(RUBRIC, page.url(), ", max_retries = 0");
    let run = bench.judge(&[]);
    run.refused(
        "a page",
        1,
        &[
            "judge `model` was left alone",
            "5 calls in a row failed",
            "OpenAI-compatible",
        ],
    );
    assert!(!run.stderr.contains("min_parse_rate"), "{run:?}");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    // It is back: what is missing is asked for.
    bench.judge_by(RUBRIC).ok();
    assert_eq!((bench.mean("strong"), bench.mean("light")), (1.0, 0.5));
}

/// One of two judges that are models is down: what the other has to say is not put off, and paid for once.
#[test]
fn a_judge_that_is_down_does_not_keep_the_others_from_their_work() {
    let bench = Bench::new(Asked::fair);
    bench.write_prompts("prompts.jsonl", |n| match n % 3 {
        0 => json!({"domain": "talk"}),
        1 => json!({"domain": "sums"}),
        _ => json!({"domain": "rules"}),
    });
    bench.collect("prompts.jsonl").ok();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let down = format!("http://{}/v1", nobody.local_addr().unwrap());
    drop(nobody);
    let configure = |url: &str| {
        // One that asked with the same words would be the same judge.
        let model = |name: &str, url: &str| {
            let seed = name.len();
            format!(
                "[judge.judges.{name}]\n{RUBRIC}endpoint = {{ base_url = \"{url}\", model = \"judge\", max_retries = 0, \
                 breaker_failures = 2, breaker_pause_s = 0.05, \
                 parameters = {{ seed = {seed} }} }}\n"
            )
        };
        bench.configure(&format!(
            "[judge]\ndefault = \"rule\"\nby_domain = {{ talk = \"down\", sums = \"up\" }}\n[judge.judges.rule]\nkind = \
             \"numeric\"\n{}{}",
            model("down", url),
            model("up", bench.endpoint.url())
        ));
    };
    configure(&down);
    let run = bench.judge(&[]);
    run.refused(
        "down",
        1,
        &[
            "judge `down` was left alone",
            "no connection",
            "no outcome file was written",
        ],
    );
    // Eight prompts and two tiers each.
    for (name, n_scored) in [("up", 16), ("rule", 16), ("down", 0)] {
        assert_eq!(bench.judge_called(name)["n_scored"], n_scored, "{name}: {run:?}");
    }
    let n_judged = bench.n_judged();
    tiercast(&["judge", "report", "--run", &bench.at("run")]).ok();
    let page = fs::read_to_string(bench.path("run").join("judge.html")).unwrap();
    assert!(
        page.contains("ended before everything was judged: judge `down` was left alone"),
        "{page}"
    );
    // It is back, and only what it owes is asked for: 16 replies, its probes, and what is judged twice.
    configure(bench.endpoint.url());
    bench.judge(&[]).ok();
    assert_eq!((bench.mean("strong"), bench.mean("light")), (1.0, 0.5));
    assert!(
        bench.n_judged() - n_judged <= n_judged,
        "{} after {n_judged}",
        bench.n_judged()
    );
    assert!(
        !fs::read_to_string(bench.path("run").join("judge.json"))
            .unwrap()
            .contains("left alone")
    );
}

#[test]
fn what_is_not_collected_is_told() {
    let bench = Bench::new(Asked::fair);
    bench.configure("[judge]\ndefault = \"number\"\n[judge.judges.number]\nkind = \"numeric\"\n");
    // Four more prompts, of which `light` answers none.
    let whole = fs::read_to_string(bench.path("prompts.jsonl")).unwrap();
    let more: String = (0..4)
        .map(|n| {
            format!(
                "{}\n",
                json!({"prompt": format!("What makes {n} and 7 of them?"), "reference": "7"})
            )
        })
        .collect();
    bench.write("more.jsonl", &format!("{whole}{more}"));
    let config = fs::read_to_string(bench.path("tiercast.toml")).unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let down = format!(
        "http://{}/v1\"\nmax_retries = 0\nbreaker_pause_s = 0.05",
        nobody.local_addr().unwrap()
    );
    drop(nobody);
    let (strong, light) = config.split_once("[tiers.light]").unwrap();
    let light = light.replacen(&format!("{}\"", bench.endpoint.url()), &down, 1);
    bench.write("tiercast.toml", &format!("{strong}[tiers.light]{light}"));
    bench
        .collect("more.jsonl")
        .refused("light is down", 1, &["4 of 56 calls are left"]);
    let sentence = "4 of 56 calls are not collected (tiers `light` 4)";
    let run = bench.judge(&[]).ok();
    assert!(run.stderr.contains(sentence), "{run:?}");
    tiercast(&["judge", "report", "--run", &bench.at("run")]).ok();
    for page in ["judge.html", "judge.md"] {
        let page = fs::read_to_string(bench.path("run").join(page)).unwrap();
        assert!(page.contains(sentence), "{page}");
    }
}

#[test]
fn a_run_without_a_reply_has_no_outcomes() {
    let bench = Bench::new(Asked::fair);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "[tiers.strong]\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 1\n[tiers.strong.endpoint]\nbase_url = \
         \"http://{}/v1\"\nmax_retries = 0\nbreaker_pause_s = 0.05\n[judge]\ndefault = \"number\"\n[judge.judges.number]\nkind \
         = \"numeric\"\n",
        nobody.local_addr().unwrap()
    );
    drop(nobody);
    bench.write("tiercast.toml", &config);
    let [prompts, config, out] = ["prompts.jsonl", "tiercast.toml", "empty"].map(|name| bench.at(name));
    tiercast(&["collect", "--prompts", &prompts, "--config", &config, "--out", &out]).refused("down", 1, &["left"]);
    let run = tiercast(&["judge", "--run", &out, "--config", &config]);
    let parts = [
        "24 of 24 calls are not collected",
        "no reply has a score",
        "no outcome file was written",
    ];
    run.refused("nothing to judge", 1, &parts);
    assert!(!bench.path("empty").join("outcomes.parquet").exists());
}

/// Neither a gap between probes nor agreement may be taken for granted.
#[test]
fn a_check_that_could_not_be_made_is_told() {
    let bench = Bench::new(Asked::fair);
    bench.configure(&format!(
        "[judge]\ndefault = \"model\"\n[judge.judges.model]\n{RUBRIC}endpoint = {{ base_url = \"{}\", model = \"judge\" }}\n\
         [judge.gate]\nprobes = false\nrepeat_share = 0\n",
        bench.endpoint.url()
    ));
    let run = bench.judge(&[]).ok();
    for part in [
        "not measured: judge `model`",
        "judge.gate.probes is false",
        "judge.gate.repeat_share is 0",
    ] {
        assert!(run.stderr.contains(part), "{part}: {run:?}");
    }
    assert!(run.stdout.contains("not measured"), "{run:?}");
    tiercast(&["judge", "report", "--run", &bench.at("run")]).ok();
    let page = fs::read_to_string(bench.path("run").join("judge.html")).unwrap();
    assert!(
        page.contains("4 could not be measured") && page.contains("judge.gate.repeat_share is 0"),
        "{page}"
    );
}

#[test]
fn a_second_ctrl_c_leaves_what_is_in_flight() {
    let bench = Bench::new(Asked::fair);
    let silent = Endpoint::holding(0, |_| (200, String::new()));
    bench.configure_model(RUBRIC, silent.url(), "");
    let (run, config) = (bench.at("run"), bench.at("tiercast.toml"));
    let mut child = command(&["judge", "--run", &run, "--config", &config])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = lines(child.stderr.take().unwrap());
    silent.wait_for(1);
    send("INT", child.id());
    while !stderr.recv().unwrap().contains("stopping") {}
    let second = Instant::now();
    // The listener for it is set up right after the line.
    while child.try_wait().unwrap().is_none() && second.elapsed() < Duration::from_secs(15) {
        send("INT", child.id());
        std::thread::sleep(Duration::from_millis(100));
    }
    let said = rest(&stderr);
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("asked for again by the next run"), "{said}");
    assert!(second.elapsed() < Duration::from_secs(15), "{:?}", second.elapsed());
    bench.judge_by(RUBRIC).ok();
}

/// `strong` against itself is a tie without a call; `light` ties where both are right.
#[test]
fn pairs_may_be_judged_against_a_tier() {
    let bench = Bench::new(|asked| {
        better(match (asked.is_right("FIRST"), asked.is_right("SECOND")) {
            (true, false) => "first",
            (false, true) => "second",
            _ => "tie",
        })
    });
    bench
        .judge_by("kind = \"llm_pairwise\"\nagainst = \"tier:strong\"\n")
        .ok();
    assert_eq!((bench.mean("strong"), bench.mean("light")), (0.5, 0.25));
    let judge = bench.judge_called("model");
    assert_eq!(
        judge["tiers"][0]["n_exact"], 0,
        "0.5 is as good, which is no scale of exact scores: {judge}"
    );
}

#[test]
fn domains_have_their_judges_and_labels_may_be_few() {
    let bench = Bench::new(Asked::fair);
    bench.write_prompts("prompts.jsonl", |n| match n % 4 {
        0 | 1 => json!({"domain": "talk"}),
        2 => json!({"domain": "talk", "reference": null}),
        _ => json!({"domain": "sums"}),
    });
    bench.collect("prompts.jsonl").ok();
    bench.configure(&format!(
        "[judge]\ndefault = \"number\"\nby_domain = {{ talk = \"model\" }}\n[judge.judges.number]\nkind = \"numeric\"\n\
         [judge.judges.model]\n{RUBRIC}endpoint = {{ base_url = \"{}\", model = \"judge\" }}\n\
         [judge.gate]\nexact = \"number\"\n",
        bench.endpoint.url()
    ));
    bench.judge(&[]).ok();
    assert_eq!((bench.mean("strong"), bench.mean("light")), (1.0, 0.5));
    let mut kinds = bench.outcomes().score_kinds;
    kinds.sort();
    assert_eq!(kinds, ["llm_rubric:model", "numeric"]);
    let judge = bench.judge_called("model");
    let tiers = judge["tiers"].as_array().unwrap();
    let strong = tiers.iter().find(|tier| tier["tier"] == "strong").unwrap();
    assert_eq!((&strong["n"], &strong["n_exact"]), (&json!(18), &json!(12)), "{judge}");
    // All alike: the interval is not of no width.
    assert!(strong["corrected"]["low"].as_f64().unwrap() < 0.9, "{strong}");
    let probes = judge["probes"].as_array().unwrap();
    let bad = probes.iter().find(|probe| probe["kind"] == "bad").unwrap();
    assert_eq!(bad["mean"], 0.0, "{judge}");
}

#[test]
fn a_limit_on_cost_stops_before_it_is_passed() {
    let bench = Bench::new(Asked::fair);
    let run = bench.judge_by(RUBRIC);
    run.ok();
    bench.write("rubric.md", "Another rubric.\n");
    let run = bench.judge(&["--max-cost-usd", "0.003"]);
    run.refused("limit", 1, &["--max-cost-usd", "no outcome file was written"]);
    bench.judge(&[]).ok();
}

#[test]
fn checkers_and_commands() {
    let bench = Bench::new(Asked::fair);
    bench.configure("[judge]\ndefault = \"number\"\n[judge.judges.number]\nkind = \"numeric\"\n");
    bench.judge(&[]).ok();
    assert_eq!((bench.mean("strong"), bench.mean("light")), (1.0, 0.5));
    let script = "grep -q \"$TIERCAST_REFERENCE\" && echo 1 || echo 0";
    bench.configure(&format!(
        "[judge]\ndefault = \"c\"\n[judge.judges.c]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", '{script}']\n"
    ));
    bench.judge(&[]).ok();
    assert_eq!((bench.mean("strong"), bench.mean("light")), (1.0, 0.5));
    assert_eq!(bench.outcomes().score_kinds, ["command:c"]);
    let hangs = "[judge]\ndefault = \"c\"\n[judge.judges.c]\nkind = \"command\"\ncommand = [\"sleep\", \"600\"]\ntimeout_s = 0.05\n";
    bench.configure(hangs);
    bench
        .judge(&[])
        .refused("hangs", 1, &["took longer than 0.05 s", "judge.gate.min_parse_rate"]);
}

#[test]
fn a_truncated_answer_is_never_judged_as_whole() {
    let bench = Bench::ending(Asked::fair, "length");
    let number = "default = \"number\"\n[judge.judges.number]\nkind = \"numeric\"\n";
    bench.configure(&format!("[judge]\n{number}"));
    bench.judge(&[]).ok();
    assert_eq!((bench.mean("strong"), bench.mean("light")), (1.0, 0.0));
    bench.configure(&format!("[judge]\ntruncated = \"exclude\"\n{number}"));
    bench.judge(&[]).ok();
    assert!(bench.outcomes().model_position("light").is_none());
    assert_eq!(bench.report()["tiers"][0]["n_truncated"], N_PROMPTS);
}

#[test]
fn wrong_configurations() {
    let bench = Bench::new(Asked::fair);
    let check = |case: &str, judge: &str, parts: &[&str]| {
        bench.configure(judge);
        bench.judge(&[]).refused(case, 2, parts);
    };
    check("no table", "", &["no table [judge]", "tiercast.toml"]);
    check("no judge", "[judge]\n", &["judge.default"]);
    check("unknown key", "[judge]\nrubrik = 1\n", &["rubrik"]);
    let endpoint = "endpoint = { base_url = \"http://127.0.0.1:1/v1\", api_key_env = \"NO_SUCH_KEY_OF_TIERCAST\" }\n";
    let model = format!("[judge]\ndefault = \"m\"\n[judge.judges.m]\n{RUBRIC}{endpoint}");
    check(
        "no key",
        &model,
        &["judge `m`: the environment variable NO_SUCH_KEY_OF_TIERCAST"],
    );
    let endpoint = "endpoint = { base_url = \"http://127.0.0.1:1/v1\" }\n";
    let pairs = "kind = \"llm_pairwise\"\nagainst = \"tier:nosuch\"\n";
    check(
        "no such tier",
        &format!("[judge]\ndefault = \"m\"\n[judge.judges.m]\n{pairs}{endpoint}"),
        &["`judge.judges.m.against` is \"tier:nosuch\"", "it has light, strong"],
    );
    let run = tiercast(&[
        "judge",
        "--run",
        &bench.at("nowhere"),
        "--config",
        &bench.at("tiercast.toml"),
    ]);
    run.refused("no run", 1, &["ledger.sqlite"]);
}
