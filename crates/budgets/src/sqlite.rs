//! Accounts in a SQLite file, or in memory: the store inside the process.
//!
//! One thread writes; what waits for it goes into one transaction, and whoever sent it is answered after
//! the commit. So a reservation that was answered survives a kill of the process. All sums lie in the file, so
//! several processes on one machine may share it.

use std::fmt;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

mod file;
mod operations;
mod tables;
mod writer;

use self::file::File;
use self::operations::Operation;
use self::writer::Message;
use crate::account::Account;
use crate::amount::Amount;
use crate::error::BudgetError;
use crate::store::{Answer, Reservation, Standing, Store, check_accounts, check_id, check_now};

/// Operations that may wait. Full means that callers wait, no longer than [`PATIENCE`].
const QUEUE: usize = 1024;

/// Another process may hold the file this long.
const BUSY: Duration = Duration::from_secs(2);

/// A caller waits this long: for a transaction that another process holds up, and for its own.
const PATIENCE: Duration = Duration::from_secs(5);

/// The store; share it in an `Arc`.
pub struct SqliteStore {
    name: String,
    /// Gone only while dropping.
    queue: Option<mpsc::Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens the file at `path`, or makes it. [`BudgetError::Unavailable`] where it is locked for more than
    /// two seconds, is no file of this crate, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, BudgetError> {
        let (file, connection) = File::open(path, BUSY)?;
        Ok(Self::start(Some(file), connection, path.display().to_string()))
    }

    /// Accounts that end with the process.
    pub fn in_memory() -> Result<Self, BudgetError> {
        let name = "in memory".to_owned();
        let connection = Connection::open_in_memory().and_then(|connection| {
            tables::create(&connection)?;
            Ok(connection)
        });
        let connection = connection.map_err(|error| file::unavailable(&name, &error))?;
        Ok(Self::start(None, connection, name))
    }

    fn start(file: Option<File>, connection: Connection, name: String) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE);
        let writer = writer::Writer::new(name.clone(), file, connection);
        Self {
            name,
            queue: Some(queue),
            thread: Some(std::thread::spawn(move || writer.run(messages))),
        }
    }

    async fn ask(&self, operation: Operation) -> Result<Vec<Standing>, BudgetError> {
        let (sender, answer) = oneshot::channel();
        let message = Message {
            operation,
            answer: sender,
        };
        let answered = timeout(PATIENCE, async {
            let queue = self.queue.as_ref()?;
            queue.send(message).await.ok()?;
            answer.await.ok()
        });
        match answered.await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(self.unavailable("its writer has ended: restart the process")),
            Err(_) => Err(self.unavailable("it takes longer than 5 seconds: see what else uses its disk or its file")),
        }
    }

    fn unavailable(&self, why: &str) -> BudgetError {
        BudgetError::Unavailable {
            store: self.name.clone(),
            why: why.to_owned(),
        }
    }
}

impl Store for SqliteStore {
    fn reserve<'a>(&'a self, reservation: &'a Reservation) -> Answer<'a, ()> {
        Box::pin(async {
            reservation.check()?;
            self.ask(Operation::Reserve(reservation.clone())).await.map(|_| ())
        })
    }

    fn settle<'a>(&'a self, id: &'a str, accounts: &'a [Account], used: Amount, now_ms: i64) -> Answer<'a, ()> {
        Box::pin(async move {
            check_id(id)?;
            check_now(now_ms)?;
            check_accounts(accounts.iter())?;
            let settle = Operation::Settle {
                id: id.to_owned(),
                accounts: accounts.to_vec(),
                used,
                now_ms,
            };
            self.ask(settle).await.map(|_| ())
        })
    }

    fn release<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async {
            check_id(id)?;
            self.ask(Operation::Release { id: id.to_owned() }).await.map(|_| ())
        })
    }

    fn standing<'a>(&'a self, accounts: &'a [Account], now_ms: i64) -> Answer<'a, Vec<Standing>> {
        Box::pin(async move {
            check_now(now_ms)?;
            let accounts = accounts.to_vec();
            self.ask(Operation::Standing { accounts, now_ms }).await
        })
    }

    fn sweep(&self, now_ms: i64) -> Answer<'_, ()> {
        Box::pin(async move {
            check_now(now_ms)?;
            self.ask(Operation::Sweep { now_ms }).await.map(|_| ())
        })
    }
}

impl Drop for SqliteStore {
    /// Waits until what was sent is stored.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was told to whoever waited.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
