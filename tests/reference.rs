//! What is committed: the reference data, and a checkpoint that a clone can serve.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tiercast_records::manifest;
use tiercast_records::outcomes::{self, ReadOptions};

use crate::fixture::{Fixture, contents};
use crate::http::{Server, ask};
use crate::run::{checkout, tiercast};

fn reference_data() -> PathBuf {
    checkout().join("datasets/reference")
}

/// The committed checkpoint.
fn reference_checkpoint() -> String {
    let folder = checkout().join("checkpoints/reference");
    assert!(
        folder.join("manifest.json").is_file(),
        "checkpoints/reference belongs into the repository"
    );
    folder.into_os_string().into_string().unwrap()
}

/// Whether what not every machine has must be there: `TIERCAST_REQUIRE=shared,wgpu`.
#[expect(clippy::disallowed_methods, reason = "a switch of the tests, set by CI")]
pub(crate) fn is_required(what: &str) -> bool {
    std::env::var("TIERCAST_REQUIRE").is_ok_and(|list| list.split(',').any(|name| name == what))
}

#[test]
fn the_data_is_what_its_manifest_says_and_small() {
    let manifest = manifest::verify(&reference_data()).unwrap();
    let files = contents(&reference_data());
    let bytes: usize = files.values().map(Vec::len).sum();
    assert!(bytes <= 25 << 20, "{bytes} bytes are more than 25 MiB");
    let listed: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    let found: Vec<&str> = files
        .keys()
        .map(String::as_str)
        .filter(|name| name.ends_with(".parquet"))
        .collect();
    assert_eq!(listed, found);
}

#[test]
fn the_data_holds_no_text() {
    for (name, bytes) in contents(&reference_data()) {
        // Column names lie uncompressed at the end of a Parquet file.
        let has = |word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
        for column in ["prompt_format", "response", "messages"] {
            assert!(!name.ends_with(".parquet") || !has(column), "{name} has `{column}`");
        }
    }
    let options = ReadOptions {
        with_text: true,
        ..ReadOptions::default()
    };
    for name in ["mmlu_pro", "zeroeval", "routellm"] {
        let file = reference_data().join(format!("{name}.parquet"));
        assert!(
            !outcomes::read(&[file], &options).unwrap().has_text(),
            "{name} has text"
        );
    }
}

#[test]
fn rebuilding_the_data_gives_the_same_bytes() {
    let source = checkout().join("../shared/data");
    if !source.is_dir() {
        assert!(!is_required("shared"), "{} is required and not there", source.display());
        eprintln!("skipped: {} is not there", source.display());
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let (from, to) = (source.to_str().unwrap(), out.path().to_str().unwrap());
    tiercast(&["data", "reference", "--from", from, "--out", to]).ok();
    let (rebuilt, mut committed) = (contents(out.path()), contents(&reference_data()));
    committed.remove("README.md");
    assert!(rebuilt.keys().eq(committed.keys()), "{:?}", rebuilt.keys());
    for (name, bytes) in rebuilt {
        assert!(bytes == committed[&name], "{name} differs");
    }
}

#[test]
fn quickstart_trains_evaluates_and_reports() {
    let data = Fixture::new();
    let out = data.at("quickstart");
    let brief = ["--epochs", "1", "--members", "1"];
    let run = tiercast(&[&["quickstart", "--no-serve", "--out", &out], &brief[..]].concat()).ok();
    for part in ["mathstral-7B", "Oracle", "report.html"] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    for name in ["report.html", "report.md", "report.json", "checkpoint/manifest.json"] {
        assert!(
            fs::metadata(data.path("quickstart").join(name)).unwrap().len() > 0,
            "{name}"
        );
    }
    tiercast(&[
        "route",
        "--checkpoint",
        &data.at("quickstart/checkpoint"),
        "What is 17 x 23?",
    ])
    .ok();
}

#[test]
fn a_clone_can_decide_without_training() {
    // No --checkpoint: the committed one is the default.
    reference_checkpoint();
    let run = tiercast(&["route", "--json", "What is 17 x 23?"]).ok();
    let answer: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(answer["tiers"].as_array().unwrap().len(), 5);
}

/// A long system prompt and many tools say nothing about how hard the ask is.
#[test]
fn a_system_prompt_or_tools_leave_every_decision() {
    let server = Server::start(&reference_checkpoint());
    let system = "You are a careful assistant of the harbour office. Answer in formal English. ".repeat(700);
    assert!(system.len() > 50_000);
    let tools: Vec<Value> = (0..32).map(tool).collect();
    for text in [
        "What is 17 x 23?",
        "Prove that there are infinitely many primes congruent to 3 modulo 4.",
        "Which amendment protects the freedom of speech?\nA. First\nB. Second\nC. Third",
        "Write a haiku.",
    ] {
        let plain = ask(text);
        let user = plain["messages"][0].clone();
        let with_system = json!({ "messages": [{ "role": "system", "content": system }, user] });
        let with_tools = json!({ "messages": [user], "tools": tools });
        let expected = decided(&server, &plain);
        assert_eq!(decided(&server, &with_system), expected, "{text}: system prompt");
        assert_eq!(decided(&server, &with_tools), expected, "{text}: tools");
    }
}

fn tool(number: usize) -> Value {
    json!({ "type": "function", "function": {
        "name": format!("look_up_{number}"),
        "description": "Looks up a ship, its cargo and its berth, and proves by induction that it is there.",
        "parameters": { "type": "object", "properties": { "ship": { "type": "string" } }, "required": ["ship"] },
    } })
}

/// Tier, reason and every distribution, as written: the digits differ if any bit does.
fn decided(server: &Server, body: &Value) -> (String, String, Vec<String>) {
    let reply = server.route(body);
    let answer = reply.json();
    let word = |key: &str| answer["decision"][key].as_str().unwrap().to_owned();
    let pmfs = reply.text.split("\"quality_pmf\":").skip(1);
    let pmfs: Vec<String> = pmfs.map(|rest| rest.split(']').next().unwrap().to_owned()).collect();
    assert_eq!(pmfs.len(), answer["tiers"].as_array().unwrap().len());
    (word("tier"), word("reason"), pmfs)
}
