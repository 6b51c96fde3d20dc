//! Rows of the ledger as values.

use rusqlite::Result;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Sent, and nothing heard yet.
    Open,
    /// Answered: a result.
    Answered,
    /// This tier cannot answer this prompt, such as one that is longer than its window: a result.
    Unanswerable,
    /// Failed in a way that may pass: asked again by the next run.
    Failed,
}

impl Status {
    const ALL: [Self; 4] = [Self::Open, Self::Answered, Self::Unanswerable, Self::Failed];

    /// As written in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered => "answered",
            Self::Unanswerable => "unanswerable",
            Self::Failed => "failed",
        }
    }
}

impl ToSql for Status {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.name().into())
    }
}

impl FromSql for Status {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = value.as_str()?;
        Self::ALL
            .into_iter()
            .find(|status| status.name() == name)
            .ok_or(FromSqlError::InvalidType)
    }
}

/// What a call is of: one result is kept per key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey {
    /// The prompt.
    pub prompt_id: String,
    /// The tier, by name.
    pub tier: String,
    /// From 0.
    pub sample: u32,
    /// Hash of model and parameters.
    pub parameters_hash: String,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What it is of.
    pub key: CallKey,
    /// How far it has come.
    pub status: Status,
    /// The reply.
    pub text: Option<String>,
    /// Calls of tools in the reply, as JSON.
    pub tool_calls: Option<String>,
    /// As the provider says.
    pub finish_reason: Option<String>,
    /// Cut at the limit on tokens: never judged as if whole.
    pub truncated: bool,
    /// Tokens of the prompt.
    pub input_tokens: Option<u32>,
    /// Those of them that the provider had cached.
    pub cached_input_tokens: Option<u32>,
    /// Tokens of the reply.
    pub output_tokens: Option<u32>,
    /// Counted here, because the provider reported none.
    pub tokens_estimated: bool,
    /// US dollars, from the tier's prices.
    pub cost_usd: Option<f64>,
    /// Seconds to the first token, where it was streamed.
    pub time_to_first_token_s: Option<f64>,
    /// Seconds to the end.
    pub latency_s: Option<f64>,
    /// Log-probabilities as JSON, where offered.
    pub logprobs: Option<String>,
    /// What went wrong, in one word.
    pub error_kind: Option<String>,
    /// The same in a sentence, without prompt or key.
    pub error_message: Option<String>,
    /// Requests sent for it, by all runs.
    pub attempts: u32,
    /// Requests under way when a run was killed: sent, and what came of them is not known.
    pub lost: u32,
}

impl Call {
    /// Of a key, nothing known yet.
    pub fn new(key: CallKey, status: Status) -> Self {
        Self {
            key,
            status,
            text: None,
            tool_calls: None,
            finish_reason: None,
            truncated: false,
            input_tokens: None,
            cached_input_tokens: None,
            output_tokens: None,
            tokens_estimated: false,
            cost_usd: None,
            time_to_first_token_s: None,
            latency_s: None,
            logprobs: None,
            error_kind: None,
            error_message: None,
            attempts: 0,
            lost: 0,
        }
    }

    /// The reply as one text: what it says, else the tools it calls as JSON.
    pub fn response(&self) -> Option<&str> {
        let said = self.text.as_deref().filter(|text| !text.is_empty());
        said.or(self.tool_calls.as_deref()).or(self.text.as_deref())
    }
}

/// A try that failed before a call was answered or given up.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedAttempt {
    /// What went wrong, in one word.
    pub kind: String,
    /// HTTP status, where an answer came.
    pub http_status: Option<u16>,
    /// Seconds from sending to the failure.
    pub after_s: f64,
}

/// One judgement of one reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The reply that was judged.
    pub key: CallKey,
    /// Name of the judge.
    pub judge: String,
    /// Hash of the judge's whole configuration, rubric included.
    pub judge_hash: String,
    /// From 0; more than 0 for judgements repeated to measure agreement.
    pub repeat: u32,
    /// From 0; 1 for pairwise judgements with the replies swapped.
    pub order: u32,
    /// In [0, 1]; none where the verdict could not be read.
    pub score: Option<f64>,
    /// On the judge's own scale.
    pub raw_score: Option<f64>,
    /// What the judge said.
    pub reasons: Option<String>,
    /// Whether the verdict could be read.
    pub parsed: bool,
    /// US dollars.
    pub cost_usd: Option<f64>,
    /// What went wrong, in one word.
    pub error_kind: Option<String>,
    /// The same in a sentence.
    pub error_message: Option<String>,
    /// Requests sent for it.
    pub attempts: u32,
}
