//! A chat-completions request out of the neutral form.

use serde_json::{Map, Value, json};

use crate::error::Untranslatable;
use crate::fields::Reading;
use crate::neutral::{Asked, Format, Output, Part, Tool, ToolChoice, Turn, map, put};

type Object = Map<String, Value>;

/// Name of a schema whose dialect gives it none; chat requires one.
const SCHEMA_NAME: &str = "reply";

pub(crate) fn write(asked: Asked, reading: Reading) -> Result<Object, Untranslatable> {
    let mut body = Object::new();
    put(&mut body, "model", asked.model);
    let messages: Result<Vec<Object>, _> = asked.turns.into_iter().map(|turn| message(turn, reading)).collect();
    body.insert("messages".to_owned(), messages?.into());
    let has_tools = !asked.tools.is_empty();
    if has_tools {
        body.insert("tools".to_owned(), asked.tools.into_iter().map(tool).collect());
        put(&mut body, "tool_choice", asked.tool_choice.map(tool_choice));
        put(&mut body, "parallel_tool_calls", asked.parallel_tool_calls);
    }
    put(&mut body, "response_format", asked.format.map(format));
    put(&mut body, "max_completion_tokens", asked.max_output_tokens);
    put(&mut body, "temperature", asked.temperature.map(Value::Number));
    put(&mut body, "top_p", asked.top_p.map(Value::Number));
    if !asked.stop.is_empty() {
        body.insert("stop".to_owned(), asked.stop.into());
    }
    put(&mut body, "stream", asked.stream);
    if asked.stream == Some(true) {
        // The other dialects always tell the usage at the end of a stream.
        body.insert("stream_options".to_owned(), json!({"include_usage": true}));
    }
    put(&mut body, "reasoning_effort", asked.effort);
    put(&mut body, "verbosity", asked.verbosity);
    body.extend(asked.openai);
    Ok(body)
}

fn message(turn: Turn, reading: Reading) -> Result<Object, Untranslatable> {
    let message = match turn {
        Turn::System { is_developer, parts } => {
            let role = if is_developer { "developer" } else { "system" };
            json!({"role": role, "content": content(parts)})
        }
        Turn::User(parts) => json!({"role": "user", "content": content(parts)}),
        Turn::Assistant { said, .. } => return Ok(assistant(said)),
        Turn::Tool { call_id, parts } => {
            for part in &parts {
                if let (Part::Image { place, .. }, Reading::Whole) = (part, reading) {
                    return Err(Untranslatable::new(
                        place,
                        "is an image in the result of a tool, where chat takes text alone",
                    ));
                }
            }
            json!({"role": "tool", "tool_call_id": call_id, "content": content(parts)})
        }
    };
    Ok(map(message))
}

/// Text alone is written as text, for not every server takes parts.
fn content(parts: Vec<Part>) -> Value {
    match <[Part; 1]>::try_from(parts) {
        Ok([Part::Text(text)]) => text.into(),
        Ok([image]) => json!([part(image)]),
        Err(parts) if parts.is_empty() => "".into(),
        Err(parts) => parts.into_iter().map(part).collect(),
    }
}

fn part(part: Part) -> Value {
    match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Image { source, detail, .. } => {
            let mut image = map(json!({"url": source.into_url()}));
            put(&mut image, "detail", detail);
            json!({"type": "image_url", "image_url": image})
        }
    }
}

/// A message of the model, of a request or of a reply.
pub(crate) fn assistant(said: Vec<Output>) -> Object {
    let (mut text, mut refusal, mut calls) = (None, None, Vec::new());
    for output in said {
        match output {
            Output::Text(more) => text.get_or_insert_with(String::new).push_str(&more),
            Output::Refusal(more) => refusal.get_or_insert_with(String::new).push_str(&more),
            Output::Call { id, name, arguments } => calls.push(json!({
                "id": id, "type": "function", "function": {"name": name, "arguments": arguments},
            })),
        }
    }
    let mut message = map(json!({"role": "assistant", "content": text}));
    put(&mut message, "refusal", refusal);
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), calls.into());
    }
    message
}

fn tool(tool: Tool) -> Value {
    match tool {
        Tool::Foreign(tool) => tool,
        Tool::Function {
            name,
            description,
            parameters,
            strict,
        } => {
            let mut function = map(json!({"name": name}));
            put(&mut function, "description", description);
            put(&mut function, "parameters", parameters);
            put(&mut function, "strict", strict);
            json!({"type": "function", "function": function})
        }
    }
}

fn tool_choice(choice: ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({"type": "function", "function": {"name": name}}),
    }
}

fn format(format: Format) -> Value {
    match format {
        Format::JsonObject => json!({"type": "json_object"}),
        Format::Schema {
            name,
            description,
            schema,
            strict,
        } => {
            let mut inner = map(json!({"name": name.as_deref().unwrap_or(SCHEMA_NAME)}));
            put(&mut inner, "description", description);
            inner.insert("schema".to_owned(), schema);
            put(&mut inner, "strict", strict);
            json!({"type": "json_schema", "json_schema": inner})
        }
    }
}
