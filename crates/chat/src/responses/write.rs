//! A Responses request out of the neutral form.

use serde_json::{Map, Value, json};

use crate::dialect::Dialect;
use crate::error::Untranslatable;
use crate::neutral::{Asked, Format, Output, Part, Tool, ToolChoice, Turn, map, put};

/// Name of a schema whose dialect gives it none; Responses requires one.
const SCHEMA_NAME: &str = "reply";

pub(crate) fn write(asked: Asked, from: Dialect) -> Result<Map<String, Value>, Untranslatable> {
    if !asked.stop.is_empty() {
        let field = if from == Dialect::Chat {
            "stop"
        } else {
            "stop_sequences"
        };
        return Err(Untranslatable::new(field, "has no counterpart in Responses"));
    }
    let mut body = Map::new();
    put(&mut body, "model", asked.model);
    body.insert("input".to_owned(), asked.turns.into_iter().flat_map(items).collect());
    if !asked.tools.is_empty() {
        body.insert("tools".to_owned(), asked.tools.into_iter().map(tool).collect());
        put(&mut body, "tool_choice", asked.tool_choice.map(tool_choice));
        put(&mut body, "parallel_tool_calls", asked.parallel_tool_calls);
    }
    let mut text = Map::new();
    put(&mut text, "format", asked.format.map(format));
    put(&mut text, "verbosity", asked.verbosity);
    put(&mut body, "text", (!text.is_empty()).then_some(text));
    put(&mut body, "max_output_tokens", asked.max_output_tokens);
    put(&mut body, "temperature", asked.temperature.map(Value::Number));
    put(&mut body, "top_p", asked.top_p.map(Value::Number));
    put(&mut body, "stream", asked.stream);
    put(
        &mut body,
        "reasoning",
        asked.effort.map(|effort| json!({"effort": effort})),
    );
    body.extend(asked.openai);
    // The tier is one of several: it has no use for what it stored. Responses stores by default, the others do not.
    body.entry("store").or_insert(false.into());
    Ok(body)
}

fn items(turn: Turn) -> Vec<Value> {
    match turn {
        Turn::System { is_developer, parts } => {
            let role = if is_developer { "developer" } else { "system" };
            vec![json!({"role": role, "content": content(parts)})]
        }
        Turn::User(parts) => vec![json!({"role": "user", "content": content(parts)})],
        Turn::Assistant { said, .. } => assistant(said),
        Turn::Tool { call_id, parts } => vec![json!({
            "type": "function_call_output", "call_id": call_id, "output": content(parts),
        })],
    }
}

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
        Part::Text(text) => json!({"type": "input_text", "text": text}),
        Part::Image { source, detail, .. } => json!({
            "type": "input_image", "image_url": source.into_url(), "detail": detail.as_deref().unwrap_or("auto"),
        }),
    }
}

/// Words that follow one another are one message; every call is an item of its own.
fn assistant(said: Vec<Output>) -> Vec<Value> {
    let mut items = Vec::new();
    let mut words: Vec<Value> = Vec::new();
    let message = |words: Vec<Value>| match words.as_slice() {
        [one] if one["type"] == "output_text" => json!({"role": "assistant", "content": one["text"]}),
        // Parts of the model's words are only taken in an item with all the fields of a reply's.
        _ => json!({"type": "message", "role": "assistant", "content": words}),
    };
    for output in said {
        match output {
            Output::Text(text) => words.push(json!({"type": "output_text", "text": text, "annotations": []})),
            Output::Refusal(text) => words.push(json!({"type": "refusal", "refusal": text})),
            Output::Call { id, name, arguments } => {
                if !words.is_empty() {
                    items.push(message(std::mem::take(&mut words)));
                }
                items.push(json!({"type": "function_call", "call_id": id, "name": name, "arguments": arguments}));
            }
        }
    }
    if !words.is_empty() {
        items.push(message(words));
    }
    items
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
            let mut tool = map(json!({"type": "function", "name": name}));
            put(&mut tool, "description", description);
            tool.insert("parameters".to_owned(), parameters.unwrap_or(Value::Null));
            // Without the field Responses would be strict, the others not.
            tool.insert("strict".to_owned(), strict.unwrap_or(false).into());
            tool.into()
        }
    }
}

fn tool_choice(choice: ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({"type": "function", "name": name}),
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
            let mut format = map(json!({"type": "json_schema", "name": name.as_deref().unwrap_or(SCHEMA_NAME)}));
            put(&mut format, "description", description);
            format.insert("schema".to_owned(), schema);
            put(&mut format, "strict", strict);
            format.into()
        }
    }
}
