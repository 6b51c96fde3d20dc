//! Pieces of a reply into Messages events.

use serde_json::{Value, json};

use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::messages::reply::{write_finish, write_usage};
use crate::reply::{Finish, ReplyOptions, Usage, settled};
use crate::sse::SseEvent;
use crate::stream::{Delta, WriteStream};

/// A kind of block. Text and refusals are both text blocks there, but not the same one.
#[derive(Clone, Copy, PartialEq)]
enum Block {
    Text,
    Refusal,
    Call,
}

pub(crate) struct Writer {
    options: ReplyOptions,
    open: Option<Block>,
    n_blocks: usize,
    has_calls: bool,
    is_refused: bool,
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl Writer {
    pub(crate) fn new(options: ReplyOptions) -> Self {
        Self {
            options,
            open: None,
            n_blocks: 0,
            has_calls: false,
            is_refused: false,
            finish: None,
            usage: None,
        }
    }

    fn start(&self, id: Option<&str>) -> SseEvent {
        event(json!({"type": "message_start", "message": {
            "id": self.options.id_in(Dialect::Messages, id),
            "type": "message",
            "role": "assistant",
            "model": self.options.model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            // Other dialects tell the usage at the end; it is in `message_delta`, which counts.
            "usage": write_usage(self.usage.unwrap_or_default()),
        }}))
    }

    fn text(&mut self, kind: Block, text: &str, events: &mut Vec<SseEvent>) {
        if self.open != Some(kind) {
            self.begin(kind, &json!({"type": "text", "text": ""}), events);
        }
        events.push(self.delta(&json!({"type": "text_delta", "text": text})));
    }

    fn begin(&mut self, kind: Block, block: &Value, events: &mut Vec<SseEvent>) {
        self.close(events);
        self.open = Some(kind);
        self.n_blocks += 1;
        let index = self.n_blocks - 1;
        events.push(event(
            json!({"type": "content_block_start", "index": index, "content_block": block}),
        ));
    }

    fn delta(&self, delta: &Value) -> SseEvent {
        let index = self.n_blocks.saturating_sub(1);
        event(json!({"type": "content_block_delta", "index": index, "delta": delta}))
    }

    fn close(&mut self, events: &mut Vec<SseEvent>) {
        if self.open.take().is_some() {
            events.push(event(json!({"type": "content_block_stop", "index": self.n_blocks - 1})));
        }
    }
}

impl WriteStream for Writer {
    fn write(&mut self, delta: Delta, events: &mut Vec<SseEvent>) {
        match delta {
            Delta::Start { id } => events.push(self.start(id.as_deref())),
            Delta::Text(text) => self.text(Block::Text, &text, events),
            Delta::Refusal(text) => {
                self.is_refused = true;
                self.text(Block::Refusal, &text, events);
            }
            Delta::Call { id, name } => {
                self.has_calls = true;
                let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
                self.begin(Block::Call, &block, events);
            }
            Delta::Arguments(text) => {
                events.push(self.delta(&json!({"type": "input_json_delta", "partial_json": text})));
            }
            Delta::Finish(finish) => self.finish = Some(finish),
            Delta::Usage(usage) => self.usage = Some(usage),
            Delta::Done => {}
        }
    }

    fn end(&mut self, events: &mut Vec<SseEvent>) {
        self.close(events);
        let finish = settled(self.finish.take(), self.has_calls);
        let (reason, sequence) = write_finish(&finish, self.is_refused);
        events.push(event(json!({
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": sequence},
            "usage": write_usage(self.usage.unwrap_or_default()),
        })));
        events.push(event(json!({"type": "message_stop"})));
    }

    fn fail(&mut self, failure: &Failure, events: &mut Vec<SseEvent>) {
        events.push(event(failure.body(Dialect::Messages).into()));
    }
}

/// An event named by its type.
#[expect(
    clippy::needless_pass_by_value,
    reason = "every caller makes the value for this call"
)]
fn event(body: Value) -> SseEvent {
    SseEvent::named(body["type"].as_str().unwrap_or_default(), body.to_string())
}
