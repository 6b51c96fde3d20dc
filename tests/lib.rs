//! Nothing here: the tests are in `journeys.rs`.
