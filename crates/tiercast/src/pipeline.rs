//! `pipeline run`: a recipe is a list of command lines of this program.
//!
//! A step that names what it reads and writes is skipped while neither has changed, so a run that was
//! stopped goes on where it was. What a step needs in the background (recorded tiers, say) is started
//! before the first step and ended after the last.
//!
//! Every step is a process of its own, which gets the words to stop that come here. After one no further step runs,
//! however well the one under way has ended.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use serde::Deserialize;

use crate::arguments::{Arguments, Command, UsageError};
use crate::progress::say;

mod background;
mod memory;
mod process;

use background::{Background, Running};
pub(crate) use background::{die_with_stdin, end_with_stdin};
use memory::Memory;
use process::{Processes, failure};

/// After a step that failed, or a word to stop.
const GO_ON: &str = "The same command goes on from here";

/// A recipe file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    /// What it is for; shown when it starts.
    description: String,
    /// Servers that the steps need.
    #[serde(default)]
    background: Vec<Background>,
    /// The steps in order.
    step: Vec<Step>,
}

/// A stage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// Arguments as after `tiercast`.
    run: Vec<String>,
    /// Files and folders that it reads.
    #[serde(default)]
    inputs: Vec<PathBuf>,
    /// Files and folders that it writes. A step without any always runs.
    #[serde(default)]
    outputs: Vec<PathBuf>,
}

/// Runs a recipe. All steps are parsed before the first one runs. With `again` nothing is skipped; `memory` is
/// the folder that remembers what was done.
pub(crate) fn run(file: &Path, again: bool, memory: &Path) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the recipe {}", file.display()))?;
    let recipe: Recipe = toml::from_str(&text).map_err(|error| UsageError(format!("{}: {error}", file.display())))?;
    for words in recipe
        .step
        .iter()
        .map(|step| &step.run)
        .chain(recipe.background.iter().map(|background| &background.run))
    {
        check(words)?;
    }
    say(&format!("{}: {}", file.display(), recipe.description));
    let mut memory = Memory::open(memory, file)?;
    let mut processes = Processes::new()?;
    let mut servers: Option<Vec<Running>> = None;
    let n_steps = recipe.step.len();
    for (idx, step) in recipe.step.iter().enumerate() {
        let line = step.run.join(" ");
        let title = format!("[{}/{n_steps}] tiercast {line}", idx + 1);
        let of_step = || format!("step {}: {line}", idx + 1);
        let key = memory.key(step).with_context(of_step)?;
        if !again && memory.is_done(step, &key).with_context(of_step)? {
            say(&format!("{title}: unchanged, skipped"));
            continue;
        }
        // Only now: a recipe of which nothing has changed starts nothing.
        if servers.is_none() && processes.stopped().is_none() {
            let start = |background: &Background| background.start(&mut || processes.stopped().is_some());
            servers = Some(recipe.background.iter().map(start).collect::<Result<_, _>>()?);
        }
        if let Some(word) = processes.stopped() {
            say(&format!("stopped before step {}: {GO_ON}", idx + 1));
            return Ok(ExitCode::from(word.exit_code()));
        }
        say(&title);
        let status = processes.run(&step.run).with_context(of_step)?;
        if !status.success() {
            let (code, how) = failure(status);
            say(&format!(
                "step {} {how}: {line}; no later step was run. {GO_ON}",
                idx + 1
            ));
            return Ok(ExitCode::from(code));
        }
        memory.remember(step, key).with_context(of_step)?;
    }
    match processes.stopped() {
        // The last step did not mind.
        Some(word) => Ok(ExitCode::from(word.exit_code())),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Whether the words are a command of this program.
fn check(words: &[String]) -> Result<(), UsageError> {
    let line = words.join(" ");
    let words = std::iter::once("tiercast").chain(words.iter().map(String::as_str));
    match Arguments::try_parse_from(words) {
        Ok(Arguments {
            command: Command::Pipeline(_),
            ..
        }) => Err(UsageError(format!("step `{line}`: a recipe runs no recipe"))),
        Ok(_) => Ok(()),
        Err(error) => Err(UsageError(format!("step `{line}`: {error}"))),
    }
}
