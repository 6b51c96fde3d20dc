//! Reading outcomes: batch by batch, without the replies, and without the prompts unless asked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::cells::{Cells, check_schema, columns};
use super::gather::Gather;
use super::{Outcomes, Split};
use crate::error::{Problem, Problems, RecordsError};
use crate::manifest;
use crate::table::{batches, open, text_at, text_column};

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// Whether to read the prompts' text.
    pub with_text: bool,
    /// Only these models, by name. One without a row is an error.
    pub models: Option<Vec<String>>,
    /// Only these splits.
    pub splits: Option<Vec<Split>>,
}

/// Reads outcomes files as one. The first broken rule is an error that names file, row and column.
/// Rows that the options leave out must be right in themselves and keep questions inside one
/// split; only among the others must pairs be unique. Files listed by a manifest beside them must
/// be unchanged.
pub fn read(paths: &[PathBuf], options: &ReadOptions) -> Result<Outcomes, RecordsError> {
    if paths.is_empty() {
        return Err(RecordsError::NoFiles);
    }
    check_models_are_known(paths, options)?;
    let mut gather = Gather::new(options);
    for path in paths {
        manifest::check_file(path)?;
        let mut problems = Problems::up_to(1);
        read_file(path, options.with_text, &mut gather, &mut problems)?;
        problems.refuse(path)?;
    }
    let outcomes = gather.finish();
    check_models(
        options,
        &outcomes.models.iter().map(|model| model.name.clone()).collect(),
        paths,
    )?;
    Ok(outcomes)
}

/// Reads one file into `gather`. Problems that end the reading are those of the columns; whoever
/// wants only one problem gets it after the batch in which it stands.
pub(super) fn read_file(
    path: &Path,
    with_text: bool,
    gather: &mut Gather<'_>,
    problems: &mut Problems,
) -> Result<(), RecordsError> {
    let builder = open(path)?;
    gather.start_file(path);
    let faulty = check_schema(builder.schema());
    if !faulty.is_empty() {
        faulty.into_iter().for_each(|problem| problems.add(problem));
        return Ok(());
    }
    let reader = batches(path, builder, &columns(with_text))?;
    read_batches(path, reader, gather, problems)?;
    if gather.n_rows() == 0 {
        problems.add(no_rows());
    }
    Ok(())
}

fn read_batches(
    path: &Path,
    reader: ParquetRecordBatchReader,
    gather: &mut Gather<'_>,
    problems: &mut Problems,
) -> Result<(), RecordsError> {
    for batch in reader {
        let batch = batch.map_err(RecordsError::not_parquet(path))?;
        let cells = Cells::of(&batch).map_err(RecordsError::not_parquet(path))?;
        for i in 0..batch.num_rows() {
            let at = gather.next_row();
            if let Some(row) = cells.row(i, at, problems) {
                gather.add(&row, at, problems);
            }
        }
        if problems.one_was_enough() {
            break;
        }
    }
    Ok(())
}

fn no_rows() -> Problem {
    let mend = "Write at least one row per prompt and model".to_owned();
    Problem {
        row: None,
        line: None,
        column: None,
        what: "the file has no rows".to_owned(),
        mend,
    }
}

/// A misspelt model is found by its one column, before anything else is decoded.
fn check_models_are_known(paths: &[PathBuf], options: &ReadOptions) -> Result<(), RecordsError> {
    if options.models.is_none() {
        return Ok(());
    }
    let mut known = BTreeSet::new();
    for path in paths {
        collect_models(path, &mut known)?;
    }
    check_models(options, &known, paths)
}

fn collect_models(path: &Path, known: &mut BTreeSet<String>) -> Result<(), RecordsError> {
    let builder = open(path)?;
    if let Some(problem) = check_schema(builder.schema()).into_iter().next() {
        return Err(RecordsError::invalid(path, problem));
    }
    for batch in batches(path, builder, &["model"])? {
        let batch = batch.map_err(RecordsError::not_parquet(path))?;
        let models = text_column(&batch, "model").map_err(RecordsError::not_parquet(path))?;
        for model in (0..batch.num_rows()).filter_map(|i| text_at(models.as_ref(), i)) {
            if !known.contains(model) {
                known.insert(model.to_owned());
            }
        }
    }
    Ok(())
}

fn check_models(options: &ReadOptions, known: &BTreeSet<String>, paths: &[PathBuf]) -> Result<(), RecordsError> {
    let asked = options.models.iter().flatten();
    let tiers: Vec<String> = asked.filter(|model| !known.contains(*model)).cloned().collect();
    if tiers.is_empty() {
        return Ok(());
    }
    Err(RecordsError::NoRowsForTier {
        tiers,
        known: known.iter().cloned().collect(),
        files: paths.to_vec(),
    })
}
