//! Bodies of the three dialects, written by hand after their public documentation.

use serde_json::{Value, json};

use super::*;
use crate::dialect::Dialect::{Chat, Messages, Responses};
use crate::neutral::map;

mod any;
mod refused;
mod replies;
mod samples;

use samples::{weather, weather_chat};

fn translate(body: &Value, from: Dialect, to: Dialect) -> Value {
    let body = map(body.clone());
    let translated = translate_request(&body, from, to);
    translated
        .unwrap_or_else(|error| panic!("{from:?} to {to:?}: {error}"))
        .into()
}

#[test]
fn one_conversation_is_the_same_in_all_dialects() {
    for from in Dialect::ALL {
        for to in Dialect::ALL {
            let mut expected = weather(to);
            let mut got = translate(&weather(from), from, to);
            if (from, to) == (Responses, Chat) {
                // What a client of Responses said explicitly stays explicit.
                assert_eq!(got["store"], false);
                map_of(&mut got).remove("store");
                map_of(&mut got["tools"][0]["function"]).remove("strict");
                for idx in [2, 3] {
                    map_of(&mut got["messages"][1]["content"][idx]["image_url"]).remove("detail");
                }
            }
            assert_eq!(got, expected.take(), "{from:?} to {to:?}");
        }
    }
}

fn map_of(value: &mut Value) -> &mut Object {
    value.as_object_mut().expect("an object")
}

#[test]
fn routing_reads_the_same_whatever_the_dialect() {
    let expected = routing_request(&map(weather_chat()), Chat).expect("valid");
    assert_eq!(expected.ask, "And tomorrow?");
    assert!(expected.needs.vision && expected.needs.tools);
    for dialect in [Responses, Messages] {
        let mut request = routing_request(&map(weather(dialect)), dialect).expect("valid");
        if dialect == Responses {
            // `strict` is a part of the tool there.
            request.context.tools_bytes = expected.context.tools_bytes;
        }
        assert_eq!(request, expected, "{dialect:?}");
    }
}

#[test]
fn routing_reads_what_cannot_be_translated() {
    let responses = json!({
        "input": [
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"role": "user", "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "file_id": "file-1"},
                {"type": "input_file", "file_id": "file-2"},
            ]},
        ],
        "tools": [{"type": "web_search"}],
        "previous_response_id": "resp_1",
        "text": {"format": {"type": "json_schema", "name": "s", "schema": {}}},
        "max_output_tokens": 9,
    });
    let request = routing_request(&map(responses), Responses).expect("valid");
    assert_eq!(request.ask, "look");
    assert_eq!((request.context.n_tools, request.context.n_images), (1, 1));
    assert!(request.needs.tools && request.needs.vision && request.needs.json_schema);
    assert_eq!(request.max_output_tokens, Some(9));
    let messages = json!({
        "system": [{"type": "text", "text": "12345", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "document", "source": {}}, {"type": "text", "text": "look"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "tool_use", "id": "t1", "name": "shot", "input": {}},
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            ]}]},
        ],
        "tools": [{"type": "bash_20250124", "name": "bash"}],
        "top_k": 5,
        "max_tokens": 9,
    });
    let request = routing_request(&map(messages), Messages).expect("valid");
    assert_eq!(request.ask, "look");
    assert!(request.context.agent_loop && request.needs.vision && request.needs.tools);
    assert_eq!((request.context.system_bytes, request.context.n_tool_results), (5, 1));
}

#[test]
fn a_body_without_an_ask_is_refused_in_its_own_words() {
    for (dialect, body, expected) in [
        (Chat, json!({"messages": []}), "`messages` must be a list of messages"),
        (
            Responses,
            json!({}),
            "`input` must be a list with a message of the user, found nothing",
        ),
        (Responses, json!({"input": 3}), "`input` must be a list, found 3"),
        (
            Messages,
            json!({"messages": [{"role": "assistant", "content": "x"}]}),
            "`messages` must be a list with",
        ),
        (
            Messages,
            json!({"messages": [{"content": "x"}]}),
            "`messages[0].role` must be a string, found nothing",
        ),
    ] {
        let error = routing_request(&map(body), dialect).expect_err("no ask").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_schema_is_one_in_all_dialects() {
    let schema = json!({
        "type": "object", "properties": {"city": {"type": "string"}},
        "required": ["city"], "additionalProperties": false,
    });
    let user = json!([{"role": "user", "content": "hi"}]);
    let chat = json!({"messages": user, "response_format": {"type": "json_schema", "json_schema": {
        "name": "place", "schema": schema, "strict": true,
    }}});
    let responses = json!({"input": user, "text": {"format": {
        "type": "json_schema", "name": "place", "schema": schema, "strict": true,
    }}, "store": false});
    let messages = json!({"max_tokens": DEFAULT, "messages": user, "output_config": {"format": {
        "type": "json_schema", "schema": schema,
    }}});
    assert_eq!(translate(&chat, Chat, Responses), responses);
    assert_eq!(translate(&chat, Chat, Messages), messages);
    assert_eq!(translate(&responses, Responses, Messages), messages);
    let mut back = translate(&messages, Messages, Chat);
    assert_eq!(back["response_format"]["json_schema"]["name"], "reply");
    back["response_format"]["json_schema"]["name"] = "place".into();
    assert_eq!(back["response_format"], chat["response_format"]);
    let older = json!({"max_tokens": 1, "messages": user, "output_format": {"type": "json_schema", "schema": schema}});
    assert_eq!(
        translate(&older, Messages, Chat)["response_format"]["type"],
        "json_schema"
    );
}

const DEFAULT: u64 = crate::DEFAULT_MAX_TOKENS;

#[test]
fn how_hard_to_think() {
    let user = json!([{"role": "user", "content": "hi"}]);
    for (effort, thinking, word) in [
        ("none", json!({"type": "disabled"}), Value::Null),
        ("minimal", Value::Null, json!("low")),
        ("high", Value::Null, json!("high")),
        ("max", Value::Null, json!("max")),
    ] {
        let body = translate(&json!({"messages": user, "reasoning_effort": effort}), Chat, Messages);
        assert_eq!(
            (&body["thinking"], &body["output_config"]["effort"]),
            (&thinking, &word),
            "{effort}"
        );
    }
    for (thinking, effort, expected) in [
        (
            json!({"type": "enabled", "budget_tokens": 1024}),
            Value::Null,
            json!("low"),
        ),
        (
            json!({"type": "enabled", "budget_tokens": 5000}),
            Value::Null,
            json!("medium"),
        ),
        (
            json!({"type": "enabled", "budget_tokens": 32000}),
            Value::Null,
            json!("high"),
        ),
        (json!({"type": "adaptive"}), json!("max"), json!("max")),
        (json!({"type": "adaptive"}), Value::Null, Value::Null),
        (json!({"type": "disabled"}), json!("max"), Value::Null),
    ] {
        let body = json!({"messages": user, "thinking": thinking, "output_config": {"effort": effort}});
        assert_eq!(
            translate(&body, Messages, Chat)["reasoning_effort"],
            expected,
            "{thinking}"
        );
    }
}

#[test]
fn an_agent_of_one_dialect_keeps_its_order_in_another() {
    // Results before words, prompts amid the talk, thoughts left out.
    let messages = json!({"max_tokens": 5, "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1]}},
        ]},
        {"role": "user", "content": [
            {"type": "text", "text": "hurry"},
            {"type": "tool_result", "tool_use_id": "t1", "is_error": true, "content": [{"type": "text", "text": "no such file"}]},
        ]},
    ]});
    let chat = translate(&messages, Messages, Chat);
    assert_eq!(
        chat["messages"],
        json!([
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":[1]}"}},
            ]},
            {"role": "tool", "tool_call_id": "t1", "content": "no such file"},
            {"role": "user", "content": "hurry"},
        ])
    );
    let responses = json!({"instructions": "Be brief.", "input": [
        {"role": "user", "content": "go"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "zzz"},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "", "status": "completed"},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [
            {"type": "output_text", "text": "Calling.", "annotations": [], "logprobs": []},
        ]},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "done"}]},
        {"role": "developer", "content": "Now in French."},
        {"role": "user", "content": "again"},
    ]});
    assert_eq!(
        translate(&responses, Responses, Chat)["messages"],
        json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": "Calling.", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "done"},
            {"role": "developer", "content": "Now in French."},
            {"role": "user", "content": "again"},
        ])
    );
    let body = translate(&responses, Responses, Messages);
    assert_eq!(
        body["system"],
        json!([{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Now in French."}])
    );
}

#[test]
fn calls_without_an_object_of_arguments_do_not_reach_messages() {
    let body = json!({"messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "[1"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
    ]});
    let error = translate_request(&map(body.clone()), Chat, Messages).expect_err("half a call");
    assert_eq!(error.field, "messages[1]");
    assert_eq!(translate(&body, Chat, Responses)["input"][1]["arguments"], "[1");
}

#[test]
fn the_same_dialect_changes_nothing_and_keeps_the_order_of_keys() {
    let text = r#"{"zeta":1,"model":"auto","input":3,"messages":{"b":1,"a":1.5},"stop":null}"#;
    let body: Object = serde_json::from_str(text).expect("JSON");
    for dialect in Dialect::ALL {
        let same = translate_request(&body, dialect, dialect).expect("as it is");
        assert_eq!(Value::from(same).to_string(), text);
    }
}
