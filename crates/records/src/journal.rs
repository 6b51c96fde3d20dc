//! Rows of the journal: what was decided, what it led to, and what was said of it afterwards.
//!
//! The server makes them, `journal` keeps them, `observation` reads them. A request is one row, written when
//! its last call is over; feedback is a row of its own and finds its request by the decision's id.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::features::Features;

mod cells;
mod columns;
mod reading;
mod rows;
mod trace;
mod writing;

#[cfg(test)]
mod tests;

pub use reading::{Parts, read_feedback, read_served};
pub use trace::Trace;
pub use writing::{Sink, Written, write_feedback, write_served};

/// Version of open rows and of what lies around them; a reader refuses newer ones by name. What may be absent can be
/// added without a new one. Segments have versions of their own: [`SegmentKind::version`].
pub const JOURNAL_VERSION: u32 = 1;

/// What sources begin with that are judges of ours, before the judge's name: `judge:helpful`.
pub const JUDGE_PREFIX: &str = "judge:";

/// Keys of a segment's metadata: version of its rows, and their kind.
const VERSION_KEY: &str = "tiercast.journal_version";
const KIND_KEY: &str = "tiercast.journal_kind";

/// A word from a bounded set, shared between rows.
pub type Label = Arc<str>;

/// Anything that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A request that was decided.
    Served(Box<Served>),
    /// What was said of one.
    Feedback(Feedback),
}

/// What the rows of a segment are: all are of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentKind {
    /// [`Served`].
    Served,
    /// [`Feedback`].
    Feedback,
}

impl SegmentKind {
    /// As it is written in metadata and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Feedback => "feedback",
        }
    }

    /// Version of its columns; a reader takes older ones too, and refuses newer ones by name. Feedback of version 1 has
    /// no [`Feedback::sampled`].
    pub fn version(self) -> u32 {
        match self {
            Self::Served => 1,
            Self::Feedback => 2,
        }
    }
}

/// A request: decision and calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// Id of the decision, as in `x-tiercast-decision-id`.
    pub id: String,
    /// When it was decided, by the wall clock: milliseconds since 1970.
    pub time_ms: i64,
    /// Path that took it: `chat`, `responses`, `messages` or `route` (which forwards nothing).
    pub endpoint: Label,
    /// Session, as the client named it.
    pub session: Option<String>,
    /// Who asked; bounded in number.
    pub cohort: Label,
    /// What it is about: the client's label, else the task that the predictor takes it for.
    pub task: Label,
    /// Whether the client named the task.
    pub task_is_told: bool,
    /// Policy: `meta`, `rules`, ...
    pub policy: Label,
    /// Reason of the decision.
    pub reason: Label,
    /// The rule that fired, where one did.
    pub rule: Option<Label>,
    /// Checkpoint that predicted.
    pub checkpoint: Label,
    /// Version of the features.
    pub feature_version: u32,
    /// Quality that was aimed at, as target or floor, where one was.
    pub target: Option<f32>,
    /// Probability with which the tier was chosen.
    pub propensity: f64,
    /// Position in `tiers` of the tier that was chosen first.
    pub chosen: usize,
    /// What was expected of every tier, in the catalog's order.
    pub tiers: Vec<Expected>,
    /// Whether the evidence behind that was sufficient.
    pub evidence: bool,
    /// Milliseconds from the read request to the decision.
    pub overhead_ms: f32,
    /// Calls, in the order in which they were made.
    pub calls: Vec<Call>,
    /// Position in `calls` of the one whose reply the client got.
    pub answered_by: Option<usize>,
    /// Keyed hash of the ask: equal asks have equal hashes in one journal, and in no other.
    pub prompt_hash: String,
    /// Figures of the ask, where they are kept.
    pub features: Option<Features>,
    /// The ask, where text is kept.
    pub prompt: Option<String>,
    /// The reply, where text is kept.
    pub reply: Option<String>,
    /// Where it stands in a trace, where traces are made. Not kept.
    #[serde(skip)]
    pub trace: Option<Trace>,
}

/// What was expected of a tier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Its name.
    pub tier: Label,
    /// The trained tier whose evidence it borrows, where it does.
    pub predicted_as: Option<Label>,
    /// Expected quality.
    pub quality_mean: f32,
    /// Probability at each point of the grid; empty where a reader left it out.
    pub quality_pmf: Vec<f32>,
    /// Expected cost, US dollars.
    pub cost_usd: f64,
    /// Tokens of the prompt.
    pub input_tokens: f32,
    /// Expected tokens of the reply.
    pub output_tokens: f32,
    /// 95th percentile of its latency, milliseconds, where known.
    pub latency_p95_ms: Option<f32>,
    /// Whether it was good enough.
    pub acceptable: bool,
    /// Why it was out of the question, where it was.
    pub excluded: Option<Label>,
}

/// Why a call was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The decision's tier.
    Chosen,
    /// The call before it failed.
    Fallback,
    /// The answer before it was not good enough.
    Escalation,
    /// To judge an answer by: a further sample of it, or how sure the tier is.
    Evidence,
}

impl Role {
    const ALL: [Self; 4] = [Self::Chosen, Self::Fallback, Self::Escalation, Self::Evidence];

    /// As it is written in JSON and in segments.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::Fallback => "fallback",
            Self::Escalation => "escalation",
            Self::Evidence => "evidence",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// A call to a tier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Its tier.
    pub tier: Label,
    /// Why it was made.
    pub role: Role,
    /// `complete`, `cut`, `failed`, `client_gone`, ...
    pub outcome: Label,
    /// Kind of the error, where it failed.
    pub error: Option<Label>,
    /// Tokens of the prompt, as the endpoint told them.
    pub input_tokens: f64,
    /// The part of them that was cached.
    pub cached_tokens: f64,
    /// Tokens of the reply.
    pub output_tokens: f64,
    /// Whether tokens were counted here, because the endpoint told none.
    pub is_estimated: bool,
    /// Settled cost, US dollars.
    pub cost_usd: f64,
    /// Milliseconds from the decision, [`Served::time_ms`], to its start.
    pub start_ms: f32,
    /// Milliseconds from its start to the first piece of the reply, where it began.
    pub first_token_ms: Option<f32>,
    /// Milliseconds from its start to its end.
    pub total_ms: f32,
    /// Estimate of the answer's quality, where a cascade read it.
    pub estimate: Option<f32>,
}

/// What somebody said of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    /// When, by the wall clock: milliseconds since 1970.
    pub time_ms: i64,
    /// What it is about.
    pub about: About,
    /// Who said it: `client`, `judge`, ... One says one thing of a decision: a later word replaces it.
    pub source: Label,
    /// Quality in [0, 1], where given.
    pub score: Option<f64>,
    /// In a word, where given.
    pub verdict: Option<Verdict>,
    /// In words of a human's; kept only where text is kept.
    pub comment: Option<String>,
    /// How the answer came to be judged, where a judge of ours drew it from what was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<Sampled>,
}

/// A judge's draw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// Hash of all that the judge goes by: its verdicts compare with those of the same hash alone.
    pub judge_hash: Label,
    /// Share of the answers that the run was told to judge, in (0, 1].
    pub rate: f64,
}

/// What feedback is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// One decision, by id.
    Decision(String),
    /// All of a session.
    Session(String),
}

impl About {
    /// `decision` or `session`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Decision(_) => "decision",
            Self::Session(_) => "session",
        }
    }

    /// Id of the decision, or name of the session.
    pub fn id(&self) -> &str {
        match self {
            Self::Decision(id) | Self::Session(id) => id,
        }
    }
}

/// Feedback in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The tier was right.
    GoodFit,
    /// A better tier was needed.
    Underpowered,
    /// A cheaper one would have done.
    Overprovisioned,
    /// The answer was of no use.
    Failed,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::GoodFit, Self::Underpowered, Self::Overprovisioned, Self::Failed];

    /// The verdict of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.name() == name)
    }

    /// As it is written in JSON and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::GoodFit => "good_fit",
            Self::Underpowered => "underpowered",
            Self::Overprovisioned => "overprovisioned",
            Self::Failed => "failed",
        }
    }

    /// Quality that it stands for where no score was given: a tier that fitted, or was more than enough,
    /// answered well.
    pub fn score(self) -> f64 {
        match self {
            Self::GoodFit | Self::Overprovisioned => 1.0,
            Self::Underpowered | Self::Failed => 0.0,
        }
    }
}

impl Feedback {
    /// Whether a judge said it, and no user.
    pub fn is_judged(&self) -> bool {
        self.source.starts_with(JUDGE_PREFIX)
    }

    /// Its score, or what its verdict stands for.
    pub fn quality(&self) -> Option<f64> {
        self.score.or_else(|| self.verdict.map(Verdict::score))
    }
}

impl Served {
    /// All that its calls cost, US dollars.
    pub fn cost_usd(&self) -> f64 {
        // The sum of nothing is -0.
        self.calls.iter().map(|call| call.cost_usd).sum::<f64>() + 0.0
    }

    /// The call whose reply the client got.
    pub fn answer(&self) -> Option<&Call> {
        self.answered_by.and_then(|at| self.calls.get(at))
    }

    /// The call before this one, those that only judged an answer left out.
    pub fn call_before(&self, at: usize) -> Option<&Call> {
        self.calls[..at].iter().rfind(|call| call.role != Role::Evidence)
    }

    /// The call after this one, those that only judged an answer left out.
    pub fn call_after(&self, at: usize) -> Option<&Call> {
        self.calls
            .get(at + 1..)?
            .iter()
            .find(|call| call.role != Role::Evidence)
    }

    /// How the answer was come by.
    pub fn path(&self) -> Path {
        match self.answer() {
            None => Path::Unanswered,
            Some(_) if self.calls.iter().any(|call| call.role == Role::Escalation) => Path::Escalated,
            Some(_) if self.calls.iter().any(|call| call.role == Role::Fallback) => Path::Fallback,
            Some(_) => Path::Direct,
        }
    }
}

/// How an answer was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// The chosen tier answered.
    Direct,
    /// A cascade went on to a dearer tier.
    Escalated,
    /// A tier failed and another answered.
    Fallback,
    /// Nobody answered, or nobody was asked.
    Unanswered,
}

impl Path {
    /// As it is written in JSON and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Escalated => "escalated",
            Self::Fallback => "fallback",
            Self::Unanswered => "unanswered",
        }
    }
}
