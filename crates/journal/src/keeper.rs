//! The thread that closes open rows into segments and removes what is too old. Apart from the writer, so that
//! entries are stored in time while a segment is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::error::JournalError;
use crate::folder::{Folder, Lock};
use crate::health::Figures;
use crate::journal::Clock;
use crate::manifest::Manifest;
use crate::open_rows::OpenRows;
use crate::retention;
use crate::rotation;
use crate::settings::Settings;
use crate::turns::Turns;
use crate::writer::Answer;

/// Retention is looked at this often though nothing is closed.
const SWEEP: Duration = Duration::from_secs(3600);

/// After a failure, or while another process holds the lock.
const RETRY: Duration = Duration::from_secs(2);

/// What the thread is sent.
pub(crate) enum Signal {
    /// There are enough open rows.
    Due,
    /// SQLite's log of writes has grown.
    Fold,
    /// Close them now, however few.
    Rotate(Answer),
    /// End.
    Stop,
}

pub(crate) struct Keeper {
    pub(crate) settings: Settings,
    pub(crate) folder: Folder,
    pub(crate) figures: Arc<Figures>,
    pub(crate) clock: Clock,
    pub(crate) turns: Arc<Turns>,
    /// Ends a rotation between two steps.
    pub(crate) is_closed: Arc<AtomicBool>,
}

impl Keeper {
    /// Works until it is told to stop. Ages are measured by a clock that does not jump.
    pub(crate) fn run(self, signals: &Receiver<Signal>) {
        let period = Duration::from_millis(self.settings.rotate_ms);
        // What a kill left over is removed at once, and what is too old.
        let mut rotated_at = Instant::now();
        let mut wake_at = Instant::now() + self.turn(false).map_or(RETRY, |()| period.min(SWEEP));
        loop {
            let mut answer = None;
            match signals.recv_timeout(wake_at.saturating_duration_since(Instant::now())) {
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Signal::Fold) if !self.has_enough() => {
                    self.fold();
                    continue;
                }
                Ok(Signal::Rotate(waiting)) => answer = Some(waiting),
                Ok(Signal::Due | Signal::Fold) | Err(RecvTimeoutError::Timeout) => {}
            }
            let is_old = rotated_at.elapsed() >= period;
            let is_due = answer.is_some() || is_old || self.has_enough();
            let done = self.turn(is_due);
            if is_due && done.is_ok() {
                rotated_at = Instant::now();
            }
            let pause = match done {
                Err(_) => RETRY,
                Ok(()) => period.saturating_sub(rotated_at.elapsed()).min(SWEEP),
            };
            wake_at = Instant::now() + pause;
            if let Some(answer) = answer {
                let _ = answer.send(done);
            }
        }
    }

    fn has_enough(&self) -> bool {
        self.figures.open_rows.load(Ordering::Acquire) >= self.settings.rotate_rows
    }

    /// Folds SQLite's log into the file, so that the writer need not. Needs no lock. Where it fails the next one
    /// tries, and the log only grows meanwhile.
    fn fold(&self) {
        let _ = self.rows().and_then(|rows| rows.fold_log());
    }

    /// One round under the lock; a failure is told by `health` until a round succeeds.
    fn turn(&self, rotate: bool) -> Result<(), String> {
        let now_ms = (self.clock)();
        match self.try_turn(rotate, now_ms) {
            Ok(()) => {
                self.figures.keeping.clear();
                Ok(())
            }
            // Somebody forgets or rotates: no fault, only later.
            Err(error @ JournalError::InUse { .. }) => Err(error.in_full()),
            Err(error) => {
                let what = error.in_full();
                self.figures.keeping.set(what.clone(), now_ms);
                Err(what)
            }
        }
    }

    fn try_turn(&self, rotate: bool, now_ms: i64) -> Result<(), JournalError> {
        let lock = self.folder.try_lock()?;
        let mut rows = self.rows()?;
        rotation::recover(&self.folder, &rows, &lock)?;
        if rotate {
            let done = rotation::rotate(&self.folder, &mut rows, &lock, &self.is_closed)?;
            self.figures.unreadable.fetch_add(done.set_aside, Ordering::Relaxed);
        }
        self.remove_old(&lock, now_ms)?;
        let manifest = Manifest::read(&self.folder)?;
        // Counted anew: other processes may have added rows, or forgotten some.
        let (n_open, _) = rows.after(manifest.rotated_to)?;
        self.figures.open_rows.store(n_open, Ordering::Release);
        self.figures
            .n_segments
            .store(manifest.segments.len(), Ordering::Relaxed);
        self.figures.segment_bytes.store(manifest.bytes(), Ordering::Relaxed);
        Ok(())
    }

    /// A connection for one round: rounds are rare, and the file may have been replaced between them.
    fn rows(&self) -> Result<OpenRows, JournalError> {
        let rotated_to = Manifest::read(&self.folder)?.rotated_to;
        Ok(OpenRows::open(&self.folder.open_rows(), rotated_to)?.by_turns(&self.turns))
    }

    fn remove_old(&self, lock: &Lock, now_ms: i64) -> Result<(), JournalError> {
        retention::apply(
            &self.folder,
            lock,
            now_ms,
            self.settings.keep_days,
            self.settings.keep_bytes,
        )
    }
}
