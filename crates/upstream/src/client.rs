//! What all tiers share: connections and TLS.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

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

/// TLS by rustls on ring with the system's certificates. On a system that has none (a bare
/// container) plain HTTP still works; over HTTPS nobody is trusted.
fn tls() -> Result<ClientConfig, UpstreamError> {
    let versions = || {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| UpstreamError::Client(error.to_string()))
    };
    Ok(match versions()?.with_platform_verifier() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "no certificate authorities: HTTPS endpoints cannot be reached; install ca-certificates");
            versions()?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth()
        }
    })
}
