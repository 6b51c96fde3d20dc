//! Bytes to a checked body. Read by hand rather than derived, so that an error names its place.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::body::{ChatBody, Content, Message, Part, ResponseFormat, Role};
use crate::error::ChatError;

type Object = Map<String, Value>;

const ROLE: &str = "one of system, developer, user, assistant, tool, function";
const MESSAGES: &str = "a list of messages such as [{\"role\": \"user\", \"content\": \"...\"}]";

/// Reads a chat-completions body. Depth is bounded by the JSON parser, size by the caller.
pub fn parse(bytes: &[u8]) -> Result<ChatBody, ChatError> {
    let text = std::str::from_utf8(bytes).map_err(|error| ChatError::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    let value = serde_json::from_str(text).map_err(|error| ChatError::NotJson(error.to_string()))?;
    body(value)
}

pub(crate) fn body(value: Value) -> Result<ChatBody, ChatError> {
    let mut object = object(value, "the body", "an object with `messages`")?;
    let messages = match object.remove("messages") {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        other => return Err(wrong("messages", MESSAGES, other.as_ref())),
    };
    let messages = each(messages, "messages", message)?;
    if messages.iter().all(|message| message.role != Role::User) {
        return Err(ChatError::NoUserMessage);
    }
    Ok(ChatBody {
        model: take(&mut object, "", "model", "a string")?,
        messages,
        tools: take(&mut object, "", "tools", "a list of tools")?.unwrap_or_default(),
        functions: take(&mut object, "", "functions", "a list of functions")?.unwrap_or_default(),
        response_format: object
            .remove("response_format")
            .filter(|v| !v.is_null())
            .map(response_format)
            .transpose()?,
        max_tokens: take(&mut object, "", "max_tokens", "a whole number, 0 or more")?,
        max_completion_tokens: take(&mut object, "", "max_completion_tokens", "a whole number, 0 or more")?,
        stream: take(&mut object, "", "stream", "true or false")?,
        extra: object,
    })
}

fn message(value: Value, place: &str) -> Result<Message, ChatError> {
    let mut object = object(value, place, "an object with `role` and `content`")?;
    // As a string first: serde would take {"user": null} for a role too.
    let role = Value::String(require(&mut object, place, "role", ROLE)?);
    let role = Role::deserialize(&role).map_err(|_| wrong(join(place, "role"), ROLE, Some(&role)))?;
    let content = match object.remove("content") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(Content::Text(text)),
        Some(Value::Array(parts)) => Some(Content::Parts(each(parts, &join(place, "content"), part)?)),
        other => {
            return Err(wrong(
                join(place, "content"),
                "a string, null or a list of parts",
                other.as_ref(),
            ));
        }
    };
    Ok(Message {
        role,
        content,
        extra: object,
    })
}

fn part(value: Value, place: &str) -> Result<Part, ChatError> {
    let mut object = object(
        value,
        place,
        "an object such as {\"type\": \"text\", \"text\": \"...\"}",
    )?;
    let kind: String = require(&mut object, place, "type", "a string such as \"text\" or \"image_url\"")?;
    let text = match kind.as_str() {
        "text" => Some(require(&mut object, place, "text", "a string")?),
        _ => None,
    };
    Ok(Part {
        kind,
        text,
        extra: object,
    })
}

fn response_format(value: Value) -> Result<ResponseFormat, ChatError> {
    let place = "response_format";
    let mut object = object(value, place, "an object such as {\"type\": \"json_object\"}")?;
    let kind = require(
        &mut object,
        place,
        "type",
        "\"text\", \"json_object\" or \"json_schema\"",
    )?;
    Ok(ResponseFormat { kind, extra: object })
}

fn object(value: Value, place: &str, expected: &'static str) -> Result<Object, ChatError> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(wrong(place, expected, Some(&other))),
    }
}

fn each<T>(
    values: Vec<Value>,
    place: &str,
    read: impl Fn(Value, &str) -> Result<T, ChatError>,
) -> Result<Vec<T>, ChatError> {
    values
        .into_iter()
        .enumerate()
        .map(|(idx, value)| read(value, &format!("{place}[{idx}]")))
        .collect()
}

/// A field that may be missing or null.
fn take<T: DeserializeOwned>(
    object: &mut Object,
    place: &str,
    key: &str,
    expected: &'static str,
) -> Result<Option<T>, ChatError> {
    match object.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => T::deserialize(&value)
            .map(Some)
            .map_err(|_| wrong(join(place, key), expected, Some(&value))),
    }
}

/// A field that must be there.
fn require<T: DeserializeOwned>(
    object: &mut Object,
    place: &str,
    key: &str,
    expected: &'static str,
) -> Result<T, ChatError> {
    let is_null = object.contains_key(key).then_some(Value::Null);
    take(object, place, key, expected)?.ok_or_else(|| wrong(join(place, key), expected, is_null.as_ref()))
}

pub(crate) fn join(place: &str, key: &str) -> String {
    if place.is_empty() {
        key.to_owned()
    } else {
        format!("{place}.{key}")
    }
}

pub(crate) fn wrong(place: impl Into<String>, expected: &'static str, found: Option<&Value>) -> ChatError {
    // Numbers are told, text is not: an error may end up in a log.
    let found = match found {
        None => "nothing".to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Number(value)) => value.to_string(),
        Some(Value::String(_)) => "a string".to_owned(),
        Some(Value::Array(list)) if list.is_empty() => "an empty list".to_owned(),
        Some(Value::Array(_)) => "a list".to_owned(),
        Some(Value::Object(_)) => "an object".to_owned(),
    };
    ChatError::Wrong {
        place: place.into(),
        expected,
        found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &str) {
        let error = parse(body.as_bytes()).expect_err(body).to_string();
        assert!(error.contains(expected), "{body}\n  gave: {error}\n  not:  {expected}");
    }

    #[test]
    fn errors_name_the_place_and_the_mend() {
        check("", "not valid JSON: EOF while parsing a value at line 1 column 0");
        check("{\"messages\": [}", "at line 1 column 15");
        check(
            "[]",
            "`the body` must be an object with `messages`, found an empty list",
        );
        check("{}", "`messages` must be a list of messages");
        check("{}", "found nothing");
        check(r#"{"messages": null}"#, "found null");
        check(r#"{"messages": []}"#, "found an empty list");
        check(r#"{"messages": "hi"}"#, "found a string");
        check(r#"{"messages": ["hi"]}"#, "`messages[0]` must be an object with `role`");
        check(
            r#"{"messages": [{"content": "hi"}]}"#,
            "`messages[0].role` must be one of system, developer",
        );
        check(
            r#"{"messages": [{"role": "bot"}]}"#,
            "`messages[0].role` must be one of",
        );
        check(r#"{"messages": [{"role": null}]}"#, "function, found null");
        check(r#"{"messages": [{"role": 3}]}"#, "function, found 3");
        check(r#"{"messages": [{"role": {"user": null}}]}"#, "found an object");
        check(
            r#"{"messages": [{"role": "user", "content": 3}]}"#,
            "`messages[0].content` must be a string, null or",
        );
        check(
            r#"{"messages": [{"role": "user", "content": ["x"]}]}"#,
            "`messages[0].content[0]` must be an object",
        );
        check(
            r#"{"messages": [{"role": "user"}, {"role": "user"}, {"role": "user", "content": [{"type": "text", "text": ""}, {}]}]}"#,
            "`messages[2].content[1].type` must be a string",
        );
        check(
            r#"{"messages": [{"role": "user", "content": [{"type": "text"}]}]}"#,
            "`messages[0].content[0].text` must be a string, found nothing",
        );
        check(
            r#"{"messages": [{"role": "system", "content": "x"}]}"#,
            "no message of the user",
        );
    }

    #[test]
    fn errors_in_other_fields_name_them() {
        for (field, expected) in [
            (r#""model": 3"#, "`model` must be a string"),
            (r#""tools": {}"#, "`tools` must be a list of tools, found an object"),
            (r#""functions": "f""#, "`functions` must be a list"),
            (r#""response_format": "json""#, "`response_format` must be an object"),
            (r#""response_format": {}"#, "`response_format.type` must be"),
            (
                r#""max_tokens": -1"#,
                "`max_tokens` must be a whole number, 0 or more, found -1",
            ),
            (
                r#""max_completion_tokens": 1.5"#,
                "`max_completion_tokens` must be a whole number",
            ),
            (r#""stream": "yes""#, "`stream` must be true or false"),
        ] {
            check(&format!(r#"{{"messages": [{{"role": "user"}}], {field}}}"#), expected);
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_refused_with_their_offset() {
        let error = parse(b"{\"a\": \"\xff\"}").expect_err("not UTF-8");
        assert_eq!(error, ChatError::NotUtf8 { offset: 7 });
    }

    #[test]
    fn depth_is_bounded() {
        for deep in [
            "[".repeat(100_000),
            format!("{{\"messages\": {}", "[{\"a\":".repeat(100_000)),
        ] {
            check(&deep, "recursion limit exceeded");
        }
    }

    #[test]
    fn what_is_not_read_is_kept() {
        let body = serde_json::json!({
            "model": "auto",
            "messages": [
                {"role": "developer", "content": "be brief", "name": "ops"},
                {"role": "user", "content": [
                    {"type": "text", "text": "what is this?", "cache_control": {"type": "ephemeral"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
                    {"type": "from_the_future", "text": 3},
                ]},
                {"role": "assistant", "content": null, "tool_calls": [{"id": "1"}]},
                {"role": "tool", "content": "42", "tool_call_id": "1"},
            ],
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "s"}},
            "max_tokens": 7,
            "stream": true,
            "temperature": 0.5,
            "metadata": {"a": [1, null]},
        });
        let parsed = parse(body.to_string().as_bytes()).expect("valid");
        assert_eq!(parsed.extra.len(), 2);
        assert_eq!(serde_json::to_value(&parsed).expect("serializes"), body);
    }

    #[test]
    fn nulls_count_as_missing() {
        let nulls = r#"{"messages": [{"role": "user", "content": null}], "model": null, "tools": null,
            "functions": null, "response_format": null, "max_tokens": null, "stream": null}"#;
        let plain = r#"{"messages": [{"role": "user"}]}"#;
        assert_eq!(parse(nulls.as_bytes()), parse(plain.as_bytes()));
    }
}
