//! A chat-completions reply.

use serde_json::{Map, Value, json};

use crate::chat::read;
use crate::chat::write::assistant;
use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::fields::{Fields, Reading};
use crate::neutral::{Output, map};
use crate::reply::{BadReply, Finish, Reply, ReplyOptions, Usage};

pub(crate) fn read(body: &Map<String, Value>) -> Result<Reply, BadReply> {
    if let Some(failure) = Failure::read(body) {
        return Err(failure.into());
    }
    let body = Fields::new(body);
    let choices = body.objects("choices")?;
    let choice = choices
        .first()
        .ok_or_else(|| body.wrong("choices", "a list with a choice"))?;
    let mut reply = Reply {
        id: body.text("id")?.map(str::to_owned),
        finish: choice.text("finish_reason")?.map(finish),
        usage: usage(&body),
        ..Reply::default()
    };
    for output in read::said(&choice.need_object("message")?, Reading::Gist)? {
        reply.push(output);
    }
    Ok(reply)
}

/// The reason for an end. Words that we do not know are some server's way to say `stop`.
pub(crate) fn finish(word: &str) -> Finish {
    match word {
        "length" => Finish::Length,
        "tool_calls" | "function_call" => Finish::ToolCalls,
        "content_filter" => Finish::Filtered,
        _ => Finish::Stop,
    }
}

pub(crate) fn write_finish(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopSequence(_) => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::Filtered => "content_filter",
    }
}

/// The usage of a reply or a chunk; none where a count that matters is missing or is no count, since half of it
/// would be taken for a reply that cost nothing.
pub(crate) fn usage(body: &Fields<'_>) -> Option<Usage> {
    let usage = body.counts("usage")?;
    let detail = |object: &str, key: &str| {
        let details = usage.counts(object);
        details.and_then(|details| details.tokens(key)).unwrap_or(0)
    };
    Some(Usage {
        input: usage.tokens("prompt_tokens")?,
        cached_input: detail("prompt_tokens_details", "cached_tokens"),
        cache_written: detail("prompt_tokens_details", "cache_write_tokens"),
        output: usage.tokens("completion_tokens")?,
        reasoning: detail("completion_tokens_details", "reasoning_tokens"),
    })
}

pub(crate) fn write_usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
        "prompt_tokens_details": {"cached_tokens": usage.cached_input, "cache_write_tokens": usage.cache_written},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

pub(crate) fn write(reply: Reply, options: &ReplyOptions) -> Map<String, Value> {
    let finish = write_finish(&reply.finish());
    let has_refusal = reply.is_refused();
    let said: Vec<Output> = reply.outputs;
    let mut message = assistant(said);
    if !has_refusal {
        message.insert("refusal".to_owned(), Value::Null);
    }
    let mut body = map(json!({
        "id": options.id_in(Dialect::Chat, reply.id.as_deref()),
        "object": "chat.completion",
        "created": options.created,
        "model": options.model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}],
    }));
    if let Some(usage) = reply.usage {
        body.insert("usage".to_owned(), write_usage(usage));
    }
    body
}
