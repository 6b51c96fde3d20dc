//! The reduction of a body to what routing reads: the ask as text, all else as counts.

use std::io::{self, Write};

use serde::Serialize;
use tiercast_routing::request::{Context, Needs, Request};

use crate::body::{ChatBody, Content, Message, Part, Role};
use crate::error::ChatError;
use crate::parse::parse;

/// Fields of a message that hold calls of tools.
const CALLS: [&str; 2] = ["tool_calls", "function_call"];
/// Kinds of image parts: of this dialect, of the Responses dialect, of Anthropic's.
const IMAGES: [&str; 3] = ["image_url", "input_image", "image"];

/// The request of a data row: `{"messages": [...], "tools": [...]}` as JSON, or plain text.
pub fn prompt_request(prompt: &str, is_messages_json: bool) -> Result<Request, ChatError> {
    if is_messages_json {
        parse(prompt.as_bytes()).map(|body| body.request())
    } else {
        Ok(Request::of_text(prompt))
    }
}

impl ChatBody {
    /// What routing reads of this body.
    pub fn request(&self) -> Request {
        // `parse` has seen a message of the user; without one the ask is empty.
        let ask_idx = self.messages.iter().rposition(|message| message.role == Role::User);
        let context = self.context(ask_idx);
        Request {
            ask: ask_idx.map(|idx| self.messages[idx].text()).unwrap_or_default(),
            context,
            needs: Needs {
                tools: context.n_tools > 0,
                json_schema: self
                    .response_format
                    .as_ref()
                    .is_some_and(|format| format.kind == "json_schema"),
                vision: context.n_images > 0,
            },
            max_output_tokens: self.max_completion_tokens.or(self.max_tokens).map(saturated),
        }
    }

    fn context(&self, ask_idx: Option<usize>) -> Context {
        let mut context = Context {
            n_messages: saturated(self.messages.len()),
            n_tools: saturated(self.tools.len() + self.functions.len()),
            tools_bytes: self.tools.iter().chain(&self.functions).map(json_bytes).sum(),
            agent_loop: ask_idx.is_some_and(|idx| idx + 1 < self.messages.len()),
            ..Context::default()
        };
        for (idx, message) in self.messages.iter().enumerate() {
            context.n_images += saturated(message.n_images());
            if Some(idx) != ask_idx {
                message.count_into(&mut context);
            }
        }
        context
    }
}

impl Message {
    /// Text of the message, its text parts joined by newlines.
    fn text(&self) -> String {
        match &self.content {
            None => String::new(),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => parts
                .iter()
                .filter_map(|part| part.text.as_deref())
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    /// Bytes of text and of calls of tools. Images, audio and files have a size of another kind.
    fn bytes(&self) -> u64 {
        let text = match &self.content {
            None => 0,
            Some(Content::Text(text)) => text.len(),
            Some(Content::Parts(parts)) => parts.iter().map(Part::bytes).sum(),
        };
        let calls = CALLS
            .iter()
            .filter_map(|key| self.extra.get(*key))
            .filter(|calls| !calls.is_null());
        text as u64 + calls.map(json_bytes).sum::<u64>()
    }

    fn n_images(&self) -> usize {
        match &self.content {
            Some(Content::Parts(parts)) => parts.iter().filter(|part| IMAGES.contains(&part.kind.as_str())).count(),
            _ => 0,
        }
    }

    fn count_into(&self, context: &mut Context) {
        match self.role {
            Role::System | Role::Developer => context.system_bytes += self.bytes(),
            Role::User => {
                context.n_earlier_asks += 1;
                context.history_bytes += self.bytes();
            }
            Role::Assistant => {
                context.n_assistant += 1;
                context.history_bytes += self.bytes();
            }
            Role::Tool | Role::Function => {
                context.n_tool_results += 1;
                context.tool_result_bytes += self.bytes();
            }
        }
    }
}

impl Part {
    fn bytes(&self) -> usize {
        let refusal = self.extra.get("refusal").and_then(|refusal| refusal.as_str());
        self.text.as_deref().or(refusal).map_or(0, str::len)
    }
}

/// Length of a value as compact JSON, without writing it anywhere.
fn json_bytes(value: &impl Serialize) -> u64 {
    struct Length(u64);
    impl Write for Length {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value).expect("JSON values serialize and this writer takes all");
    length.0
}

fn saturated(n: impl TryInto<u32>) -> u32 {
    n.try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reduce(body: &Value) -> Request {
        prompt_request(&body.to_string(), true).expect("valid body")
    }

    fn check_ask(messages: &Value, expected: &str) {
        assert_eq!(reduce(&json!({"messages": messages})).ask, expected, "{messages}");
    }

    #[test]
    fn the_ask_is_the_last_message_of_the_user() {
        check_ask(&json!([{"role": "user", "content": "hi"}]), "hi");
        check_ask(
            &json!([{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]),
            "two",
        );
        check_ask(
            &json!([{"role": "user", "content": "one"}, {"role": "tool", "content": "42"}]),
            "one",
        );
        check_ask(&json!([{"role": "user", "content": null}]), "");
        check_ask(&json!([{"role": "user"}]), "");
        check_ask(&json!([{"role": "user", "content": []}]), "");
        check_ask(
            &json!([{"role": "user", "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "x"}},
                {"type": "text", "text": "b 😀"},
            ]}]),
            "a\nb 😀",
        );
    }

    #[test]
    fn everything_around_the_ask_is_counted() {
        let tool = json!({"type": "function", "function": {"name": "f"}});
        let calls = json!([{"id": "1", "function": {"name": "f", "arguments": "{}"}}]);
        let request = reduce(&json!({
            "messages": [
                {"role": "system", "content": "12345"},
                {"role": "developer", "content": [{"type": "text", "text": "é"}]},
                {"role": "user", "content": [{"type": "text", "text": "123"}, {"type": "image_url"}]},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "1234"}]},
                {"role": "user", "content": [{"type": "text", "text": "the ask"}, {"type": "image_url"}]},
                {"role": "assistant", "content": null, "tool_calls": calls},
                {"role": "tool", "content": "123456"},
                {"role": "function", "name": "g", "content": "1"},
            ],
            "tools": [tool],
            "functions": [{"name": "g"}],
            "max_tokens": 5,
            "max_completion_tokens": 9,
        }));
        let expected = Context {
            n_messages: 8,
            n_earlier_asks: 1,
            n_assistant: 2,
            n_tool_results: 2,
            n_tools: 2,
            n_images: 2,
            system_bytes: 7,
            history_bytes: 3 + 4 + calls.to_string().len() as u64,
            tools_bytes: (tool.to_string().len() + r#"{"name":"g"}"#.len()) as u64,
            tool_result_bytes: 7,
            agent_loop: true,
        };
        assert_eq!(request.context, expected);
        assert_eq!(request.max_output_tokens, Some(9));
        assert_eq!(
            request.needs,
            Needs {
                tools: true,
                json_schema: false,
                vision: true
            }
        );
    }

    #[test]
    fn needs_follow_the_body() {
        let user = json!([{"role": "user", "content": "x"}]);
        for (field, value, expected) in [
            ("tools", json!([]), Needs::default()),
            (
                "tools",
                json!([{}]),
                Needs {
                    tools: true,
                    ..Needs::default()
                },
            ),
            (
                "functions",
                json!([{}]),
                Needs {
                    tools: true,
                    ..Needs::default()
                },
            ),
            ("response_format", json!({"type": "text"}), Needs::default()),
            ("response_format", json!({"type": "json_object"}), Needs::default()),
            (
                "response_format",
                json!({"type": "json_schema"}),
                Needs {
                    json_schema: true,
                    ..Needs::default()
                },
            ),
        ] {
            assert_eq!(
                reduce(&json!({"messages": user, field: value})).needs,
                expected,
                "{field} {value}"
            );
        }
    }

    #[test]
    fn a_limit_too_large_is_the_largest() {
        let request = reduce(&json!({"messages": [{"role": "user"}], "max_tokens": u64::MAX}));
        assert_eq!(request.max_output_tokens, Some(u32::MAX));
    }

    #[test]
    fn a_prompt_of_plain_text_is_the_ask_whatever_it_says() {
        let text = r#"{"messages": []}"#;
        assert_eq!(prompt_request(text, false), Ok(Request::of_text(text)));
        assert!(prompt_request(text, true).is_err());
    }
}
