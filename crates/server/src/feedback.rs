//! `POST /v1/feedback`: what somebody says of an answer.

use serde::Deserialize;
use tiercast_records::journal::{About, Feedback, JUDGE_PREFIX, Label, Verdict};

use crate::budgets::now_ms;
use crate::error::Error;
use crate::sessions::LONGEST_ID;

/// Bytes of a comment that are kept.
const LONGEST_COMMENT: usize = 4096;

/// Bytes of a source's name.
const LONGEST_SOURCE: usize = 64;

/// As it is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(alias = "id")]
    decision_id: Option<String>,
    session_id: Option<String>,
    score: Option<f64>,
    verdict: Option<Verdict>,
    comment: Option<String>,
    source: Option<String>,
}

/// Reads and checks a body. `is_ours` says whether a decision's name was given by this deployment.
pub(crate) fn read(bytes: &[u8], is_ours: impl Fn(&str) -> bool) -> Result<Feedback, Error> {
    let said: Said = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    let about = match (said.decision_id, said.session_id) {
        (Some(decision), None) if is_ours(&decision) => About::Decision(decision),
        (Some(decision), None) => return Err(Error::NoSuchDecision(decision.chars().take(LONGEST_ID).collect())),
        (None, Some(session)) if (1..=LONGEST_ID).contains(&session.len()) => About::Session(session),
        (None, Some(_)) => return Err(wrong(format!("`session_id` has 1 to {LONGEST_ID} bytes"))),
        _ => return Err(wrong("give one of `decision_id` and `session_id`".to_owned())),
    };
    if let Some(score) = said.score.filter(|score| !(0.0..=1.0).contains(score)) {
        return Err(wrong(format!(
            "`score` is {score}; it is a number from 0 (useless) to 1 (as good as can be)"
        )));
    }
    if said.score.is_none() && said.verdict.is_none() && said.comment.is_none() {
        return Err(wrong("give a `score`, a `verdict` or a `comment`".to_owned()));
    }
    let source = said.source.unwrap_or_else(|| "client".to_owned());
    if !(1..=LONGEST_SOURCE).contains(&source.len()) {
        return Err(wrong(format!("`source` has 1 to {LONGEST_SOURCE} bytes")));
    }
    if source.starts_with(JUDGE_PREFIX) {
        return Err(wrong(format!(
            "`source` begins with `{JUDGE_PREFIX}`, which is for verdicts of `tiercast judge --journal`: name it otherwise"
        )));
    }
    Ok(Feedback {
        time_ms: now_ms(),
        about,
        source: Label::from(source),
        score: said.score,
        verdict: said.verdict,
        comment: said.comment.map(|comment| {
            let end = comment.floor_char_boundary(LONGEST_COMMENT);
            comment[..end].to_owned()
        }),
        sampled: None,
    })
}

fn wrong(what: String) -> Error {
    Error::Feedback(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<(&str, Option<f64>), &str>) {
        let read = read(body.as_bytes(), |id| id == "dec_1");
        match (read, expected) {
            (Ok(feedback), Ok((source, quality))) => {
                assert_eq!((&*feedback.source, feedback.quality()), (source, quality), "{body}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{body}: {error}"),
            (read, _) => panic!("{body}: {read:?}"),
        }
    }

    #[test]
    fn what_can_be_said() {
        check(r#"{"decision_id": "dec_1", "score": 0.5}"#, Ok(("client", Some(0.5))));
        check(
            r#"{"decision_id": "dec_1", "verdict": "underpowered", "source": "app"}"#,
            Ok(("app", Some(0.0))),
        );
        check(r#"{"session_id": "s", "comment": "fine"}"#, Ok(("client", None)));
    }

    #[test]
    fn what_cannot() {
        check(r#"{"decision_id": "dec_2", "score": 0.5}"#, Err("dec_2"));
        check(r#"{"decision_id": "dec_1", "score": 1.5}"#, Err("from 0"));
        check(r#"{"decision_id": "dec_1", "score": -0.1}"#, Err("from 0"));
        check(r#"{"decision_id": "dec_1"}"#, Err("a `score`, a `verdict`"));
        check(r#"{"score": 1}"#, Err("one of `decision_id`"));
        check(
            r#"{"decision_id": "dec_1", "session_id": "s", "score": 1}"#,
            Err("one of `decision_id`"),
        );
        check(r#"{"decision_id": "dec_1", "verdict": "meh"}"#, Err("good_fit"));
        check(r#"{"decision_id": "dec_1", "stars": 5}"#, Err("stars"));
        check(
            r#"{"decision_id": "dec_1", "score": 1, "source": "judge:helpful"}"#,
            Err("judge --journal"),
        );
        check("no", Err("decision_id"));
    }
}
