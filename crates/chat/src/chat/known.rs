//! The fields that a chat-completions request may hold to be translated, and those that are dropped.

use crate::fields::{Known, Plain};

pub(super) const BODY: Known = Known {
    read: &[
        "model",
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "stop",
        "stream",
        "reasoning_effort",
        "verbosity",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    ],
    // `stream_options` shapes the client's stream, which we write; `prediction` only makes a reply faster.
    dropped: &["stream_options", "prediction"],
    default: &[
        ("n", Plain::One),
        ("frequency_penalty", Plain::Zero),
        ("presence_penalty", Plain::Zero),
        ("logprobs", Plain::False),
        ("top_logprobs", Plain::Zero),
        ("logit_bias", Plain::Empty),
        ("functions", Plain::Empty),
        ("modalities", Plain::Only("text")),
    ],
};

pub(super) const PROMPT: Known = Known {
    read: &["role", "content"],
    dropped: &[],
    default: &[],
};

/// What a client sends back of a reply that it got, with what providers add to it.
pub(super) const ASSISTANT: Known = Known {
    read: &["role", "content", "refusal", "tool_calls"],
    dropped: &["annotations", "reasoning", "reasoning_content"],
    default: &[],
};

pub(super) const TOOL_RESULT: Known = Known {
    read: &["role", "content", "tool_call_id"],
    dropped: &["name"],
    default: &[],
};

pub(super) const PART: Known = Known {
    read: &["type", "text", "image_url", "refusal"],
    dropped: &["cache_control", "prompt_cache_breakpoint"],
    default: &[],
};

pub(super) const IMAGE: Known = Known {
    read: &["url", "detail"],
    dropped: &[],
    default: &[],
};

pub(super) const CALL: Known = Known {
    read: &["id", "type", "function"],
    dropped: &["index"],
    default: &[],
};

pub(super) const CALLED: Known = Known {
    read: &["name", "arguments"],
    dropped: &[],
    default: &[],
};

pub(super) const TOOL: Known = Known {
    read: &["type", "function"],
    dropped: &["cache_control"],
    default: &[],
};

pub(super) const FUNCTION: Known = Known {
    read: &["name", "description", "parameters", "strict"],
    dropped: &[],
    default: &[],
};

pub(super) const FORMAT: Known = Known {
    read: &["type", "json_schema"],
    dropped: &[],
    default: &[],
};

pub(super) const SCHEMA: Known = Known {
    read: &["name", "description", "schema", "strict"],
    dropped: &[],
    default: &[],
};
