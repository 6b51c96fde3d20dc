//! Server-sent events, read from bytes that come in any pieces and written back.

use std::ops::Range;

/// An event that carries data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SseEvent {
    /// Its name, where it has one.
    pub event: Option<String>,
    /// Its data, lines joined by newlines.
    pub data: String,
}

impl SseEvent {
    /// An event without a name, as chat completions sends them.
    pub fn unnamed(data: impl Into<String>) -> Self {
        Self {
            event: None,
            data: data.into(),
        }
    }

    /// An event with a name, as the other dialects send them.
    pub fn named(event: &str, data: impl Into<String>) -> Self {
        Self {
            event: Some(event.to_owned()),
            data: data.into(),
        }
    }

    /// Writes the event, the blank line that ends it included.
    pub fn write_to(&self, bytes: &mut Vec<u8>) {
        if let Some(event) = &self.event {
            write_line(bytes, "event", event);
        }
        for line in self.data.split('\n') {
            write_line(bytes, "data", line);
        }
        bytes.push(b'\n');
    }

    /// The bytes of the event.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.data.len() + 32);
        self.write_to(&mut bytes);
        bytes
    }
}

fn write_line(bytes: &mut Vec<u8>, field: &str, value: &str) {
    for piece in [field, ": ", value, "\n"] {
        bytes.extend_from_slice(piece.as_bytes());
    }
}

/// Bytes in, events out. Holds at most one event; a longer one than allowed ends the reading.
#[derive(Debug)]
pub struct SseReader {
    max_event_bytes: usize,
    /// The line that has begun.
    line: Vec<u8>,
    event: SseEvent,
    has_data: bool,
    /// A carriage return came last: a newline right after it ends the same line.
    after_return: bool,
    /// Bytes read, and those up to the end of the last event.
    n_read: u64,
    n_done: u64,
    is_too_large: bool,
}

impl SseReader {
    /// A reader that allows events of so many bytes.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            max_event_bytes,
            line: Vec::new(),
            event: SseEvent::default(),
            has_data: false,
            after_return: false,
            n_read: 0,
            n_done: 0,
            is_too_large: false,
        }
    }

    /// The events that these bytes complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<SseEvent> {
        self.push_ranged(bytes).into_iter().map(|(event, _)| event).collect()
    }

    /// The event that the stream broke off in before its blank line; some servers leave out the last one.
    pub fn finish(&mut self) -> Option<SseEvent> {
        self.end_line();
        self.take_event()
    }

    /// Whether an event was longer than allowed. What came after it is not read.
    pub fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// The events, each with where its bytes are in the stream.
    pub(crate) fn push_ranged(&mut self, mut bytes: &[u8]) -> Vec<(SseEvent, Range<u64>)> {
        let mut events = Vec::new();
        while !bytes.is_empty() && !self.is_too_large {
            if std::mem::take(&mut self.after_return) && bytes[0] == b'\n' {
                // An event that the return ended has this byte too.
                self.n_done += u64::from(self.n_done == self.n_read);
                self.n_read += 1;
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (text, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.n_read += text.len() as u64;
            self.line.extend_from_slice(text);
            bytes = rest;
            if self.held_bytes() > self.max_event_bytes {
                self.is_too_large = true;
            } else if let Some(byte) = rest.first() {
                let n = if rest.starts_with(b"\r\n") { 2 } else { 1 };
                self.n_read += n as u64;
                self.after_return = *byte == b'\r' && n == 1;
                bytes = &rest[n..];
                events.extend(self.end_line_ranged());
            }
        }
        events
    }

    fn held_bytes(&self) -> usize {
        let name = self.event.event.as_ref().map_or(0, String::len);
        self.line.len() + self.event.data.len() + name
    }

    /// Ends a line; a blank one ends the event.
    fn end_line_ranged(&mut self) -> Option<(SseEvent, Range<u64>)> {
        if !self.line.is_empty() {
            self.end_line();
            return None;
        }
        let range = self.n_done..self.n_read;
        self.n_done = self.n_read;
        self.take_event().map(|event| (event, range))
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.strip_prefix('\u{feff}').unwrap_or(&line);
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.event = Some(value.to_owned()),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            // Comments, ids and times to wait: nothing that a translation needs.
            _ => {}
        }
    }

    fn take_event(&mut self) -> Option<SseEvent> {
        let event = std::mem::take(&mut self.event);
        std::mem::take(&mut self.has_data).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Vec<SseEvent> {
        let mut reader = SseReader::new(1000);
        let mut events = reader.push(bytes);
        events.extend(reader.finish());
        events
    }

    fn check(text: &str, expected: &[(Option<&str>, &str)]) {
        let events = read(text.as_bytes());
        let events: Vec<_> = events
            .iter()
            .map(|event| (event.event.as_deref(), event.data.as_str()))
            .collect();
        assert_eq!(events, expected, "{text:?}");
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        check("data: a\n\ndata: b\n\n", &[(None, "a"), (None, "b")]);
        check(
            "data: a\r\n\r\ndata:b\r\rdata:  c\n\r\n",
            &[(None, "a"), (None, "b"), (None, " c")],
        );
        check("event: ping\ndata: {}\n\n", &[(Some("ping"), "{}")]);
        check("data: a\ndata: b\ndata\n\n", &[(None, "a\nb\n")]);
        check(
            ": keep-alive\n\n: two\ndata: a\nid: 7\nretry: 9\nodd\n\n",
            &[(None, "a")],
        );
        check("event: nothing\n\ndata: a\n\n", &[(None, "a")]);
        check("\u{feff}data: a\n\n", &[(None, "a")]);
        check("data: a: b\n\n", &[(None, "a: b")]);
        check("data: [DONE]", &[(None, "[DONE]")]);
        check("", &[]);
    }

    #[test]
    fn an_event_too_long_ends_the_reading() {
        let mut reader = SseReader::new(20);
        let text = format!("data: a\n\ndata: {}\n\ndata: b\n\n", "x".repeat(30));
        assert_eq!(reader.push(text.as_bytes()), [SseEvent::unnamed("a")]);
        assert!(reader.is_too_large());
        assert_eq!(reader.push(b"\n\ndata: c\n\n"), []);
    }

    #[test]
    fn many_short_lines_are_one_long_event() {
        let mut reader = SseReader::new(20);
        for _ in 0..10 {
            assert_eq!(reader.push(b"data: abc\n"), []);
        }
        assert!(reader.is_too_large());
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just("data: ".to_owned()),
            Just("event: ".to_owned()),
            Just(":".to_owned()),
            Just("\n".to_owned()),
            Just("\r\n".to_owned()),
            Just("\r".to_owned()),
            Just("\n\n".to_owned()),
            "[a-zé😀 {}]{0,6}",
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(bytes in stream(), cuts in prop::collection::vec(0_usize..200, 0..12)) {
            let whole = read(&bytes);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut reader = SseReader::new(1000);
            let mut events: Vec<SseEvent> = cuts.windows(2).flat_map(|cut| reader.push(&bytes[cut[0]..cut[1]])).collect();
            events.extend(reader.finish());
            prop_assert_eq!(events, whole);
        }

        #[test]
        fn what_is_written_is_read(name in prop::option::of("[a-z.]{1,9}"), data in "[^\r]{0,40}") {
            let event = SseEvent { event: name, data };
            prop_assert_eq!(read(&event.to_bytes()), vec![event]);
        }
    }
}
