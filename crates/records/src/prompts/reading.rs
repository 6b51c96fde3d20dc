//! Reading prompts of either format, which the first bytes tell.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::gather::Gather;
use super::{Prompt, PromptsReport, jsonl, rows, splitting};
use crate::error::{Problem, RecordsError};
use crate::manifest;
use crate::table::open;

/// Every Parquet file begins so.
const PARQUET: &[u8] = b"PAR1";

/// Prompts and what the reading found.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompts {
    /// In the order of the file, each once.
    pub prompts: Vec<Prompt>,
    /// Counts, warnings and, where invalid rows were skipped, their problems.
    pub report: PromptsReport,
}

/// What somebody who knows more of prompts than this crate has against one, such as that its judge cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// The field to blame.
    pub field: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub mend: String,
}

/// Reads a prompts file. Rows with a problem are an error that lists the first few with their
/// places; with `skip_invalid` they are left out and counted. A file listed by a manifest beside it
/// must be unchanged.
pub fn read(path: &Path, skip_invalid: bool) -> Result<Prompts, RecordsError> {
    read_checked(path, skip_invalid, |_| Ok(()))
}

/// The same where `check` looks at every prompt too: what it objects to is a problem like any other.
pub fn read_checked(
    path: &Path,
    skip_invalid: bool,
    check: impl FnMut(&Prompt) -> Result<(), Objection>,
) -> Result<Prompts, RecordsError> {
    let prompts = examine(path, check)?;
    prompts.report.refuse(skip_invalid)?;
    Ok(prompts)
}

/// Checks a prompts file, with `check` looking at every prompt too. Fails only where no rows can be had at all.
pub fn validate_checked(
    path: &Path,
    check: impl FnMut(&Prompt) -> Result<(), Objection>,
) -> Result<PromptsReport, RecordsError> {
    Ok(examine(path, check)?.report)
}

/// Whether `path` holds prompts rather than outcomes: lines of JSON, or a table with texts and no
/// models.
pub fn is_prompts_file(path: &Path) -> Result<bool, RecordsError> {
    if !is_parquet(path)? {
        return begins_with_object(path);
    }
    let schema = open(path)?;
    let has = |column: &str| schema.schema().field_with_name(column).is_ok();
    Ok((has("prompt") || has("messages")) && !has("model") && !has("score"))
}

fn examine(path: &Path, check: impl FnMut(&Prompt) -> Result<(), Objection>) -> Result<Prompts, RecordsError> {
    manifest::check_file(path)?;
    let mut gather = Gather::new(stem(path), Box::new(check));
    let format = match is_parquet(path)? {
        true => rows::read(path, &mut gather).map(|()| "parquet")?,
        false => jsonl::read(path, &mut gather).map(|()| "jsonl")?,
    };
    if gather.n_rows == 0 {
        gather.problems.add(no_prompts());
    }
    let (warnings, n_near) = splitting::assign(&mut gather.candidates);
    let candidates = std::mem::take(&mut gather.candidates);
    let prompts: Vec<Prompt> = candidates.into_iter().map(|candidate| candidate.prompt).collect();
    let mut report = PromptsReport::new(path, format, gather, &prompts);
    report.warnings.extend(warnings);
    report.n_near_duplicates = n_near;
    Ok(Prompts { prompts, report })
}

fn no_prompts() -> Problem {
    Problem {
        row: None,
        line: None,
        column: None,
        what: "the file has no prompts".to_owned(),
        mend: "Write at least one, such as {\"prompt\": \"What is 2 + 2?\"}".to_owned(),
    }
}

fn is_parquet(path: &Path) -> Result<bool, RecordsError> {
    Ok(first_bytes(path)?.starts_with(PARQUET))
}

fn begins_with_object(path: &Path) -> Result<bool, RecordsError> {
    let bytes = first_bytes(path)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    Ok(bytes.trim_ascii_start().starts_with(b"{"))
}

/// Enough to tell the formats apart, a few blank lines included.
fn first_bytes(path: &Path) -> Result<Vec<u8>, RecordsError> {
    let file = File::open(path).map_err(RecordsError::io(path, "opened"))?;
    if path.is_dir() {
        let source = io::Error::new(io::ErrorKind::IsADirectory, "it is a folder: name a file in it");
        return Err(RecordsError::io(path, "read")(source));
    }
    let mut bytes = Vec::new();
    file.take(4096)
        .read_to_end(&mut bytes)
        .map_err(RecordsError::io(path, "read"))?;
    Ok(bytes)
}

/// Data set of prompts that do not name one.
fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}
