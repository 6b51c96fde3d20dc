//! Which recorded prompt a request asks.
//!
//! A prompt that is text is found by the SHA-256 of the last message of the user, one that is chat
//! messages by the SHA-256 of a canonical form: keys sorted, no white space, absent tools like none.
//! Eight bytes of it are kept, as many as a `prompt_id` has digits for.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Eight bytes of a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) u64);

impl Key {
    /// Of a prompt that is text.
    pub(crate) fn of_text(text: &str) -> Self {
        Self(first_bytes(&[b"text\0", text.as_bytes()]))
    }

    /// Of a prompt that is chat messages and tools.
    pub(crate) fn of_messages(messages: &Value, tools: &Value) -> Self {
        let tools = if tools.is_null() {
            &Value::Array(Vec::new())
        } else {
            tools
        };
        let mut text = String::from("messages\0");
        write_canonical(messages, &mut text);
        write_canonical(tools, &mut text);
        Self(first_bytes(&[text.as_bytes()]))
    }

    /// Of a prompt whose text is not in the file: by its id, if that is the first 16 hex digits of
    /// the SHA-256 of the text, as it should be.
    pub(crate) fn of_id(prompt_id: &str) -> Option<Self> {
        (prompt_id.len() == 16)
            .then(|| u64::from_str_radix(prompt_id, 16).ok())
            .flatten()
            .map(Self)
    }

    /// What [`Self::of_id`] gives for the id of this text.
    pub(crate) fn of_id_of(text: &str) -> Self {
        Self(first_bytes(&[text.as_bytes()]))
    }
}

fn first_bytes(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let hash: [u8; 32] = hash.finalize().into();
    u64::from_be_bytes(hash[..8].try_into().expect("a SHA-256 has 32 bytes"))
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(fields) => write_fields(fields, out),
        scalar => *out += &scalar.to_string(),
    }
}

/// A field that is null says what an absent one says, in this dialect.
fn write_fields(fields: &Map<String, Value>, out: &mut String) {
    let mut fields: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    out.push('{');
    for (name, value) in fields {
        *out += &Value::from(name.as_str()).to_string();
        out.push(':');
        write_canonical(value, out);
        out.push(',');
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_those_of_the_data() {
        // echo -n 'What is 17 x 23?' | sha256sum
        let text = "What is 17 x 23?";
        let digest = Sha256::digest(text.as_bytes());
        let id: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(Key::of_id(&id), Some(Key::of_id_of(text)));
        assert_eq!((Key::of_id("zz"), Key::of_id("0123456789abcdeg")), (None, None));
    }

    #[test]
    fn order_space_and_absence_do_not_matter() {
        let key = |text: &str| {
            let body: Value = serde_json::from_str(text).unwrap();
            Key::of_messages(&body["messages"], &body["tools"])
        };
        let plain = r#"{"messages": [{"role": "user", "content": "hi"}], "tools": []}"#;
        let same = [
            r#"{"tools":[],"messages":[{"content":"hi","role":"user"}]}"#,
            r#"{"messages": [ {"role": "user", "content": "hi", "name": null} ]}"#,
            r#"{"messages": [{"role": "user", "content": "hi"}], "tools": null, "model": "m"}"#,
        ];
        let other = [
            r#"{"messages": [{"role": "user", "content": "Hi"}]}"#,
            r#"{"messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "function"}]}"#,
            r#"{"messages": [{"role": "system", "content": "hi"}]}"#,
            r#"{"messages": [[{"role": "user", "content": "hi"}]]}"#,
        ];
        same.iter().for_each(|text| assert_eq!(key(text), key(plain), "{text}"));
        other
            .iter()
            .for_each(|text| assert_ne!(key(text), key(plain), "{text}"));
        assert_ne!(Key::of_messages(&json!("hi"), &Value::Null), Key::of_text("hi"));
    }
}
