//! The thread that writes: takes all that waits into one transaction.

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::file::{File, unavailable};
use super::operations::{self, Operation};
use crate::account::day;
use crate::error::BudgetError;
use crate::store::Standing;

/// Operations of one transaction.
const BATCH: usize = 256;

/// What comes of an operation; nothing but [`Operation::Standing`] has standings.
pub(super) type Outcome = Result<Vec<Standing>, BudgetError>;

/// An operation and who waits for it.
pub(super) struct Message {
    pub(super) operation: Operation,
    pub(super) answer: oneshot::Sender<Outcome>,
}

pub(super) struct Writer {
    store: String,
    file: Option<File>,
    connection: Connection,
    /// The day on which old accounts were last looked for.
    tidied: Option<i64>,
}

impl Writer {
    pub(super) fn new(store: String, file: Option<File>, connection: Connection) -> Self {
        connection.set_prepared_statement_cache_capacity(32);
        Self {
            store,
            file,
            connection,
            tidied: None,
        }
    }

    /// Until the last sender is gone and all it sent is done.
    pub(super) fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut batch = Vec::with_capacity(BATCH);
        while messages.blocking_recv_many(&mut batch, BATCH) > 0 {
            // Whoever no longer waits for a reservation would never use it.
            batch.retain(|message| !(message.answer.is_closed() && matches!(message.operation, Operation::Reserve(_))));
            self.answer(&mut batch);
        }
    }

    fn answer(&mut self, batch: &mut Vec<Message>) {
        match self.write(batch) {
            Ok(outcomes) => {
                for (message, outcome) in batch.drain(..).zip(outcomes) {
                    // Gone in the meantime: what it asked for is done all the same.
                    let _ = message.answer.send(outcome);
                }
            }
            Err(error) => {
                for message in batch.drain(..) {
                    let _ = message.answer.send(Err(error.clone()));
                }
            }
        }
    }

    fn write(&mut self, batch: &[Message]) -> Result<Vec<Outcome>, BudgetError> {
        if let Some(file) = &self.file {
            file.check()?;
        }
        let Self { connection, tidied, .. } = self;
        let mut write = || -> rusqlite::Result<Vec<Outcome>> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcomes = batch
                .iter()
                .map(|message| operations::run(&transaction, &message.operation));
            let outcomes = outcomes.collect::<rusqlite::Result<_>>()?;
            tidy(&transaction, batch, tidied)?;
            transaction.commit()?;
            Ok(outcomes)
        };
        write().map_err(|error| unavailable(&self.store, &error))
    }
}

/// Forgets calls that ended long ago, and once a day old accounts.
fn tidy(transaction: &Transaction<'_>, batch: &[Message], tidied: &mut Option<i64>) -> rusqlite::Result<()> {
    let Some(now_ms) = batch.iter().filter_map(|message| message.operation.now_ms()).max() else {
        return Ok(());
    };
    operations::forget_holds(transaction, now_ms)?;
    let today = day(now_ms);
    let is_asked = batch
        .iter()
        .any(|message| matches!(message.operation, Operation::Sweep { .. }));
    if is_asked || *tidied != Some(today) {
        operations::forget_accounts(transaction, today)?;
        *tidied = Some(today);
    }
    Ok(())
}
