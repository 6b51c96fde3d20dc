//! Serves recorded completions as OpenAI-compatible model endpoints, with faults.
//!
//! [`library::Library`] holds the replies of an outcome file by prompt and model; [`app::app`] is
//! the router, callable without a socket; [`server::run`] serves it. What a request gets is first
//! made as a value (a script) and then played, so that every fault can be looked at without waiting.

pub mod app;
mod completion;
mod error;
pub mod faults;
mod key;
pub mod library;
pub mod pace;
mod request;
mod script;
pub mod server;
pub mod state;
mod stats;
