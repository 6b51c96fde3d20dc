//! JSON inside replies: whole, in a code fence, or somewhere in the text.

use serde_json::Value;

/// Names under which replies in JSON give their answer.
const ANSWER_KEYS: [&str; 4] = ["answer", "final_answer", "Answer", "result"];

/// Places where JSON may begin that are tried; a reply of nothing but brackets ends somewhere.
const MAX_STARTS: usize = 200;

/// The JSON of a reply: the whole of it, else the last code fence that is JSON, else the largest
/// object or array in the text.
pub fn find(reply: &str) -> Option<Value> {
    let whole = || serde_json::from_str(reply.trim()).ok();
    whole().or_else(|| fenced(reply)).or_else(|| inside(reply))
}

/// The answer that a reply in JSON names, as text.
pub fn answer(reply: &str) -> Option<String> {
    let found = find(reply).or_else(|| mended(reply))?;
    let object = found.as_object()?;
    let value = ANSWER_KEYS.iter().find_map(|key| object.get(*key))?;
    (!value.is_null()).then(|| crate::judge::case::text_of(value))
}

/// The last code fence whose content is JSON.
fn fenced(reply: &str) -> Option<Value> {
    let parts: Vec<&str> = reply.split("```").collect();
    let inner = parts.iter().skip(1).step_by(2).rev();
    inner
        .map(|block| block.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'))
        .find_map(|block| serde_json::from_str(block.trim()).ok())
}

/// The largest object, else the largest array, that begins somewhere in the text.
fn inside(reply: &str) -> Option<Value> {
    let values = |open: char| {
        let starts = reply.match_indices(open).take(MAX_STARTS).map(|(start, _)| start);
        let parsed = starts.filter_map(|start| {
            let mut stream = serde_json::Deserializer::from_str(&reply[start..]).into_iter::<Value>();
            let value = stream.next()?.ok()?;
            Some((stream.byte_offset(), value))
        });
        parsed.max_by_key(|(length, _)| *length).map(|(_, value)| value)
    };
    values('{').or_else(|| values('['))
}

/// JSON whose strings hold raw line breaks or stray backslashes (LaTeX), as models write it.
fn mended(reply: &str) -> Option<Value> {
    let (start, end) = (reply.find('{')?, reply.rfind('}')?);
    let text = reply.get(start..=end)?;
    let mut out = String::with_capacity(text.len() + 16);
    let mut is_inside = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                is_inside = !is_inside;
                out.push(c);
            }
            '\\' if is_inside => match chars.peek() {
                Some('"' | '\\' | '/') => {
                    out.push(c);
                    out.extend(chars.next());
                }
                _ => out.push_str("\\\\"),
            },
            '\n' if is_inside => out.push_str("\\n"),
            '\t' if is_inside => out.push_str("\\t"),
            c if c.is_control() && is_inside => out.push(' '),
            c => out.push(c),
        }
    }
    serde_json::from_str(&out).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finding() {
        let check = |reply: &str, expected: Option<Value>| assert_eq!(find(reply), expected, "{reply}");
        check("{\"a\": 1}", Some(json!({"a": 1})));
        check("Here:\n```json\n{\"a\": 1}\n```\nDone.", Some(json!({"a": 1})));
        check("```\n[1, 2]\n```", Some(json!([1, 2])));
        check("It is {\"a\": {\"b\": 2}} as asked.", Some(json!({"a": {"b": 2}})));
        check("a {broken} and {\"a\": 1}", Some(json!({"a": 1})));
        check("nothing", None);
        check("{\"a\": ", None);
        check(&"{".repeat(5000), None);
    }

    #[test]
    fn answers() {
        let check = |reply: &str, expected: Option<&str>| assert_eq!(answer(reply).as_deref(), expected, "{reply}");
        check("{\"reasoning\": \"x\", \"answer\": \"42\"}", Some("42"));
        check("{\"answer\": 42}", Some("42"));
        check("{\"reasoning\": \"a\nb \\( x \\)\", \"answer\": \"7\"}", Some("7"));
        check("{\"answer\": null}", None);
        check("{\"reasoning\": \"x\"}", None);
        check("42", None);
    }
}
