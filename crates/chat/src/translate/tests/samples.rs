//! One conversation in the three dialects.

use super::*;

/// A conversation with all that every dialect can say.
pub(super) fn weather_chat() -> Value {
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

pub(super) fn weather_responses() -> Value {
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

pub(super) fn weather_messages() -> Value {
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

pub(super) fn weather(dialect: Dialect) -> Value {
    match dialect {
        Chat => weather_chat(),
        Responses => weather_responses(),
        Messages => weather_messages(),
    }
}
