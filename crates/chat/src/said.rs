//! What a reply says, for whoever judges it: its text, whether it came to its end, and how sure the model was.

use serde_json::{Map, Value};

use crate::dialect::Dialect;
use crate::neutral::Output;
use crate::reply::{BadReply, Finish};
use crate::sse::{SseEvent, SseReader};
use crate::stream::{Delta, MAX_EVENT_BYTES, reader};
use crate::translate::read_reply;

/// A reply, as far as its worth can be told from it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Said {
    /// Its text, refusals included; arguments of calls, each on a line, where it has no text.
    pub text: String,
    /// Calls of tools.
    pub n_calls: usize,
    /// Why it ended; `None` where it broke off.
    pub finish: Option<Finish>,
    /// Mean log-probability of its tokens, where they are told (chat with `logprobs`).
    pub mean_logprob: Option<f64>,
}

/// What a whole reply of a dialect says.
pub fn said(body: &Map<String, Value>, dialect: Dialect) -> Result<Said, BadReply> {
    let reply = read_reply(body, dialect)?;
    let mut said = Said {
        finish: Some(reply.finish()),
        mean_logprob: mean(&logprobs(body)),
        ..Said::default()
    };
    let mut arguments = Vec::new();
    for output in reply.outputs {
        match output {
            Output::Text(text) | Output::Refusal(text) => said.text.push_str(&text),
            Output::Call { arguments: of_call, .. } => arguments.push(of_call),
        }
    }
    said.n_calls = arguments.len();
    if said.text.is_empty() {
        said.text = arguments.join("\n");
    }
    Ok(said)
}

/// What a stream of a dialect says, from its bytes.
pub fn said_in_stream(bytes: &[u8], dialect: Dialect) -> Said {
    let (mut events, mut reader) = (SseReader::new(MAX_EVENT_BYTES), reader(dialect));
    let (mut said, mut arguments, mut sure) = (Said::default(), String::new(), Vec::new());
    let mut take = |event: &SseEvent| {
        if let Ok(Value::Object(chunk)) = serde_json::from_str(&event.data) {
            sure.extend(logprobs(&chunk));
        }
        for delta in reader.read(event).unwrap_or_default() {
            match delta {
                Delta::Text(text) | Delta::Refusal(text) => said.text.push_str(&text),
                Delta::Arguments(text) => arguments.push_str(&text),
                Delta::Call { .. } => {
                    said.n_calls += 1;
                    if !arguments.is_empty() {
                        arguments.push('\n');
                    }
                }
                Delta::Finish(finish) => said.finish = Some(finish),
                Delta::Start { .. } | Delta::Usage(_) | Delta::Done => {}
            }
        }
    };
    events.push(bytes).iter().for_each(&mut take);
    events.finish().iter().for_each(&mut take);
    said.mean_logprob = mean(&sure);
    if said.text.is_empty() {
        said.text = arguments;
    }
    said
}

/// Mean of the log-probabilities in what a choice holds under `logprobs`, where it holds any.
pub fn mean_logprob(logprobs: &Value) -> Option<f64> {
    let tokens = logprobs.get("content")?.as_array()?;
    mean(&finite(tokens))
}

/// Those of a chat reply, or of a chunk of one.
fn logprobs(body: &Map<String, Value>) -> Vec<f64> {
    let tokens = body
        .get("choices")
        .and_then(|choices| choices.pointer("/0/logprobs/content"));
    let tokens = tokens.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    finite(tokens)
}

fn finite(tokens: &[Value]) -> Vec<f64> {
    let of = |token: &Value| token.get("logprob")?.as_f64().filter(|logprob| logprob.is_finite());
    tokens.iter().filter_map(of).collect()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn whole_replies_of_every_dialect() {
        let chat = json!({"choices": [{"index": 0, "finish_reason": "length",
            "message": {"role": "assistant", "content": "Four."},
            "logprobs": {"content": [{"token": "Four", "logprob": -0.5}, {"token": ".", "logprob": -0.1}]}}]});
        let found = said(&object(&chat), Dialect::Chat).unwrap();
        assert_eq!((found.text.as_str(), found.finish), ("Four.", Some(Finish::Length)));
        assert!((found.mean_logprob.unwrap() + 0.3).abs() < 1e-12);
        let messages = json!({"type": "message", "role": "assistant", "id": "m", "model": "x", "stop_reason": "tool_use",
            "content": [{"type": "tool_use", "id": "t", "name": "add", "input": {"a": 1}}],
            "usage": {"input_tokens": 1, "output_tokens": 1}});
        let found = said(&object(&messages), Dialect::Messages).unwrap();
        assert_eq!((found.n_calls, found.finish), (1, Some(Finish::ToolCalls)));
        assert_eq!(found.text.replace(' ', ""), "{\"a\":1}");
        assert!(said(&object(&json!({"error": {"message": "no"}})), Dialect::Chat).is_err());
    }

    #[test]
    fn streams() {
        let chunk = |delta: &str, finish: &str| {
            format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish},\
                 \"logprobs\":{{\"content\":[{{\"logprob\":-1.0}}]}}}}]}}\n\n"
            )
        };
        let whole =
            chunk("{\"content\":\"Fo\"}", "null") + &chunk("{\"content\":\"ur.\"}", "\"stop\"") + "data: [DONE]\n\n";
        let found = said_in_stream(whole.as_bytes(), Dialect::Chat);
        assert_eq!((found.text.as_str(), found.finish), ("Four.", Some(Finish::Stop)));
        assert_eq!(found.mean_logprob, Some(-1.0));
        let cut = said_in_stream(&whole.as_bytes()[..whole.find("ur.").unwrap()], Dialect::Chat);
        assert_eq!((cut.text.as_str(), cut.finish), ("Fo", None));
    }
}
