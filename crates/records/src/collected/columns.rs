//! Rows of values to columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray, UInt8Array, UInt32Array};

use crate::outcomes::PromptText;
use crate::prompts::Prompt;

/// Name, values, whether cells may be empty.
pub(super) type Column = (&'static str, ArrayRef, bool);

/// Columns of the prompt, in the order of outcome files.
pub(super) fn prompt_columns<'a, R>(rows: &'a [R], prompt: impl Fn(&'a R) -> &'a Prompt) -> Vec<Column> {
    let of = |name, value: fn(&Prompt) -> &str| texts(name, rows, |row| value(prompt(row)));
    let mut columns = vec![
        of("dataset", |prompt| &prompt.dataset),
        of("subset", |prompt| &prompt.subset),
        of("domain", |prompt| &prompt.domain),
        of("prompt_id", |prompt| &prompt.prompt_id),
        of("split_key", |prompt| &prompt.split_key),
        of("split", |prompt| prompt.split.name()),
        of("prompt", |prompt| prompt.text.as_str()),
        of("prompt_format", |prompt| PromptText::format(&prompt.text)),
    ];
    let references = rows.iter().map(|row| prompt(row).reference_text());
    columns.push(("reference", Arc::new(references.collect::<StringArray>()), true));
    columns
}

pub(super) fn texts<'a, R>(name: &'static str, rows: &'a [R], value: impl Fn(&'a R) -> &'a str) -> Column {
    (
        name,
        Arc::new(StringArray::from_iter_values(rows.iter().map(value))),
        false,
    )
}

pub(super) fn maybe_texts<'a, R>(
    name: &'static str,
    rows: &'a [R],
    value: impl Fn(&'a R) -> Option<&'a str>,
) -> Column {
    (name, Arc::new(rows.iter().map(value).collect::<StringArray>()), true)
}

pub(super) fn maybe_counts<R>(name: &'static str, rows: &[R], value: impl Fn(&R) -> Option<u32>) -> Column {
    (name, Arc::new(rows.iter().map(value).collect::<UInt32Array>()), true)
}

pub(super) fn counts<R>(name: &'static str, rows: &[R], value: impl Fn(&R) -> u32) -> Column {
    (
        name,
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(value))),
        false,
    )
}

pub(super) fn classes<R>(name: &'static str, rows: &[R], value: impl Fn(&R) -> u8) -> Column {
    (
        name,
        Arc::new(UInt8Array::from_iter_values(rows.iter().map(value))),
        false,
    )
}

pub(super) fn numbers<R>(name: &'static str, rows: &[R], value: impl Fn(&R) -> f64) -> Column {
    (
        name,
        Arc::new(Float64Array::from_iter_values(rows.iter().map(value))),
        false,
    )
}

pub(super) fn maybe_numbers<R>(name: &'static str, rows: &[R], value: impl Fn(&R) -> Option<f64>) -> Column {
    (name, Arc::new(rows.iter().map(value).collect::<Float64Array>()), true)
}

pub(super) fn flags<R>(name: &'static str, rows: &[R], value: impl Fn(&R) -> bool) -> Column {
    let flags: BooleanArray = rows.iter().map(|row| Some(value(row))).collect();
    (name, Arc::new(flags), false)
}
