//! Why a chat body cannot be read.

use thiserror::Error;

/// Says where the body is wrong and what would be right there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChatError {
    /// Not text.
    #[error("the body is not UTF-8 from byte {offset} on: send JSON encoded as UTF-8")]
    NotUtf8 {
        /// Of the first wrong byte.
        offset: usize,
    },
    /// Not JSON. The cause names line and column.
    #[error("the body is not valid JSON: {0}")]
    NotJson(String),
    /// A place holds what it must not.
    #[error("`{place}` must be {expected}, found {found}")]
    Wrong {
        /// Path from the body, such as `messages[2].content[1].type`.
        place: String,
        /// What belongs there.
        expected: &'static str,
        /// What is there: its kind, or a number.
        found: String,
    },
    /// Nobody asks anything.
    #[error("`messages` has no message of the user: add one such as {{\"role\": \"user\", \"content\": \"...\"}}")]
    NoUserMessage,
}
