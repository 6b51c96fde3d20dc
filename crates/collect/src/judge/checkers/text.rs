//! Text that is the same but for case, punctuation, articles and forms of one character.

use unicode_normalization::UnicodeNormalization;

use super::json;
use crate::judge::case::{Case, Verdict};

/// Compares the whole reply with the reference, both normalised. An empty reply is not parsed.
pub fn check(reply: &str, case: &Case<'_>) -> Verdict {
    compare(reply, reply, case)
}

/// The same with the answer that a reply in JSON names; the whole reply where it names none.
pub fn check_json_answer(reply: &str, case: &Case<'_>) -> Verdict {
    match json::answer(reply) {
        Some(answer) => compare(&answer, reply, case),
        None => Verdict::NotParsed("no JSON with an `answer` was found".to_owned()),
    }
}

fn compare(answer: &str, reply: &str, case: &Case<'_>) -> Verdict {
    let Some(reference) = case.reference_text() else {
        return Verdict::Failed("the prompt has no reference to compare with".to_owned());
    };
    if reply.trim().is_empty() {
        return Verdict::NotParsed("the reply is empty".to_owned());
    }
    let is_same = answer.trim() == reference.trim() || {
        let (answer, reference) = (normalised(answer), normalised(&reference));
        !reference.is_empty() && answer == reference
    };
    Verdict::of(is_same, if is_same { "the same text" } else { "another text" })
}

/// NFKC, lower case, no punctuation, no articles, single spaces. Signs inside numbers stay: -1.5
/// is not 15.
pub fn normalised(text: &str) -> String {
    let text: Vec<char> = text.nfkc().collect::<String>().to_lowercase().chars().collect();
    let kept = text
        .iter()
        .enumerate()
        .map(|(idx, &c)| if is_kept(&text, idx) { c } else { ' ' });
    let kept: String = kept.collect();
    let words = kept
        .split_whitespace()
        .filter(|word| !["a", "an", "the"].contains(word));
    words.collect::<Vec<_>>().join(" ")
}

fn is_kept(text: &[char], idx: usize) -> bool {
    let digit = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(char::is_ascii_digit);
    let (before, after) = (idx.checked_sub(1), Some(idx + 1));
    match text[idx] {
        '.' => digit(before) && digit(after),
        '-' => digit(after) && !before.is_some_and(|at| text[at].is_alphanumeric()),
        c => c.is_alphanumeric() || "+=<>%$€£°/*^".contains(c),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn normalising() {
        let check = |text: &str, expected: &str| assert_eq!(normalised(text), expected, "{text}");
        check("  The  Eiffel Tower.\n", "eiffel tower");
        check("Ｐａｒｉｓ", "paris");
        check("don't", "don t");
        check("-1.5", "-1.5");
        check("well-known", "well known");
        check("3.", "3");
        check("C++", "c++");
        check("...", "");
    }

    #[test]
    fn comparing() {
        let check = |reply: &str, reference: Value, expected: Option<f64>| {
            let case = Case {
                prompt: "",
                reference: Some(&reference),
                schema: None,
            };
            assert_eq!(super::check(reply, &case).value(), expected, "{reply}");
        };
        check("the Paris!", json!("paris"), Some(1.0));
        check("London", json!("Paris"), Some(0.0));
        check("42", json!(42), Some(1.0));
        check("", json!("Paris"), Some(0.0));
        check("...", json!("..."), Some(1.0));
        check("!!!", json!("..."), Some(0.0));
        let none = Case {
            prompt: "",
            reference: None,
            schema: None,
        };
        assert!(matches!(super::check("x", &none), Verdict::Failed(_)));
    }

    #[test]
    fn answers_in_json() {
        let reference = json!("['a', 1]");
        let case = Case {
            prompt: "",
            reference: Some(&reference),
            schema: None,
        };
        assert_eq!(
            check_json_answer("{\"answer\": \"['a', 1]\"}", &case).value(),
            Some(1.0)
        );
        assert!(matches!(check_json_answer("['a', 1]", &case), Verdict::NotParsed(_)));
    }
}
