//! `evaluate --suite`: trains, measures and prints a suite of `evals/suites`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use tiercast_evaluation::render::suite as render;
use tiercast_evaluation::suite::result::{self, SCHEMA_VERSION, SuiteResult};
use tiercast_records::outcomes::Split;

use crate::arguments::{EvaluateArguments, SuiteArguments, UsageError};
use crate::output::print;
use crate::progress::say;

mod data;
mod definition;
mod folds;
mod parts;
mod runner;

use definition::{Part, Suite};

/// Which rows the figures are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// The test split, or the folds of the suite over all rows: for reporting.
    Test,
    /// The validation split: for choosing.
    Validation,
    /// Folds inside the train split: for choosing.
    Inner,
}

impl Rows {
    /// Splits that are read; others are never held.
    fn splits(self) -> &'static [Split] {
        match self {
            Self::Test => &[Split::Train, Split::Validation, Split::Test],
            Self::Validation => &[Split::Train, Split::Validation],
            Self::Inner => &[Split::Train],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Validation => "validation",
            Self::Inner => "inner folds of train",
        }
    }
}

/// Runs the suite that was named, or all.
pub(crate) fn run(arguments: &EvaluateArguments, name: &str) -> anyhow::Result<()> {
    let options = &arguments.suite;
    let rows = rows(arguments)?;
    let suites = definition::find(&options.suites, name)?;
    let is_one = suites.len() == 1;
    for suite in suites {
        let suite = with_parts(suite, &options.part)?;
        let Some(result) = run_one(arguments, &suite, rows)? else {
            continue;
        };
        let folder = match &arguments.out {
            Some(out) if is_one => out.clone(),
            Some(out) => out.join(&suite.name),
            None => default_folder(&suite, rows, options),
        };
        print(&render::table(&result));
        render::write(&result, &folder).with_context(|| format!("writing the result to {}", folder.display()))?;
        say(&format!("result written to {}", folder.join("result.md").display()));
    }
    Ok(())
}

fn rows(arguments: &EvaluateArguments) -> Result<Rows, UsageError> {
    match (arguments.split, arguments.suite.inner) {
        (Split::Test, true) => Ok(Rows::Inner),
        (Split::Test, false) => Ok(Rows::Test),
        (Split::Validation, false) => Ok(Rows::Validation),
        (_, true) => Err(UsageError(
            "--inner uses the train split alone: leave --split out".to_owned(),
        )),
        (split, false) => {
            let what = format!("a suite reports on test or validation, not on {}", split.name());
            Err(UsageError(what))
        }
    }
}

/// The suite with the parts named, all where none is.
fn with_parts(mut suite: Suite, wanted: &[String]) -> Result<Suite, UsageError> {
    let known: Vec<String> = suite.part.iter().map(|part| part.name.clone()).collect();
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(name)) {
        let what = format!(
            "suite `{}` has no part `{unknown}`; it has: {}",
            suite.name,
            known.join(", ")
        );
        return Err(UsageError(what));
    }
    suite
        .part
        .retain(|part| wanted.is_empty() || wanted.contains(&part.name));
    Ok(suite)
}

/// What is committed are whole suites on test; anything else goes where git does not look.
fn default_folder(suite: &Suite, rows: Rows, options: &SuiteArguments) -> PathBuf {
    let name = &suite.name;
    match rows {
        Rows::Test if options.part.is_empty() => Path::new("evals/results").join(name),
        Rows::Test => Path::new("runs/suites").join(format!("{name}-{}", options.part.join("-"))),
        Rows::Validation => Path::new("runs/suites").join(format!("{name}-validation")),
        Rows::Inner => Path::new("runs/suites").join(format!("{name}-inner")),
    }
}

/// `None` where the data is not here.
fn run_one(arguments: &EvaluateArguments, suite: &Suite, rows: Rows) -> anyhow::Result<Option<SuiteResult>> {
    let folder = &arguments.suite.data;
    let missing: Vec<&str> = suite
        .files()
        .into_iter()
        .filter(|file| data::locate(folder, file).is_none())
        .collect();
    if !missing.is_empty() {
        return skip(suite, &missing, folder).map(|()| None);
    }
    let locate = |file: &str| data::locate(folder, file).with_context(|| format!("{file} went away"));
    let mut parts = Vec::new();
    for part in &suite.part {
        say(&format!("suite {}, part {}", suite.name, part.name));
        parts.extend(parts::run(suite, part, rows, arguments, &locate)?);
    }
    let data: Vec<_> = files_of(suite)
        .iter()
        .map(|file| data::data_file(&locate(file)?))
        .collect::<anyhow::Result<_>>()?;
    Ok(Some(SuiteResult {
        schema_version: SCHEMA_VERSION,
        suite: suite.name.clone(),
        title: suite.title.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: commit(),
        rows: rows.name().to_owned(),
        seed: arguments.seed,
        n_bootstrap: arguments.replicates as usize,
        data: data
            .into_iter()
            .map(|file| result::DataFile {
                file: file.file,
                sha256: file.sha256,
            })
            .collect(),
        parts,
        notes: suite.notes.clone(),
    }))
}

/// Files of the parts that run.
fn files_of(suite: &Suite) -> BTreeSet<&str> {
    let sets = |part: &Part| part.sets.clone();
    suite
        .part
        .iter()
        .flat_map(sets)
        .map(|set| suite.set(&set).file.as_str())
        .collect()
}

/// Says what is missing; an error where the machine must have it.
fn skip(suite: &Suite, missing: &[&str], folder: &Path) -> anyhow::Result<()> {
    let what = format!(
        "suite `{}` is skipped: {} is neither in {} nor in datasets/reference; name the folder with --data",
        suite.name,
        missing.join(", "),
        folder.display()
    );
    if is_required("shared") {
        anyhow::bail!("{what}, or take `shared` out of TIERCAST_REQUIRE");
    }
    print(&what);
    Ok(())
}

/// Whether what not every machine has must be there: `TIERCAST_REQUIRE=shared`.
#[expect(clippy::disallowed_methods, reason = "read in the binary, as the lint asks")]
fn is_required(what: &str) -> bool {
    std::env::var("TIERCAST_REQUIRE").is_ok_and(|list| list.split(',').any(|name| name == what))
}

/// Commit of the checkout; `-dirty` where tracked files were changed.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    // Results are written by suites that ran before this one, and change nothing that is measured.
    let changes = git(&[
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ":/",
        ":(top,exclude)evals/results",
    ]);
    let is_dirty = changes.is_some_and(|changes| !changes.is_empty());
    if is_dirty { format!("{commit}-dirty") } else { commit }
}
