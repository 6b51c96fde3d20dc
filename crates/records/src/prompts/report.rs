//! What a prompts file holds and what is wrong with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Prompt;
use super::gather::Gather;
use crate::error::{Problem, RecordsError};
use crate::outcomes::Split;

/// Problems shown in an error; `data validate` shows more.
const SHOWN: usize = 5;

/// What a file holds and what is wrong with it. Counts of prompts are of those without a problem.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PromptsReport {
    /// The file.
    pub file: PathBuf,
    /// `jsonl` or `parquet`.
    pub format: &'static str,
    /// Lines or rows that are not blank.
    pub n_rows: u64,
    /// Prompts.
    pub n_prompts: usize,
    /// Rows that repeat a prompt.
    pub n_merged: u64,
    /// Rows left out because something is wrong with them.
    pub n_invalid: u64,
    /// Prompts by split.
    pub prompts_by_split: BTreeMap<Split, usize>,
    /// Prompts by domain.
    pub prompts_by_domain: BTreeMap<String, usize>,
    /// Prompts with a reference answer.
    pub n_with_reference: usize,
    /// Prompts with a near-duplicate.
    pub n_near_duplicates: usize,
    /// What is not wrong but may not be meant.
    pub warnings: Vec<String>,
    /// Problems in all.
    pub n_problems: u64,
    /// The first of them.
    pub problems: Vec<Problem>,
}

impl PromptsReport {
    pub(super) fn new(file: &Path, format: &'static str, gather: Gather<'_>, prompts: &[Prompt]) -> Self {
        let other_references = (gather.n_other_references > 0).then(|| {
            let n = gather.n_other_references;
            format!("{n} rows have another `reference` than the first row of their prompt; the first is kept")
        });
        let mut report = Self {
            file: file.to_path_buf(),
            format,
            n_rows: gather.n_rows,
            n_prompts: prompts.len(),
            n_merged: gather.n_merged,
            n_invalid: gather.n_invalid,
            prompts_by_split: BTreeMap::new(),
            prompts_by_domain: BTreeMap::new(),
            n_with_reference: prompts.iter().filter(|prompt| prompt.reference.is_some()).count(),
            n_near_duplicates: 0,
            warnings: gather.unknown.iter().map(unknown).chain(other_references).collect(),
            n_problems: gather.problems.count,
            problems: gather.problems.first,
        };
        for prompt in prompts {
            *report.prompts_by_split.entry(prompt.split).or_default() += 1;
            *report.prompts_by_domain.entry(prompt.domain.clone()).or_default() += 1;
        }
        report
    }

    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.n_problems == 0
    }

    /// The problems as an error; with `skip_invalid` only that there is no prompt at all.
    pub(super) fn refuse(&self, skip_invalid: bool) -> Result<(), RecordsError> {
        if self.n_prompts > 0 && (self.is_ok() || skip_invalid) {
            return Ok(());
        }
        let shown = self.problems.iter().take(SHOWN);
        let lines: String = shown.map(|problem| format!("\n  {problem}")).collect();
        let n_more = self.n_problems.saturating_sub(SHOWN as u64);
        let more = match n_more {
            0 => String::new(),
            n => format!("\n  and {n} more, most of which `tiercast data validate` lists"),
        };
        Err(RecordsError::InvalidPrompts {
            file: self.file.clone(),
            problems: format!("{lines}{more}"),
            n_problems: self.n_problems,
            n_prompts: self.n_prompts,
        })
    }
}

fn unknown((field, count): (&String, &u64)) -> String {
    format!("field `{field}`, in {count} lines, is not read")
}
