//! Posts to the collector: OTLP over HTTP, in protobuf, which every collector takes (some refuse JSON).

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use ureq::Agent;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};

use crate::otlp;

/// Most bytes of an answer that are read, and characters of its message that are repeated.
const ANSWER_BYTES: u64 = 64 << 10;
const MESSAGE_CHARACTERS: usize = 200;

/// A collector.
#[derive(Debug)]
pub(super) struct Collector {
    agent: Agent,
    url: String,
    headers: HeaderMap,
}

/// Spans that the collector did not take of a request that it took.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) n_spans: u64,
    /// Why, and a warning where it took all.
    pub(super) message: Option<String>,
}

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) struct Failure {
    /// With the address, and the mend.
    pub(super) message: String,
    /// Whether the same request may be taken later.
    pub(super) may_pass: bool,
    /// How long the collector asks to wait.
    pub(super) retry_after: Option<Duration>,
}

impl Collector {
    /// Connects directly, whatever proxy the environment names, and follows no redirect: it would carry the
    /// headers elsewhere. TLS is rustls on ring with the system's certificates, as in `upstream`.
    pub(super) fn new(url: String, headers: HeaderMap) -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("tiercast/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self { agent, url, headers }
    }

    /// Posts one encoded request, within `limit` from connecting to the answer's last byte.
    pub(super) fn post(&self, body: &[u8], limit: Duration) -> Result<Rejected, Failure> {
        let mut request = self.agent.post(&self.url).config().timeout_global(Some(limit)).build();
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let answer = request.content_type("application/x-protobuf").send(body);
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        if answer.status().is_success() {
            return Ok(rejected(answer));
        }
        Err(self.refused(&answer))
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure {
            message: format!(
                "{}: {error}; is the collector up, and is `endpoint` its address?",
                self.url
            ),
            may_pass: true,
            retry_after: None,
        }
    }

    fn refused<B>(&self, answer: &Response<B>) -> Failure {
        let status = answer.status();
        let mend = match status.as_u16() {
            401 | 403 => "; set the variables that `headers_env` names",
            300..=399 | 404 | 405 => "; is `endpoint` its address, without /v1/traces?",
            _ => "",
        };
        let seconds = answer
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        Failure {
            message: format!("{}: the collector answered {status}{mend}", self.url),
            may_pass: matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
            retry_after: seconds.map(Duration::from_secs),
        }
    }
}

/// What a collector says of a request that it took. Some answer with something else than OTLP's message: then all
/// was taken.
fn rejected(answer: Response<ureq::Body>) -> Rejected {
    let body = answer.into_body().into_with_config().limit(ANSWER_BYTES).read_to_vec();
    let told = body.ok().and_then(|body| otlp::Response::decode(&*body).ok());
    let Some(partial) = told.and_then(|told| told.partial_success) else {
        return Rejected::default();
    };
    let printable = partial
        .error_message
        .chars()
        .filter(|character| !character.is_control());
    let message: String = printable.take(MESSAGE_CHARACTERS).collect();
    Rejected {
        n_spans: u64::try_from(partial.rejected_spans).unwrap_or(0),
        message: (!message.is_empty()).then_some(message),
    }
}
