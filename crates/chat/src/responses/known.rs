//! The fields that a Responses request may hold to be translated, and those that are dropped.

use crate::fields::{Known, Plain};

pub(super) const BODY: Known = Known {
    read: &[
        "model",
        "input",
        "instructions",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "text",
        "max_output_tokens",
        "temperature",
        "top_p",
        "stream",
        "reasoning",
        "include",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    ],
    dropped: &["stream_options"],
    default: &[
        ("background", Plain::False),
        ("truncation", Plain::Word("disabled")),
        ("top_logprobs", Plain::Zero),
        ("context_management", Plain::Empty),
    ],
};

pub(super) const MESSAGE: Known = Known {
    read: &["type", "role", "content"],
    dropped: &["id", "status", "phase"],
    default: &[],
};

pub(super) const CALL: Known = Known {
    read: &["type", "call_id", "name", "arguments"],
    dropped: &["id", "status"],
    default: &[("caller", Plain::Type("direct")), ("async", Plain::False)],
};

pub(super) const RESULT: Known = Known {
    read: &["type", "call_id", "output"],
    dropped: &["id", "status", "name"],
    default: &[],
};

pub(super) const PART: Known = Known {
    read: &["type", "text", "image_url", "detail", "refusal"],
    dropped: &["annotations", "logprobs", "prompt_cache_breakpoint"],
    default: &[],
};

pub(super) const TOOL: Known = Known {
    read: &["type", "name", "description", "parameters", "strict"],
    dropped: &[],
    default: &[
        ("defer_loading", Plain::False),
        ("async", Plain::False),
        ("allowed_callers", Plain::Only("direct")),
    ],
};

pub(super) const TEXT: Known = Known {
    read: &["format", "verbosity"],
    dropped: &[],
    default: &[],
};

pub(super) const FORMAT: Known = Known {
    read: &["type", "name", "description", "schema", "strict"],
    dropped: &[],
    default: &[],
};

/// A summary of the reasoning is an extra that no other dialect has; the reply is the same without.
pub(super) const REASONING: Known = Known {
    read: &["effort"],
    dropped: &["summary", "generate_summary"],
    default: &[("mode", Plain::Word("standard")), ("context", Plain::Word("auto"))],
};
