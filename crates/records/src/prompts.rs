//! Prompts to be asked: what `collect` sends to every tier and `judge` scores the replies of.
//!
//! JSONL (one object a line) or Parquet (the same fields as columns; an outcome file is a prompts
//! file too). Checked once, at reading: after that every prompt can be sent as it is, has an id, a
//! key and a split, and is there once.

use serde_json::Value;

use crate::outcomes::{PromptText, Split};

mod fields;
mod gather;
mod jsonl;
mod near_duplicates;
mod nested;
mod reading;
mod report;
mod rows;
mod splitting;

#[cfg(test)]
mod tests;

pub use reading::{Objection, Prompts, is_prompts_file, read, read_checked, validate_checked};
pub use report::PromptsReport;

/// A prompt to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// First 16 hex digits of the SHA-256 of the text, unless the file names the prompt.
    pub prompt_id: String,
    /// Key of the bare question.
    pub split_key: String,
    /// Its split: as given, else that of the smallest key among its near-duplicates.
    pub split: Split,
    /// Data set it comes from.
    pub dataset: String,
    /// Task or category inside the data set.
    pub subset: String,
    /// Coarse domain.
    pub domain: String,
    /// What is asked: text, or messages and tools as JSON.
    pub text: PromptText,
    /// Sent along as it is.
    pub response_format: Option<Value>,
    /// JSON schema of the reply, for judges; not sent.
    pub schema: Option<Value>,
    /// The right answer: text, a number or JSON.
    pub reference: Option<Value>,
    /// How replies are judged: the name of a judge, a judge as an object, or a list of which all must pass.
    pub judge: Option<Value>,
}

impl Prompt {
    /// The reference as a cell of text: a string as it is, anything else as JSON.
    pub fn reference_text(&self) -> Option<String> {
        self.reference.as_ref().map(text_of)
    }

    /// Messages as they are sent.
    pub fn messages(&self) -> Vec<Value> {
        match &self.text {
            PromptText::Text(text) => vec![serde_json::json!({"role": "user", "content": text})],
            PromptText::MessagesJson(_) => self.list("messages"),
        }
    }

    /// Tools as they are sent.
    pub fn tools(&self) -> Vec<Value> {
        match &self.text {
            PromptText::Text(_) => Vec::new(),
            PromptText::MessagesJson(_) => self.list("tools"),
        }
    }

    fn list(&self, field: &str) -> Vec<Value> {
        let mut body: Value = serde_json::from_str(self.text.as_str()).unwrap_or_default();
        match body.get_mut(field).map(Value::take) {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        }
    }
}

/// A value as a cell of text: a string as it is, anything else as JSON.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
