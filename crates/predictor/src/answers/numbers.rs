//! Numbers in a text: in digits, and for the question in English words too.

use std::collections::BTreeSet;

/// Larger numbers are cut to this: they are compared in steps of 1/10,000 as 64-bit integers.
const LARGEST: f64 = 1e14;

/// More would not change a key.
const MOST_DECIMALS: usize = 13;

/// A number as it is compared: rounded to 1/10,000.
pub(super) type Key = i64;

/// The key of a number; what is not finite is 0.
pub(super) fn key(value: f64) -> Key {
    (value.clamp(-LARGEST, LARGEST) * 1e4).round() as i64
}

/// A number in digits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number {
    /// Never negative; at most 1e14.
    pub(super) value: f64,
    /// Where its first byte is.
    pub(super) start: usize,
    /// After its last byte.
    pub(super) end: usize,
}

/// The number that starts at a byte, such as `12`, `1,200.50` or `.5`.
pub(super) fn number_at(text: &str, start: usize) -> Option<Number> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut value = 0.0;
    let mut end = start + digits(start);
    append(&mut value, &bytes[start..end]);
    if (1..=3).contains(&(end - start)) {
        while bytes.get(end) == Some(&b',') && digits(end + 1) == 3 {
            append(&mut value, &bytes[end + 1..end + 4]);
            end += 4;
        }
    }
    if bytes.get(end) == Some(&b'.') {
        let decimals = digits(end + 1);
        let mut part = 0.0;
        let n_read = decimals.min(MOST_DECIMALS);
        append(&mut part, &bytes[end + 1..end + 1 + n_read]);
        value += part / 10_f64.powi(n_read as i32);
        end += if decimals > 0 { 1 + decimals } else { 0 };
    }
    (end > start).then_some(Number {
        value: value.min(LARGEST),
        start,
        end,
    })
}

fn append(value: &mut f64, digits: &[u8]) {
    for digit in digits {
        *value = (*value * 10.0 + f64::from(digit - b'0')).min(LARGEST);
    }
}

/// All numbers in digits, in order.
pub(super) fn numbers(text: &str) -> Vec<Number> {
    let (bytes, mut at, mut found) = (text.as_bytes(), 0, Vec::new());
    while at < bytes.len() {
        let may_start = bytes[at].is_ascii_digit() || bytes[at] == b'.';
        match number_at(text, at).filter(|_| may_start) {
            Some(number) => {
                at = number.end;
                found.push(number);
            }
            None => at += 1,
        }
    }
    found
}

/// The numbers that a question gives.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// In digits alone.
    pub(super) digits: BTreeSet<Key>,
    /// In digits and in words: `12`, `twelve`, `dozen`, `half`, `twice`.
    pub(super) said: BTreeSet<Key>,
    /// With those that a word only suggests: the seven days of a `week`.
    pub(super) suggested: BTreeSet<Key>,
}

impl Given {
    /// Reads a question; `lower` is the same in lower case.
    pub(super) fn read(question: &str, lower: &str) -> Self {
        let digits: BTreeSet<Key> = numbers(question).iter().map(|number| key(number.value)).collect();
        let mut given = Self {
            said: digits.clone(),
            suggested: digits.clone(),
            digits,
        };
        for word in lower.split(|c: char| !c.is_alphabetic()) {
            if let Some((value, said)) = word_value(word) {
                given.suggested.insert(key(value));
                if said {
                    given.said.insert(key(value));
                }
            }
        }
        given
    }

    /// Whether a number is said or suggested, also as a percentage.
    pub(super) fn explains(&self, value: f64) -> bool {
        self.suggested.contains(&key(value)) || self.suggested.contains(&key(value * 100.0))
    }
}

/// What an English word counts, and whether it says so plainly.
fn word_value(word: &str) -> Option<(f64, bool)> {
    const UNITS: [&str; 21] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
    ];
    if let Some(unit) = UNITS.iter().position(|unit| *unit == word) {
        // "One" is mostly an article.
        return Some((unit as f64, unit != 1));
    }
    let said = |value| Some((value, true));
    let suggested = |value| Some((value, false));
    match word {
        "thirty" => said(30.0),
        "forty" => said(40.0),
        "fifty" => said(50.0),
        "sixty" => said(60.0),
        "seventy" => said(70.0),
        "eighty" => said(80.0),
        "ninety" => said(90.0),
        "hundred" => said(100.0),
        "thousand" => said(1e3),
        "million" => said(1e6),
        "dozen" => said(12.0),
        "half" | "halves" => said(0.5),
        "twice" | "double" | "doubles" | "doubled" => said(2.0),
        "triple" | "triples" | "tripled" | "thrice" => said(3.0),
        "third" | "thirds" => said(1.0 / 3.0),
        "fourth" | "quarter" | "quarters" => said(0.25),
        "fifth" => said(0.2),
        "tenth" => said(0.1),
        "once" => suggested(1.0),
        "both" | "couple" | "pair" => suggested(2.0),
        "week" | "weeks" | "weekly" => suggested(7.0),
        "year" | "years" => suggested(12.0),
        "day" => suggested(24.0),
        "hour" | "hours" | "minute" | "minutes" => suggested(60.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[f64]) {
        let found: Vec<f64> = numbers(text).iter().map(|number| number.value).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn numbers_in_digits() {
        check("", &[]);
        check("no. none... 漢字 😀", &[]);
        check("3 cats, 12.5 dogs and .5 of a fish.", &[3.0, 12.5, 0.5]);
        check(
            "$1,234,567.25, then 1,23 and 12345,678",
            &[1_234_567.25, 1.0, 23.0, 12345.0, 678.0],
        );
        check("1.2.3", &[1.2, 0.3]);
        check("7é8", &[7.0, 8.0]);
        check(&"9".repeat(400), &[LARGEST]);
        check(&format!("0.{}", "3".repeat(400)), &[0.333_333_333_333_3]);
    }

    #[test]
    fn words_count_too() {
        let question = "Two dozen eggs at 50 cents; half break within a week. One is left.";
        let given = Given::read(question, &question.to_lowercase());
        let keys = |values: &[f64]| -> BTreeSet<Key> { values.iter().map(|value| key(*value)).collect() };
        assert_eq!(given.digits, keys(&[50.0]));
        assert_eq!(given.said, keys(&[2.0, 12.0, 50.0, 0.5]));
        assert_eq!(given.suggested, keys(&[2.0, 12.0, 50.0, 0.5, 7.0, 1.0]));
        assert!(given.explains(0.12) && !given.explains(13.0));
    }

    #[test]
    fn keys_of_odd_values() {
        assert_eq!(key(f64::NAN), 0);
        assert_eq!(key(f64::INFINITY), key(1e300));
        assert_eq!(key(0.1 + 0.2), key(0.3));
    }
}
