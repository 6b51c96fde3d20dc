//! What a journal says: cost, quality by route, escalations and drift.
//!
//! [`summary`] folds rows to figures, [`drift`] tells when the router has become wrong, [`page`] draws both.
//! The server folds the rows as it writes them, `tiercast report` and `tiercast drift` those of a journal.

pub mod drift;
pub mod page;
pub mod summary;
