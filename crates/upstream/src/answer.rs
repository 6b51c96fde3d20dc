//! An answer as it comes off the wire: status, headers, and the body in pieces.

use std::error::Error;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use crate::attempt::Fault;
use crate::error::ErrorKind;

/// Most bytes of a reply. The longest replies of today's models are below one.
const MAX_REPLY_BYTES: usize = 32 << 20;

/// Most bytes of a refusal that are looked at.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// An answer whose head has come. Dropping it ends the call.
#[derive(Debug)]
pub struct Answer {
    response: reqwest::Response,
    n_bytes: usize,
}

impl Answer {
    pub(crate) fn new(response: reqwest::Response) -> Self {
        Self { response, n_bytes: 0 }
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Whether the body is a stream of events.
    pub fn is_event_stream(&self) -> bool {
        let content_type = self.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        content_type.is_some_and(|value| value.to_ascii_lowercase().starts_with("text/event-stream"))
    }

    /// The next piece of the body as it came, or None at its end.
    ///
    /// Fails where the connection broke before the end, or on more bytes than a reply may have.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let chunk = self
            .response
            .chunk()
            .await
            .map_err(|error| BodyError::Broken(cause(error)))?;
        self.n_bytes += chunk.as_ref().map_or(0, Bytes::len);
        if self.n_bytes > MAX_REPLY_BYTES {
            return Err(BodyError::TooLarge);
        }
        Ok(chunk)
    }

    /// All of the body.
    pub(crate) async fn whole(mut self) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        loop {
            match self.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(body),
                Err(error) => return Err(error.fault(ErrorKind::CutJson)),
            }
        }
    }

    /// As much of a refusal as came; whatever breaks it, the status has been heard.
    pub(crate) async fn refusal(mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < MAX_REFUSAL_BYTES {
            let Ok(Some(chunk)) = self.chunk().await else { break };
            body.extend_from_slice(&chunk);
        }
        body
    }
}

/// Why a body is not whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection broke.
    #[error("the connection broke in the middle of the reply: {0}")]
    Broken(String),
    /// Nobody writes that much.
    #[error("the reply is larger than {MAX_REPLY_BYTES} bytes")]
    TooLarge,
}

impl BodyError {
    pub(crate) fn fault(&self, broken: ErrorKind) -> Fault {
        let kind = match self {
            Self::Broken(_) => broken,
            Self::TooLarge => ErrorKind::TooLarge,
        };
        Fault::new(kind, self.to_string())
    }
}

/// The innermost cause, without the URL: the system's or the TLS library's own words.
pub(crate) fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
