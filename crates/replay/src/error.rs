//! Everything that is refused without being a fault that was asked for, in OpenAI's shape.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use thiserror::Error as ThisError;

use crate::library::Missing;

#[derive(Debug, ThisError)]
pub(crate) enum Error {
    #[error("the body is not a chat request: {0}")]
    Body(String),
    #[error("the model `{model}` does not exist here; the recorded models are: {known}")]
    NoModel { model: String, known: String },
    #[error(
        "no reply to this prompt is recorded: the last message of the user, or messages and tools as a whole, \
         must be those of a prompt in the outcome file"
    )]
    NoPrompt,
    #[error("the prompt is recorded, but the model `{model}` has no row for it")]
    NoRow { model: String },
    #[error("the prompt has a row of the model `{model}`, but its `response` is empty (null) in the outcome file")]
    NoReply { model: String },
    #[error("the faults cannot be: {0}")]
    Faults(String),
    #[error("no such path: {path}; POST /v1/chat/completions asks, GET /v1/models lists the models")]
    NoSuchPath { path: String },
}

impl Error {
    pub(crate) fn missing(missing: Missing, model: String, known: &[String]) -> Self {
        match missing {
            Missing::Model => Self::NoModel {
                model,
                known: known.join(", "),
            },
            Missing::Prompt => Self::NoPrompt,
            Missing::Pair => Self::NoRow { model },
            Missing::Reply => Self::NoReply { model },
        }
    }

    /// Status and `code`, under which stats count it.
    pub(crate) fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Body(_) => (StatusCode::BAD_REQUEST, "invalid_body"),
            Self::NoModel { .. } => (StatusCode::NOT_FOUND, "model_not_found"),
            Self::NoPrompt => (StatusCode::NOT_FOUND, "prompt_not_recorded"),
            Self::NoRow { .. } => (StatusCode::NOT_FOUND, "row_not_recorded"),
            Self::NoReply { .. } => (StatusCode::NOT_FOUND, "reply_not_recorded"),
            Self::Faults(_) => (StatusCode::BAD_REQUEST, "invalid_faults"),
            Self::NoSuchPath { .. } => (StatusCode::NOT_FOUND, "not_found"),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, code) = self.kind();
        let error = json!({"error": {
            "message": self.to_string(), "type": "invalid_request_error", "param": null, "code": code,
        }});
        (status, Json(error)).into_response()
    }
}
