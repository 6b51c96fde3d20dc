//! The one writer of a ledger: a thread with a bounded queue. What waits is written in one
//! transaction, and whoever sent it is told when it is durable.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::rows::{Call, CallKey, FailedAttempt, Verdict};
use super::statements;
use crate::error::CollectError;

/// Entries that may wait. Full means that callers wait: nothing piles up in memory.
const QUEUE: usize = 256;

/// Something to be stored.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A call is about to be sent.
    Open(CallKey),
    /// What came of a call, and the tries that failed on the way.
    Close(Box<Call>, Vec<FailedAttempt>),
    /// A judgement.
    Verdict(Box<Verdict>),
}

/// Told to every caller of a transaction that failed.
pub type WriteError = Arc<CollectError>;

struct Message {
    entry: Entry,
    stored: oneshot::Sender<Result<(), WriteError>>,
}

/// Writes entries; may be shared.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Sender<Message>,
    thread: JoinHandle<()>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn start(path: PathBuf, connection: Connection) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE);
        let thread = std::thread::spawn(move || write_all(&path, connection, messages));
        Self { queue, thread }
    }

    /// Stores `entry`. When this returns, a kill of the process no longer loses it.
    pub async fn store(&self, entry: Entry) -> Result<(), WriteError> {
        let (stored, answer) = oneshot::channel();
        let sent = self.queue.send(Message { entry, stored }).await;
        sent.expect("the thread receives until the last sender is gone");
        answer.await.expect("the thread answers every message")
    }

    /// Ends after everything sent is stored.
    pub fn finish(self) {
        drop(self.queue);
        // A panic there has been reported to every caller that waited.
        let _ = self.thread.join();
    }
}

fn write_all(path: &std::path::Path, mut connection: Connection, mut messages: mpsc::Receiver<Message>) {
    let mut batch = Vec::with_capacity(QUEUE);
    while let Some(first) = messages.blocking_recv() {
        batch.push(first);
        while batch.len() < QUEUE
            && let Ok(next) = messages.try_recv()
        {
            batch.push(next);
        }
        let written = write(&mut connection, &batch).map_err(|source| {
            Arc::new(CollectError::Ledger {
                path: path.to_path_buf(),
                doing: "written",
                source,
            })
        });
        for message in batch.drain(..) {
            // Whoever no longer waits was abandoned; what it sent is stored all the same.
            let _ = message.stored.send(written.clone());
        }
    }
}

fn write(connection: &mut Connection, batch: &[Message]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for message in batch {
        match &message.entry {
            Entry::Open(key) => statements::open_call(&transaction, key)?,
            Entry::Close(call, failed) => statements::close_call(&transaction, call, failed)?,
            Entry::Verdict(verdict) => statements::store_verdict(&transaction, verdict)?,
        }
    }
    transaction.commit()
}
