//! Looks into a stream that is passed through as it is: usage, the reason for its end, and the chunk
//! of usage that we asked for and the client did not.

use std::ops::Range;

use serde_json::Value;

use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::sse::{SseEvent, SseReader};
use crate::stream::{MAX_EVENT_BYTES, ReadStream, StreamSummary, reader};

/// Reads along with a stream of one dialect. Nothing that it meets stops the stream.
pub struct UsageReader {
    sse: SseReader,
    reader: Box<dyn ReadStream>,
    summary: StreamSummary,
    /// Whether the chunk of usage is taken out.
    cuts_usage: bool,
    cut: Option<Range<u64>>,
    /// What was taken out ended in a carriage return: a newline right after it goes too.
    cut_at_return: bool,
    /// Bytes of an event that is not whole yet, held back while it may have to be taken out.
    held: Vec<u8>,
    /// Where in the stream `held` begins.
    held_at: u64,
}

impl UsageReader {
    /// A reader that takes nothing out.
    pub fn new(dialect: Dialect) -> Self {
        Self {
            sse: SseReader::new(MAX_EVENT_BYTES),
            reader: reader(dialect),
            summary: StreamSummary::default(),
            cuts_usage: false,
            cut: None,
            cut_at_return: false,
            held: Vec::new(),
            held_at: 0,
        }
    }

    /// A reader of chat chunks that takes the chunk of usage out, for a client that did not ask for it.
    pub fn cutting_usage() -> Self {
        Self {
            cuts_usage: true,
            ..Self::new(Dialect::Chat)
        }
    }

    /// What the stream has told so far.
    pub fn summary(&self) -> &StreamSummary {
        &self.summary
    }

    /// Where in the stream the bytes are that were taken out.
    pub fn cut(&self) -> Option<Range<u64>> {
        self.cut.clone()
    }

    /// Bytes of the upstream in, the same bytes out; of a reader that cuts, up to the last whole event.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let events = self.sse.push_ranged(bytes);
        self.held.extend_from_slice(bytes);
        self.widen_cut();
        let mut passed = Vec::new();
        for (event, range) in events {
            if self.look(&event) {
                self.pass_to(range.start, &mut passed);
                let n_cut = self.index(range.end);
                self.cut_at_return = self.held.drain(..n_cut).next_back() == Some(b'\r');
                self.held_at = range.end;
                self.cut = Some(range);
                self.widen_cut();
            } else {
                self.pass_to(range.end, &mut passed);
            }
        }
        if self.sse.is_too_large() {
            self.note(Failure::bad_gateway(
                "the upstream sent an event that is too long to be read",
            ));
        }
        if !self.cuts_usage || self.sse.is_too_large() {
            passed.append(&mut self.held_all());
        }
        passed
    }

    /// The stream has ended: the bytes still held.
    pub fn finish(&mut self) -> Vec<u8> {
        if let Some(event) = self.sse.finish()
            && self.look(&event)
        {
            self.cut = Some(self.held_at..self.held_at + self.held.len() as u64);
            self.held.clear();
        }
        // A stream that told its reason to finish is whole, even where the last word is missing.
        self.summary.is_complete |= self.summary.finish.is_some() && self.summary.failure.is_none();
        self.held_all()
    }

    fn widen_cut(&mut self) {
        let (Some(next), true) = (self.held.first(), self.cut_at_return) else {
            return;
        };
        self.cut_at_return = false;
        if *next == b'\n' {
            self.held.remove(0);
            self.held_at += 1;
            self.cut = self.cut.take().map(|cut| cut.start..cut.end + 1);
        }
    }

    fn held_all(&mut self) -> Vec<u8> {
        self.held_at += self.held.len() as u64;
        std::mem::take(&mut self.held)
    }

    fn pass_to(&mut self, end: u64, passed: &mut Vec<u8>) {
        let n = self.index(end);
        passed.extend(self.held.drain(..n));
        self.held_at += n as u64;
    }

    /// Where a place in the stream is in `held`. What is past was handed on before.
    fn index(&self, place: u64) -> usize {
        usize::try_from(place.saturating_sub(self.held_at))
            .unwrap_or(usize::MAX)
            .min(self.held.len())
    }

    /// Reads an event. Says whether it is to be taken out.
    fn look(&mut self, event: &SseEvent) -> bool {
        match self.reader.read(event) {
            Ok(deltas) => deltas.iter().for_each(|delta| self.summary.note(delta)),
            Err(failure) => self.note(failure),
        }
        self.cuts_usage && is_usage_chunk(event)
    }

    /// The first failure is the one that counts.
    fn note(&mut self, failure: Failure) {
        self.summary.failure.get_or_insert(failure);
    }
}

/// The chunk that `stream_options.include_usage` asks for has no choices. Usage told along with a choice is not one.
fn is_usage_chunk(event: &SseEvent) -> bool {
    // A quick look first: this is asked of every chunk.
    event.data.contains("\"usage\"")
        && serde_json::from_str::<Value>(&event.data)
            .is_ok_and(|chunk| chunk["usage"].is_object() && chunk["choices"].as_array().is_some_and(Vec::is_empty))
}

#[cfg(test)]
mod tests;
