//! A whole reply out of one JSON body.

use serde::Deserialize;
use serde_json::Value;

use crate::attempt::Fault;
use crate::call::Reply;
use crate::classify;
use crate::error::ErrorKind;
use crate::usage;

#[derive(Debug, Deserialize)]
struct Completion {
    choices: Option<Vec<Choice>>,
    usage: Option<Value>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
    logprobs: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Message {
    content: Option<Content>,
    refusal: Option<String>,
    tool_calls: Option<Value>,
}

/// Text, or parts of which those with text count.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
pub(crate) struct Part {
    #[serde(default)]
    text: String,
}

impl Content {
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => parts.into_iter().map(|part| part.text).collect(),
        }
    }
}

/// Reads the body of a 200.
pub(crate) fn read(body: &[u8]) -> Result<Reply, Fault> {
    let completion: Completion = serde_json::from_slice(body).map_err(|error| not_a_completion(body, &error))?;
    if let Some(error) = completion.error.filter(|error| !error.is_null()) {
        return Err(classify::error_in_reply(&error));
    }
    let choices = completion
        .choices
        .ok_or_else(|| Fault::new(ErrorKind::Malformed, "the reply has no `choices`"))?;
    let choice = choices
        .into_iter()
        .next()
        .ok_or_else(|| Fault::new(ErrorKind::EmptyChoices, "the list of choices is empty"))?;
    let content = choice.message.content.map(Content::into_text);
    let text = content.or(choice.message.refusal).unwrap_or_default();
    let tool_calls = choice.message.tool_calls.filter(has_calls);
    let has_output = !text.is_empty() || tool_calls.is_some();
    let (usage, is_usage_contradictory) = usage::read(completion.usage.as_ref(), has_output);
    Ok(Reply {
        text,
        tool_calls,
        finish_reason: choice.finish_reason,
        usage,
        is_usage_contradictory,
        logprobs: choice.logprobs.filter(|logprobs| !logprobs.is_null()),
        ..Reply::default()
    })
}

fn has_calls(calls: &Value) -> bool {
    calls.as_array().is_some_and(|calls| !calls.is_empty())
}

fn not_a_completion(body: &[u8], error: &serde_json::Error) -> Fault {
    match error.classify() {
        // The message may quote the reply; only the place is kept.
        serde_json::error::Category::Data => Fault::new(ErrorKind::Malformed, "the reply is not a chat completion"),
        serde_json::error::Category::Eof if body.trim_ascii_start().starts_with(b"{") => Fault::new(
            ErrorKind::CutJson,
            format!("the JSON ends in the middle, after {} bytes", body.len()),
        ),
        _ if body.trim_ascii().is_empty() => Fault::new(ErrorKind::NotJson, "the reply is empty"),
        _ => classify::not_json(body),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::call::Usage;

    #[test]
    fn a_whole_reply() {
        let body = json!({
            "id": "c", "object": "chat.completion", "model": "m",
            "choices": [{
                "index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "42"},
                "logprobs": {"content": [{"token": "42", "logprob": -0.1}]},
            }],
            "usage": {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 8}},
        });
        let expected = Reply {
            text: "42".to_owned(),
            finish_reason: Some("stop".to_owned()),
            logprobs: Some(json!({"content": [{"token": "42", "logprob": -0.1}]})),
            usage: Some(Usage {
                input_tokens: 9,
                cached_input_tokens: 8,
                output_tokens: 1,
            }),
            ..Reply::default()
        };
        assert_eq!(read(body.to_string().as_bytes()), Ok(expected));
    }

    #[test]
    fn texts_in_their_shapes() {
        let calls = json!([{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
        let cases = [
            (json!({"content": "a"}), "a", None),
            (
                json!({"content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]}),
                "ab",
                None,
            ),
            (json!({"content": null, "tool_calls": calls}), "", Some(calls)),
            (json!({"content": "a", "tool_calls": []}), "a", None),
            (json!({"content": null, "refusal": "no"}), "no", None),
            (json!({}), "", None),
        ];
        for (message, text, tool_calls) in cases {
            let body = json!({"choices": [{"message": message}]}).to_string();
            let reply = read(body.as_bytes()).unwrap();
            assert_eq!((reply.text.as_str(), reply.tool_calls), (text, tool_calls), "{body}");
        }
    }

    #[test]
    fn what_is_no_reply() {
        let cases = [
            ("{\"choices\": []}", ErrorKind::EmptyChoices),
            ("{}", ErrorKind::Malformed),
            ("{\"choices\": [{}]}", ErrorKind::Malformed),
            ("{\"choices\": 3}", ErrorKind::Malformed),
            ("{\"choices\": [{\"message\": {\"content\": \"it is", ErrorKind::CutJson),
            ("{\"choices\": [}", ErrorKind::NotJson),
            ("", ErrorKind::NotJson),
            ("OK", ErrorKind::NotJson),
            ("  <!DOCTYPE html><p>Sign in</p>", ErrorKind::Html),
            ("{\"error\": {\"message\": \"overloaded\"}}", ErrorKind::Server),
            (
                "{\"error\": {\"code\": \"context_length_exceeded\"}}",
                ErrorKind::ContextTooLong,
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(read(body.as_bytes()).unwrap_err().kind, expected, "{body}");
        }
    }
}
