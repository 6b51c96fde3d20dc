//! A stream on its way to the client: read piece by piece as the client takes it, so that a slow client
//! slows the upstream down and nothing piles up.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use futures_util::{FutureExt, stream};
use serde_json::{Value, json};
use tiercast_chat::{Dialect, Failure, ReplyOptions, StreamSummary, StreamTranslator, UsageReader, error_body};
use tiercast_upstream::answer::Answer;
use tiercast_upstream::breaker::{Admission, Health};
use tiercast_upstream::conceal::Concealer;
use tiercast_upstream::error::ErrorKind;
use tiercast_upstream::upstream::Upstream;

use super::asked::Asked;
use super::settle::{SHUTTING_DOWN, Settle};
use crate::accounts::Outcome;

/// How long an upstream may take to end its connection behind a whole reply.
const LINGER: Duration = Duration::from_secs(1);

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
            Self::Same(reader) => reader.summary().is_complete,
            Self::Other(translator) => translator.is_over(),
        }
    }
}

/// A stream and what is owed for it. Dropped when the client leaves, which ends the upstream's call.
pub(super) struct Relay {
    /// None once it is let go of.
    pub(super) answer: Option<Answer>,
    pub(super) pipe: Pipe,
    pub(super) first: Vec<u8>,
    pub(super) settle: Settle,
    /// Told how the stream ends; a client that leaves says nothing of the endpoint.
    pub(super) admission: Option<Admission>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) concealer: Concealer,
    pub(super) dialect: Dialect,
    /// Longest wait for the next piece.
    pub(super) idle: Duration,
    pub(super) deadline: Instant,
    pub(super) is_over: bool,
}

/// What came next.
enum Next {
    Piece(Bytes),
    End,
    Broke,
    /// Nothing for so long that the endpoint is to blame.
    Idle,
    /// The request's own time is over.
    Late,
    GivenUp,
}

impl Relay {
    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, async |mut relay| {
            let bytes = relay.next().await?;
            Some((Ok::<_, Infallible>(Bytes::from(bytes)), relay))
        }))
    }

    /// The next bytes for the client.
    async fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.first);
        while bytes.is_empty() && !self.is_over {
            bytes = match self.come().await {
                Next::Piece(piece) => {
                    let bytes = self.pipe.push(&piece);
                    self.settle.note(self.pipe.summary());
                    bytes
                }
                Next::End => {
                    let bytes = self.pipe.finish();
                    let bytes = self.with_failure(bytes);
                    self.end(ErrorKind::CutStream);
                    bytes
                }
                Next::Broke => self.broke("the upstream's connection broke", ErrorKind::CutStream),
                Next::Idle => self.broke("the upstream sent nothing more in time", ErrorKind::Timeout),
                Next::Late => {
                    // A long reply is no fault of the endpoint.
                    self.admission = None;
                    self.broke("the reply did not end in time", ErrorKind::Timeout)
                }
                Next::GivenUp => self.give_up(),
            };
            bytes = self.without_key(bytes);
        }
        if self.pipe.is_over() && !self.is_over {
            self.end(ErrorKind::Server);
            self.let_go();
        }
        if self.is_over {
            bytes.extend(self.concealer.finish());
        }
        self.settle.gives(&bytes);
        (!bytes.is_empty()).then_some(bytes)
    }

    async fn come(&mut self) -> Next {
        let Some(answer) = &mut self.answer else {
            return Next::End;
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let chunk = tokio::time::timeout(self.idle.min(left), answer.chunk());
        tokio::select! {
            biased;
            () = self.settle.given_up() => Next::GivenUp,
            chunk = chunk => match chunk {
                Ok(Ok(Some(piece))) => Next::Piece(piece),
                Ok(Ok(None)) => Next::End,
                Ok(Err(_)) => Next::Broke,
                Err(_) if self.idle <= left => Next::Idle,
                Err(_) => Next::Late,
            }
        }
    }

    /// What goes to the client. Where the upstream reports an error, keys of any length are taken out.
    fn without_key(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let bytes = self.concealer.push(bytes);
        match (self.pipe.summary().failure.is_some(), std::str::from_utf8(&bytes)) {
            (true, Ok(text)) => self.upstream.conceal(text).into_bytes(),
            _ => bytes,
        }
    }

    /// It is over; `kind` is what went wrong, if it is not whole.
    fn end(&mut self, kind: ErrorKind) {
        self.is_over = true;
        let summary = self.pipe.summary();
        self.settle.note(summary);
        let health = match (&summary.failure, summary.is_complete) {
            (None, true) => Health::Alive,
            // Too many requests, say: that does not tell whether it is up.
            (Some(failure), _) if (400..500).contains(&failure.status) => Health::Unknown,
            _ => kind.usefulness(),
        };
        match summary.is_complete && summary.failure.is_none() {
            true => self.settle.end(Outcome::Complete),
            false => self.settle.broke_off(kind.name()),
        }
        if let Some(admission) = self.admission.take() {
            admission.finish(health);
        }
    }

    /// The reply is whole, and the connection may not have ended: read to its end it serves the next call.
    fn let_go(&mut self) {
        let Some(mut answer) = self.answer.take() else { return };
        if matches!(answer.chunk().now_or_never(), Some(Ok(None) | Err(_))) {
            return;
        }
        tokio::spawn(tokio::time::timeout(LINGER, async move {
            while let Ok(Some(_)) = answer.chunk().await {}
        }));
    }

    /// The server ends: the client learns that the reply is not whole.
    fn give_up(&mut self) -> Vec<u8> {
        const WHAT: &str = "the server is shutting down before the reply was whole; ask again";
        self.is_over = true;
        self.settle.note(self.pipe.summary());
        self.settle.broke_off(SHUTTING_DOWN);
        match &mut self.pipe {
            Pipe::Same(reader) => {
                let mut bytes = reader.finish();
                bytes.extend(error_event(self.dialect, 503, SHUTTING_DOWN, WHAT));
                bytes
            }
            Pipe::Other(translator) => translator.abort_bytes(Failure {
                status: 503,
                code: SHUTTING_DOWN.to_owned(),
                message: WHAT.to_owned(),
            }),
        }
    }

    /// What ended too early in the same dialect ends in an error, so that a client does not take it for
    /// whole. A translated stream says so by itself.
    fn with_failure(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let summary = self.pipe.summary();
        if matches!(self.pipe, Pipe::Same(_)) && !summary.is_complete && summary.failure.is_none() {
            bytes.extend(error_event(
                self.dialect,
                502,
                "bad_upstream",
                "the upstream's stream broke off",
            ));
        }
        bytes
    }

    fn broke(&mut self, what: &str, kind: ErrorKind) -> Vec<u8> {
        let bytes = match &mut self.pipe {
            Pipe::Same(reader) => {
                let mut bytes = reader.finish();
                // A connection that breaks behind the end of a reply takes nothing away.
                if !reader.summary().is_complete {
                    tracing::info!(what, "a stream broke off");
                    bytes.extend(error_event(self.dialect, 502, "bad_upstream", what));
                }
                bytes
            }
            Pipe::Other(translator) => translator.finish_bytes(),
        };
        self.end(kind);
        bytes
    }
}

/// An error as a stream of the dialect tells it.
fn error_event(dialect: Dialect, status: u16, code: &str, what: &str) -> Vec<u8> {
    let body = error_body(dialect, status, code, what);
    match dialect {
        Dialect::Chat => format!("data: {}\n\n", Value::Object(body)),
        Dialect::Messages => format!("event: error\ndata: {}\n\n", Value::Object(body)),
        Dialect::Responses => {
            let event = json!({"type": "error", "code": code, "message": what, "param": null});
            format!("event: error\ndata: {event}\n\n")
        }
    }
    .into_bytes()
}
