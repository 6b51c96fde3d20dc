//! OpenAI Responses to and from the neutral form.

mod known;
pub(crate) mod read;
pub(crate) mod reply;
pub(crate) mod stream_in;
pub(crate) mod stream_out;
pub(crate) mod write;
