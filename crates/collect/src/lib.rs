//! Asks every tier, then asks the judge. Resumable and budgeted.
//!
//! Whatever was paid for is in the ledger, one SQLite file, before it counts: a run killed at any
//! moment goes on where it was. Keys, files and the Ctrl-C signal come from the caller.

mod ask;
mod budget;
pub mod config;
pub mod error;
pub mod estimate;
pub mod export;
pub mod judge;
pub mod ledger;
pub mod run;
pub mod status;

pub use error::CollectError;
