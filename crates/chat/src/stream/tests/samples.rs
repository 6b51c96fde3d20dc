//! One reply as the three providers stream it, written by hand after their documentation.

use super::*;

pub(super) fn chat_event(delta: &Value, finish: &Value) -> SseEvent {
    SseEvent::unnamed(
        json!({
            "id": "chatcmpl-7f", "object": "chat.completion.chunk", "created": 7, "model": "m",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
        })
        .to_string(),
    )
}

pub(super) fn typed(body: &Value) -> SseEvent {
    SseEvent::named(body["type"].as_str().expect("typed"), body.to_string())
}

/// Text, then a call, then the usage, as OpenAI sends it.
pub(super) fn chat_stream() -> Vec<SseEvent> {
    let none = Value::Null;
    let call = |fields: Value| json!({"tool_calls": [fields]});
    vec![
        chat_event(&json!({"role": "assistant", "content": "", "refusal": null}), &none),
        chat_event(&json!({"content": "Let me"}), &none),
        chat_event(&json!({"content": " look."}), &none),
        chat_event(
            &call(json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}})),
            &none,
        ),
        chat_event(&call(json!({"index": 0, "function": {"arguments": "{\"city\":"}})), &none),
        chat_event(&call(json!({"index": 0, "function": {"arguments": "\"Oslo\"}"}})), &none),
        chat_event(&json!({}), &json!("tool_calls")),
        SseEvent::unnamed(
            json!({"id": "chatcmpl-7f", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [], "usage": {
                "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 64},
            }})
            .to_string(),
        ),
        SseEvent::unnamed("[DONE]"),
    ]
}

/// The same from Anthropic.
pub(super) fn messages_stream() -> Vec<SseEvent> {
    [
        json!({"type": "message_start", "message": {
            "id": "msg_7f", "type": "message", "role": "assistant", "content": [], "model": "m",
            "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 36, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 64, "output_tokens": 1},
        }}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "x"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Let me"}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": " look."}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2, "content_block": {
            "type": "tool_use", "id": "call_1", "name": "weather", "input": {},
        }}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"city\":"}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "\"Oslo\"}"}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 20}}),
        json!({"type": "message_stop"}),
    ]
    .iter()
    .map(typed)
    .collect()
}

/// The same from OpenAI Responses.
pub(super) fn responses_stream() -> Vec<SseEvent> {
    [
        json!({"type": "response.created", "response": {"id": "resp_7f", "status": "in_progress", "error": null, "output": [], "usage": null}}),
        json!({"type": "response.in_progress", "response": {"id": "resp_7f", "status": "in_progress", "output": []}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "rs_1", "type": "reasoning", "summary": []}}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": {"id": "rs_1", "type": "reasoning", "summary": []}}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": {
            "id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": [],
        }}),
        json!({"type": "response.content_part.added", "output_index": 1, "content_index": 0, "item_id": "msg_1", "part": {"type": "output_text", "text": "", "annotations": []}}),
        json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "item_id": "msg_1", "delta": "Let me"}),
        json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "item_id": "msg_1", "delta": " look."}),
        json!({"type": "response.output_text.done", "output_index": 1, "content_index": 0, "item_id": "msg_1", "text": "Let me look."}),
        json!({"type": "response.output_item.done", "output_index": 1, "item": {
            "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}],
        }}),
        json!({"type": "response.output_item.added", "output_index": 2, "item": {
            "id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "", "status": "in_progress",
        }}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 2, "item_id": "fc_1", "delta": "{\"city\":"}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 2, "item_id": "fc_1", "delta": "\"Oslo\"}"}),
        json!({"type": "response.function_call_arguments.done", "output_index": 2, "item_id": "fc_1", "arguments": "{\"city\":\"Oslo\"}"}),
        json!({"type": "response.output_item.done", "output_index": 2, "item": {
            "id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather",
            "arguments": "{\"city\":\"Oslo\"}", "status": "completed",
        }}),
        json!({"type": "response.completed", "response": {"id": "resp_7f", "status": "completed", "error": null, "output": [], "usage": {
            "input_tokens": 100, "input_tokens_details": {"cached_tokens": 64},
            "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 120,
        }}}),
    ]
    .iter()
    .map(typed)
    .collect()
}

pub(super) fn stream(dialect: Dialect) -> Vec<SseEvent> {
    match dialect {
        Chat => chat_stream(),
        Responses => responses_stream(),
        Messages => messages_stream(),
    }
}
