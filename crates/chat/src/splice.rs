//! Sets one field of a body and leaves every other byte as the client sent it: numbers keep their
//! spelling, keys their order, and what we do not know stays what it was.

/// `body`, a JSON object, with the top-level `key` set to `value`, which is JSON too. A key that is not
/// there becomes the first; one that is there twice is set twice.
pub fn splice(body: &str, key: &str, value: &str) -> String {
    let mut spliced = String::with_capacity(body.len() + key.len() + value.len() + 4);
    let mut copied = 0;
    for place in values_of(body, key) {
        spliced.push_str(&body[copied..place.start]);
        spliced.push_str(value);
        copied = place.end;
    }
    if copied > 0 {
        spliced.push_str(&body[copied..]);
        return spliced;
    }
    let Some(open) = body.find('{') else {
        return body.to_owned();
    };
    let (head, rest) = body.split_at(open + 1);
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    format!("{head}\"{key}\":{value}{comma}{rest}")
}

/// Where the values of a top-level key are.
fn values_of(body: &str, key: &str) -> Vec<std::ops::Range<usize>> {
    let (bytes, mut found) = (body.as_bytes(), Vec::new());
    let (mut at, mut depth) = (0, 0_usize);
    // Of the value that is being read, where it is one of ours.
    let mut start = None;
    // The last string at the top: a key, if a colon follows.
    let mut name = None;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let end = end_of_string(bytes, at);
                if depth == 1 {
                    name = Some(&body[at..end]);
                }
                at = end;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b':' if depth == 1 => {
                let is_ours = name.take().is_some_and(|name| is_key(name, key));
                start = is_ours.then_some(at + 1);
            }
            close @ (b'}' | b']' | b',') => {
                if depth == 1
                    && close != b']'
                    && let Some(start) = start.take()
                {
                    let value = &body[start..at];
                    let lead = value.len() - value.trim_start().len();
                    found.push(start + lead..start + value.trim_end().len());
                }
                depth -= usize::from(close != b',' && depth > 0);
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// A key may be written with escapes.
fn is_key(written: &str, key: &str) -> bool {
    serde_json::from_str::<String>(written).is_ok_and(|written| written == key)
}

/// Behind the closing quote.
fn end_of_string(bytes: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    #[test]
    fn every_other_byte_stays() {
        for (body, expected) in [
            (r#"{"model": "auto", "n": 1e3}"#, r#"{"model": "m", "n": 1e3}"#),
            (
                r#"{ "a":[{"model":"x"}],"model":null }"#,
                r#"{ "a":[{"model":"x"}],"model":"m" }"#,
            ),
            (
                r#"{"a":"\"model\":1,","model" :{"b":[1]}}"#,
                r#"{"a":"\"model\":1,","model" :"m"}"#,
            ),
            (r#"{"mod\u0065l":1}"#, r#"{"mod\u0065l":"m"}"#),
            (r#"{"model":1,"model":2}"#, r#"{"model":"m","model":"m"}"#),
            (r#"{"a":["model",1]}"#, r#"{"model":"m","a":["model",1]}"#),
            (r#" { } "#, r#" {"model":"m" } "#),
        ] {
            assert_eq!(splice(body, "model", r#""m""#), expected);
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[\"\\\\{}:,a-c\\[\\]é ]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map("[a\"\\\\:k]{0,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn as_if_the_object_were_written_anew(fields in proptest::collection::vec(("[a\"\\\\:k]{0,2}", value()), 0..5)) {
            let mut body: Map<String, Value> = fields.into_iter().collect();
            let text = serde_json::to_string_pretty(&body).unwrap();
            let spliced: Map<String, Value> = serde_json::from_str(&splice(&text, "k", "[1]")).unwrap();
            body.insert("k".to_owned(), json!([1]));
            prop_assert_eq!(spliced, body);
        }
    }
}
