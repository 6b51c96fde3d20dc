//! `pipeline run`: a recipe is a list of command lines of this program.
//!
//! A step that names what it reads and writes is skipped while neither has changed, so a run that was
//! stopped goes on where it was. What a step needs in the background (recorded tiers, say) is started
//! before the first step and ended after the last.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use serde::Deserialize;

use crate::arguments::{Arguments, Command, UsageError};
use crate::commands;
use crate::progress::say;

mod background;
mod memory;

pub(crate) use background::end_with_stdin;
use background::{Background, Running};
use memory::Memory;

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
    let commands: Vec<Command> = recipe
        .step
        .iter()
        .map(|step| parse(&step.run))
        .collect::<Result<_, _>>()?;
    for background in &recipe.background {
        parse(&background.run)?;
    }
    say(&format!("{}: {}", file.display(), recipe.description));
    let mut memory = Memory::open(memory, file)?;
    let mut servers: Option<Vec<Running>> = None;
    let n_steps = commands.len();
    for (idx, (step, command)) in recipe.step.iter().zip(commands).enumerate() {
        let line = step.run.join(" ");
        let title = format!("[{}/{n_steps}] tiercast {line}", idx + 1);
        let of_step = || format!("step {}: {line}", idx + 1);
        let key = memory.key(step).with_context(of_step)?;
        if !again && memory.is_done(step, &key).with_context(of_step)? {
            say(&format!("{title}: unchanged, skipped"));
            continue;
        }
        say(&title);
        // Only now: a recipe of which nothing has changed starts nothing.
        if servers.is_none() {
            servers = Some(
                recipe
                    .background
                    .iter()
                    .map(Background::start)
                    .collect::<Result<_, _>>()?,
            );
        }
        let code = commands::run(command).with_context(of_step)?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
        memory.remember(step, key).with_context(of_step)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(words: &[String]) -> Result<Command, UsageError> {
    let line = words.join(" ");
    let words = std::iter::once("tiercast").chain(words.iter().map(String::as_str));
    match Arguments::try_parse_from(words) {
        Ok(Arguments {
            command: Command::Pipeline(_),
            ..
        }) => Err(UsageError(format!("step `{line}`: a recipe runs no recipe"))),
        Ok(arguments) => Ok(arguments.command),
        Err(error) => Err(UsageError(format!("step `{line}`: {error}"))),
    }
}
