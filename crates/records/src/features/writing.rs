//! Writing features: as small as they get, the same bytes each time.

use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Builder, Int8Builder, ListBuilder, RecordBatch, StringArray, UInt16Builder, UInt32Array,
    UInt32Builder,
};
use parquet::file::metadata::KeyValue;

use super::{Features, VERSION_KEY};
use crate::disk::write_atomically;
use crate::error::{Fault, RecordsError};
use crate::table::{properties, write_batches};

/// Rows turned into columns at a time.
const CHUNK_ROWS: usize = 4096;

/// The files are committed, written once and read often: size counts, time does not.
const ZSTD_LEVEL: i32 = 15;

/// Writes one row per prompt, in order of prompt id; n-grams stay in their order. Rows must be of
/// one width and ids differ; messages count rows as given.
pub fn write(path: &Path, version: u32, rows: &[(String, Features)]) -> Result<(), RecordsError> {
    let sorted = sorted(path, rows)?;
    let with_dense = rows.iter().any(|(_, features)| !features.dense.is_empty());
    let schema = batch(&[], with_dense)
        .map_err(RecordsError::io(path, "written"))?
        .schema();
    let notes = vec![KeyValue::new(VERSION_KEY.to_owned(), version.to_string())];
    let chunks = sorted.chunks(CHUNK_ROWS).map(|rows| batch(rows, with_dense));
    write_atomically(path, |file| {
        write_batches(file, schema, properties(ZSTD_LEVEL, notes), chunks)
    })
}

type Row = (String, Features);

fn sorted<'a>(path: &Path, rows: &'a [Row]) -> Result<Vec<&'a Row>, RecordsError> {
    for (at, (_, features)) in rows.iter().enumerate() {
        check_widths(&rows[0].1, features).map_err(|fault| RecordsError::invalid(path, fault.at(Some(at as u64))))?;
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&at| &rows[at].0);
    if let Some(pair) = order.windows(2).find(|pair| rows[pair[0]].0 == rows[pair[1]].0) {
        let what = format!("prompt `{}` has a row already, row {}", rows[pair[1]].0, pair[0]);
        let fault = Fault::new("prompt_id", what, "Make the features of each prompt once");
        return Err(RecordsError::invalid(path, fault.at(Some(pair[1] as u64))));
    }
    Ok(order.into_iter().map(|at| &rows[at]).collect())
}

/// A network reads rows of one width.
pub(super) fn check_widths(first: &Features, row: &Features) -> Result<(), Fault> {
    let mend = "Make all features with one version of the code";
    let check = |column, expected: usize, found: usize| {
        let what = || format!("{found} values where the first row has {expected}");
        if expected == found {
            Ok(())
        } else {
            Err(Fault::new(column, what(), mend))
        }
    };
    check("surface", first.surface.len(), row.surface.len())?;
    check("embedding", first.embedding.len(), row.embedding.len())?;
    check("dense", first.dense.len(), row.dense.len())
}

fn batch(rows: &[&Row], with_dense: bool) -> io::Result<RecordBatch> {
    let ids = rows.iter().map(|(id, _)| id.as_str());
    let features = || rows.iter().map(|(_, features)| features);
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("prompt_id", Arc::new(StringArray::from_iter_values(ids))),
        (
            "ask_tokens",
            Arc::new(UInt32Array::from_iter_values(features().map(|row| row.ask_tokens))),
        ),
        (
            "context_tokens",
            Arc::new(UInt32Array::from_iter_values(features().map(|row| row.context_tokens))),
        ),
        ("surface", surface(features())),
        ("embedding", embedding(features().map(|row| &row.embedding))),
        ("word_hash", hashes(features().map(|row| &row.word_ngrams))),
        ("word_count", counts(features().map(|row| &row.word_ngrams))),
        ("char_hash", hashes(features().map(|row| &row.char_ngrams))),
        ("char_count", counts(features().map(|row| &row.char_ngrams))),
    ];
    if with_dense {
        let dense = embedding(features().map(|row| &row.dense));
        columns.insert(5, ("dense", dense));
    }
    RecordBatch::try_from_iter(columns).map_err(io::Error::other)
}

fn surface<'a>(rows: impl Iterator<Item = &'a Features>) -> ArrayRef {
    let mut list = ListBuilder::new(Float32Builder::new());
    rows.for_each(|row| list.append_value(row.surface.iter().copied().map(Some)));
    Arc::new(list.finish())
}

fn embedding<'a>(rows: impl Iterator<Item = &'a Vec<i8>>) -> ArrayRef {
    let mut list = ListBuilder::new(Int8Builder::new());
    rows.for_each(|row| list.append_value(row.iter().copied().map(Some)));
    Arc::new(list.finish())
}

fn hashes<'a>(rows: impl Iterator<Item = &'a Vec<(u32, u16)>>) -> ArrayRef {
    let mut list = ListBuilder::new(UInt32Builder::new());
    rows.for_each(|ngrams| list.append_value(ngrams.iter().map(|(hash, _)| Some(*hash))));
    Arc::new(list.finish())
}

fn counts<'a>(rows: impl Iterator<Item = &'a Vec<(u32, u16)>>) -> ArrayRef {
    let mut list = ListBuilder::new(UInt16Builder::new());
    rows.for_each(|ngrams| list.append_value(ngrams.iter().map(|(_, count)| Some(*count))));
    Arc::new(list.finish())
}
