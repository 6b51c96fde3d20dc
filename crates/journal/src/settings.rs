//! How a journal is kept.

use std::path::{Path, PathBuf};

use crate::error::JournalError;

/// How a journal is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it lies; made where it is missing.
    pub folder: PathBuf,
    /// What a kill of the process may lose, milliseconds. What came is written after a quarter of it; the rest is for a
    /// transaction and one `fsync`. Rows get older where the machine does not keep up, up to a full queue.
    pub flush_ms: u64,
    /// Entries that may wait to be written; what comes beyond is dropped and counted.
    pub queue: usize,
    /// Open rows that make a segment.
    pub rotate_rows: u64,
    /// Milliseconds after which open rows make a segment, however few.
    pub rotate_ms: u64,
    /// Days after which a segment goes, by its newest row; forever without.
    pub keep_days: Option<u32>,
    /// Bytes of segments beyond which the oldest go; open rows come on top.
    pub keep_bytes: Option<u64>,
}

impl Settings {
    /// The defaults, in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            flush_ms: 500,
            queue: 8192,
            rotate_rows: 50_000,
            rotate_ms: 3_600_000,
            keep_days: None,
            keep_bytes: None,
        }
    }

    /// Whether every setting can be used.
    pub fn check(&self) -> Result<(), JournalError> {
        let check = |name, value: u64, least: u64, most: u64| match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err(JournalError::Setting {
                name,
                value,
                least,
                most,
            }),
        };
        check("flush_ms", self.flush_ms, 2, 60_000)?;
        check("queue", self.queue as u64, 1, 1 << 20)?;
        check("rotate_rows", self.rotate_rows, 1, 10_000_000)?;
        check("rotate_ms", self.rotate_ms, 100, 30 * 86_400_000)?;
        check("keep_days", u64::from(self.keep_days.unwrap_or(1)), 1, 36_500)?;
        check("keep_bytes", self.keep_bytes.unwrap_or(u64::MAX), 1 << 20, u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_is_named_with_its_range() {
        let check = |change: fn(&mut Settings), expected: &str| {
            let mut settings = Settings::new(Path::new("j"));
            settings.check().unwrap();
            change(&mut settings);
            let error = settings.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(
            |settings| settings.flush_ms = 0,
            "`flush_ms` is 0: give it a value from 2 to 60000",
        );
        check(|settings| settings.queue = 0, "`queue`");
        check(|settings| settings.rotate_rows = 0, "`rotate_rows`");
        check(|settings| settings.rotate_ms = 5, "`rotate_ms`");
        check(|settings| settings.keep_days = Some(0), "`keep_days`");
        check(|settings| settings.keep_bytes = Some(1000), "`keep_bytes` is 1000");
    }
}
