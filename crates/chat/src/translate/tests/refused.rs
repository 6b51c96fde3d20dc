//! What cannot be said in another dialect, and what need not be.

use super::*;

fn check_refused(from: Dialect, to: Dialect, fields: Value, field: &str) {
    let mut body = match from {
        Responses => map(json!({"input": "hi"})),
        _ => map(json!({"messages": [{"role": "user", "content": "hi"}]})),
    };
    body.extend(map(fields));
    let error = translate_request(&body, from, to).expect_err(field);
    assert_eq!(error.field, field, "{from:?} to {to:?}: {error}");
    assert!(
        translate_request(&body, from, from).is_ok(),
        "the same dialect takes all"
    );
}

#[test]
fn what_cannot_be_said_is_named() {
    let schema = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {}, "extra": 1}});
    for to in [Responses, Messages] {
        check_refused(Chat, to, json!({"n": 2}), "n");
        check_refused(Chat, to, json!({"seed": 7}), "seed");
        check_refused(Chat, to, json!({"logprobs": true}), "logprobs");
        check_refused(Chat, to, json!({"frequency_penalty": 0.5}), "frequency_penalty");
        check_refused(Chat, to, json!({"functions": [{"name": "f"}]}), "functions");
        check_refused(Chat, to, json!({"invented": "x"}), "invented");
        check_refused(Chat, to, json!({"max_tokens": -1}), "max_tokens");
        check_refused(Chat, to, json!({"tools": [{"type": "custom"}]}), "tools[0].type");
        check_refused(
            Chat,
            to,
            json!({"tool_choice": {"type": "allowed_tools"}}),
            "tool_choice.type",
        );
        check_refused(
            Chat,
            to,
            json!({"response_format": schema}),
            "response_format.json_schema.extra",
        );
        let audio = json!([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]);
        check_refused(
            Chat,
            to,
            json!({"messages": audio}),
            "messages[0].content[0].input_audio",
        );
        check_refused(
            Chat,
            to,
            json!({"messages": [{"role": "function", "name": "f"}]}),
            "messages[0].role",
        );
        check_refused(
            Chat,
            to,
            json!({"messages": [{"role": "user", "name": "ann"}]}),
            "messages[0].name",
        );
    }
    check_refused(Chat, Responses, json!({"stop": ["x"]}), "stop");
    check_refused(Chat, Messages, json!({"temperature": 1.5}), "temperature");
    check_refused(Chat, Messages, json!({"verbosity": "low"}), "verbosity");
    check_refused(Chat, Messages, json!({"service_tier": "flex"}), "service_tier");
    check_refused(
        Chat,
        Messages,
        json!({"response_format": {"type": "json_object"}}),
        "response_format",
    );
    let last = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]);
    check_refused(Chat, Messages, json!({"messages": last}), "messages[1]");
    let gif = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA"}}]}]);
    check_refused(
        Chat,
        Messages,
        json!({"messages": gif}),
        "messages[0].content[0].image_url.url",
    );
    for to in [Chat, Messages] {
        check_refused(
            Responses,
            to,
            json!({"previous_response_id": "resp_1"}),
            "previous_response_id",
        );
        check_refused(Responses, to, json!({"conversation": "conv_1"}), "conversation");
        check_refused(Responses, to, json!({"background": true}), "background");
        check_refused(Responses, to, json!({"truncation": "auto"}), "truncation");
        check_refused(
            Responses,
            to,
            json!({"tools": [{"type": "web_search"}]}),
            "tools[0].type",
        );
        check_refused(
            Responses,
            to,
            json!({"include": ["message.output_text.logprobs"]}),
            "include[0]",
        );
        check_refused(
            Responses,
            to,
            json!({"input": [{"type": "item_reference", "id": "x"}]}),
            "input[0].type",
        );
    }
    check_refused(
        Responses,
        Messages,
        json!({"text": {"format": {"type": "json_object"}}}),
        "text.format",
    );
    for to in [Chat, Responses] {
        check_refused(Messages, to, json!({"top_k": 5}), "top_k");
        check_refused(Messages, to, json!({"container": "c"}), "container");
        check_refused(Messages, to, json!({"inference_geo": "eu"}), "inference_geo");
        check_refused(
            Messages,
            to,
            json!({"tools": [{"type": "web_search_20250305", "name": "w"}]}),
            "tools[0].type",
        );
        check_refused(Messages, to, json!({"messages": last}), "messages[1]");
        let document = json!([{"role": "user", "content": [{"type": "document", "source": {}}]}]);
        check_refused(
            Messages,
            to,
            json!({"messages": document}),
            "messages[0].content[0].type",
        );
    }
    check_refused(Messages, Responses, json!({"stop_sequences": ["x"]}), "stop_sequences");
    let shot = json!([{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
    ]}]}]);
    check_refused(
        Messages,
        Chat,
        json!({"messages": shot}),
        "messages[0].content[0].content[0].source",
    );
}

/// Fields that change nothing are as good as none.
fn check_dropped(from: Dialect, to: Dialect, fields: &Value) {
    let plain = match from {
        Responses => json!({"input": "hi"}),
        _ => json!({"messages": [{"role": "user", "content": "hi"}]}),
    };
    let mut body = map(plain.clone());
    body.extend(map(fields.clone()));
    assert_eq!(
        translate(&body.into(), from, to),
        translate(&plain, from, to),
        "{fields}"
    );
}

#[test]
fn what_says_nothing_is_dropped() {
    for to in [Responses, Messages] {
        check_dropped(
            Chat,
            to,
            &json!({"n": 1, "frequency_penalty": 0, "logprobs": false, "logit_bias": {}, "seed": null}),
        );
        check_dropped(
            Chat,
            to,
            &json!({"stream_options": {"include_usage": true}, "modalities": ["text"]}),
        );
        check_dropped(Chat, to, &json!({"tools": [], "tool_choice": "none"}));
    }
    check_dropped(
        Chat,
        Messages,
        &json!({"store": true, "metadata": {"a": "b"}, "prompt_cache_key": "k", "service_tier": "auto"}),
    );
    for to in [Chat, Messages] {
        check_dropped(
            Responses,
            to,
            &json!({"background": false, "truncation": "disabled", "reasoning": {"summary": "auto"}}),
        );
        check_dropped(
            Responses,
            to,
            &json!({"include": ["reasoning.encrypted_content"], "text": {"format": {"type": "text"}}}),
        );
    }
    for to in [Chat, Responses] {
        check_dropped(
            Messages,
            to,
            &json!({"thinking": {"type": "disabled"}, "service_tier": "standard_only"}),
        );
        check_dropped(Messages, to, &json!({"cache_control": {"type": "ephemeral"}}));
    }
}
