//! Results go to standard output, and only from here.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::progress::say;

/// Something could not be written, such as to a full disk: the exit code says so.
static IS_INCOMPLETE: AtomicBool = AtomicBool::new(false);

/// A line or more of the result.
pub(crate) fn print(text: &str) {
    note(write(&mut io::stdout().lock(), text));
}

/// The result as JSON.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Whether part of the result is missing from where it was to go.
pub(crate) fn is_incomplete() -> bool {
    IS_INCOMPLETE.load(Ordering::Relaxed)
}

fn write(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{text}")?;
    out.flush()
}

/// A reader that has gone away, as `head` does, has what it wanted; the command goes on to its end.
fn note(written: io::Result<()>) {
    let Err(error) = written else { return };
    // Told once: what comes after it fails in the same way.
    if error.kind() != ErrorKind::BrokenPipe && !IS_INCOMPLETE.swap(true, Ordering::Relaxed) {
        say(&format!("standard output could not be written: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_is_gone_does_not_count() {
        note(Err(ErrorKind::BrokenPipe.into()));
        assert!(!is_incomplete());
        note(Err(ErrorKind::StorageFull.into()));
        assert!(is_incomplete());
    }

    #[test]
    fn text_ends_its_line() {
        let mut out = Vec::new();
        write(&mut out, "a\nb").unwrap();
        assert_eq!(out, b"a\nb\n");
    }
}
