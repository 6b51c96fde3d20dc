//! The words and the rules of tiercast: request, tier, catalog, quality distribution, decision.
//!
//! Everything here is pure: no input or output, no clock, no randomness of its own. Deciding
//! cannot fail; a request that no tier can take gets a [`decide::Decision`] that says so.
//! The server and the evaluation call the same [`decide::decide`].

pub mod cascade;
pub mod catalog;
pub mod decide;
pub mod distribution;
pub mod evidence;
pub mod plan;
pub mod request;
pub mod rules;
