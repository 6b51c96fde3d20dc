//! Replays held-out rows through predictors, policies and baselines: metrics, report, plots.
//!
//! [`evaluate::evaluate`] turns outcomes and forecasts into one [`report::Report`], numbers only;
//! pages and plots are views of that value. Pure: the caller reads files, the seed is an argument.

mod baselines;
pub mod evaluate;
mod interval;
mod method;
mod operating;
pub mod policies;
mod prediction;
pub mod render;
pub mod report;
mod selective;
pub mod study;
mod subset;
pub mod suite;
mod sweep;
mod two_tier;
