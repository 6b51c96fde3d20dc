//! A request as the router sees it: what the human asks, and the shape of what is around it.

use serde::{Deserialize, Serialize};

/// The reduction of a chat body (see the `chat` crate) or of a prompt column.
///
/// `ask` is the human's last message and alone is read as text. Everything else is counted, so
/// that a long system prompt or many tools cannot change what the ask looks like.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Request {
    /// Text of the last message of the user, text parts joined by newlines.
    pub ask: String,
    /// What surrounds the ask.
    pub context: Context,
    /// What a tier must be able to do.
    pub needs: Needs,
    /// Limit on the reply's tokens where the caller set one.
    pub max_output_tokens: Option<u32>,
}

impl Request {
    /// A request of text alone.
    pub fn of_text(text: impl Into<String>) -> Self {
        Self {
            ask: text.into(),
            context: Context {
                n_messages: 1,
                ..Context::default()
            },
            ..Self::default()
        }
    }
}

/// Counts around the ask. Sizes are in bytes of UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Context {
    /// All messages, the ask included.
    pub n_messages: u32,
    /// Earlier messages of the user.
    pub n_earlier_asks: u32,
    /// Messages of the assistant.
    pub n_assistant: u32,
    /// Results of tools.
    pub n_tool_results: u32,
    /// Tools offered.
    pub n_tools: u32,
    /// Images anywhere.
    pub n_images: u32,
    /// Bytes of system and developer prompts.
    pub system_bytes: u64,
    /// Bytes of earlier messages of user and assistant, tool calls included.
    pub history_bytes: u64,
    /// Bytes of tool definitions, as JSON.
    pub tools_bytes: u64,
    /// Bytes of tool results.
    pub tool_result_bytes: u64,
    /// Whether messages follow the ask (an agent's loop is under way).
    pub agent_loop: bool,
}

impl Context {
    /// Bytes of everything but the ask.
    pub fn bytes(&self) -> u64 {
        self.system_bytes + self.history_bytes + self.tools_bytes + self.tool_result_bytes
    }
}

/// What a tier must be able to do for this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Needs {
    /// Tools are offered.
    pub tools: bool,
    /// The reply must follow a JSON schema.
    pub json_schema: bool,
    /// There is an image.
    pub vision: bool,
}
