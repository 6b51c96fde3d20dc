//! Reading a journal, in any process, while it is written or not.
//!
//! A snapshot is taken of the open rows first and the manifest read then: what was closed in between is in both,
//! and counts as closed. So each row is seen once, whatever goes on meanwhile.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tiercast_records::RecordsError;
use tiercast_records::disk::sha256_of_file;
use tiercast_records::journal::{Feedback, Parts, SegmentKind, Served, read_feedback, read_served};

use crate::error::JournalError;
use crate::folder::Folder;
use crate::key::Key;
use crate::manifest::{Manifest, Segment};
use crate::open_rows::OpenRows;
use crate::said::Said;
use crate::stored::Stored;

/// Rows that cannot be read are named up to here, then counted.
const NAMED: u64 = 10;

/// A span of time by the rows' own clock; open where nothing is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// First millisecond since 1970 that counts.
    pub since_ms: Option<i64>,
    /// First millisecond that no longer counts.
    pub until_ms: Option<i64>,
}

impl Range {
    /// All there is.
    pub const ALL: Self = Self {
        since_ms: None,
        until_ms: None,
    };

    fn holds(self, time_ms: i64) -> bool {
        self.since_ms.is_none_or(|since| time_ms >= since) && self.until_ms.is_none_or(|until| time_ms < until)
    }

    fn meets(self, segment: &Segment) -> bool {
        self.since_ms.is_none_or(|since| segment.max_time_ms >= since)
            && self.until_ms.is_none_or(|until| segment.min_time_ms < until)
    }
}

/// Something that could not be read; the rest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, and what to do.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display().to_string();
        if self.what.contains(&file) {
            return out.write_str(&self.what);
        }
        write!(out, "{file}: {}", self.what)
    }
}

/// Reads a journal.
#[derive(Debug, Clone)]
pub struct Reader {
    folder: Folder,
}

impl Reader {
    /// A reader of the journal in `folder`. [`JournalError::NoJournal`] where there is none.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let folder = Folder::new(folder);
        Manifest::read(&folder)?;
        Ok(Self { folder })
    }

    /// The segments as they are now.
    pub fn manifest(&self) -> Result<Manifest, JournalError> {
        Manifest::read(&self.folder)
    }

    /// The key of this journal, made where it is missing.
    pub fn key(&self) -> Result<Key, JournalError> {
        Key::open(&self.folder)
    }

    /// What was served in `range`, as parts that may be read side by side; each row is in one of them. The
    /// first are the open rows: as long as they are not read or dropped, SQLite's log of writes grows.
    pub fn scan(&self, range: Range, parts: Parts) -> Result<Vec<Part>, JournalError> {
        let (rows, manifest) = self.snapshot()?;
        let part = |source| Part {
            folder: self.folder.clone(),
            range,
            parts,
            source,
        };
        let open = rows.map(|rows| Source::Open {
            rows,
            after: manifest.rotated_to,
        });
        let is_wanted = |segment: &Segment| segment.kind == SegmentKind::Served && range.meets(segment);
        let segments = manifest.segments.into_iter().filter(is_wanted).map(Source::Segment);
        Ok(open.into_iter().chain(segments).map(part).collect())
    }

    /// What was said, the last word of each source. `range` is of the time at which it was said: feedback may
    /// come long after what it is about, so leave the end open.
    pub fn feedback(&self, range: Range) -> Result<Said, JournalError> {
        let (rows, manifest) = self.snapshot()?;
        let mut said = Said::default();
        let mut problems = Vec::new();
        let mut add = |word: Feedback| {
            if range.holds(word.time_ms) {
                said.add(word);
            }
            ControlFlow::Continue(())
        };
        let is_wanted = |segment: &&Segment| segment.kind == SegmentKind::Feedback && range.meets(segment);
        // In order of arrival: segments first, each in order of its rows.
        for segment in manifest.segments.iter().filter(is_wanted) {
            problems.extend(read_segment(&self.folder, segment, |path| {
                read_feedback(path, &mut add)
            }));
        }
        if let Some(rows) = rows {
            let after = manifest.rotated_to;
            problems.extend(read_open(
                &self.folder,
                &rows,
                SegmentKind::Feedback,
                after,
                Stored::feedback,
                &mut add,
            ));
        }
        said.problems = problems;
        Ok(said)
    }

    /// Compares every segment with what the manifest says of it, byte for byte.
    pub fn verify(&self) -> Result<Vec<Problem>, JournalError> {
        let segments = self.manifest()?.segments;
        let problem = |segment: &Segment| {
            let file = self.folder.segment(&segment.file);
            let what = match sha256_of_file(&file) {
                Ok(sha256) if sha256 == segment.sha256 => return None,
                Ok(_) => "its bytes are not those that were written: put back a copy of it".to_owned(),
                Err(error) => JournalError::from(error).in_full(),
            };
            Some(Problem { file, what })
        };
        Ok(segments.iter().filter_map(problem).collect())
    }

    /// Open rows first: see the top of this file.
    fn snapshot(&self) -> Result<(Option<OpenRows>, Manifest), JournalError> {
        let rows = OpenRows::snapshot(&self.folder.open_rows())?;
        Ok((rows, Manifest::read(&self.folder)?))
    }
}

/// Some of the rows; may be read on another thread.
#[derive(Debug)]
pub struct Part {
    folder: Folder,
    range: Range,
    parts: Parts,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Segment(Segment),
    Open { rows: OpenRows, after: i64 },
}

impl Part {
    /// Rows of it, before `range` is applied; not known of open rows.
    pub fn n_rows(&self) -> Option<u64> {
        match &self.source {
            Source::Segment(segment) => Some(segment.rows),
            Source::Open { .. } => None,
        }
    }

    /// Hands its rows in order of arrival to `row`, until it breaks. Says what could not be read: a segment that
    /// is broken may show so only after some of its rows.
    pub fn read(self, row: &mut dyn FnMut(Served) -> ControlFlow<()>) -> Vec<Problem> {
        let (range, parts) = (self.range, self.parts);
        let mut within = |served: Served| match range.holds(served.time_ms) {
            true => row(served),
            false => ControlFlow::Continue(()),
        };
        match self.source {
            Source::Segment(segment) => {
                let read = |path: &Path| read_served(path, parts, &mut within);
                read_segment(&self.folder, &segment, read).into_iter().collect()
            }
            Source::Open { rows, after } => {
                let mut trimmed = |mut served: Served| {
                    parts.trim(&mut served);
                    within(served)
                };
                read_open(
                    &self.folder,
                    &rows,
                    SegmentKind::Served,
                    after,
                    Stored::served,
                    &mut trimmed,
                )
            }
        }
    }
}

/// Reads a segment, or what became of it: forgetting writes it anew under another name, retention removes it.
fn read_segment(
    folder: &Folder,
    segment: &Segment,
    mut read: impl FnMut(&Path) -> Result<(), RecordsError>,
) -> Option<Problem> {
    let file = folder.segment(&segment.file);
    let mut result = read(&file);
    let is_same = |other: &&Segment| (other.kind, other.first_seq) == (segment.kind, segment.first_seq);
    if is_gone(&result)
        && let Ok(manifest) = Manifest::read(folder)
        && let Some(other) = manifest.segments.iter().find(is_same)
    {
        result = read(&folder.segment(&other.file));
    }
    let what = match result {
        Ok(()) => return None,
        Err(_) if is_gone(&result) => "it was removed meanwhile, by retention or by forgetting".to_owned(),
        Err(error) => JournalError::from(error).in_full(),
    };
    Some(Problem { file, what })
}

fn is_gone(result: &Result<(), RecordsError>) -> bool {
    matches!(result, Err(RecordsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound)
}

/// Reads open rows of a kind; those that cannot be understood are named.
fn read_open<R>(
    folder: &Folder,
    rows: &OpenRows,
    kind: SegmentKind,
    after: i64,
    parse: fn(&Stored) -> Result<R, serde_json::Error>,
    row: &mut dyn FnMut(R) -> ControlFlow<()>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut n_unreadable = 0;
    let file = folder.open_rows();
    let read = rows.each(kind, after, |stored| match parse(&stored) {
        Ok(parsed) => row(parsed),
        Err(error) => {
            n_unreadable += 1;
            if n_unreadable <= NAMED {
                let what = format!(
                    "row {} cannot be read by this build ({error}): a newer one wrote it, or it is damaged. Use the \
                     newer build",
                    stored.seq
                );
                problems.push(Problem {
                    file: file.clone(),
                    what,
                });
            }
            ControlFlow::Continue(())
        }
    });
    if n_unreadable > NAMED {
        let what = format!("{n_unreadable} rows cannot be read by this build");
        problems.push(Problem {
            file: file.clone(),
            what,
        });
    }
    problems.extend(read.err().map(|error| Problem {
        file,
        what: error.in_full(),
    }));
    problems
}
