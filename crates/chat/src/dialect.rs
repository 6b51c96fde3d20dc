//! The three dialects, and the few things that differ between them in name only.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The form in which a body or a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI chat completions.
    Chat,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Messages,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    /// As `serde` writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
        }
    }

    /// What this dialect's ids of replies begin with.
    fn id_prefix(self) -> &'static str {
        match self {
            Self::Chat => "chatcmpl-",
            Self::Responses => "resp_",
            Self::Messages => "msg_",
        }
    }

    /// An id of any dialect with this dialect's beginning, so that it can still be looked up.
    pub(crate) fn id(self, id: &str) -> String {
        format!("{}{}", self.id_prefix(), bare_id(id))
    }
}

/// An id without the beginning that its dialect gave it.
pub(crate) fn bare_id(id: &str) -> &str {
    Dialect::ALL
        .iter()
        .find_map(|dialect| id.strip_prefix(dialect.id_prefix()))
        .unwrap_or(id)
}

/// Names the model in a body of any dialect. A field that is there keeps its place among the keys.
pub fn set_model(body: &mut Map<String, Value>, model: &str) {
    body.insert("model".to_owned(), model.into());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_those_of_serde() {
        for dialect in Dialect::ALL {
            assert_eq!(json!(dialect), json!(dialect.name()));
        }
    }

    #[test]
    fn an_id_changes_its_beginning_alone() {
        for (id, expected) in [
            ("chatcmpl-7f", "msg_7f"),
            ("resp_7f", "msg_7f"),
            ("msg_7f", "msg_7f"),
            ("7f", "msg_7f"),
        ] {
            assert_eq!(Dialect::Messages.id(id), expected);
        }
    }

    #[test]
    fn the_model_keeps_its_place() {
        let mut body = json!({"a": 1, "model": "auto", "b": 2})
            .as_object()
            .cloned()
            .expect("object");
        set_model(&mut body, "light");
        assert_eq!(json!(body).to_string(), r#"{"a":1,"model":"light","b":2}"#);
    }
}
