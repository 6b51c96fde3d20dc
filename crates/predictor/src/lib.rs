//! Request to features to network to a calibrated quality distribution per tier, and the
//! checkpoint that holds it. Inference only; `trainer` fits.

pub mod added;
pub mod answers;
pub mod calibration;
pub mod cascade;
pub mod checkpoint;
pub mod classifier;
pub mod device;
pub mod encoder;
pub mod encoding;
pub mod features;
pub mod member;
pub mod model;
pub mod neighbours;
pub mod network;
pub mod ngrams;
pub mod pool;
pub mod predictor;
pub mod surface;
pub mod views;
pub mod weights;
pub mod wordpiece;
