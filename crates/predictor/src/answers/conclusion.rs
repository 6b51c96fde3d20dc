//! What an answer concludes: the text after its last marker, the number or the option in it.

use super::numbers::{Number, number_at, numbers};
use crate::surface::option;

/// Characters read after a marker.
const READ_AFTER: usize = 60;

/// Ways to mark a conclusion, the plainest first; matched in ASCII lower case.
const MARKERS: [&str; 5] = ["####", "\\boxed{", "\"answer\"", "answer is", "answer:"];

/// The conclusion of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conclusion<'a> {
    /// Position in the list of markers, or its length.
    pub(super) kind: usize,
    /// The rest of the marker's line.
    pub(super) text: Option<&'a str>,
    /// Where the marker starts; the end of the answer without one.
    pub(super) at: usize,
    /// The first number after the marker, or the last of all.
    pub(super) number: Option<f64>,
    /// Whether the conclusion is a number and no more.
    pub(super) is_plain: bool,
}

impl<'a> Conclusion<'a> {
    /// Reads an answer.
    pub(super) fn read(answer: &'a str) -> Self {
        let lower = answer.to_ascii_lowercase();
        let found = MARKERS
            .iter()
            .enumerate()
            .find_map(|(kind, marker)| Some((kind, lower.rfind(marker)?, marker.len())));
        let Some((kind, at, length)) = found else {
            return Self {
                kind: MARKERS.len(),
                text: None,
                at: answer.len(),
                number: numbers(answer).last().map(|number| number.value),
                is_plain: false,
            };
        };
        let text = after(&answer[at + length..]);
        let number = first_number(text);
        Self {
            kind,
            text: Some(text),
            at,
            number: number.map(|(value, _)| value),
            is_plain: number.is_some_and(|(_, length)| {
                text.trim_matches(|c: char| c.is_whitespace() || "\".}*$'".contains(c))
                    .len()
                    <= length + 2
            }),
        }
    }

    /// The letter of the option that is chosen, `A` to `J`.
    pub(super) fn letter(&self) -> Option<char> {
        let text = self.text?;
        let stands_alone = |at: usize| {
            let before = text[..at].chars().next_back();
            let after = text[at + 1..].chars().next();
            [before, after].into_iter().flatten().all(|c| !c.is_alphanumeric())
        };
        text.char_indices()
            .find(|(at, c)| ('A'..='J').contains(c) && stands_alone(*at))
            .map(|(_, letter)| letter)
    }
}

/// The rest of the line without the colon, cut.
fn after(rest: &str) -> &str {
    let rest = rest.trim_start_matches([' ', ':', '"', '*']);
    let line = rest.lines().next().unwrap_or("");
    let end = line.char_indices().nth(READ_AFTER).map_or(line.len(), |(at, _)| at);
    &line[..end]
}

/// The first number with its sign, and how many bytes it has.
fn first_number(text: &str) -> Option<(f64, usize)> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let start = if text[..start].ends_with('.') { start - 1 } else { start };
    let Number { value, end, .. } = number_at(text, start)?;
    let before = text[..start].trim_end_matches([' ', '$', '£', '€']);
    let is_negative = before.ends_with(['-', '−']);
    Some((
        if is_negative { -value } else { value },
        end - start + usize::from(is_negative),
    ))
}

/// The options of a question, in order: letter and text.
pub(super) fn options(question: &str) -> Vec<(char, &str)> {
    let lines = question.lines().map(str::trim);
    lines
        .filter_map(|line| Some((line.trim_start_matches('(').chars().next()?, option(line)?.trim())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, kind: usize, number: Option<f64>, letter: Option<char>) {
        let found = Conclusion::read(answer);
        assert_eq!(
            (found.kind, found.number, found.letter()),
            (kind, number, letter),
            "{answer:?}"
        );
    }

    #[test]
    fn markers() {
        check("1 + 1 = 2\n#### 2", 0, Some(2.0), None);
        check("#### 7\n#### -$1,250.50 only", 0, Some(-1250.5), None);
        check("So \\boxed{.5} it is.", 1, Some(0.5), None);
        check("{\"reasoning\": \"9 and 3\", \"answer\": \"12\"}", 2, Some(12.0), None);
        check("The Answer is (C).", 3, None, Some('C'));
        check("Answer: **B**", 4, None, Some('B'));
        check("the answer is BAD", 3, None, None);
        check("First 4, then 9.", 5, Some(9.0), None);
        check("", 5, None, None);
        check("ÄÖ####", 0, None, None);
    }

    #[test]
    fn plain_numbers() {
        assert!(Conclusion::read("#### 12").is_plain);
        assert!(Conclusion::read("{\"answer\": \"$12\"}").is_plain);
        assert!(!Conclusion::read("#### 12 or perhaps 13").is_plain);
        assert!(!Conclusion::read("12").is_plain);
    }

    #[test]
    fn options_of_a_question() {
        assert_eq!(
            options("Which?\nA. one\n (B) two \nC: x"),
            [('A', "one"), ('B', "two"), ('C', "x")]
        );
        assert!(options("A cat.\nB").is_empty());
    }
}
