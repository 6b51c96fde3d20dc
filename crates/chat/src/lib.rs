//! The chat dialects: bodies, replies and streams of OpenAI chat completions, OpenAI Responses and
//! Anthropic Messages, translation between them, and the reduction of a body to a routing request.
//!
//! Used by `server` for bodies and by `trainer` for the prompts of data rows. Pure: no clock, no input
//! or output. Reading is lenient: what it does not know it keeps, what it needs it checks, naming the
//! place in the body. Translating is not: what would be lost and matters is an error.

mod ask_back;
mod body;
mod chat;
mod dialect;
mod error;
mod failure;
mod fields;
mod messages;
mod neutral;
mod parse;
mod reduce;
mod reply;
mod responses;
mod said;
mod splice;
mod sse;
mod stream;
mod translate;
mod usage;

pub use ask_back::{ask_back, told_probability};
pub use body::{ChatBody, Content, Message, Part, ResponseFormat, Role};
pub use dialect::{Dialect, set_model};
pub use error::{ChatError, Untranslatable};
pub use failure::{Failure, error_body};
pub use messages::write::DEFAULT_MAX_TOKENS;
pub use parse::parse;
pub use reduce::prompt_request;
pub use reply::{BadReply, Finish, ReplyOptions, Usage};
pub use said::{Said, mean_logprob, said, said_in_stream};
pub use splice::splice;
pub use sse::{SseEvent, SseReader};
pub use stream::{MAX_EVENT_BYTES, StreamSummary, StreamTranslator};
pub use translate::{routing_request, summarise, translate_request, translate_response};
pub use usage::UsageReader;
