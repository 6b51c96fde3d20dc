//! Asking a model back: how likely is it that its own answer is right?

use serde_json::{Map, Value, json};

use crate::dialect::Dialect;

/// What is asked.
const QUESTION: &str = "How likely is it that your answer above is right and complete? \
                        Reply with one whole number from 0 to 100 and nothing else.";

/// Tokens of the reply; the least that every provider allows.
const MAX_TOKENS: u32 = 16;

/// What asks for another kind of reply, or for more of it.
const LEFT_OUT: [&str; 14] = [
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "text",
    "n",
    "logprobs",
    "top_logprobs",
    "stop",
    "stop_sequences",
    "thinking",
    "previous_response_id",
];

/// The request `body` with the model's answer to it, and the question after that. `None` where the body has
/// no conversation that it could be added to.
pub fn ask_back(body: &Map<String, Value>, dialect: Dialect, answer: &str) -> Option<Map<String, Value>> {
    let mut asked = body.clone();
    for name in LEFT_OUT {
        asked.remove(name);
    }
    let (field, limit) = match dialect {
        Dialect::Chat if body.contains_key("max_completion_tokens") => ("messages", "max_completion_tokens"),
        Dialect::Chat | Dialect::Messages => ("messages", "max_tokens"),
        Dialect::Responses => ("input", "max_output_tokens"),
    };
    let said = asked.get_mut(field)?;
    if let (Dialect::Responses, Value::String(text)) = (dialect, &*said) {
        *said = json!([{ "role": "user", "content": text }]);
    }
    let said = said.as_array_mut()?;
    said.push(json!({ "role": "assistant", "content": answer }));
    said.push(json!({ "role": "user", "content": QUESTION }));
    asked.insert(limit.to_owned(), json!(MAX_TOKENS));
    Some(asked)
}

/// The probability that a reply to the question names: the first number in it, in per cent.
pub fn told_probability(reply: &str) -> Option<f64> {
    let start = reply.find(|c: char| c.is_ascii_digit())?;
    let rest = &reply[start..];
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let percent: f64 = rest[..end].trim_end_matches('.').parse().ok()?;
    let is_negative = reply[..start].ends_with(['-', '−']);
    (!is_negative && percent <= 100.0).then_some(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::routing_request;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_conversation_goes_on() {
        let cases = [
            (
                Dialect::Chat,
                json!({ "model": "auto", "stream": true, "tools": [], "messages": [{ "role": "user", "content": "2+2?" }] }),
                "messages",
            ),
            (
                Dialect::Messages,
                json!({ "model": "auto", "max_tokens": 900, "messages": [{ "role": "user", "content": "2+2?" }] }),
                "messages",
            ),
            (Dialect::Responses, json!({ "model": "auto", "input": "2+2?" }), "input"),
        ];
        for (dialect, body, field) in cases {
            let asked = ask_back(&object(&body), dialect, "4").unwrap();
            let said = asked[field].as_array().unwrap();
            assert_eq!(said.len(), 3, "{dialect:?}");
            assert_eq!(
                (&said[0]["content"], &said[1]["content"]),
                (&json!("2+2?"), &json!("4"))
            );
            assert!(!asked.contains_key("stream") && !asked.contains_key("tools"));
            let request = routing_request(&asked, dialect).unwrap();
            assert_eq!(
                (request.ask.as_str(), request.max_output_tokens),
                (QUESTION, Some(MAX_TOKENS))
            );
        }
        let newer = json!({ "max_completion_tokens": 900, "messages": [] });
        let asked = ask_back(&object(&newer), Dialect::Chat, "4").unwrap();
        assert_eq!(asked["max_completion_tokens"], MAX_TOKENS);
        assert!(!asked.contains_key("max_tokens"));
        assert_eq!(ask_back(&Map::new(), Dialect::Chat, "4"), None);
    }

    #[test]
    fn numbers_are_read() {
        for (reply, expected) in [
            ("85", Some(0.85)),
            ("I would say 70%.", Some(0.7)),
            ("99.5", Some(0.995)),
            ("0", Some(0.0)),
            ("150", None),
            ("-5", None),
            ("quite sure", None),
            ("", None),
        ] {
            assert_eq!(told_probability(reply), expected, "{reply:?}");
        }
    }
}
