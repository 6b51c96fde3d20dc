//! What a judge is given and what it gives back.

use serde_json::Value;

/// A prompt as judges see it. The tier that answered is not part of it.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What was asked, as text.
    pub prompt: &'a str,
    /// The right answer, where known.
    pub reference: Option<&'a Value>,
    /// JSON schema that the reply has to satisfy, where the prompt has one.
    pub schema: Option<&'a Value>,
}

impl Case<'_> {
    /// The reference as text: strings as they are, anything else as JSON.
    pub fn reference_text(&self) -> Option<String> {
        self.reference.map(text_of)
    }
}

/// A value as text: strings as they are, anything else as JSON.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What a judge says of one reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// A score.
    Scored(Score),
    /// Nothing in the reply could be judged, such as no number where one was asked for: it counts
    /// as wrong, and is counted apart.
    NotParsed(String),
    /// The judge itself failed: no score, and it is asked again on the next run.
    Failed(String),
}

/// Quality of a reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// In [0, 1].
    pub value: f64,
    /// Why, in a few words.
    pub detail: String,
}

impl Verdict {
    /// Right or wrong.
    pub fn of(is_right: bool, detail: impl Into<String>) -> Self {
        Self::scored(if is_right { 1.0 } else { 0.0 }, detail)
    }

    /// A score, which has to be in [0, 1].
    pub fn scored(value: f64, detail: impl Into<String>) -> Self {
        if !(0.0..=1.0).contains(&value) {
            return Self::Failed(format!("a score of {value} is outside [0, 1]"));
        }
        Self::Scored(Score {
            value,
            detail: detail.into(),
        })
    }

    /// What counts: nothing parsed is 0, a failed judge is no score.
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Scored(score) => Some(score.value),
            Self::NotParsed(_) => Some(0.0),
            Self::Failed(_) => None,
        }
    }

    /// Why, in a few words.
    pub fn detail(&self) -> &str {
        match self {
            Self::Scored(score) => &score.detail,
            Self::NotParsed(detail) | Self::Failed(detail) => detail,
        }
    }
}
