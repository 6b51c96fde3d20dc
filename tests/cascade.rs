//! The cascade, from recorded replies to escalations: trained, compared, served.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use tiercast_records::RecordsError;
use tiercast_records::collected::{ScoredSample, write_outcomes};
use tiercast_records::outcomes::{PromptText, Split};
use tiercast_records::prompts::Prompt;

use crate::gateway::Gateway;
use crate::http::{Reply, Server};
use crate::replay::switch;
use crate::run::tiercast;

/// Prompts; what is asked says nothing of how the small tier will do.
const N: usize = 240;

/// Name, US dollars a million tokens, class.
const TIERS: [(&str, f64, u8); 2] = [("large", 10.0, 1), ("small", 0.1, 3)];

pub(crate) fn question(number: usize) -> String {
    format!(
        "A box holds {} pens and {} more are put in. How many are there?",
        number + 3,
        number % 7
    )
}

pub(crate) fn is_hard(number: usize) -> bool {
    number / 10 % 5 < 2
}

/// The small tier's wrong replies hedge and add up wrongly.
fn reply(number: usize, tier: &str) -> String {
    let (a, b) = (number + 3, number % 7);
    if tier == "small" && is_hard(number) {
        let wrong = a + b + 4;
        return format!(
            "Hmm, I am not sure, maybe it could be about that many. {a} + {b} = {wrong}? Perhaps {wrong}, but I cannot tell."
        );
    }
    format!(
        "There were {a} pens. {b} more are put in. {a} + {b} = {}. The answer is {}.",
        a + b,
        a + b
    )
}

fn prompt(number: usize) -> Prompt {
    Prompt {
        prompt_id: format!("{number:016x}"),
        split_key: format!("{:016x}", 0xdef0_0000 + number),
        split: match number % 10 {
            0..6 => Split::Train,
            6..8 => Split::Validation,
            _ => Split::Test,
        },
        dataset: "made_up".to_owned(),
        subset: "sums".to_owned(),
        domain: "sums".to_owned(),
        text: PromptText::Text(question(number)),
        response_format: None,
        schema: None,
        reference: None,
        judge: None,
    }
}

/// A folder with judged replies, and a checkpoint with a cascade.
pub(crate) struct World {
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let prompts: Vec<Prompt> = (0..N).map(prompt).collect();
        let written: Result<u64, RecordsError> = write_outcomes(&world.path("outcomes.parquet"), |sink| {
            for (number, prompt) in prompts.iter().enumerate() {
                for (name, price, class) in TIERS {
                    let text = reply(number, name);
                    let is_right = !(name == "small" && is_hard(number));
                    sink.add(&ScoredSample {
                        prompt,
                        model: name,
                        class,
                        response: Some(&text),
                        finish_reason: Some("stop"),
                        truncated: false,
                        score: if is_right { 1.0 } else { 0.0 },
                        score_kind: "exact_match",
                        input_tokens: Some(20),
                        cached_input_tokens: None,
                        output_tokens: Some(30),
                        tokens_estimated: false,
                        cost_usd: Some(50.0 * price / 1e6),
                        latency_s: Some(0.1),
                    })?;
                }
            }
            Ok(())
        });
        written.unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().unwrap()
    }

    pub(crate) fn train(&self, out: &str, more: &[&str]) -> String {
        let (outcomes, out) = (self.at("outcomes.parquet"), self.at(out));
        let fixed = [
            "train",
            "--epochs",
            "3",
            "--members",
            "1",
            "--outcomes",
            &outcomes,
            "--out",
            &out,
        ];
        tiercast(&[&fixed[..], more].concat()).ok();
        out
    }

    /// A gateway before the recorded replies.
    fn serve(&self, checkpoint: &str, more: &str) -> (Server, Gateway) {
        let replay = Server::run(&["replay", "--instant", "--outcomes", &self.at("outcomes.parquet")]);
        let tier = |name: &str| {
            format!(
                "[tiers.{name}]\n[tiers.{name}.endpoint]\nbase_url = \"{}/v1\"\n",
                replay.url()
            )
        };
        let config = format!("{more}\n{}{}", tier("large"), tier("small"));
        let gateway = Gateway::of(checkpoint, &config, &[]);
        (replay, gateway)
    }
}

fn ask(gateway: &Gateway, number: usize, more: &Value, headers: &[(&str, &str)]) -> Reply {
    gateway.chat_with("auto", &question(number), more, headers)
}

#[test]
fn answers_are_read_and_what_is_not_good_enough_is_escalated() {
    let world = World::new();
    let checkpoint = world.train("checkpoint", &["--cascade"]);
    let fit: Value = serde_json::from_str(&fs::read_to_string(world.path("checkpoint/cascade.json")).unwrap()).unwrap();
    assert_eq!(fit["stages"], json!(["small", "large"]));
    assert!(
        fs::read_to_string(world.path("checkpoint/README.md"))
            .unwrap()
            .contains("Cascade")
    );

    // Beside the other policies on test rows: it saves what reading the answer makes known.
    let (outcomes, out) = (world.at("outcomes.parquet"), world.at("policies"));
    let rows = [
        "--checkpoint",
        &checkpoint,
        "--outcomes",
        &outcomes,
        "--replicates",
        "50",
        "--out",
        &out,
    ];
    let compared = tiercast(&[&["evaluate", "--policies", "all"][..], &rows].concat()).ok();
    let report: Value =
        serde_json::from_str(&fs::read_to_string(world.path("policies/policies.json")).unwrap()).unwrap();
    let named = |name: &str| {
        let policies = report["policies"].as_array().unwrap();
        policies
            .iter()
            .find(|policy| policy["name"] == name)
            .unwrap_or_else(|| panic!("{name}: {}", compared.stderr))
            .clone()
    };
    let aiq = |name: &str| named(name)["aiq"]["value"].as_f64().unwrap();
    assert!(
        aiq("cascade") > aiq("meta") + 0.05,
        "{} and {}",
        aiq("cascade"),
        aiq("meta")
    );
    assert!(
        ["rules", "auto", "classifier"]
            .iter()
            .all(|name| named(name)["points"].is_array())
    );
    let points = named("cascade")["points"].clone();
    assert!(
        points[2]["calls"].as_f64() > Some(1.0) && points[2]["quality"]["value"].as_f64() > Some(0.95),
        "{points}"
    );

    let (_replay, gateway) = world.serve(&checkpoint, "policy = \"cascade\"");
    let (easy, hard) = (21, 10);
    assert!(!is_hard(easy) && is_hard(hard));
    for is_streamed in [false, true] {
        let more = json!({"stream": is_streamed});
        let kept = ask(&gateway, easy, &more, &[]);
        assert_eq!(
            (kept.status, kept.header("x-tiercast-tier")),
            (200, "small"),
            "{kept:?}"
        );
        assert_eq!(kept.header("x-tiercast-reason"), "cascade_begun");
        let escalated = ask(&gateway, hard, &more, &[]);
        assert_eq!(
            (escalated.status, escalated.header("x-tiercast-tier")),
            (200, "large"),
            "{escalated:?}"
        );
        assert_eq!(escalated.header("x-tiercast-escalated-from"), "small");
        // Nothing of the answer that was not taken reaches the client.
        assert!(
            escalated.text.contains("There were") && !escalated.text.contains("not sure"),
            "{escalated:?}"
        );
    }
    let accounts = gateway.stats()["accounts"].clone();
    assert_eq!(
        (
            &accounts["small"]["escalations_out"],
            &accounts["large"]["escalations_in"]
        ),
        (&json!(2), &json!(2))
    );
    assert_eq!(
        (
            &accounts["small"]["calls"]["complete"],
            &accounts["large"]["calls"]["complete"]
        ),
        (&json!(4), &json!(2))
    );
    let metrics = gateway.server.get("/metrics").text;
    assert!(
        metrics.contains("tiercast_escalations_total{from=\"small\",to=\"large\"} 2"),
        "{metrics}"
    );
    // A level that is asked for is what an answer has to reach, and each request may choose its policy.
    let lax = ask(&gateway, hard, &json!({}), &[("x-tiercast-quality", "0")]);
    assert_eq!(lax.header("x-tiercast-tier"), "small", "{lax:?}");
    let of = |policy: &str, model: &str| {
        let reply = gateway.chat_with(model, &question(hard), &json!({}), &[("x-tiercast-policy", policy)]);
        assert_eq!(
            (reply.status, reply.header("x-tiercast-policy")),
            (200, policy.split(':').next().unwrap()),
            "{reply:?}"
        );
        reply.header("x-tiercast-tier").to_owned()
    };
    assert_eq!(of("fixed:small", "auto"), "small");
    let by_chance = of("random:7", "auto");
    assert_eq!(of("random:7", "auto"), by_chance, "the same for the same seed and ask");
    for policy in ["meta", "rules", "classifier", "auto"] {
        of(policy, "auto");
    }
    let fired = gateway.server.post_with(
        "/v1/route",
        &[("x-tiercast-policy", "rules"), ("x-tiercast-task", "classification")],
        &json!({"messages": [{"role": "user", "content": question(1)}]}),
    );
    let decision = fired.json()["decision"].clone();
    assert_eq!(
        (&decision["rule"], &decision["reason"]),
        (&json!("classification and slot filling"), &json!("rule_fired"))
    );
    assert_eq!(decision["tier"], "small");
}

#[test]
fn a_failed_stage_is_passed_over_and_a_stream_may_be_let_through() {
    let world = World::new();
    let checkpoint = world.train("checkpoint", &["--cascade"]);
    let (replay, gateway) = world.serve(&checkpoint, "policy = \"cascade\"\n[cascade]\nfirst_streams = true");
    let through = ask(&gateway, 10, &json!({"stream": true}), &[]);
    assert_eq!(
        (through.header("x-tiercast-tier"), through.status),
        ("small", 200),
        "{through:?}"
    );
    assert_eq!(ask(&gateway, 10, &json!({}), &[]).header("x-tiercast-tier"), "large");
    // Both stages fail: the client learns which, and that others failed before it.
    switch(&replay, &json!({"shares": {"server_error": 1.0}}));
    ask(&gateway, 10, &json!({}), &[]).refused("all failed", 502, &["`large`", "other tiers failed"]);
    let accounts = gateway.stats()["accounts"].clone();
    assert_eq!(accounts["large"]["fallbacks_in"], json!(1), "{accounts}");
}

#[test]
fn a_cascade_that_cannot_be_is_refused() {
    let world = World::new();
    let checkpoint = world.train("plain", &[]);
    let (_replay, gateway) = world.serve(&checkpoint, "");
    let none = ask(&gateway, 1, &json!({}), &[("x-tiercast-policy", "cascade")]);
    none.refused("no cascade", 422, &["--cascade", "classifier"]);
    // Meta or cascade: without one it is meta.
    assert_eq!(
        ask(&gateway, 1, &json!({}), &[("x-tiercast-policy", "auto")]).status,
        200
    );
    let validate = |config: &str, parts: &[&str]| {
        let path = world.path("tiercast.toml");
        fs::write(&path, config).unwrap();
        let run = tiercast(&[
            "serve",
            "--checkpoint",
            &checkpoint,
            "--listen",
            "127.0.0.1:0",
            "--config",
            path.to_str().unwrap(),
        ]);
        run.refused(config, 2, parts);
    };
    validate("[cascade]\ntiers = [\"small\"]\n", &["cascade.tiers", "two tiers"]);
    validate(
        "[cascade]\ntiers = [\"small\", \"large\", \"small\"]\n",
        &["cascade.tiers", "cycle"],
    );
    validate(
        "[cascade]\ntiers = [\"large\", \"small\"]\n",
        &["cascade.tiers", "large", "small"],
    );
    validate("[cascade]\nthreshold = 2.0\n", &["cascade.threshold", "0 to 1"]);
    validate("[[rules]]\nname = \"a\"\nclass = 4\n", &["rules", "class 4"]);
    validate(
        "[[rules]]\nname = \"a\"\nclass = 1\n[[rules]]\nname = \"b\"\nclass = 3\n",
        &["rules", "`b`", "never"],
    );
    validate(
        "[[rules]]\nname = \"a\"\nwhen = { signal = \"mood\", above = 1 }\nclass = 1\n",
        &["mood", "input_tokens"],
    );
}
