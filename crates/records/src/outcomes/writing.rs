//! Writing outcomes: the columns of the interchange format, sorted, the same bytes each time.

use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt8Array, UInt32Array};

use super::{Outcome, Outcomes, Prompt, PromptText};
use crate::disk::write_atomically;
use crate::error::RecordsError;
use crate::table::{properties, write_batches};

/// Rows turned into columns at a time.
const CHUNK_ROWS: usize = 16_384;

/// Strong enough for files that are committed, and still quick.
const ZSTD_LEVEL: i32 = 9;

/// Writes `outcomes` as one file in order of (dataset, subset, prompt, model). Figures only: the
/// columns `prompt` and `prompt_format` come in where a prompt has text.
pub fn write(path: &Path, outcomes: &Outcomes) -> Result<(), RecordsError> {
    let outcomes = outcomes.clone().in_order();
    let with_text = outcomes.has_text();
    // An empty batch carries the schema, also where there are no rows at all.
    let schema = batch(&outcomes, &[], with_text)
        .map_err(RecordsError::io(path, "written"))?
        .schema();
    let chunks = outcomes
        .outcomes
        .chunks(CHUNK_ROWS)
        .map(|rows| batch(&outcomes, rows, with_text));
    write_atomically(path, |file| {
        write_batches(file, schema, properties(ZSTD_LEVEL, Vec::new()), chunks)
    })
}

fn batch(tables: &Outcomes, rows: &[Outcome], with_text: bool) -> io::Result<RecordBatch> {
    let mut columns = prompt_columns(tables, rows);
    if with_text {
        columns.extend(text_columns(tables, rows));
    }
    columns.extend(result_columns(tables, rows));
    RecordBatch::try_from_iter_with_nullable(columns).map_err(io::Error::other)
}

type Column = (&'static str, ArrayRef, bool);

fn prompt_columns(tables: &Outcomes, rows: &[Outcome]) -> Vec<Column> {
    let of = |name, value: fn(&Prompt) -> &str| text(name, rows.iter().map(|row| value(&tables.prompts[row.prompt])));
    vec![
        of("dataset", |prompt| &prompt.dataset),
        of("subset", |prompt| &prompt.subset),
        of("domain", |prompt| &prompt.domain),
        of("prompt_id", |prompt| &prompt.prompt_id),
        of("split_key", |prompt| &prompt.split_key),
        of("split", |prompt| prompt.split.name()),
    ]
}

fn text_columns(tables: &Outcomes, rows: &[Outcome]) -> [Column; 2] {
    let texts = || rows.iter().map(|row| tables.prompts[row.prompt].text.as_ref());
    let words = texts().map(|text| text.map(PromptText::as_str));
    let formats = texts().map(|text| text.map(PromptText::format));
    [
        ("prompt", Arc::new(words.collect::<StringArray>()), true),
        ("prompt_format", Arc::new(formats.collect::<StringArray>()), true),
    ]
}

fn result_columns(tables: &Outcomes, rows: &[Outcome]) -> Vec<Column> {
    let classes = rows.iter().map(|row| tables.models[row.model].class);
    let samples = rows.iter().map(|row| row.n_samples);
    let scores = rows.iter().map(|row| row.score);
    vec![
        text("model", rows.iter().map(|row| tables.models[row.model].name.as_str())),
        ("model_tier", Arc::new(UInt8Array::from_iter_values(classes)), false),
        ("score", Arc::new(Float64Array::from_iter_values(scores)), false),
        text(
            "score_kind",
            rows.iter().map(|row| tables.score_kinds[row.score_kind].as_str()),
        ),
        ("n_samples", Arc::new(UInt32Array::from_iter_values(samples)), false),
        (
            "input_tokens",
            Arc::new(rows.iter().map(|row| row.input_tokens).collect::<UInt32Array>()),
            true,
        ),
        (
            "output_tokens",
            Arc::new(rows.iter().map(|row| row.output_tokens).collect::<UInt32Array>()),
            true,
        ),
        (
            "cost_usd",
            Arc::new(rows.iter().map(|row| row.cost_usd).collect::<Float64Array>()),
            true,
        ),
        text("cost_kind", rows.iter().map(|row| row.cost_kind.name())),
        (
            "latency_s",
            Arc::new(rows.iter().map(|row| row.latency_s).collect::<Float64Array>()),
            true,
        ),
    ]
}

fn text<'a>(name: &'static str, values: impl Iterator<Item = &'a str>) -> Column {
    (name, Arc::new(StringArray::from_iter_values(values)), false)
}
