//! The thread that writes: what came within a part of the flush interval goes into one transaction.
//!
//! It only inserts. What takes long, which is removing rows and folding SQLite's log into the file, is the keeper's.

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
use crate::open_rows::{FOLD_PAGES, OpenRows};
use crate::settings::Settings;
use crate::stored::Encoded;
use crate::turns::Turns;

/// Entries that are written at once though the interval is not over.
const BATCH: usize = 1024;

/// Part of the flush interval for which entries are gathered: the rest is for a disk that is slow at times.
const GATHER: u32 = 4;

/// Pages of SQLite's log that a transaction takes beside its rows.
const TRANSACTION_PAGES: usize = 3;

/// Told when all before is stored, or why it is not.
pub(crate) type Answer = SyncSender<Result<(), String>>;

/// What the thread is sent.
pub(crate) enum Message {
    /// What came, and when: its wait begins there and not when the thread gets to it.
    Entry(Entry, Instant),
    Flush(Answer),
    Close(Answer),
}

pub(crate) struct Writer {
    folder: Folder,
    /// Nothing while the file cannot be opened.
    rows: Option<OpenRows>,
    figures: Arc<Figures>,
    clock: Clock,
    turns: Arc<Turns>,
    keeper: SyncSender<Signal>,
    rotate_rows: u64,
    gather: Duration,
    /// Entries that came and are not stored. No more than the queue holds: who finds no place there is turned
    /// away before.
    pending: Vec<Encoded>,
    answers: Vec<Answer>,
    /// Pages written since the keeper was told, about.
    n_unfolded: usize,
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
        turns: Arc<Turns>,
        keeper: SyncSender<Signal>,
    ) -> Self {
        Self {
            folder,
            rows: Some(rows.by_turns(&turns)),
            figures,
            clock,
            turns,
            keeper,
            rotate_rows: settings.rotate_rows,
            gather: Duration::from_millis(settings.flush_ms) / GATHER,
            pending: Vec::new(),
            answers: Vec::new(),
            n_unfolded: 0,
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
            .filter(|message| matches!(message, Message::Entry(..)));
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
                Ok(Message::Entry(entry, came)) => {
                    self.pending.push(Encoded::of(entry));
                    until.get_or_insert_with(|| came + self.gather);
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
        self.ask_to_fold();
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
                let rotated_to = Manifest::read(&self.folder)?.rotated_to;
                OpenRows::open(&self.folder.open_rows(), rotated_to)?.by_turns(&self.turns)
            }
        };
        self.rows.insert(rows).append(&self.pending)
    }

    fn ask_to_fold(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let n_pages: usize = self.pending.iter().map(Encoded::n_pages).sum();
        self.n_unfolded += TRANSACTION_PAGES + n_pages;
        // Full means that it has something to do, and is asked again after the next transaction.
        if self.n_unfolded >= FOLD_PAGES && self.keeper.try_send(Signal::Fold).is_ok() {
            self.n_unfolded = 0;
        }
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
