//! Streams as the three dialects send them, and any stream against the whole reply it tells.

use serde_json::{Map, Value, json};

use super::*;
use crate::dialect::Dialect::{Chat, Messages, Responses};
use crate::translate::translate_response;

use collect::collect;
use samples::{chat_event, chat_stream, messages_stream, responses_stream, stream, typed};

mod any;
mod collect;
mod samples;

fn options() -> ReplyOptions {
    ReplyOptions {
        model: "auto".to_owned(),
        id: "d-1".to_owned(),
        created: 7,
        include_usage: true,
        ..ReplyOptions::default()
    }
}

fn translate(events: &[SseEvent], from: Dialect, to: Dialect) -> Vec<SseEvent> {
    let mut translator = StreamTranslator::new(from, to, options());
    let mut translated: Vec<SseEvent> = events.iter().flat_map(|event| translator.push(event)).collect();
    translated.extend(translator.finish());
    translated
}

/// What the stream and the whole reply must agree on.
fn essence(dialect: Dialect, mut body: Map<String, Value>) -> Map<String, Value> {
    if dialect == Chat {
        let choice = body["choices"][0].clone();
        body = crate::neutral::map(json!({
            "id": body["id"], "model": body["model"], "usage": body.get("usage"),
            "content": choice["message"]["content"], "refusal": choice["message"]["refusal"],
            "calls": choice["message"].get("tool_calls"), "finish": choice["finish_reason"],
        }));
    }
    body
}

fn check_same(from: Dialect, to: Dialect, events: &[SseEvent]) {
    let streamed = collect(to, &translate(events, from, to));
    let whole = translate_response(&collect(from, events), from, to, &options()).expect("translates");
    assert_eq!(essence(to, streamed), essence(to, whole), "{from:?} to {to:?}");
}

#[test]
fn a_stream_tells_what_the_whole_reply_says() {
    for from in Dialect::ALL {
        for to in Dialect::ALL {
            if from != to {
                check_same(from, to, &stream(from));
            }
        }
    }
}

#[test]
fn the_three_streams_become_one() {
    for to in Dialect::ALL {
        let mut froms = Dialect::ALL.into_iter().filter(|from| *from != to);
        let first = froms
            .next()
            .map(|from| translate(&stream(from), from, to))
            .expect("two");
        let second = froms
            .next()
            .map(|from| translate(&stream(from), from, to))
            .expect("two");
        assert_eq!(first, second, "{to:?}");
    }
}

fn kinds(events: &[SseEvent]) -> Vec<&str> {
    events.iter().filter_map(|event| event.event.as_deref()).collect()
}

#[test]
fn events_come_in_the_order_of_the_documentation() {
    let messages = translate(&chat_stream(), Chat, Messages);
    let expected = "message_start \
        content_block_start content_block_delta content_block_delta content_block_stop \
        content_block_start content_block_delta content_block_delta content_block_stop \
        message_delta message_stop";
    assert_eq!(kinds(&messages).join(" "), expected);
    let responses = translate(&chat_stream(), Chat, Responses);
    let expected = "response.created response.in_progress \
        response.output_item.added response.content_part.added \
        response.output_text.delta response.output_text.delta \
        response.output_text.done response.content_part.done response.output_item.done \
        response.output_item.added \
        response.function_call_arguments.delta response.function_call_arguments.delta \
        response.function_call_arguments.done response.output_item.done \
        response.completed";
    assert_eq!(kinds(&responses).join(" "), expected);
    for (number, event) in responses.iter().enumerate() {
        let body: Value = serde_json::from_str(&event.data).expect("JSON");
        assert_eq!(body["sequence_number"], number);
    }
    let chat = translate(&messages_stream(), Messages, Chat);
    assert_eq!(chat.last(), Some(&SseEvent::unnamed("[DONE]")));
    let usage: Value = serde_json::from_str(&chat[chat.len() - 2].data).expect("JSON");
    assert_eq!(
        (&usage["choices"], &usage["usage"]["prompt_tokens"]),
        (&json!([]), &json!(100))
    );
}

#[test]
fn usage_is_told_only_to_those_who_ask() {
    let mut translator = StreamTranslator::new(Messages, Chat, ReplyOptions::default());
    let events: Vec<SseEvent> = messages_stream()
        .iter()
        .flat_map(|event| translator.push(event))
        .collect();
    assert!(events.iter().all(|event| !event.data.contains("usage")));
    let usage = translator.summary().usage.expect("usage");
    assert_eq!((usage.input, usage.cached_input, usage.output), (100, 64, 20));
    assert!(translator.summary().is_complete && translator.is_over());
}

#[test]
fn a_call_without_arguments_gets_an_empty_object() {
    let call = json!({"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": ""}}]});
    let chat = [chat_event(&call, &json!("tool_calls")), SseEvent::unnamed("[DONE]")];
    let body = collect(Responses, &translate(&chat, Chat, Responses));
    assert_eq!(body["output"][0]["arguments"], "{}");
    let start = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "1", "name": "f", "input": {}}});
    let end = json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}});
    let body = collect(Chat, &translate(&[typed(&start), typed(&end)], Messages, Chat));
    assert_eq!(
        body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"],
        "{}"
    );
}

#[test]
fn servers_that_tell_calls_in_their_own_way() {
    // No index, no id, arguments at once.
    let call = |name: &str| json!({"tool_calls": [{"function": {"name": name, "arguments": "{}"}, "id": name}]});
    let chat = [
        chat_event(&call("f"), &Value::Null),
        chat_event(&call("g"), &json!("stop")),
    ];
    let body = collect(Messages, &translate(&chat, Chat, Messages));
    assert_eq!(
        (&body["content"][1]["id"], &body["stop_reason"]),
        (&json!("g"), &json!("tool_use"))
    );
    let call = json!({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]});
    let body = collect(
        Messages,
        &translate(&[chat_event(&call, &json!("stop"))], Chat, Messages),
    );
    assert_eq!(body["content"][0]["id"], "call_0");
    let start = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}});
    let stop = json!({"type": "content_block_stop", "index": 0});
    let end = json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}});
    let body = collect(
        Chat,
        &translate(&[typed(&start), typed(&stop), typed(&end)], Messages, Chat),
    );
    assert_eq!(
        body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"],
        "{\"a\":1}"
    );
}

/// A stream that goes wrong ends in the client's dialect, once, and says nothing after.
fn check_fails(from: Dialect, broken: &[SseEvent], expected: &str) {
    for to in Dialect::ALL.into_iter().filter(|to| *to != from) {
        let mut translator = StreamTranslator::new(from, to, options());
        let mut events: Vec<SseEvent> = broken.iter().flat_map(|event| translator.push(event)).collect();
        events.extend(translator.finish());
        let failure = translator.summary().failure.clone().expect("a failure");
        assert!(failure.message.contains(expected), "{}", failure.message);
        assert!(translator.push(&stream(from)[0]).is_empty() && translator.finish().is_empty());
        let body = |event: &SseEvent| serde_json::from_str::<Value>(&event.data).unwrap_or_default();
        let errors: Vec<Value> = events
            .iter()
            .map(body)
            .filter(|body| match to {
                Chat => body["error"].is_object(),
                Responses => body["type"] == "response.failed" && body["response"]["error"].is_object(),
                Messages => body["type"] == "error",
            })
            .collect();
        assert_eq!(errors.len(), 1, "{to:?} {events:?}");
        assert!(errors[0].to_string().contains(expected));
        assert!(
            !kinds(&events)
                .iter()
                .any(|kind| ["message_stop", "response.completed"].contains(kind))
        );
    }
}

#[test]
fn streams_that_go_wrong() {
    check_fails(Chat, &chat_stream()[..4], "broke off");
    check_fails(Messages, &messages_stream()[..9], "broke off");
    check_fails(Responses, &responses_stream()[..9], "broke off");
    for dialect in Dialect::ALL {
        check_fails(dialect, &[], "broke off");
        check_fails(dialect, &[SseEvent::unnamed("{\"half\": ")], "not JSON");
        check_fails(
            dialect,
            &[stream(dialect)[0].clone(), SseEvent::unnamed("garbage")],
            "not JSON",
        );
    }
    check_fails(
        Chat,
        &[SseEvent::unnamed("{\"choices\": 3}")],
        "`choices` must be a list, found 3",
    );
    check_fails(
        Chat,
        &[SseEvent::unnamed(
            r#"{"error": {"message": "out of memory", "code": 500}}"#,
        )],
        "out of memory",
    );
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    check_fails(
        Messages,
        &[messages_stream()[0].clone(), typed(&overloaded)],
        "Overloaded",
    );
    let failed = json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error", "message": "oops"}}});
    check_fails(Responses, &[responses_stream()[0].clone(), typed(&failed)], "oops");
    let error = json!({"type": "error", "code": "server_error", "message": "oops", "param": null});
    check_fails(Responses, &[typed(&error)], "oops");
    // Arguments for a call that ended cannot be told any more.
    let call = |index: u64, id: &str| json!({"tool_calls": [{"index": index, "id": id, "function": {"name": "f", "arguments": "{"}}]});
    let mixed = [
        chat_event(&call(0, "a"), &Value::Null),
        chat_event(&call(1, "b"), &Value::Null),
        chat_event(&call(0, "a"), &Value::Null),
    ];
    check_fails(Chat, &mixed, "began last");
}

#[test]
fn a_reason_to_finish_is_an_end_even_without_the_last_word() {
    let body = collect(Messages, &translate(&chat_stream()[..7], Chat, Messages));
    assert_eq!(body["stop_reason"], "tool_use");
}

#[test]
fn an_event_too_long_is_an_error() {
    let mut translator = StreamTranslator::new(Chat, Messages, options());
    let mut text = Vec::new();
    for _ in 0..9 {
        text.extend(translator.push_bytes(&vec![b'x'; 1 << 20]));
    }
    text.extend(translator.finish_bytes());
    assert!(String::from_utf8(text).expect("text").contains("too long"));
}
