//! Rows to batches, loss, fit, calibrate, checkpoint.
//!
//! Trains on `train`, stops and calibrates on `validation`, never looks at `test`.

pub mod added;
pub mod answers;
pub mod calibrate;
pub mod card;
pub mod cascade;
pub mod certify;
pub mod classifier;
pub mod dataset;
pub mod featurise;
pub mod fit;
pub mod folds;
pub mod loss;
pub mod prices;
pub mod recalibrate;
pub mod stack;
pub mod tables;
pub mod train;
pub mod vocabulary;

mod plans;
mod prepare;
mod provenance;

#[cfg(test)]
mod backends_tests;
