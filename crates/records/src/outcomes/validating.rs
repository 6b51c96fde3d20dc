//! Validating: the checks of reading, but all problems of a file instead of the first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::gather::Gather;
use super::reading::read_file;
use super::{Outcomes, ReadOptions, Split};
use crate::error::{Problem, Problems, RecordsError};
use crate::manifest;

/// Problems listed in full.
const MAX_LISTED: usize = 20;

/// What a file holds and what is wrong with it. Counts are of the rows without a problem.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValidationReport {
    /// The file.
    pub file: PathBuf,
    /// Data rows, faulty ones included.
    pub n_rows: u64,
    /// Rows without a problem.
    pub n_outcomes: usize,
    /// Prompts.
    pub n_prompts: usize,
    /// Prompts by split.
    pub prompts_by_split: BTreeMap<Split, usize>,
    /// Models, by name.
    pub models: Vec<String>,
    /// How things were judged.
    pub score_kinds: Vec<String>,
    /// Problems in all.
    pub n_problems: u64,
    /// The first of them.
    pub problems: Vec<Problem>,
}

impl ValidationReport {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.n_problems == 0
    }
}

/// Checks one outcomes file, text included. Fails only where no rows can be had at all: a file that
/// is absent, not Parquet, or not the one its manifest describes.
pub fn validate(path: &Path) -> Result<ValidationReport, RecordsError> {
    manifest::check_file(path)?;
    let options = ReadOptions {
        with_text: true,
        ..ReadOptions::default()
    };
    let mut gather = Gather::new(&options);
    let mut problems = Problems::up_to(MAX_LISTED);
    read_file(path, true, &mut gather, &mut problems)?;
    let n_rows = gather.n_rows();
    Ok(report(path, n_rows, &gather.finish(), problems))
}

fn report(path: &Path, n_rows: u64, outcomes: &Outcomes, problems: Problems) -> ValidationReport {
    let mut prompts_by_split = BTreeMap::new();
    for prompt in &outcomes.prompts {
        *prompts_by_split.entry(prompt.split).or_default() += 1;
    }
    ValidationReport {
        file: path.to_path_buf(),
        n_rows,
        n_outcomes: outcomes.outcomes.len(),
        n_prompts: outcomes.prompts.len(),
        prompts_by_split,
        models: outcomes.models.iter().map(|model| model.name.clone()).collect(),
        score_kinds: outcomes.score_kinds.clone(),
        n_problems: problems.count,
        problems: problems.first,
    }
}
