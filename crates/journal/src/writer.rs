//! The thread that writes: what came within the flush interval goes into one transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use tiercast_records::journal::Entry;

use crate::error::JournalError;
use crate::folder::Folder;
use crate::health::Figures;
use crate::journal::Clock;
use crate::keeper::Signal;
use crate::manifest::Manifest;
use crate::open_rows::OpenRows;
use crate::settings::Settings;
use crate::stored::Encoded;

/// Entries that are written at once though the interval is not over.
const BATCH: usize = 1024;

/// Told when all before is stored, or why it is not.
pub(crate) type Answer = SyncSender<Result<(), String>>;

/// What the thread is sent.
pub(crate) enum Message {
    Entry(Entry),
    Flush(Answer),
    Close(Answer),
}

pub(crate) struct Writer {
    folder: Folder,
    /// Nothing while the file cannot be opened.
    rows: Option<OpenRows>,
    figures: Arc<Figures>,
    clock: Clock,
    keeper: SyncSender<Signal>,
    rotate_rows: u64,
    /// Half of the flush interval: the other half is for the transaction.
    gather: Duration,
    /// Entries that came and are not stored. No more than the queue holds: who finds no place there is turned
    /// away before.
    pending: Vec<Encoded>,
    answers: Vec<Answer>,
    is_closing: bool,
    has_failed: bool,
}

impl Writer {
    pub(crate) fn new(
        settings: &Settings,
        folder: Folder,
        rows: OpenRows,
        figures: Arc<Figures>,
        clock: Clock,
        keeper: SyncSender<Signal>,
    ) -> Self {
        Self {
            folder,
            rows: Some(rows),
            figures,
            clock,
            keeper,
            rotate_rows: settings.rotate_rows,
            gather: Duration::from_millis(settings.flush_ms / 2),
            pending: Vec::new(),
            answers: Vec::new(),
            is_closing: false,
            has_failed: false,
        }
    }

    /// Writes until it is told to close, or nobody is left.
    pub(crate) fn run(mut self, messages: &Receiver<Message>) {
        while !self.is_closing {
            self.gather(messages);
            let stored = self.store();
            for answer in self.answers.drain(..) {
                // Whoever no longer waits does not need it.
                let _ = answer.send(stored.clone());
            }
        }
        // What could not be stored, and what came in while closing.
        let late = messages
            .try_iter()
            .filter(|message| matches!(message, Message::Entry(_)));
        let lost = self.pending.len() + late.count();
        self.figures.waiting.fetch_sub(lost, Ordering::AcqRel);
        self.figures.dropped.fetch_add(lost as u64, Ordering::AcqRel);
    }

    /// Takes what comes, until it is time to write. After a failure a full batch is no reason: trying again
    /// at once would only burn the processor.
    fn gather(&mut self, messages: &Receiver<Message>) {
        let mut until = (!self.pending.is_empty()).then(|| Instant::now() + self.gather);
        while self.answers.is_empty() && (self.pending.len() < BATCH || self.has_failed) {
            let message = match until {
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(until) => messages.recv_timeout(until.saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(Message::Entry(entry)) => {
                    self.pending.push(Encoded::of(entry));
                    until.get_or_insert_with(|| Instant::now() + self.gather);
                }
                Ok(Message::Flush(answer)) => self.answers.push(answer),
                Ok(Message::Close(answer)) => {
                    self.answers.push(answer);
                    self.is_closing = true;
                }
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => {
                    self.is_closing = true;
                    return;
                }
            }
        }
    }

    fn store(&mut self) -> Result<(), String> {
        let n = self.pending.len();
        let stored = self.append();
        self.has_failed = stored.is_err();
        let now_ms = (self.clock)();
        if let Err(error) = stored {
            // What is wrong with the file may be mended by opening it anew.
            self.rows = None;
            let what = error.in_full();
            self.figures.writing.set(what.clone(), now_ms);
            return Err(what);
        }
        self.pending.clear();
        self.figures.writing.clear();
        if n > 0 {
            self.count(n, now_ms);
        }
        Ok(())
    }

    fn append(&mut self) -> Result<(), JournalError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let rows = match self.rows.take().filter(OpenRows::is_in_place) {
            Some(rows) => rows,
            None => {
                self.folder.make()?;
                Manifest::make(&self.folder)?;
                OpenRows::open(&self.folder.open_rows(), Manifest::read(&self.folder)?.rotated_to)?
            }
        };
        self.rows.insert(rows).append(&self.pending)
    }

    fn count(&self, n: usize, now_ms: i64) {
        self.figures.written.fetch_add(n as u64, Ordering::AcqRel);
        self.figures.waiting.fetch_sub(n, Ordering::AcqRel);
        self.figures.last_write_ms.store(now_ms, Ordering::Relaxed);
        let n_open = self.figures.open_rows.fetch_add(n as u64, Ordering::AcqRel) + n as u64;
        if n_open >= self.rotate_rows {
            // Full means that it has been told already.
            let _ = self.keeper.try_send(Signal::Due);
        }
    }
}
