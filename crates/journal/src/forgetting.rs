//! Forgetting a session or a cohort: its rows, and what was said of them. Works beside a running server.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;

use tiercast_records::RecordsError;
use tiercast_records::journal::{
    About, Feedback, Parts, SegmentKind, Served, Written, read_feedback, read_served, write_feedback, write_served,
};

use crate::error::JournalError;
use crate::folder::Folder;
use crate::manifest::{Manifest, Segment};
use crate::open_rows::{Names, OpenRows};
use crate::rotation::{describe, sweep};

/// Whose rows are forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// All of a session, and what was said of it.
    Session(String),
    /// All of a cohort. What was said of a session goes where no other cohort has a row of it.
    Cohort(String),
}

impl What {
    /// Column of open rows, and its value.
    pub(crate) fn column(&self) -> (&'static str, &str) {
        match self {
            Self::Session(name) => ("session", name),
            Self::Cohort(name) => ("cohort", name),
        }
    }

    fn means(&self, session: Option<&str>, cohort: &str) -> bool {
        match self {
            Self::Session(name) => session == Some(name),
            Self::Cohort(name) => cohort == name,
        }
    }

    fn means_row(&self, row: &Served) -> bool {
        self.means(row.session.as_deref(), &row.cohort)
    }
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Served rows.
    pub rows: u64,
    /// Rows of feedback.
    pub feedback: u64,
    /// Segments that were written anew without them, or removed.
    pub segments: u64,
    /// Whether SQLite's log of writes was emptied too. A reader may stand in the way: forgetting again when it
    /// has ended empties it.
    pub log_emptied: bool,
}

/// Forgets `what` in the journal of `folder`. Segments that hold such rows are written anew. A server may go on
/// writing; what it has not stored yet (no older than its flush interval) stays. Repeating it after a failure
/// finishes it. Fails with the segment's name where one is broken: then nobody knows what it holds.
pub fn forget(folder: &Path, what: &What) -> Result<Forgotten, JournalError> {
    let folder = Folder::new(folder);
    // Before the lock, which would make a file in a folder that is none of ours.
    Manifest::read(&folder)?;
    let lock = folder.lock()?;
    let mut manifest = Manifest::read(&folder)?;
    let mut rows = OpenRows::open(&folder.open_rows(), manifest.rotated_to)?;
    sweep(&folder, &manifest, &lock)?;

    let meant = Meant::find(&folder, &manifest, &rows, what)?;
    let mut forgotten = Forgotten::default();
    let mut replaced = Vec::new();
    let mut kept = Vec::new();
    for segment in manifest.segments {
        let n_meant = meant.n_in(&folder, &segment)?;
        if n_meant == 0 {
            kept.push(segment);
            continue;
        }
        match segment.kind {
            SegmentKind::Served => forgotten.rows += n_meant,
            SegmentKind::Feedback => forgotten.feedback += n_meant,
        }
        kept.extend(meant.rewrite(&folder, &segment)?);
        replaced.push(segment.file);
    }
    manifest.segments = kept;
    if !replaced.is_empty() {
        manifest.write(&folder)?;
        replaced.iter().try_for_each(|file| folder.remove_segment(file))?;
    }
    forgotten.segments = replaced.len() as u64;

    let (n_rows, n_feedback) = rows.forget(what, |about| meant.is_about(about))?;
    forgotten.rows += n_rows;
    forgotten.feedback += n_feedback;
    forgotten.log_emptied = rows.empty_log()?;
    Ok(forgotten)
}

/// Which rows are meant, and which feedback with them.
struct Meant<'w> {
    what: &'w What,
    ids: HashSet<String>,
    sessions: HashSet<String>,
    /// Served rows that are meant, by segment.
    n_served: HashMap<String, u64>,
}

impl<'w> Meant<'w> {
    fn find(folder: &Folder, manifest: &Manifest, rows: &OpenRows, what: &'w What) -> Result<Self, JournalError> {
        let mut ids = HashSet::new();
        let mut sessions = HashSet::new();
        let mut others = HashSet::new();
        let mut add = |Names { id, session, cohort }: Names| {
            let is_meant = what.means(session.as_deref(), &cohort);
            if is_meant {
                ids.insert(id);
                sessions.extend(session);
            } else if matches!(what, What::Cohort(_)) {
                others.extend(session);
            }
            u64::from(is_meant)
        };
        rows.each_name(|names| {
            add(names);
        })?;
        let mut n_served = HashMap::new();
        for segment in manifest
            .segments
            .iter()
            .filter(|segment| segment.kind == SegmentKind::Served)
        {
            let mut n_meant = 0;
            read_served(&folder.segment(&segment.file), Parts::default(), &mut |row| {
                n_meant += add(Names {
                    id: row.id,
                    session: row.session,
                    cohort: row.cohort.as_ref().to_owned(),
                });
                ControlFlow::Continue(())
            })?;
            n_served.insert(segment.file.clone(), n_meant);
        }
        match what {
            What::Session(name) => sessions.extend([name.clone()]),
            What::Cohort(_) => sessions.retain(|session| !others.contains(session)),
        }
        Ok(Self {
            what,
            ids,
            sessions,
            n_served,
        })
    }

    fn is_about(&self, about: &About) -> bool {
        match about {
            About::Decision(id) => self.ids.contains(id),
            About::Session(name) => self.sessions.contains(name),
        }
    }

    /// How many rows of a segment are meant.
    fn n_in(&self, folder: &Folder, segment: &Segment) -> Result<u64, JournalError> {
        if segment.kind == SegmentKind::Served {
            return Ok(self.n_served.get(&segment.file).copied().unwrap_or(0));
        }
        let mut n_meant = 0;
        read_feedback(&folder.segment(&segment.file), &mut |row| {
            n_meant += u64::from(self.is_about(&row.about));
            ControlFlow::Continue(())
        })?;
        Ok(n_meant)
    }

    /// The segment without what is meant, under another name; nothing where nothing is left.
    fn rewrite(&self, folder: &Folder, segment: &Segment) -> Result<Option<Segment>, JournalError> {
        let file = next_name(segment);
        let (from, to) = (folder.segment(&segment.file), folder.segment(&file));
        let written: Result<Written, RecordsError> = match segment.kind {
            SegmentKind::Served => write_served(&to, |sink| {
                let keep = |row: &Served| !self.what.means_row(row);
                filtered(|each| read_served(&from, Parts::ALL, each), keep, |row| sink.push(row))
            }),
            SegmentKind::Feedback => write_feedback(&to, |sink| {
                let keep = |row: &Feedback| !self.is_about(&row.about);
                filtered(|each| read_feedback(&from, each), keep, |row| sink.push(row))
            }),
        };
        let span = (segment.first_seq, segment.last_seq);
        describe(folder, file, segment.kind, span, written?)
    }
}

/// Pushes the rows that `keep` lets pass.
fn filtered<R>(
    read: impl FnOnce(&mut dyn FnMut(R) -> ControlFlow<()>) -> Result<(), RecordsError>,
    keep: impl Fn(&R) -> bool,
    mut push: impl FnMut(R) -> Result<(), RecordsError>,
) -> Result<(), RecordsError> {
    let mut pushed = Ok(());
    read(&mut |row| {
        if keep(&row) {
            pushed = push(row);
        }
        if pushed.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    pushed
}

/// A name that the segment has not had: `served-1-9.parquet`, `served-1-9-r1.parquet`, ...
fn next_name(segment: &Segment) -> String {
    let stem = segment.file.trim_end_matches(".parquet");
    let (base, revision) = match stem.rsplit_once("-r") {
        Some((base, revision)) => (base, revision.parse().unwrap_or(0)),
        None => (stem, 0),
    };
    format!("{base}-r{}.parquet", revision + 1_u64)
}
