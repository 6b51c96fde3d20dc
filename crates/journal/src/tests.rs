//! A journal as a whole; each file is one matter.

mod crashes;
mod forgetting;
#[cfg(unix)]
mod full_disk;
#[cfg(unix)]
mod kills;
mod reading;
mod rows;
mod serving;
mod turns;

/// What the process that started this one told it.
#[cfg(unix)]
#[expect(
    clippy::disallowed_methods,
    reason = "the configuration of a test that is a process of its own"
)]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
