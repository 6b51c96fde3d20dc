//! What is kept of the requests that were served: `[journal]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{SettingsError, value};

/// What of a request is kept beside the decision and its calls. Each holds what stands before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// A keyed hash of the ask.
    Hash,
    /// The figures of the ask: what drift is told by, and what a predictor can be trained on.
    #[default]
    Features,
    /// The ask and the reply in words, and what people say of it.
    Text,
}

/// The journal: `[journal]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalSettings {
    /// Folder; none: no journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<PathBuf>,
    keep: Keep,
    /// What a kill of the process may lose, milliseconds, where the machine keeps up.
    flush_ms: u64,
    /// Rows that may wait; more are dropped and counted.
    queue: usize,
    /// Rows of a segment.
    rotate_rows: u64,
    /// Age of the open rows at which they become a segment, minutes.
    rotate_minutes: u64,
    /// Days after which a segment is deleted; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_days: Option<u32>,
    /// Disk space over which the oldest segments are deleted, MiB; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_mib: Option<u64>,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            folder: None,
            keep: Keep::default(),
            flush_ms: 500,
            queue: 8192,
            rotate_rows: 50_000,
            rotate_minutes: 60,
            keep_days: None,
            keep_mib: None,
        }
    }
}

impl JournalSettings {
    /// What is kept of the asks.
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// How the journal is to be opened; `None` where there is to be none.
    pub fn opening(&self) -> Option<tiercast_journal::Settings> {
        const MIB: u64 = 1 << 20;
        const MINUTE_MS: u64 = 60_000;
        let mut opening = tiercast_journal::Settings::new(self.folder.as_ref()?);
        opening.flush_ms = self.flush_ms;
        opening.queue = self.queue;
        opening.rotate_rows = self.rotate_rows;
        opening.rotate_ms = self.rotate_minutes.saturating_mul(MINUTE_MS);
        opening.keep_days = self.keep_days;
        opening.keep_bytes = self.keep_mib.map(|mib| mib.saturating_mul(MIB));
        Some(opening)
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.folder.as_ref().is_some_and(|folder| folder.as_os_str().is_empty()) {
            return Err(value(
                "journal.folder",
                "is empty: name a folder, or leave it out for no journal",
            ));
        }
        match self.opening().map(|opening| opening.check()) {
            Some(Err(error)) => Err(value("journal", format!("will not do: {error}"))),
            _ => Ok(()),
        }
    }
}
