//! The chat dialects as types, and the reduction of a body to a routing request.
//!
//! Used by `server` for bodies and by `trainer` for the prompts of data rows. Pure, and lenient:
//! what it does not know it keeps, what it needs it checks, naming the place in the body.

mod body;
mod error;
mod parse;
mod reduce;

pub use body::{ChatBody, Content, Message, Part, ResponseFormat, Role};
pub use error::ChatError;
pub use parse::parse;
pub use reduce::prompt_request;
