//! Judging as a user does it: a collected run, judges of every kind, and judges that are no good.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use tiercast_records::outcomes::{self, Outcomes, ReadOptions};

use crate::endpoint::Endpoint;
use crate::run::{Run, tiercast};

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
        let prompt = |n: usize| json!({"prompt": ask(n), "reference": right(n), "domain": "sums"});
        let lines: String = (0..N_PROMPTS).map(|n| format!("{}\n", prompt(n))).collect();
        bench.write("prompts.jsonl", &lines);
        bench.write(
            "rubric.md",
            "+++\nscale = [1, 10]\n+++\nA good answer gives the right sum.\n",
        );
        bench.configure("");
        let (prompts, config, out) = (bench.at("prompts.jsonl"), bench.at("tiercast.toml"), bench.at("run"));
        tiercast(&["collect", "--prompts", &prompts, "--config", &config, "--out", &out]).ok();
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
        let endpoint = format!(
            "endpoint = {{ base_url = \"{}\", model = \"judge\" }}\n",
            self.endpoint.url()
        );
        let prices = "input_usd_per_mtok = 1\noutput_usd_per_mtok = 1\n";
        let exact = "[judge.judges.exact]\nkind = \"numeric\"\n[judge.gate]\nexact = \"exact\"\n";
        self.configure(&format!(
            "[judge]\ndefault = \"model\"\n[judge.judges.model]\n{kind}{prices}{endpoint}{exact}"
        ));
        self.judge(&[])
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
    check("no key", &model, &["NO_SUCH_KEY_OF_TIERCAST"]);
    let run = tiercast(&[
        "judge",
        "--run",
        &bench.at("nowhere"),
        "--config",
        &bench.at("tiercast.toml"),
    ]);
    run.refused("no run", 1, &["ledger.sqlite"]);
}
