//! A Messages request out of the neutral form.

use serde_json::{Map, Value, json};

use crate::dialect::Dialect;
use crate::error::Untranslatable;
use crate::messages::effort::write_effort;
use crate::neutral::{Asked, Format, Image, Output, Part, Tool, ToolChoice, Turn, map, put};

type Object = Map<String, Value>;

/// Limit on the reply where the client set none: Messages requires one, and this much every model can write.
pub const DEFAULT_MAX_TOKENS: u64 = 4_096;
/// Images that Messages takes inline.
const MEDIA_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

pub(crate) fn write(asked: Asked, from: Dialect) -> Result<Object, Untranslatable> {
    if let Some(place) = asked.ends_in_prefill() {
        return Err(Untranslatable::new(
            place,
            "is the assistant's and the last, which Messages takes for the beginning of the reply",
        ));
    }
    let mut body = Object::new();
    put(&mut body, "model", asked.model);
    let max_tokens = asked.max_output_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
    body.insert("max_tokens".to_owned(), max_tokens.into());
    let (system, messages) = conversation(asked.turns)?;
    put(&mut body, "system", system);
    body.insert("messages".to_owned(), messages.into());
    if !asked.tools.is_empty() {
        body.insert("tools".to_owned(), asked.tools.into_iter().map(tool).collect());
        put(
            &mut body,
            "tool_choice",
            choice(asked.tool_choice, asked.parallel_tool_calls),
        );
    }
    let mut output = Object::new();
    put(
        &mut output,
        "format",
        asked.format.map(|wanted| format(wanted, from)).transpose()?,
    );
    if let Some(effort) = &asked.effort {
        let field = if from == Dialect::Chat {
            "reasoning_effort"
        } else {
            "reasoning.effort"
        };
        write_effort(effort, field, &mut body, &mut output)?;
    }
    put(&mut body, "output_config", (!output.is_empty()).then_some(output));
    if asked
        .temperature
        .as_ref()
        .and_then(serde_json::Number::as_f64)
        .is_some_and(|t| t > 1.0)
    {
        return Err(Untranslatable::new(
            "temperature",
            "is over 1, the most that Messages takes",
        ));
    }
    put(&mut body, "temperature", asked.temperature.map(Value::Number));
    put(&mut body, "top_p", asked.top_p.map(Value::Number));
    if !asked.stop.is_empty() {
        body.insert("stop_sequences".to_owned(), asked.stop.into());
    }
    put(&mut body, "stream", asked.stream);
    if asked.verbosity.is_some_and(|verbosity| verbosity != "medium") {
        let field = if from == Dialect::Chat {
            "verbosity"
        } else {
            "text.verbosity"
        };
        return Err(Untranslatable::new(field, "has no counterpart in Messages"));
    }
    account(&asked.openai, &mut body)?;
    Ok(body)
}

/// What OpenAI knows about who asks and how it is accounted. Storing, caching and labels concern the
/// provider alone and are dropped; another class of service costs and takes another time, and is not.
fn account(openai: &Object, body: &mut Object) -> Result<(), Untranslatable> {
    let field = |key: &str| openai.get(key).and_then(Value::as_str);
    if let Some(class) = field("service_tier")
        && !["auto", "default"].contains(&class)
    {
        return Err(Untranslatable::new("service_tier", "has no counterpart in Messages"));
    }
    let user = field("user").or(field("safety_identifier"));
    put(body, "metadata", user.map(|user| json!({"user_id": user})));
    Ok(())
}

/// System prompts stand apart from the conversation. Those that came later are moved there too, in order.
fn conversation(turns: Vec<Turn>) -> Result<(Option<Value>, Vec<Value>), Untranslatable> {
    let mut system = Vec::new();
    let mut messages: Vec<Value> = Vec::new();
    let mut results: Vec<Value> = Vec::new();
    for turn in turns {
        // The results of calls made at once belong into one message.
        if !matches!(turn, Turn::Tool { .. }) && !results.is_empty() {
            messages.push(json!({"role": "user", "content": std::mem::take(&mut results)}));
        }
        match turn {
            Turn::System { parts, .. } => system.extend(parts),
            Turn::User(parts) => messages.push(json!({"role": "user", "content": content(parts)?})),
            Turn::Assistant { place, said } => {
                let blocks: Result<Vec<Value>, ()> = said.into_iter().map(block).collect();
                let blocks = blocks.map_err(|()| {
                    Untranslatable::new(&place, "calls a tool with arguments that are not a JSON object")
                })?;
                if !blocks.is_empty() {
                    messages.push(json!({"role": "assistant", "content": blocks}));
                }
            }
            Turn::Tool { call_id, parts } => results.push(json!({
                "type": "tool_result", "tool_use_id": call_id, "content": content(parts)?,
            })),
        }
    }
    if !results.is_empty() {
        messages.push(json!({"role": "user", "content": results}));
    }
    let system = if system.is_empty() {
        None
    } else {
        Some(content(system)?)
    };
    Ok((system, messages))
}

fn content(mut parts: Vec<Part>) -> Result<Value, Untranslatable> {
    if parts.len() > 1 {
        // Messages refuses blocks of no text.
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    }
    match <[Part; 1]>::try_from(parts) {
        Ok([Part::Text(text)]) => Ok(text.into()),
        Ok([image]) => Ok(json!([part(image)?])),
        Err(parts) if parts.is_empty() => Ok("".into()),
        Err(parts) => parts.into_iter().map(part).collect(),
    }
}

fn part(part: Part) -> Result<Value, Untranslatable> {
    let (place, source) = match part {
        Part::Text(text) => return Ok(json!({"type": "text", "text": text})),
        Part::Image { place, source, .. } => (place, source),
    };
    let source = match source {
        Image::Base64 { media_type, data } if MEDIA_TYPES.contains(&media_type.as_str()) => {
            json!({"type": "base64", "media_type": media_type, "data": data})
        }
        Image::Url(url) if !url.starts_with("data:") => json!({"type": "url", "url": url}),
        _ => {
            return Err(Untranslatable::new(
                place,
                "holds an image of a kind that Messages does not take: it takes JPEG, PNG, GIF and WebP as base64",
            ));
        }
    };
    Ok(json!({"type": "image", "source": source}))
}

/// A block of a request or of a reply; an error where arguments are not an object.
pub(crate) fn block(output: Output) -> Result<Value, ()> {
    match output {
        Output::Text(text) | Output::Refusal(text) => Ok(json!({"type": "text", "text": text})),
        Output::Call { id, name, arguments } => {
            let input: Object = serde_json::from_str(&arguments).map_err(|_| ())?;
            Ok(json!({"type": "tool_use", "id": id, "name": name, "input": input}))
        }
    }
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
            let mut tool = map(json!({"name": name}));
            put(&mut tool, "description", description);
            let schema = parameters.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
            tool.insert("input_schema".to_owned(), schema);
            put(&mut tool, "strict", strict.filter(|strict| *strict));
            tool.into()
        }
    }
}

fn choice(choice: Option<ToolChoice>, is_parallel: Option<bool>) -> Option<Value> {
    let is_serial = is_parallel == Some(false);
    let mut choice = map(match choice {
        Some(ToolChoice::None) => return Some(json!({"type": "none"})),
        Some(ToolChoice::Required) => json!({"type": "any"}),
        Some(ToolChoice::Named(name)) => json!({"type": "tool", "name": name}),
        Some(ToolChoice::Auto) => json!({"type": "auto"}),
        None if is_serial => json!({"type": "auto"}),
        None => return None,
    });
    put(&mut choice, "disable_parallel_tool_use", is_serial.then_some(true));
    Some(choice.into())
}

fn format(format: Format, from: Dialect) -> Result<Value, Untranslatable> {
    match format {
        Format::Schema { schema, .. } => Ok(json!({"type": "json_schema", "schema": schema})),
        Format::JsonObject => {
            let field = if from == Dialect::Chat {
                "response_format"
            } else {
                "text.format"
            };
            Err(Untranslatable::new(
                field,
                "is json_object, and Messages has JSON only by schema",
            ))
        }
    }
}
