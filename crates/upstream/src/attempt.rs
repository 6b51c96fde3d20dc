//! One attempt: send, read, and say what it was.

use std::time::{Duration, Instant, SystemTime};

use crate::answer::Answer;
use crate::body::Delivery;
use crate::call::Reply;
use crate::error::ErrorKind;
use crate::sse::Events;
use crate::stream::Assembly;
use crate::{classify, plain, retry};

/// Why an attempt failed. `what` follows the host in the message and quotes nothing that was said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    pub(crate) kind: ErrorKind,
    pub(crate) status: Option<u16>,
    pub(crate) what: String,
    pub(crate) retry_after: Option<Duration>,
    /// What to ask for instead, where the endpoint refuses this way of delivery.
    pub(crate) instead: Option<Delivery>,
    /// The endpoint refuses what was asked for because of the log probabilities.
    pub(crate) is_about_logprobs: bool,
    /// Part of the reply had come.
    pub(crate) has_output: bool,
}

impl Fault {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            status: None,
            what: what.into(),
            retry_after: None,
            instead: None,
            is_about_logprobs: false,
            has_output: false,
        }
    }
}

/// Reads an answer to its end. `start` is when the request was sent.
pub(crate) async fn read(answer: Answer, start: Instant) -> Result<Reply, Fault> {
    let status = answer.status();
    let reply = if !(200..300).contains(&status) {
        Err(refused(answer).await.0)
    } else if answer.is_event_stream() {
        read_stream(answer, start).await
    } else {
        answer.whole().await.and_then(|body| plain::read(&body))
    };
    let reply = reply.map_err(|fault| Fault {
        status: Some(status),
        ..fault
    })?;
    Ok(Reply {
        latency_s: start.elapsed().as_secs_f64(),
        ..reply
    })
}

/// What a refusal means, and the most of its body that was read.
pub(crate) async fn refused(answer: Answer) -> (Fault, Vec<u8>) {
    let status = answer.status();
    let retry_after = retry::retry_after(answer.headers(), SystemTime::now());
    let body = answer.refusal().await;
    let fault = classify::refusal(status, &body);
    let instead = (fault.kind == ErrorKind::StreamRefused).then(|| {
        if classify::is_about_stream_options(&body) {
            Delivery::Stream
        } else {
            Delivery::Plain
        }
    });
    let fault = Fault {
        retry_after,
        instead,
        is_about_logprobs: classify::is_about_logprobs(status, &body),
        ..fault
    };
    (fault, body)
}

async fn read_stream(mut answer: Answer, start: Instant) -> Result<Reply, Fault> {
    let mut events = Events::default();
    let mut assembly = Assembly::default();
    let mut first_s = None;
    let ended = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => {
                let data = events.feed(&chunk);
                take(&mut assembly, &data)?;
                if first_s.is_none() && assembly.has_output() {
                    first_s = Some(start.elapsed().as_secs_f64());
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        // Bytes behind the end, if any, are left to the connection.
        if assembly.is_done() {
            break Ok(());
        }
    };
    let has_output = assembly.has_output();
    match ended {
        Ok(()) => take(&mut assembly, events.finish().as_slice())?,
        Err(error) if assembly.is_done() => tracing::debug!(%error, "a connection broke behind the end of a reply"),
        Err(error) => {
            let fault = error.fault(ErrorKind::CutStream);
            return Err(Fault { has_output, ..fault });
        }
    }
    let reply = assembly.finish().map_err(|fault| Fault { has_output, ..fault })?;
    Ok(Reply {
        time_to_first_token_s: first_s,
        ..reply
    })
}

fn take(assembly: &mut Assembly, data: &[String]) -> Result<(), Fault> {
    for data in data {
        let taken = assembly.push(data);
        taken.map_err(|fault| Fault {
            has_output: assembly.has_output(),
            ..fault
        })?;
    }
    Ok(())
}
