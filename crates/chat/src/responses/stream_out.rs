//! Pieces of a reply into Responses events.
//!
//! The dialect repeats itself: every part, item and the response end in an event that holds all of
//! what was told. So the reply is kept, up to the bound of [`crate::stream`].

use serde_json::{Map, Value, json};

use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::neutral::{Output, map};
use crate::reply::{Finish, ReplyOptions, Usage, settled};
use crate::responses::reply::{call_item, envelope, item_id, message_item, part, status};
use crate::sse::SseEvent;
use crate::stream::{Delta, WriteStream};

/// The item that is being told.
enum Item {
    /// Its parts, the last of them open.
    Message(Vec<Output>),
    Call {
        id: String,
        name: String,
        arguments: String,
    },
}

pub(crate) struct Writer {
    options: ReplyOptions,
    id: String,
    sequence_number: u64,
    open: Option<Item>,
    items: Vec<Value>,
    has_calls: bool,
    finish: Option<Finish>,
    usage: Option<Usage>,
}

impl Writer {
    pub(crate) fn new(options: ReplyOptions) -> Self {
        Self {
            options,
            id: String::new(),
            sequence_number: 0,
            open: None,
            items: Vec::new(),
            has_calls: false,
            finish: None,
            usage: None,
        }
    }

    fn event(&mut self, kind: &str, fields: Value) -> SseEvent {
        let mut body = map(json!({"type": kind, "sequence_number": self.sequence_number}));
        self.sequence_number += 1;
        body.extend(map(fields));
        SseEvent::named(kind, Value::from(body).to_string())
    }

    /// An event about the open item.
    fn item_event(&mut self, kind: &str, fields: Value) -> SseEvent {
        let mut body = map(json!({"item_id": self.open_id(), "output_index": self.items.len()}));
        body.extend(map(fields));
        self.event(kind, body.into())
    }

    fn open_id(&self) -> String {
        let prefix = if matches!(self.open, Some(Item::Call { .. })) {
            "fc"
        } else {
            "msg"
        };
        item_id(prefix, &self.id, self.items.len())
    }

    fn response(&self, status: &str, details: &Value) -> Map<String, Value> {
        let usage = self.usage.filter(|_| status != "in_progress");
        envelope(&self.id, &self.options, status, &self.items, details, usage)
    }

    fn words(&mut self, output: Output, events: &mut Vec<SseEvent>) {
        if !matches!(self.open, Some(Item::Message(_))) {
            self.close_item(events);
            self.open = Some(Item::Message(Vec::new()));
            let item = message_item(&self.open_id(), &[], "in_progress");
            let index = self.items.len();
            events.push(self.event(
                "response.output_item.added",
                json!({"output_index": index, "item": item}),
            ));
        }
        let (kind, text, empty) = match output {
            Output::Text(text) => ("response.output_text.delta", text, Output::Text(String::new())),
            Output::Refusal(text) => ("response.refusal.delta", text, Output::Refusal(String::new())),
            Output::Call { .. } => return,
        };
        let is_same = self
            .last_part()
            .is_some_and(|last| std::mem::discriminant(last) == std::mem::discriminant(&empty));
        if !is_same {
            self.close_part(events);
            self.add_part(empty, events);
        }
        let content_index = self.n_parts().saturating_sub(1);
        let mut fields = map(json!({"content_index": content_index, "delta": text}));
        if kind == "response.output_text.delta" {
            fields.insert("logprobs".to_owned(), json!([]));
        }
        if let Some(Output::Text(before) | Output::Refusal(before)) = self.last_part() {
            before.push_str(&text);
        }
        events.push(self.item_event(kind, fields.into()));
    }

    fn parts(&mut self) -> Option<&mut Vec<Output>> {
        match &mut self.open {
            Some(Item::Message(parts)) => Some(parts),
            _ => None,
        }
    }

    fn last_part(&mut self) -> Option<&mut Output> {
        self.parts().and_then(|parts| parts.last_mut())
    }

    fn n_parts(&mut self) -> usize {
        self.parts().map_or(0, |parts| parts.len())
    }

    fn add_part(&mut self, empty: Output, events: &mut Vec<SseEvent>) {
        let fields = json!({"content_index": self.n_parts(), "part": part(&empty)});
        if let Some(parts) = self.parts() {
            parts.push(empty);
        }
        events.push(self.item_event("response.content_part.added", fields));
    }

    /// Repeats the open part.
    fn close_part(&mut self, events: &mut Vec<SseEvent>) {
        let Some(last) = self.last_part().cloned() else {
            return;
        };
        let index = self.n_parts() - 1;
        let (kind, fields) = match &last {
            Output::Refusal(text) => (
                "response.refusal.done",
                json!({"content_index": index, "refusal": text}),
            ),
            Output::Text(text) => (
                "response.output_text.done",
                json!({"content_index": index, "text": text, "logprobs": []}),
            ),
            Output::Call { .. } => return,
        };
        events.push(self.item_event(kind, fields));
        let fields = json!({"content_index": index, "part": part(&last)});
        events.push(self.item_event("response.content_part.done", fields));
    }

    /// Repeats the open item and keeps it.
    fn close_item(&mut self, events: &mut Vec<SseEvent>) {
        self.close_part(events);
        let id = self.open_id();
        if let Some(Item::Call { arguments, .. }) = &self.open {
            let fields = json!({"arguments": arguments});
            events.push(self.item_event("response.function_call_arguments.done", fields));
        }
        let item = match self.open.take() {
            None => return,
            Some(Item::Message(parts)) => message_item(&id, &parts.iter().map(part).collect::<Vec<_>>(), "completed"),
            Some(Item::Call {
                id: call_id,
                name,
                arguments,
            }) => call_item(&id, &call_id, &name, &arguments, "completed"),
        };
        let index = self.items.len();
        events.push(self.event(
            "response.output_item.done",
            json!({"output_index": index, "item": item}),
        ));
        self.items.push(item);
    }

    fn start(&mut self, id: Option<&str>, events: &mut Vec<SseEvent>) {
        self.id = self.options.id_in(Dialect::Responses, id);
        for kind in ["response.created", "response.in_progress"] {
            let response = self.response("in_progress", &Value::Null);
            events.push(self.event(kind, json!({"response": response})));
        }
    }

    fn call(&mut self, id: String, name: String, events: &mut Vec<SseEvent>) {
        self.close_item(events);
        self.has_calls = true;
        let index = self.items.len();
        let item = call_item(&item_id("fc", &self.id, index), &id, &name, "", "in_progress");
        self.open = Some(Item::Call {
            id,
            name,
            arguments: String::new(),
        });
        events.push(self.event(
            "response.output_item.added",
            json!({"output_index": index, "item": item}),
        ));
    }
}

impl WriteStream for Writer {
    fn write(&mut self, delta: Delta, events: &mut Vec<SseEvent>) {
        match delta {
            Delta::Start { id } => self.start(id.as_deref(), events),
            Delta::Text(text) => self.words(Output::Text(text), events),
            Delta::Refusal(text) => self.words(Output::Refusal(text), events),
            Delta::Call { id, name } => self.call(id, name, events),
            Delta::Arguments(text) => {
                if let Some(Item::Call { arguments, .. }) = &mut self.open {
                    arguments.push_str(&text);
                }
                events.push(self.item_event("response.function_call_arguments.delta", json!({"delta": text})));
            }
            Delta::Finish(finish) => self.finish = Some(finish),
            Delta::Usage(usage) => self.usage = Some(usage),
            Delta::Done => {}
        }
    }

    fn end(&mut self, events: &mut Vec<SseEvent>) {
        self.close_item(events);
        let finish = settled(self.finish.take(), self.has_calls);
        let (status, details) = status(&finish);
        let response = self.response(status, &details);
        events.push(self.event(&format!("response.{status}"), json!({"response": response})));
    }

    fn fail(&mut self, failure: &Failure, events: &mut Vec<SseEvent>) {
        if self.sequence_number == 0 {
            self.start(None, events);
        }
        self.close_item(events);
        let mut response = self.response("failed", &Value::Null);
        let code = if failure.status == 429 {
            "rate_limit_exceeded"
        } else {
            "server_error"
        };
        response.insert("error".to_owned(), json!({"code": code, "message": failure.message}));
        events.push(self.event("response.failed", json!({"response": response})));
    }
}
