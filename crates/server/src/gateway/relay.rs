//! A stream on its way to the client: read piece by piece as the client takes it, so that a slow client
//! slows the upstream down and nothing piles up.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use futures_util::stream;
use serde_json::{Value, json};
use tiercast_chat::{Dialect, ReplyOptions, StreamSummary, StreamTranslator, UsageReader, error_body};
use tiercast_upstream::answer::Answer;

use super::asked::Asked;
use super::settle::Settle;
use crate::accounts::Outcome;

/// From the upstream's dialect to the client's.
pub(super) enum Pipe {
    /// The same: the bytes as they came, but for the chunk of usage that we asked for.
    Same(UsageReader),
    /// Another.
    Other(StreamTranslator),
}

impl Pipe {
    pub(super) fn new(from: Dialect, asked: &Asked, options: ReplyOptions) -> Self {
        match asked.dialect {
            to if to != from => Self::Other(StreamTranslator::new(from, to, options)),
            Dialect::Chat if !asked.wants_usage() => Self::Same(UsageReader::cutting_usage()),
            dialect => Self::Same(UsageReader::new(dialect)),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Same(reader) => reader.push(bytes),
            Self::Other(translator) => translator.push_bytes(bytes),
        }
    }

    pub(super) fn finish(&mut self) -> Vec<u8> {
        match self {
            Self::Same(reader) => reader.finish(),
            Self::Other(translator) => translator.finish_bytes(),
        }
    }

    pub(super) fn summary(&self) -> &StreamSummary {
        match self {
            Self::Same(reader) => reader.summary(),
            Self::Other(translator) => translator.summary(),
        }
    }

    /// Whether nothing more is to be said, whatever the upstream goes on to send.
    fn is_over(&self) -> bool {
        match self {
            Self::Same(_) => false,
            Self::Other(translator) => translator.is_over(),
        }
    }
}

/// A stream and what is owed for it. Dropped when the client leaves, which ends the upstream's call.
pub(super) struct Relay {
    answer: Answer,
    pipe: Pipe,
    first: Option<Vec<u8>>,
    settle: Settle,
    dialect: Dialect,
    /// Longest wait for the next piece.
    idle: Duration,
    deadline: Instant,
    is_over: bool,
}

impl Relay {
    pub(super) fn new(
        answer: Answer,
        pipe: Pipe,
        first: Vec<u8>,
        settle: Settle,
        dialect: Dialect,
        idle: Duration,
        deadline: Instant,
    ) -> Self {
        Self {
            answer,
            pipe,
            first: Some(first),
            settle,
            dialect,
            idle,
            deadline,
            is_over: false,
        }
    }

    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, async |mut relay| {
            let bytes = relay.next().await?;
            Some((Ok::<_, Infallible>(Bytes::from(bytes)), relay))
        }))
    }

    /// The next bytes for the client.
    async fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            self.settle.gives(&first);
            return Some(first);
        }
        while !self.is_over {
            let limit = self.idle.min(self.deadline.saturating_duration_since(Instant::now()));
            let bytes = match tokio::time::timeout(limit, self.answer.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    let bytes = self.pipe.push(&chunk);
                    self.settle.gives(&bytes);
                    self.settle.note(self.pipe.summary());
                    if self.pipe.is_over() {
                        self.end();
                    }
                    bytes
                }
                Ok(Ok(None)) => {
                    let bytes = self.pipe.finish();
                    self.settle.gives(&bytes);
                    self.end();
                    self.with_failure(bytes)
                }
                Ok(Err(_)) => self.broke("the upstream's connection broke"),
                Err(_) => self.broke("the upstream sent nothing more in time"),
            };
            if !bytes.is_empty() {
                return Some(bytes);
            }
        }
        None
    }

    fn end(&mut self) {
        self.is_over = true;
        let summary = self.pipe.summary();
        self.settle.note(summary);
        let is_whole = summary.is_complete && summary.failure.is_none();
        self.settle
            .end(if is_whole { Outcome::Complete } else { Outcome::Failed });
    }

    /// What ended too early in the same dialect ends in an error, so that a client does not take it for
    /// whole. A translated stream says so by itself.
    fn with_failure(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let summary = self.pipe.summary();
        if matches!(self.pipe, Pipe::Same(_)) && !summary.is_complete && summary.failure.is_none() {
            bytes.extend(error_event(self.dialect, "the upstream's stream broke off"));
        }
        bytes
    }

    fn broke(&mut self, what: &str) -> Vec<u8> {
        let bytes = match &mut self.pipe {
            Pipe::Same(reader) => {
                let mut bytes = reader.finish();
                // A connection that breaks behind the end of a reply takes nothing away.
                if !reader.summary().is_complete {
                    tracing::info!(what, "a stream broke off");
                    bytes.extend(error_event(self.dialect, what));
                }
                bytes
            }
            Pipe::Other(translator) => translator.finish_bytes(),
        };
        self.end();
        bytes
    }
}

/// An error as a stream of the dialect tells it.
fn error_event(dialect: Dialect, what: &str) -> Vec<u8> {
    let body = error_body(dialect, 502, "bad_upstream", what);
    match dialect {
        Dialect::Chat => format!("data: {}\n\n", Value::Object(body)),
        Dialect::Messages => format!("event: error\ndata: {}\n\n", Value::Object(body)),
        Dialect::Responses => {
            let event = json!({"type": "error", "code": "bad_upstream", "message": what, "param": null});
            format!("event: error\ndata: {event}\n\n")
        }
    }
    .into_bytes()
}
