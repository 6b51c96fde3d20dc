//! What may be spent, by whom: purses in US dollars and in tokens, held exactly.
//!
//! An [`account::Account`] is one purse: of a session, a key, a cohort or all, for a UTC day or without
//! end. A request reserves the most it can cost on all its accounts or on none, and settles what it did
//! cost; what a vanished client held is freed when it expires. [`store::Store`] is the interface;
//! [`sqlite::SqliteStore`] is inside the process, [`valkey::ValkeyStore`] beside it, for replicas. Used by
//! `server`, which decides what a refusal or a store that is away means for the request.

pub mod account;
pub mod amount;
pub mod error;
pub mod sqlite;
pub mod store;
pub mod valkey;

#[cfg(test)]
mod tests;
