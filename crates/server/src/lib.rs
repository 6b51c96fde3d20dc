//! HTTP: predict, decide, forward, account.
//!
//! [`app::app`] is the router, callable without a socket; [`server::run`] serves it.

mod accounts;
pub mod answer;
pub mod app;
mod budgets;
mod dashboard;
pub mod deployment;
pub mod dials;
mod error;
mod feedback;
mod gateway;
mod keys;
mod latency;
mod metrics;
pub mod observer;
pub mod place;
pub mod plans;
pub mod policy;
mod record;
pub mod server;
pub mod serving;
mod sessions;
pub mod settings;
pub mod state;
pub mod worker;
