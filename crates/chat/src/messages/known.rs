//! The fields that a Messages request may hold to be translated, and those that are dropped.

use crate::fields::{Known, Plain};

pub(super) const BODY: Known = Known {
    read: &[
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "output_config",
        "output_format",
        "max_tokens",
        "temperature",
        "top_p",
        "stop_sequences",
        "stream",
        "thinking",
        "metadata",
    ],
    // What a provider may forget of a long conversation only saves room.
    dropped: &["cache_control", "context_management", "diagnostics"],
    default: &[
        ("service_tier", Plain::Word("auto")),
        ("service_tier", Plain::Word("standard_only")),
        ("speed", Plain::Word("standard")),
        ("mcp_servers", Plain::Empty),
    ],
};

pub(super) const METADATA: Known = Known {
    read: &["user_id"],
    dropped: &[],
    default: &[],
};

pub(super) const MESSAGE: Known = Known {
    read: &["role", "content"],
    dropped: &[],
    default: &[],
};

pub(super) const BLOCK: Known = Known {
    read: &[
        "type",
        "text",
        "source",
        "id",
        "name",
        "input",
        "tool_use_id",
        "content",
    ],
    // A failed call says so in its result too; no other dialect has a mark for it.
    dropped: &["cache_control", "citations", "is_error"],
    default: &[("caller", Plain::Type("direct"))],
};

pub(super) const TOOL: Known = Known {
    read: &["type", "name", "description", "input_schema", "strict"],
    dropped: &["cache_control", "eager_input_streaming", "input_examples"],
    default: &[
        ("defer_loading", Plain::False),
        ("allowed_callers", Plain::Only("direct")),
    ],
};

pub(super) const CHOICE: Known = Known {
    read: &["type", "name", "disable_parallel_tool_use"],
    dropped: &[],
    default: &[],
};

pub(super) const OUTPUT: Known = Known {
    read: &["effort", "format"],
    dropped: &[],
    default: &[],
};

pub(super) const FORMAT: Known = Known {
    read: &["type", "schema"],
    dropped: &[],
    default: &[],
};
