//! A full disk or Ctrl-C in the middle: the old checkpoint stays.

use std::process::{Command, Stdio};

use crate::fixture::{Fixture, contents};
use crate::http::{lines, rest};
use crate::run::{Run, binary, checkout, command, send, tiercast};

fn still_whole(data: &Fixture, before: &std::collections::BTreeMap<String, Vec<u8>>) {
    assert!(
        contents(&data.path("checkpoint")) == *before,
        "the old checkpoint has changed"
    );
    assert_eq!(
        data.names(),
        ["checkpoint", "outcomes.parquet"],
        "something is left behind"
    );
    tiercast(&["route", "--checkpoint", &data.at("checkpoint"), "Prove it."]).ok();
}

/// A limit on the size of files stands for the full disk: writing past it fails in the same way.
#[test]
fn a_full_disk_keeps_the_old_checkpoint() {
    let data = Fixture::trained();
    let before = contents(&data.path("checkpoint"));
    // Blocks of 512 bytes: not even the first file, all but the largest, and nothing at all.
    for blocks in ["64", "8", "0"] {
        let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let run: Run = Command::new("sh")
            .args(["-c", &limited])
            .arg(binary())
            .args(data.training("checkpoint"))
            .args(["--seed", "1"])
            .current_dir(checkout())
            .output()
            .unwrap()
            .into();
        run.refused("full disk", 1, &["error: ", "checkpoint", "File too large"]);
        still_whole(&data, &before);
    }
}

#[test]
fn ctrl_c_while_training_keeps_the_old_checkpoint() {
    let data = Fixture::trained();
    let before = contents(&data.path("checkpoint"));
    // Seven thousand prompts: half a minute at best.
    let outcomes = "datasets/reference/mmlu_pro.parquet";
    let out = data.at("checkpoint");
    let mut child = command(&["train", "--outcomes", outcomes, "--out", &out])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = lines(child.stderr.take().unwrap());
    while !lines.recv().unwrap().contains("epoch 2/") {}
    send("INT", child.id());
    rest(&lines);
    assert!(!child.wait().unwrap().success(), "it went on to the end");
    still_whole(&data, &before);
}
