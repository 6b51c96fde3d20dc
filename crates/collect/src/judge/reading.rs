//! Reading what a model that judges replied: JSON as asked for, or something close to it.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::checkers::json;
use super::rubric::Scale;

/// Longest reasons that are kept.
const MAX_REASONS: usize = 2000;

static SCORE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)["'*]*\bscore["'*]*\s*[:=]\s*["'*]*(-?\d+(?:\.\d+)?)"#).expect("the pattern is a constant")
});

static BETTER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)["'*]*\bbetter["'*]*\s*[:=]\s*["'*]*(first|second|tie)\b"#).expect("the pattern is a constant")
});

/// A verdict that could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// In [0, 1].
    pub quality: f64,
    /// On the judge's own scale.
    pub raw: f64,
    /// What the judge said, cut.
    pub reasons: String,
}

/// A score on `scale`.
pub fn score(reply: &str, scale: Scale) -> Option<Reading> {
    let reply = without_thinking(reply);
    let object = json::find(reply).filter(Value::is_object);
    let stated = object.as_ref().and_then(|object| number(object.get("score")?));
    let raw = stated.or_else(|| SCORE.captures_iter(reply).last()?.get(1)?.as_str().parse().ok())?;
    Some(Reading {
        quality: scale.quality(raw)?,
        raw,
        reasons: reasons(object.as_ref(), reply),
    })
}

/// Which of two is better, as the quality of the first: 1, 0 or 0.5.
pub fn better(reply: &str) -> Option<Reading> {
    let reply = without_thinking(reply);
    let object = json::find(reply).filter(Value::is_object);
    let stated = object
        .as_ref()
        .and_then(|object| Some(object.get("better")?.as_str()?.trim().to_lowercase()));
    let word = stated.or_else(|| Some(BETTER.captures_iter(reply).last()?.get(1)?.as_str().to_lowercase()))?;
    let quality = match word.as_str() {
        "first" => 1.0,
        "second" => 0.0,
        "tie" => 0.5,
        _ => return None,
    };
    Some(Reading {
        quality,
        raw: quality,
        reasons: reasons(object.as_ref(), reply),
    })
}

/// Models that think aloud first put that between tags; what they try out there is no verdict.
fn without_thinking(reply: &str) -> &str {
    reply.rsplit_once("</think>").map_or(reply, |(_, rest)| rest)
}

/// 8, "8" or "8/10".
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.split('/').next()?.trim().parse().ok(),
        _ => None,
    }
}

fn reasons(object: Option<&Value>, reply: &str) -> String {
    let stated = object.and_then(|object| object.get("reasons").or_else(|| object.get("reason")));
    let text = stated.map_or(reply.to_owned(), super::case::text_of);
    text.trim().chars().take(MAX_REASONS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores() {
        let check = |reply: &str, expected: Option<f64>| {
            let found = score(reply, Scale { low: 1.0, high: 10.0 }).map(|reading| reading.raw);
            assert_eq!(found, expected, "{reply}");
        };
        check("{\"reasons\": \"fine\", \"score\": 8}", Some(8.0));
        check("```json\n{\"reasons\": \"fine\", \"score\": \"8/10\"}\n```", Some(8.0));
        check("{\"reasons\": \"a \\( x \\) b\", \"score\": 7.5}", Some(7.5));
        check("Thinking...\n**Score**: 3", Some(3.0));
        check("<think>score: 9?</think>{\"reasons\": \"\", \"score\": 2}", Some(2.0));
        check("{\"score\": 11}", None);
        check("{\"score\": null}", None);
        check("A lovely answer, really.", None);
        check("", None);
    }

    #[test]
    fn winners() {
        let check = |reply: &str, expected: Option<f64>| {
            assert_eq!(better(reply).map(|reading| reading.quality), expected, "{reply}");
        };
        check("{\"reasons\": \"x\", \"better\": \"first\"}", Some(1.0));
        check("{\"better\": \"Second\"}", Some(0.0));
        check("better: tie", Some(0.5));
        check("{\"better\": \"both\"}", None);
        check("The first one.", None);
    }

    #[test]
    fn reasons_are_kept() {
        let reading = score("{\"reasons\": [\"a\"], \"score\": 1}", Scale { low: 1.0, high: 2.0 }).unwrap();
        assert_eq!((reading.reasons.as_str(), reading.quality), ("[\"a\"]", 0.0));
    }
}
