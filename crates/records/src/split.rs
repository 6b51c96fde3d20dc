//! Which split a question belongs to. The bare question alone decides, so that one question never
//! crosses splits, whichever data set, template or options it comes with.

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use crate::disk::hex;
use crate::outcomes::Split;

/// The rule, for messages.
pub const RULE: &str = "SHA-256 of `route-split-v1:` + the question (NFKC, lower case, every run of other than letters \
                        and digits as one space), first 8 hex digits modulo 1000: < 150 holdout, < 300 test, < 400 \
                        validation, else train";

/// Key of a bare question: no options, no template.
pub fn split_key(question: &str) -> String {
    let hash = Sha256::digest(format!("route-split-v1:{}", normalised(question)));
    hex(&hash[..8])
}

/// Id of a prompt: equal text has equal id in every file.
pub fn prompt_id(text: &str) -> String {
    hex(&Sha256::digest(text)[..8])
}

/// Split of a key as made by [`split_key`]; none for anything that is not one.
pub fn split_of_key(key: &str) -> Option<Split> {
    let number = u32::from_str_radix(key.get(..8)?, 16).ok()?;
    Some(match number % 1000 {
        0..150 => Split::Holdout,
        150..300 => Split::Test,
        300..400 => Split::Validation,
        _ => Split::Train,
    })
}

/// NFKC, lower case, every run of other than letters and digits as one space, trimmed.
pub(crate) fn normalised(question: &str) -> String {
    let lower = question.nfkc().collect::<String>().to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalising() {
        let check = |question: &str, expected: &str| assert_eq!(normalised(question), expected);
        check("  What's 2+2?\n", "what s 2 2");
        check("Ｆｕｌｌ ｗｉｄｔｈ", "full width");
        check("a_b--c", "a b c");
        check("?!", "");
    }

    #[test]
    fn a_key_decides_the_split() {
        let check = |key: &str, expected| assert_eq!(split_of_key(key), expected, "{key}");
        check("0000009500000000", Some(Split::Holdout)); // 149
        check("0000009600000000", Some(Split::Test)); // 150
        check("0000012c00000000", Some(Split::Validation)); // 300
        check("0000019000000000", Some(Split::Train)); // 400
        check("000003e800000000", Some(Split::Holdout)); // 1000
        check("short", None);
        check("not hex!", None);
    }

    #[test]
    fn the_same_question_has_the_same_key() {
        assert_eq!(split_key("What is Rust?"), split_key("what   is RUST"));
        assert_eq!(split_key("x").len(), 16);
    }
}
