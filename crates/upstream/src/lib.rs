//! Speaks to model endpoints of the OpenAI dialect: chat, plain and streaming, with retries, rate
//! limits and a circuit breaker per tier.
//!
//! [`client::Client`] is what all tiers share (TLS, connections); [`upstream::Upstream`] is one tier.
//! Used by `collect` for whole replies.

pub mod call;
pub mod client;
pub mod error;
pub mod settings;
pub mod upstream;
