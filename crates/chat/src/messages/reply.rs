//! A Messages reply.

use serde_json::{Map, Value, json};

use crate::dialect::Dialect;
use crate::error::ChatError;
use crate::failure::Failure;
use crate::fields::{Fields, Reading};
use crate::messages::read;
use crate::messages::write::block;
use crate::neutral::map;
use crate::reply::{BadReply, Finish, Reply, ReplyOptions, Usage};

pub(crate) fn read(body: &Map<String, Value>) -> Result<Reply, BadReply> {
    if let Some(failure) = Failure::read(body) {
        return Err(failure.into());
    }
    let body = Fields::new(body);
    if body.value("content").is_none() {
        return Err(body.wrong("content", "a list of blocks").into());
    }
    let mut told = Told::default();
    if let Some(usage) = body.counts("usage") {
        told.take(&usage);
    }
    let mut reply = Reply {
        id: body.text("id")?.map(str::to_owned),
        finish: finish(&body)?,
        usage: told.usage(),
        ..Reply::default()
    };
    for output in read::said(&body, Reading::Gist)? {
        reply.push(output);
    }
    Ok(reply)
}

/// The `stop_reason` of a message or of a `message_delta`.
pub(crate) fn finish(object: &Fields<'_>) -> Result<Option<Finish>, ChatError> {
    Ok(match object.text("stop_reason")? {
        None => None,
        Some("max_tokens" | "model_context_window_exceeded") => Some(Finish::Length),
        Some("tool_use") => Some(Finish::ToolCalls),
        Some("stop_sequence") => Some(Finish::StopSequence(object.text("stop_sequence")?.map(str::to_owned))),
        Some("refusal") => Some(Finish::Filtered),
        Some(_) => Some(Finish::Stop),
    })
}

/// `stop_reason` and `stop_sequence`.
pub(crate) fn write_finish(finish: &Finish, is_refused: bool) -> (&'static str, Option<&str>) {
    match finish {
        Finish::Stop if is_refused => ("refusal", None),
        Finish::Stop => ("end_turn", None),
        Finish::StopSequence(sequence) => ("stop_sequence", sequence.as_deref()),
        Finish::Length => ("max_tokens", None),
        Finish::ToolCalls => ("tool_use", None),
        Finish::Filtered => ("refusal", None),
    }
}

/// The counts that were told so far. A stream tells some at its start and some at its end.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Without what the cache read and wrote, as Anthropic counts.
    uncached: Option<u64>,
    cached: u64,
    written: u64,
    output: Option<u64>,
    reasoning: u64,
}

impl Told {
    /// Takes over what is told anew.
    pub(crate) fn take(&mut self, object: &Fields<'_>) {
        self.uncached = object.tokens("input_tokens").or(self.uncached);
        self.cached = object.tokens("cache_read_input_tokens").unwrap_or(self.cached);
        self.written = object.tokens("cache_creation_input_tokens").unwrap_or(self.written);
        self.output = object.tokens("output_tokens").or(self.output);
        let details = object.counts("output_tokens_details");
        let thinking = details.and_then(|details| details.tokens("thinking_tokens"));
        self.reasoning = thinking.unwrap_or(self.reasoning);
    }

    /// None as long as a count that matters is missing.
    pub(crate) fn usage(&self) -> Option<Usage> {
        Some(Usage {
            input: self.uncached?.saturating_add(self.cached).saturating_add(self.written),
            cached_input: self.cached,
            cache_written: self.written,
            output: self.output?,
            reasoning: self.reasoning,
        })
    }
}

pub(crate) fn write_usage(usage: Usage) -> Value {
    let cached = usage.cached_input.saturating_add(usage.cache_written);
    json!({
        "input_tokens": usage.input.saturating_sub(cached),
        "cache_creation_input_tokens": usage.cache_written,
        "cache_read_input_tokens": usage.cached_input,
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    })
}

pub(crate) fn write(reply: Reply, options: &ReplyOptions) -> Result<Map<String, Value>, BadReply> {
    let finish = reply.finish();
    let (reason, sequence) = write_finish(&finish, reply.is_refused());
    let id = options.id_in(Dialect::Messages, reply.id.as_deref());
    let usage = write_usage(reply.usage.unwrap_or_default());
    let blocks: Result<Vec<Value>, ()> = reply.outputs.into_iter().map(block).collect();
    let blocks = blocks.map_err(|()| {
        BadReply::Malformed("the upstream's reply calls a tool with arguments that are not a JSON object".to_owned())
    })?;
    Ok(map(json!({
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": options.model,
        "content": blocks,
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": usage,
    })))
}
