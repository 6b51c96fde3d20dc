//! Replies.

use super::*;
use crate::failure::Failure;

fn options() -> ReplyOptions {
    ReplyOptions {
        model: "auto".to_owned(),
        id: "d-1".to_owned(),
        created: 1_760_000_000,
        ..ReplyOptions::default()
    }
}

fn chat_reply() -> Value {
    json!({
        "id": "chatcmpl-7f",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "auto",
        "choices": [{"index": 0, "message": {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}}],
            "refusal": null,
        }, "logprobs": null, "finish_reason": "tool_calls"}],
        "usage": {
            "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 16},
            "completion_tokens_details": {"reasoning_tokens": 5},
        },
    })
}

fn responses_reply() -> Value {
    json!({
        "id": "resp_7f",
        "object": "response",
        "created_at": 1_760_000_000,
        "status": "completed",
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "metadata": {},
        "model": "auto",
        "output": [
            {"id": "msg_7f_0", "type": "message", "status": "completed", "role": "assistant", "content": [
                {"type": "output_text", "annotations": [], "logprobs": [], "text": "Let me look."},
            ]},
            {"id": "fc_7f_1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "weather", "arguments": "{\"city\":\"Oslo\"}"},
        ],
        "parallel_tool_calls": true,
        "temperature": null,
        "tool_choice": "auto",
        "tools": [],
        "top_p": null,
        "usage": {
            "input_tokens": 100, "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 16},
            "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 120,
        },
    })
}

fn messages_reply() -> Value {
    json!({
        "id": "msg_7f",
        "type": "message",
        "role": "assistant",
        "model": "auto",
        "content": [
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": null,
        "usage": {
            "input_tokens": 20, "cache_creation_input_tokens": 16, "cache_read_input_tokens": 64,
            "output_tokens": 20, "output_tokens_details": {"thinking_tokens": 5},
        },
    })
}

fn reply(dialect: Dialect) -> Value {
    match dialect {
        Chat => chat_reply(),
        Responses => responses_reply(),
        Messages => messages_reply(),
    }
}

fn answer(body: &Value, from: Dialect, to: Dialect) -> Value {
    let translated = translate_response(&map(body.clone()), from, to, &options());
    translated
        .unwrap_or_else(|error| panic!("{from:?} to {to:?}: {error}"))
        .into()
}

#[test]
fn one_reply_is_the_same_in_all_dialects() {
    for from in Dialect::ALL {
        for to in Dialect::ALL {
            let mut upstream = reply(from);
            upstream["model"] = "provider-model-2".into();
            assert_eq!(answer(&upstream, from, to), reply(to), "{from:?} to {to:?}");
        }
    }
}

/// Ends of a reply: what chat says, what Responses says, what Messages says.
#[test]
fn reasons_to_finish() {
    let message = |reason: &str| json!({"content": [{"type": "text", "text": "x"}], "stop_reason": reason});
    for (reason, chat, status, why) in [
        ("end_turn", "stop", "completed", None),
        ("stop_sequence", "stop", "completed", None),
        ("pause_turn", "stop", "completed", None),
        ("max_tokens", "length", "incomplete", Some("max_output_tokens")),
        (
            "model_context_window_exceeded",
            "length",
            "incomplete",
            Some("max_output_tokens"),
        ),
        ("refusal", "content_filter", "incomplete", Some("content_filter")),
    ] {
        let body = answer(&message(reason), Messages, Chat);
        assert_eq!(body["choices"][0]["finish_reason"], chat, "{reason}");
        let body = answer(&message(reason), Messages, Responses);
        assert_eq!(body["status"], status, "{reason}");
        assert_eq!(body["incomplete_details"]["reason"].as_str(), why, "{reason}");
    }
    let chat = |reason: Value| json!({"choices": [{"message": {"content": "x"}, "finish_reason": reason}]});
    for (reason, expected) in [
        (json!("stop"), "end_turn"),
        (json!("length"), "max_tokens"),
        (json!("content_filter"), "refusal"),
        (json!("eos"), "end_turn"),
        (Value::Null, "end_turn"),
    ] {
        assert_eq!(answer(&chat(reason), Chat, Messages)["stop_reason"], expected);
    }
}

#[test]
fn a_server_that_says_stop_and_calls_is_set_right() {
    let mut body = chat_reply();
    body["choices"][0]["finish_reason"] = "stop".into();
    assert_eq!(answer(&body, Chat, Messages)["stop_reason"], "tool_use");
}

#[test]
fn refusals_thoughts_and_missing_things() {
    let refused = json!({"choices": [{"message": {"content": null, "refusal": "No."}, "finish_reason": "stop"}]});
    let body = answer(&refused, Chat, Messages);
    assert_eq!(
        (&body["content"][0]["text"], &body["stop_reason"]),
        (&json!("No."), &json!("refusal"))
    );
    let body = answer(&refused, Chat, Responses);
    assert_eq!(
        body["output"][0]["content"],
        json!([{"type": "refusal", "refusal": "No."}])
    );
    assert_eq!((&body["status"], &body["usage"]), (&json!("completed"), &Value::Null));
    assert_eq!(
        answer(&body, Responses, Chat)["choices"][0]["message"]["refusal"],
        "No."
    );
    assert_eq!(answer(&refused, Chat, Messages)["id"], "msg_d-1");

    let thought = json!({"id": "msg_1", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"},
    ], "stop_reason": "end_turn"});
    assert_eq!(
        answer(&thought, Messages, Chat)["choices"][0]["message"]["content"],
        "ab"
    );
    let thought =
        json!({"id": "resp_1", "status": "completed", "output": [{"type": "reasoning", "id": "rs_1", "summary": []}]});
    assert_eq!(answer(&thought, Responses, Messages)["content"], json!([]));
}

#[test]
fn a_response_repeats_the_request() {
    let request =
        map(json!({"input": "hi", "tools": [{"type": "function", "name": "f"}], "store": false, "temperature": null}));
    let options = ReplyOptions::to(&request, "auto", "d-1", 7);
    let body = translate_response(&map(chat_reply()), Chat, Responses, &options).expect("translates");
    assert_eq!(
        (&body["tools"][0]["name"], &body["store"]),
        (&json!("f"), &json!(false))
    );
    assert!(!body.contains_key("input"));
    assert!(!options.include_usage);
    let chat = map(json!({"stream_options": {"include_usage": true}}));
    assert!(ReplyOptions::to(&chat, "auto", "d-1", 7).include_usage);
}

#[test]
fn replies_that_are_none() {
    for (from, to, body, expected) in [
        (Chat, Messages, json!({}), "`choices` must be"),
        (
            Chat,
            Messages,
            json!({"choices": []}),
            "`choices` must be a list with a choice",
        ),
        (
            Chat,
            Messages,
            json!({"choices": [{"message": "x"}]}),
            "`choices[0].message` must be an object",
        ),
        (
            Messages,
            Chat,
            json!({"type": "message"}),
            "`content` must be a list of blocks",
        ),
        (
            Responses,
            Chat,
            json!({"status": "completed"}),
            "`output` must be a list",
        ),
        (
            Responses,
            Chat,
            json!({"status": "queued", "output": []}),
            "response is queued",
        ),
        (
            Responses,
            Chat,
            json!({"status": "failed", "error": {"code": "server_error", "message": "oops"}}),
            "oops",
        ),
    ] {
        let error = translate_response(&map(body), from, to, &options())
            .expect_err(expected)
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut half = chat_reply();
    half["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = "{\"city\":".into();
    let error = translate_response(&map(half), Chat, Messages, &options()).expect_err("half a call");
    assert!(matches!(error, BadReply::Malformed(_)));
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let error = translate_response(&map(overloaded), Messages, Chat, &options()).expect_err("an error");
    assert!(matches!(error, BadReply::Failed(Failure { status: 503, .. })));
}
