//! A recorded reply in the words of chat: one object, or the chunks of a stream.

use serde_json::{Map, Value, json};

use crate::calls::{self, Call};
use crate::library::Recorded;

/// Characters of a piece of a stream, at least.
const LEAST_PIECE: usize = 16;

/// Pieces of a text or of the arguments of a call, at most.
const MAX_PIECES: usize = 64;

/// Pieces of the arguments of a call, at least.
const LEAST_PIECES_OF_CALL: usize = 2;

/// A reply to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Completion<'a> {
    pub(crate) id: &'a str,
    pub(crate) model: &'a str,
    pub(crate) recorded: &'a Recorded,
    /// The client asks for the log probabilities, which are given where they were recorded.
    pub(crate) with_logprobs: bool,
}

impl Completion<'_> {
    /// The body of a plain reply.
    pub(crate) fn object(&self, usage: Option<Value>) -> Map<String, Value> {
        let choice = json!({
            "index": 0,
            "message": self.message(),
            "logprobs": self.logprobs(),
            "finish_reason": self.finish_reason(),
        });
        let mut body = self.body("chat.completion", &json!([choice]));
        body.insert("usage".to_owned(), usage.unwrap_or_default());
        body
    }

    /// The chunks of a streamed one: its role, its text and its calls in pieces, why it ended, and
    /// what it took.
    pub(crate) fn chunks(&self, usage: Option<Value>) -> Vec<Value> {
        let role = json!({"role": "assistant", "content": self.content().map(|_| "")});
        let said = pieces(self.text(), 1)
            .into_iter()
            .map(|piece| json!({"content": piece}));
        let calls = self.recorded.calls.iter().enumerate();
        let calls = calls.flat_map(|(index, call)| deltas(index, call));
        let deltas = [role].into_iter().chain(said).chain(calls);
        let mut chunks: Vec<Value> = deltas.map(|delta| self.chunk(&delta, None, None)).collect();
        // Pieces are not tokens: those of all are told at once.
        chunks.push(self.chunk(&json!({}), Some(self.finish_reason()), self.logprobs().as_ref()));
        chunks.extend(usage.map(|usage| self.usage_chunk(usage)));
        chunks
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>, logprobs: Option<&Value>) -> Value {
        let choice = json!({"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason});
        self.body("chat.completion.chunk", &json!([choice])).into()
    }

    fn logprobs(&self) -> Option<Value> {
        let recorded = self.recorded.logprobs.as_deref().filter(|_| self.with_logprobs);
        serde_json::from_str(recorded?).ok()
    }

    fn usage_chunk(&self, usage: Value) -> Value {
        let mut chunk = self.body("chat.completion.chunk", &json!([]));
        chunk.insert("usage".to_owned(), usage);
        chunk.into()
    }

    fn body(&self, object: &str, choices: &Value) -> Map<String, Value> {
        let body = json!({"id": self.id, "object": object, "created": 0, "model": self.model, "choices": choices});
        match body {
            Value::Object(body) => body,
            _ => unreachable!("it was written as an object"),
        }
    }

    fn message(&self) -> Value {
        let mut message = json!({"role": "assistant", "content": self.content()});
        if !self.recorded.calls.is_empty() {
            message["tool_calls"] = self.recorded.calls.iter().map(Call::object).collect();
        }
        message
    }

    /// Null where tools are called and nothing is said.
    fn content(&self) -> Option<&str> {
        Some(self.text()).filter(|text| !text.is_empty() || self.recorded.calls.is_empty())
    }

    fn text(&self) -> &str {
        self.recorded.text.as_deref().unwrap_or_default()
    }

    /// As recorded; but a client runs no tools after `stop`, which some servers say all the same.
    fn finish_reason(&self) -> &str {
        match self.recorded.finish_reason.as_deref() {
            None | Some("stop") if !self.recorded.calls.is_empty() => "tool_calls",
            reason => reason.unwrap_or("stop"),
        }
    }
}

/// A call in a stream: its name first, then its arguments in pieces.
fn deltas(index: usize, call: &Call) -> Vec<Value> {
    let arguments = pieces(&call.arguments, LEAST_PIECES_OF_CALL);
    let arguments = arguments.into_iter().map(|piece| calls::more(index, piece));
    [call.start(index)].into_iter().chain(arguments).collect()
}

/// The text in so many pieces or more, as far as it has characters; of equal length, none of them empty.
fn pieces(text: &str, n_least: usize) -> Vec<&str> {
    let n = text.chars().count();
    let length = n.div_ceil(MAX_PIECES).max(LEAST_PIECE).min(n.div_ceil(n_least)).max(1);
    let mut starts: Vec<usize> = text.char_indices().step_by(length).map(|(start, _)| start).collect();
    starts.push(text.len());
    starts.windows(2).map(|range| &text[range[0]..range[1]]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CALLS: &str = r#"[{"id": "a", "function": {"name": "add", "arguments": "{}"}},
                            {"id": "b", "function": {"name": "say", "arguments": "{\"what\": \"a long word of greeting\"}"}}]"#;

    fn recorded(text: Option<&str>, finish_reason: Option<&str>) -> Recorded {
        Recorded {
            text: text.map(Into::into),
            calls: calls::read(CALLS).unwrap().into(),
            finish_reason: finish_reason.map(Into::into),
            ..Recorded::default()
        }
    }

    fn completion(recorded: &Recorded) -> Completion<'_> {
        Completion {
            id: "replay-1",
            model: "m",
            recorded,
            with_logprobs: false,
        }
    }

    #[test]
    fn log_probabilities_are_given_where_they_are_recorded_and_asked_for() {
        let told = json!({"content": [{"token": "Hi", "logprob": -0.5}]});
        let cases = [
            (Some(told.to_string()), true, told.clone()),
            (Some(told.to_string()), false, json!(null)),
            (None, true, json!(null)),
            (Some("no JSON".to_owned()), true, json!(null)),
        ];
        for (logprobs, with_logprobs, expected) in cases {
            let recorded = Recorded {
                text: Some("Hi".into()),
                logprobs: logprobs.map(Into::into),
                ..Recorded::default()
            };
            let completion = Completion {
                with_logprobs,
                ..completion(&recorded)
            };
            assert_eq!(completion.object(None)["choices"][0]["logprobs"], expected);
            let chunks = completion.chunks(None);
            assert_eq!(chunks.last().unwrap()["choices"][0]["logprobs"], expected);
        }
    }

    #[test]
    fn calls_stand_beside_the_text() {
        let cases = [
            (None, None, json!(null), "tool_calls"),
            (Some(""), Some("stop"), json!(null), "tool_calls"),
            (Some("Adding."), Some("tool_calls"), json!("Adding."), "tool_calls"),
            (None, Some("length"), json!(null), "length"),
        ];
        for (text, finish_reason, content, expected) in cases {
            let recorded = recorded(text, finish_reason);
            let choice = &completion(&recorded).object(None)["choices"][0];
            assert_eq!(
                (&choice["message"]["content"], &choice["finish_reason"]),
                (&content, &json!(expected))
            );
            assert_eq!(choice["message"]["tool_calls"][1]["function"]["name"], "say");
        }
    }

    #[test]
    fn a_stream_names_a_call_and_then_its_arguments_in_pieces() {
        let recorded = recorded(Some("Adding."), None);
        let chunks = completion(&recorded).chunks(None);
        let mut names = Vec::new();
        let mut arguments = [Vec::new(), Vec::new()];
        for chunk in &chunks {
            let call = &chunk["choices"][0]["delta"]["tool_calls"][0];
            let Some(index) = call["index"].as_u64() else { continue };
            names.extend(call["function"]["name"].as_str());
            let index = usize::try_from(index).unwrap();
            arguments[index].extend(call["function"]["arguments"].as_str().filter(|piece| !piece.is_empty()));
        }
        assert_eq!(names, ["add", "say"]);
        for (index, pieces) in arguments.iter().enumerate() {
            assert!(pieces.len() >= 2, "{pieces:?}");
            assert_eq!(pieces.concat(), recorded.calls[index].arguments);
        }
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(chunks[1]["choices"][0]["delta"], json!({"content": "Adding."}));
    }

    proptest! {
        #[test]
        fn pieces_make_the_text(text in "\\PC{0,3000}", n_least in 1_usize..3) {
            let pieces = pieces(&text, n_least);
            prop_assert_eq!(&pieces.concat(), &text);
            prop_assert!(pieces.len() <= MAX_PIECES && pieces.iter().all(|piece| !piece.is_empty()));
            prop_assert!(pieces.len() >= n_least.min(text.chars().count()));
        }
    }
}
