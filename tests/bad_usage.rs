//! Wrong usage and configuration: exit code 2, and what to write instead.

use std::fs;

use crate::fixture::Fixture;
use crate::run::tiercast;

#[test]
fn options_that_will_not_do() {
    let data = Fixture::new();
    let train = |more: &[&str], code: i32, parts: &[&str]| {
        data.train("checkpoint", more).refused(&more.join(" "), code, parts);
    };
    train(
        &["--device", "tpu"],
        2,
        &["--device", "unknown device `tpu`", "flex, ndarray, wgpu"],
    );
    train(
        &["--device", "ndarray"],
        1,
        &["no `ndarray` backend", "--features ndarray"],
    );
    train(&["--encoder", "slow"], 2, &["--encoder", "slow", "fast"]);
    train(&["--seed", "one"], 2, &["--seed"]);
    assert_eq!(data.names(), ["outcomes.parquet"]);

    let check = |arguments: &[&str], parts: &[&str]| tiercast(arguments).refused(&arguments.join(" "), 2, parts);
    check(&[], &["Usage"]);
    check(&["fly"], &["unrecognized subcommand 'fly'"]);
    check(&["train"], &["--outcomes", "--out"]);
    check(
        &["train", "--outcomes", "a", "--out", "b", "--members", "65"],
        &["--members", "1..=64"],
    );
    check(
        &["route", "--quality", "1.5", "x"],
        &["--quality", "a number from 0 to 1"],
    );
    let split = [
        "predict",
        "--checkpoint",
        "a",
        "--outcomes",
        "b",
        "--out",
        "c",
        "--split",
        "exam",
    ];
    check(&split, &["--split", "train, validation, test, holdout"]);
    check(
        &["quickstart", "--data", &data.at("none"), "--no-serve"],
        &["none", "--data"],
    );
    assert!(tiercast(&["--help"]).ok().stdout.contains("quickstart"));
}

#[test]
fn a_config_that_will_not_do() {
    let data = Fixture::trained();
    let check = |text: &str, parts: &[&str]| {
        fs::write(data.path("tiercast.toml"), text).unwrap();
        let (checkpoint, config) = (data.at("checkpoint"), data.at("tiercast.toml"));
        let run = tiercast(&["serve", "--checkpoint", &checkpoint, "--config", &config]);
        run.refused(text, 2, &[&["tiercast.toml"], parts].concat());
    };
    check("queue_capacity = 4\nspeed = 3\n", &["line 2", "unknown field `speed`"]);
    check("\n\nworkers = \"two\"\n", &["line 3", "workers"]);
    check("workers = 0\n", &["`workers` is 0; it must be 1 to 64"]);
    check(
        "[tiers.huge]\ncontext_window = 9\n",
        &["`huge`", "large, medium, small"],
    );
    check("listen = \"0.0.0.0:0\"\n", &["allow_without_key = true"]);
    check("this is no TOML", &["line 1"]);
}
