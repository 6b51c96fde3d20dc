//! Serves recorded completions as model endpoints of three dialects, with faults.
//!
//! [`library::Library`] holds the replies of an outcome file by prompt and model; [`app::app`] is
//! the router, callable without a socket; [`server::run`] serves it. A request of any dialect is read as
//! chat and answered in its own. What it gets is first made as a value (`script`) and then played, so
//! that every fault can be looked at without waiting.

pub mod app;
mod calls;
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
mod usage;
mod wording;
