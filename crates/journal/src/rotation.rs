//! Closing open rows into segments, so that a kill at any step repeats it or finds it done.
//!
//! Segments are written and renamed; then the manifest names them and how far they reach, by one rename; then
//! the rows are removed. Before that rename the segments count for nothing, after it the rows do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tiercast_records::RecordsError;
use tiercast_records::disk::sha256_of_file;
use tiercast_records::journal::{SegmentKind, Written, write_feedback, write_served};

use crate::error::JournalError;
use crate::folder::{Folder, Lock};
use crate::manifest::{Manifest, Segment};
use crate::open_rows::{FOLD_PAGES, OpenRows};
use crate::stored::Stored;

/// Rows read at a time.
const PAGE: u32 = 1000;

/// Rows removed in one transaction: what comes meanwhile waits as long. The pause after it leaves the disk to others.
pub(crate) const REMOVE: u32 = 250;
const PAUSE: Duration = Duration::from_millis(2);

/// What a rotation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rotated {
    /// Rows that could not be read and stay open.
    pub(crate) set_aside: u64,
}

/// Closes all open rows. Once `stop` is set it ends early with [`JournalError::Closed`], and nothing is lost.
pub(crate) fn rotate(
    folder: &Folder,
    rows: &mut OpenRows,
    lock: &Lock,
    stop: &AtomicBool,
) -> Result<Rotated, JournalError> {
    let manifest = Manifest::read(folder)?;
    let (n_rows, last) = rows.after(manifest.rotated_to)?;
    if n_rows == 0 {
        return Ok(Rotated::default());
    }
    let (segments, set_aside) = write_segments(folder, rows, manifest.rotated_to, last, stop)?;
    publish(folder, manifest, segments, last, lock)?;
    clear(rows, last)?;
    Ok(Rotated { set_aside })
}

/// First step: files that nothing names yet.
pub(crate) fn write_segments(
    folder: &Folder,
    rows: &OpenRows,
    after: i64,
    last: i64,
    stop: &AtomicBool,
) -> Result<(Vec<Segment>, u64), JournalError> {
    let mut pages = Pages {
        rows,
        after,
        last,
        stop,
        set_aside: 0,
    };
    let mut segments = Vec::new();
    for kind in [SegmentKind::Served, SegmentKind::Feedback] {
        if rows.page(kind, after, last, 1)?.is_empty() {
            continue;
        }
        let file = format!("{}-{:012}-{last:012}.parquet", kind.name(), after + 1);
        let path = folder.segment(&file);
        let written = match kind {
            SegmentKind::Served => write_served(&path, |sink| {
                pages.each(kind, Stored::served, &mut |row| sink.push(row))
            }),
            SegmentKind::Feedback => write_feedback(&path, |sink| {
                pages.each(kind, Stored::feedback, &mut |row| sink.push(row))
            }),
        }?;
        segments.extend(describe(folder, file, kind, (after + 1, last), written)?);
    }
    Ok((segments, pages.set_aside))
}

/// A finished file as the manifest names it; without rows it is removed.
pub(crate) fn describe(
    folder: &Folder,
    file: String,
    kind: SegmentKind,
    (first_seq, last_seq): (i64, i64),
    written: Written,
) -> Result<Option<Segment>, JournalError> {
    let Some((min_time_ms, max_time_ms)) = written.times_ms else {
        folder.remove_segment(&file)?;
        return Ok(None);
    };
    let path = folder.segment(&file);
    let bytes = std::fs::metadata(&path).map_err(JournalError::io(&path, "read"))?.len();
    Ok(Some(Segment {
        sha256: sha256_of_file(&path)?,
        file,
        kind,
        rows: written.rows,
        first_seq,
        last_seq,
        min_time_ms,
        max_time_ms,
        bytes,
    }))
}

/// Second step: from the rename on, the segments are the rows.
pub(crate) fn publish(
    folder: &Folder,
    mut manifest: Manifest,
    segments: Vec<Segment>,
    last: i64,
    _lock: &Lock,
) -> Result<(), JournalError> {
    manifest.segments.extend(segments);
    manifest.rotated_to = last;
    manifest.write(folder)
}

/// Third step: removes rows that are in segments, a few at a time.
pub(crate) fn clear(rows: &OpenRows, last: i64) -> Result<(), JournalError> {
    let mut n_unfolded = 0;
    while rows.remove_to(last, REMOVE)? == REMOVE as usize {
        // A row is about a page.
        n_unfolded += REMOVE as usize;
        if n_unfolded >= FOLD_PAGES {
            rows.fold_log()?;
            n_unfolded = 0;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Removes what a kill left over: rows that are in segments already, and files that no manifest names.
pub(crate) fn recover(folder: &Folder, rows: &OpenRows, lock: &Lock) -> Result<(), JournalError> {
    let manifest = Manifest::read(folder)?;
    if rows.remove_to(manifest.rotated_to, REMOVE)? > 0 {
        clear(rows, manifest.rotated_to)?;
    }
    sweep(folder, &manifest, lock)
}

/// Removes files that no manifest names. Whoever makes one holds the lock until it is named.
pub(crate) fn sweep(folder: &Folder, manifest: &Manifest, _lock: &Lock) -> Result<(), JournalError> {
    let is_named = |file: &String| manifest.segments.iter().any(|segment| segment.file == *file);
    folder
        .segment_files()?
        .iter()
        .filter(|file| !is_named(file))
        .try_for_each(|file| folder.remove_segment(file))
}

/// Open rows up to `last`, page by page.
struct Pages<'r> {
    rows: &'r OpenRows,
    after: i64,
    last: i64,
    stop: &'r AtomicBool,
    set_aside: u64,
}

impl Pages<'_> {
    fn each<R>(
        &mut self,
        kind: SegmentKind,
        read: fn(&Stored) -> Result<R, serde_json::Error>,
        push: &mut dyn FnMut(R) -> Result<(), RecordsError>,
    ) -> Result<(), JournalError> {
        let mut after = self.after;
        loop {
            if self.stop.load(Ordering::Acquire) {
                return Err(JournalError::Closed);
            }
            let page = self.rows.page(kind, after, self.last, PAGE)?;
            let Some(end) = page.last() else {
                return Ok(());
            };
            after = end.seq;
            for stored in &page {
                match read(stored) {
                    Ok(row) => push(row)?,
                    Err(_) => {
                        self.rows.set_aside(stored.seq)?;
                        self.set_aside += 1;
                    }
                }
            }
        }
    }
}
