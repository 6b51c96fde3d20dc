//! The `dense` text encoder: all-MiniLM-L6-v2 (BERT with 6 layers, post-norm, mean pooling) with int8
//! weights, for the predictor. `dense` is the fast path, `reference` the same network in f32 on burn.
//!
//! Its own crate because of `kernel`, the one place of this project with `unsafe` code.

pub mod dense;
pub mod kernel;
pub mod reference;
pub mod weights;

#[cfg(test)]
mod texts;
