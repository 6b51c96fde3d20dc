//! What an answer that is no reply means.
//!
//! Endpoints agree on statuses in the main and on words hardly at all; the words here are those of
//! OpenAI, Azure, Anthropic's and Google's compatible endpoints, vLLM, llama.cpp, Ollama and LiteLLM.
//! Nothing of an answer is repeated but its status and code: it may quote the prompt or the key.

use serde_json::Value;

use crate::attempt::Fault;
use crate::error::ErrorKind;

/// Phrases of a prompt that does not fit.
const TOO_LONG: [&str; 12] = [
    "context_length_exceeded",
    "exceed_context_size",
    "maximum context length",
    "context length",
    "context window",
    "context size",
    "maximum model length",
    "prompt is too long",
    "input is too long",
    "input token count",
    "too many tokens",
    "reduce the length of the messages",
];

/// Phrases of a model that is not there. Each needs the word "model" beside it.
const NO_SUCH: [&str; 7] = [
    "not found",
    "not_found",
    "does not exist",
    "not exist",
    "unknown model",
    "invalid model",
    "no such model",
];

/// Phrases of an account without means: waiting does not help.
const NO_QUOTA: [&str; 3] = ["insufficient_quota", "billing", "credit balance"];

/// Longest code that is repeated in a message.
const MAX_CODE: usize = 48;

/// What an answer with `status`, not 2xx, means.
pub(crate) fn refusal(status: u16, body: &[u8]) -> Fault {
    let error = Said::of(body);
    let kind = kind_of(status, &error);
    let code = error.code.map(|code| format!(" ({code})")).unwrap_or_default();
    Fault {
        status: Some(status),
        ..Fault::new(kind, format!("it answered {status}{code}"))
    }
}

/// What an error object inside a 200 means.
pub(crate) fn error_in_reply(error: &Value) -> Fault {
    let said = Said::of_error(error);
    let status = error["code"].as_u64().and_then(|status| u16::try_from(status).ok());
    let kind = match status {
        Some(status @ 400..600) => kind_of(status, &said),
        _ if said.is_too_long() => ErrorKind::ContextTooLong,
        _ if said.is_filtered() => ErrorKind::ContentFiltered,
        _ if said.has_no_quota() => ErrorKind::QuotaExceeded,
        _ if said.text.contains("rate limit") || said.text.contains("rate_limit") => ErrorKind::RateLimited,
        _ => ErrorKind::Server,
    };
    let code = said.code.map(|code| format!(" ({code})")).unwrap_or_default();
    Fault::new(kind, format!("it began to answer and then reported an error{code}"))
}

/// HTML, or anything else that is not JSON.
pub(crate) fn not_json(body: &[u8]) -> Fault {
    if is_html(body) {
        Fault::new(ErrorKind::Html, "it answered with a web page")
    } else {
        Fault::new(ErrorKind::NotJson, "it answered with something that is not JSON")
    }
}

fn is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

fn kind_of(status: u16, said: &Said) -> ErrorKind {
    match status {
        300..400 => ErrorKind::Redirected,
        401 | 403 => ErrorKind::Unauthorized,
        402 => ErrorKind::QuotaExceeded,
        408 => ErrorKind::Timeout,
        429 if said.has_no_quota() => ErrorKind::QuotaExceeded,
        429 => ErrorKind::RateLimited,
        400 | 404 | 413 | 422 | 500 if said.is_too_long() => ErrorKind::ContextTooLong,
        413 => ErrorKind::ContextTooLong,
        400 | 404 | 422 if said.is_no_such_model() => ErrorKind::ModelNotFound,
        400 | 422 if said.is_filtered() => ErrorKind::ContentFiltered,
        400 | 422 | 501 if said.is_about_streaming() => ErrorKind::StreamRefused,
        // An endpoint that knows the path and says by code what it misses refuses this request alone.
        404 if said.code.is_some() => ErrorKind::BadRequest,
        404 | 405 => ErrorKind::NotFound,
        500.. => ErrorKind::Server,
        _ => ErrorKind::BadRequest,
    }
}

/// Whether a refusal is about `stream_options` alone.
pub(crate) fn is_about_stream_options(body: &[u8]) -> bool {
    Said::of(body).text.contains("stream_options")
}

/// Whether a refusal names log probabilities, in whatever shape. Some endpoints refuse them as if by a key.
pub(crate) fn is_about_logprobs(status: u16, body: &[u8]) -> bool {
    let is_refusal = matches!(status, 400 | 403 | 404 | 422 | 501);
    is_refusal && String::from_utf8_lossy(body).to_lowercase().contains("logprob")
}

/// What an error says: its code for people, and all of its words, lower case, for comparing.
#[derive(Debug, Default)]
struct Said {
    code: Option<String>,
    text: String,
}

impl Said {
    fn of(body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(Value::Object(mut object)) => {
                let error = object.remove("error").unwrap_or(Value::Object(object));
                Self::of_error(&error)
            }
            _ => Self::default(),
        }
    }

    fn of_error(error: &Value) -> Self {
        let keys = ["code", "type", "param", "message", "detail"];
        let words = keys.iter().filter_map(|key| error.get(key)?.as_str());
        let text: Vec<&str> = error.as_str().into_iter().chain(words).collect();
        let code = error["code"].as_str().filter(|code| is_code(code)).map(str::to_owned);
        Self {
            code,
            text: text.join("\n").to_lowercase(),
        }
    }

    fn has(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.text.contains(phrase))
    }

    fn is_too_long(&self) -> bool {
        self.has(&TOO_LONG)
    }

    fn is_no_such_model(&self) -> bool {
        self.text.contains("model") && self.has(&NO_SUCH)
    }

    fn is_filtered(&self) -> bool {
        self.has(&["content_filter", "content_policy", "content management policy"])
    }

    fn is_about_streaming(&self) -> bool {
        self.text.contains("stream")
    }

    fn has_no_quota(&self) -> bool {
        self.has(&NO_QUOTA)
    }
}

/// Codes are words. Keys have digits and prompts have spaces, so neither passes for one.
fn is_code(code: &str) -> bool {
    !code.is_empty() && code.len() <= MAX_CODE && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn openai(code: &str, message: &str) -> String {
        json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": code}}).to_string()
    }

    #[test]
    fn refusals_of_many_endpoints() {
        use ErrorKind as K;
        let too_long =
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.";
        let cases = [
            (
                401,
                openai("invalid_api_key", "Incorrect API key provided: sk-1"),
                K::Unauthorized,
            ),
            (403, String::new(), K::Unauthorized),
            (402, String::new(), K::QuotaExceeded),
            (
                404,
                openai("model_not_found", "The model `m` does not exist"),
                K::ModelNotFound,
            ),
            (
                404,
                json!({"error": {"message": "model 'm' not found", "type": "api_error"}}).to_string(),
                K::ModelNotFound,
            ),
            (
                404,
                json!({"object": "error", "message": "The model `m` does not exist."}).to_string(),
                K::ModelNotFound,
            ),
            (
                400,
                json!({"error": "Invalid model name passed in model=m"}).to_string(),
                K::ModelNotFound,
            ),
            (
                404,
                json!({"error": {"message": "Invalid URL (POST /v2)", "code": null}}).to_string(),
                K::NotFound,
            ),
            (404, "<html>".to_owned(), K::NotFound),
            (
                404,
                openai("prompt_not_recorded", "no reply is recorded"),
                K::BadRequest,
            ),
            (405, String::new(), K::NotFound),
            (400, openai("context_length_exceeded", too_long), K::ContextTooLong),
            (
                400,
                json!({"error": {"message": too_long, "code": 400}}).to_string(),
                K::ContextTooLong,
            ),
            (
                400,
                json!({"error": {"type": "exceed_context_size_error", "message": "x"}}).to_string(),
                K::ContextTooLong,
            ),
            (
                400,
                json!({"error": {"message": "prompt is too long: 9 > 8"}}).to_string(),
                K::ContextTooLong,
            ),
            (413, String::new(), K::ContextTooLong),
            (400, openai("content_filter", "x"), K::ContentFiltered),
            (
                400,
                json!({"error": {"message": "Unknown field stream_options"}}).to_string(),
                K::StreamRefused,
            ),
            (
                501,
                json!({"error": "streaming is not implemented"}).to_string(),
                K::StreamRefused,
            ),
            (400, openai("invalid_value", "temperature"), K::BadRequest),
            (422, json!({"detail": [{"loc": ["body"]}]}).to_string(), K::BadRequest),
            (408, String::new(), K::Timeout),
            (429, openai("rate_limit_exceeded", "Rate limit reached"), K::RateLimited),
            (
                429,
                openai("insufficient_quota", "You exceeded your current quota"),
                K::QuotaExceeded,
            ),
            (429, String::new(), K::RateLimited),
            (500, "oops".to_owned(), K::Server),
            (502, "<html>".to_owned(), K::Server),
            (529, String::new(), K::Server),
            (302, String::new(), K::Redirected),
        ];
        for (status, body, expected) in cases {
            let fault = refusal(status, body.as_bytes());
            assert_eq!(fault.kind, expected, "{status} {body}");
            assert_eq!(fault.status, Some(status));
        }
    }

    #[test]
    fn nothing_is_repeated_but_a_code() {
        let cases = [
            (
                openai("invalid_api_key", "Incorrect API key provided: sk-secret1"),
                "it answered 401 (invalid_api_key)",
            ),
            (openai("sk-secret1", "x"), "it answered 401"),
            (openai("the prompt said", "x"), "it answered 401"),
            (openai(&"a".repeat(99), "x"), "it answered 401"),
        ];
        for (body, expected) in cases {
            assert_eq!(refusal(401, body.as_bytes()).what, expected);
        }
    }

    #[test]
    fn errors_inside_a_reply() {
        let cases = [
            (json!({"code": 502}), ErrorKind::Server),
            (json!({"code": 429}), ErrorKind::RateLimited),
            (json!({"type": "rate_limit_error"}), ErrorKind::RateLimited),
            (json!({"code": "content_filter"}), ErrorKind::ContentFiltered),
            (json!({"code": "insufficient_quota"}), ErrorKind::QuotaExceeded),
            (json!("overloaded"), ErrorKind::Server),
        ];
        for (error, expected) in cases {
            assert_eq!(error_in_reply(&error).kind, expected, "{error}");
        }
    }
}
