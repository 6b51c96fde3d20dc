//! Completions: one row per prompt, tier and sample, with everything but a score.

use std::io;
use std::path::Path;

use arrow::array::RecordBatch;

use super::columns::{classes, counts, flags, maybe_counts, maybe_numbers, maybe_texts, prompt_columns, texts};
use super::{CHUNK_BYTES, CHUNK_ROWS, schema_of, token_source, write_table};
use crate::error::RecordsError;
use crate::prompts::Prompt;

/// What came of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// What was asked.
    pub prompt: Prompt,
    /// The tier, by name.
    pub model: String,
    /// Its class.
    pub class: u8,
    /// From 0.
    pub sample: u32,
    /// The reply; none where the tier cannot answer.
    pub response: Option<String>,
    /// Calls of tools in the reply, as JSON.
    pub tool_calls: Option<String>,
    /// As the provider says.
    pub finish_reason: Option<String>,
    /// Cut at the limit on tokens.
    pub truncated: bool,
    /// Log-probabilities as JSON.
    pub logprobs: Option<String>,
    /// Tokens of the prompt.
    pub input_tokens: Option<u32>,
    /// Those of them that the provider had cached.
    pub cached_input_tokens: Option<u32>,
    /// Tokens of the reply.
    pub output_tokens: Option<u32>,
    /// Counted here, because the provider reported none.
    pub tokens_estimated: bool,
    /// US dollars.
    pub cost_usd: Option<f64>,
    /// Seconds to the first token.
    pub time_to_first_token_s: Option<f64>,
    /// Seconds to the end.
    pub latency_s: Option<f64>,
    /// Requests sent for it.
    pub n_requests: u32,
    /// Why there is no reply, in one word.
    pub error: Option<String>,
}

/// Writes completions as `fill` hands them over. Returns how many there were.
pub fn write_completions<E: From<RecordsError>>(
    path: &Path,
    fill: impl FnOnce(&mut dyn FnMut(Completion) -> Result<(), E>) -> Result<(), E>,
) -> Result<u64, E> {
    write_table(path, schema_of(batch(&[])), |table| {
        let (mut rows, mut bytes) = (Vec::with_capacity(CHUNK_ROWS), 0);
        fill(&mut |completion| {
            bytes += size(&completion);
            rows.push(completion);
            if rows.len() == CHUNK_ROWS || bytes > CHUNK_BYTES {
                table.write(batch(&rows))?;
                (rows, bytes) = (Vec::with_capacity(CHUNK_ROWS), 0);
            }
            Ok(())
        })?;
        Ok(table.write(batch(&rows))?)
    })
}

fn size(row: &Completion) -> usize {
    let texts = [&row.response, &row.tool_calls, &row.logprobs];
    let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
    texts + row.prompt.text.as_str().len()
}

fn batch(rows: &[Completion]) -> io::Result<RecordBatch> {
    let mut columns = prompt_columns(rows, |row| &row.prompt);
    columns.extend([
        texts("model", rows, |row| &row.model),
        classes("model_tier", rows, |row| row.class),
        counts("sample", rows, |row| row.sample),
        maybe_texts("response", rows, |row| row.response.as_deref()),
        maybe_texts("tool_calls", rows, |row| row.tool_calls.as_deref()),
        maybe_texts("finish_reason", rows, |row| row.finish_reason.as_deref()),
        flags("truncated", rows, |row| row.truncated),
        maybe_texts("logprobs", rows, |row| row.logprobs.as_deref()),
        maybe_counts("input_tokens", rows, |row| row.input_tokens),
        maybe_counts("cached_input_tokens", rows, |row| row.cached_input_tokens),
        maybe_counts("output_tokens", rows, |row| row.output_tokens),
        texts("token_source", rows, |row| token_source(row.tokens_estimated)),
        flags("tokens_estimated", rows, |row| row.tokens_estimated),
        maybe_numbers("cost_usd", rows, |row| row.cost_usd),
        texts("cost_kind", rows, |row| {
            if row.cost_usd.is_some() { "computed" } else { "none" }
        }),
        maybe_numbers("time_to_first_token_s", rows, |row| row.time_to_first_token_s),
        maybe_numbers("latency_s", rows, |row| row.latency_s),
        counts("n_requests", rows, |row| row.n_requests),
        maybe_texts("error", rows, |row| row.error.as_deref()),
    ]);
    RecordBatch::try_from_iter_with_nullable(columns).map_err(io::Error::other)
}
