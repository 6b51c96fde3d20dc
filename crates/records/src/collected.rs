//! What `collect` and `judge` leave for others: completions (every reply, no scores) and outcome rows
//! with prompt, reference and response, in the interchange format. Both are written row by row as
//! they come, so that memory does not grow with a run.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;

use crate::disk::write_atomically;
use crate::error::RecordsError;
use crate::table::properties;

mod columns;
mod completions;
mod scored;

#[cfg(test)]
mod tests;

pub use completions::{Completion, write_completions};
pub use scored::{ScoredSample, ScoredSink, write_outcomes};

/// Rows held while writing, replies included.
const CHUNK_ROWS: usize = 2048;

/// Bytes of text held while writing: long replies make short chunks.
const CHUNK_BYTES: usize = 16 << 20;

/// Written once, read often.
const ZSTD_LEVEL: i32 = 6;

/// How tokens were counted where the provider reports none.
const ESTIMATED: &str = "characters/4";

/// Column `token_source`.
fn token_source(is_estimated: bool) -> &'static str {
    if is_estimated { ESTIMATED } else { "api" }
}

/// Writes `path` by handing `fill` an open table. Whole or not there; an error of `fill` is passed on.
fn write_table<'f, E: From<RecordsError>>(
    path: &Path,
    schema: SchemaRef,
    fill: impl FnOnce(&mut Table<'_>) -> Result<(), E> + 'f,
) -> Result<u64, E> {
    let mut given_up = None;
    let mut n_rows = 0;
    let written = write_atomically(path, |file| {
        let mut table = Table::new(path, file, schema)?;
        if let Err(error) = fill(&mut table) {
            given_up = Some(error);
            return Err(io::Error::other("given up"));
        }
        n_rows = table.n_rows;
        table.writer.close().map_err(io::Error::other)?;
        Ok(())
    });
    match given_up {
        Some(error) => Err(error),
        None => written.map(|()| n_rows).map_err(E::from),
    }
}

/// A Parquet file being written.
struct Table<'f> {
    path: &'f Path,
    writer: ArrowWriter<&'f mut File>,
    n_rows: u64,
}

impl<'f> Table<'f> {
    fn new(path: &'f Path, file: &'f mut File, schema: SchemaRef) -> io::Result<Self> {
        let properties = properties(ZSTD_LEVEL, Vec::new());
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(io::Error::other)?;
        Ok(Self {
            path,
            writer,
            n_rows: 0,
        })
    }

    fn write(&mut self, batch: io::Result<RecordBatch>) -> Result<(), RecordsError> {
        let write = || -> io::Result<()> {
            let batch = batch?;
            self.n_rows += batch.num_rows() as u64;
            self.writer.write(&batch).map_err(io::Error::other)?;
            // A row group at a time is held; its size is bounded by that of the texts.
            if self.writer.in_progress_size() > CHUNK_BYTES {
                self.writer.flush().map_err(io::Error::other)?;
            }
            Ok(())
        };
        write().map_err(RecordsError::io(self.path, "written"))
    }
}

/// The schema of a batch without rows.
fn schema_of(batch: io::Result<RecordBatch>) -> SchemaRef {
    batch.map_or_else(|_| Arc::new(arrow::datatypes::Schema::empty()), |batch| batch.schema())
}
