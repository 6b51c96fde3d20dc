//! The fields of one prompt and the checks that need no other. Lines and table rows share them.

use serde_json::{Map, Value, json};
use tiercast_chat::prompt_request;

use super::Prompt;
use crate::error::{Fault, Problems, Spot};
use crate::outcomes::{PromptText, Split};
use crate::split;

/// Every field that is read.
pub(super) const FIELDS: [&str; 15] = [
    "prompt_id",
    "prompt",
    "prompt_format",
    "messages",
    "tools",
    "response_format",
    "schema",
    "reference",
    "question",
    "split_key",
    "split",
    "dataset",
    "subset",
    "domain",
    "judge",
];

const EITHER: &str = "Write either `prompt` (text) or `messages` (a chat list)";

/// A prompt whose own fields are right. Its split may yet be that of a near-duplicate.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub(super) prompt: Prompt,
    /// The split as the file gives it.
    pub(super) given: Option<Split>,
    /// The bare question, normalised: what near-duplicates are found by.
    pub(super) question: String,
    pub(super) spot: Spot,
}

/// The prompt of `fields`, or every problem with them.
pub(super) fn candidate(
    mut fields: Map<String, Value>,
    spot: Spot,
    stem: &str,
    problems: &mut Problems,
) -> Option<Candidate> {
    let text = problems.note_at(spot, text(&mut fields));
    let format = problems.note_at(spot, object(&mut fields, "response_format", "type"));
    let schema = problems.note_at(spot, schema(&mut fields));
    let judge = problems.note_at(spot, judge(&mut fields));
    let given = problems.note_at(spot, split_of(&mut fields));
    let words = ["prompt_id", "question", "split_key", "dataset", "subset", "domain"];
    let [id, question, key, dataset, subset, domain] =
        words.map(|field| problems.note_at(spot, string(&mut fields, field)));
    let (text, given, format) = (text?, given?, format?);
    let question = problems.note_at(spot, question?.map_or_else(|| ask(&text), Ok))?;
    let split_key = key?.unwrap_or_else(|| split::split_key(&question));
    let split = problems.note_at(spot, given.map_or_else(|| derived(&split_key), Ok))?;
    let dataset = dataset?.unwrap_or_else(|| stem.to_owned());
    Some(Candidate {
        prompt: Prompt {
            prompt_id: id?.unwrap_or_else(|| split::prompt_id(text.as_str())),
            split_key,
            split,
            subset: subset?.unwrap_or_else(|| dataset.clone()),
            dataset,
            domain: domain?.unwrap_or_else(|| "general".to_owned()),
            schema: schema?.or_else(|| schema_in(format.as_ref())),
            response_format: format,
            reference: fields.remove("reference").filter(|value| !value.is_null()),
            judge: judge?,
            text,
        },
        given,
        question: split::normalised(&question),
        spot,
    })
}

fn text(fields: &mut Map<String, Value>) -> Result<PromptText, Fault> {
    let format = string(fields, "prompt_format")?;
    let tools = list(fields, "tools")?;
    match (string(fields, "prompt")?, list(fields, "messages")?) {
        (Some(_), Some(_)) => Err(Fault::new("messages", "it stands beside `prompt`", EITHER)),
        (None, None) => Err(Fault::new("prompt", "it is missing or empty", EITHER)),
        (None, Some(messages)) => chat(&messages, tools),
        (Some(prompt), None) => match format.as_deref() {
            Some("messages_json") => checked_chat(prompt),
            None | Some("text") if tools.is_none() => Ok(PromptText::Text(prompt)),
            None | Some("text") => chat(&[json!({"role": "user", "content": prompt})], tools),
            Some(other) => {
                let mend = "Write text, or messages_json for {\"messages\": [...], \"tools\": [...]}";
                Err(Fault::new("prompt_format", format!("`{other}` is no format"), mend))
            }
        },
    }
}

fn chat(messages: &[Value], tools: Option<Vec<Value>>) -> Result<PromptText, Fault> {
    checked_chat(json!({"messages": messages, "tools": tools.unwrap_or_default()}).to_string())
}

fn checked_chat(body: String) -> Result<PromptText, Fault> {
    match prompt_request(&body, true) {
        Ok(_) => Ok(PromptText::MessagesJson(body)),
        Err(error) => Err(Fault::new(
            "messages",
            error.to_string(),
            "Write it as the body of a chat call",
        )),
    }
}

/// What the human asks last: the question where none is given.
fn ask(text: &PromptText) -> Result<String, Fault> {
    match text {
        PromptText::Text(text) => Ok(text.clone()),
        PromptText::MessagesJson(body) => prompt_request(body, true)
            .map(|request| request.ask)
            .map_err(|error| Fault::new("messages", error.to_string(), "Write it as the body of a chat call")),
    }
}

fn derived(split_key: &str) -> Result<Split, Fault> {
    split::split_of_key(split_key).ok_or_else(|| {
        let what = format!("`{split_key}` gives no split: it is no key of 16 hex digits");
        Fault::new(
            "split_key",
            what,
            "Give the split too, or leave the key out: it is made from the question",
        )
    })
}

fn split_of(fields: &mut Map<String, Value>) -> Result<Option<Split>, Fault> {
    let Some(name) = string(fields, "split")? else {
        return Ok(None);
    };
    Split::from_name(&name).map(Some).ok_or_else(|| {
        Fault::new(
            "split",
            format!("`{name}` is no split"),
            "Write train, validation, test or holdout, or leave it out: the question decides",
        )
    })
}

fn schema(fields: &mut Map<String, Value>) -> Result<Option<Value>, Fault> {
    match fields.remove("schema") {
        None | Some(Value::Null) => Ok(None),
        Some(schema @ (Value::Object(_) | Value::Bool(_))) => Ok(Some(schema)),
        Some(other) => Err(wrong("schema", "a JSON schema (an object)", &other)),
    }
}

/// The schema inside a response format of the kind `json_schema`.
fn schema_in(format: Option<&Value>) -> Option<Value> {
    format?.pointer("/json_schema/schema").cloned()
}

fn judge(fields: &mut Map<String, Value>) -> Result<Option<Value>, Fault> {
    let is_one = |judge: &Value| match judge {
        Value::String(name) => !name.is_empty(),
        Value::Object(judge) => judge.get("kind").is_some_and(Value::is_string),
        _ => false,
    };
    match fields.remove("judge") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(judges)) if !judges.is_empty() && judges.iter().all(is_one) => Ok(Some(Value::Array(judges))),
        Some(judge) if is_one(&judge) => Ok(Some(judge)),
        Some(other) => Err(wrong(
            "judge",
            "the name of a judge, an object with `kind`, or a list of them",
            &other,
        )),
    }
}

fn object(fields: &mut Map<String, Value>, field: &'static str, key: &str) -> Result<Option<Value>, Fault> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(object) if object.get(key).is_some_and(Value::is_string) => Ok(Some(object)),
        Some(other) => Err(wrong(field, "an object such as {\"type\": \"json_object\"}", &other)),
    }
}

fn list(fields: &mut Map<String, Value>, field: &'static str) -> Result<Option<Vec<Value>>, Fault> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(other) => Err(wrong(field, "a list", &other)),
    }
}

/// A text; an empty one counts as left out.
fn string(fields: &mut Map<String, Value>, field: &'static str) -> Result<Option<String>, Fault> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(other) => Err(wrong(field, "text in quotes", &other)),
    }
}

/// Says what kind of value is there, never the value: it may be somebody's prompt.
fn wrong(field: &'static str, expected: &str, found: &Value) -> Fault {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Fault::new(field, format!("it holds {found}"), format!("Write {expected}"))
}
