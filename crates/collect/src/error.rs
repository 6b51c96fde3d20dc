//! What can go wrong while collecting. Messages name the place and the mend, never a key or a prompt.

use std::path::{Path, PathBuf};

use tiercast_records::RecordsError;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A `tiercast.toml` that cannot be; wrong usage.
    #[error("{0}")]
    Config(String),
    /// The ledger could not be read or written.
    #[error("the ledger {} could not be {doing}{}", path.display(), hint(source))]
    Ledger {
        /// The SQLite file.
        path: PathBuf,
        /// What was tried, as in "could not be opened".
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// There is no ledger in the folder.
    #[error("{} has no ledger.sqlite: name the folder that `tiercast collect --out` wrote", folder.display())]
    NoLedger {
        /// The folder.
        folder: PathBuf,
    },
    /// A ledger of another layout.
    #[error("the ledger {} has format {found} and this build reads format {expected}: use the build that made it, or collect into a new --out", path.display())]
    LedgerFormat {
        /// The SQLite file.
        path: PathBuf,
        /// As it says.
        found: String,
        /// As this build writes.
        expected: u32,
    },
    /// A ledger of another run.
    #[error(
        "{} holds another run: {}. Collect into a new --out, or undo the change. These may change freely: concurrency, \
         rate limits, timeouts, retries, keys, base_url, prices, context windows, tiers or prompts added or left out, what \
         prompts are judged by, --samples, model and parameters of a tier that has no result yet",
        folder.display(),
        differences.join("; ")
    )]
    OtherRun {
        /// The folder.
        folder: PathBuf,
        /// What differs, in words.
        differences: Vec<String>,
    },
    /// Another process collects into the same folder.
    #[error("another `tiercast collect` is writing to {}: wait for it, or end it first", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The system refused to open, read or write.
    #[error("{} could not be {doing}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// What a writer told everybody who waited for it.
    #[error(transparent)]
    Shared(std::sync::Arc<Self>),
    /// Prompts or Parquet files.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl CollectError {
    /// For `map_err` of system calls.
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            path: path.to_path_buf(),
            doing,
            source,
        }
    }
}

/// What SQLite's commonest refusals mean for the user.
fn hint(error: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode::{DatabaseBusy, DiskFull, NotADatabase, ReadOnly, SystemIoFailure};
    match error.sqlite_error_code() {
        Some(DiskFull) => ": the disk is full. What was stored is whole; make room and run the same command again",
        Some(SystemIoFailure) => {
            ": the system refused, as it does when a disk or quota is full. What was stored is whole; make room and \
             run the same command again"
        }
        Some(ReadOnly) => ": it may not be written to. Change its permissions, or choose another --out",
        Some(NotADatabase) => ": it is no SQLite file. Choose another --out",
        Some(DatabaseBusy) => ": another process holds it. Wait for it to end",
        _ => "",
    }
}
