//! Which crate may use which: STYLE.md's layers, read from the Cargo files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::run::checkout;

/// A crate and the crates of ours that it may name.
const ALLOWED: [(&str, &[&str]); 17] = [
    ("routing", &[]),
    ("chat", &["routing"]),
    ("statistics", &[]),
    ("encoder", &[]),
    ("records", &["chat", "routing", "statistics"]),
    ("upstream", &["chat"]),
    ("budgets", &[]),
    ("journal", &["records"]),
    ("observation", &["records", "routing", "statistics"]),
    ("telemetry", &["records"]),
    ("predictor", &["encoder", "records", "chat", "routing", "statistics"]),
    (
        "trainer",
        &["predictor", "encoder", "records", "chat", "routing", "statistics"],
    ),
    ("evaluation", &["predictor", "records", "chat", "routing", "statistics"]),
    (
        "server",
        &[
            "budgets",
            "journal",
            "observation",
            "telemetry",
            "upstream",
            "predictor",
            "records",
            "chat",
            "routing",
            "statistics",
        ],
    ),
    ("collect", &["upstream", "records", "chat", "routing", "statistics"]),
    ("replay", &["records", "chat"]),
    (
        "tiercast",
        &[
            "trainer",
            "evaluation",
            "server",
            "collect",
            "replay",
            "budgets",
            "journal",
            "observation",
            "telemetry",
            "upstream",
            "predictor",
            "encoder",
            "records",
            "chat",
            "routing",
            "statistics",
        ],
    ),
];

/// Outside crates that only these crates of ours may name.
const RESERVED: [(&str, &[&str]); 9] = [
    ("burn", &["encoder", "predictor", "trainer"]),
    ("axum", &["server", "replay"]),
    ("reqwest", &["upstream"]),
    ("rusqlite", &["budgets", "collect", "journal"]),
    ("redis", &["budgets"]),
    ("arrow", &["records"]),
    ("parquet", &["records"]),
    ("tokenizers", &["predictor"]),
    ("clap", &["tiercast"]),
];

/// Pure crates name none of these.
const IMPURE: [&str; 6] = ["tokio", "axum", "tracing", "arrow", "parquet", "burn"];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let crates = checkout().join("crates");
    let read = |folder: &Path| {
        let text = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        manifest["dependencies"].as_table().unwrap().keys().cloned().collect()
    };
    let folders = fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path());
    folders
        .map(|folder| {
            (
                folder.file_name().unwrap().to_string_lossy().into_owned(),
                read(&folder),
            )
        })
        .collect()
}

#[test]
fn crates_use_only_what_lies_below_them() {
    let dependencies = dependencies();
    let known: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    assert_eq!(
        known, found,
        "a crate was added or removed: say in this test where it stands"
    );
    for (name, allowed) in ALLOWED {
        let ours = dependencies[name]
            .iter()
            .filter_map(|dependency| dependency.strip_prefix("tiercast-"));
        for used in ours {
            assert!(allowed.contains(&used), "`{name}` must not use `{used}`");
        }
    }
}

#[test]
fn heavy_crates_are_named_where_they_belong() {
    for (name, dependencies) in dependencies() {
        for (outside, homes) in RESERVED {
            assert!(
                homes.contains(&name.as_str()) || !dependencies.contains(outside),
                "`{outside}` belongs to {homes:?}, not to `{name}`"
            );
        }
        if ["routing", "chat", "statistics"].contains(&name.as_str()) {
            assert!(
                IMPURE.iter().all(|outside| !dependencies.contains(*outside)),
                "`{name}` is pure"
            );
        }
    }
}
