//! The journal: every request that was decided, with its calls, and what was said of it.
//!
//! The server hands over entries and never waits: a bounded queue, a thread that writes what came within a part
//! of the flush interval in one transaction, another that closes the open rows into Parquet segments. `report` and
//! `drift` read both, in another process if need be.
//!
//! ```text
//! journal.sqlite      open rows, in order of arrival
//! segments/*.parquet  closed rows, of one kind each
//! manifest.json       the segments, and up to which row they reach; changed by rename, under `lock`
//! key                 for hashes of prompts and tags of ids; never leaves the folder
//! lock                held while segments are made, rewritten or removed
//! adding              held while another command adds feedback
//! ```
//!
//! A row is in a segment if and only if its number is not above `rotated_to` of the manifest. So a kill between
//! two steps leaves nothing twice and nothing out: the rename decides, and what is left over is removed later.

mod adding;
mod error;
mod folder;
mod forgetting;
mod health;
mod journal;
mod keeper;
mod key;
mod manifest;
mod open_rows;
mod overhearing;
mod reading;
mod retention;
mod rotation;
mod said;
mod settings;
mod stored;
mod turns;
mod writer;

#[cfg(test)]
mod tests;

pub use adding::Adder;
pub use error::JournalError;
pub use forgetting::{Forgotten, What, forget};
pub use health::{Failing, Health};
pub use journal::{Clock, Journal};
pub use key::Key;
pub use manifest::{Manifest, Segment};
pub use overhearing::Listener;
pub use reading::{Part, Problem, Range, Reader};
pub use said::Said;
pub use settings::Settings;
