//! Pieces of a reply into chat chunks.

use serde_json::{Value, json};

use crate::chat::reply::{write_finish, write_usage};
use crate::chat::stream_in::DONE;
use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::reply::{Finish, ReplyOptions, Usage, settled};
use crate::sse::SseEvent;
use crate::stream::{Delta, WriteStream};

pub(crate) struct Writer {
    options: ReplyOptions,
    id: String,
    n_calls: usize,
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl Writer {
    pub(crate) fn new(options: ReplyOptions) -> Self {
        Self {
            options,
            id: String::new(),
            n_calls: 0,
            finish: None,
            usage: None,
        }
    }

    fn chunk(&self, choices: &Value) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.options.created,
            "model": self.options.model,
            "choices": choices,
        })
    }

    fn choice(&self, delta: &Value, finish: Option<&str>) -> SseEvent {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
        let mut chunk = self.chunk(&json!([choice]));
        if self.options.include_usage {
            chunk["usage"] = Value::Null;
        }
        SseEvent::unnamed(chunk.to_string())
    }
}

impl WriteStream for Writer {
    fn write(&mut self, delta: Delta, events: &mut Vec<SseEvent>) {
        let delta = match delta {
            Delta::Start { id } => {
                self.id = self.options.id_in(Dialect::Chat, id.as_deref());
                json!({"role": "assistant", "content": "", "refusal": null})
            }
            Delta::Text(text) => json!({"content": text}),
            Delta::Refusal(text) => json!({"refusal": text}),
            Delta::Call { id, name } => {
                self.n_calls += 1;
                json!({"tool_calls": [{
                    "index": self.n_calls - 1, "id": id, "type": "function",
                    "function": {"name": name, "arguments": ""},
                }]})
            }
            Delta::Arguments(text) => {
                json!({"tool_calls": [{"index": self.n_calls.saturating_sub(1), "function": {"arguments": text}}]})
            }
            Delta::Finish(finish) => {
                self.finish = Some(finish);
                return;
            }
            Delta::Usage(usage) => {
                self.usage = Some(usage);
                return;
            }
            Delta::Done => return,
        };
        events.push(self.choice(&delta, None));
    }

    fn end(&mut self, events: &mut Vec<SseEvent>) {
        let finish = settled(self.finish.take(), self.n_calls > 0);
        events.push(self.choice(&json!({}), Some(write_finish(&finish))));
        if let (true, Some(usage)) = (self.options.include_usage, self.usage) {
            let mut chunk = self.chunk(&json!([]));
            chunk["usage"] = write_usage(usage);
            events.push(SseEvent::unnamed(chunk.to_string()));
        }
        events.push(SseEvent::unnamed(DONE));
    }

    fn fail(&mut self, failure: &Failure, events: &mut Vec<SseEvent>) {
        events.push(SseEvent::unnamed(json!(failure.body(Dialect::Chat)).to_string()));
        events.push(SseEvent::unnamed(DONE));
    }
}
