//! A Responses reply, and the parts of it that a stream tells one by one.

use serde_json::{Map, Value, json};

use crate::dialect::{Dialect, bare_id};
use crate::error::ChatError;
use crate::failure::Failure;
use crate::fields::{Fields, Reading};
use crate::neutral::{Output, map};
use crate::reply::{BadReply, Finish, Reply, ReplyOptions, Usage};
use crate::responses::read;

pub(crate) fn read(body: &Map<String, Value>) -> Result<Reply, BadReply> {
    if let Some(failure) = Failure::read(body) {
        return Err(failure.into());
    }
    let body = Fields::new(body);
    let status = body.text("status")?;
    let (Some("completed" | "incomplete") | None) = status else {
        let message = format!("the upstream's response is {}", status.unwrap_or_default());
        return Err(Failure::bad_gateway(message).into());
    };
    let mut reply = Reply {
        id: body.text("id")?.map(str::to_owned),
        finish: Some(finish(&body)?),
        usage: usage(&body),
        ..Reply::default()
    };
    if body.value("output").is_none() {
        return Err(body.wrong("output", "a list").into());
    }
    for item in body.objects("output")? {
        match item.need_text("type")? {
            "message" => {
                for output in read::said(&item, Reading::Gist)? {
                    reply.push(output);
                }
            }
            "function_call" => reply.push(read::call(&item, Reading::Gist)?),
            // Thoughts, and work of tools that the provider runs.
            _ => {}
        }
    }
    Ok(reply)
}

/// Why a response ended, by its status.
pub(crate) fn finish(response: &Fields<'_>) -> Result<Finish, ChatError> {
    let details = response.object("incomplete_details")?;
    let reason = details.map(|details| details.text("reason")).transpose()?.flatten();
    Ok(match (response.text("status")?, reason) {
        (Some("incomplete"), Some("content_filter")) => Finish::Filtered,
        (Some("incomplete"), _) => Finish::Length,
        _ => Finish::Stop,
    })
}

/// None where a count that matters is missing or is no count.
pub(crate) fn usage(response: &Fields<'_>) -> Option<Usage> {
    let usage = response.counts("usage")?;
    let detail = |object: &str, key: &str| {
        let details = usage.counts(object);
        details.and_then(|details| details.tokens(key)).unwrap_or(0)
    };
    Some(Usage {
        input: usage.tokens("input_tokens")?,
        cached_input: detail("input_tokens_details", "cached_tokens"),
        cache_written: detail("input_tokens_details", "cache_write_tokens"),
        output: usage.tokens("output_tokens")?,
        reasoning: detail("output_tokens_details", "reasoning_tokens"),
    })
}

fn write_usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached_input, "cache_write_tokens": usage.cache_written},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input.saturating_add(usage.output),
    })
}

pub(crate) fn write(reply: Reply, options: &ReplyOptions) -> Map<String, Value> {
    let id = options.id_in(Dialect::Responses, reply.id.as_deref());
    let (status, details) = status(&reply.finish());
    let items = items(reply.outputs, &id);
    envelope(&id, options, status, &items, &details, reply.usage)
}

/// The status of a response that came to an end, and its `incomplete_details`.
pub(crate) fn status(finish: &Finish) -> (&'static str, Value) {
    match finish {
        Finish::Length => ("incomplete", json!({"reason": "max_output_tokens"})),
        Finish::Filtered => ("incomplete", json!({"reason": "content_filter"})),
        Finish::Stop | Finish::StopSequence(_) | Finish::ToolCalls => ("completed", Value::Null),
    }
}

/// A response object, with the fields of the request that clients expect to be repeated.
pub(crate) fn envelope(
    id: &str,
    options: &ReplyOptions,
    status: &str,
    output: &[Value],
    details: &Value,
    usage: Option<Usage>,
) -> Map<String, Value> {
    let mut response = map(json!({
        "id": id,
        "object": "response",
        "created_at": options.created,
        "status": status,
        "error": null,
        "incomplete_details": details,
        "instructions": null,
        "metadata": {},
        "model": options.model,
        "output": output,
        "parallel_tool_calls": true,
        "temperature": null,
        "tool_choice": "auto",
        "tools": [],
        "top_p": null,
        "usage": usage.map(write_usage),
    }));
    let echoed = options.echo.iter().filter(|(_, value)| !value.is_null());
    response.extend(echoed.map(|(key, value)| (key.clone(), value.clone())));
    response
}

/// Words that follow one another are parts of one message.
fn items(outputs: Vec<Output>, id: &str) -> Vec<Value> {
    let mut items: Vec<Value> = Vec::new();
    let mut is_open = false;
    for output in outputs {
        let idx = items.len();
        if let Output::Call {
            id: call,
            name,
            arguments,
        } = &output
        {
            items.push(call_item(&item_id("fc", id, idx), call, name, arguments, "completed"));
            is_open = false;
            continue;
        }
        if !is_open {
            items.push(message_item(&item_id("msg", id, idx), &[], "completed"));
            is_open = true;
        }
        let content = items.last_mut().and_then(|item| item["content"].as_array_mut());
        content.expect("a message was just put there").push(part(&output));
    }
    items
}

pub(crate) fn item_id(prefix: &str, response_id: &str, idx: usize) -> String {
    format!("{prefix}_{}_{idx}", bare_id(response_id))
}

pub(crate) fn message_item(id: &str, content: &[Value], status: &str) -> Value {
    json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
}

pub(crate) fn call_item(id: &str, call_id: &str, name: &str, arguments: &str, status: &str) -> Value {
    json!({
        "id": id, "type": "function_call", "status": status,
        "call_id": call_id, "name": name, "arguments": arguments,
    })
}

/// A part of a message; a call is not one.
pub(crate) fn part(output: &Output) -> Value {
    match output {
        Output::Text(text) => json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text}),
        Output::Refusal(text) => json!({"type": "refusal", "refusal": text}),
        Output::Call { .. } => Value::Null,
    }
}
