//! A reply in the form that all dialects share, whole and in pieces.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::dialect::Dialect;
use crate::error::{ChatError, Unreadable};
use crate::failure::Failure;
use crate::neutral::Output;

/// What a reply took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// All tokens of the request, cached ones included (Anthropic counts them apart; here they are in).
    pub input: u64,
    /// Those of the input that a cache held.
    pub cached_input: u64,
    /// Those of the input that were written into a cache.
    pub cache_written: u64,
    /// Tokens of the reply, reasoning included.
    pub output: u64,
    /// Those of the output that were reasoning.
    pub reasoning: u64,
}

/// Why a reply ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The model had said all.
    Stop,
    /// One of the client's stop sequences came; which one, where the upstream tells.
    StopSequence(Option<String>),
    /// A limit on tokens.
    Length,
    /// Tools are to be called.
    ToolCalls,
    /// The provider or the model would not go on.
    Filtered,
}

/// What the gateway says about a reply, beside what the upstream says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReplyOptions {
    /// Name of the model that the client is told.
    pub model: String,
    /// Id of the reply where the upstream has none.
    pub id: String,
    /// Unix seconds, for dialects whose replies carry a time.
    pub created: u64,
    /// Whether a chat stream ends in a chunk of usage.
    pub include_usage: bool,
    /// Fields of the client's request that a Responses reply repeats.
    pub echo: Map<String, Value>,
}

/// Fields of a request that the Responses dialect repeats in its reply.
const ECHOED: [&str; 15] = [
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "user",
];

impl ReplyOptions {
    /// For the reply to a request.
    pub fn to(request: &Map<String, Value>, model: &str, id: &str, created: u64) -> Self {
        let echoed = |key: &&str| request.get(*key).map(|value| ((*key).to_owned(), value.clone()));
        let include_usage = request
            .get("stream_options")
            .and_then(|options| options.get("include_usage"));
        Self {
            model: model.to_owned(),
            id: id.to_owned(),
            created,
            include_usage: include_usage.is_some_and(|wanted| wanted == true),
            echo: ECHOED.iter().filter_map(echoed).collect(),
        }
    }

    /// The upstream's id as one of the dialect, or our own.
    pub(crate) fn id_in(&self, dialect: Dialect, upstream: Option<&str>) -> String {
        dialect.id(upstream.unwrap_or(&self.id))
    }
}

/// A reply that cannot be handed on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadReply {
    /// Not what its dialect says.
    #[error("the upstream's reply: {0}")]
    Malformed(String),
    /// An error in the place of a reply.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<ChatError> for BadReply {
    fn from(error: ChatError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<Unreadable> for BadReply {
    fn from(error: Unreadable) -> Self {
        Self::from(ChatError::from(error))
    }
}

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reply {
    pub id: Option<String>,
    pub outputs: Vec<Output>,
    pub finish: Option<Finish>,
    pub usage: Option<Usage>,
}

impl Reply {
    /// Adds a piece. Text that follows text is one text: not every dialect keeps them apart.
    pub(crate) fn push(&mut self, output: Output) {
        match (self.outputs.last_mut(), output) {
            (_, Output::Text(text) | Output::Refusal(text)) if text.is_empty() => {}
            (Some(Output::Text(before)), Output::Text(text)) => before.push_str(&text),
            (Some(Output::Refusal(before)), Output::Refusal(text)) => before.push_str(&text),
            (_, output) => self.outputs.push(output),
        }
    }

    /// Why it ended. Some servers say `stop` although they call tools, and a client would not run them.
    pub(crate) fn finish(&self) -> Finish {
        let has_calls = self.outputs.iter().any(|output| matches!(output, Output::Call { .. }));
        settled(self.finish.clone(), has_calls)
    }

    /// Whether the model refuses in words.
    pub(crate) fn is_refused(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output, Output::Refusal(_)))
    }
}

/// The reason for an end, given what the reply holds.
pub(crate) fn settled(finish: Option<Finish>, has_calls: bool) -> Finish {
    match finish.unwrap_or(Finish::Stop) {
        Finish::Stop if has_calls => Finish::ToolCalls,
        finish => finish,
    }
}
