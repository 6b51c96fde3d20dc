//! Server-sent events out of bytes that arrive in any pieces.
//!
//! Only `data` matters to this dialect; event names, ids and comments (which keep connections alive)
//! are passed over. Whoever feeds bounds the number of bytes.

/// Takes bytes, gives the data of whole events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    after_return: bool,
    has_begun: bool,
}

impl Events {
    /// The events that `bytes` complete.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            // The second half of a CRLF ends no line of its own.
            let is_second_half = end == 0 && rest[0] == b'\n' && self.after_return;
            self.line.extend_from_slice(&rest[..end]);
            self.after_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if !is_second_half {
                events.extend(self.end_line());
            }
        }
        if !rest.is_empty() {
            self.after_return = false;
            self.line.extend_from_slice(rest);
        }
        events
    }

    /// The event that the end of the stream completes: many servers leave out the last empty line.
    pub(crate) fn finish(mut self) -> Option<String> {
        let last = self.end_line();
        last.or_else(|| self.end_line())
    }

    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.has_begun, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            return self.data.take().map(|data| String::from_utf8_lossy(&data).into_owned());
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        if field == b"data" {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut self.data {
                None => self.data = Some(value.to_vec()),
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(chunks: &[&[u8]]) -> Vec<String> {
        let mut events = Events::default();
        let mut read: Vec<String> = chunks.iter().flat_map(|chunk| events.feed(chunk)).collect();
        read.extend(events.finish());
        read
    }

    #[test]
    fn streams_as_servers_write_them() {
        let cases: [(&str, &[&str]); 12] = [
            ("data: a\n\ndata: b\n\n", &["a", "b"]),
            ("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
            ("data: a\r\rdata: b\r\r", &["a", "b"]),
            ("data:a\n\ndata:  b\n\n", &["a", " b"]),
            ("data: one\ndata: two\ndata\n\n", &["one\ntwo\n"]),
            (": keep-alive\n\ndata: a\n: more\n\n", &["a"]),
            ("event: error\nid: 7\nretry: 3\ndata: a\n\n", &["a"]),
            ("data: [DONE]", &["[DONE]"]),
            ("data: [DONE]\n", &["[DONE]"]),
            ("\u{feff}data: a\n\n", &["a"]),
            ("\n\n\n", &[]),
            ("data: {\"text\": \"a: b ✓\"}\n\n", &["{\"text\": \"a: b ✓\"}"]),
        ];
        for (stream, expected) in cases {
            assert_eq!(read(&[stream.as_bytes()]), expected, "{stream:?}");
        }
    }

    proptest! {
        /// Where the pieces are cut changes nothing.
        #[test]
        fn pieces_do_not_matter(
            parts in proptest::collection::vec("(data: ?|: |event:)?[a-zé✓:]{0,5}(\n|\r|\r\n|\n\n)", 0..20),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let stream = parts.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[&stream]));
        }
    }
}
