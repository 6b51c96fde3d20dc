//! Which segments there are, and up to which row they reach. Changed only under the folder's lock, by rename.

use std::fs;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use tiercast_records::disk::write_atomically;
use tiercast_records::journal::SegmentKind;

use crate::error::JournalError;
use crate::folder::Folder;

/// What the folder is.
const KIND: &str = "tiercast-journal";

/// Version of the manifest and of the folder's layout.
const VERSION: u32 = 1;

/// What the folder holds beside open rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    kind: String,
    version: u32,
    /// Number of the last row that was closed: rows up to it are in segments, or were removed with them.
    pub rotated_to: i64,
    /// Segments, in order of their rows.
    pub segments: Vec<Segment>,
}

/// A Parquet file of closed rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its name in `segments/`.
    pub file: String,
    /// What its rows are.
    pub kind: SegmentKind,
    /// How many there are.
    pub rows: u64,
    /// Numbers of the rows that were closed together, of both kinds; first and last.
    pub first_seq: i64,
    /// The last of them.
    pub last_seq: i64,
    /// Smallest time of a row, milliseconds since 1970.
    pub min_time_ms: i64,
    /// Largest time of a row.
    pub max_time_ms: i64,
    /// Size.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
}

impl Manifest {
    pub(crate) fn empty() -> Self {
        Self {
            kind: KIND.to_owned(),
            version: VERSION,
            rotated_to: 0,
            segments: Vec::new(),
        }
    }

    /// Makes an empty one in a new folder. Segments without a manifest are refused: nobody knows which of them
    /// count, and taking them for left-overs would remove them.
    pub(crate) fn make(folder: &Folder) -> Result<(), JournalError> {
        if Self::find(folder)?.is_some() {
            return Ok(());
        }
        let _lock = folder.lock()?;
        if Self::find(folder)?.is_some() {
            return Ok(());
        }
        let finished = |name: &String| name.ends_with(".parquet");
        match folder.segment_files()?.iter().any(finished) {
            true => Err(bad(folder, "it is missing, and there are segments".to_owned())),
            false => Self::empty().write(folder),
        }
    }

    /// The manifest; [`JournalError::NoJournal`] where there is none.
    pub(crate) fn read(folder: &Folder) -> Result<Self, JournalError> {
        Self::find(folder)?.ok_or_else(|| JournalError::NoJournal {
            folder: folder.root().to_path_buf(),
        })
    }

    fn find(folder: &Folder) -> Result<Option<Self>, JournalError> {
        let path = folder.manifest();
        let json = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            json => json.map_err(JournalError::io(&path, "read"))?,
        };
        let head: Head = serde_json::from_slice(&json).map_err(|error| bad(folder, error.to_string()))?;
        if head.kind != KIND {
            return Err(bad(folder, format!("it is that of a `{}`", head.kind)));
        }
        if head.version > VERSION {
            return Err(JournalError::Newer {
                path,
                found: head.version,
                known: VERSION,
            });
        }
        let manifest = serde_json::from_slice(&json).map_err(|error| bad(folder, error.to_string()))?;
        Ok(Some(manifest))
    }

    pub(crate) fn write(&self, folder: &Folder) -> Result<(), JournalError> {
        let json = serde_json::to_string_pretty(self).expect("a manifest is plain strings and numbers");
        write_atomically(&folder.manifest(), |file| writeln!(file, "{json}"))?;
        Ok(())
    }

    /// Size of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}

/// What tells manifests apart; a newer one may differ in all else.
#[derive(Deserialize)]
struct Head {
    kind: String,
    version: u32,
}

fn bad(folder: &Folder, reason: String) -> JournalError {
    JournalError::BadManifest {
        path: folder.manifest(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_that_cannot_be_understood_says_why() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        let check = |json: &str, expected: &str| {
            fs::write(folder.manifest(), json).unwrap();
            let error = Manifest::read(&folder).unwrap_err().to_string();
            assert!(error.contains("manifest.json") && error.contains(expected), "{error}");
        };
        check("{", "EOF");
        check(
            r#"{"kind": "tiercast-dataset", "version": 1}"#,
            "that of a `tiercast-dataset`",
        );
        check(
            r#"{"kind": "tiercast-journal", "version": 9}"#,
            "version 9, and this build reads versions up to 1",
        );
    }

    #[test]
    fn segments_without_a_manifest_are_not_taken_for_left_overs() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        folder.make().unwrap();
        Manifest::make(&folder).unwrap();
        assert_eq!(Manifest::read(&folder).unwrap(), Manifest::empty());
        fs::remove_file(folder.manifest()).unwrap();
        fs::write(folder.segment("served-1-2.parquet"), "x").unwrap();
        let error = Manifest::make(&folder).unwrap_err().to_string();
        assert!(error.contains("missing, and there are segments"), "{error}");
    }
}
