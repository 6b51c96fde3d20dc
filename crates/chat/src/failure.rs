//! Errors in the shape of each dialect, written and read.

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::dialect::Dialect;
use crate::neutral::map;

/// What went wrong at an upstream, or here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Failure {
    /// HTTP status that says as much.
    pub status: u16,
    /// A word for programs, such as `overloaded`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl Failure {
    /// An upstream that does not keep to its dialect.
    pub(crate) fn bad_gateway(message: impl Into<String>) -> Self {
        Self {
            status: 502,
            code: "bad_upstream".to_owned(),
            message: message.into(),
        }
    }

    /// Reads an error body of any dialect, whole or as it stands in a stream.
    pub fn read(body: &Map<String, Value>) -> Option<Self> {
        let error = match body.get("error") {
            Some(Value::Object(error)) => error,
            Some(Value::String(message)) => return Some(Self::bad_gateway(message)),
            // The `error` event of Responses has its fields at the top.
            _ if body.get("type").is_some_and(|kind| kind == "error") => body,
            _ => return None,
        };
        let text = |key: &str| error.get(key).and_then(Value::as_str);
        let kind = text("type").filter(|kind| *kind != "error");
        let code = text("code").or(kind).unwrap_or("upstream_error");
        Some(Self {
            status: status(code).or(kind.and_then(status)).unwrap_or(502),
            code: code.to_owned(),
            message: text("message").unwrap_or("the upstream gave no reason").to_owned(),
        })
    }

    /// The body to answer with in a dialect.
    pub fn body(&self, dialect: Dialect) -> Map<String, Value> {
        error_body(dialect, self.status, &self.code, &self.message)
    }
}

/// An error as a client of the dialect expects it. `code` is OpenAI's; Anthropic's clients go by the status.
pub fn error_body(dialect: Dialect, status: u16, code: &str, message: &str) -> Map<String, Value> {
    map(match dialect {
        Dialect::Chat | Dialect::Responses => json!({"error": {
            "message": message, "type": openai_type(status), "param": null, "code": code,
        }}),
        Dialect::Messages => json!({"type": "error", "error": {"type": anthropic_type(status), "message": message}}),
    })
}

fn openai_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// Status of an error by its type or code in any dialect.
fn status(word: &str) -> Option<u16> {
    Some(match word {
        "invalid_request_error" | "invalid_prompt" | "context_length_exceeded" => 400,
        "authentication_error" | "invalid_api_key" => 401,
        "billing_error" | "insufficient_quota" => 402,
        "permission_error" => 403,
        "not_found_error" | "model_not_found" => 404,
        "request_too_large" => 413,
        "rate_limit_error" | "rate_limit_exceeded" => 429,
        "api_error" | "server_error" => 500,
        "overloaded_error" | "overloaded" => 503,
        "timeout_error" | "timeout" => 504,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &Value, status: u16, code: &str, message: &str) {
        let failure = Failure::read(&map(body.clone())).expect("an error");
        assert_eq!(
            (failure.status, failure.code.as_str(), failure.message.as_str()),
            (status, code, message),
            "{body}"
        );
    }

    #[test]
    fn errors_of_every_dialect_are_read() {
        check(
            &json!({"error": {"message": "slow down", "type": "requests", "param": null, "code": "rate_limit_exceeded"}}),
            429,
            "rate_limit_exceeded",
            "slow down",
        );
        check(
            &json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"}),
            503,
            "overloaded_error",
            "Overloaded",
        );
        check(
            &json!({"type": "error", "code": "server_error", "message": "oops", "param": null, "sequence_number": 3}),
            500,
            "server_error",
            "oops",
        );
        check(
            &json!({"error": "model is loading"}),
            502,
            "bad_upstream",
            "model is loading",
        );
        check(
            &json!({"error": {}}),
            502,
            "upstream_error",
            "the upstream gave no reason",
        );
        assert_eq!(Failure::read(&map(json!({"id": "x", "error": null}))), None);
    }

    #[test]
    fn each_dialect_gets_its_own_shape() {
        let openai =
            json!({"error": {"message": "no", "type": "rate_limit_error", "param": null, "code": "overloaded"}});
        let anthropic = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "no"}});
        for (dialect, expected) in [
            (Dialect::Chat, &openai),
            (Dialect::Responses, &openai),
            (Dialect::Messages, &anthropic),
        ] {
            assert_eq!(&json!(error_body(dialect, 429, "overloaded", "no")), expected);
        }
    }

    #[test]
    fn types_follow_the_status() {
        for (status, openai, anthropic) in [
            (400, "invalid_request_error", "invalid_request_error"),
            (401, "authentication_error", "authentication_error"),
            (404, "invalid_request_error", "not_found_error"),
            (413, "invalid_request_error", "request_too_large"),
            (422, "invalid_request_error", "invalid_request_error"),
            (500, "server_error", "api_error"),
            (503, "server_error", "overloaded_error"),
            (504, "server_error", "timeout_error"),
        ] {
            assert_eq!(openai_type(status), openai);
            assert_eq!(anthropic_type(status), anthropic);
        }
    }
}
