//! Rows folded to figures.
