//! `tiercast`: one binary, a subcommand per stage.

mod arguments;
mod collect;
mod commands;
mod config;
mod data;
mod doctor;
mod encoders;
mod judge;
mod observing;
mod output;
mod pipeline;
mod plan;
mod policies;
mod progress;
mod quickstart;
mod reference;
mod replay;
mod replies;
mod route;
mod serve;
mod suite;
mod tier;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tiercast_predictor::device::DeviceError;
use tiercast_server::settings::SettingsError;
use tiercast_server::state::StartError;

use crate::arguments::{Arguments, UsageError};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    log_to_stderr();
    if arguments.until_stdin_closes {
        pipeline::end_with_stdin();
    }
    if arguments.killed_with_stdin {
        pipeline::die_with_stdin();
    }
    match commands::run(arguments.command) {
        Ok(code) if code == ExitCode::SUCCESS && output::is_incomplete() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

/// Help and version are answers (0); anything else is wrong usage (2).
fn usage(error: &clap::Error) -> ExitCode {
    // Nothing better can be done when standard error is closed.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// Prints an error once, with its causes.
#[expect(clippy::print_stderr, reason = "the one place where an error reaches the user")]
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    let is_usage = |cause: &(dyn std::error::Error + 'static)| {
        // Stands for the settings' error and hides it from the chain.
        let cannot_start = matches!(cause.downcast_ref(), Some(StartError::Settings(_)));
        cannot_start || cause.is::<UsageError>() || cause.is::<SettingsError>() || cause.is::<DeviceError>()
    };
    ExitCode::from(if error.chain().any(is_usage) { 2 } else { 1 })
}

/// `TIERCAST_LOG` takes a filter such as `debug`; by default warnings are shown, never prompt text.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var("TIERCAST_LOG")
        .with_default_directive(tracing_subscriber::filter::LevelFilter::WARN.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
