//! What a rule can look at.

use serde::{Deserialize, Serialize};

use super::task;
use crate::request::Request;

/// Bytes of a token, roughly, where nobody counted.
const BYTES_PER_TOKEN: u64 = 4;

/// A property of a request. Each is a whole number from 0, except the labels `task` and `asks_for`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Signal {
    /// Tokens of everything: as told, or a quarter of the bytes.
    InputTokens,
    /// Tokens of the ask: a quarter of its bytes.
    AskTokens,
    /// All messages.
    NMessages,
    /// Earlier messages of the user.
    NEarlierAsks,
    /// Tools offered.
    NTools,
    /// Calls of tools that have been answered.
    NToolCalls,
    /// Images.
    NImages,
    /// 1 while an agent's loop is under way, else 0.
    AgentLoop,
    /// 1 where tools are offered, else 0.
    NeedsTools,
    /// 1 where the reply must follow a JSON schema, else 0.
    NeedsJsonSchema,
    /// 1 where there is an image, else 0.
    NeedsVision,
    /// Limit on the reply's tokens; absent where the caller set none.
    MaxOutputTokens,
    /// Label of the task: as told, or `classification` or `slot_filling` where the ask says so in plain
    /// words; else absent.
    Task,
    /// What is asked for: `json`, `code` or `text`.
    AsksFor,
}

/// What the caller says of a request beside its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told<'a> {
    /// Label of the task, from `x-tiercast-task`.
    pub task: Option<&'a str>,
    /// Tokens of everything, where they were counted.
    pub input_tokens: Option<u64>,
}

/// Value of a signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Number(f64),
    Label(&'a str),
    /// A label that no rule names.
    OtherLabel,
    /// Nothing is said: no comparison with it holds.
    Absent,
}

/// What values a signal can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Domain {
    /// Whole numbers from 0.
    Count,
    /// The same, or none.
    OptionalCount,
    /// 0 or 1.
    Flag,
    /// Any label, or none.
    FreeLabel,
    /// One of these.
    Labels(&'static [&'static str]),
}

impl Signal {
    /// Every signal with its name.
    pub const NAMES: [(Self, &'static str); 14] = [
        (Self::InputTokens, "input_tokens"),
        (Self::AskTokens, "ask_tokens"),
        (Self::NMessages, "n_messages"),
        (Self::NEarlierAsks, "n_earlier_asks"),
        (Self::NTools, "n_tools"),
        (Self::NToolCalls, "n_tool_calls"),
        (Self::NImages, "n_images"),
        (Self::AgentLoop, "agent_loop"),
        (Self::NeedsTools, "needs_tools"),
        (Self::NeedsJsonSchema, "needs_json_schema"),
        (Self::NeedsVision, "needs_vision"),
        (Self::MaxOutputTokens, "max_output_tokens"),
        (Self::Task, "task"),
        (Self::AsksFor, "asks_for"),
    ];

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        let mut names = Self::NAMES.iter();
        names.find(|(signal, _)| *signal == self).map_or("", |(_, name)| name)
    }

    pub(super) fn domain(self) -> Domain {
        match self {
            Self::MaxOutputTokens => Domain::OptionalCount,
            Self::AgentLoop | Self::NeedsTools | Self::NeedsJsonSchema | Self::NeedsVision => Domain::Flag,
            Self::Task => Domain::FreeLabel,
            Self::AsksFor => Domain::Labels(&task::ASKED_FOR),
            _ => Domain::Count,
        }
    }

    pub(super) fn value<'a>(self, request: &Request, told: Told<'a>) -> Value<'a> {
        let context = &request.context;
        let tokens = |bytes: u64| bytes.div_ceil(BYTES_PER_TOKEN);
        let ask_bytes = request.ask.len() as u64;
        let number = match self {
            Self::Task => {
                let task = told.task.or_else(|| task::infer(&request.ask));
                return task.map_or(Value::Absent, Value::Label);
            }
            Self::AsksFor => return Value::Label(task::asked_for(request)),
            Self::MaxOutputTokens => match request.max_output_tokens {
                Some(limit) => u64::from(limit),
                None => return Value::Absent,
            },
            Self::InputTokens => told.input_tokens.unwrap_or_else(|| tokens(ask_bytes + context.bytes())),
            Self::AskTokens => tokens(ask_bytes),
            Self::NMessages => context.n_messages.into(),
            Self::NEarlierAsks => context.n_earlier_asks.into(),
            Self::NTools => context.n_tools.into(),
            Self::NToolCalls => context.n_tool_results.into(),
            Self::NImages => context.n_images.into(),
            Self::AgentLoop => context.agent_loop.into(),
            Self::NeedsTools => request.needs.tools.into(),
            Self::NeedsJsonSchema => request.needs.json_schema.into(),
            Self::NeedsVision => request.needs.vision.into(),
        };
        Value::Number(number as f64)
    }
}

impl TryFrom<String> for Signal {
    type Error = String;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        let found = Self::NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(signal, _)| *signal).ok_or_else(|| {
            let known: Vec<&str> = Self::NAMES.iter().map(|(_, known)| *known).collect();
            format!("there is no signal `{name}`; the signals are {}", known.join(", "))
        })
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.name().to_owned()
    }
}
