//! Lines to fields: one JSON object a line, read one at a time and of bounded length.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde_json::{Map, Value};

use super::gather::Gather;
use crate::error::{Fault, RecordsError, Spot};

/// No prompt is longer; a file without line breaks must not fill the memory.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Reads every line of `path` into `gather`. Blank lines are left out.
pub(super) fn read(path: &Path, gather: &mut Gather<'_>) -> Result<(), RecordsError> {
    let file = File::open(path).map_err(RecordsError::io(path, "opened"))?;
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1.. {
        let is_long = next(&mut lines, &mut line).map_err(RecordsError::io(path, "read"))?;
        if line.is_empty() {
            break;
        }
        let bytes = content(&line, number);
        if !bytes.is_empty() {
            gather.add(Spot::Line(number), object(bytes, is_long));
        }
    }
    Ok(())
}

/// The next line with its line break, empty at the end. True if it was cut because it is too long.
fn next(lines: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', line)?;
    let is_long = line.len() as u64 == MAX_LINE_BYTES && !line.ends_with(b"\n");
    if is_long {
        lines.skip_until(b'\n')?;
    }
    Ok(is_long)
}

/// The line without white space around it, and the first without a byte order mark.
fn content(line: &[u8], number: u64) -> &[u8] {
    let line = match number {
        1 => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
        _ => line,
    };
    line.trim_ascii()
}

fn object(line: &[u8], is_long: bool) -> Result<Map<String, Value>, Fault> {
    let fault = |what: String, mend: &str| Err(Fault::new("", what, mend));
    if is_long {
        return fault(
            format!("it is longer than {} MiB", MAX_LINE_BYTES >> 20),
            "Write one object a line",
        );
    }
    match serde_json::from_slice(line) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => fault(
            "it is no object".to_owned(),
            "Write one object a line, such as {\"prompt\": \"What is 2 + 2?\"}",
        ),
        Err(error) => fault(
            format!("it is not JSON ({})", without_line(&error)),
            "Write one whole object a line, in UTF-8",
        ),
    }
}

/// The parser's own line is always 1 here; only the column says something.
fn without_line(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let what = message.split(" at line ").next().unwrap_or_default();
    format!("{what} at column {}", error.column())
}
