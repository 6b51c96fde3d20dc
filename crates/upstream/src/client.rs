//! What all tiers share: connections and TLS.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};

use crate::error::UpstreamError;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection is kept for the next call.
const IDLE: Duration = Duration::from_secs(60);

/// Connections to any number of endpoints. Cheap to clone; all clones share them.
#[derive(Debug, Clone)]
pub struct Client(pub(crate) reqwest::Client);

impl Client {
    /// A client that connects directly, whatever proxy the environment names, and follows no
    /// redirect: it would carry the key elsewhere.
    pub fn new() -> Result<Self, UpstreamError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls()?)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .user_agent(concat!("tiercast/", env!("CARGO_PKG_VERSION")))
            .build();
        client
            .map(Self)
            .map_err(|error| UpstreamError::Client(error.to_string()))
    }
}

/// TLS by rustls on ring with the system's certificates. Where the system has none, plain HTTP
/// still works and HTTPS says that it trusts nobody.
fn tls() -> Result<ClientConfig, UpstreamError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| UpstreamError::Client(error.to_string()))?;
    Ok(builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}
