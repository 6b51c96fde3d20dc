//! How a journal fares: figures shared by its threads, and what is told of them.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use crate::folder::Folder;

/// How a journal fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Entries written by this process.
    pub written: u64,
    /// Entries dropped by it: the queue was full, or the journal closed.
    pub dropped: u64,
    /// Entries that wait to be written.
    pub waiting: usize,
    /// Rows that are in no segment yet, as far as this process knows.
    pub open_rows: u64,
    /// Rows that cannot be read by this build and stay open: met since the start.
    pub unreadable: u64,
    /// What does not work, if anything.
    pub failing: Option<Failing>,
    /// When something was written last, milliseconds since 1970.
    pub last_write_ms: Option<i64>,
    /// Segments.
    pub n_segments: usize,
    /// Bytes of segments and open rows.
    pub bytes_on_disk: u64,
}

/// Something that does not work, and is tried again until it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// The last error, with its mend.
    pub what: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
}

/// Figures of a journal. Each is right by itself; together they need not be of one moment.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) written: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) waiting: AtomicUsize,
    pub(crate) open_rows: AtomicU64,
    pub(crate) unreadable: AtomicU64,
    /// 0 where nothing was written.
    pub(crate) last_write_ms: AtomicI64,
    pub(crate) n_segments: AtomicUsize,
    pub(crate) segment_bytes: AtomicU64,
    pub(crate) writing: Fault,
    pub(crate) keeping: Fault,
}

/// What fails in a thread.
#[derive(Debug, Default)]
pub(crate) struct Fault(Mutex<Option<Failing>>);

impl Fault {
    /// Notes an error; the first one's time stays.
    pub(crate) fn set(&self, what: String, now_ms: i64) {
        let mut failing = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let since_ms = failing.as_ref().map_or(now_ms, |failing| failing.since_ms);
        *failing = Some(Failing { what, since_ms });
    }

    pub(crate) fn clear(&self) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    pub(crate) fn get(&self) -> Option<Failing> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Figures {
    /// Takes a place in the queue, unless `queue` are taken.
    pub(crate) fn take_place(&self, queue: usize) -> bool {
        self.waiting
            .try_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < queue).then_some(n + 1))
            .is_ok()
    }

    pub(crate) fn health(&self, folder: &Folder) -> Health {
        let last_write_ms = self.last_write_ms.load(Ordering::Relaxed);
        Health {
            written: self.written.load(Ordering::Acquire),
            dropped: self.dropped.load(Ordering::Acquire),
            waiting: self.waiting.load(Ordering::Acquire),
            open_rows: self.open_rows.load(Ordering::Acquire),
            unreadable: self.unreadable.load(Ordering::Relaxed),
            failing: self.writing.get().or_else(|| self.keeping.get()),
            last_write_ms: Some(last_write_ms).filter(|ms| *ms != 0),
            n_segments: self.n_segments.load(Ordering::Relaxed),
            bytes_on_disk: self.segment_bytes.load(Ordering::Relaxed) + open_bytes(folder),
        }
    }
}

/// Size of the open rows and their log.
fn open_bytes(folder: &Folder) -> u64 {
    let rows = folder.open_rows();
    let mut log = rows.clone().into_os_string();
    log.push("-wal");
    [rows, log.into()]
        .iter()
        .filter_map(|path| fs::metadata(path).ok())
        .map(|metadata| metadata.len())
        .sum()
}
