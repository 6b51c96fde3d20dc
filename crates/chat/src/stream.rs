//! A stream of one dialect into a stream of another, event by event.

use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::reply::{Finish, ReplyOptions, Usage};
use crate::sse::{SseEvent, SseReader};
use crate::{chat, messages, responses};

/// The longest event that is read. The last one of a Responses stream holds the whole reply.
pub const MAX_EVENT_BYTES: usize = 8 << 20;
/// The longest reply that is translated: text and arguments of calls.
const MAX_REPLY_BYTES: usize = 64 << 20;

/// A piece of a reply. [`StreamTranslator`] hands writers a `Start` first and arguments only for the
/// call that began last.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Delta {
    Start { id: Option<String> },
    Text(String),
    Refusal(String),
    Call { id: String, name: String },
    Arguments(String),
    Finish(Finish),
    Usage(Usage),
    Done,
}

/// Reads the events of one dialect.
pub(crate) trait ReadStream: Send {
    fn read(&mut self, event: &SseEvent) -> Result<Vec<Delta>, Failure>;
}

/// Writes the events of one dialect.
pub(crate) trait WriteStream: Send {
    fn write(&mut self, delta: Delta, events: &mut Vec<SseEvent>);
    /// The reply is whole.
    fn end(&mut self, events: &mut Vec<SseEvent>);
    /// It never will be.
    fn fail(&mut self, failure: &Failure, events: &mut Vec<SseEvent>);
}

pub(crate) fn reader(dialect: Dialect) -> Box<dyn ReadStream> {
    match dialect {
        Dialect::Chat => Box::new(chat::stream_in::Reader::default()),
        Dialect::Responses => Box::new(responses::stream_in::Reader::default()),
        Dialect::Messages => Box::new(messages::stream_in::Reader::default()),
    }
}

pub(crate) fn writer(dialect: Dialect, options: ReplyOptions) -> Box<dyn WriteStream> {
    match dialect {
        Dialect::Chat => Box::new(chat::stream_out::Writer::new(options)),
        Dialect::Responses => Box::new(responses::stream_out::Writer::new(options)),
        Dialect::Messages => Box::new(messages::stream_out::Writer::new(options)),
    }
}

/// What a stream has told so far, for the accounts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StreamSummary {
    /// As last told; of a stream that broke off it may be a part, or nothing.
    pub usage: Option<Usage>,
    /// Why the reply ended.
    pub finish: Option<Finish>,
    /// An error in the stream, the upstream's or one of its form.
    pub failure: Option<Failure>,
    /// Whether it came to its end: without this and without a failure it broke off.
    pub is_complete: bool,
    /// Whether anything of a reply has come.
    pub is_begun: bool,
    /// Bytes of text and arguments so far: what an estimate of the tokens rests on where none are told.
    pub n_bytes: usize,
}

impl StreamSummary {
    pub(crate) fn note(&mut self, delta: &Delta) {
        self.is_begun = true;
        match delta {
            Delta::Text(text) | Delta::Refusal(text) | Delta::Arguments(text) => self.n_bytes += text.len(),
            Delta::Usage(usage) => self.usage = Some(*usage),
            Delta::Finish(finish) => self.finish = Some(finish.clone()),
            Delta::Done => self.is_complete = true,
            _ => {}
        }
    }
}

/// Translates a stream. After an end or an error it is silent.
pub struct StreamTranslator {
    sse: SseReader,
    reader: Box<dyn ReadStream>,
    /// None between the same dialect: events stay as they are.
    writer: Option<Box<dyn WriteStream>>,
    summary: StreamSummary,
    is_started: bool,
    is_over: bool,
    /// A call has begun and has no arguments yet.
    is_call_bare: bool,
}

impl StreamTranslator {
    /// From an upstream's dialect into a client's.
    pub fn new(from: Dialect, to: Dialect, options: ReplyOptions) -> Self {
        Self {
            sse: SseReader::new(MAX_EVENT_BYTES),
            reader: reader(from),
            writer: (from != to).then(|| writer(to, options)),
            summary: StreamSummary::default(),
            is_started: false,
            is_over: false,
            is_call_bare: false,
        }
    }

    /// What the stream has told so far.
    pub fn summary(&self) -> &StreamSummary {
        &self.summary
    }

    /// Whether nothing more will come, so that the upstream need not be read on.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Bytes of the upstream in, bytes for the client out.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut events = Vec::new();
        for event in self.sse.push(bytes) {
            events.extend(self.push(&event));
        }
        if self.sse.is_too_large() {
            self.fail(
                Failure::bad_gateway("the upstream sent an event that is too long"),
                &mut events,
            );
        }
        written(&events)
    }

    /// The upstream's stream has ended: the rest for the client.
    pub fn finish_bytes(&mut self) -> Vec<u8> {
        let last = self.sse.finish();
        let mut events = last.map(|event| self.push(&event)).unwrap_or_default();
        events.extend(self.finish());
        written(&events)
    }

    /// The stream ends here, whatever the upstream would still say: the failure for the client.
    pub fn abort_bytes(&mut self, failure: Failure) -> Vec<u8> {
        let mut events = Vec::new();
        self.fail(failure, &mut events);
        written(&events)
    }

    /// One event of the upstream in, any number for the client out.
    pub fn push(&mut self, event: &SseEvent) -> Vec<SseEvent> {
        let mut events = Vec::new();
        if self.is_over {
            return events;
        }
        if self.writer.is_none() {
            events.push(event.clone());
        }
        match self.reader.read(event) {
            Ok(deltas) => {
                for delta in deltas {
                    self.take(delta, &mut events);
                }
            }
            Err(failure) => self.fail(failure, &mut events),
        }
        events
    }

    /// The upstream's stream has ended. One that told its reason to finish is whole, another broke off.
    pub fn finish(&mut self) -> Vec<SseEvent> {
        let mut events = Vec::new();
        if !self.is_over && self.summary.finish.is_some() {
            self.take(Delta::Done, &mut events);
        }
        self.fail(Failure::bad_gateway("the upstream's stream broke off"), &mut events);
        events
    }

    fn take(&mut self, delta: Delta, events: &mut Vec<SseEvent>) {
        if self.is_over {
            return;
        }
        self.summary.note(&delta);
        if self.summary.n_bytes > MAX_REPLY_BYTES {
            return self.fail(Failure::bad_gateway("the upstream's reply is too long"), events);
        }
        self.complete_call(&delta, events);
        match delta {
            Delta::Done => {
                self.start(None, events);
                self.is_over = true;
                self.write(|writer, events| writer.end(events), events);
            }
            Delta::Start { id } => self.start(Some(id), events),
            delta => {
                self.start(None, events);
                self.write(|writer, events| writer.write(delta, events), events);
            }
        }
    }

    /// Arguments that never came are those of a call without any: clients read them as JSON.
    fn complete_call(&mut self, delta: &Delta, events: &mut Vec<SseEvent>) {
        match delta {
            Delta::Arguments(text) => self.is_call_bare &= text.is_empty(),
            Delta::Usage(_) | Delta::Start { .. } => {}
            _ => {
                if std::mem::take(&mut self.is_call_bare) {
                    self.write(
                        |writer, events| writer.write(Delta::Arguments("{}".to_owned()), events),
                        events,
                    );
                }
                self.is_call_bare = matches!(delta, Delta::Call { .. });
            }
        }
    }

    /// The first delta starts the reply; a later start says nothing new.
    fn start(&mut self, id: Option<Option<String>>, events: &mut Vec<SseEvent>) {
        if !std::mem::replace(&mut self.is_started, true) {
            let id = id.flatten();
            self.write(|writer, events| writer.write(Delta::Start { id }, events), events);
        }
    }

    fn fail(&mut self, failure: Failure, events: &mut Vec<SseEvent>) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.write(|writer, events| writer.fail(&failure, events), events);
            self.summary.failure = Some(failure);
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut dyn WriteStream, &mut Vec<SseEvent>), events: &mut Vec<SseEvent>) {
        if let Some(writer) = &mut self.writer {
            write(writer.as_mut(), events);
        }
    }
}

fn written(events: &[SseEvent]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events {
        event.write_to(&mut bytes);
    }
    bytes
}

/// The object that an event carries.
pub(crate) fn object(event: &SseEvent) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
    serde_json::from_str(&event.data)
        .map_err(|error| Failure::bad_gateway(format!("the upstream sent an event that is not JSON: {error}")))
}

/// Why an event cannot be taken.
pub(crate) fn malformed(error: &crate::error::ChatError) -> Failure {
    Failure::bad_gateway(format!("the upstream sent an event in the wrong form: {error}"))
}

#[cfg(test)]
mod tests;
