//! Adding feedback to a journal from outside of its server, which may be running or not.

use std::path::Path;

use tiercast_records::journal::{Entry, Feedback};

use crate::error::JournalError;
use crate::folder::{Folder, Lock};
use crate::manifest::Manifest;
use crate::open_rows::OpenRows;
use crate::stored::Encoded;

/// Adds feedback. There is one at a time, so that two commands do not pay for the same words.
#[derive(Debug)]
pub struct Adder {
    folder: Folder,
    rows: OpenRows,
    _lock: Lock,
}

impl Adder {
    /// For the journal in `folder`. [`JournalError::NoJournal`] where there is none, [`JournalError::InUse`] where
    /// another one adds.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let folder = Folder::new(folder);
        // Before the lock, which would make a file in a folder that is none of ours.
        Manifest::read(&folder)?;
        let lock = folder.try_lock_adding()?;
        Ok(Self {
            rows: open_rows(&folder)?,
            folder,
            _lock: lock,
        })
    }

    /// Adds all of `words` or none; a kill of the process afterwards loses none of them.
    pub fn add(&mut self, words: impl IntoIterator<Item = Feedback>) -> Result<(), JournalError> {
        if !self.rows.is_in_place() {
            self.rows = open_rows(&self.folder)?;
        }
        let words: Vec<Encoded> = words
            .into_iter()
            .map(|word| Encoded::of(Entry::Feedback(word)))
            .collect();
        self.rows.append(&words)
    }
}

fn open_rows(folder: &Folder) -> Result<OpenRows, JournalError> {
    OpenRows::open(&folder.open_rows(), Manifest::read(folder)?.rotated_to)
}
