//! Recorded calls of tools, as a chat reply tells them.

use serde::Deserialize;
use serde_json::{Value, json};

/// Why recorded calls cannot be served, and the mend.
const WRONG: &str = "`tool_calls` is not what a chat reply holds; write [{\"id\": \"...\", \"type\": \"function\", \
                     \"function\": {\"name\": \"...\", \"arguments\": \"{}\"}}] or leave it empty";

/// One call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// JSON, as the model wrote it.
    pub(crate) arguments: String,
}

#[derive(Debug, Deserialize)]
struct Written {
    id: Option<String>,
    function: Function,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: String,
}

/// Reads the `tool_calls` of a chat reply; null has none. Calls without an id get one.
pub(crate) fn read(text: &str) -> Result<Vec<Call>, &'static str> {
    let calls: Option<Vec<Written>> = serde_json::from_str(text).map_err(|_| WRONG)?;
    let calls = calls.into_iter().flatten().enumerate();
    Ok(calls
        .map(|(index, Written { id, function })| Call {
            id: id
                .filter(|id| !id.is_empty())
                .unwrap_or_else(|| format!("call_{index}")),
            name: function.name,
            arguments: function.arguments,
        })
        .collect())
}

impl Call {
    /// As it stands in a whole reply.
    pub(crate) fn object(&self) -> Value {
        json!({"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}})
    }

    /// How a stream begins it: all but its arguments.
    pub(crate) fn start(&self, index: usize) -> Value {
        let function = json!({"name": self.name, "arguments": ""});
        json!({"tool_calls": [{"index": index, "id": self.id, "type": "function", "function": function}]})
    }
}

/// How a stream goes on with the call of this index.
pub(crate) fn more(index: usize, arguments: &str) -> Value {
    json!({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_and_told() {
        let text = r#"[{"id": "a", "type": "function", "index": 0, "function": {"name": "add", "arguments": "{\"x\": 1}"}},
                       {"id": null, "function": {"name": "end"}}]"#;
        let calls = read(text).unwrap();
        assert_eq!(
            calls[0].object(),
            json!({"id": "a", "type": "function", "function": {"name": "add", "arguments": "{\"x\": 1}"}})
        );
        assert_eq!(
            (
                calls[1].id.as_str(),
                calls[1].name.as_str(),
                calls[1].arguments.as_str()
            ),
            ("call_1", "end", "")
        );
        assert_eq!((read("null").unwrap(), read("[]").unwrap()), (vec![], vec![]));
    }

    #[test]
    fn what_is_no_call() {
        for text in ["", "{}", "[1]", r#"[{"id": "a"}]"#, r#"[{"function": {"name": 3}}]"#] {
            assert!(read(text).unwrap_err().contains("chat reply"), "{text}");
        }
    }
}
