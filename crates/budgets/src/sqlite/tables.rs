//! The tables, strict, and their version.

use rusqlite::Connection;

/// In `user_version` of the file.
pub(super) const FORMAT_VERSION: u32 = 1;

/// "tcbu": no other program's file is taken for one of ours.
pub(super) const APPLICATION_ID: u32 = 0x7463_6275;

/// `touched` is a day since 1970. `accounts` of a hold are keys, one a line. `due` is when a hold expires, or when one
/// that has ended is forgotten; milliseconds since 1970.
const TABLES: &str = "
CREATE TABLE accounts (
    key TEXT PRIMARY KEY,
    spent_nano_usd INTEGER NOT NULL,
    spent_tokens INTEGER NOT NULL,
    held_nano_usd INTEGER NOT NULL,
    held_tokens INTEGER NOT NULL,
    touched INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE holds (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    nano_usd INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    accounts TEXT NOT NULL,
    due INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX holds_in_flight ON holds (due) WHERE state = 'held';
CREATE INDEX holds_ended ON holds (due) WHERE state <> 'held';
";

/// Makes the tables of an empty file, in one transaction; who comes second finds them there.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let made = fill(connection);
    connection.execute_batch(if made.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    made
}

fn fill(connection: &Connection) -> rusqlite::Result<()> {
    if n_tables(connection)? > 0 {
        return Ok(());
    }
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", FORMAT_VERSION)
}

/// Tables and indices of the file, whosever they are.
fn n_tables(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
}
