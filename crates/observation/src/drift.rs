//! Tells when the router has become wrong.
