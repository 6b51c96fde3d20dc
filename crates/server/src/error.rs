//! Everything that can be wrong with a request or with us, and its one way to HTTP.
//!
//! The body is OpenAI's: `{"error": {"message", "type", "param", "code"}}`. The client learns
//! what to change; the log learns that it happened, and never what the prompt said.

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use thiserror::Error as ThisError;
use tiercast_budgets::error::BudgetError;
use tiercast_chat::{ChatError, Dialect, Failure, error_body};
use tiercast_upstream::error::{CallError, ErrorKind};

use crate::answer::NoTierFits;
use crate::budgets::Spent;
use crate::plans::NoPlan;
use crate::worker::Refusal;

/// Seconds after which an overloaded server is worth asking again.
const RETRY_AFTER_S: &str = "1";

#[derive(Debug, ThisError)]
pub(crate) enum Error {
    #[error("{0}")]
    Body(#[from] ChatError),
    #[error("the request body ended early; send all of it")]
    BodyLost,
    #[error(
        "the request body was not whole within {limit_ms} ms; send it faster, or raise `request_timeout_ms` in the \
         server's tiercast.toml"
    )]
    BodySlow { limit_ms: u64 },
    #[error(
        "the request body is larger than {limit} bytes; \
         send less, or raise `body_limit_bytes` in the server's tiercast.toml"
    )]
    TooLarge { limit: usize },
    #[error("header `{name}`: `{value}` will not do; {mend}")]
    Header {
        name: &'static str,
        value: String,
        mend: String,
    },
    #[error(
        "model `{model}`: write `auto:q=` and the least expected quality, a number from 0 to 1, as in `auto:q=0.8`"
    )]
    BadFloor { model: String },
    #[error("no model `{model}`; use auto, auto:cheap, auto:best, auto:fast, auto:q=0.8 or a tier: {known}")]
    NoSuchModel { model: String, known: String },
    #[error("{0}")]
    NoTierFits(#[from] NoTierFits),
    #[error(
        "there is no cascade to run: train the checkpoint with --cascade on outcomes with replies, and serve two of its tiers or \
         name some in [cascade] of tiercast.toml; or use another policy ({KNOWN})", KNOWN = crate::policy::Policy::KNOWN
    )]
    NoCascade,
    #[error("the checkpoint has no classifier, which the policy `classifier` rests on: train it again with this version, or use another policy ({KNOWN})", KNOWN = crate::policy::Policy::KNOWN)]
    NoClassifier,
    #[error(
        "`auto:certified` is for a checkpoint with a certificate that holds for the tiers served: train or calibrate it with \
         --certify SHARE, and serve its own tiers; use auto, auto:cheap or auto:q=0.8 meanwhile"
    )]
    NoCertificate,
    #[error("{0}")]
    NoPlan(#[from] NoPlan),
    #[error(
        "this is no feedback: {0}; send {{\"decision_id\": \"dec_...\", \"score\": 0.9}} or a verdict (good_fit, \
         underpowered, overprovisioned, failed)"
    )]
    Feedback(String),
    #[error("no decision `{0}` was made here; send the id of an answer's header `x-tiercast-decision-id`")]
    NoSuchDecision(String),
    #[error("decision `{0}` is not among the latest; `tiercast report` reads them all from the journal")]
    Forgotten(String),
    #[error("{0}")]
    Spent(#[from] Spent),
    #[error("budgets cannot be looked at, so this request is refused (`when_unavailable` in [budgets]): {0}")]
    Budgets(BudgetError),
    #[error(
        "no tier has an endpoint, so nothing can be forwarded: give at least one tier a table \
         [tiers.\"NAME\".endpoint] with a base_url in the server's tiercast.toml. POST /v1/route decides without"
    )]
    NoEndpoints,
    #[error("{message}")]
    CircuitOpen { message: String, retry_after_s: u64 },
    #[error("{message}")]
    Upstream {
        status: u16,
        code: String,
        message: String,
        retry_after_s: Option<u64>,
    },
    #[error("a key is needed: send one of the server's keys as `authorization: Bearer KEY` or `x-api-key: KEY`")]
    Unauthorized,
    #[error("this takes the server's admin key ([admin] in its tiercast.toml), as `authorization: Bearer KEY`")]
    NotAdmin,
    #[error("{0}")]
    Reload(String),
    #[error("this request failed inside the server; others are served. It is in the server's log")]
    Panicked,
    #[error(
        "no such path: {path}; POST /v1/chat/completions, /v1/responses and /v1/messages forward, POST /v1/route decides, GET /v1/models lists the models"
    )]
    NoSuchPath { path: String },
    #[error("{path} does not take {method}")]
    Method { method: String, path: String },
    #[error("the server is busy ({what}); try again in {RETRY_AFTER_S} s, or raise `{key}` in its tiercast.toml")]
    Busy { what: &'static str, key: &'static str },
    #[error("no answer within {limit_ms} ms; try again, or raise `request_timeout_ms` in the server's tiercast.toml")]
    TimedOut { limit_ms: u64 },
    #[error("the server is shutting down; try again elsewhere or in {RETRY_AFTER_S} s")]
    Closed,
    #[error("the prediction failed on this request; others are served. It is in the server's log")]
    Failed,
}

impl Error {
    pub(crate) fn header(name: &'static str, value: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Header {
            name,
            value: value.into(),
            mend: mend.into(),
        }
    }

    /// What a failed call means for the client. `said` is the endpoint's own word: it is passed on where the
    /// request itself is at fault, and never where our key or configuration is.
    pub(crate) fn upstream(tier: &str, error: &CallError, said: Option<&Failure>, n_failed: usize) -> Self {
        let others = if n_failed > 1 {
            format!("; {} other tiers failed before it", n_failed - 1)
        } else {
            String::new()
        };
        let is_theirs = matches!(
            error.kind,
            ErrorKind::BadRequest | ErrorKind::ContextTooLong | ErrorKind::ContentFiltered
        );
        let (status, code, message) = match said.filter(|_| is_theirs) {
            Some(said) => (
                error.status.unwrap_or(400),
                said.code.clone(),
                format!("tier `{tier}`: {}{others}", said.message),
            ),
            None => {
                let status = match error.kind {
                    ErrorKind::RateLimited | ErrorKind::QuotaExceeded => 429,
                    ErrorKind::Timeout => 504,
                    ErrorKind::CircuitOpen => 503,
                    _ if is_theirs => error.status.unwrap_or(400),
                    _ => 502,
                };
                let message = format!("{}{others}", error.told(tier));
                (status, error.kind.name().to_owned(), message)
            }
        };
        Self::Upstream {
            status,
            code,
            message,
            retry_after_s: error.retry_after.map(|wait| wait.as_secs_f64().ceil() as u64),
        }
    }

    /// Status, OpenAI's `type`, and `code`.
    fn kind(&self) -> (StatusCode, &'static str, &str) {
        const INVALID: &str = "invalid_request_error";
        const OVERLOADED: &str = "rate_limit_error";
        const SERVER: &str = "server_error";
        match self {
            Self::Body(_) => (StatusCode::BAD_REQUEST, INVALID, "invalid_body"),
            Self::BodyLost => (StatusCode::BAD_REQUEST, INVALID, "incomplete_body"),
            Self::BodySlow { .. } => (StatusCode::REQUEST_TIMEOUT, INVALID, "slow_body"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, INVALID, "body_too_large"),
            Self::Header { .. } => (StatusCode::BAD_REQUEST, INVALID, "invalid_header"),
            Self::BadFloor { .. } => (StatusCode::BAD_REQUEST, INVALID, "invalid_quality"),
            Self::NoSuchModel { .. } => (StatusCode::NOT_FOUND, INVALID, "model_not_found"),
            Self::NoTierFits(_) => (StatusCode::UNPROCESSABLE_ENTITY, INVALID, "no_tier_fits"),
            Self::NoPlan(_) => (StatusCode::UNPROCESSABLE_ENTITY, INVALID, "no_plan"),
            Self::Feedback(_) => (StatusCode::UNPROCESSABLE_ENTITY, INVALID, "invalid_feedback"),
            Self::NoSuchDecision(_) | Self::Forgotten(_) => (StatusCode::NOT_FOUND, INVALID, "no_such_decision"),
            Self::NoCertificate => (StatusCode::NOT_FOUND, INVALID, "no_certificate"),
            Self::NoCascade => (StatusCode::UNPROCESSABLE_ENTITY, INVALID, "no_cascade"),
            Self::NoClassifier => (StatusCode::UNPROCESSABLE_ENTITY, INVALID, "no_classifier"),
            Self::Spent(_) => (StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", "budget_spent"),
            Self::Budgets(BudgetError::Invalid(_)) => (StatusCode::BAD_REQUEST, INVALID, "invalid_budget"),
            Self::Budgets(_) => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "budget_store_unavailable"),
            Self::NoEndpoints => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "no_endpoints"),
            Self::CircuitOpen { .. } => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "circuit_open"),
            Self::Upstream { status, code, .. } => {
                let kind = match status {
                    429 => OVERLOADED,
                    500.. => SERVER,
                    _ => INVALID,
                };
                (
                    StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY),
                    kind,
                    code,
                )
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "authentication_error", "invalid_api_key"),
            Self::NotAdmin => (StatusCode::FORBIDDEN, "permission_error", "not_admin"),
            Self::Reload(_) => (StatusCode::UNPROCESSABLE_ENTITY, INVALID, "invalid_config"),
            Self::Panicked => (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "internal_error"),
            Self::NoSuchPath { .. } => (StatusCode::NOT_FOUND, INVALID, "not_found"),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, INVALID, "method_not_allowed"),
            Self::Busy { .. } => (StatusCode::TOO_MANY_REQUESTS, OVERLOADED, "overloaded"),
            Self::TimedOut { .. } => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "timeout"),
            Self::Closed => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "shutting_down"),
            Self::Failed => (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "prediction_failed"),
        }
    }

    /// The part of the request that is at fault.
    fn param(&self) -> Option<&'static str> {
        match self {
            Self::Header { name, .. } => Some(name),
            Self::BadFloor { .. } | Self::NoSuchModel { .. } | Self::NoCertificate => Some("model"),
            _ => None,
        }
    }
}

/// An error beside its response, for paths whose dialect has another shape.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    status: u16,
    code: String,
    message: String,
}

/// The same response with its error in the shape of `dialect`; what is no error of ours stays.
pub(crate) fn in_dialect(mut response: Response, dialect: Dialect) -> Response {
    if let Some(told) = response.extensions_mut().remove::<Told>() {
        let body = error_body(dialect, told.status, &told.code, &told.message);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(serde_json::Value::Object(body).to_string());
    }
    response
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::Busy {
                what: "its inference queue is full",
                key: "queue_capacity",
            },
            Refusal::Closed => Self::Closed,
            Refusal::Panicked => Self::Failed,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, kind, code) = self.kind();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(code, "request failed");
        } else {
            tracing::debug!(status = status.as_u16(), code, "request refused");
        }
        let body = json!({ "error": {
            "message": self.to_string(), "type": kind, "param": self.param(), "code": code,
        }});
        let told = Told {
            status: status.as_u16(),
            code: code.to_owned(),
            message: self.to_string(),
        };
        let mut response = (status, Json(body)).into_response();
        let wait = match &self {
            Self::CircuitOpen { retry_after_s, .. } => Some(HeaderValue::from(*retry_after_s)),
            Self::Upstream { retry_after_s, .. } => retry_after_s.map(HeaderValue::from),
            // A purse without end is not worth asking again.
            Self::Spent(spent) => spent.renewed_in_s.map(HeaderValue::from),
            _ if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                Some(HeaderValue::from_static(RETRY_AFTER_S))
            }
            _ => None,
        };
        if let Some(wait) = wait {
            response.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        response.extensions_mut().insert(told);
        response
    }
}
