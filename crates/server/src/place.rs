//! Finds the line of a key in a TOML file, for messages about values that TOML itself accepts.

/// The line (from 1) where `key` is set, such as `workers`, `tiers."a b".class`, or of a table's head.
///
/// Reads lines, not TOML: a key in an inline table is found at the line of the table it stands in.
pub fn line_of(text: &str, key: &str) -> Option<usize> {
    let path = parts(key);
    let mut table: Vec<String> = Vec::new();
    let mut nearest = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let here = if let Some(head) = line.strip_prefix('[') {
            table = parts(head.split(']').next().unwrap_or_default().trim());
            table.clone()
        } else if let Some((name, _)) = line.split_once('=') {
            table.iter().cloned().chain(parts(name.trim())).collect()
        } else {
            continue;
        };
        if here == path {
            return Some(index + 1);
        }
        // A head further up the path is where the missing key belongs.
        if !here.is_empty() && path.starts_with(&here) {
            nearest = Some(index + 1);
        }
    }
    nearest
}

/// `a."b.c".d` in its parts.
fn parts(key: &str) -> Vec<String> {
    let (mut parts, mut part, mut quote) = (Vec::new(), String::new(), None);
    for c in key.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => part.push(c),
            (None, '"' | '\'') => quote = Some(c),
            (None, '.') => parts.push(std::mem::take(&mut part)),
            (None, c) if c.is_whitespace() => {}
            (None, c) => part.push(c),
        }
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tables_and_what_is_missing_in_them() {
        let text = "workers = 2\n\n[tiers.\"a b\"]\nclass = 9\n[tiers.c.endpoint]\n  base_url = \"x\"\n[keys]\nk.env = \"K\"\n";
        for (key, line) in [
            ("workers", Some(1)),
            ("tiers.\"a b\".class", Some(4)),
            ("tiers.\"a b\"", Some(3)),
            ("tiers.\"a b\".input_usd_per_mtok", Some(3)),
            ("tiers.\"c\".endpoint.base_url", Some(6)),
            ("keys.\"k\".env", Some(8)),
            ("listen", None),
        ] {
            assert_eq!(line_of(text, key), line, "{key}");
        }
    }
}
