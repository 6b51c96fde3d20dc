//! Verdicts of judges that another process adds to the journal while a server runs on it.

use tiercast_records::journal::{Feedback, SegmentKind};

use crate::error::JournalError;
use crate::folder::Folder;
use crate::open_rows::OpenRows;

/// Rows read at a time.
const PAGE: u32 = 1024;

/// Hears what judges say from now on. Looks at open rows alone: what is closed into a segment between two looks, which
/// takes a rotation, is missed here and in the journal all the same.
#[derive(Debug)]
pub struct Listener {
    folder: Folder,
    /// Rows up to this number have been looked at.
    after: i64,
}

impl Listener {
    pub(crate) fn open(folder: &Folder, rows: &OpenRows, rotated_to: i64) -> Result<Self, JournalError> {
        let (_, after) = rows.after(rotated_to)?;
        Ok(Self {
            folder: folder.clone(),
            after,
        })
    }

    /// What was said since the last look, in order. Reads a file, so not for every request.
    pub fn heard(&mut self) -> Result<Vec<Feedback>, JournalError> {
        let Some(rows) = OpenRows::snapshot(&self.folder.open_rows())? else {
            return Ok(Vec::new());
        };
        let (_, last) = rows.after(self.after)?;
        let mut heard = Vec::new();
        while self.after < last {
            let page = rows.page(SegmentKind::Feedback, self.after, last, PAGE)?;
            self.after = match page.last() {
                Some(row) if page.len() == PAGE as usize => row.seq,
                _ => last,
            };
            // A server writes none of judges itself. What a newer build wrote is left to it.
            let words = page.iter().filter_map(|row| row.feedback().ok());
            heard.extend(words.filter(Feedback::is_judged));
        }
        Ok(heard)
    }
}
