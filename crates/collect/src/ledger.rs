//! The ledger of a run: `ledger.sqlite` in its folder. Prompts, tiers, what came of every call, and
//! judgements. One writer thread; any number of readers beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use tiercast_records::prompts::Prompt;

mod judged;
mod pages;
mod prompts;
mod rows;
mod run;
mod schema;
mod statements;
mod totals;
mod writer;

#[cfg(test)]
mod tests;

pub use pages::{Answer, Pending};
pub use prompts::prompts_hash;
pub use rows::{Call, CallKey, FailedAttempt, Status, Verdict};
pub use run::RunTier;
pub use totals::{ErrorCount, TierTotals};
pub use writer::{Entry, WriteError, Writer};

use crate::error::CollectError;

/// Its name in the folder of a run.
pub const FILE_NAME: &str = "ledger.sqlite";

/// Held while collecting, so that two runs do not pay for the same calls.
const LOCK_NAME: &str = "ledger.lock";

/// Readers and the writer wait this long for one another; in WAL mode they hardly ever do.
const BUSY: Duration = Duration::from_secs(10);

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    path: PathBuf,
    connection: Connection,
    #[expect(dead_code, reason = "held by the one that collects, not read")]
    lock: Option<Lock>,
}

/// Only one `collect` at a time writes to a folder. Let go when dropped, also by a kill.
#[derive(Debug)]
struct Lock(#[expect(dead_code, reason = "held, not read")] File);

impl Ledger {
    /// Opens the ledger in `folder` for reading and writing.
    pub fn open(folder: &Path) -> Result<Self, CollectError> {
        if !folder.join(FILE_NAME).is_file() {
            return Err(CollectError::NoLedger {
                folder: folder.to_path_buf(),
            });
        }
        let ledger = Self::connect(folder, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        ledger.check_format()?;
        Ok(ledger)
    }

    /// Opens the ledger in `folder`, or makes an empty file that [`Ledger::begin`] fills. As long as
    /// it is open no other `collect` can do the same.
    pub(crate) fn open_or_create(folder: &Path) -> Result<Self, CollectError> {
        let lock = Self::lock(folder)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let ledger = Self::connect(folder, flags)?;
        if ledger.is_begun()? {
            ledger.check_format()?;
        }
        Ok(Self {
            lock: Some(lock),
            ..ledger
        })
    }

    /// The ledger in `folder`, if it is of the same run, else one in memory of a run that begins:
    /// for looking ahead without leaving anything.
    pub fn preview(folder: &Path, prompts: &[Prompt], tiers: &[RunTier]) -> Result<Self, CollectError> {
        if folder.join(FILE_NAME).is_file() {
            let ledger = Self::connect(folder, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            if ledger.is_begun()? {
                ledger.check_format()?;
                ledger.check_same(prompts, tiers)?;
                ledger.lay_over(prompts)?;
                return Ok(ledger);
            }
        }
        let path = folder.join(FILE_NAME);
        let connection = Connection::open_in_memory().map_err(|source| CollectError::Ledger {
            path: path.clone(),
            doing: "opened",
            source,
        })?;
        let mut ledger = Self {
            folder: folder.to_path_buf(),
            path,
            connection,
            lock: None,
        };
        ledger.begin(prompts, tiers)?;
        Ok(ledger)
    }

    /// The one right to collect into `folder`.
    fn lock(folder: &Path) -> Result<Lock, CollectError> {
        fs::create_dir_all(folder).map_err(CollectError::io(folder, "made"))?;
        let path = folder.join(LOCK_NAME);
        let file = File::create(&path).map_err(CollectError::io(&path, "written"))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(fs::TryLockError::WouldBlock) => Err(CollectError::InUse {
                folder: folder.to_path_buf(),
            }),
            Err(fs::TryLockError::Error(source)) => Err(CollectError::io(&path, "locked")(source)),
        }
    }

    /// Starts the thread that writes, on a connection of its own.
    pub fn writer(&self) -> Result<Writer, CollectError> {
        let other = Self::connect(&self.folder, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Ok(Writer::start(other.path, other.connection))
    }

    /// The same ledger on another connection, for another thread.
    pub fn again(&self) -> Result<Self, CollectError> {
        Self::connect(&self.folder, OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    /// The folder of the run.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Judgements by one configuration of a judge, in order of what was judged.
    pub fn verdicts(&self, judge_hash: &str) -> Result<Vec<Verdict>, CollectError> {
        statements::verdicts(&self.connection, judge_hash).map_err(self.failed("read"))
    }

    /// A note of the run, by name.
    pub fn meta(&self, key: &str) -> Result<Option<String>, CollectError> {
        let value = self
            .connection
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0));
        value.optional().map_err(self.failed("read"))
    }

    /// Keeps a note of the run.
    pub fn set_meta(&self, key: &str, value: &str) -> Result<(), CollectError> {
        let set = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
        let set = self.connection.execute(set, (key, value));
        set.map(|_| ()).map_err(self.failed("written"))
    }

    /// Folds the log of writes into the file, so that the folder holds one file between runs.
    pub(crate) fn tidy(&self) -> Result<(), CollectError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(self.failed("written"))
    }

    /// WAL with `synchronous = NORMAL`: a kill of the process loses nothing that was committed, for
    /// the system has it by then; only a power cut may cost the last moments, and never the file.
    /// FULL would wait for the disk with every batch and save those moments alone.
    fn connect(folder: &Path, flags: OpenFlags) -> Result<Self, CollectError> {
        let path = folder.join(FILE_NAME);
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.pragma_update(None, "temp_store", "MEMORY")?;
            Ok(connection)
        };
        let connection = open().map_err(|source| CollectError::Ledger {
            path: path.clone(),
            doing: "opened",
            source,
        })?;
        Ok(Self {
            folder: folder.to_path_buf(),
            path,
            connection,
            lock: None,
        })
    }

    /// Whether it has its tables; one that was killed before is empty.
    pub(crate) fn is_begun(&self) -> Result<bool, CollectError> {
        let count = "SELECT count(*) FROM sqlite_schema WHERE name = 'meta'";
        let count = self.connection.query_row(count, [], |row| row.get::<_, u32>(0));
        count.map(|n| n > 0).map_err(self.failed("read"))
    }

    fn check_format(&self) -> Result<(), CollectError> {
        let found = match self.is_begun()? {
            true => self.meta("format_version")?.unwrap_or_default(),
            false => "none".to_owned(),
        };
        if found == schema::FORMAT_VERSION.to_string() {
            return Ok(());
        }
        Err(CollectError::LedgerFormat {
            path: self.path.clone(),
            found,
            expected: schema::FORMAT_VERSION,
        })
    }

    /// For `map_err` of statements.
    fn failed(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> CollectError {
        let path = self.path.clone();
        move |source| CollectError::Ledger {
            path: path.clone(),
            doing,
            source,
        }
    }
}
