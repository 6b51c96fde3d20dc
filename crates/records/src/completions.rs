//! What models said: prompts and replies of an outcome file, row by row.
//!
//! Used by `replay`. Nothing is kept here: whoever reads decides what to hold, since the texts of one
//! file may be hundreds of megabytes. Scores and splits play no part, so a file that was not judged
//! yet can be read too.

use std::path::Path;

use arrow::array::{Float64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;

use crate::error::{Fault, Problem, RecordsError};
use crate::manifest;
use crate::outcomes::cells::{amount, format_of, name, whole};
use crate::table::{Kind, batches, check_column, number_at, number_column, open, text_at, text_column};

/// Name, kind, whether a file must have it.
const COLUMNS: [(&str, Kind, bool); 13] = [
    ("prompt_id", Kind::Text, true),
    ("model", Kind::Text, true),
    ("response", Kind::Text, true),
    ("prompt", Kind::Text, false),
    ("prompt_format", Kind::Text, false),
    ("sample", Kind::Number, false),
    ("tool_calls", Kind::Text, false),
    ("input_tokens", Kind::Number, false),
    ("cached_input_tokens", Kind::Number, false),
    ("output_tokens", Kind::Number, false),
    ("latency_s", Kind::Number, false),
    ("finish_reason", Kind::Text, false),
    ("logprobs", Kind::Text, false),
];

/// One model's reply to one prompt. `None` stands for absent or null.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Completion<'a> {
    /// Id of the prompt, as written.
    pub prompt_id: &'a str,
    /// The prompt.
    pub prompt: Option<&'a str>,
    /// Whether the prompt is `{"messages": [...], "tools": [...]}` and not the user's text.
    pub is_messages_json: bool,
    /// Which of several replies of the model to the prompt, from 0.
    pub sample: Option<u32>,
    /// Name of the model.
    pub model: &'a str,
    /// The reply as one text: what it says, else the tools it calls as JSON.
    pub response: Option<&'a str>,
    /// The tools it calls, as JSON.
    pub tool_calls: Option<&'a str>,
    /// Why it ended, such as `stop` or `length`.
    pub finish_reason: Option<&'a str>,
    /// Log-probabilities of its tokens, as JSON.
    pub logprobs: Option<&'a str>,
    /// Tokens of the prompt.
    pub input_tokens: Option<u32>,
    /// Those of them that the provider had cached.
    pub cached_input_tokens: Option<u32>,
    /// Tokens of the reply.
    pub output_tokens: Option<u32>,
    /// Seconds it took.
    pub latency_s: Option<f64>,
}

/// Gives every row of an outcome file with replies to `take`, in the order of the file. The first
/// row that breaks a rule ends the reading.
pub fn for_each(path: &Path, mut take: impl FnMut(Completion<'_>)) -> Result<(), RecordsError> {
    manifest::check_file(path)?;
    let builder = open(path)?;
    check_schema(builder.schema()).map_err(|fault| RecordsError::invalid(path, fault.at(None)))?;
    let mut n_rows = 0;
    for batch in batches(path, builder, &COLUMNS.map(|(name, ..)| name))? {
        let batch = batch.map_err(RecordsError::not_parquet(path))?;
        let cells = Cells::of(&batch).map_err(RecordsError::not_parquet(path))?;
        for i in 0..batch.num_rows() {
            let row = cells.row(i);
            take(row.map_err(|fault| RecordsError::invalid(path, fault.at(Some(n_rows))))?);
            n_rows += 1;
        }
    }
    if n_rows == 0 {
        return Err(RecordsError::invalid(path, no_rows()));
    }
    Ok(())
}

fn check_schema(schema: &Schema) -> Result<(), Fault> {
    let mut checks = COLUMNS
        .iter()
        .map(|(name, kind, required)| check_column(schema, name, *kind, *required));
    checks.find(Result::is_err).unwrap_or(Ok(()))
}

fn no_rows() -> Problem {
    Problem {
        row: None,
        line: None,
        column: None,
        what: "the file has no rows".to_owned(),
        mend: "Write at least one row per prompt and model".to_owned(),
    }
}

struct Cells {
    prompt_id: Option<StringArray>,
    prompt: Option<StringArray>,
    prompt_format: Option<StringArray>,
    model: Option<StringArray>,
    sample: Option<Float64Array>,
    response: Option<StringArray>,
    tool_calls: Option<StringArray>,
    finish_reason: Option<StringArray>,
    logprobs: Option<StringArray>,
    input_tokens: Option<Float64Array>,
    cached_input_tokens: Option<Float64Array>,
    output_tokens: Option<Float64Array>,
    latency_s: Option<Float64Array>,
}

impl Cells {
    fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let text = |column| text_column(batch, column);
        let number = |column| number_column(batch, column);
        Ok(Self {
            prompt_id: text("prompt_id")?,
            prompt: text("prompt")?,
            prompt_format: text("prompt_format")?,
            model: text("model")?,
            sample: number("sample")?,
            response: text("response")?,
            tool_calls: text("tool_calls")?,
            finish_reason: text("finish_reason")?,
            logprobs: text("logprobs")?,
            input_tokens: number("input_tokens")?,
            cached_input_tokens: number("cached_input_tokens")?,
            output_tokens: number("output_tokens")?,
            latency_s: number("latency_s")?,
        })
    }

    fn row(&self, i: usize) -> Result<Completion<'_>, Fault> {
        let count = |column, cells: &Option<Float64Array>| whole(column, number_at(cells.as_ref(), i));
        let latency_s = number_at(self.latency_s.as_ref(), i);
        Ok(Completion {
            prompt_id: name(
                &self.prompt_id,
                i,
                "prompt_id",
                "Name the prompt, the same for every model",
            )?,
            prompt: text_at(self.prompt.as_ref(), i),
            is_messages_json: format_of(text_at(self.prompt_format.as_ref(), i))?,
            sample: count("sample", &self.sample)?,
            model: name(&self.model, i, "model", "Name the model that answered")?,
            response: text_at(self.response.as_ref(), i),
            tool_calls: text_at(self.tool_calls.as_ref(), i),
            finish_reason: text_at(self.finish_reason.as_ref(), i),
            logprobs: text_at(self.logprobs.as_ref(), i),
            input_tokens: count("input_tokens", &self.input_tokens)?,
            cached_input_tokens: count("cached_input_tokens", &self.cached_input_tokens)?,
            output_tokens: count("output_tokens", &self.output_tokens)?,
            latency_s: amount("latency_s", "seconds", latency_s)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, StringArray};

    use super::*;
    use crate::table::{properties, write_batches};

    type Column = (&'static str, ArrayRef);

    fn text(name: &'static str, cell: Option<&str>) -> Column {
        (name, Arc::new(StringArray::from(vec![cell])))
    }

    fn number(name: &'static str, cell: f64) -> Column {
        (name, Arc::new(Float64Array::from(vec![cell])))
    }

    /// Reads a file of one row with these columns, and says what came.
    fn read(columns: Vec<Column>) -> Result<String, String> {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let mut file = File::create(&path).unwrap();
        write_batches(&mut file, batch.schema(), properties(1, Vec::new()), [Ok(batch)]).unwrap();
        let mut said = String::new();
        for_each(&path, |row| said += &format!("{row:?}")).map_err(|error| error.to_string())?;
        Ok(said)
    }

    fn least() -> Vec<Column> {
        vec![
            text("prompt_id", Some("a")),
            text("model", Some("m")),
            text("response", Some("42")),
        ]
    }

    #[test]
    fn the_least_and_the_whole_row() {
        let said = read(least()).unwrap();
        assert!(
            said.contains("response: Some(\"42\")") && said.contains("prompt: None"),
            "{said}"
        );
        let more = vec![
            text("prompt", Some("{}")),
            text("prompt_format", Some("messages_json")),
            number("output_tokens", 2.0),
            number("sample", 1.0),
            number("cached_input_tokens", 1.0),
            text("tool_calls", Some("[]")),
            number("latency_s", 0.5),
            text("finish_reason", Some("length")),
        ];
        let said = read([least(), more].concat()).unwrap();
        for part in [
            "is_messages_json: true",
            "output_tokens: Some(2)",
            "sample: Some(1)",
            "cached_input_tokens: Some(1)",
            "tool_calls: Some(\"[]\")",
            "latency_s: Some(0.5)",
            "\"length\"",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let cases = [
            (
                vec![text("prompt_id", Some("a")), text("model", Some("m"))],
                "column `response`: the column is missing",
            ),
            (
                [least(), vec![number("output_tokens", -1.0)]].concat(),
                "data row 0 (counting from 0), column `output_tokens`",
            ),
            (
                [least(), vec![text("prompt_format", Some("yaml"))]].concat(),
                "`yaml` is no format",
            ),
            (
                vec![
                    text("prompt_id", None),
                    text("model", Some("m")),
                    text("response", None),
                ],
                "column `prompt_id`",
            ),
        ];
        for (columns, part) in cases {
            let message = read(columns).unwrap_err();
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}
