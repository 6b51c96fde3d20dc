//! What all three dialects can say, in one form: every translation reads one dialect into it and
//! writes another out of it, so that three readers and three writers make six pairs.

use serde_json::{Map, Number, Value};

/// A request.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Asked {
    pub model: Option<Value>,
    /// The conversation, oldest first.
    pub turns: Vec<Turn>,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    pub parallel_tool_calls: Option<bool>,
    pub format: Option<Format>,
    pub max_output_tokens: Option<u64>,
    pub temperature: Option<Number>,
    pub top_p: Option<Number>,
    pub stop: Vec<String>,
    pub stream: Option<bool>,
    /// OpenAI's words: none, minimal, low, medium, high, xhigh, max.
    pub effort: Option<String>,
    pub verbosity: Option<String>,
    /// Fields that both dialects of OpenAI name alike.
    pub openai: Map<String, Value>,
}

/// One speaker's turn. `place` is where the client's body holds it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Turn {
    System { is_developer: bool, parts: Vec<Part> },
    User(Vec<Part>),
    Assistant { place: String, said: Vec<Output> },
    Tool { call_id: String, parts: Vec<Part> },
}

/// A piece of what goes to the model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    Text(String),
    Image {
        place: String,
        source: Image,
        detail: Option<String>,
    },
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Image {
    Url(String),
    Base64 { media_type: String, data: String },
}

impl Image {
    /// A URL, which may hold the image itself.
    pub(crate) fn of_url(url: &str) -> Self {
        let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
        match inline {
            Some((media_type, data)) => Self::Base64 {
                media_type: media_type.to_owned(),
                data: data.to_owned(),
            },
            None => Self::Url(url.to_owned()),
        }
    }

    pub(crate) fn into_url(self) -> String {
        match self {
            Self::Url(url) => url,
            Self::Base64 { media_type, data } => format!("data:{media_type};base64,{data}"),
        }
    }
}

/// A piece of what comes from the model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    Text(String),
    Refusal(String),
    /// `arguments` is JSON as text, for so two of the dialects have it.
    Call {
        id: String,
        name: String,
        arguments: String,
    },
}

/// A tool that the caller runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tool {
    Function {
        name: String,
        description: Option<String>,
        parameters: Option<Value>,
        strict: Option<bool>,
    },
    /// One that only its own dialect knows, kept to be counted.
    Foreign(Value),
}

/// Which tools the model may or must call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ToolChoice {
    Auto,
    None,
    Required,
    Named(String),
}

/// Form that the reply must have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Format {
    JsonObject,
    Schema {
        name: Option<String>,
        description: Option<String>,
        schema: Value,
        strict: Option<bool>,
    },
}

impl Asked {
    /// Whether the conversation ends in words of the model. The dialects disagree on what that asks for.
    pub(crate) fn ends_in_prefill(&self) -> Option<&str> {
        match self.turns.last() {
            Some(Turn::Assistant { place, .. }) => Some(place),
            _ => None,
        }
    }

    /// Words of the model and calls that follow one another and make one message elsewhere.
    pub(crate) fn push_said(&mut self, place: String, said: Vec<Output>) {
        match self.turns.last_mut() {
            Some(Turn::Assistant { said: before, .. }) => before.extend(said),
            _ => self.turns.push(Turn::Assistant { place, said }),
        }
    }
}

/// Puts a field where there is a value.
pub(crate) fn put(object: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), value.into());
    }
}

/// An object of `serde_json::json!` as a map.
pub(crate) fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => unreachable!("only objects are written here, not {other}"),
    }
}
