//! Outcome rows of judged replies: the samples of a prompt and tier averaged into one row.

use std::io;
use std::path::Path;

use arrow::array::RecordBatch;

use super::columns::{
    classes, counts, flags, maybe_counts, maybe_numbers, maybe_texts, numbers, prompt_columns, texts,
};
use super::{CHUNK_BYTES, CHUNK_ROWS, Table, schema_of, token_source, write_table};
use crate::error::RecordsError;
use crate::prompts::Prompt;

/// One judged reply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredSample<'a> {
    /// What was asked.
    pub prompt: &'a Prompt,
    /// The tier, by name.
    pub model: &'a str,
    /// Its class.
    pub class: u8,
    /// The reply.
    pub response: Option<&'a str>,
    /// Why it ended, as the provider says.
    pub finish_reason: Option<&'a str>,
    /// Cut at the limit on tokens: whoever replays the row must not hand it out as whole.
    pub truncated: bool,
    /// Quality in [0, 1].
    pub score: f64,
    /// How it was judged.
    pub score_kind: &'a str,
    /// Tokens of the prompt.
    pub input_tokens: Option<u32>,
    /// Those of them that the provider had cached.
    pub cached_input_tokens: Option<u32>,
    /// Tokens of the reply.
    pub output_tokens: Option<u32>,
    /// Counted here, because the provider reported none.
    pub tokens_estimated: bool,
    /// US dollars, from the tier's prices.
    pub cost_usd: Option<f64>,
    /// Seconds to the end of the reply.
    pub latency_s: Option<f64>,
}

/// Writes an outcome file. `fill` hands the samples over in order of data set, subset, prompt and
/// model, the samples of a pair one after the other: the first one's reply and its end stand in the row,
/// its figures are means. Returns the number of rows.
pub fn write_outcomes<E: From<RecordsError>>(
    path: &Path,
    fill: impl FnOnce(&mut ScoredSink<'_, '_>) -> Result<(), E>,
) -> Result<u64, E> {
    write_table(path, schema_of(batch(&[])), |table| {
        let mut sink = ScoredSink {
            table,
            rows: Vec::with_capacity(CHUNK_ROWS),
            bytes: 0,
        };
        fill(&mut sink)?;
        Ok(sink.flush()?)
    })
}

/// Takes samples in.
pub struct ScoredSink<'t, 'f> {
    table: &'t mut Table<'f>,
    rows: Vec<Row>,
    bytes: usize,
}

impl std::fmt::Debug for ScoredSink<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScoredSink")
            .field("n_rows", &self.table.n_rows)
            .finish_non_exhaustive()
    }
}

impl ScoredSink<'_, '_> {
    /// One more sample.
    pub fn add(&mut self, sample: &ScoredSample<'_>) -> Result<(), RecordsError> {
        let wrong = |what: String| RecordsError::io(self.table.path, "written")(io::Error::other(what));
        if !(0.0..=1.0).contains(&sample.score) {
            return Err(wrong(format!(
                "the score of prompt `{}` and tier `{}` is {}, outside [0, 1]",
                sample.prompt.prompt_id, sample.model, sample.score
            )));
        }
        match self.rows.last_mut() {
            Some(row) if row.is_of(sample) && row.score_kind != sample.score_kind => Err(wrong(format!(
                "samples of prompt `{}` and tier `{}` were judged in two ways, `{}` and `{}`",
                row.prompt.prompt_id, row.model, row.score_kind, sample.score_kind
            ))),
            Some(row) if row.is_of(sample) => {
                row.add(sample);
                Ok(())
            }
            Some(row) if row.key() > key(sample.prompt, sample.model) => Err(wrong(format!(
                "prompt `{}` and tier `{}` come out of order",
                sample.prompt.prompt_id, sample.model
            ))),
            _ => self.begin(sample),
        }
    }

    fn begin(&mut self, sample: &ScoredSample<'_>) -> Result<(), RecordsError> {
        if self.rows.len() >= CHUNK_ROWS || self.bytes > CHUNK_BYTES {
            self.flush()?;
        }
        self.bytes += sample.prompt.text.as_str().len() + sample.response.map_or(0, str::len);
        self.rows.push(Row::new(sample));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RecordsError> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        self.table.write(batch(&rows))
    }
}

/// Order of outcome files.
fn key<'a>(prompt: &'a Prompt, model: &'a str) -> (&'a str, &'a str, &'a str, &'a str) {
    (&prompt.dataset, &prompt.subset, &prompt.prompt_id, model)
}

/// A row being averaged.
struct Row {
    prompt: Prompt,
    model: String,
    class: u8,
    response: Option<String>,
    finish_reason: Option<String>,
    truncated: bool,
    score_kind: String,
    n_samples: u32,
    score: f64,
    input_tokens: Mean,
    cached_input_tokens: Mean,
    output_tokens: Mean,
    tokens_estimated: bool,
    cost_usd: Mean,
    latency_s: Mean,
}

impl Row {
    fn new(sample: &ScoredSample<'_>) -> Self {
        let mut row = Self {
            prompt: sample.prompt.clone(),
            model: sample.model.to_owned(),
            class: sample.class,
            response: sample.response.map(str::to_owned),
            finish_reason: sample.finish_reason.map(str::to_owned),
            truncated: sample.truncated,
            score_kind: sample.score_kind.to_owned(),
            n_samples: 0,
            score: 0.0,
            input_tokens: Mean::default(),
            cached_input_tokens: Mean::default(),
            output_tokens: Mean::default(),
            tokens_estimated: false,
            cost_usd: Mean::default(),
            latency_s: Mean::default(),
        };
        row.add(sample);
        row
    }

    fn is_of(&self, sample: &ScoredSample<'_>) -> bool {
        self.prompt.prompt_id == sample.prompt.prompt_id && self.model == sample.model
    }

    fn key(&self) -> (&str, &str, &str, &str) {
        key(&self.prompt, &self.model)
    }

    fn add(&mut self, sample: &ScoredSample<'_>) {
        self.n_samples += 1;
        self.score += sample.score;
        self.input_tokens.add(sample.input_tokens.map(f64::from));
        self.cached_input_tokens.add(sample.cached_input_tokens.map(f64::from));
        self.output_tokens.add(sample.output_tokens.map(f64::from));
        self.tokens_estimated |= sample.tokens_estimated;
        self.cost_usd.add(sample.cost_usd);
        self.latency_s.add(sample.latency_s);
    }
}

/// The mean of what is known.
#[derive(Default)]
struct Mean {
    sum: f64,
    n: u32,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        self.sum += value.unwrap_or_default();
        self.n += u32::from(value.is_some());
    }

    fn get(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / f64::from(self.n))
    }

    fn rounded(&self) -> Option<u32> {
        self.get().map(|mean| mean.round() as u32)
    }
}

fn batch(rows: &[Row]) -> io::Result<RecordBatch> {
    let mut columns = prompt_columns(rows, |row| &row.prompt);
    columns.extend([
        texts("model", rows, |row| &row.model),
        classes("model_tier", rows, |row| row.class),
        maybe_texts("response", rows, |row| row.response.as_deref()),
        maybe_texts("finish_reason", rows, |row| row.finish_reason.as_deref()),
        flags("truncated", rows, |row| row.truncated),
        numbers("score", rows, |row| row.score / f64::from(row.n_samples)),
        texts("score_kind", rows, |row| &row.score_kind),
        counts("n_samples", rows, |row| row.n_samples),
        maybe_counts("input_tokens", rows, |row| row.input_tokens.rounded()),
        maybe_counts("cached_input_tokens", rows, |row| row.cached_input_tokens.rounded()),
        maybe_counts("output_tokens", rows, |row| row.output_tokens.rounded()),
        texts("token_source", rows, |row| token_source(row.tokens_estimated)),
        flags("tokens_estimated", rows, |row| row.tokens_estimated),
        maybe_numbers("cost_usd", rows, |row| row.cost_usd.get()),
        texts("cost_kind", rows, |row| match row.cost_usd.get() {
            Some(_) => "computed",
            None => "none",
        }),
        maybe_numbers("latency_s", rows, |row| row.latency_s.get()),
    ]);
    RecordBatch::try_from_iter_with_nullable(columns).map_err(io::Error::other)
}
