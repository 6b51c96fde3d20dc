//! A client's body, read once.

use serde_json::{Map, Value};
use tiercast_chat::{ChatError, Dialect, routing_request};
use tiercast_routing::request::Request;

/// A request of any dialect.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) dialect: Dialect,
    /// As it came.
    pub(crate) text: String,
    /// The same, read.
    pub(crate) body: Map<String, Value>,
    /// What routing reads of it.
    pub(crate) request: Request,
}

impl Asked {
    /// Checks what routing needs; says what is wrong and where.
    pub(crate) fn read(bytes: Vec<u8>, dialect: Dialect) -> Result<Self, ChatError> {
        let text = String::from_utf8(bytes).map_err(|error| ChatError::NotUtf8 {
            offset: error.utf8_error().valid_up_to(),
        })?;
        let body: Value = serde_json::from_str(&text).map_err(|error| ChatError::NotJson(error.to_string()))?;
        let Value::Object(body) = body else {
            return Err(wrong("the body", "an object with `messages`", &body));
        };
        for (name, expected) in [("model", "a string"), ("stream", "true or false")] {
            let is_right = match body.get(name) {
                None | Some(Value::Null) => true,
                Some(value) if name == "model" => value.is_string(),
                Some(value) => value.is_boolean(),
            };
            if !is_right {
                return Err(wrong(name, expected, &body[name]));
            }
        }
        Ok(Self {
            request: routing_request(&body, dialect)?,
            dialect,
            text,
            body,
        })
    }

    /// The model that was named, or the way to choose one.
    pub(crate) fn model(&self) -> Option<&str> {
        self.body.get("model").and_then(Value::as_str)
    }

    /// Whether the reply comes as events.
    pub(crate) fn is_streamed(&self) -> bool {
        self.body.get("stream") == Some(&Value::Bool(true))
    }

    /// Whether a stream of chat ends in a chunk of usage.
    pub(crate) fn wants_usage(&self) -> bool {
        let options = self.body.get("stream_options");
        options.and_then(|options| options.get("include_usage")) == Some(&Value::Bool(true))
    }
}

fn wrong(place: &str, expected: &'static str, found: &Value) -> ChatError {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    ChatError::Wrong {
        place: place.to_owned(),
        expected,
        found: found.to_owned(),
    }
}
