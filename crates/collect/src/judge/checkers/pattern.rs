//! A regular expression that the reply has to match somewhere.

use regex::{Regex, RegexBuilder};

use crate::judge::case::Verdict;

/// Patterns come from files; one that compiles to more than this is a mistake.
const SIZE_LIMIT: usize = 4 << 20;

/// Compiles a pattern. `^` and `$` are the ends of the reply; `(?m)` makes them those of lines.
pub fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(SIZE_LIMIT).build()
}

/// Whether the reply matches. White space around it does not count, since models end with a line break.
pub fn check(reply: &str, pattern: &Regex) -> Verdict {
    let is_match = pattern.is_match(reply.trim());
    Verdict::of(is_match, if is_match { "matches" } else { "does not match" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching() {
        let check = |pattern: &str, reply: &str, expected: f64| {
            assert_eq!(
                super::check(reply, &compile(pattern).unwrap()).value(),
                Some(expected),
                "{pattern}"
            );
        };
        check("^42$", " 42\n", 1.0);
        check("^42$", "It is 42", 0.0);
        check("(?i)paris", "PARIS it is", 1.0);
        check("(?m)^b$", "a\nb\nc", 1.0);
        check("^$", "", 1.0);
        assert!(compile("(").is_err());
    }
}
