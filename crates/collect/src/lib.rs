//! Asks every tier, then asks the judge: prompts become outcomes. Resumable and budgeted.

pub mod judge;
