//! Traces: a finished row of the journal becomes spans, and they go to a collector by OTLP over HTTP.
//!
//! The server hands each row over when its last call has ended; a thread of its own makes spans of it and
//! sends them. A request never waits for that: where the collector is down or slow, spans are dropped and
//! counted. Spans hold ids, names and figures, never text.

pub mod error;
pub mod exporter;
pub mod names;
pub mod settings;
pub mod targets;

mod otlp;
mod queue;
#[cfg(test)]
mod sample;
mod spans;
