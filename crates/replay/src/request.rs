//! A request, as much of it as replaying needs. All dialects are read as chat.

use serde::Deserialize;
use serde_json::{Map, Value};
use tiercast_chat::{Dialect, translate_request};

use crate::error::Error;

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) model: String,
    pub(crate) messages: Value,
    #[serde(default)]
    pub(crate) tools: Value,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// As the client wrote it.
    #[serde(skip)]
    pub(crate) body: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

impl Request {
    pub(crate) fn parse(body: &[u8], dialect: Dialect) -> Result<Self, Error> {
        let wrong = |what: String| Error::Body { dialect, what };
        let body: Map<String, Value> = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
        let chat = translate_request(&body, dialect, Dialect::Chat).map_err(|error| wrong(error.to_string()))?;
        let request = Self::deserialize(Value::from(chat)).map_err(|error| wrong(error.to_string()))?;
        if request.messages.as_array().is_none_or(Vec::is_empty) {
            let place = if dialect == Dialect::Responses {
                "input"
            } else {
                "messages"
            };
            return Err(wrong(format!("`{place}` must hold at least one message")));
        }
        Ok(Self { body, ..request })
    }

    pub(crate) fn is_streamed(&self) -> bool {
        self.stream == Some(true)
    }

    /// Usage is always part of a plain reply, and of a streamed one where it is asked for.
    pub(crate) fn wants_usage(&self) -> bool {
        let asked = self.stream_options.as_ref().and_then(|options| options.include_usage);
        !self.is_streamed() || asked == Some(true)
    }
}

/// Text of the last message of the user, parts joined.
pub(crate) fn last_user_text(messages: &Value) -> Option<String> {
    let last = messages.as_array()?.iter().rfind(|message| message["role"] == "user")?;
    match &last["content"] {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => Some(parts.iter().filter_map(|part| part["text"].as_str()).collect()),
        _ => None,
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
            let request = Request::parse(body.as_bytes(), Dialect::Chat).unwrap();
            assert_eq!(last_user_text(&request.messages).as_deref(), expected, "{body}");
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
            let request = Request::parse(body.to_string().as_bytes(), Dialect::Chat).unwrap();
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
            for dialect in Dialect::ALL {
                assert!(Request::parse(body.as_bytes(), dialect).is_err(), "{body}");
            }
        }
    }

    #[test]
    fn other_dialects_are_read_as_chat() {
        let cases = [
            (
                Dialect::Responses,
                json!({"model": "m", "instructions": "Be brief.", "input": "hi", "stream": true}),
            ),
            (
                Dialect::Messages,
                json!({
                    "model": "m", "max_tokens": 9, "stream": true, "system": "Be brief.",
                    "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
                }),
            ),
        ];
        for (dialect, body) in cases {
            let request = Request::parse(body.to_string().as_bytes(), dialect).unwrap();
            let expected = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]);
            assert_eq!(request.messages, expected);
            assert!(request.is_streamed() && request.wants_usage());
            assert_eq!(Value::from(request.body), body);
        }
    }

    #[test]
    fn what_chat_cannot_say_is_named() {
        let body = json!({"model": "m", "input": "hi", "previous_response_id": "resp_1"}).to_string();
        let error = Request::parse(body.as_bytes(), Dialect::Responses).unwrap_err();
        assert!(error.to_string().contains("`previous_response_id`"), "{error}");
    }
}
