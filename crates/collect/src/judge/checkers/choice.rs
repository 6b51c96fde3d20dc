//! The letter of a multiple-choice answer. What is stated last wins: models correct themselves.

use std::sync::LazyLock;

use regex::Regex;

use super::json;
use crate::judge::case::{Case, Verdict};

/// What may stand between "the answer is" and the letter: emphasis, mathematics, quotes, "option".
const OPENING: &str = r#"(?:[\s*_$`"'‘“:({\[]|\\[\[(!,]|\\(?:text|textbf|textit|mathrm|mathbf|boxed|bf)\b|(?i:\b(?:option|choice|letter|most\s+likely|probably|therefore|indeed)\b))*"#;

/// The letter itself, and that no word or number goes on after it.
const LETTER: &str = r"([A-Za-z])(?:[^\p{L}\p{N}'’_]|_(?:_|\s|$)|$)";

/// Statements of the answer, each with the letter as its only group.
static STATEMENTS: LazyLock<[Regex; 4]> = LazyLock::new(|| {
    [
        // The answer to this question is (C). The correct option would be C.
        format!(
            r"(?:(?i:\banswers?\b)|(?i:\b(?:correct|right|best)\s+(?:option|choice|statement|response|match)\b))[^.\n;]{{0,80}}?(?i:\b(?:is|be|are))\b{OPENING}{LETTER}"
        ),
        // Answer: C. {"answer": "C"}. **Answer:** C
        format!(r#"(?i:\banswer\b|\b(?:correct|right|best)\s+(?:option|choice)\b)["'*_\s]*[:=]{OPENING}{LETTER}"#),
        format!(r"\\boxed\s*{OPENING}{LETTER}"),
        // Option C is correct. (C) is the right answer.
        r"(?:(?i:\b(?:option|choice|answer)\s+)\(?|\()([A-Z])\)?[*_]*\s+(?i:is|would\s+be)\s+(?i:the\s+)?(?i:most\s+|only\s+)?(?i:correct|right|best)\b".to_owned(),
    ]
    .map(|pattern| Regex::new(&pattern).expect("the pattern is a constant"))
});

/// A letter that stands out where nothing is stated: bold or in brackets.
static MARKED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\*\*\(?([A-Z])\)?[.:)]?\*\*|\*\*\(?([A-Z])[.:)][^*\n]*\*\*|\(([A-Z])\)")
        .expect("the pattern is a constant")
});

/// A line that is a letter, or a letter and the text of its option.
static LINE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[\s*_(\[]*([A-Za-z])[\s*_]*(?:$|[.:)\]](?:\s|$))").expect("the pattern is a constant")
});

/// Which statement counts where a reply makes several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Statement {
    /// The last: models correct themselves.
    #[default]
    Last,
    /// The first, as MMLU-Pro's own script has it: models that were shown examples run on to new questions.
    First,
}

/// Compares the letter in `reply` with that of the reference.
pub fn check(reply: &str, case: &Case<'_>, statement: Statement) -> Verdict {
    let Some(reference) = case.reference_text() else {
        return Verdict::Failed("the prompt has no reference to compare with".to_owned());
    };
    let Some(expected) = letter_of_reference(&reference) else {
        return Verdict::Failed("the reference is no letter of an option".to_owned());
    };
    match letter(reply, statement) {
        Some(found) => Verdict::of(found == expected, format!("chose {found}")),
        None => Verdict::NotParsed("no choice was stated".to_owned()),
    }
}

/// The letter that a reply settles on, in upper case.
pub fn letter(reply: &str, statement: Statement) -> Option<char> {
    answer_in_json(reply)
        .or_else(|| stated(reply, statement))
        .or_else(|| at_the_end(reply))
}

/// A whole reply in JSON with an answer says it in one place.
fn answer_in_json(reply: &str) -> Option<char> {
    letter_of_reference(&json::answer(reply)?)
}

/// The statement of the answer that counts.
fn stated(reply: &str, statement: Statement) -> Option<char> {
    let found = STATEMENTS.iter().flat_map(|pattern| pattern.captures_iter(reply));
    let letters = found
        .filter_map(|captures| captures.get(1))
        .filter(|letter| is_choice(reply, letter));
    let counts = match statement {
        Statement::Last => letters.max_by_key(regex::Match::start)?,
        Statement::First => letters.min_by_key(regex::Match::start)?,
    };
    upper(counts.as_str())
}

/// Whether a letter after "the answer is" is a choice and no word: small letters only in brackets
/// or emphasis, no article, no "I think".
fn is_choice(reply: &str, letter: &regex::Match<'_>) -> bool {
    let before = reply[..letter.start()].chars().next_back();
    let after = &reply[letter.end()..];
    let is_wrapped = before.is_some_and(|c| "({[*_`\"'“‘$".contains(c));
    let goes_on = after
        .strip_prefix(' ')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_lowercase()));
    let is_word = ["A", "I"].contains(&letter.as_str()) && goes_on;
    is_wrapped || (letter.as_str().chars().all(char::is_uppercase) && !is_word)
}

/// Where nothing is stated: the last line is a letter and perhaps the text of its option, or one
/// letter stands out in it.
fn at_the_end(reply: &str) -> Option<char> {
    let line = reply.lines().rev().find(|line| !line.trim().is_empty())?;
    let alone = LINE
        .captures(line)
        .and_then(|captures| upper(captures.get(1)?.as_str()));
    alone.or_else(|| {
        let marked = MARKED.captures_iter(line);
        let mut letters = marked.filter_map(|captures| upper(captures.iter().skip(1).flatten().next()?.as_str()));
        let first = letters.next()?;
        letters.all(|other| other == first).then_some(first)
    })
}

fn letter_of_reference(reference: &str) -> Option<char> {
    let bare = reference.trim().trim_matches(|c: char| "()[]*.:\"' ".contains(c));
    let mut chars = bare.chars();
    let first = chars.next().filter(char::is_ascii_alphabetic)?;
    let rest = chars.as_str();
    (rest.is_empty() || rest.starts_with([')', '.', ':'])).then(|| first.to_ascii_uppercase())
}

fn upper(letter: &str) -> Option<char> {
    letter.chars().next().map(|letter| letter.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters() {
        let check = |reply: &str, expected: &str| {
            assert_eq!(
                letter(reply, Statement::Last).map(String::from).unwrap_or_default(),
                expected,
                "{reply}"
            );
        };
        check("The answer is (C).", "C");
        check("the answer is C", "C");
        check("Answer: C", "C");
        check("**Answer:** C", "C");
        check("**Answer: (C)**", "C");
        check("So the final answer is: **C. Paris**", "C");
        check("$\\boxed{C}$", "C");
        check("\\boxed{\\text{C}}", "C");
        check("Therefore, the answer is:\n\\[\n\\boxed{E}\n\\]", "E");
        check("**C**", "C");
        check("C", "C");
        check("(c)", "C");
        check("c", "C");
        check("C. Paris", "C");
        check("{\"answer\": \"C\"}", "C");
        check(
            "```json\n{\"reasoning\": \"The answer is (B)?\", \"answer\": \"C\"}\n```",
            "C",
        );
        check("The answer is (A). Wait, no. The answer is (D).", "D");
        check("The correct option is B.", "B");
        check("Option D is correct, the others are not.", "D");
        check("The answer is a cat.", "");
        check("The answer is A good one.", "");
        check("The answer is I think (B).", "B");
        check("I do not know.", "");
        check("Because X, the best choice is (J) since the others fail.", "J");
        check("The answer is option (F).", "F");
        check("The answer is $(G)$.", "G");
        check("", "");
    }

    #[test]
    fn first_or_last() {
        let reply = "The answer is (A).\nAnswer: B\nThe answer is (C).";
        assert_eq!(letter(reply, Statement::Last), Some('C'));
        assert_eq!(letter(reply, Statement::First), Some('A'));
    }

    #[test]
    fn references() {
        let check = |reference: &str, expected: Option<char>| assert_eq!(letter_of_reference(reference), expected);
        check("C", Some('C'));
        check("(c)", Some('C'));
        check("C. Paris", Some('C'));
        check("Paris", None);
        check("42", None);
    }
}
