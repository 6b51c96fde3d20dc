//! What a cascade reads besides an answer's text: further samples of it, and the tier's own word.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use tiercast_records::RecordsError;
use tiercast_records::collected::{Completion, ScoredSample, write_completions, write_outcomes};
use tiercast_records::outcomes::{PromptText, Split};
use tiercast_records::prompts::Prompt;

use crate::endpoint::Endpoint;
use crate::gateway::Gateway;
use crate::run::tiercast;

/// Prompts; neither a question nor one reply to it says how the small tier will do.
const N: usize = 300;

const SAMPLES: usize = 3;

/// Name, US dollars a million tokens, class.
const TIERS: [(&str, f64, u8); 2] = [("large", 10.0, 1), ("small", 0.1, 3)];

/// A word that tells nothing of the number.
fn word(number: usize) -> String {
    format!("{:x}", (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24)
}

fn question(number: usize) -> String {
    format!("In which drawer is the key named {}?", word(number))
}

/// On hard ones the small tier guesses.
fn is_hard(number: usize) -> bool {
    number * 7 % 5 < 2
}

fn right(number: usize) -> usize {
    number * 13 % 9 + 1
}

fn reply(number: usize, tier: &str, sample: usize) -> String {
    let drawer = if tier == "small" && is_hard(number) {
        (right(number) + sample) % 9 + 1
    } else {
        right(number)
    };
    format!("The answer is {drawer}.")
}

fn prompt(number: usize) -> Prompt {
    Prompt {
        prompt_id: format!("{number:016x}"),
        split_key: format!("{:016x}", 0xabc0_0000 + number),
        split: if number % 10 < 7 {
            Split::Train
        } else {
            Split::Validation
        },
        dataset: "made_up".to_owned(),
        subset: "drawers".to_owned(),
        domain: "drawers".to_owned(),
        text: PromptText::Text(question(number)),
        response_format: None,
        schema: None,
        reference: None,
        judge: None,
    }
}

struct World {
    folder: TempDir,
}

impl World {
    /// Writes what `collect --samples 3` and `judge` would.
    fn new() -> Self {
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let pairs = || (0..N).flat_map(|number| TIERS.map(|tier| (number, tier)));
        let outcomes: Result<u64, RecordsError> = write_outcomes(&world.path("outcomes.parquet"), |sink| {
            for (number, (name, price, class)) in pairs() {
                let is_right = !(name == "small" && is_hard(number));
                sink.add(&ScoredSample {
                    prompt: &prompt(number),
                    model: name,
                    class,
                    response: Some(&reply(number, name, 0)),
                    finish_reason: Some("stop"),
                    truncated: false,
                    score: f64::from(u8::from(is_right)),
                    score_kind: "exact_match",
                    input_tokens: Some(20),
                    cached_input_tokens: None,
                    output_tokens: Some(30),
                    tokens_estimated: false,
                    cost_usd: Some(50.0 * price / 1e6),
                    latency_s: Some(0.1),
                })?;
            }
            Ok(())
        });
        outcomes.unwrap();
        let completions: Result<u64, RecordsError> = write_completions(&world.path("completions.parquet"), |take| {
            for (number, (name, price, class)) in pairs() {
                for sample in 0..SAMPLES {
                    take(Completion {
                        prompt: prompt(number),
                        model: name.to_owned(),
                        class,
                        sample: sample as u32,
                        response: Some(reply(number, name, sample)),
                        tool_calls: None,
                        finish_reason: Some("stop".to_owned()),
                        truncated: false,
                        logprobs: None,
                        input_tokens: Some(20),
                        cached_input_tokens: None,
                        output_tokens: Some(30),
                        tokens_estimated: false,
                        cost_usd: Some(50.0 * price / 1e6),
                        time_to_first_token_s: None,
                        latency_s: Some(0.1),
                        n_requests: 1,
                        error: None,
                    })?;
                }
            }
            Ok(())
        });
        completions.unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn at(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().unwrap()
    }

    fn train(&self, more: &[&str]) -> crate::run::Run {
        let (outcomes, out) = (self.at("outcomes.parquet"), self.at("checkpoint"));
        let fixed = ["train", "--epochs", "3", "--members", "1", "--cascade", "--outcomes"];
        tiercast(&[&fixed[..], &[&outcomes, "--out", &out], more].concat())
    }

    fn fit(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path("checkpoint/cascade.json")).unwrap()).unwrap()
    }

    fn gateway(&self, endpoint: &Endpoint, cascade: &str) -> Gateway {
        let tier = |name: &str| {
            format!(
                "[tiers.{name}]\n[tiers.{name}.endpoint]\nbase_url = \"{}\"\n",
                endpoint.url()
            )
        };
        let config = format!(
            "policy = \"cascade\"\n[cascade]\n{cascade}\n{}{}",
            tier("large"),
            tier("small")
        );
        Gateway::of(&self.at("checkpoint"), &config, &[])
    }
}

/// Both tiers; each call of the small one draws its next sample. Asked back, it says whether it was sure.
fn drawers() -> Endpoint {
    let n_asked = AtomicUsize::new(0);
    Endpoint::start(move |body| {
        let messages = body["messages"].as_array().unwrap();
        let asked = messages[0]["content"].as_str().unwrap();
        let number = (0..N).find(|number| question(*number) == asked).unwrap();
        let model = body["model"].as_str().unwrap();
        let said = if messages.len() == 1 {
            reply(number, model, n_asked.fetch_add(1, Ordering::Relaxed))
        } else {
            assert_eq!(
                (messages.len(), &messages[1]["role"], &body["max_tokens"]),
                (3, &json!("assistant"), &json!(16))
            );
            if is_hard(number) { "About 20%." } else { "90" }.to_owned()
        };
        let choice = json!({"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"});
        let usage = json!({"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30});
        (200, json!({"choices": [choice], "usage": usage}).to_string())
    })
}

/// An easy and a hard prompt.
fn two() -> (usize, usize) {
    let easy = (0..N).find(|number| !is_hard(*number)).unwrap();
    let hard = (0..N).find(|number| is_hard(*number)).unwrap();
    (easy, hard)
}

#[test]
fn samples_that_disagree_are_escalated() {
    let world = World::new();
    world.train(&["--cascade-samples", "3"]).refused(
        "one sample",
        2,
        &["--cascade-samples 3", "--samples 3", "--replies"],
    );
    let completions = world.at("completions.parquet");
    world.train(&["--cascade-samples", "3", "--replies", &completions]).ok();
    assert_eq!(world.fit()["samples"], 3);

    let (easy, hard) = two();
    let endpoint = drawers();
    let gateway = world.gateway(&endpoint, "");
    let kept = gateway.chat_with("auto", &question(easy), &json!({}), &[]);
    assert_eq!(
        (kept.status, kept.header("x-tiercast-tier")),
        (200, "small"),
        "{kept:?}"
    );
    assert_eq!(endpoint.asked().len(), SAMPLES, "every sample is one call");
    let escalated = gateway.chat_with("auto", &question(hard), &json!({}), &[]);
    assert_eq!(
        (escalated.status, escalated.header("x-tiercast-tier")),
        (200, "large"),
        "{escalated:?}"
    );
    // The last stage is asked once.
    assert_eq!(endpoint.asked().len(), 2 * SAMPLES + 1);
    let accounts = gateway.stats()["accounts"].clone();
    assert_eq!(
        (
            &accounts["small"]["calls"]["complete"],
            &accounts["large"]["calls"]["complete"]
        ),
        (&json!(2 * SAMPLES), &json!(1)),
        "every call is accounted for: {accounts}"
    );

    // Compared on recorded replies, every sample is counted.
    let (outcomes, checkpoint, out) = (
        world.at("outcomes.parquet"),
        world.at("checkpoint"),
        world.at("policies"),
    );
    let evaluate = [
        "evaluate",
        "--policies",
        "cascade,cascade:value",
        "--split",
        "validation",
        "--replicates",
        "50",
    ];
    let of = [
        "--checkpoint",
        &checkpoint,
        "--outcomes",
        &outcomes,
        "--out",
        &out,
        "--replies",
        &completions,
    ];
    tiercast(&[&evaluate[..], &of].concat()).ok();
    let report: Value =
        serde_json::from_str(&fs::read_to_string(world.path("policies/policies.json")).unwrap()).unwrap();
    let policies = report["policies"].as_array().unwrap();
    let cascades = policies
        .iter()
        .filter(|policy| policy["name"].as_str().unwrap().starts_with("cascade"));
    assert_eq!(cascades.clone().count(), 2);
    for policy in cascades {
        let calls: Vec<f64> = policy["points"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| point["calls"].as_f64().unwrap())
            .collect();
        assert!(calls.iter().any(|calls| *calls >= SAMPLES as f64), "{policy}");
    }
}

#[test]
fn a_tiers_own_word_and_the_worth_of_a_call_may_decide() {
    let world = World::new();
    world.train(&[]).ok();
    let (easy, hard) = two();
    let endpoint = drawers();
    let tier = |gateway: &Gateway, number: usize| {
        let reply = gateway.chat_with("auto", &question(number), &json!({}), &[]);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.header("x-tiercast-tier").to_owned()
    };
    let told = world.gateway(&endpoint, "self_report = 1.0\nthreshold = 0.6");
    assert_eq!(
        (tier(&told, easy), tier(&told, hard)),
        ("small".to_owned(), "large".to_owned())
    );
    assert_eq!(
        endpoint.asked().len(),
        2 + 3,
        "the answer, the question back, and one dearer answer"
    );

    // Where money is worth nothing, whatever may add quality is asked; where it is worth all, nothing is.
    let lavish = world.gateway(&endpoint, "lambda_per_usd = 0.001");
    assert_eq!(tier(&lavish, hard), "large");
    let thrifty = world.gateway(&endpoint, "lambda_per_usd = 1e12");
    assert_eq!(
        (tier(&thrifty, easy), tier(&thrifty, hard)),
        ("small".to_owned(), "small".to_owned())
    );

    for (wrong, parts) in [
        ("samples = 0", ["cascade.samples", "1 to 16"]),
        ("self_report = 1.5", ["cascade.self_report", "0 to 1"]),
        ("lambda_per_usd = -1.0", ["cascade", "lambda"]),
        (
            "lambda_per_usd = 1.0\nthreshold = 0.5",
            ["cascade.lambda_per_usd", "cascade.threshold"],
        ),
    ] {
        let path = world.path("tiercast.toml");
        fs::write(&path, format!("[cascade]\n{wrong}\n")).unwrap();
        let (checkpoint, config) = (world.at("checkpoint"), world.at("tiercast.toml"));
        let run = tiercast(&[
            "serve",
            "--checkpoint",
            &checkpoint,
            "--listen",
            "127.0.0.1:0",
            "--config",
            &config,
        ]);
        run.refused(wrong, 2, &parts);
    }
}
