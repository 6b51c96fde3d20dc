//! Proper scores, calibration measures, curves, bootstrap, small regressions: numbers, not routing.
//!
//! Everything is a function from values to values. Chance takes a seed; the same seed gives the
//! same result on any number of threads.

pub mod agreement;
pub mod bayesian_logistic;
pub mod betting;
pub mod bootstrap;
pub mod calibration;
pub mod certify;
pub mod curve;
pub mod fourier;
pub mod logistic;
pub mod prediction_powered;
pub mod ridge;
pub mod score;
pub mod selective;
pub mod shift;
pub mod simplex;
pub mod summary;
