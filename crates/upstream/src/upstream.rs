//! One tier's endpoint: its key, its limits, its circuit breaker.

use std::time::Duration;

use secrecy::SecretString;

use crate::call::{ChatCall, Reply};
use crate::client::Client;
use crate::error::{CallError, ErrorKind, UpstreamError};
use crate::settings::EndpointSettings;

/// A key. Never printed, wiped from memory when dropped.
#[derive(Debug, Clone)]
pub struct Secret(#[expect(dead_code)] SecretString);

impl From<String> for Secret {
    fn from(key: String) -> Self {
        Self(SecretString::from(key))
    }
}

/// One tier's endpoint. Share it between tasks behind an `Arc`.
#[derive(Debug)]
pub struct Upstream {
    settings: EndpointSettings,
}

impl Upstream {
    /// The endpoint of tier `name`. `key` is the value of the variable that the settings name.
    pub fn new(
        name: &str,
        settings: &EndpointSettings,
        key: Option<Secret>,
        client: &Client,
    ) -> Result<Self, UpstreamError> {
        let _ = (name, key, client);
        Ok(Self {
            settings: settings.clone(),
        })
    }

    /// Asks and reads the whole reply. Failures that may pass are retried, no earlier than the
    /// endpoint allows.
    pub async fn chat(&self, call: &ChatCall) -> Result<Reply, CallError> {
        let _ = call;
        tokio::task::yield_now().await;
        Err(CallError {
            kind: ErrorKind::CircuitOpen,
            message: format!("{}: not written yet", self.settings.host()),
            status: None,
            attempts: Vec::new(),
            retry_after: None,
        })
    }

    /// How long the circuit breaker stays open, if it is.
    pub fn circuit_open_for(&self) -> Option<Duration> {
        None
    }
}
