//! The official client libraries against the gateway: scripts in `tests/clients`, run where the
//! libraries are installed. `TIERCAST_CLIENTS_PYTHON` and `TIERCAST_CLIENTS_NODE` name the interpreters.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tiercast_records::collected::Completion;
use tiercast_records::outcomes::PromptText;

use crate::gateway::{Gateway, tier};
use crate::reference::is_required;
use crate::replay::{Recording, row};
use crate::run::checkout;

/// One row of `recording.json`, said by `model`.
fn completion(recorded: &Value, model: &str) -> Completion {
    let mut messages = serde_json::json!({"messages": recorded["messages"]});
    if let Some(tools) = recorded.get("tools").filter(|tools| !tools.is_null()) {
        messages["tools"] = tools.clone();
    }
    let text = |name: &str| recorded[name].as_str().map(str::to_owned);
    let tokens = |name: &str| recorded[name].as_u64().map(|tokens| u32::try_from(tokens).unwrap());
    let calls = Some(&recorded["tool_calls"]).filter(|calls| !calls.is_null());
    Completion {
        tool_calls: calls.map(Value::to_string),
        finish_reason: text("finish_reason"),
        truncated: false,
        input_tokens: tokens("input_tokens"),
        output_tokens: tokens("output_tokens"),
        ..row(PromptText::MessagesJson(messages.to_string()), model, text("text"), 1.0)
    }
}

#[expect(clippy::disallowed_methods, reason = "a switch of the tests, set by CI")]
fn interpreter(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

#[expect(clippy::print_stderr, reason = "tells what was not tested")]
pub(crate) fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// Runs the scripts, each against gateways before tiers of every dialect.
fn run(variable: &str, scripts: [&str; 2]) {
    let folder = checkout().join("tests/clients");
    let Some(interpreter) = interpreter(variable) else {
        assert!(
            !is_required("clients"),
            "clients are required, but {variable} is not set"
        );
        skipped(&format!("{variable} is not set"));
        return;
    };
    let recorded = std::fs::read_to_string(folder.join("recording.json")).unwrap();
    let recorded: Vec<Value> = serde_json::from_str(&recorded).unwrap();
    let rows = recorded
        .iter()
        .flat_map(|recorded| ["large", "small"].map(|model| completion(recorded, model)));
    let recording = Recording::new(rows);
    for spoken in ["chat", "responses", "messages"] {
        let replay = recording.replay(&["--instant"]);
        let dialects = format!("dialects = [\"{spoken}\"]");
        let gateway = Gateway::start(
            &["large", "small"]
                .map(|name| tier(name, replay.url(), &dialects))
                .concat(),
        );
        for script in scripts {
            check(&interpreter, &folder.join(script), gateway.url(), spoken);
        }
    }
}

fn check(interpreter: &str, script: &Path, url: &str, spoken: &str) {
    let output = Command::new(interpreter).arg(script).arg(url).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(
        output.status.success(),
        "{} before {spoken}: {}",
        script.display(),
        said.concat()
    );
}

#[test]
fn python() {
    run(
        "TIERCAST_CLIENTS_PYTHON",
        ["python/openai_client.py", "python/anthropic_client.py"],
    );
}

#[test]
fn node() {
    run(
        "TIERCAST_CLIENTS_NODE",
        ["node/openai_client.mjs", "node/anthropic_client.mjs"],
    );
}
