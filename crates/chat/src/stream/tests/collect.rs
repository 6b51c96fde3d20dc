//! Streams put together again, apart from the code under test.

use super::*;

/// The whole reply that a stream tells, put together as the dialect's own clients do it.
pub(super) fn collect(dialect: Dialect, events: &[SseEvent]) -> Map<String, Value> {
    let bodies = events.iter().filter(|event| event.data != "[DONE]");
    let bodies = bodies.map(|event| serde_json::from_str(&event.data).expect("JSON"));
    match dialect {
        Chat => collect_chat(bodies),
        Responses => collect_responses(bodies),
        Messages => collect_messages(bodies),
    }
}

fn collect_chat(chunks: impl Iterator<Item = Value>) -> Map<String, Value> {
    let (mut content, mut refusal, mut calls, mut whole) = (None, None, Vec::new(), Map::new());
    for chunk in chunks {
        for key in ["id", "model"] {
            whole.insert(key.to_owned(), chunk[key].clone());
        }
        if chunk["usage"].is_object() {
            whole.insert("usage".to_owned(), chunk["usage"].clone());
        }
        let choice = &chunk["choices"][0];
        for (key, text) in [("content", &mut content), ("refusal", &mut refusal)] {
            if let Some(more) = choice["delta"][key].as_str().filter(|more| !more.is_empty()) {
                text.get_or_insert_with(String::new).push_str(more);
            }
        }
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let idx = usize::try_from(call["index"].as_u64().expect("an index")).expect("small");
            if idx == calls.len() {
                calls.push(json!({"id": call["id"], "type": "function", "function": call["function"]}));
            } else {
                let told = calls[idx]["function"]["arguments"].as_str().expect("text").to_owned();
                let more = call["function"]["arguments"].as_str().expect("text");
                calls[idx]["function"]["arguments"] = (told + more).into();
            }
        }
        if choice["finish_reason"].is_string() {
            whole.insert("finish".to_owned(), choice["finish_reason"].clone());
        }
    }
    let finish = whole.remove("finish");
    let mut message = json!({"role": "assistant", "content": content, "refusal": refusal});
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    whole.insert(
        "choices".to_owned(),
        json!([{"message": message, "finish_reason": finish}]),
    );
    whole
}

/// From the deltas, held against what the closing events repeat.
fn collect_responses(events: impl Iterator<Item = Value>) -> Map<String, Value> {
    let (mut texts, mut items) = (std::collections::BTreeMap::new(), Vec::new());
    let mut whole = None;
    for event in events {
        let kind = event["type"].as_str().expect("typed").to_owned();
        let key = (event["output_index"].as_u64(), event["content_index"].as_u64());
        if let Some(delta) = event["delta"].as_str() {
            *texts.entry(key).or_insert_with(String::new) += delta;
        }
        for told in ["text", "refusal", "arguments"] {
            if kind.ends_with(".done") && event[told].is_string() {
                assert_eq!(event[told], json!(texts[&key]), "{kind}");
            }
        }
        if kind == "response.output_item.done" {
            items.push(event["item"].clone());
        }
        if ["response.completed", "response.incomplete"].contains(&kind.as_str()) {
            whole = event["response"].as_object().cloned();
        }
    }
    let mut whole = whole.expect("an end");
    if whole["output"] != json!([]) {
        assert_eq!(whole["output"], json!(items));
    }
    whole.insert("output".to_owned(), items.into());
    whole
}

fn collect_messages(events: impl Iterator<Item = Value>) -> Map<String, Value> {
    let (mut whole, mut blocks, mut input) = (Map::new(), Vec::new(), String::new());
    for event in events {
        match event["type"].as_str().expect("typed") {
            "message_start" => whole = event["message"].as_object().cloned().expect("a message"),
            "content_block_start" => {
                assert_eq!(event["index"], blocks.len());
                blocks.push(event["content_block"].clone());
                input.clear();
            }
            "content_block_delta" => {
                let (block, delta) = (blocks.last_mut().expect("open"), &event["delta"]);
                if let Some(text) = delta["text"].as_str() {
                    block["text"] = (block["text"].as_str().expect("text").to_owned() + text).into();
                }
                input += delta["partial_json"].as_str().unwrap_or_default();
            }
            "content_block_stop" if !input.is_empty() => {
                blocks.last_mut().expect("open")["input"] = serde_json::from_str(&input).expect("JSON");
            }
            "message_delta" => {
                for key in ["stop_reason", "stop_sequence"] {
                    whole.insert(key.to_owned(), event["delta"][key].clone());
                }
                let usage = whole["usage"].as_object_mut().expect("usage");
                usage.extend(event["usage"].as_object().cloned().expect("usage"));
            }
            _ => {}
        }
    }
    whole.insert("content".to_owned(), blocks.into());
    whole
}
