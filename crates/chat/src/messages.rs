//! Anthropic Messages to and from the neutral form.

pub(crate) mod effort;
mod known;
pub(crate) mod read;
pub(crate) mod reply;
pub(crate) mod stream_in;
pub(crate) mod stream_out;
pub(crate) mod strict;
pub(crate) mod write;
