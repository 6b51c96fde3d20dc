//! The rows that stages write and how they lie on disk.
//!
//! Parquet by Arrow, a manifest written last. Only this crate names Arrow.

pub mod collected;
pub mod completions;
pub mod describe;
pub mod disk;
pub mod error;
pub mod features;
pub mod journal;
pub mod manifest;
pub mod outcomes;
pub mod predictions;
pub mod prompts;
pub mod reference;
pub mod split;

mod table;

pub use error::RecordsError;
