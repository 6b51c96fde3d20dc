//! The page at `/` in a browser: `tests/dashboard/dashboard.mjs` drives headless Chromium before a real gateway.
//! Needs `npm ci --ignore-scripts --prefix tests/dashboard`, node and Chromium.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::clients::skipped;
use crate::gateway::{Gateway, tier};
use crate::reference::is_required;
use crate::replay::{Recording, text};
use crate::run::checkout;

/// A task that would be markup.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";

/// What the page needs and this machine has not.
fn missing() -> Option<&'static str> {
    let folder = checkout().join("tests/dashboard/node_modules/playwright-core");
    let has_node = Command::new("node").arg("--version").output().is_ok();
    match () {
        () if !has_node => Some("node is not installed"),
        () if !folder.exists() => Some("playwright-core is not installed in tests/dashboard"),
        () if !Path::new("/usr/bin/chromium").exists() => Some("chromium is not installed"),
        () => None,
    }
}

#[test]
fn a_person_sees_and_steers_what_is_going_on() {
    if let Some(why) = missing() {
        assert!(!is_required("chromium"), "chromium is required, but {why}");
        skipped(why);
        return;
    }
    let replay = Recording::small().replay(&["--instant"]);
    let gateway = Gateway::start(&(tier("large", replay.url(), "") + &tier("small", replay.url(), "")));
    for number in 0..12 {
        let task = if number % 3 == 0 { HOSTILE } else { "sums" };
        let model = if number % 4 == 0 { "large" } else { "small" };
        let reply = gateway.chat_with(model, &text(number), &json!({}), &[("x-tiercast-task", task)]);
        assert_eq!(reply.status, 200, "{reply:?}");
        let said = json!({"decision_id": reply.header("x-tiercast-decision-id"), "score": 1.0});
        assert_eq!(gateway.server.post_with("/v1/feedback", &[], &said).status, 202);
    }
    let pictures = tempfile::tempdir().unwrap();
    let expected = json!({
        "requests": 12,
        "tiers": ["large", "small"],
        "hostile_label": HOSTILE,
        "prompt": "A train travels 60 miles in 1.5 hours. What is its average speed in miles per hour?",
    });
    let output = Command::new("node")
        .arg(checkout().join("tests/dashboard/dashboard.mjs"))
        .env("DASHBOARD_URL", gateway.url())
        .env("DASHBOARD_EXPECTATIONS", expected.to_string())
        .env("DASHBOARD_SCREENSHOTS", pictures.path())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}\n{}", said[0], said[1]);
    assert!(std::fs::read_dir(pictures.path()).unwrap().count() > 2, "{}", said[0]);
}
