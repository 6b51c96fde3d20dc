//! Checkers: functions from a reply and its prompt to a verdict, without chance and without cost.

pub mod choice;
pub mod json;
pub mod numeric;
pub mod pattern;
pub mod schema;
pub mod text;
