//! Rows that are not in a segment yet: a SQLite file, which a kill at any moment leaves whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tiercast_records::journal::{About, JOURNAL_VERSION, SegmentKind};

use crate::error::JournalError;
use crate::forgetting::What;
use crate::stored::{Encoded, Stored};
use crate::turns::Turns;

/// Tells our files from those of others: "tcjo".
const APPLICATION_ID: u32 = 0x7463_6a6f;

/// Another process may hold the file this long.
const BUSY: Duration = Duration::from_secs(5);

/// SQLite's log of writes is cut to this length when it begins anew.
const LOG_BYTES: u32 = 16 << 20;

/// Pages (of 4 KiB) in that log at which the keeper folds it into the file, while rows go on being stored. Not less:
/// the first transaction after that begins the log anew and waits for an `fsync`, which is slow on a busy disk.
pub(crate) const FOLD_PAGES: usize = 4000;

/// Pages in that log at which whoever commits folds it into the file, with two `fsync`: a stop where the keeper is
/// late.
const LOG_PAGES: u32 = 16_000;

/// How long, and how often, emptying the log stands in the way of writers.
const TURN: Duration = Duration::from_millis(100);
const N_TURNS: u32 = 10;

/// `AUTOINCREMENT`, so that no number is given twice: segments are told from open rows by number.
/// `aside` marks rows that cannot be read here and stay open: a newer build may read them.
const TABLES: &str = "
    CREATE TABLE entries (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        kind INTEGER NOT NULL,
        time_ms INTEGER NOT NULL,
        decision TEXT,
        session TEXT,
        cohort TEXT,
        aside INTEGER NOT NULL DEFAULT 0,
        body BLOB NOT NULL
    ) STRICT;
";

/// Names by which a served row may be meant.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) id: String,
    pub(crate) session: Option<String>,
    pub(crate) cohort: String,
}

/// The file, open.
#[derive(Debug)]
pub(crate) struct OpenRows {
    path: PathBuf,
    identity: Option<Identity>,
    connection: Connection,
    turns: Arc<Turns>,
}

impl OpenRows {
    /// Opens the file for writing, or makes it. Numbers go on above `rotated_to`, also where the file was lost,
    /// put back from a copy, or set back by a power cut.
    ///
    /// WAL with `synchronous = NORMAL`: a kill of the process loses nothing that was committed, for the system
    /// has it by then. A power cut may cost what was committed since the last checkpoint (some MB of rows), and
    /// never the file. `secure_delete` writes zeros over what is removed: forgotten is forgotten.
    pub(crate) fn open(path: &Path, rotated_to: i64) -> Result<Self, JournalError> {
        let failed = JournalError::sqlite(path, "opened");
        let connection = Connection::open(path).map_err(&failed)?;
        let mut rows = Self {
            path: path.to_path_buf(),
            identity: identity(path),
            connection,
            turns: Arc::default(),
        };
        rows.connection.busy_timeout(BUSY).map_err(&failed)?;
        let is_new = rows.n_tables().map_err(&failed)? == 0;
        if !is_new {
            // Before anything is changed: it may be somebody else's.
            rows.check_format()?;
        }
        rows.set_up(is_new, rotated_to).map_err(&failed)?;
        Ok(rows)
    }

    /// The same, writing by turns with others of this process.
    pub(crate) fn by_turns(self, turns: &Arc<Turns>) -> Self {
        Self {
            turns: Arc::clone(turns),
            ..self
        }
    }

    fn set_up(&mut self, is_new: bool, rotated_to: i64) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        self.connection.pragma_update(None, "secure_delete", true)?;
        self.connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
        self.connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        if is_new {
            self.make_tables(rotated_to)?;
        }
        let last = "SELECT seq FROM sqlite_sequence WHERE name = 'entries'";
        let last: i64 = self.connection.query_row(last, [], |row| row.get(0))?;
        if last < rotated_to {
            let set = "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'entries' AND seq < ?1";
            self.connection.execute(set, [rotated_to])?;
        }
        Ok(())
    }

    fn n_tables(&self) -> rusqlite::Result<u32> {
        self.connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
    }

    /// The rows as they are now, whatever is written meanwhile; nothing where there is no file.
    pub(crate) fn snapshot(path: &Path) -> Result<Option<Self>, JournalError> {
        if !path.exists() {
            return Ok(None);
        }
        let failed = JournalError::sqlite(path, "read");
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(&failed)?;
        connection.busy_timeout(BUSY).map_err(&failed)?;
        let rows = Self {
            path: path.to_path_buf(),
            connection,
            identity: None,
            turns: Arc::default(),
        };
        // A transaction sees one state from its first read on.
        rows.connection.execute_batch("BEGIN").map_err(&failed)?;
        let n_tables = rows.n_tables().map_err(&failed)?;
        if n_tables == 0 {
            // It is being made.
            return Ok(None);
        }
        rows.check_format()?;
        Ok(Some(rows))
    }

    fn make_tables(&mut self, rotated_to: i64) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have made them meanwhile.
        let n_tables: u32 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if n_tables == 0 {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", JOURNAL_VERSION)?;
            transaction.execute("INSERT INTO sqlite_sequence VALUES ('entries', ?1)", [rotated_to])?;
        }
        transaction.commit()
    }

    fn check_format(&self) -> Result<(), JournalError> {
        let number = |pragma: &str| {
            self.connection
                .pragma_query_value(None, pragma, |row| row.get::<_, u32>(0))
        };
        let id = number("application_id").map_err(self.failed("read"))?;
        let found = number("user_version").map_err(self.failed("read"))?;
        let path = self.path.clone();
        match (id, found) {
            (APPLICATION_ID, JOURNAL_VERSION) => Ok(()),
            (APPLICATION_ID, found) => Err(JournalError::Newer {
                path,
                found,
                known: JOURNAL_VERSION,
            }),
            _ => Err(JournalError::Foreign { path }),
        }
    }

    /// Whether the path still leads to the file that is open: SQLite goes on writing to one that was removed,
    /// and with the process all that would be gone.
    pub(crate) fn is_in_place(&self) -> bool {
        identity(&self.path) == self.identity
    }

    /// Stores all of `rows` or none, before anything else that this process would write.
    pub(crate) fn append(&mut self, rows: &[Encoded]) -> Result<(), JournalError> {
        let failed = self.failed("written");
        let _turn = self.turns.first();
        let mut append = || -> rusqlite::Result<()> {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO entries (kind, time_ms, decision, session, cohort, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?;
                for row in rows {
                    let Encoded {
                        kind,
                        time_ms,
                        decision,
                        session,
                        cohort,
                        body,
                    } = row;
                    insert.execute((number(*kind), time_ms, decision, session, cohort, body))?;
                }
            }
            transaction.commit()
        };
        append().map_err(failed)
    }

    /// Rows above `seq` that may be closed: how many, and the number of the last.
    pub(crate) fn after(&self, seq: i64) -> Result<(u64, i64), JournalError> {
        let count = "SELECT count(*), coalesce(max(seq), ?1) FROM entries WHERE seq > ?1 AND NOT aside";
        let count = self
            .connection
            .query_row(count, [seq], |row| Ok((row.get(0)?, row.get(1)?)));
        count.map_err(self.failed("read"))
    }

    /// Up to `limit` rows of a kind above `after` and up to `last`, in order.
    pub(crate) fn page(
        &self,
        kind: SegmentKind,
        after: i64,
        last: i64,
        limit: u32,
    ) -> Result<Vec<Stored>, JournalError> {
        let page = || -> rusqlite::Result<Vec<Stored>> {
            let mut select = self.connection.prepare_cached(
                "SELECT seq, body FROM entries WHERE kind = ?1 AND seq > ?2 AND seq <= ?3 AND NOT aside \
                 ORDER BY seq LIMIT ?4",
            )?;
            select
                .query_map((number(kind), after, last, limit), Stored::of)?
                .collect()
        };
        page().map_err(self.failed("read"))
    }

    /// Hands over the rows of a kind above `after`, and those that were set aside, in order.
    pub(crate) fn each(
        &self,
        kind: SegmentKind,
        after: i64,
        mut row: impl FnMut(Stored) -> std::ops::ControlFlow<()>,
    ) -> Result<(), JournalError> {
        let mut each = || -> rusqlite::Result<()> {
            let select = "SELECT seq, body FROM entries WHERE kind = ?1 AND (seq > ?2 OR aside) ORDER BY seq";
            let mut select = self.connection.prepare(select)?;
            let mut found = select.query((number(kind), after))?;
            while let Some(stored) = found.next()? {
                if row(Stored::of(stored)?).is_break() {
                    break;
                }
            }
            Ok(())
        };
        each().map_err(self.failed("read"))
    }

    /// Keeps a row open for good: it cannot be read here.
    pub(crate) fn set_aside(&self, seq: i64) -> Result<(), JournalError> {
        let _turn = self.turns.after_others();
        let set = self
            .connection
            .execute("UPDATE entries SET aside = 1 WHERE seq = ?1", [seq]);
        set.map(|_| ()).map_err(self.failed("written"))
    }

    /// Removes up to `limit` closed rows, the first first; says how many there were.
    pub(crate) fn remove_to(&self, last: i64, limit: u32) -> Result<usize, JournalError> {
        let remove = "DELETE FROM entries WHERE seq IN \
                      (SELECT seq FROM entries WHERE seq <= ?1 AND NOT aside ORDER BY seq LIMIT ?2)";
        let _turn = self.turns.after_others();
        self.connection
            .execute(remove, (last, limit))
            .map_err(self.failed("written"))
    }

    /// Folds the log of writes into the file as far as no reader stands in the way. Writers go on meanwhile.
    pub(crate) fn fold_log(&self) -> Result<(), JournalError> {
        let folded = self
            .connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        folded.map_err(self.failed("written"))
    }

    /// Folds the log of writes into the file and empties it: what was removed is then nowhere. A reader may
    /// stand in the way; says whether it was done. Writers wait meanwhile, so it takes short turns.
    pub(crate) fn empty_log(&self) -> Result<bool, JournalError> {
        let empty = || -> rusqlite::Result<bool> {
            self.connection.busy_timeout(TURN)?;
            for _ in 0..N_TURNS {
                let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
                let is_blocked: bool = self.connection.query_row(checkpoint, [], |row| row.get(0))?;
                if !is_blocked {
                    return Ok(true);
                }
                std::thread::sleep(TURN);
            }
            Ok(false)
        };
        let emptied = empty().map_err(self.failed("written"));
        self.connection.busy_timeout(BUSY).map_err(self.failed("written"))?;
        emptied
    }

    /// Of every served row: its id, session and cohort.
    pub(crate) fn each_name(&self, mut name: impl FnMut(Names)) -> Result<(), JournalError> {
        let mut each = || -> rusqlite::Result<()> {
            let select = "SELECT decision, session, cohort FROM entries WHERE kind = ?1";
            let mut select = self.connection.prepare(select)?;
            let mut rows = select.query([number(SegmentKind::Served)])?;
            while let Some(row) = rows.next()? {
                name(Names {
                    id: row.get(0)?,
                    session: row.get(1)?,
                    cohort: row.get(2)?,
                });
            }
            Ok(())
        };
        each().map_err(self.failed("read"))
    }

    /// Removes the served rows that `what` means, and the feedback about them or about what `is_meant` says, in
    /// one transaction; says how many of each.
    pub(crate) fn forget(
        &mut self,
        what: &What,
        is_meant: impl Fn(&About) -> bool,
    ) -> Result<(u64, u64), JournalError> {
        let failed = self.failed("written");
        let mut forget = || -> rusqlite::Result<(u64, u64)> {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let removed = remove_served(&transaction, what)?;
            let mut n_feedback = 0;
            for (seq, about) in feedback(&transaction)? {
                let of_removed = matches!(&about, About::Decision(id) if removed.contains(id));
                if of_removed || is_meant(&about) {
                    n_feedback += transaction.execute("DELETE FROM entries WHERE seq = ?1", [seq])?;
                }
            }
            transaction.commit()?;
            Ok((removed.len() as u64, n_feedback as u64))
        };
        forget().map_err(failed)
    }

    /// For `map_err` of statements.
    fn failed(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> JournalError + use<> {
        let path = self.path.clone();
        move |source| JournalError::sqlite(&path, doing)(source)
    }
}

/// Ids of the served rows that were removed.
fn remove_served(connection: &Connection, what: &What) -> rusqlite::Result<BTreeSet<String>> {
    let (column, value) = what.column();
    connection
        .prepare(&format!(
            "DELETE FROM entries WHERE kind = ?1 AND {column} = ?2 RETURNING decision"
        ))?
        .query_map((number(SegmentKind::Served), value), |row| row.get(0))?
        .collect()
}

/// What all feedback is about, by number.
fn feedback(connection: &Connection) -> rusqlite::Result<Vec<(i64, About)>> {
    connection
        .prepare("SELECT seq, decision, session FROM entries WHERE kind = ?1")?
        .query_map([number(SegmentKind::Feedback)], |row| {
            let decision: Option<String> = row.get(1)?;
            let about = match decision {
                Some(id) => About::Decision(id),
                None => About::Session(row.get(2)?),
            };
            Ok((row.get(0)?, about))
        })?
        .collect()
}

fn number(kind: SegmentKind) -> u8 {
    match kind {
        SegmentKind::Served => 0,
        SegmentKind::Feedback => 1,
    }
}

/// Device and number of a file.
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Elsewhere an open file can be neither removed nor replaced.
#[cfg(not(unix))]
fn identity(path: &Path) -> Option<Identity> {
    std::fs::metadata(path).ok().map(|_| (0, 0))
}
