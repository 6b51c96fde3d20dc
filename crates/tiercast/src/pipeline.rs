//! `pipeline run`: a recipe is a list of command lines of this program.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use serde::Deserialize;

use crate::arguments::{Arguments, Command, UsageError};
use crate::commands;
use crate::progress::say;

/// A recipe file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    /// What it is for; shown when it starts.
    description: String,
    /// The steps in order.
    step: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// Arguments as after `tiercast`.
    run: Vec<String>,
}

/// Runs a recipe. All steps are parsed before the first one runs.
pub(crate) fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the recipe {}", file.display()))?;
    let recipe: Recipe = toml::from_str(&text).map_err(|error| UsageError(format!("{}: {error}", file.display())))?;
    let steps: Vec<(String, Command)> = recipe.step.iter().map(parse).collect::<Result<_, _>>()?;
    say(&format!("{}: {}", file.display(), recipe.description));
    let n_steps = steps.len();
    for (step, (line, command)) in steps.into_iter().enumerate() {
        say(&format!("[{}/{n_steps}] tiercast {line}", step + 1));
        let code = commands::run(command).with_context(|| format!("step {}: {line}", step + 1))?;
        if code != ExitCode::SUCCESS {
            return Ok(code);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(step: &Step) -> Result<(String, Command), UsageError> {
    let line = step.run.join(" ");
    let words = std::iter::once("tiercast").chain(step.run.iter().map(String::as_str));
    match Arguments::try_parse_from(words) {
        Ok(Arguments {
            command: Command::Pipeline(_),
        }) => Err(UsageError(format!("step `{line}`: a recipe runs no recipe"))),
        Ok(arguments) => Ok((line, arguments.command)),
        Err(error) => Err(UsageError(format!("step `{line}`: {error}"))),
    }
}
