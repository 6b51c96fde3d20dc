//! A chat-completions request into the neutral form.

use serde_json::{Map, Value};

use crate::chat::known::{
    ASSISTANT, BODY, CALL, CALLED, FORMAT, FUNCTION, IMAGE, PART, PROMPT, SCHEMA, TOOL, TOOL_RESULT,
};
use crate::error::Unreadable;
use crate::fields::{Fields, Reading};
use crate::neutral::{Asked, Format, Image, Output, Part, Tool, ToolChoice, Turn};

type Read<T> = Result<T, Unreadable>;

/// Fields that Responses names alike, so that they only have to be handed on.
pub(crate) const OPENAI: [&str; 8] = [
    "metadata",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
];

pub(crate) fn read(body: &Map<String, Value>, reading: Reading) -> Read<Asked> {
    let body = Fields::new(body);
    body.only(reading, &BODY)?;
    let mut asked = Asked {
        model: body.value("model").cloned(),
        tool_choice: tool_choice(&body, reading)?,
        parallel_tool_calls: body.flag("parallel_tool_calls")?,
        format: format(&body, reading)?,
        max_output_tokens: body.whole("max_completion_tokens")?.or(body.whole("max_tokens")?),
        temperature: body.number("temperature")?,
        top_p: body.number("top_p")?,
        stop: stop(&body)?,
        stream: body.flag("stream")?,
        effort: body.text("reasoning_effort")?.map(str::to_owned),
        verbosity: body.text("verbosity")?.map(str::to_owned),
        openai: openai(&body),
        ..Asked::default()
    };
    for tool in body.objects("tools")? {
        asked.tools.extend(function(&tool, reading)?);
    }
    for message in body.objects("messages")? {
        asked.turns.extend(turn(&message, reading)?);
    }
    Ok(asked)
}

/// The fields that both dialects of OpenAI name alike.
pub(crate) fn openai(body: &Fields<'_>) -> Map<String, Value> {
    let field = |key: &str| body.value(key).map(|value| (key.to_owned(), value.clone()));
    OPENAI.iter().filter_map(|key| field(key)).collect()
}

fn turn(message: &Fields<'_>, reading: Reading) -> Read<Option<Turn>> {
    let role = message.need_text("role")?;
    let turn = match role {
        "system" | "developer" => {
            message.only(reading, &PROMPT)?;
            Turn::System {
                is_developer: role == "developer",
                parts: parts(message, reading)?,
            }
        }
        "user" => {
            message.only(reading, &PROMPT)?;
            Turn::User(parts(message, reading)?)
        }
        "assistant" => Turn::Assistant {
            place: message.place(),
            said: said(message, reading)?,
        },
        "tool" => {
            message.only(reading, &TOOL_RESULT)?;
            Turn::Tool {
                call_id: message.need_text("tool_call_id")?.to_owned(),
                parts: parts(message, reading)?,
            }
        }
        _ => {
            reading.refuse(
                message.at("role"),
                format!("is {role}, a role that only this dialect has"),
            )?;
            return Ok(None);
        }
    };
    Ok(Some(turn))
}

fn parts(message: &Fields<'_>, reading: Reading) -> Read<Vec<Part>> {
    if let Some(Value::String(text)) = message.value("content") {
        return Ok(vec![Part::Text(text.clone())]);
    }
    let mut parts = Vec::new();
    for part in message.objects("content")? {
        part.only(reading, &PART)?;
        match part.need_text("type")? {
            "text" => parts.push(Part::Text(part.need_text("text")?.to_owned())),
            "image_url" => parts.push(image(&part.need_object("image_url")?, reading)?),
            kind => reading.refuse(part.at("type"), format!("is {kind}, which cannot be translated"))?,
        }
    }
    Ok(parts)
}

fn image(image: &Fields<'_>, reading: Reading) -> Read<Part> {
    image.only(reading, &IMAGE)?;
    Ok(Part::Image {
        place: image.at("url"),
        source: Image::of_url(image.need_text("url")?),
        detail: image.text("detail")?.map(str::to_owned),
    })
}

pub(crate) fn said(message: &Fields<'_>, reading: Reading) -> Read<Vec<Output>> {
    message.only(reading, &ASSISTANT)?;
    let mut said = Vec::new();
    if let Some(Value::String(text)) = message.value("content") {
        said.push(Output::Text(text.clone()));
    } else {
        for part in message.objects("content")? {
            part.only(reading, &PART)?;
            match part.need_text("type")? {
                "text" => said.push(Output::Text(part.need_text("text")?.to_owned())),
                "refusal" => said.push(Output::Refusal(part.need_text("refusal")?.to_owned())),
                kind => reading.refuse(part.at("type"), format!("is {kind}, which cannot be translated"))?,
            }
        }
    }
    said.extend(message.text("refusal")?.map(|text| Output::Refusal(text.to_owned())));
    for call in message.objects("tool_calls")? {
        said.extend(self::call(&call, reading)?);
    }
    said.retain(|output| !matches!(output, Output::Text(text) | Output::Refusal(text) if text.is_empty()));
    Ok(said)
}

/// One call of a tool, of a request or of a reply.
pub(crate) fn call(call: &Fields<'_>, reading: Reading) -> Read<Option<Output>> {
    if call.text("type")?.is_some_and(|kind| kind != "function") {
        reading.refuse(call.at("type"), "is not function")?;
        return Ok(None);
    }
    call.only(reading, &CALL)?;
    let function = call.need_object("function")?;
    function.only(reading, &CALLED)?;
    let arguments = function.text("arguments")?.filter(|text| !text.trim().is_empty());
    Ok(Some(Output::Call {
        id: call.need_text("id")?.to_owned(),
        name: function.need_text("name")?.to_owned(),
        arguments: arguments.unwrap_or("{}").to_owned(),
    }))
}

fn function(tool: &Fields<'_>, reading: Reading) -> Read<Option<Tool>> {
    let kind = tool.need_text("type")?;
    if kind != "function" {
        reading.refuse(
            tool.at("type"),
            format!("is {kind}: only function tools can be translated"),
        )?;
        return Ok(None);
    }
    tool.only(reading, &TOOL)?;
    let function = tool.need_object("function")?;
    function.only(reading, &FUNCTION)?;
    Ok(Some(Tool::Function {
        name: function.need_text("name")?.to_owned(),
        description: function.text("description")?.map(str::to_owned),
        parameters: function.value("parameters").cloned(),
        strict: function.flag("strict")?,
    }))
}

fn tool_choice(body: &Fields<'_>, reading: Reading) -> Read<Option<ToolChoice>> {
    if let Some(Value::String(word)) = body.value("tool_choice") {
        return named_choice(word, body, reading);
    }
    let Some(choice) = body.object("tool_choice")? else {
        return Ok(None);
    };
    match choice.need_text("type")? {
        "function" => {
            let function = choice.need_object("function")?;
            Ok(Some(ToolChoice::Named(function.need_text("name")?.to_owned())))
        }
        kind => {
            reading.refuse(choice.at("type"), format!("is {kind}, which cannot be translated"))?;
            Ok(None)
        }
    }
}

/// The words that both dialects of OpenAI have for a choice.
pub(crate) fn named_choice(word: &str, body: &Fields<'_>, reading: Reading) -> Read<Option<ToolChoice>> {
    match word {
        "auto" => Ok(Some(ToolChoice::Auto)),
        "none" => Ok(Some(ToolChoice::None)),
        "required" => Ok(Some(ToolChoice::Required)),
        _ => {
            reading.refuse(body.at("tool_choice"), "is none of auto, none, required")?;
            Ok(None)
        }
    }
}

fn format(body: &Fields<'_>, reading: Reading) -> Read<Option<Format>> {
    let Some(format) = body.object("response_format")? else {
        return Ok(None);
    };
    format.only(reading, &FORMAT)?;
    match format.need_text("type")? {
        "text" => Ok(None),
        "json_object" => Ok(Some(Format::JsonObject)),
        "json_schema" => Ok(Some(schema(&format.need_object("json_schema")?, reading)?)),
        kind => {
            reading.refuse(format.at("type"), format!("is {kind}, which cannot be translated"))?;
            Ok(None)
        }
    }
}

fn schema(schema: &Fields<'_>, reading: Reading) -> Read<Format> {
    schema.only(reading, &SCHEMA)?;
    Ok(Format::Schema {
        name: schema.text("name")?.map(str::to_owned),
        description: schema.text("description")?.map(str::to_owned),
        schema: schema.value("schema").cloned().unwrap_or_else(|| Map::new().into()),
        strict: schema.flag("strict")?,
    })
}

fn stop(body: &Fields<'_>) -> Read<Vec<String>> {
    match body.value("stop") {
        Some(Value::String(stop)) => Ok(vec![stop.clone()]),
        _ => texts(body, "stop"),
    }
}

/// A list of strings.
pub(crate) fn texts(body: &Fields<'_>, key: &str) -> Read<Vec<String>> {
    let mut texts = Vec::new();
    for (value, place) in body.list(key)? {
        let text = value
            .as_str()
            .ok_or_else(|| crate::parse::wrong(place, "a string", Some(value)))?;
        texts.push(text.to_owned());
    }
    Ok(texts)
}
