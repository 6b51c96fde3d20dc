//! Everything that is refused without being a fault that was asked for, in the shape of the client's dialect.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use thiserror::Error as ThisError;
use tiercast_chat::{BadReply, Dialect, error_body};

use crate::library::Missing;

#[derive(Debug, ThisError)]
pub(crate) enum Error {
    #[error("the body is not a {} request: {what}", dialect.name())]
    Body { dialect: Dialect, what: String },
    #[error("the model `{model}` does not exist here; the recorded models are: {known}")]
    NoModel { model: String, known: String },
    #[error(
        "no reply to this prompt is recorded: the last message of the user, or messages and tools as a whole, \
         must be those of a prompt in the outcome file"
    )]
    NoPrompt,
    #[error(
        "the last message of the user is that of several recorded prompts; send the messages and tools of one of \
         them as they are in the outcome file"
    )]
    SeveralPrompts,
    #[error("the prompt is recorded, but the model `{model}` has no row for it")]
    NoRow { model: String },
    #[error("the prompt has a row of the model `{model}`, but its `response` is empty (null) in the outcome file")]
    NoReply { model: String },
    #[error("the recorded reply cannot be said in this dialect; ask for it at /v1/chat/completions: {0}")]
    Unsayable(#[from] BadReply),
    #[error("the faults cannot be: {0}")]
    Faults(String),
    #[error(
        "no such path: {path}; POST /v1/chat/completions, /v1/responses or /v1/messages asks, GET /v1/models lists the models"
    )]
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
            Missing::Several => Self::SeveralPrompts,
            Missing::Pair => Self::NoRow { model },
            Missing::Reply => Self::NoReply { model },
        }
    }

    /// Status and `code`, under which stats count it.
    pub(crate) fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Body { .. } => (StatusCode::BAD_REQUEST, "invalid_body"),
            Self::NoModel { .. } => (StatusCode::NOT_FOUND, "model_not_found"),
            Self::NoPrompt => (StatusCode::NOT_FOUND, "prompt_not_recorded"),
            Self::SeveralPrompts => (StatusCode::NOT_FOUND, "prompt_ambiguous"),
            Self::NoRow { .. } => (StatusCode::NOT_FOUND, "row_not_recorded"),
            Self::NoReply { .. } => (StatusCode::NOT_FOUND, "reply_not_recorded"),
            Self::Unsayable(_) => (StatusCode::NOT_FOUND, "reply_untranslatable"),
            Self::Faults(_) => (StatusCode::BAD_REQUEST, "invalid_faults"),
            Self::NoSuchPath { .. } => (StatusCode::NOT_FOUND, "not_found"),
        }
    }

    /// The answer to a client of this dialect.
    pub(crate) fn response(&self, dialect: Dialect) -> Response {
        let (status, code) = self.kind();
        let body = error_body(dialect, status.as_u16(), code, &self.to_string());
        (status, Json(body)).into_response()
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.response(Dialect::Chat)
    }
}
