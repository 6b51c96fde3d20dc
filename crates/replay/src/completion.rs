//! A recorded reply in the words of the API: one object, or the chunks of a stream.

use serde_json::{Value, json};

use crate::library::Recorded;

/// Characters of a piece of a stream, at least.
const LEAST_PIECE: usize = 16;

/// Pieces of a stream, at most.
const MAX_PIECES: usize = 64;

/// A reply to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Completion<'a> {
    pub(crate) id: &'a str,
    pub(crate) model: &'a str,
    pub(crate) recorded: &'a Recorded,
}

impl Completion<'_> {
    /// The body of a plain reply.
    pub(crate) fn object(&self, usage: &Value) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": 0,
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": self.text()},
                "logprobs": null,
                "finish_reason": self.finish_reason(),
            }],
            "usage": usage,
        })
    }

    /// The chunks of a streamed one: its role, its text in pieces, why it ended, and what it took.
    pub(crate) fn chunks(&self, usage: Option<&Value>) -> Vec<Value> {
        let role = self.chunk(&json!({"role": "assistant", "content": ""}), None);
        let content = pieces(self.text())
            .into_iter()
            .map(|piece| self.chunk(&json!({"content": piece}), None));
        let end = self.chunk(&json!({}), Some(self.finish_reason()));
        let usage = usage.map(|usage| {
            json!({
                "id": self.id, "object": "chat.completion.chunk", "created": 0, "model": self.model,
                "choices": [], "usage": usage,
            })
        });
        [role].into_iter().chain(content).chain([end]).chain(usage).collect()
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": 0,
            "model": self.model,
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}],
        })
    }

    /// Tokens as recorded; null where they were not.
    pub(crate) fn usage(&self) -> Value {
        match (self.recorded.input_tokens, self.recorded.output_tokens) {
            (Some(input), Some(output)) => json!({
                "prompt_tokens": input,
                "completion_tokens": output,
                "total_tokens": u64::from(input) + u64::from(output),
            }),
            _ => Value::Null,
        }
    }

    /// Usage that cannot be true, in one of four ways.
    pub(crate) fn wrong_usage(&self, way: u64) -> Value {
        let input = self.recorded.input_tokens.unwrap_or(1).max(1);
        let output = self.recorded.output_tokens.unwrap_or(1).max(1);
        match way % 4 {
            0 => json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": 0}),
            1 => json!({"prompt_tokens": -1, "completion_tokens": output}),
            2 => json!({"prompt_tokens": input, "completion_tokens": u64::MAX}),
            _ => json!({
                "prompt_tokens": input, "completion_tokens": output,
                "prompt_tokens_details": {"cached_tokens": u64::from(input) + 1},
            }),
        }
    }

    fn text(&self) -> &str {
        self.recorded.text.as_deref().unwrap_or_default()
    }

    fn finish_reason(&self) -> &str {
        self.recorded.finish_reason.as_deref().unwrap_or("stop")
    }
}

/// The text in pieces of equal length, none of them empty.
fn pieces(text: &str) -> Vec<&str> {
    let length = text.chars().count().div_ceil(MAX_PIECES).max(LEAST_PIECE);
    let mut starts: Vec<usize> = text.char_indices().step_by(length).map(|(start, _)| start).collect();
    starts.push(text.len());
    starts.windows(2).map(|range| &text[range[0]..range[1]]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_make_the_text(text in "\\PC{0,3000}") {
            let pieces = pieces(&text);
            prop_assert_eq!(&pieces.concat(), &text);
            prop_assert!(pieces.len() <= MAX_PIECES && pieces.iter().all(|piece| !piece.is_empty()));
        }
    }
}
