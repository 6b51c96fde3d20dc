//! The journal: every request that was decided, with its calls, and what was said of it.
