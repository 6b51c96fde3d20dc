//! Plans for agents: a budget divided among steps, on the command line and over HTTP.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{Gateway, tier};
use crate::replay::{Recording, text};
use crate::run::{Run, tiercast};

fn task(budget_usd: f64) -> Value {
    json!({"budget_usd": budget_usd, "steps": [
        {"id": "answer", "prompt": "Prove that the sum is even.", "importance": 5, "depends_on": ["search", "read"],
         "input_tokens": 4000, "output_tokens": 900},
        {"id": "search", "prompt": "Which words would find it?", "input_tokens": 300, "output_tokens": 60},
        {"id": "read", "depends_on": ["search"], "input_tokens": 9000, "output_tokens": 200},
    ]})
}

fn plan(task: &Value, more: &[&str]) -> Run {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("task.json");
    fs::write(&file, task.to_string()).unwrap();
    tiercast(&[&["plan", file.to_str().unwrap()], more].concat())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn a_budget_is_divided_by_importance() {
    let rich: Value = serde_json::from_str(&plan(&task(1.0), &["--json"]).ok().stdout).unwrap();
    let steps: Vec<&str> = rich["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["id"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["search", "read", "answer"], "in an order that can be run");
    let least = number(&rich["least_usd"]);
    let poor: Value = serde_json::from_str(&plan(&task(2.0 * least), &["--json"]).ok().stdout).unwrap();
    assert!(number(&poor["cost_usd"]) <= 2.0 * least && number(&poor["quality"]) <= number(&rich["quality"]));
    assert_eq!((&rich["gap"], &poor["gap"]), (&json!(0.0), &json!(0.0)), "proven best");
    let table = plan(&task(1.0), &[]).ok().stdout;
    for part in ["answer", "proven best", "no tier is expected to be better"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let done = json!({"budget_usd": 1.0, "steps": [{"id": "a", "done_usd": 0.25}, {"id": "b", "depends_on": ["a"]}]});
    let rest: Value = serde_json::from_str(&plan(&done, &["--json"]).ok().stdout).unwrap();
    assert_eq!(
        (&rest["spent_usd"], rest["steps"].as_array().unwrap().len()),
        (&json!(0.25), 1)
    );
}

#[test]
fn a_task_that_cannot_be_planned_says_why() {
    let step = |id: &str, after: &str| json!({"id": id, "depends_on": [after]});
    let many: Vec<Value> = (0..10_000).map(|id| json!({"id": id.to_string()})).collect();
    let cases: [(&str, Value, &[&str]); 7] = [
        (
            "a ring",
            json!({"budget_usd": 1.0, "steps": [step("a", "b"), step("b", "a")]}),
            &["`a`", "`b`"],
        ),
        ("too little", task(1e-9), &["would cost", "raise the budget"]),
        (
            "too many",
            json!({"budget_usd": 1.0, "steps": many}),
            &["10000 steps", "2000"],
        ),
        ("no steps", json!({"budget_usd": 1.0, "steps": []}), &["no steps"]),
        (
            "a negative budget",
            json!({"budget_usd": -1.0, "steps": [{"id": "a"}]}),
            &["budget", "-1"],
        ),
        ("no budget", json!({"steps": [{"id": "a"}]}), &["budget_usd"]),
        (
            "tokens",
            json!({"budget_usd": 1.0, "steps": [{"id": "a", "output_tokens": -5}]}),
            &["`a`", "output_tokens", "-5"],
        ),
    ];
    for (case, task, parts) in cases {
        plan(&task, &[]).refused(case, 2, &[&["task.json"], parts].concat());
    }
}

#[test]
fn steps_are_routed_by_the_plan_and_it_is_solved_again_as_they_cost() {
    let recording = Recording::small();
    let replay = recording.replay(&["--instant"]);
    let gateway = Gateway::start(&(tier("large", replay.url(), "") + &tier("small", replay.url(), "")));
    // Enough for one call of the dear tier: the important step gets it.
    let steps = json!({"budget_usd": 0.004, "reserve_share": 0.0, "steps": [
        {"id": "first", "prompt": text(1), "input_tokens": 20, "output_tokens": 100},
        {"id": "last", "prompt": text(2), "importance": 9, "depends_on": ["first"], "input_tokens": 20, "output_tokens": 200},
    ]});
    let session = ("x-session-id", "agent");
    let planned = gateway.server.post_with("/v1/plans", &[session], &steps);
    assert_eq!(planned.status, 200, "{planned:?}");
    let planned = planned.json();
    let of = |planned: &Value, id: &str| {
        let steps = planned["steps"].as_array().unwrap().clone();
        steps.into_iter().find(|step| step["id"] == id).unwrap()
    };
    assert_eq!(of(&planned, "last")["tier"], "large", "{planned}");
    let ask = |step: &str, at: usize| {
        let reply = gateway.chat_with("auto", &text(at), &json!({}), &[session, ("x-tiercast-step-id", step)]);
        assert_eq!(
            (reply.status, reply.header("x-tiercast-reason")),
            (200, "planned"),
            "{reply:?}"
        );
        reply.header("x-tiercast-tier").to_owned()
    };
    assert_eq!(ask("first", 1), of(&planned, "first")["tier"].as_str().unwrap());
    let stands = gateway.server.get("/v1/sessions/agent").json()["plan"].clone();
    let spent = number(&stands["spent_usd"]);
    assert!(
        spent > 0.0 && spent < number(&of(&planned, "first")["cost_usd"]),
        "what it really cost: {stands}"
    );
    assert_eq!(stands["steps"].as_array().unwrap().len(), 1);
    assert_eq!(ask("last", 2), "large");

    let unknown = gateway.chat_with(
        "auto",
        &text(1),
        &json!({}),
        &[session, ("x-tiercast-step-id", "third")],
    );
    unknown.refused("an unknown step", 400, &["third", "first, last"]);
    let stranger = [("x-session-id", "stranger"), ("x-tiercast-step-id", "first")];
    gateway
        .chat_with("auto", &text(1), &json!({}), &stranger)
        .refused("no plan", 400, &["/v1/plans"]);
    let ring = json!({"budget_usd": 1.0, "steps": [{"id": "a", "depends_on": ["a"]}]});
    gateway
        .server
        .post_with("/v1/plans", &[session], &ring)
        .refused("a ring", 422, &["`a`"]);
}
