//! Writing segments of a journal: one file for what was served, one for what was said of it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Float32Type, Float64Type, Int64Type, Schema, SchemaRef, UInt32Type};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::columns::{
    Column, ONE_LENGTH, features, flags, lists, maybe_numbers, maybe_text, maybe_words, number_lists, numbers,
    structure, text, words,
};
use super::{Call, Expected, Feedback, KIND_KEY, Role, SegmentKind, Served, VERSION_KEY, Verdict};
use crate::disk::write_atomically;
use crate::error::RecordsError;

/// Rows turned into columns at a time, and text held meanwhile.
const CHUNK_ROWS: usize = 2048;
const CHUNK_BYTES: usize = 8 << 20;

/// Rows, and bytes, that a reader finds by themselves.
const GROUP_ROWS: usize = 1 << 15;
const GROUP_BYTES: usize = 32 << 20;

/// Written while serving, on a core that has other work: a higher level takes twice the time for a few
/// per cent.
const ZSTD_LEVEL: i32 = 3;

/// Columns that hardly repeat: a dictionary of them would be given up half-way.
const UNIQUE: [&str; 6] = [
    "id",
    "prompt_hash",
    "prompt",
    "reply",
    "features.embedding",
    "features.dense",
];

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows.
    pub rows: u64,
    /// Smallest and largest `time_ms` of them, milliseconds since 1970; nothing without rows.
    pub times_ms: Option<(i64, i64)>,
}

/// Writes the served rows that `fill` pushes, in that order. Whole or not there: an error of `fill` is passed
/// on, and leaves nothing. Memory is bounded by a row group, texts included.
pub fn write_served<E: From<RecordsError>>(
    path: &Path,
    fill: impl FnOnce(&mut Sink<'_, Served>) -> Result<(), E>,
) -> Result<Written, E> {
    write(path, fill)
}

/// Writes the feedback that `fill` pushes, in that order; else as [`write_served`].
pub fn write_feedback<E: From<RecordsError>>(
    path: &Path,
    fill: impl FnOnce(&mut Sink<'_, Feedback>) -> Result<(), E>,
) -> Result<Written, E> {
    write(path, fill)
}

fn write<R: Row, E: From<RecordsError>>(
    path: &Path,
    fill: impl FnOnce(&mut Sink<'_, R>) -> Result<(), E>,
) -> Result<Written, E> {
    let mut outcome = None;
    let written = write_atomically(path, |file| {
        let mut sink = Sink::new(path, file)?;
        if let Err(error) = fill(&mut sink) {
            outcome = Some(Err(error));
            return Err(io::Error::other("given up"));
        }
        outcome = Some(Ok(sink.finish()?));
        Ok(())
    });
    match (outcome, written) {
        (Some(Err(error)), _) => Err(error),
        (_, Err(error)) => Err(error.into()),
        (outcome, Ok(())) => outcome.expect("the file was filled, or it was not written"),
    }
}

/// Rows that lie in segments.
pub(super) trait Row {
    const KIND: SegmentKind;
    fn batch(rows: &[Self]) -> RecordBatch
    where
        Self: Sized;
    fn time_ms(&self) -> i64;
    /// Bytes of its texts.
    fn text_bytes(&self) -> usize;
}

impl Row for Served {
    const KIND: SegmentKind = SegmentKind::Served;

    fn batch(rows: &[Self]) -> RecordBatch {
        served_batch(rows)
    }

    fn time_ms(&self) -> i64 {
        self.time_ms
    }

    fn text_bytes(&self) -> usize {
        [&self.prompt, &self.reply].into_iter().flatten().map(String::len).sum()
    }
}

impl Row for Feedback {
    const KIND: SegmentKind = SegmentKind::Feedback;

    fn batch(rows: &[Self]) -> RecordBatch {
        feedback_batch(rows)
    }

    fn time_ms(&self) -> i64 {
        self.time_ms
    }

    fn text_bytes(&self) -> usize {
        self.comment.as_ref().map_or(0, String::len)
    }
}

/// Takes the rows of a segment, of [`Served`] or of [`Feedback`].
#[derive(Debug)]
pub struct Sink<'f, R> {
    path: &'f Path,
    writer: ArrowWriter<&'f mut File>,
    chunk: Vec<R>,
    chunk_bytes: usize,
    written: Written,
}

#[expect(private_bounds, reason = "the two kinds of rows are all there are")]
impl<'f, R: Row> Sink<'f, R> {
    fn new(path: &'f Path, file: &'f mut File) -> io::Result<Self> {
        Ok(Self {
            path,
            writer: writer(file, R::batch(&[]).schema(), R::KIND)?,
            chunk: Vec::new(),
            chunk_bytes: 0,
            written: Written {
                rows: 0,
                times_ms: None,
            },
        })
    }

    /// Adds a row. Fails where the disk does.
    pub fn push(&mut self, row: R) -> Result<(), RecordsError> {
        let time_ms = row.time_ms();
        let (min, max) = self.written.times_ms.unwrap_or((time_ms, time_ms));
        self.written.times_ms = Some((min.min(time_ms), max.max(time_ms)));
        self.written.rows += 1;
        self.chunk_bytes += row.text_bytes();
        self.chunk.push(row);
        if self.chunk.len() < CHUNK_ROWS && self.chunk_bytes < CHUNK_BYTES {
            return Ok(());
        }
        self.write_chunk().map_err(RecordsError::io(self.path, "written"))
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        self.writer.write(&R::batch(&self.chunk))?;
        self.chunk.clear();
        self.chunk_bytes = 0;
        if self.writer.in_progress_rows() >= GROUP_ROWS || self.writer.in_progress_size() >= GROUP_BYTES {
            self.writer.flush()?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Written> {
        self.write_chunk()?;
        self.writer.close()?;
        Ok(self.written)
    }
}

fn writer(file: &mut File, schema: SchemaRef, kind: SegmentKind) -> io::Result<ArrowWriter<&mut File>> {
    let notes = vec![
        KeyValue::new(VERSION_KEY.to_owned(), kind.version().to_string()),
        KeyValue::new(KIND_KEY.to_owned(), kind.name().to_owned()),
    ];
    let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("the level is between 1 and 22");
    let mut properties = WriterProperties::builder()
        .set_created_by("tiercast".to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_key_value_metadata(Some(notes));
    for column in UNIQUE {
        let path = ColumnPath::new(column.split('.').map(str::to_owned).collect());
        properties = properties.set_column_dictionary_enabled(path, false);
    }
    ArrowWriter::try_new(file, schema, Some(properties.build())).map_err(io::Error::from)
}

fn batch(columns: Vec<Column>) -> RecordBatch {
    let (fields, cells): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), cells).expect(ONE_LENGTH)
}

pub(super) fn served_batch(rows: &[Served]) -> RecordBatch {
    let rows = || rows.iter();
    batch(vec![
        text("id", rows().map(|row| row.id.as_str())),
        numbers::<Int64Type>("time_ms", rows().map(|row| row.time_ms)),
        words("endpoint", rows().map(|row| &*row.endpoint)),
        maybe_text("session", rows().map(|row| row.session.as_deref())),
        words("cohort", rows().map(|row| &*row.cohort)),
        words("task", rows().map(|row| &*row.task)),
        flags("task_is_told", rows().map(|row| row.task_is_told)),
        words("policy", rows().map(|row| &*row.policy)),
        words("reason", rows().map(|row| &*row.reason)),
        maybe_words("rule", rows().map(|row| row.rule.as_deref())),
        words("checkpoint", rows().map(|row| &*row.checkpoint)),
        numbers::<UInt32Type>("feature_version", rows().map(|row| row.feature_version)),
        maybe_numbers::<Float32Type>("target", rows().map(|row| row.target)),
        numbers::<Float64Type>("propensity", rows().map(|row| row.propensity)),
        numbers::<UInt32Type>("chosen", rows().map(|row| position(row.chosen))),
        lists("tiers", rows().map(|row| row.tiers.len()), expected(rows())),
        flags("evidence", rows().map(|row| row.evidence)),
        numbers::<Float32Type>("overhead_ms", rows().map(|row| row.overhead_ms)),
        lists("calls", rows().map(|row| row.calls.len()), calls(rows())),
        maybe_numbers::<UInt32Type>("answered_by", rows().map(|row| row.answered_by.map(position))),
        text("prompt_hash", rows().map(|row| row.prompt_hash.as_str())),
        features("features", rows().map(|row| row.features.as_ref())),
        maybe_text("prompt", rows().map(|row| row.prompt.as_deref())),
        maybe_text("reply", rows().map(|row| row.reply.as_deref())),
    ])
}

/// Positions in lists of a row, which has nowhere near 2^32 tiers or calls; one that does not fit points
/// at nothing, as it did before.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn expected<'a>(rows: impl Iterator<Item = &'a Served>) -> Column {
    let tiers: Vec<&Expected> = rows.flat_map(|row| &row.tiers).collect();
    let tiers = || tiers.iter().copied();
    let columns = vec![
        words("tier", tiers().map(|tier| &*tier.tier)),
        maybe_words("predicted_as", tiers().map(|tier| tier.predicted_as.as_deref())),
        numbers::<Float32Type>("quality_mean", tiers().map(|tier| tier.quality_mean)),
        number_lists::<Float32Type, _>("quality_pmf", tiers().map(|tier| &tier.quality_pmf)),
        numbers::<Float64Type>("cost_usd", tiers().map(|tier| tier.cost_usd)),
        numbers::<Float32Type>("input_tokens", tiers().map(|tier| tier.input_tokens)),
        numbers::<Float32Type>("output_tokens", tiers().map(|tier| tier.output_tokens)),
        maybe_numbers::<Float32Type>("latency_p95_ms", tiers().map(|tier| tier.latency_p95_ms)),
        flags("acceptable", tiers().map(|tier| tier.acceptable)),
        maybe_words("excluded", tiers().map(|tier| tier.excluded.as_deref())),
    ];
    structure("item", columns, None)
}

fn calls<'a>(rows: impl Iterator<Item = &'a Served>) -> Column {
    let calls: Vec<&Call> = rows.flat_map(|row| &row.calls).collect();
    let calls = || calls.iter().copied();
    let columns = vec![
        words("tier", calls().map(|call| &*call.tier)),
        words("role", calls().map(|call| Role::name(call.role))),
        words("outcome", calls().map(|call| &*call.outcome)),
        maybe_words("error", calls().map(|call| call.error.as_deref())),
        numbers::<Float64Type>("input_tokens", calls().map(|call| call.input_tokens)),
        numbers::<Float64Type>("cached_tokens", calls().map(|call| call.cached_tokens)),
        numbers::<Float64Type>("output_tokens", calls().map(|call| call.output_tokens)),
        flags("is_estimated", calls().map(|call| call.is_estimated)),
        numbers::<Float64Type>("cost_usd", calls().map(|call| call.cost_usd)),
        maybe_numbers::<Float32Type>("start_ms", calls().map(|call| Some(call.start_ms))),
        maybe_numbers::<Float32Type>("first_token_ms", calls().map(|call| call.first_token_ms)),
        numbers::<Float32Type>("total_ms", calls().map(|call| call.total_ms)),
        maybe_numbers::<Float32Type>("estimate", calls().map(|call| call.estimate)),
    ];
    structure("item", columns, None)
}

pub(super) fn feedback_batch(rows: &[Feedback]) -> RecordBatch {
    let rows = || rows.iter();
    batch(vec![
        numbers::<Int64Type>("time_ms", rows().map(|row| row.time_ms)),
        words("about_kind", rows().map(|row| row.about.kind())),
        text("about", rows().map(|row| row.about.id())),
        words("source", rows().map(|row| &*row.source)),
        maybe_numbers::<Float64Type>("score", rows().map(|row| row.score)),
        maybe_words("verdict", rows().map(|row| row.verdict.map(Verdict::name))),
        maybe_text("comment", rows().map(|row| row.comment.as_deref())),
        maybe_words("judge_hash", rows().map(|row| Some(&*row.sampled.as_ref()?.judge_hash))),
        maybe_numbers::<Float64Type>("sample_rate", rows().map(|row| Some(row.sampled.as_ref()?.rate))),
    ])
}
