//! The file: opened once, and looked at before every transaction. SQLite goes on writing to a file that
//! was deleted or replaced under it, and with the process all that would be gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::tables::{APPLICATION_ID, FORMAT_VERSION, create};
use crate::error::BudgetError;

/// Which file a path leads to.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    identity: Option<Identity>,
}

/// Device and number of the file.
type Identity = (u64, u64);

impl File {
    /// WAL with `synchronous = NORMAL`: a kill of the process loses nothing that was committed, for the
    /// system has it by then; only a power cut may cost the last moments, and never the file.
    pub(super) fn open(path: &Path, busy: Duration) -> Result<(Self, Connection), BudgetError> {
        let store = path.display().to_string();
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(path)?;
            connection.busy_timeout(busy)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            create(&connection)?;
            Ok(connection)
        };
        let connection = open().map_err(|error| unavailable(&store, &error))?;
        check_format(&connection, &store)?;
        let path = path.to_path_buf();
        let identity = identity(&path);
        Ok((Self { path, identity }, connection))
    }

    /// Fails where the path leads elsewhere by now.
    pub(super) fn check(&self) -> Result<(), BudgetError> {
        if identity(&self.path) == self.identity {
            return Ok(());
        }
        Err(BudgetError::Unavailable {
            store: self.path.display().to_string(),
            why: "it was deleted, moved or replaced while in use: put it back, or restart to begin with what is there \
                  now"
            .to_owned(),
        })
    }
}

/// What SQLite's commonest refusals mean for the user.
pub(super) fn unavailable(store: &str, error: &rusqlite::Error) -> BudgetError {
    let mend = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            ": another process holds it. Let it end, or give this one a file of its own"
        }
        Some(ErrorCode::CannotOpen) => ": its folder must be there and may be written to",
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => ": make room on its disk. What was stored is whole",
        Some(ErrorCode::ReadOnly) => ": it and its folder must be writable",
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            ": it is no whole SQLite file. Move it away, or name another"
        }
        _ => "",
    };
    BudgetError::Unavailable {
        store: store.to_owned(),
        why: format!("{error}{mend}"),
    }
}

fn check_format(connection: &Connection, store: &str) -> Result<(), BudgetError> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0));
    let found = number("application_id").and_then(|id| Ok((id, number("user_version")?)));
    let why = match found.map_err(|error| unavailable(store, &error))? {
        (APPLICATION_ID, FORMAT_VERSION) => return Ok(()),
        (APPLICATION_ID, version) => {
            format!("it has format {version} and this build reads {FORMAT_VERSION}: name another file")
        }
        _ => "it is the SQLite file of something else: name another".to_owned(),
    };
    let store = store.to_owned();
    Err(BudgetError::Unavailable { store, why })
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Elsewhere an open file can be neither deleted nor replaced.
#[cfg(not(unix))]
fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|_| (0, 0))
}
