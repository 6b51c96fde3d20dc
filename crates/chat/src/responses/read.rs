//! A Responses request into the neutral form.

use serde_json::{Map, Value};

use crate::chat::read::{named_choice, openai};
use crate::error::Unreadable;
use crate::fields::{Fields, Reading};
use crate::neutral::{Asked, Format, Image, Output, Part, Tool, ToolChoice, Turn};
use crate::responses::known::{BODY, CALL, FORMAT, MESSAGE, PART, REASONING, RESULT, TEXT, TOOL};

type Read<T> = Result<T, Unreadable>;

pub(crate) fn read(body: &Map<String, Value>, reading: Reading) -> Read<Asked> {
    let body = Fields::new(body);
    body.only(reading, &BODY)?;
    include(&body, reading)?;
    let mut asked = Asked {
        model: body.value("model").cloned(),
        tool_choice: tool_choice(&body, reading)?,
        parallel_tool_calls: body.flag("parallel_tool_calls")?,
        max_output_tokens: body.whole("max_output_tokens")?,
        temperature: body.number("temperature")?,
        top_p: body.number("top_p")?,
        stream: body.flag("stream")?,
        openai: openai(&body),
        ..Asked::default()
    };
    if let Some(reasoning) = body.object("reasoning")? {
        reasoning.only(reading, &REASONING)?;
        asked.effort = reasoning.text("effort")?.map(str::to_owned);
    }
    if let Some(text) = body.object("text")? {
        text.only(reading, &TEXT)?;
        asked.verbosity = text.text("verbosity")?.map(str::to_owned);
        asked.format = format(&text, reading)?;
    }
    for tool in body.list("tools")? {
        asked.tools.extend(function(tool.0, tool.1, reading)?);
    }
    if let Some(instructions) = body.text("instructions")? {
        asked.turns.push(Turn::System {
            is_developer: false,
            parts: vec![Part::Text(instructions.to_owned())],
        });
    }
    match body.value("input") {
        Some(Value::String(text)) => asked.turns.push(Turn::User(vec![Part::Text(text.clone())])),
        _ => {
            for item in body.objects("input")? {
                self::item(&mut asked, &item, reading)?;
            }
        }
    }
    Ok(asked)
}

/// Extras of the reply. All but the probabilities come from tools that are refused anyway, or can be done without.
fn include(body: &Fields<'_>, reading: Reading) -> Read<()> {
    for (wanted, place) in body.list("include")? {
        if wanted == "message.output_text.logprobs" {
            reading.refuse(place, "asks for log probabilities, which cannot be translated")?;
        }
    }
    Ok(())
}

fn item(asked: &mut Asked, item: &Fields<'_>, reading: Reading) -> Read<()> {
    match item.text("type")?.unwrap_or("message") {
        "message" => message(asked, item, reading)?,
        "function_call" => {
            let call = call(item, reading)?;
            asked.push_said(item.place(), vec![call]);
        }
        "function_call_output" => {
            item.only(reading, &RESULT)?;
            asked.turns.push(Turn::Tool {
                call_id: item.need_text("call_id")?.to_owned(),
                parts: parts(item, "output", reading)?,
            });
        }
        // Thoughts of an earlier turn, readable only to the provider that had them.
        "reasoning" => {}
        kind => reading.refuse(item.at("type"), format!("is {kind}, which cannot be translated"))?,
    }
    Ok(())
}

fn message(asked: &mut Asked, item: &Fields<'_>, reading: Reading) -> Read<()> {
    item.only(reading, &MESSAGE)?;
    let role = item.need_text("role")?;
    match role {
        "user" => asked.turns.push(Turn::User(parts(item, "content", reading)?)),
        "system" | "developer" => asked.turns.push(Turn::System {
            is_developer: role == "developer",
            parts: parts(item, "content", reading)?,
        }),
        "assistant" => {
            let said = said(item, reading)?;
            // Words after a call belong to the same turn: elsewhere its results must follow at once.
            let is_open = matches!(asked.turns.last(), Some(Turn::Assistant { said, .. })
                if said.iter().any(|output| matches!(output, Output::Call { .. })));
            let place = item.place();
            if is_open {
                asked.push_said(place, said);
            } else {
                asked.turns.push(Turn::Assistant { place, said });
            }
        }
        _ => reading.refuse(item.at("role"), format!("is {role}, a role that only this dialect has"))?,
    }
    Ok(())
}

fn parts(item: &Fields<'_>, key: &str, reading: Reading) -> Read<Vec<Part>> {
    if let Some(Value::String(text)) = item.value(key) {
        return Ok(vec![Part::Text(text.clone())]);
    }
    let mut parts = Vec::new();
    for part in item.objects(key)? {
        match part.need_text("type")? {
            "input_text" | "output_text" | "text" => {
                part.only(reading, &PART)?;
                parts.push(Part::Text(part.need_text("text")?.to_owned()));
            }
            "input_image" => parts.push(image(&part, reading)?),
            kind => reading.refuse(part.at("type"), format!("is {kind}, which cannot be translated"))?,
        }
    }
    Ok(parts)
}

fn image(part: &Fields<'_>, reading: Reading) -> Read<Part> {
    part.only(reading, &PART)?;
    let url = part.text("image_url")?;
    if url.is_none() {
        reading.refuse(
            part.at("image_url"),
            "is missing: only an image by URL can be translated",
        )?;
    }
    Ok(Part::Image {
        place: part.at("image_url"),
        source: Image::of_url(url.filter(|_| reading == Reading::Whole).unwrap_or_default()),
        detail: part.text("detail")?.map(str::to_owned),
    })
}

/// Words of the model, of a request or of a reply.
pub(crate) fn said(item: &Fields<'_>, reading: Reading) -> Read<Vec<Output>> {
    if let Some(Value::String(text)) = item.value("content") {
        return Ok(vec![Output::Text(text.clone())]);
    }
    let mut said = Vec::new();
    for part in item.objects("content")? {
        part.only(reading, &PART)?;
        match part.need_text("type")? {
            "output_text" | "input_text" | "text" => said.push(Output::Text(part.need_text("text")?.to_owned())),
            "refusal" => said.push(Output::Refusal(part.need_text("refusal")?.to_owned())),
            kind => reading.refuse(part.at("type"), format!("is {kind}, which cannot be translated"))?,
        }
    }
    Ok(said)
}

/// A call of a tool, of a request or of a reply.
pub(crate) fn call(item: &Fields<'_>, reading: Reading) -> Read<Output> {
    item.only(reading, &CALL)?;
    let arguments = item.text("arguments")?.filter(|text| !text.trim().is_empty());
    Ok(Output::Call {
        id: item.need_text("call_id")?.to_owned(),
        name: item.need_text("name")?.to_owned(),
        arguments: arguments.unwrap_or("{}").to_owned(),
    })
}

fn function(value: &Value, place: String, reading: Reading) -> Read<Option<Tool>> {
    let tool = Fields::of(value, place)?;
    let kind = tool.need_text("type")?;
    if kind != "function" {
        reading.refuse(
            tool.at("type"),
            format!("is {kind}: only function tools can be translated"),
        )?;
        return Ok(Some(Tool::Foreign(value.clone())));
    }
    tool.only(reading, &TOOL)?;
    Ok(Some(Tool::Function {
        name: tool.need_text("name")?.to_owned(),
        description: tool.text("description")?.map(str::to_owned),
        parameters: tool.value("parameters").cloned(),
        strict: tool.flag("strict")?,
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
        "function" => Ok(Some(ToolChoice::Named(choice.need_text("name")?.to_owned()))),
        kind => {
            reading.refuse(choice.at("type"), format!("is {kind}, which cannot be translated"))?;
            Ok(None)
        }
    }
}

fn format(text: &Fields<'_>, reading: Reading) -> Read<Option<Format>> {
    let Some(format) = text.object("format")? else {
        return Ok(None);
    };
    format.only(reading, &FORMAT)?;
    match format.need_text("type")? {
        "text" => Ok(None),
        "json_object" => Ok(Some(Format::JsonObject)),
        "json_schema" => Ok(Some(Format::Schema {
            name: format.text("name")?.map(str::to_owned),
            description: format.text("description")?.map(str::to_owned),
            schema: format.value("schema").cloned().unwrap_or_else(|| Map::new().into()),
            strict: format.flag("strict")?,
        })),
        kind => {
            reading.refuse(format.at("type"), format!("is {kind}, which cannot be translated"))?;
            Ok(None)
        }
    }
}
