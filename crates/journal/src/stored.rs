//! Entries as open rows: JSON, beside the names by which they are found.

use rusqlite::Row;
use tiercast_records::journal::{About, Entry, Feedback, SegmentKind, Served};

/// A row ready to be stored.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) kind: SegmentKind,
    pub(crate) time_ms: i64,
    pub(crate) decision: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) cohort: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Encoded {
    /// About how many pages (of 4 KiB) of SQLite's log it takes.
    pub(crate) fn n_pages(&self) -> usize {
        1 + self.body.len() / 4096
    }

    pub(crate) fn of(entry: Entry) -> Self {
        match entry {
            Entry::Served(row) => Self {
                kind: SegmentKind::Served,
                time_ms: row.time_ms,
                body: serde_json::to_vec(&row).expect("a row is plain strings and numbers"),
                decision: Some(row.id),
                session: row.session,
                cohort: Some(row.cohort.as_ref().to_owned()),
            },
            Entry::Feedback(row) => {
                let body = serde_json::to_vec(&row).expect("a row is plain strings and numbers");
                let (decision, session) = match row.about {
                    About::Decision(id) => (Some(id), None),
                    About::Session(name) => (None, Some(name)),
                };
                Self {
                    kind: SegmentKind::Feedback,
                    time_ms: row.time_ms,
                    decision,
                    session,
                    cohort: None,
                    body,
                }
            }
        }
    }
}

/// A stored row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub(crate) seq: i64,
    pub(crate) body: Vec<u8>,
}

impl Stored {
    pub(crate) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            body: row.get(1)?,
        })
    }

    pub(crate) fn served(&self) -> Result<Served, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    pub(crate) fn feedback(&self) -> Result<Feedback, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}
