//! The folder of a journal: what lies where, and who may change its segments.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::JournalError;

/// Held while segments are changed.
const LOCK: &str = "lock";

/// Where everything lies.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    root: PathBuf,
}

/// The right to change manifest and segments, between processes; ends when dropped, or with the process.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Folder {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// Makes what is missing. Rows may hold text, so the folder is its owner's alone.
    pub(crate) fn make(&self) -> Result<(), JournalError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let segments = self.segments();
        builder.create(&segments).map_err(JournalError::io(&segments, "made"))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn open_rows(&self) -> PathBuf {
        self.root.join("journal.sqlite")
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.root.join("manifest.json")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.root.join("key")
    }

    pub(crate) fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    pub(crate) fn segment(&self, file: &str) -> PathBuf {
        self.segments().join(file)
    }

    /// Waits for the lock. For what is asked for by hand: a rotation elsewhere takes seconds.
    pub(crate) fn lock(&self) -> Result<Lock, JournalError> {
        let (path, file) = self.lock_file(LOCK)?;
        file.lock().map_err(JournalError::io(&path, "locked"))?;
        Ok(Lock { _file: file })
    }

    /// The lock, or [`JournalError::InUse`]. For what can be done later.
    pub(crate) fn try_lock(&self) -> Result<Lock, JournalError> {
        self.try_lock_file(LOCK)
    }

    /// The right to add feedback from outside of the server, or [`JournalError::InUse`].
    pub(crate) fn try_lock_adding(&self) -> Result<Lock, JournalError> {
        self.try_lock_file("adding")
    }

    fn try_lock_file(&self, name: &str) -> Result<Lock, JournalError> {
        let (path, file) = self.lock_file(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(JournalError::InUse {
                folder: self.root.clone(),
            }),
            Err(TryLockError::Error(source)) => Err(JournalError::io(&path, "locked")(source)),
        }
    }

    fn lock_file(&self, name: &str) -> Result<(PathBuf, File), JournalError> {
        let path = self.root.join(name);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(JournalError::io(&path, "opened"))?;
        Ok((path, file))
    }

    /// Names of files in `segments/` that are ours by their ending: finished ones, and parts of others.
    pub(crate) fn segment_files(&self) -> Result<Vec<String>, JournalError> {
        let segments = self.segments();
        let entries = match fs::read_dir(&segments) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(JournalError::io(&segments, "read"))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(JournalError::io(&segments, "read"))?.file_name();
            let name = name.to_string_lossy().into_owned();
            if name.ends_with(".parquet") || name.ends_with(".part") {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes a segment; gone already is as good.
    pub(crate) fn remove_segment(&self, file: &str) -> Result<(), JournalError> {
        let path = self.segment(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(JournalError::io(&path, "removed")(error)),
            _ => Ok(()),
        }
    }
}
