//! What keeps an exporter from starting. Once it runs nothing of it fails: it drops and counts.

use thiserror::Error;

/// Why settings do not hold, or an exporter cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TelemetryError {
    /// A setting that does not hold; says which, and what it takes.
    #[error("{0}")]
    Setting(String),
    /// A header names a variable that is not there.
    #[error(
        "`headers_env`: the environment variable {variable} is not set or empty; set it to the value of the header `{header}`"
    )]
    MissingVariable {
        /// The header.
        header: String,
        /// The variable.
        variable: String,
    },
    /// A value that no header can carry. It is not repeated.
    #[error(
        "`headers_env`: the value in {variable} has characters that no header can carry, such as a line break; set it again"
    )]
    BadValue {
        /// The variable.
        variable: String,
    },
    /// The system gives no thread.
    #[error("the exporter's thread could not be started: {0}")]
    Thread(String),
}
