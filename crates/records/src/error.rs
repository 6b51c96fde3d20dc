//! What can go wrong with rows on disk. Every message names the place and the mend.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use serde::Serialize;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The system refused to open, read or write.
    #[error("{} could not be {doing}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried, as in "could not be opened".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Not Parquet, cut short, or compressed in a way this build cannot read.
    #[error(
        "{} cannot be read as Parquet: it is another format, cut short or damaged. \
         Fetch or write it again; rows in CSV or JSON must be converted to Parquet first",
        file.display()
    )]
    NotParquet {
        /// The file.
        file: PathBuf,
        /// What the Parquet reader said.
        source: ParquetError,
    },
    /// A segment of a journal that was written by a newer build.
    #[error(
        "{} is a segment of journal version {found}, and this build reads versions up to {known}. \
         Read the journal with the newer build that wrote it",
        file.display()
    )]
    NewerSegment {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that is read here.
        known: u32,
    },
    /// A segment of a journal that is not whole.
    #[error(
        "{} is no whole segment of a journal: it is cut short or damaged. Put back a copy of it, or move it away: \
         its rows are then missing, all others stay",
        file.display()
    )]
    BrokenSegment {
        /// The file.
        file: PathBuf,
        /// What the Parquet reader said.
        source: ParquetError,
    },
    /// Readable, but what it says breaks a rule.
    #[error("{}: {problem}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Where in it, what is wrong and what to do.
        problem: Box<Problem>,
    },
    /// Prompts that cannot be asked.
    #[error(
        "{}: {n_problems} problems{problems}\n{}",
        file.display(),
        if *n_prompts == 0 { "No prompt is left to ask" } else { "Mend them, or leave them out with --skip-invalid" }
    )]
    InvalidPrompts {
        /// The file.
        file: PathBuf,
        /// The first of them, a line each.
        problems: String,
        /// How many there are.
        n_problems: u64,
        /// Prompts without a problem.
        n_prompts: usize,
    },
    /// No file was named.
    #[error("no outcomes file was named. Name at least one Parquet file of outcomes")]
    NoFiles,
    /// Models were asked for that answered nothing.
    #[error(
        "no row for {} in {}. Ask for models out of: {}",
        quoted(tiers),
        files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", "),
        known.join(", ")
    )]
    NoRowsForTier {
        /// Models without a row.
        tiers: Vec<String>,
        /// Models that have rows, by name.
        known: Vec<String>,
        /// The files read.
        files: Vec<PathBuf>,
    },
    /// A manifest that cannot be understood.
    #[error("{} is not a manifest of tiercast: {reason}. Build the folder again", path.display())]
    BadManifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file is not the one its manifest describes.
    #[error(
        "{} is not the file that {} describes: {reason}. Build the folder again or fetch it again; \
         if the change is meant, write the manifest anew",
        file.display(),
        manifest.display()
    )]
    ChangedFile {
        /// The file.
        file: PathBuf,
        /// The manifest that lists it.
        manifest: PathBuf,
        /// What differs.
        reason: String,
    },
}

fn quoted(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl RecordsError {
    /// For `map_err` of system calls.
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            path: path.to_path_buf(),
            doing,
            source,
        }
    }

    /// For `map_err` of the Parquet and Arrow readers.
    pub(crate) fn not_parquet<E: Into<ParquetError>>(file: &Path) -> impl Fn(E) -> Self {
        move |source| Self::NotParquet {
            file: file.to_path_buf(),
            source: source.into(),
        }
    }

    /// A broken rule at a place in `file`.
    pub(crate) fn invalid(file: &Path, problem: Problem) -> Self {
        Self::Invalid {
            file: file.to_path_buf(),
            problem: Box::new(problem),
        }
    }
}

/// A broken rule: where, what, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Problem {
    /// Data row, counting from 0 without a header; absent where the whole file is meant.
    pub row: Option<u64>,
    /// Line of a text file, counting from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Column, or field of a line, where one is to blame.
    pub column: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(row) = self.row {
            write!(out, "data row {row} (counting from 0), ")?;
        }
        if let Some(line) = self.line {
            write!(out, "line {line}: ")?;
        }
        match &self.column {
            Some(field) if self.line.is_some() => write!(out, "field `{field}`: ")?,
            Some(column) => write!(out, "column `{column}`: ")?,
            None => {}
        }
        write!(out, "{}. {}", self.what, self.mend)
    }
}

/// Where in a file something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spot {
    /// Line of a text file, from 1.
    Line(u64),
    /// Data row of a table, from 0.
    Row(u64),
}

impl fmt::Display for Spot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(out, "line {line}"),
            Self::Row(row) => write!(out, "data row {row}"),
        }
    }
}

/// A broken rule before its row is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) column: &'static str,
    pub(crate) what: String,
    pub(crate) mend: String,
}

impl Fault {
    pub(crate) fn new(column: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            column,
            what: what.into(),
            mend: mend.into(),
        }
    }

    pub(crate) fn at(self, row: Option<u64>) -> Problem {
        Problem {
            row,
            line: None,
            column: Some(self.column.to_owned()),
            what: self.what,
            mend: self.mend,
        }
    }

    /// The same for a place of either kind; an empty column means the whole line.
    pub(crate) fn at_spot(self, spot: Spot) -> Problem {
        let (row, line) = match spot {
            Spot::Row(row) => (Some(row), None),
            Spot::Line(line) => (None, Some(line)),
        };
        Problem {
            row,
            line,
            column: Some(self.column.to_owned()).filter(|column| !column.is_empty()),
            what: self.what,
            mend: self.mend,
        }
    }
}

/// Problems found so far: the first few in full, the rest counted.
#[derive(Debug)]
pub(crate) struct Problems {
    limit: usize,
    pub(crate) first: Vec<Problem>,
    pub(crate) count: u64,
}

impl Problems {
    pub(crate) fn up_to(limit: usize) -> Self {
        Self {
            limit,
            first: Vec::new(),
            count: 0,
        }
    }

    pub(crate) fn add(&mut self, problem: Problem) {
        self.count += 1;
        if self.first.len() < self.limit {
            self.first.push(problem);
        }
    }

    /// Whether the caller wants one problem and has it.
    pub(crate) fn one_was_enough(&self) -> bool {
        self.limit == 1 && self.count > 0
    }

    /// The value, or nothing and one problem more.
    pub(crate) fn note<T>(&mut self, row: u64, checked: Result<T, Fault>) -> Option<T> {
        checked.map_err(|fault| self.add(fault.at(Some(row)))).ok()
    }

    /// The value, or nothing and one problem more.
    pub(crate) fn note_at<T>(&mut self, spot: Spot, checked: Result<T, Fault>) -> Option<T> {
        checked.map_err(|fault| self.add(fault.at_spot(spot))).ok()
    }

    /// The first problem as an error, if there is one.
    pub(crate) fn refuse(&self, file: &Path) -> Result<(), RecordsError> {
        self.first
            .first()
            .map_or(Ok(()), |problem| Err(RecordsError::invalid(file, problem.clone())))
    }
}
