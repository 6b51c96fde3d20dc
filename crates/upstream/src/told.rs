//! Mistakes in a `tiercast.toml` without what opens doors: it holds the names of keys, and sometimes, by mistake,
//! a key. Used by all who read one.

/// Words of lines that are not repeated.
const SUSPECT: [&str; 7] = ["key", "secret", "token", "password", "auth", "sk-", "tc-"];

/// What TOML says of a mistake. It shows the line: where that may hold a key, only the place and the
/// words without values are kept, since messages are logged and answered with.
pub fn without_keys(error: &toml::de::Error) -> String {
    let told = error.to_string();
    let is_shown = |line: &&str| line.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let may_hold_one = |line: &str| {
        let line = line.to_ascii_lowercase();
        SUSPECT.iter().any(|word| line.contains(word))
    };
    // `app = "the key"` in [keys] has none of the words.
    let is_key = error.message().contains("KeySettings");
    if !is_key && !told.lines().filter(is_shown).any(may_hold_one) {
        return told.trim_end().to_owned();
    }
    let place = told.lines().next().unwrap_or_default();
    let message = error.message();
    let message = match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}...{}", &message[..=first], &message[last..]),
        _ => message.to_owned(),
    };
    format!("{place}\n{message}\n(the line is not shown: it may hold a key)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        without_keys(&toml::from_str::<std::collections::BTreeMap<String, u8>>(text).unwrap_err())
    }

    #[test]
    fn a_line_that_may_hold_a_key_is_not_shown() {
        let said = told("a = 1\napi_key = \"sk-hush\"\n");
        assert!(said.contains("line 2") && !said.contains("hush"), "{said}");
        let said = told("a = 1\nspeed = \"fast\"\n");
        assert!(said.contains("line 2") && said.contains("fast"), "{said}");
    }
}
