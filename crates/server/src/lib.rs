//! HTTP: predict, decide, answer. Nothing is forwarded yet.
//!
//! [`app::app`] is the router, callable without a socket; [`server::run`] serves it.

pub mod answer;
pub mod app;
pub mod deployment;
pub mod dials;
mod error;
mod metrics;
pub mod server;
pub mod settings;
pub mod state;
pub mod worker;
