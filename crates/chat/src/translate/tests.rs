//! Bodies of the three dialects, written by hand after their public documentation.

use serde_json::{Value, json};

use super::*;
use crate::dialect::Dialect::{Chat, Messages, Responses};
use crate::neutral::map;

mod replies;

fn translate(body: &Value, from: Dialect, to: Dialect) -> Value {
    let body = map(body.clone());
    let translated = translate_request(&body, from, to);
    translated
        .unwrap_or_else(|error| panic!("{from:?} to {to:?}: {error}"))
        .into()
}

/// A conversation with all that every dialect can say.
fn weather_chat() -> Value {
    json!({
        "model": "auto",
        "messages": [
            {"role": "system", "content": "Answer briefly."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is on this picture,"},
                {"type": "text", "text": "and will it rain there?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                {"type": "image_url", "image_url": {"url": "https://example.org/map.jpg"}},
            ]},
            {"role": "assistant", "content": "Let me look.", "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}},
                {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
            {"role": "tool", "tool_call_id": "call_2", "content": "sun"},
            {"role": "assistant", "content": "Rain in Oslo."},
            {"role": "user", "content": "And tomorrow?"},
        ],
        "tools": [{"type": "function", "function": {
            "name": "weather",
            "description": "Looks up the weather.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        }}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": false,
        "max_completion_tokens": 300,
        "temperature": 0.5,
        "top_p": 0.9,
        "stream": true,
        "stream_options": {"include_usage": true},
        "reasoning_effort": "low",
        "user": "u-17",
    })
}

fn weather_responses() -> Value {
    json!({
        "model": "auto",
        "input": [
            {"role": "system", "content": "Answer briefly."},
            {"role": "user", "content": [
                {"type": "input_text", "text": "What is on this picture,"},
                {"type": "input_text", "text": "and will it rain there?"},
                {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
                {"type": "input_image", "image_url": "https://example.org/map.jpg", "detail": "auto"},
            ]},
            {"role": "assistant", "content": "Let me look."},
            {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{\"city\":\"Oslo\"}"},
            {"type": "function_call", "call_id": "call_2", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
            {"type": "function_call_output", "call_id": "call_2", "output": "sun"},
            {"role": "assistant", "content": "Rain in Oslo."},
            {"role": "user", "content": "And tomorrow?"},
        ],
        "tools": [{
            "type": "function",
            "name": "weather",
            "description": "Looks up the weather.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            "strict": false,
        }],
        "tool_choice": {"type": "function", "name": "weather"},
        "parallel_tool_calls": false,
        "max_output_tokens": 300,
        "temperature": 0.5,
        "top_p": 0.9,
        "stream": true,
        "reasoning": {"effort": "low"},
        "user": "u-17",
        "store": false,
    })
}

fn weather_messages() -> Value {
    json!({
        "model": "auto",
        "max_tokens": 300,
        "system": "Answer briefly.",
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "What is on this picture,"},
                {"type": "text", "text": "and will it rain there?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
                {"type": "image", "source": {"type": "url", "url": "https://example.org/map.jpg"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
                {"type": "tool_use", "id": "call_2", "name": "weather", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": "sun"},
            ]},
            {"role": "assistant", "content": [{"type": "text", "text": "Rain in Oslo."}]},
            {"role": "user", "content": "And tomorrow?"},
        ],
        "tools": [{
            "name": "weather",
            "description": "Looks up the weather.",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
        }],
        "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": true},
        "output_config": {"effort": "low"},
        "temperature": 0.5,
        "top_p": 0.9,
        "stream": true,
        "metadata": {"user_id": "u-17"},
    })
}

fn weather(dialect: Dialect) -> Value {
    match dialect {
        Chat => weather_chat(),
        Responses => weather_responses(),
        Messages => weather_messages(),
    }
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

fn check_refused(from: Dialect, to: Dialect, fields: Value, field: &str) {
    let mut body = match from {
        Responses => map(json!({"input": "hi"})),
        _ => map(json!({"messages": [{"role": "user", "content": "hi"}]})),
    };
    body.extend(map(fields));
    let error = translate_request(&body, from, to).expect_err(field);
    assert_eq!(error.field, field, "{from:?} to {to:?}: {error}");
    assert!(
        translate_request(&body, from, from).is_ok(),
        "the same dialect takes all"
    );
}

#[test]
fn what_cannot_be_said_is_named() {
    let schema = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {}, "extra": 1}});
    for to in [Responses, Messages] {
        check_refused(Chat, to, json!({"n": 2}), "n");
        check_refused(Chat, to, json!({"seed": 7}), "seed");
        check_refused(Chat, to, json!({"logprobs": true}), "logprobs");
        check_refused(Chat, to, json!({"frequency_penalty": 0.5}), "frequency_penalty");
        check_refused(Chat, to, json!({"functions": [{"name": "f"}]}), "functions");
        check_refused(Chat, to, json!({"invented": "x"}), "invented");
        check_refused(Chat, to, json!({"max_tokens": -1}), "max_tokens");
        check_refused(Chat, to, json!({"tools": [{"type": "custom"}]}), "tools[0].type");
        check_refused(
            Chat,
            to,
            json!({"tool_choice": {"type": "allowed_tools"}}),
            "tool_choice.type",
        );
        check_refused(
            Chat,
            to,
            json!({"response_format": schema}),
            "response_format.json_schema.extra",
        );
        let audio = json!([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]);
        check_refused(
            Chat,
            to,
            json!({"messages": audio}),
            "messages[0].content[0].input_audio",
        );
        check_refused(
            Chat,
            to,
            json!({"messages": [{"role": "function", "name": "f"}]}),
            "messages[0].role",
        );
        check_refused(
            Chat,
            to,
            json!({"messages": [{"role": "user", "name": "ann"}]}),
            "messages[0].name",
        );
    }
    check_refused(Chat, Responses, json!({"stop": ["x"]}), "stop");
    check_refused(Chat, Messages, json!({"temperature": 1.5}), "temperature");
    check_refused(Chat, Messages, json!({"verbosity": "low"}), "verbosity");
    check_refused(Chat, Messages, json!({"service_tier": "flex"}), "service_tier");
    check_refused(
        Chat,
        Messages,
        json!({"response_format": {"type": "json_object"}}),
        "response_format",
    );
    let last = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
    check_refused(Chat, Messages, json!({"messages": last}), "messages[1]");
    let gif = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA"}}]}]);
    check_refused(
        Chat,
        Messages,
        json!({"messages": gif}),
        "messages[0].content[0].image_url.url",
    );
    for to in [Chat, Messages] {
        check_refused(
            Responses,
            to,
            json!({"previous_response_id": "resp_1"}),
            "previous_response_id",
        );
        check_refused(Responses, to, json!({"conversation": "conv_1"}), "conversation");
        check_refused(Responses, to, json!({"background": true}), "background");
        check_refused(Responses, to, json!({"truncation": "auto"}), "truncation");
        check_refused(
            Responses,
            to,
            json!({"tools": [{"type": "web_search"}]}),
            "tools[0].type",
        );
        check_refused(
            Responses,
            to,
            json!({"include": ["message.output_text.logprobs"]}),
            "include[0]",
        );
        check_refused(
            Responses,
            to,
            json!({"input": [{"type": "item_reference", "id": "x"}]}),
            "input[0].type",
        );
    }
    check_refused(
        Responses,
        Messages,
        json!({"text": {"format": {"type": "json_object"}}}),
        "text.format",
    );
    for to in [Chat, Responses] {
        check_refused(Messages, to, json!({"top_k": 5}), "top_k");
        check_refused(Messages, to, json!({"container": "c"}), "container");
        check_refused(Messages, to, json!({"inference_geo": "eu"}), "inference_geo");
        check_refused(
            Messages,
            to,
            json!({"tools": [{"type": "web_search_20250305", "name": "w"}]}),
            "tools[0].type",
        );
        check_refused(Messages, to, json!({"messages": last}), "messages[1]");
        let document = json!([{"role": "user", "content": [{"type": "document", "source": {}}]}]);
        check_refused(
            Messages,
            to,
            json!({"messages": document}),
            "messages[0].content[0].type",
        );
    }
    check_refused(Messages, Responses, json!({"stop_sequences": ["x"]}), "stop_sequences");
    let shot = json!([{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
    ]}]}]);
    check_refused(
        Messages,
        Chat,
        json!({"messages": shot}),
        "messages[0].content[0].content[0].source",
    );
}

/// Fields that change nothing are as good as none.
fn check_dropped(from: Dialect, to: Dialect, fields: Value) {
    let plain = match from {
        Responses => json!({"input": "hi"}),
        _ => json!({"messages": [{"role": "user", "content": "hi"}]}),
    };
    let mut body = map(plain.clone());
    body.extend(map(fields.clone()));
    assert_eq!(
        translate(&body.into(), from, to),
        translate(&plain, from, to),
        "{fields}"
    );
}

#[test]
fn what_says_nothing_is_dropped() {
    for to in [Responses, Messages] {
        check_dropped(
            Chat,
            to,
            json!({"n": 1, "frequency_penalty": 0, "logprobs": false, "logit_bias": {}, "seed": null}),
        );
        check_dropped(
            Chat,
            to,
            json!({"stream_options": {"include_usage": true}, "modalities": ["text"]}),
        );
        check_dropped(Chat, to, json!({"tools": [], "tool_choice": "none"}));
    }
    check_dropped(
        Chat,
        Messages,
        json!({"store": true, "metadata": {"a": "b"}, "prompt_cache_key": "k", "service_tier": "auto"}),
    );
    for to in [Chat, Messages] {
        check_dropped(
            Responses,
            to,
            json!({"background": false, "truncation": "disabled", "reasoning": {"summary": "auto"}}),
        );
        check_dropped(
            Responses,
            to,
            json!({"include": ["reasoning.encrypted_content"], "text": {"format": {"type": "text"}}}),
        );
    }
    for to in [Chat, Responses] {
        check_dropped(
            Messages,
            to,
            json!({"thinking": {"type": "disabled"}, "service_tier": "standard_only"}),
        );
        check_dropped(Messages, to, json!({"cache_control": {"type": "ephemeral"}}));
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
    check_refused(Chat, Messages, body.clone(), "messages[1]");
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
