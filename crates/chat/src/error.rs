//! Why a body cannot be read, or cannot be said in another dialect.

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

/// A request that another dialect cannot say. The gateway then leaves out the tiers of that dialect.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{field}` {why}")]
pub struct Untranslatable {
    /// Path from the client's body.
    pub field: String,
    /// Never holds text of the request.
    pub why: String,
}

impl Untranslatable {
    pub(crate) fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        let (field, why) = (field.into(), why.into());
        Self { field, why }
    }
}

/// What keeps a reader from reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Wrong in its own dialect.
    Wrong(ChatError),
    /// Right, but not to be said in another.
    Foreign(Untranslatable),
}

impl From<ChatError> for Unreadable {
    fn from(error: ChatError) -> Self {
        Self::Wrong(error)
    }
}

impl From<Untranslatable> for Unreadable {
    fn from(error: Untranslatable) -> Self {
        Self::Foreign(error)
    }
}

impl From<Unreadable> for Untranslatable {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Foreign(error) => error,
            Unreadable::Wrong(ChatError::Wrong { place, expected, found }) => {
                Self::new(place, format!("must be {expected}, found {found}"))
            }
            Unreadable::Wrong(other) => Self::new("the body", format!("cannot be read: {other}")),
        }
    }
}

impl From<Unreadable> for ChatError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Wrong(error) => error,
            Unreadable::Foreign(Untranslatable { field, why }) => Self::Wrong {
                place: field,
                expected: "something that we know",
                found: why,
            },
        }
    }
}
