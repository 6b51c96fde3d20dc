//! A chat call and its reply, as values.

use serde_json::{Map, Value};

use crate::error::ErrorKind;

/// What is asked. Model and the endpoint's parameters are filled in by the tier.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChatCall {
    /// Messages of the OpenAI dialect.
    pub messages: Vec<Value>,
    /// Tools, none if empty.
    pub tools: Vec<Value>,
    /// More of the body, such as `logprobs` or `response_format`; the endpoint's own parameters win.
    pub parameters: Map<String, Value>,
    /// Whether to stream, which is what gives a time to first token. An endpoint that refuses to
    /// stream is asked for a plain reply.
    pub stream: bool,
    /// Tokens of prompt and reply together, for the limit on tokens per minute.
    pub expected_tokens: u32,
    /// What to do when a stream ends in the middle of the reply.
    pub on_cut: OnCut,
}

/// What to do when a stream ends in the middle of the reply: the part that came has been paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnCut {
    /// Return the error. For callers that have passed the part on.
    #[default]
    GiveUp,
    /// Ask again from the start. For callers that only want whole replies.
    AskAgain,
}

/// What was answered, and how long it took.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reply {
    /// The text, empty where there are only tool calls.
    pub text: String,
    /// `tool_calls` of the message, merged where it was streamed.
    pub tool_calls: Option<Value>,
    /// `stop`, `length`, `tool_calls`, `content_filter` or the endpoint's own word.
    pub finish_reason: Option<String>,
    /// Tokens as reported. None where they are missing or contradict themselves.
    pub usage: Option<Usage>,
    /// Tokens were reported but cannot be true: negative, a total below its parts, nothing for a text.
    pub is_usage_contradictory: bool,
    /// `logprobs` of the choice; streamed parts are joined.
    pub logprobs: Option<Value>,
    /// Seconds from sending to the first piece of the reply; None for plain replies.
    pub time_to_first_token_s: Option<f64>,
    /// Seconds from sending to the last byte, of the attempt that succeeded.
    pub latency_s: f64,
    /// The attempts that failed before it.
    pub attempts: Vec<AttemptError>,
}

impl Reply {
    /// Whether the reply ran into its limit: never to be judged as if it were whole.
    pub fn is_truncated(&self) -> bool {
        self.finish_reason.as_deref() == Some("length")
    }
}

/// Tokens as the endpoint reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt, cached ones among them.
    pub input_tokens: u32,
    /// Tokens of the prompt that came from the endpoint's cache.
    pub cached_input_tokens: u32,
    /// Tokens of the reply.
    pub output_tokens: u32,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// HTTP status, where an answer came.
    pub status: Option<u16>,
    /// Seconds from sending to the failure.
    pub after_s: f64,
}
