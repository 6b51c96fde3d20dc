//! What every table here shares: how Parquet is opened, which types pass, and how it is written.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::error::{Fault, RecordsError};

/// Rows decoded at a time: bounds memory, prompt text included.
const BATCH_ROWS: usize = 4096;

/// Distinct values of a column up to these many bytes are stored once.
const DICTIONARY_BYTES: usize = 8 << 20;

/// An open Parquet file, its metadata read.
pub(crate) fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, RecordsError> {
    let file = File::open(path).map_err(RecordsError::io(path, "opened"))?;
    if path.is_dir() {
        let source = io::Error::new(io::ErrorKind::IsADirectory, "it is a folder: name a Parquet file in it");
        return Err(RecordsError::io(path, "read")(source));
    }
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(RecordsError::not_parquet(path))
}

/// The batches of `builder`, only with the columns `wanted`.
pub(crate) fn batches(
    path: &Path,
    builder: ParquetRecordBatchReaderBuilder<File>,
    wanted: &[&str],
) -> Result<ParquetRecordBatchReader, RecordsError> {
    let roots = builder.schema().fields().iter().enumerate();
    let roots: Vec<usize> = roots
        .filter(|(_, field)| wanted.contains(&field.name().as_str()))
        .map(|(root, _)| root)
        .collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    builder
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(RecordsError::not_parquet(path))
}

/// What a column may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
}

impl Kind {
    fn takes(self, data_type: &DataType) -> bool {
        match (self, data_type) {
            (kind, DataType::Dictionary(_, values)) => kind.takes(values),
            (_, DataType::Null) => true,
            (Self::Text, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => true,
            (Self::Text, _) => false,
            (Self::Number, data_type) => data_type.is_numeric(),
        }
    }
}

/// Whether `column` is there where it must be, and of a type that can be read.
pub(crate) fn check_column(schema: &Schema, column: &'static str, kind: Kind, required: bool) -> Result<(), Fault> {
    match schema.field_with_name(column) {
        Err(_) if required => Err(missing(schema, column)),
        Ok(field) if !kind.takes(field.data_type()) => Err(wrong_type(column, kind, field.data_type())),
        _ => Ok(()),
    }
}

fn missing(schema: &Schema, column: &'static str) -> Fault {
    let present: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    Fault::new(
        column,
        "the column is missing",
        format!("Add or rename it; the file has: {}", present.join(", ")),
    )
}

fn wrong_type(column: &'static str, kind: Kind, data_type: &DataType) -> Fault {
    let wanted = match kind {
        Kind::Text => "text",
        Kind::Number => "numbers",
    };
    Fault::new(
        column,
        format!("it holds {data_type} where {wanted} are read"),
        format!("Write the column as {wanted}"),
    )
}

/// A column as text, if it is there.
pub(crate) fn text_column(batch: &RecordBatch, column: &str) -> Result<Option<StringArray>, ArrowError> {
    let text = cast_column(batch, column, &DataType::Utf8)?;
    Ok(text.map(|array| StringArray::from(array.to_data())))
}

/// A column as numbers, if it is there.
pub(crate) fn number_column(batch: &RecordBatch, column: &str) -> Result<Option<Float64Array>, ArrowError> {
    let numbers = cast_column(batch, column, &DataType::Float64)?;
    Ok(numbers.map(|array| Float64Array::from(array.to_data())))
}

/// A column as `data_type`, if it is there.
pub(crate) fn cast_column(
    batch: &RecordBatch,
    column: &str,
    data_type: &DataType,
) -> Result<Option<ArrayRef>, ArrowError> {
    batch
        .column_by_name(column)
        .map(|array| cast(array, data_type))
        .transpose()
}

/// The cell, or nothing where the column is absent or the cell null.
pub(crate) fn text_at(column: Option<&StringArray>, row: usize) -> Option<&str> {
    column.filter(|array| array.is_valid(row)).map(|array| array.value(row))
}

/// The cell, or nothing where the column is absent or the cell null.
pub(crate) fn number_at(column: Option<&Float64Array>, row: usize) -> Option<f64> {
    column.filter(|array| array.is_valid(row)).map(|array| array.value(row))
}

/// Writer settings under which equal rows give equal bytes: nothing of time, host or version.
pub(crate) fn properties(zstd_level: i32, notes: Vec<KeyValue>) -> WriterProperties {
    let level = ZstdLevel::try_new(zstd_level).expect("the levels used here are between 1 and 22");
    WriterProperties::builder()
        .set_created_by("tiercast".to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_key_value_metadata(Some(notes).filter(|notes| !notes.is_empty()))
        .build()
}

/// Writes `batches`, all of `schema`, as one Parquet file.
pub(crate) fn write_batches(
    file: &mut File,
    schema: Arc<Schema>,
    properties: WriterProperties,
    batches: impl IntoIterator<Item = io::Result<RecordBatch>>,
) -> io::Result<()> {
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(io::Error::other)?;
    for batch in batches {
        writer.write(&batch?).map_err(io::Error::other)?;
    }
    writer.close().map_err(io::Error::other)?;
    Ok(())
}
