//! Numbers with a tolerance: what a reply gives as its answer, else its last number.

use std::sync::LazyLock;

use regex::Regex;

use super::json;
use crate::judge::case::{Case, Verdict};

/// How far a number may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Absolute.
    pub absolute: f64,
    /// As a share of the reference.
    pub relative: f64,
}

/// A number as written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// Its value; of 45 % it is 45.
    pub value: f64,
    /// Whether a percent sign follows.
    pub is_percent: bool,
}

/// A fraction, or a number with thousands separators, decimals, exponent; then perhaps a percent sign.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    let plain = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)";
    let exponent = r"(?:[eE][+-]?\d{1,3}|\s*(?:\\times|×|\*)\s*10\s*\^\s*\{?\s*(?P<power>[-−]?\d{1,3})\s*\}?)?";
    let pattern = format!(
        r"(?P<sign>[-−]\s?)?[$€£]?\s?(?:\\[dt]?frac\s*\{{\s*(?P<lsign>[-−])?(?P<top>{plain})\s*\}}\s*\{{\s*(?P<bottom>{plain})\s*\}}|(?P<over>{plain})\s*/\s*(?P<under>{plain})|(?P<plain>{plain}){exponent})\s*(?P<percent>\\?%|percent\b)?"
    );
    Regex::new(&pattern).expect("the pattern is a constant")
});

/// Where a reply states its answer, strongest first. The number follows.
static STATEMENTS: LazyLock<[Regex; 3]> = LazyLock::new(|| {
    [
        r"####",
        r"\\boxed\s*\{",
        r"(?i)\banswer\b(?:[^.\n\d;]{0,60}?\bis\b|[*_\s]*[:=])",
    ]
    .map(|pattern| Regex::new(pattern).expect("the pattern is a constant"))
});

/// Compares the number of `reply` with the reference.
pub fn check(reply: &str, case: &Case<'_>, tolerance: Tolerance) -> Verdict {
    let Some(reference) = case.reference_text() else {
        return Verdict::Failed("the prompt has no reference to compare with".to_owned());
    };
    let Some(expected) = answer(&reference) else {
        return Verdict::Failed("the reference has no number".to_owned());
    };
    match answer(reply) {
        Some(found) => Verdict::of(is_near(found, expected, tolerance), format!("found {}", found.value)),
        None => Verdict::NotParsed("no number was found".to_owned()),
    }
}

/// The number that a reply gives: in its JSON, after `####`, in `\boxed{}`, after "the answer is",
/// else the last one.
pub fn answer(reply: &str) -> Option<Number> {
    let in_json = json::answer(reply).and_then(|answer| last(&clean(&answer)));
    in_json.or_else(|| {
        let text = clean(reply);
        stated(&text).or_else(|| last(&text))
    })
}

fn stated(text: &str) -> Option<Number> {
    STATEMENTS.iter().find_map(|statement| {
        let after = statement.find_iter(text).last()?.end();
        // To the end of the statement; "the answer is 3 times 4 = 12" means the last one there.
        let line = text[after..].trim_start().lines().next().unwrap_or("");
        let line = line.split(". ").next().unwrap_or(line);
        let has_working = line.contains('=') && !statement.as_str().contains("boxed");
        if has_working { last(line) } else { first(line) }
    })
}

fn first(text: &str) -> Option<Number> {
    NUMBER.captures_iter(text).find_map(|captures| number(text, &captures))
}

fn last(text: &str) -> Option<Number> {
    NUMBER
        .captures_iter(text)
        .filter_map(|captures| number(text, &captures))
        .last()
}

/// What stands between digits without meaning in LaTeX and typography, taken away.
fn clean(text: &str) -> String {
    text.replace("{,}", ",")
        .replace("\\,", "")
        .replace("\\!", "")
        .replace("\\$", "$")
        .replace(['\u{202f}', '\u{2009}'], "")
}

fn number(text: &str, captures: &regex::Captures<'_>) -> Option<Number> {
    let part = |name: &str| captures.name(name).map(|part| part.as_str());
    let parsed = |name: &str| part(name).and_then(|part| part.replace(',', "").parse::<f64>().ok());
    let whole = captures.get(0)?;
    // The dash of a range or a name ("3-4", "GPT-4") is no sign.
    let before = text[..whole.start()].chars().next_back();
    let is_sign = part("sign").is_some() && !before.is_some_and(|c| c.is_alphanumeric() || c == ')');
    let value = match (parsed("top").zip(parsed("bottom")), parsed("over").zip(parsed("under"))) {
        (Some((top, bottom)), _) | (None, Some((top, bottom))) => top / bottom,
        (None, None) => {
            let mantissa = parsed("plain")?;
            let exponent = exponent_of(whole.as_str());
            let power = part("power").and_then(|power| power.replace('−', "-").parse::<i32>().ok());
            mantissa * 10_f64.powi(power.unwrap_or(exponent))
        }
    };
    let negative = is_sign != part("lsign").is_some();
    let value = if negative { -value } else { value };
    value.is_finite().then_some(Number {
        value,
        is_percent: part("percent").is_some(),
    })
}

/// The exponent of 1.5e3.
fn exponent_of(written: &str) -> i32 {
    let digits = written.trim_end_matches(|c: char| !c.is_ascii_digit());
    digits
        .split_once(['e', 'E'])
        .and_then(|(_, exponent)| exponent.parse().ok())
        .unwrap_or(0)
}

/// Whether two numbers are the same but for the tolerance. 45 % is 45 and 0.45, since references
/// are written both ways.
fn is_near(found: Number, expected: Number, tolerance: Tolerance) -> bool {
    let near = |found: f64, expected: f64| {
        (found - expected).abs() <= tolerance.absolute.max(tolerance.relative * expected.abs()).max(1e-12)
    };
    near(found.value, expected.value)
        || (found.is_percent && !expected.is_percent && near(found.value / 100.0, expected.value))
        || (expected.is_percent && !found.is_percent && near(found.value, expected.value / 100.0))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn answers() {
        let check = |reply: &str, expected: f64| {
            let found = answer(reply).map_or(f64::NAN, |number| number.value);
            assert!(
                (found - expected).abs() < 1e-9 * expected.abs().max(1.0),
                "{reply}: {found}"
            );
        };
        check("It costs $1,234.50 in all.", 1234.5);
        check("First 3, then 4, so 7 apples", 7.0);
        check("so 5 * 2 = 10\n#### 17500\n", 17500.0);
        check("#### $1,000", 1000.0);
        check("\\boxed{42}", 42.0);
        check("\\boxed{\\frac{3}{4}}", 0.75);
        check("\\boxed{-\\frac{3}{4}}", -0.75);
        check("\\boxed{\\frac{-3}{4}}", -0.75);
        check("\\boxed{1{,}234}", 1234.0);
        check("\\boxed{29\\,700}", 29700.0);
        check("\\boxed{12 \\text{ cm}^2}", 12.0);
        check("The answer is 3/4.", 0.75);
        check("The answer is 12 kg, which is more than 10 kg.", 12.0);
        check("The answer is 3 x 4 = 12.", 12.0);
        check("**Answer:** 45%", 45.0);
        check("{\"reasoning\": \"2 + 2 = 4, and 9\", \"answer\": \"$ 4.0\"}", 4.0);
        check("{\"answer\": 7}", 7.0);
        check("minus: -5", -5.0);
        check("\u{2212}5", -5.0);
        check("from 3-4", 4.0);
        check("1.5e3", 1500.0);
        check("6.02 \\times 10^{23}", 6.02e23);
        check("the total is .5", 0.5);
        check("On 12,5 and 300", 300.0);
    }

    #[test]
    fn nothing_to_find() {
        for reply in ["", "none", "x = y", "1/0"] {
            assert_eq!(answer(reply), None, "{reply}");
        }
    }

    #[test]
    fn comparing() {
        let check = |reply: &str, reference: Value, expected: f64| {
            let case = Case {
                prompt: "",
                reference: Some(&reference),
                schema: None,
            };
            let tolerance = Tolerance {
                absolute: 0.01,
                relative: 1e-6,
            };
            assert_eq!(super::check(reply, &case, tolerance).value(), Some(expected), "{reply}");
        };
        check("72 dollars", json!("72"), 1.0);
        check("72.005", json!(72), 1.0);
        check("72.02", json!(72), 0.0);
        check("45%", json!(0.45), 1.0);
        check("45", json!("45%"), 1.0);
        check("0.45", json!("45%"), 1.0);
        check("no idea", json!(3), 0.0);
        check("1,234,567", json!("1234567"), 1.0);
    }
}
