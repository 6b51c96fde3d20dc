//! Speaks to model endpoints of the OpenAI dialect: chat, plain and streaming, with retries, rate
//! limits and a circuit breaker per tier.
//!
//! [`client::Client`] is what all tiers share (TLS, connections); [`upstream::Upstream`] is one tier.
//! Used by `collect`, which wants whole replies ([`upstream::Upstream::chat`]). A gateway that passes
//! bytes through has [`upstream::Upstream::send`] below it: one attempt, status, headers and chunks.

pub mod answer;
pub mod breaker;
pub mod call;
pub mod client;
pub mod conceal;
pub mod error;
pub mod settings;
pub mod told;
pub mod upstream;

mod attempt;
mod body;
mod classify;
mod limits;
mod plain;
mod retry;
mod sse;
mod stream;
mod usage;
