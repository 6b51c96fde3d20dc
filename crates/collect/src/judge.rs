//! Scores replies: checkers without chance, commands, and models that judge by a rubric or in pairs.
//!
//! [`settings`] is what the file says, [`judges`] what was made of it, [`run`] judges what the ledger
//! holds, [`figures`] says how far the judges can be trusted, [`export`] writes the outcome file.
//! [`served`] judges answers that were served, without a ledger.

mod asked;
mod asking;
pub mod case;
pub mod checkers;
pub mod command;
mod endpoint;
pub mod export;
pub mod figures;
pub mod gate;
pub mod judges;
pub mod own;
pub mod page;
pub mod plan;
pub mod probes;
pub mod reading;
pub mod report;
pub mod rubric;
pub mod run;
pub mod served;
pub mod settings;
