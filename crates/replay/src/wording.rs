//! A reply made as chat, in the words of the client's dialect.

use serde_json::{Map, Value};
use tiercast_chat::{BadReply, Dialect, ReplyOptions, SseEvent, StreamTranslator, translate_response};

/// What ends a stream of chat chunks.
const DONE: &str = "[DONE]";

/// How a reply is said.
#[derive(Debug, Clone)]
pub(crate) struct Wording<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) options: &'a ReplyOptions,
    /// Stands in the place of usage: no translator would hand on what cannot be true.
    pub(crate) wrong_usage: Option<Value>,
}

impl Wording<'_> {
    /// A whole reply.
    pub(crate) fn object(&self, chat: Map<String, Value>) -> Result<Value, BadReply> {
        let mut reply = match self.dialect {
            Dialect::Chat => chat,
            dialect => translate_response(&chat, Dialect::Chat, dialect, self.options)?,
        };
        if let Some(wrong) = &self.wrong_usage {
            reply.insert("usage".to_owned(), wrong.clone());
        }
        Ok(reply.into())
    }

    /// The events of a stream: those of each chunk, then those of its end. A chunk may have none.
    pub(crate) fn events(&self, chunks: &[Value]) -> Vec<Vec<SseEvent>> {
        let chat = chunks.iter().map(Value::to_string).chain([DONE.to_owned()]);
        let chat = chat.map(SseEvent::unnamed);
        let mut events: Vec<Vec<SseEvent>> = match self.dialect {
            Dialect::Chat => chat.map(|event| vec![event]).collect(),
            dialect => {
                let mut translator = StreamTranslator::new(Dialect::Chat, dialect, self.options.clone());
                chat.map(|event| translator.push(&event)).collect()
            }
        };
        if let Some(wrong) = &self.wrong_usage {
            events
                .iter_mut()
                .flatten()
                .for_each(|event| self.tell_wrong(event, wrong));
        }
        if self.dialect == Dialect::Messages {
            tell_at_start(&mut events);
        }
        events
    }

    fn tell_wrong(&self, event: &mut SseEvent, wrong: &Value) {
        let place = match self.dialect {
            Dialect::Responses => "/response/usage",
            Dialect::Chat | Dialect::Messages => "/usage",
        };
        change(event, place, |usage| *usage = wrong.clone());
    }
}

/// Messages tells the tokens of the request when a stream begins, and all of them when it ends. The
/// translator of chat knows them at its end only.
fn tell_at_start(events: &mut [Vec<SseEvent>]) {
    let usage_of = |event: &SseEvent| match serde_json::from_str::<Value>(&event.data).ok()?.get("usage")? {
        Value::Object(usage) => Some(usage.clone()),
        _ => None,
    };
    let told = events.iter().flatten().rev().find_map(usage_of);
    if let (Some(start), Some(mut told)) = (events.iter_mut().flatten().next(), told) {
        told.insert("output_tokens".to_owned(), 0.into());
        told.shift_remove("output_tokens_details");
        change(start, "/message/usage", |usage| *usage = told.into());
    }
}

/// Changes an object in the data of an event, if it is there.
fn change(event: &mut SseEvent, place: &str, change: impl FnOnce(&mut Value)) {
    let Ok(mut data) = serde_json::from_str::<Value>(&event.data) else {
        return;
    };
    if let Some(object) = data.pointer_mut(place).filter(|value| value.is_object()) {
        change(object);
        event.data = data.to_string();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tiercast_chat::Usage;

    use super::*;
    use crate::calls;
    use crate::completion::Completion;
    use crate::library::Recorded;
    use crate::usage;

    const USAGE: Usage = Usage {
        input: 9,
        cached_input: 4,
        cache_written: 0,
        output: 2,
        reasoning: 0,
    };

    fn recorded() -> Recorded {
        let calls = r#"[{"id": "c", "function": {"name": "add", "arguments": "{\"x\": 17}"}}]"#;
        Recorded {
            text: Some("I shall add these numbers up.".into()),
            calls: calls::read(calls).unwrap().into(),
            ..Recorded::default()
        }
    }

    fn with<T>(dialect: Dialect, wrong_usage: Option<Value>, say: impl FnOnce(Wording<'_>, Completion<'_>) -> T) -> T {
        let options = ReplyOptions {
            model: "m".to_owned(),
            ..ReplyOptions::default()
        };
        let wording = Wording {
            dialect,
            options: &options,
            wrong_usage,
        };
        let completion = Completion {
            id: "replay-1",
            model: "m",
            recorded: &recorded(),
            with_logprobs: false,
        };
        say(wording, completion)
    }

    fn object(dialect: Dialect, wrong_usage: Option<Value>) -> Value {
        let usage = Some(usage::in_chat(USAGE));
        with(dialect, wrong_usage, |wording, completion| {
            wording.object(completion.object(usage)).unwrap()
        })
    }

    fn events(dialect: Dialect, wrong_usage: Option<Value>) -> Vec<SseEvent> {
        let usage = Some(usage::in_chat(USAGE));
        with(dialect, wrong_usage, |wording, completion| {
            wording.events(&completion.chunks(usage)).concat()
        })
    }

    fn data(event: &SseEvent) -> Value {
        serde_json::from_str(&event.data).unwrap()
    }

    #[test]
    fn whole_replies_keep_to_their_dialect() {
        let chat = object(Dialect::Chat, None);
        assert_eq!(
            chat["choices"][0]["message"]["tool_calls"][0]["function"]["name"],
            "add"
        );
        let responses = object(Dialect::Responses, None);
        assert_eq!(
            (&responses["object"], &responses["id"]),
            (&json!("response"), &json!("resp_replay-1"))
        );
        assert_eq!(responses["output"][1]["arguments"], "{\"x\": 17}");
        assert_eq!(responses["usage"]["input_tokens"], 9);
        let messages = object(Dialect::Messages, None);
        assert_eq!(messages["content"][1]["input"], json!({"x": 17}));
        assert_eq!(
            (
                &messages["stop_reason"],
                &messages["usage"]["input_tokens"],
                &messages["usage"]["output_tokens"]
            ),
            (&json!("tool_use"), &json!(5), &json!(2))
        );
    }

    #[test]
    fn streams_begin_and_end_as_their_dialect_does() {
        let name = |event: &SseEvent| event.event.clone().unwrap_or_default();
        let chat = events(Dialect::Chat, None);
        assert_eq!(chat.last().unwrap().data, DONE);
        let responses = events(Dialect::Responses, None);
        assert_eq!(name(&responses[0]), "response.created");
        let last = responses.last().unwrap();
        assert_eq!(
            (name(last).as_str(), &data(last)["response"]["usage"]["total_tokens"]),
            ("response.completed", &json!(11))
        );
        let messages = events(Dialect::Messages, None);
        let start = &data(&messages[0])["message"]["usage"];
        assert_eq!(
            (
                &start["input_tokens"],
                &start["cache_read_input_tokens"],
                &start["output_tokens"]
            ),
            (&json!(5), &json!(4), &json!(0))
        );
        assert_eq!(data(&messages[messages.len() - 2])["usage"]["output_tokens"], 2);
        assert_eq!(name(messages.last().unwrap()), "message_stop");
    }

    #[test]
    fn wrong_usage_is_told_in_every_dialect() {
        let wrong = json!({"input_tokens": -1});
        for dialect in Dialect::ALL {
            assert_eq!(object(dialect, Some(wrong.clone()))["usage"], wrong);
            let events = events(dialect, Some(wrong.clone()));
            let told = events.iter().filter(|event| event.data.contains("\"input_tokens\":-1"));
            let expected = if dialect == Dialect::Messages { 2 } else { 1 };
            assert_eq!(told.count(), expected, "{dialect:?}: {events:?}");
        }
    }
}
