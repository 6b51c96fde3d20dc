//! What can go wrong with a journal. Every message names the place and the mend.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use tiercast_records::RecordsError;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A setting that makes no sense.
    #[error("journal: `{name}` is {value}: give it a value from {least} to {most}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// What was given.
        value: u64,
        /// Its least value.
        least: u64,
        /// Its greatest.
        most: u64,
    },
    /// The system refused to open, read or write.
    #[error("{} could not be {doing}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried, as in "could not be opened".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("{} could not be {doing}: {source}{}", path.display(), mend(source))]
    Sqlite {
        /// The file of open rows.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// There is none.
    #[error("there is no journal in {}: name the folder that the server's `[journal]` names", folder.display())]
    NoJournal {
        /// The folder.
        folder: PathBuf,
    },
    /// Another build wrote it.
    #[error(
        "{} has version {found}, and this build reads versions up to {known}. Use the newer build that wrote it",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that is read here.
        known: u32,
    },
    /// The SQLite file of something else.
    #[error("{} is the SQLite file of something else: give the journal a folder of its own", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A manifest that cannot be understood, or is missing.
    #[error(
        "{}: {reason}. Put back a copy of it; without one, move the folder away and begin a new journal",
        path.display()
    )]
    BadManifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A key of another length.
    #[error(
        "{} is no key of a journal: it has {n_bytes} bytes instead of 32. Put back a copy of it, or remove it: \
         hashes of prompts then begin anew",
        path.display()
    )]
    BadKey {
        /// The file.
        path: PathBuf,
        /// Its length.
        n_bytes: usize,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes for the journal's key: {reason}")]
    NoRandomness {
        /// What it said.
        reason: String,
    },
    /// Segments are being changed by somebody else.
    #[error("{} is being changed by another process: try again when it has ended", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A segment.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// Its writer failed; the same message stands in `health`.
    #[error("the journal is not written: {0}")]
    Failing(String),
    /// It was closed.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    /// For `map_err` of system calls.
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            path: path.to_path_buf(),
            doing,
            source,
        }
    }

    /// For `map_err` of statements.
    pub(crate) fn sqlite(path: &Path, doing: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self::Sqlite {
            path: path.to_path_buf(),
            doing,
            source,
        }
    }

    /// The message with its causes, for places that keep text only.
    pub(crate) fn in_full(&self) -> String {
        let mut message = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        message
    }
}

/// What SQLite's commonest refusals mean for the user.
fn mend(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ". Another process holds it: let it end",
        Some(ErrorCode::CannotOpen) => ". Its folder must be there and may be written to",
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => ". Make room on its disk: what was stored is whole",
        Some(ErrorCode::ReadOnly) => ". It and its folder must be writable",
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            ". It is no whole SQLite file: move it away, segments stay"
        }
        _ => "",
    }
}
