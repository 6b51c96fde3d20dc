//! A whole reply out of the events of a stream.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::attempt::Fault;
use crate::call::Reply;
use crate::classify;
use crate::error::ErrorKind;
use crate::plain::Content;
use crate::usage;

/// Tool calls of one reply: an index beyond this is no index.
const MAX_TOOL_CALLS: usize = 1024;

#[derive(Debug, Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Value>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    delta: Option<Delta>,
    finish_reason: Option<String>,
    logprobs: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Delta {
    content: Option<Content>,
    refusal: Option<String>,
    tool_calls: Option<Vec<Value>>,
}

/// What has come so far.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    text: String,
    tool_calls: Vec<Value>,
    finish_reason: Option<String>,
    usage: Option<Value>,
    logprobs: Option<Value>,
    has_choice: bool,
    is_done: bool,
}

impl Assembly {
    /// Takes the data of one event.
    pub(crate) fn push(&mut self, data: &str) -> Result<(), Fault> {
        if data.trim() == "[DONE]" {
            self.is_done = true;
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|error| not_a_chunk(data, &error))?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(classify::error_in_reply(&error));
        }
        self.usage = chunk.usage.filter(|usage| !usage.is_null()).or(self.usage.take());
        for choice in chunk.choices.into_iter().flatten().filter(|choice| choice.index == 0) {
            self.take(choice)?;
        }
        Ok(())
    }

    /// Whether a piece of the reply has come, more than its role.
    pub(crate) fn has_output(&self) -> bool {
        !self.text.is_empty() || !self.tool_calls.is_empty()
    }

    /// Whether nothing more is to come.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// The reply, if the stream got to its end: a finish reason or `[DONE]`.
    pub(crate) fn finish(self) -> Result<Reply, Fault> {
        if !self.has_choice && self.is_done {
            return Err(Fault::new(ErrorKind::EmptyChoices, "the stream held no choice"));
        }
        if self.finish_reason.is_none() && !self.is_done {
            return Err(self.cut());
        }
        let (usage, is_usage_contradictory) = usage::read(self.usage.as_ref(), self.has_output());
        Ok(Reply {
            text: self.text,
            tool_calls: Some(self.tool_calls)
                .filter(|calls| !calls.is_empty())
                .map(Value::Array),
            finish_reason: self.finish_reason,
            usage,
            is_usage_contradictory,
            logprobs: self.logprobs,
            ..Reply::default()
        })
    }

    fn cut(&self) -> Fault {
        let what = format!(
            "the stream ended after {} characters of the reply",
            self.text.chars().count()
        );
        Fault::new(ErrorKind::CutStream, what)
    }

    fn take(&mut self, choice: Choice) -> Result<(), Fault> {
        self.has_choice = true;
        self.finish_reason = choice.finish_reason.or(self.finish_reason.take());
        if let Some(logprobs) = choice.logprobs.filter(|logprobs| !logprobs.is_null()) {
            match &mut self.logprobs {
                None => self.logprobs = Some(logprobs),
                Some(sum) => join_logprobs(sum, logprobs),
            }
        }
        let Some(delta) = choice.delta else { return Ok(()) };
        let content = delta.content.map(Content::into_text).or(delta.refusal);
        self.text += content.as_deref().unwrap_or_default();
        delta
            .tool_calls
            .into_iter()
            .flatten()
            .try_for_each(|piece| self.take_call(&piece))
    }

    /// A piece of a tool call: its place, its name once, and more of its arguments.
    fn take_call(&mut self, piece: &Value) -> Result<(), Fault> {
        let last = self.tool_calls.len().saturating_sub(1);
        let index = piece["index"]
            .as_u64()
            .map_or(Some(last), |index| usize::try_from(index).ok());
        let index = index
            .filter(|index| *index < MAX_TOOL_CALLS)
            .ok_or_else(|| Fault::new(ErrorKind::Malformed, "a tool call has an impossible index"))?;
        while self.tool_calls.len() <= index {
            let empty = json!({"id": null, "type": "function", "function": {"name": "", "arguments": ""}});
            self.tool_calls.push(empty);
        }
        let call = &mut self.tool_calls[index];
        for key in ["id", "type"] {
            if let Some(text) = piece[key].as_str().filter(|text| !text.is_empty()) {
                call[key] = text.into();
            }
        }
        for key in ["name", "arguments"] {
            if let (Value::String(sum), Some(more)) = (&mut call["function"][key], piece["function"][key].as_str()) {
                sum.push_str(more);
            }
        }
        Ok(())
    }
}

/// Lists of the same name are joined; the rest of the first stays.
fn join_logprobs(sum: &mut Value, more: Value) {
    let (Value::Object(sum), Value::Object(more)) = (sum, more) else {
        return;
    };
    for (name, more) in more {
        match (sum.get_mut(&name), more) {
            (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
            (Some(Value::Null) | None, more) => {
                sum.insert(name, more);
            }
            _ => {}
        }
    }
}

fn not_a_chunk(data: &str, error: &serde_json::Error) -> Fault {
    match error.classify() {
        serde_json::error::Category::Data => {
            Fault::new(ErrorKind::Malformed, "an event is not a chunk of a completion")
        }
        serde_json::error::Category::Eof => Fault::new(ErrorKind::CutJson, "the JSON of an event ends in the middle"),
        _ => classify::not_json(data.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Usage;

    fn read(events: &[Value], is_done: bool) -> Result<Reply, Fault> {
        let mut assembly = Assembly::default();
        for event in events {
            assembly.push(&event.to_string())?;
        }
        if is_done {
            assembly.push("[DONE]")?;
        }
        assembly.finish()
    }

    fn delta(delta: &Value) -> Value {
        json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
    }

    fn end(reason: &str) -> Value {
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    }

    #[test]
    fn pieces_make_the_reply() {
        let role = delta(&json!({"role": "assistant", "content": ""}));
        let usage = json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}});
        let events = [
            role,
            delta(&json!({"content": "4"})),
            delta(&json!({"content": "2"})),
            end("stop"),
            usage,
        ];
        let expected = Reply {
            text: "42".to_owned(),
            finish_reason: Some("stop".to_owned()),
            usage: Some(Usage {
                input_tokens: 9,
                cached_input_tokens: 0,
                output_tokens: 2,
            }),
            ..Reply::default()
        };
        assert_eq!(read(&events, true), Ok(expected));
    }

    #[test]
    fn tool_calls_are_merged() {
        let piece = |index, more: Value| {
            let mut call = more;
            call["index"] = json!(index);
            delta(&json!({"tool_calls": [call]}))
        };
        let events = [
            piece(
                0,
                json!({"id": "a", "type": "function", "function": {"name": "add", "arguments": ""}}),
            ),
            piece(0, json!({"function": {"arguments": "{\"x\""}})),
            piece(1, json!({"id": "b", "function": {"name": "sub", "arguments": "{}"}})),
            piece(0, json!({"function": {"arguments": ": 1}"}})),
            end("tool_calls"),
        ];
        let expected = json!([
            {"id": "a", "type": "function", "function": {"name": "add", "arguments": "{\"x\": 1}"}},
            {"id": "b", "type": "function", "function": {"name": "sub", "arguments": "{}"}},
        ]);
        assert_eq!(read(&events, true).unwrap().tool_calls, Some(expected));
        let kind = read(&[piece(u32::MAX, json!({}))], true).unwrap_err().kind;
        assert_eq!(kind, ErrorKind::Malformed);
    }

    #[test]
    fn logprobs_are_joined() {
        let piece = |token: &str| json!({"choices": [{"delta": {"content": token}, "logprobs": {"content": [{"token": token}], "refusal": null}}]});
        let reply = read(&[piece("a"), piece("b"), end("stop")], true).unwrap();
        let expected = json!({"content": [{"token": "a"}, {"token": "b"}], "refusal": null});
        assert_eq!(reply.logprobs, Some(expected));
    }

    #[test]
    fn where_a_stream_may_end() {
        let text = delta(&json!({"content": "4"}));
        let cases = [
            (vec![text.clone(), end("stop")], true, None),
            (vec![text.clone(), end("length")], false, None),
            (vec![text.clone()], true, None),
            (vec![text.clone()], false, Some(ErrorKind::CutStream)),
            (vec![], false, Some(ErrorKind::CutStream)),
            (vec![], true, Some(ErrorKind::EmptyChoices)),
            (
                vec![text, json!({"error": {"message": "overloaded"}})],
                false,
                Some(ErrorKind::Server),
            ),
            (vec![json!([1])], true, Some(ErrorKind::Malformed)),
        ];
        for (events, is_done, expected) in cases {
            let kind = read(&events, is_done).err().map(|fault| fault.kind);
            assert_eq!(kind, expected, "{events:?}");
        }
    }
}
