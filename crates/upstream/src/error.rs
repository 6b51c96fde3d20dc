//! What can go wrong with a call. Messages name the host and the mend, and never a key or what was said.

use std::time::Duration;

use thiserror::Error;

use crate::breaker::Health;
use crate::call::AttemptError;
use crate::retry::LONGEST_WAIT;

/// Why a tier or a client cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UpstreamError {
    /// The settings name a variable for the key and no key was handed over.
    #[error("tier `{tier}`: the environment variable {variable} is not set or empty; set it to the key for {host}")]
    MissingKey {
        /// The tier.
        tier: String,
        /// The variable.
        variable: String,
        /// Host of the endpoint.
        host: String,
    },
    /// A key that no header can carry.
    #[error("tier `{tier}`: the key{} has characters that no header can carry, such as a line break; set it again", of_variable(.variable.as_deref()))]
    BadKey {
        /// The tier.
        tier: String,
        /// The variable it came from, where one is named.
        variable: Option<String>,
    },
    /// TLS or the client could not be set up.
    #[error("the HTTP client could not be set up: {0}")]
    Client(String),
}

fn of_variable(variable: Option<&str>) -> String {
    variable.map(|name| format!(" in {name}")).unwrap_or_default()
}

/// Why a call came to nothing.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{message}")]
pub struct CallError {
    /// What kind of failure, of the last attempt.
    pub kind: ErrorKind,
    /// Host, what happened, and the mend. No key, no prompt, no reply.
    pub message: String,
    /// HTTP status of the last attempt, where an answer came.
    pub status: Option<u16>,
    /// Every attempt, the last one too; empty where nothing was sent.
    pub attempts: Vec<AttemptError>,
    /// When to try again, where the endpoint or the circuit breaker says.
    pub retry_after: Option<Duration>,
}

impl CallError {
    /// How long the endpoint asked to be left alone, where that is longer than a call waits: no call will do before.
    pub fn long_wait(&self) -> Option<Duration> {
        let wait = self.retry_after.filter(|_| self.kind != ErrorKind::CircuitOpen);
        wait.filter(|wait| *wait > LONGEST_WAIT)
    }

    /// What a client of a gateway may learn: the tier, what happened and what it can do. The message is for whoever
    /// runs the gateway.
    pub fn told(&self, tier: &str) -> String {
        let status = self.status.filter(|status| !(200..300).contains(status));
        let status = status
            .map(|status| format!(" (it answered {status})"))
            .unwrap_or_default();
        format!("tier `{tier}`: {}{status}", self.kind.told())
    }
}

/// Kinds of failure. Callers decide by kind; people read the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// No connection: refused, no such host, TLS.
    Unreachable,
    /// No whole reply within the time limit.
    Timeout,
    /// 429.
    RateLimited,
    /// 429 or 402 that will not pass by waiting: the account has no money or quota left.
    QuotaExceeded,
    /// 5xx, or an error in the middle of a stream.
    Server,
    /// 401 or 403.
    Unauthorized,
    /// The endpoint does not have the model.
    ModelNotFound,
    /// 404 or 405 otherwise: most often a wrong `base_url`.
    NotFound,
    /// The prompt does not fit the model's window.
    ContextTooLong,
    /// The endpoint refused the content.
    ContentFiltered,
    /// The endpoint refused the request: any other 4xx.
    BadRequest,
    /// The endpoint does not stream. Only where the plain reply failed too.
    StreamRefused,
    /// A redirect: never followed, since it would carry the key elsewhere.
    Redirected,
    /// HTML where JSON was due: a proxy, a login page, a wrong `base_url`.
    Html,
    /// Something else that is not JSON.
    NotJson,
    /// JSON that ends in the middle.
    CutJson,
    /// JSON of another shape.
    Malformed,
    /// No choices in the reply.
    EmptyChoices,
    /// A stream that ended before the reply did.
    CutStream,
    /// More bytes than a reply may have.
    TooLarge,
    /// Not sent: the endpoint failed too often in a row. Wait for `retry_after`, then ask again.
    CircuitOpen,
    /// Not sent: the caller stopped while the call waited for its turn.
    Stopped,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 22] = [
        Self::Unreachable,
        Self::Timeout,
        Self::RateLimited,
        Self::QuotaExceeded,
        Self::Server,
        Self::Unauthorized,
        Self::ModelNotFound,
        Self::NotFound,
        Self::ContextTooLong,
        Self::ContentFiltered,
        Self::BadRequest,
        Self::StreamRefused,
        Self::Redirected,
        Self::Html,
        Self::NotJson,
        Self::CutJson,
        Self::Malformed,
        Self::EmptyChoices,
        Self::CutStream,
        Self::TooLarge,
        Self::CircuitOpen,
        Self::Stopped,
    ];

    /// As written in ledgers and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Server => "server",
            Self::Unauthorized => "unauthorized",
            Self::ModelNotFound => "model_not_found",
            Self::NotFound => "not_found",
            Self::ContextTooLong => "context_too_long",
            Self::ContentFiltered => "content_filtered",
            Self::BadRequest => "bad_request",
            Self::StreamRefused => "stream_refused",
            Self::Redirected => "redirected",
            Self::Html => "html",
            Self::NotJson => "not_json",
            Self::CutJson => "cut_json",
            Self::Malformed => "malformed",
            Self::EmptyChoices => "empty_choices",
            Self::CutStream => "cut_stream",
            Self::TooLarge => "too_large",
            Self::CircuitOpen => "circuit_open",
            Self::Stopped => "stopped",
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the same call may succeed later. The others are results: asked again they fail again,
    /// unless the configuration changes ([`Self::is_configuration`]).
    pub fn is_transient(self) -> bool {
        match self {
            Self::Unreachable
            | Self::Timeout
            | Self::RateLimited
            | Self::Server
            | Self::Html
            | Self::NotJson
            | Self::CutJson
            | Self::Malformed
            | Self::EmptyChoices
            | Self::CutStream
            | Self::CircuitOpen
            | Self::Stopped => true,
            Self::QuotaExceeded
            | Self::Unauthorized
            | Self::ModelNotFound
            | Self::NotFound
            | Self::ContextTooLong
            | Self::ContentFiltered
            | Self::BadRequest
            | Self::StreamRefused
            | Self::Redirected
            | Self::TooLarge => false,
        }
    }

    /// What it says about the endpoint: whether it is up, not whether it liked the request.
    pub fn health(self) -> Health {
        match self {
            Self::Unreachable | Self::Timeout | Self::Server => Health::Failing,
            Self::RateLimited | Self::Stopped => Health::Unknown,
            _ => Health::Alive,
        }
    }

    /// The same for whoever has another tier to ask: an endpoint that answers with garbage, that does not know its
    /// key, its model or its path, or that breaks off, is best left alone for a while too.
    pub fn usefulness(self) -> Health {
        match self {
            Self::Html | Self::NotJson | Self::CutJson | Self::Malformed | Self::EmptyChoices | Self::CutStream => {
                Health::Failing
            }
            kind if kind.is_configuration() => Health::Failing,
            kind => kind.health(),
        }
    }

    /// What a client is told, who can do nothing about hosts, keys and settings.
    fn told(self) -> &'static str {
        match self {
            Self::Unreachable => "its endpoint cannot be reached; try again later",
            Self::Timeout => "its endpoint did not answer in time; try again, or ask for less",
            Self::RateLimited => "its endpoint takes no more requests just now; try again later",
            Self::QuotaExceeded => "its account has no quota left; use another model meanwhile",
            Self::Server => "its endpoint failed; try again later",
            Self::Unauthorized | Self::ModelNotFound | Self::NotFound | Self::Redirected => {
                "its endpoint refuses to serve this gateway; use another model meanwhile"
            }
            Self::ContextTooLong => "the prompt and the longest reply do not fit its window; send less",
            Self::ContentFiltered => "its endpoint refuses this content",
            Self::BadRequest => "its endpoint refuses this request; check its fields",
            Self::StreamRefused => "its endpoint does not stream; ask without `stream`",
            Self::Html | Self::NotJson | Self::Malformed | Self::EmptyChoices => {
                "its endpoint answered with something that is no reply; try again later"
            }
            Self::CutJson | Self::CutStream => "its reply broke off; try again",
            Self::TooLarge => "its reply is too large to be passed on; ask for less",
            Self::CircuitOpen => "it failed too often in a row and is left alone for a while; try again later",
            Self::Stopped => "it was not asked; try again",
        }
    }

    /// Whether every call to this tier fails alike until somebody changes key, model, URL or account.
    pub fn is_configuration(self) -> bool {
        matches!(
            self,
            Self::QuotaExceeded | Self::Unauthorized | Self::ModelNotFound | Self::NotFound | Self::Redirected
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_name(kind.name()), Some(kind));
            assert!(!(kind.is_transient() && kind.is_configuration()), "{kind:?}");
            // What is no failure for a collector may be one for a gateway, never the other way round.
            assert!(
                kind.health() == Health::Alive || kind.usefulness() == kind.health(),
                "{kind:?}"
            );
        }
    }
}
