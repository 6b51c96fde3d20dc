//! A Messages request into the neutral form.

use serde_json::{Map, Value};

use crate::chat::read::texts;
use crate::error::Unreadable;
use crate::fields::{Fields, Reading};
use crate::messages::effort::effort;
use crate::messages::known::{BLOCK, BODY, CHOICE, FORMAT, MESSAGE, METADATA, OUTPUT, TOOL};
use crate::messages::strict::is_closed;
use crate::neutral::{Asked, Format, Image, Output, Part, Tool, ToolChoice, Turn};

type Read<T> = Result<T, Unreadable>;

pub(crate) fn read(body: &Map<String, Value>, reading: Reading) -> Read<Asked> {
    let body = Fields::new(body);
    body.only(reading, &BODY)?;
    let output = body.object("output_config")?;
    if let Some(output) = &output {
        output.only(reading, &OUTPUT)?;
    }
    let (tool_choice, parallel_tool_calls) = tool_choice(&body, reading)?;
    let mut asked = Asked {
        model: body.value("model").cloned(),
        tool_choice,
        parallel_tool_calls,
        format: format(&body, output.as_ref(), reading)?,
        max_output_tokens: body.whole("max_tokens")?,
        temperature: body.number("temperature")?,
        top_p: body.number("top_p")?,
        stop: texts(&body, "stop_sequences")?,
        stream: body.flag("stream")?,
        effort: effort(&body, output.as_ref(), reading)?,
        ..Asked::default()
    };
    if let Some(metadata) = body.object("metadata")? {
        metadata.only(reading, &METADATA)?;
        crate::neutral::put(&mut asked.openai, "user", metadata.text("user_id")?);
    }
    for (tool, place) in body.list("tools")? {
        asked.tools.extend(self::tool(tool, place, reading)?);
    }
    let system = parts(&body, "system", reading)?;
    if !system.is_empty() {
        asked.turns.push(Turn::System {
            is_developer: false,
            parts: system,
        });
    }
    for message in body.objects("messages")? {
        self::message(&mut asked.turns, &message, reading)?;
    }
    if let Some(place) = asked.ends_in_prefill() {
        reading.refuse(
            place,
            "begins the reply (the last message is the assistant's), which other dialects do not continue",
        )?;
    }
    Ok(asked)
}

fn message(turns: &mut Vec<Turn>, message: &Fields<'_>, reading: Reading) -> Read<()> {
    message.only(reading, &MESSAGE)?;
    match message.need_text("role")? {
        "user" => user(turns, message, reading)?,
        "assistant" => turns.push(Turn::Assistant {
            place: message.place(),
            said: said(message, reading)?,
        }),
        "system" => turns.push(Turn::System {
            is_developer: false,
            parts: parts(message, "content", reading)?,
        }),
        role => reading.refuse(
            message.at("role"),
            format!("is {role}, a role that only this dialect has"),
        )?,
    }
    Ok(())
}

/// Results of tools first, as the other dialects want them right behind the calls, then what the user says.
fn user(turns: &mut Vec<Turn>, message: &Fields<'_>, reading: Reading) -> Read<()> {
    if let Some(Value::String(text)) = message.value("content") {
        turns.push(Turn::User(vec![Part::Text(text.clone())]));
        return Ok(());
    }
    let blocks = message.objects("content")?;
    let has_blocks = !blocks.is_empty();
    let mut said = Vec::new();
    let mut n_results = 0;
    for block in blocks {
        if block.need_text("type")? == "tool_result" {
            block.only(reading, &BLOCK)?;
            n_results += 1;
            turns.push(Turn::Tool {
                call_id: block.need_text("tool_use_id")?.to_owned(),
                parts: parts(&block, "content", reading)?,
            });
        } else {
            said.extend(part(&block, reading)?);
        }
    }
    if !said.is_empty() || !has_blocks || n_results == 0 {
        turns.push(Turn::User(said));
    }
    Ok(())
}

fn parts(object: &Fields<'_>, key: &str, reading: Reading) -> Read<Vec<Part>> {
    if let Some(Value::String(text)) = object.value(key) {
        return Ok(vec![Part::Text(text.clone())]);
    }
    let mut parts = Vec::new();
    for block in object.objects(key)? {
        parts.extend(part(&block, reading)?);
    }
    Ok(parts)
}

fn part(block: &Fields<'_>, reading: Reading) -> Read<Option<Part>> {
    match block.need_text("type")? {
        "text" => {
            block.only(reading, &BLOCK)?;
            Ok(Some(Part::Text(block.need_text("text")?.to_owned())))
        }
        "image" => {
            block.only(reading, &BLOCK)?;
            Ok(Some(image(&block.need_object("source")?, reading)?))
        }
        kind => {
            reading.refuse(block.at("type"), format!("is {kind}, which cannot be translated"))?;
            Ok(None)
        }
    }
}

fn image(source: &Fields<'_>, reading: Reading) -> Read<Part> {
    let kind = source.need_text("type")?;
    let image = match (kind, reading) {
        (_, Reading::Gist) => Image::Url(String::new()),
        ("base64", _) => Image::Base64 {
            media_type: source.need_text("media_type")?.to_owned(),
            data: source.need_text("data")?.to_owned(),
        },
        ("url", _) => Image::Url(source.need_text("url")?.to_owned()),
        _ => {
            reading.refuse(
                source.at("type"),
                format!("is {kind}: only base64 and url can be translated"),
            )?;
            Image::Url(String::new())
        }
    };
    Ok(Part::Image {
        place: source.place(),
        source: image,
        detail: None,
    })
}

/// What the model said, of a request or of a reply. Thoughts can be read by their provider alone.
pub(crate) fn said(message: &Fields<'_>, reading: Reading) -> Read<Vec<Output>> {
    if let Some(Value::String(text)) = message.value("content") {
        return Ok(vec![Output::Text(text.clone())]);
    }
    let mut said = Vec::new();
    for block in message.objects("content")? {
        match block.need_text("type")? {
            "text" => {
                block.only(reading, &BLOCK)?;
                said.push(Output::Text(block.need_text("text")?.to_owned()));
            }
            "tool_use" => {
                block.only(reading, &BLOCK)?;
                said.push(Output::Call {
                    id: block.need_text("id")?.to_owned(),
                    name: block.need_text("name")?.to_owned(),
                    arguments: block.value("input").map_or_else(|| "{}".to_owned(), Value::to_string),
                });
            }
            "thinking" | "redacted_thinking" => {}
            kind => reading.refuse(block.at("type"), format!("is {kind}, which cannot be translated"))?,
        }
    }
    Ok(said)
}

fn tool(value: &Value, place: String, reading: Reading) -> Read<Option<Tool>> {
    let tool = Fields::of(value, place)?;
    let kind = tool.text("type")?.unwrap_or("custom");
    if kind != "custom" {
        reading.refuse(
            tool.at("type"),
            format!("is {kind}: only the caller's own tools can be translated"),
        )?;
        return Ok(Some(Tool::Foreign(value.clone())));
    }
    tool.only(reading, &TOOL)?;
    Ok(Some(Tool::Function {
        name: tool.need_text("name")?.to_owned(),
        description: tool.text("description")?.map(str::to_owned),
        parameters: tool.value("input_schema").cloned(),
        strict: tool.flag("strict")?,
    }))
}

fn tool_choice(body: &Fields<'_>, reading: Reading) -> Read<(Option<ToolChoice>, Option<bool>)> {
    let Some(choice) = body.object("tool_choice")? else {
        return Ok((None, None));
    };
    choice.only(reading, &CHOICE)?;
    let is_parallel = choice.flag("disable_parallel_tool_use")?.map(|disabled| !disabled);
    let choice = match choice.need_text("type")? {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.need_text("name")?.to_owned()),
        kind => {
            reading.refuse(choice.at("type"), format!("is {kind}, which cannot be translated"))?;
            return Ok((None, is_parallel));
        }
    };
    Ok((Some(choice), is_parallel))
}

/// `output_config.format`, or `output_format` as the first version of it was called.
fn format(body: &Fields<'_>, output: Option<&Fields<'_>>, reading: Reading) -> Read<Option<Format>> {
    let newer = output.map(|output| output.object("format")).transpose()?.flatten();
    let Some(format) = newer.map_or_else(|| body.object("output_format"), |format| Ok(Some(format)))? else {
        return Ok(None);
    };
    format.only(reading, &FORMAT)?;
    if format.need_text("type")? != "json_schema" {
        reading.refuse(format.at("type"), "is not json_schema")?;
        return Ok(None);
    }
    let schema = format.value("schema").cloned().unwrap_or_else(|| Map::new().into());
    Ok(Some(Format::Schema {
        name: None,
        description: None,
        strict: Some(is_closed(&schema)),
        schema,
    }))
}
