//! Signs of a reply: what can be counted in it, checked in it, and held against its question.
//!
//! Each sign is a name and its formula on one line. All are finite and rounded to 1/1024 so that
//! libraries of mathematics agree on them. Which of them carry the signal: `evals/cascade`.

use std::collections::{BTreeSet, HashSet};

use super::arithmetic::equations;
use super::conclusion::{Conclusion, options};
use super::numbers::{Given, Key, key, numbers};
use super::work::Work;
use crate::surface::cut;

/// Quotations held against the question.
const MOST_QUOTATIONS: usize = 200;
/// Longest quotation, in characters.
const LONGEST_QUOTATION: usize = 60;

/// Number of signs.
pub(super) const N: usize = SIGNS.len();

/// The signs of a reply to a question, in the order of [`name`].
///
/// Time grows with either text up to [`crate::surface::ASK_BYTES`] and no further.
pub fn signs(question: &str, reply: &str) -> Vec<f32> {
    let (question_read, reply_read) = (cut(question), cut(reply));
    let reading = Reading::read(&question_read, &reply_read, reply.len());
    let value = |(_, sign): &(&str, Sign)| ((sign(&reading) * 1024.0).round() / 1024.0) as f32;
    SIGNS.iter().map(value).collect()
}

/// Name of the sign at a position.
pub fn name(sign: usize) -> Option<&'static str> {
    SIGNS.get(sign).map(|(name, _)| *name)
}

type Sign = fn(&Reading<'_>) -> f64;

const SIGNS: [(&str, Sign); 96] = [
    // Size and shape.
    ("bytes_log", |r| log(r.bytes)),
    ("words_log", |r| log(r.text.words)),
    ("lines_log", |r| log(r.text.lines)),
    ("sentences_log", |r| log(r.text.sentences)),
    ("length_ratio", |r| log(r.text.words) - log(r.question_words)),
    ("unique_words_ratio", |r| ratio(r.text.unique, r.text.words)),
    ("repetition", |r| r.text.repetition),
    ("longest_line_log", |r| log(r.text.longest_line)),
    ("overlap", |r| ratio(r.text.shared, r.question_unique)),
    ("novel_words_ratio", |r| {
        ratio(r.text.unique - r.text.shared, r.text.unique)
    }),
    ("ends", |r| flag(r.text.ends)),
    // Marks and words.
    ("equals_log", |r| log(r.text.count('='))),
    ("questions_log", |r| log(r.text.count('?'))),
    ("dollars_log", |r| log(r.text.count('$'))),
    ("percents_log", |r| log(r.text.count('%'))),
    ("backticks_log", |r| log(r.text.count('`'))),
    ("backslashes_log", |r| log(r.text.count('\\'))),
    ("parentheses_log", |r| log(r.text.count('('))),
    ("slashes_log", |r| log(r.text.count('/'))),
    ("angles_log", |r| log(r.text.count('<'))),
    ("digits_ratio", |r| ratio(r.text.digits, r.text.chars)),
    ("concessions_log", |r| log(r.text.groups[Group::Concession as usize])),
    ("assumptions_log", |r| log(r.text.groups[Group::Assumption as usize])),
    ("ignorance_log", |r| log(r.text.groups[Group::Ignorance as usize])),
    ("rounding_log", |r| log(r.text.groups[Group::Rounding as usize])),
    ("conclusions_log", |r| log(r.text.groups[Group::Conclusion as usize])),
    // Structure: calls, JSON, quotations.
    ("calls_log", |r| log(r.text.calls)),
    ("unbalanced", |r| flag(r.text.is_unbalanced())),
    ("quotations_log", |r| log(r.quotations)),
    ("novel_quotations_ratio", |r| ratio(r.novel_quotations, r.quotations)),
    ("novel_names_log", |r| log(r.novel_names)),
    // The conclusion.
    ("marked_hashes", |r| flag(r.conclusion.kind == 0)),
    ("marked_boxed", |r| flag(r.conclusion.kind == 1)),
    ("marked_json", |r| flag(r.conclusion.kind == 2)),
    ("marked_answer_is", |r| flag(r.conclusion.kind == 3)),
    ("marked_answer", |r| flag(r.conclusion.kind == 4)),
    ("unmarked", |r| flag(r.conclusion.kind == 5)),
    ("concludes_plainly", |r| flag(r.conclusion.is_plain)),
    ("concludes_number", |r| flag(r.conclusion.number.is_some())),
    ("concluded_log", |r| r.of_number(|n| (1.0 + n.abs()).log10())),
    ("concluded_integer", |r| r.of_number(|n| flag(n.fract() == 0.0))),
    ("concluded_negative", |r| r.of_number(|n| flag(n < 0.0))),
    ("concluded_zero", |r| r.of_number(|n| flag(n == 0.0))),
    ("concluded_one", |r| r.of_number(|n| flag(n.abs() == 1.0))),
    ("concluded_tens", |r| r.of_number(|n| flag(n != 0.0 && n % 10.0 == 0.0))),
    ("concluded_given", |r| {
        r.of_number(|n| flag(r.given.said.contains(&key(n))))
    }),
    ("concluded_to_given", |r| {
        r.of_number(|n| ((1e-3 + n.abs()) / (1e-3 + r.largest_given)).log10())
    }),
    ("concluded_last_result", |r| {
        r.of_number(|n| flag(r.work.results.last().is_some_and(|last| key(*last) == key(n))))
    }),
    ("concluded_a_result", |r| {
        r.of_number(|n| flag(r.work.distinct.contains(&key(n))))
    }),
    ("concluded_last_number", |r| {
        r.of_number(|n| flag(r.numbers.last() == Some(&key(n.abs()))))
    }),
    ("concluded_largest", |r| {
        r.of_number(|n| flag(r.work.distinct.last().is_some_and(|largest| key(n) >= *largest)))
    }),
    ("concluded_smallest", |r| {
        r.of_number(|n| flag(r.work.distinct.first().is_some_and(|least| key(n) <= *least)))
    }),
    // Numbers of the question and of the reply.
    ("given_log", |r| log(r.given.said.len())),
    ("suggested_log", |r| log(r.given.suggested.len() - r.given.said.len())),
    ("numbers_log", |r| log(r.numbers.len())),
    ("distinct_numbers_log", |r| log(r.distinct_numbers.len())),
    ("unmentioned_log", |r| log(r.unmentioned)),
    ("unmentioned_ratio", |r| ratio(r.unmentioned, r.given.said.len())),
    ("all_mentioned", |r| flag(r.unmentioned == 0)),
    ("novel_numbers_log", |r| log(r.novel_numbers)),
    ("novel_numbers_ratio", |r| {
        ratio(r.novel_numbers, r.distinct_numbers.len())
    }),
    // Equations, computed anew.
    ("equations_log", |r| log(r.work.n)),
    ("read_log", |r| log(r.work.read)),
    ("unread_log", |r| log(r.work.n - r.work.read)),
    ("wrong_log", |r| log(r.work.wrong)),
    ("any_wrong", |r| flag(r.work.wrong > 0)),
    ("wrong_ratio", |r| ratio(r.work.wrong, r.work.read)),
    ("rounded_log", |r| log(r.work.rounded)),
    ("fractional_log", |r| log(r.work.fractional)),
    ("negative_log", |r| log(r.work.negative)),
    ("additions_log", |r| log(r.work.operations[0])),
    ("subtractions_log", |r| log(r.work.operations[1])),
    ("multiplications_log", |r| log(r.work.operations[2])),
    ("divisions_log", |r| log(r.work.operations[3])),
    // Where their numbers come from and where they go.
    ("unsupported_log", |r| log(r.work.unsupported)),
    ("unsupported_ratio", |r| ratio(r.work.unsupported, r.work.operands)),
    ("from_question_log", |r| log(r.work.from_question)),
    ("from_results_log", |r| log(r.work.from_results)),
    ("depth", |r| f64::from(r.work.depth.min(20))),
    ("repeated_log", |r| log(r.work.repeated)),
    ("dangling_log", |r| log(r.work.dangling)),
    ("dangling_ratio", |r| ratio(r.work.dangling, r.work.distinct.len())),
    ("not_used_log", |r| log(r.work.not_used)),
    ("not_used_ratio", |r| ratio(r.work.not_used, r.given.said.len())),
    ("used_again_log", |r| log(r.work.used_again)),
    // Options to choose from.
    ("options_log", |r| log(r.choice.n)),
    ("option_named", |r| flag(r.choice.n > 0 && r.choice.letter > 0)),
    ("option_exists", |r| flag(r.choice.exists)),
    ("option_position", |r| f64::from(r.choice.letter)),
    ("option_quoted", |r| flag(r.choice.is_quoted)),
    ("other_options_quoted", |r| {
        ratio(r.choice.others_quoted, r.choice.n.saturating_sub(1))
    }),
    ("option_numeric", |r| flag(r.choice.is_numeric)),
    ("option_number_found", |r| {
        flag(r.choice.is_numeric && r.choice.number_found)
    }),
    ("option_number_missing", |r| {
        flag(r.choice.is_numeric && !r.choice.number_found)
    }),
    ("option_longest", |r| flag(r.choice.is_longest)),
    ("option_all_or_none", |r| flag(r.choice.is_all_or_none)),
];

/// All that the signs read of a question and a reply.
struct Reading<'a> {
    bytes: usize,
    text: Text,
    question_words: usize,
    question_unique: usize,
    quotations: usize,
    novel_quotations: usize,
    novel_names: usize,
    conclusion: Conclusion<'a>,
    given: Given,
    largest_given: f64,
    /// Before the conclusion.
    numbers: Vec<Key>,
    distinct_numbers: BTreeSet<Key>,
    unmentioned: usize,
    novel_numbers: usize,
    work: Work,
    choice: Choice,
}

impl<'a> Reading<'a> {
    fn read(question: &str, reply: &'a str, bytes: usize) -> Self {
        let (lower_question, lower) = (question.to_lowercase(), reply.to_lowercase());
        let question_words: Vec<&str> = words(&lower_question).collect();
        let asked: HashSet<&str> = question_words.iter().copied().collect();
        let conclusion = Conclusion::read(reply);
        let given = Given::read(question, &lower_question);
        let values: Vec<f64> = numbers(&reply[..conclusion.at])
            .iter()
            .map(|number| number.value)
            .collect();
        let distinct_numbers: BTreeSet<Key> = values.iter().map(|value| key(*value)).collect();
        let is_mentioned = |said: &Key| {
            [*said, said / 100, said.saturating_mul(100)]
                .iter()
                .any(|k| distinct_numbers.contains(k))
        };
        let (quotations, novel_quotations) = quotations(&lower, &lower_question);
        Self {
            bytes,
            text: Text::read(reply, &lower, &asked),
            question_words: question_words.len(),
            question_unique: asked.len(),
            quotations,
            novel_quotations,
            novel_names: novel_names(reply, &asked),
            largest_given: given.said.last().map_or(1.0, |largest| *largest as f64 / 1e4),
            unmentioned: given.said.iter().filter(|said| !is_mentioned(said)).count(),
            novel_numbers: distinct_numbers.difference(&given.digits).count(),
            work: Work::read(&equations(reply), &given, conclusion.number),
            choice: Choice::read(question, &lower, &conclusion, &values),
            numbers: values.iter().map(|value| key(*value)).collect(),
            distinct_numbers,
            given,
            conclusion,
        }
    }

    /// 0 where no number is concluded.
    fn of_number(&self, formula: impl Fn(f64) -> f64) -> f64 {
        self.conclusion.number.map_or(0.0, formula)
    }
}

/// Words are longest runs of letters and digits.
fn words(lower: &str) -> impl Iterator<Item = &str> {
    lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// Counts in the text of a reply.
struct Text {
    chars: usize,
    digits: usize,
    words: usize,
    unique: usize,
    /// Different words that are in the question too.
    shared: usize,
    repetition: f64,
    lines: usize,
    longest_line: usize,
    sentences: usize,
    calls: usize,
    ends: bool,
    ascii: [usize; 128],
    groups: [usize; N_GROUPS],
}

impl Text {
    fn read(reply: &str, lower: &str, asked: &HashSet<&str>) -> Self {
        let words: Vec<&str> = words(lower).collect();
        let unique: HashSet<&str> = words.iter().copied().collect();
        let triples: HashSet<&[&str]> = words.windows(3).collect();
        let mut text = Self {
            chars: 0,
            digits: 0,
            words: words.len(),
            unique: unique.len(),
            shared: unique.intersection(asked).count(),
            repetition: 1.0 - triples.len() as f64 / words.len().saturating_sub(2).max(1) as f64,
            lines: reply.lines().count(),
            longest_line: reply.lines().map(str::len).max().unwrap_or(0),
            sentences: 0,
            calls: 0,
            ends: reply
                .trim_end()
                .ends_with(|c: char| c.is_numeric() || ".!?)]}\"'`。！？」".contains(c)),
            ascii: [0; 128],
            groups: [0; N_GROUPS],
        };
        text.repetition = if words.len() < 3 { 0.0 } else { text.repetition };
        for group in words.iter().filter_map(|word| group(word)) {
            text.groups[group as usize] += 1;
        }
        text.count_chars(reply);
        text
    }

    fn count_chars(&mut self, reply: &str) {
        let mut before = ' ';
        for c in reply.chars() {
            self.chars += 1;
            self.digits += usize::from(c.is_numeric());
            if let Some(count) = self.ascii.get_mut(c as usize) {
                *count += 1;
            }
            self.sentences += usize::from((c.is_whitespace() && ".!?".contains(before)) || "。！？".contains(c));
            self.calls += usize::from(c == '(' && (before.is_alphanumeric() || before == '_'));
            before = c;
        }
        self.sentences += usize::from(".!?".contains(before));
    }

    fn count(&self, c: char) -> usize {
        self.ascii.get(c as usize).copied().unwrap_or(0)
    }

    fn is_unbalanced(&self) -> bool {
        [('(', ')'), ('[', ']'), ('{', '}')]
            .iter()
            .any(|(open, close)| self.count(*open) != self.count(*close))
    }
}

/// Quotations in a reply, and how many of them the question does not contain.
fn quotations(lower: &str, lower_question: &str) -> (usize, usize) {
    let (mut n, mut novel, mut rest) = (0, 0, lower);
    while let Some(open) = rest.find(['"', '\'']).filter(|_| n < MOST_QUOTATIONS) {
        rest = &rest[open + 1..];
        let closes = |(_, c): &(usize, char)| matches!(c, '"' | '\'' | '\n');
        let end = rest.char_indices().take(LONGEST_QUOTATION + 1).find(closes);
        if let Some((end, '"' | '\'')) = end.filter(|(end, _)| *end > 0) {
            n += 1;
            novel += usize::from(!lower_question.contains(&rest[..end]));
            rest = &rest[end + 1..];
        }
    }
    (n, novel)
}

/// Different words with a capital that the question does not have.
fn novel_names(reply: &str, asked: &HashSet<&str>) -> usize {
    let is_name = |word: &&str| word.len() > 1 && word.starts_with(char::is_uppercase);
    let names: HashSet<String> = words(reply).filter(is_name).map(str::to_lowercase).collect();
    names.iter().filter(|name| !asked.contains(name.as_str())).count()
}

/// The option that a reply chooses.
#[derive(Default)]
struct Choice {
    n: usize,
    /// 1 for `A`; 0 where none is named or the question has no options.
    letter: u32,
    exists: bool,
    is_quoted: bool,
    others_quoted: usize,
    is_numeric: bool,
    /// Among the last numbers before the conclusion.
    number_found: bool,
    is_longest: bool,
    is_all_or_none: bool,
}

impl Choice {
    fn read(question: &str, lower: &str, conclusion: &Conclusion<'_>, values: &[f64]) -> Self {
        let options = options(question);
        let letter = conclusion.letter();
        let is_chosen = |option: &&(char, &str)| Some(option.0) == letter;
        let is_quoted = |option: &&(char, &str)| !option.1.is_empty() && lower.contains(&option.1.to_lowercase());
        let chosen = options.iter().find(is_chosen);
        let text = chosen.map_or(String::new(), |(_, text)| text.to_lowercase());
        let number = numbers(&text).first().map(|number| number.value);
        let last = &values[values.len().saturating_sub(4)..];
        Self {
            n: options.len(),
            letter: if options.is_empty() {
                0
            } else {
                letter.map_or(0, |letter| letter as u32 - 64)
            },
            exists: chosen.is_some(),
            is_quoted: chosen.as_ref().is_some_and(is_quoted),
            others_quoted: options
                .iter()
                .filter(|option| !is_chosen(option))
                .filter(is_quoted)
                .count(),
            is_numeric: number.is_some(),
            number_found: number.is_some_and(|n| last.iter().any(|value| (value - n).abs() <= 0.005 * n.abs())),
            is_longest: chosen.is_some_and(|(_, text)| options.iter().all(|(_, other)| other.len() <= text.len())),
            is_all_or_none: text.contains("none of") || text.contains("all of"),
        }
    }
}

/// English words that say how sure a reply is of itself. A word is in one group.
#[derive(Clone, Copy)]
enum Group {
    Concession,
    Assumption,
    Ignorance,
    Rounding,
    /// The last, see [`N_GROUPS`].
    Conclusion,
}

const N_GROUPS: usize = Group::Conclusion as usize + 1;

fn group(word: &str) -> Option<Group> {
    Some(match word {
        "however" | "but" | "actually" | "wait" | "sorry" | "mistake" | "apologize" | "unfortunately" | "though"
        | "although" => Group::Concession,
        "assume" | "assuming" | "assumed" | "since" | "if" | "let" | "suppose" | "same" => Group::Assumption,
        "cannot" | "can" | "not" | "unclear" | "unknown" | "impossible" | "specify" | "specified" | "enough"
        | "information" | "insufficient" | "none" | "unable" => Group::Ignorance,
        "round" | "rounded" | "rounding" | "approximately" | "about" | "roughly" | "nearly" | "estimate"
        | "closest" => Group::Rounding,
        "therefore" | "thus" | "so" | "hence" | "total" | "finally" => Group::Conclusion,
        _ => return None,
    })
}

/// ln(1 + count).
fn log(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().unwrap_or(u32::MAX)).ln_1p()
}

/// 0 where there is nothing.
fn ratio(part: impl TryInto<u32>, whole: impl TryInto<u32>) -> f64 {
    let of = |count: u32| f64::from(count);
    of(part.try_into().unwrap_or(u32::MAX)) / of(whole.try_into().unwrap_or(u32::MAX).max(1))
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const QUESTION: &str = "A box has 3 rows of 4 pens. 5 pens are lost. How many are left?";

    fn check(question: &str, reply: &str, expected: &[(&str, f64)]) {
        let found = signs(question, reply);
        for (wanted, value) in expected {
            let at = (0..N).find(|sign| name(*sign) == Some(wanted)).expect(wanted);
            assert!(
                (f64::from(found[at]) - value).abs() < 1e-3,
                "{wanted} of {reply:?} is {}",
                found[at]
            );
        }
    }

    #[test]
    fn a_sound_reply() {
        let expected = [
            ("any_wrong", 0.0),
            ("concluded_integer", 1.0),
            ("concluded_last_result", 1.0),
            ("unmentioned_ratio", 0.0),
            ("dangling_log", 0.0),
            ("marked_hashes", 1.0),
            ("depth", 2.0),
            ("ends", 1.0),
            ("options_log", 0.0),
        ];
        check(
            QUESTION,
            "There are 3 * 4 = 12 pens. 12 - 5 = 7 are left.\n#### 7",
            &expected,
        );
    }

    #[test]
    fn an_unsound_reply() {
        let expected = [
            ("any_wrong", 1.0),
            ("wrong_ratio", 1.0),
            ("concluded_integer", 0.0),
            ("concluded_last_result", 0.0),
            ("unmentioned_ratio", 1.0 / 3.0),
            ("concessions_log", 2.0_f64.ln()),
            ("unbalanced", 1.0),
            ("ends", 0.0),
        ];
        check(QUESTION, "However (3 * 4 = 13, so about 6.5 are left and", &expected);
    }

    #[test]
    fn options_and_quotations() {
        let question = "Pick the 'red' one.\nA. a red ball of 12 cm\nB. none of these\nC. 7";
        let expected = [
            ("options_log", 4.0_f64.ln()),
            ("option_position", 1.0),
            ("option_exists", 1.0),
            ("option_quoted", 1.0),
            ("option_number_found", 1.0),
            ("option_longest", 1.0),
            ("quotations_log", 3.0_f64.ln()),
            ("novel_quotations_ratio", 0.5),
        ];
        check(
            question,
            "It has 12 cm, so a red ball of 12 cm is 'red', not 'blue'. The answer is (A).",
            &expected,
        );
        check(
            question,
            "The answer is (Z).",
            &[("option_exists", 0.0), ("option_position", 0.0)],
        );
        check(
            question,
            "The answer is (B).",
            &[("option_all_or_none", 1.0), ("option_numeric", 0.0)],
        );
    }

    #[test]
    fn calls() {
        let expected = [
            ("calls_log", 3.0_f64.ln()),
            ("unbalanced", 0.0),
            ("novel_numbers_ratio", 0.5),
        ];
        check("Add 3 in my_app", "[add(a=3), stop(after=9)]", &expected);
    }

    #[test]
    fn odd_text_is_read() {
        let odd = [
            "",
            " ",
            "😀",
            "İ = İ",
            "漢字。３＋４＝７",
            "\0\u{202e}####",
            "e\u{301}(",
            "'",
            "'é",
            "####",
            "\\boxed{",
            "A.",
            "-",
            "1e999 = 1/0",
        ];
        for question in odd {
            for reply in odd {
                let found = signs(question, reply);
                assert!(
                    found.iter().all(|value| value.is_finite() && value.abs() < 100.0),
                    "{question:?} {reply:?}"
                );
            }
        }
    }

    #[test]
    fn long_replies_cost_no_more_than_the_part_that_is_read() {
        let start = Instant::now();
        for piece in ["1+1=3 ", "'a' ", "(((", "A. x\n", "#### 1 ", "word ", "漢", "9", "="] {
            let long = piece.repeat(200_000);
            let found = signs(&long, &long);
            assert!(found.iter().all(|value| value.is_finite()), "{piece:?}");
        }
        assert!(start.elapsed().as_secs() < 10, "took {:?}", start.elapsed());
    }

    #[test]
    fn names_differ() {
        let names: BTreeSet<_> = (0..N).map(name).collect();
        assert_eq!(names.len(), N);
        assert_eq!(name(N), None);
    }

    #[test]
    fn signs_of_fixed_texts_stay_as_they_are() {
        let reply = "3 x 4 = 12, and 12 - 5 = 8. The answer is (B), \"8\" — approximately.";
        let found = signs(QUESTION, reply);
        let bytes = found.iter().flat_map(|value| value.to_bits().to_le_bytes());
        let fingerprint = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        assert_eq!(
            fingerprint, 0x1c8a_375a_3e6b_c684,
            "signs changed ({fingerprint:#018x}): bump SIGNS_VERSION and train the cascade anew"
        );
    }
}
