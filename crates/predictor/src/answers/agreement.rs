//! Whether several replies to one question conclude the same.

use super::conclusion::Conclusion;

/// Numbers that differ by no more than this share of the larger are the same.
const SAME: f64 = 1e-6;

/// Share in [0, 1] of `others` that conclude the same as `first`; `None` without others. Conclusions are
/// options, numbers, or words, in this order ("self-consistency": Wang et al. 2023, arXiv:2203.11171).
pub fn agreement<'a>(first: &str, others: impl IntoIterator<Item = &'a str>) -> Option<f64> {
    let first = Concluded::read(first);
    let (mut n, mut n_same) = (0_usize, 0_usize);
    for other in others {
        n += 1;
        n_same += usize::from(first.is_same(&Concluded::read(other)));
    }
    (n > 0).then(|| n_same as f64 / n as f64)
}

enum Concluded {
    Option(char),
    Number(f64),
    Words(String),
}

impl Concluded {
    fn read(reply: &str) -> Self {
        let conclusion = Conclusion::read(reply);
        match (conclusion.letter(), conclusion.number) {
            (Some(letter), _) => Self::Option(letter),
            (None, Some(number)) => Self::Number(number),
            (None, None) => Self::Words(words(conclusion.text.unwrap_or(reply))),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Option(a), Self::Option(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => (a - b).abs() <= SAME * a.abs().max(b.abs()),
            (Self::Words(a), Self::Words(b)) => a == b,
            _ => false,
        }
    }
}

/// Letters and digits in lower case.
fn words(text: &str) -> String {
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(first: &str, others: &[&str], expected: Option<f64>) {
        assert_eq!(
            agreement(first, others.iter().copied()),
            expected,
            "{first:?} {others:?}"
        );
    }

    #[test]
    fn conclusions_are_compared_not_words() {
        check("6 x 7 = 42\n#### 42", &["It is 42.", "The answer is 41"], Some(0.5));
        check("The answer is (C).", &["Answer: C", "Answer: D", "17"], Some(1.0 / 3.0));
        check("Yes!", &["yes", "No."], Some(0.5));
        check("#### 0.1", &["0.1000000001"], Some(1.0));
        check("42", &[], None);
        check("", &["", "a"], Some(0.5));
    }
}
