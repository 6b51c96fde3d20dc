//! The handle: what the server holds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tiercast_records::journal::Entry;

use crate::error::JournalError;
use crate::folder::Folder;
use crate::health::{Failing, Figures, Health};
use crate::keeper::{Keeper, Signal};
use crate::key::Key;
use crate::manifest::Manifest;
use crate::open_rows::OpenRows;
use crate::overhearing::Listener;
use crate::settings::Settings;
use crate::turns::Turns;
use crate::writer::{Message, Writer};

/// Tells milliseconds since 1970. It may jump: only retention and what `health` tells depend on it.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A journal that is written. Clones are the same one; the last that goes waits until all is stored.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    folder: Folder,
    key: Key,
    queue: usize,
    figures: Arc<Figures>,
    clock: Clock,
    is_closed: Arc<AtomicBool>,
    messages: SyncSender<Message>,
    signals: SyncSender<Signal>,
    threads: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the journal in its folder, or begins one. Fails where the folder cannot be written, or what is in
    /// it is no journal or a newer one; later failures are told by [`Journal::health`].
    pub fn open(settings: &Settings) -> Result<Self, JournalError> {
        Self::open_with_clock(settings, Arc::new(now_ms))
    }

    /// The same with a clock of the caller's.
    pub fn open_with_clock(settings: &Settings, clock: Clock) -> Result<Self, JournalError> {
        settings.check()?;
        let folder = Folder::new(&settings.folder);
        folder.make()?;
        Manifest::make(&folder)?;
        let key = Key::open(&folder)?;
        let manifest = Manifest::read(&folder)?;
        let rows = OpenRows::open(&folder.open_rows(), manifest.rotated_to)?;
        let figures = Arc::new(Figures::default());
        let (n_open, _) = rows.after(manifest.rotated_to)?;
        figures.open_rows.store(n_open, Ordering::Release);
        figures.n_segments.store(manifest.segments.len(), Ordering::Relaxed);
        figures.segment_bytes.store(manifest.bytes(), Ordering::Relaxed);

        let turns = Arc::new(Turns::default());
        let (signals, wakes) = sync_channel(1);
        let is_closed = Arc::new(AtomicBool::new(false));
        let keeper = Keeper {
            settings: settings.clone(),
            folder: folder.clone(),
            figures: Arc::clone(&figures),
            clock: Arc::clone(&clock),
            turns: Arc::clone(&turns),
            is_closed: Arc::clone(&is_closed),
        };
        let keeper = std::thread::spawn(move || keeper.run(&wakes));
        let (messages, incoming) = sync_channel(settings.queue);
        let writer = Writer::new(
            settings,
            folder.clone(),
            rows,
            Arc::clone(&figures),
            Arc::clone(&clock),
            turns,
            signals.clone(),
        );
        let writer = std::thread::spawn(move || writer.run(&incoming));
        Ok(Self {
            inner: Arc::new(Inner {
                folder,
                key,
                queue: settings.queue,
                figures,
                clock,
                is_closed,
                messages,
                signals,
                threads: std::sync::Mutex::new(vec![writer, keeper]),
            }),
        })
    }

    /// Hears what judges of other processes say from now on.
    pub fn listener(&self) -> Result<Listener, JournalError> {
        let folder = &self.inner.folder;
        let rotated_to = Manifest::read(folder)?.rotated_to;
        match OpenRows::snapshot(&folder.open_rows())? {
            Some(rows) => Listener::open(folder, &rows, rotated_to),
            None => Err(JournalError::NoJournal {
                folder: folder.root().to_path_buf(),
            }),
        }
    }

    /// The key of this journal.
    pub fn key(&self) -> &Key {
        &self.inner.key
    }

    /// Hands over an entry. Never waits and never fails: where the queue is full, or the journal closed, the
    /// entry is dropped and counted.
    pub fn record(&self, entry: Entry) {
        let figures = &self.inner.figures;
        if !self.inner.is_closed.load(Ordering::Acquire) && figures.take_place(self.inner.queue) {
            match self.inner.messages.try_send(Message::Entry(entry, Instant::now())) {
                Ok(()) => return,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    figures.waiting.fetch_sub(1, Ordering::AcqRel);
                }
            }
        }
        figures.dropped.fetch_add(1, Ordering::AcqRel);
    }

    /// How it fares. Looks at two files, so not for every request.
    pub fn health(&self) -> Health {
        let mut health = self.inner.figures.health(&self.inner.folder);
        if let Some(since_ms) = self.inner.ended_ms() {
            let what = "a thread of the journal ended by itself, which is a fault of tiercast: restart".to_owned();
            health.failing = Some(Failing { what, since_ms });
        }
        health
    }

    /// Waits until all that was recorded before is stored: a kill of the process then loses none of it.
    /// [`JournalError::Failing`] where that does not work now; it is tried again all the same.
    pub fn flush(&self) -> Result<(), JournalError> {
        let (answer, answered) = sync_channel(1);
        self.inner
            .messages
            .send(Message::Flush(answer))
            .map_err(|_| JournalError::Closed)?;
        answered
            .recv()
            .map_err(|_| JournalError::Closed)?
            .map_err(JournalError::Failing)
    }

    /// Closes the open rows into segments now, and removes what is too old: for tests and before a copy is made.
    /// Waits until it is done.
    pub fn rotate(&self) -> Result<(), JournalError> {
        self.flush()?;
        let (answer, answered) = sync_channel(1);
        self.inner
            .signals
            .send(Signal::Rotate(answer))
            .map_err(|_| JournalError::Closed)?;
        answered
            .recv()
            .map_err(|_| JournalError::Closed)?
            .map_err(JournalError::Failing)
    }

    /// Stores what waits and ends; what is recorded later, by any clone, is dropped and counted. Also done when
    /// the last clone goes. [`JournalError::Failing`] where the last entries could not be stored.
    pub fn close(&self) -> Result<(), JournalError> {
        self.inner.close()
    }
}

impl Inner {
    /// Now, if a thread has ended though the journal is open.
    fn ended_ms(&self) -> Option<i64> {
        let threads = self.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let has_ended = threads.iter().any(JoinHandle::is_finished) && !self.is_closed.load(Ordering::Acquire);
        has_ended.then(|| (self.clock)())
    }

    fn close(&self) -> Result<(), JournalError> {
        self.is_closed.store(true, Ordering::Release);
        let (answer, answered) = sync_channel(1);
        let sent = self.messages.send(Message::Close(answer));
        let stored = match sent.map(|()| answered.recv()) {
            Ok(Ok(stored)) => stored.map_err(JournalError::Failing),
            // It was closed before.
            _ => Ok(()),
        };
        let _ = self.signals.send(Signal::Stop);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for thread in threads {
            // A panic there has been printed, and whoever waited was told.
            let _ = thread.join();
        }
        stored
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nobody is left to tell; `health` told it while it lasted.
        let _ = self.close();
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("folder", &self.inner.folder)
            .finish_non_exhaustive()
    }
}

/// By the wall clock; a clock before 1970 counts as 1970.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
