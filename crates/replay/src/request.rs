//! A chat request, as much of it as replaying needs.

use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) model: String,
    pub(crate) messages: Value,
    #[serde(default)]
    pub(crate) tools: Value,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

impl Request {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        let request: Self = serde_json::from_slice(body).map_err(|error| Error::Body(error.to_string()))?;
        if request.messages.as_array().is_none_or(Vec::is_empty) {
            return Err(Error::Body(
                "`messages` must be a list of at least one message".to_owned(),
            ));
        }
        Ok(request)
    }

    pub(crate) fn is_streamed(&self) -> bool {
        self.stream == Some(true)
    }

    /// Usage is always part of a plain reply, and of a streamed one where it is asked for.
    pub(crate) fn wants_usage(&self) -> bool {
        let asked = self.stream_options.as_ref().and_then(|options| options.include_usage);
        !self.is_streamed() || asked == Some(true)
    }

    /// Text of the last message of the user, parts joined.
    pub(crate) fn last_user_text(&self) -> Option<String> {
        let messages = self.messages.as_array()?;
        let last = messages.iter().rfind(|message| message["role"] == "user")?;
        match &last["content"] {
            Value::String(text) => Some(text.clone()),
            Value::Array(parts) => Some(parts.iter().filter_map(|part| part["text"].as_str()).collect()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_asked() {
        let cases = [
            (json!([{"role": "user", "content": "a"}]), Some("a")),
            (
                json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]),
                Some("a"),
            ),
            (
                json!([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]),
                Some("b"),
            ),
            (
                json!([{"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "b"}]}]),
                Some("ab"),
            ),
            (json!([{"role": "system", "content": "a"}]), None),
            (json!([{"role": "user"}]), None),
        ];
        for (messages, expected) in cases {
            let body = json!({"model": "m", "messages": messages}).to_string();
            let request = Request::parse(body.as_bytes()).unwrap();
            assert_eq!(request.last_user_text().as_deref(), expected, "{body}");
            assert!(!request.is_streamed() && request.wants_usage());
        }
    }

    #[test]
    fn usage_of_streams_is_asked_for() {
        let cases = [
            (json!({"stream": true}), false),
            (json!({"stream": true, "stream_options": {"include_usage": true}}), true),
            (json!({"stream": true, "stream_options": null}), false),
            (
                json!({"stream": false, "stream_options": {"include_usage": false}}),
                true,
            ),
        ];
        for (mut body, expected) in cases {
            body["model"] = json!("m");
            body["messages"] = json!([{}]);
            let request = Request::parse(body.to_string().as_bytes()).unwrap();
            assert_eq!(request.wants_usage(), expected, "{body}");
        }
    }

    #[test]
    fn bodies_that_ask_nothing() {
        for body in [
            "",
            "{}",
            "[]",
            "{\"model\": \"m\", \"messages\": []}",
            "{\"model\": \"m\", \"messages\": \"hi\"}",
        ] {
            assert!(Request::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
