//! Scores replies: checkers without chance, commands, and models that judge by a rubric or in pairs.

pub mod case;
pub mod checkers;
