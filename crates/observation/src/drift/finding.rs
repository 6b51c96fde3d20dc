//! What was found, in figures and in a sentence, and what to do about it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;
use tiercast_records::journal::Label;

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Prompts.
    Inputs,
    /// Forecasts and what follows from them.
    Predictions,
    /// Quality of answers.
    Outcomes,
    /// What calls cost.
    Price,
    /// How long they take.
    Latency,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Decisions may be worse than they look.
    Warning,
    /// Decisions are wrong.
    Alarm,
}

/// What has become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Prompts are unlike the training prompts.
    UnlikeTraining,
    /// Prompts are unlike the first ones of the journal.
    PromptsChanged,
    /// Other tiers are chosen than before.
    TierMix,
    /// Other quality is predicted than before.
    PredictedQuality,
    /// Answers are worse than predicted.
    Worse,
    /// Answers are better than predicted.
    Better,
    /// The same tokens cost something else than before.
    Price,
    /// Replies are longer, against their forecasts, than before.
    Longer,
    /// Replies are shorter, against their forecasts, than before.
    Shorter,
    /// The first token comes later than before.
    FirstToken,
    /// Calls take longer than before.
    Total,
}

/// A place in the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// By the wall clock of its row: milliseconds since 1970.
    pub time_ms: i64,
    /// Number of the request, from 1.
    pub request: u64,
}

/// What it was seen in.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct What {
    /// Tier.
    pub tier: Option<Label>,
    /// Task.
    pub task: Option<Label>,
    /// Cohort.
    pub cohort: Option<Label>,
    /// Signals, those that differ most first.
    pub signals: Vec<String>,
}

/// Size of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// Of what: `quality`, `times`, `share of requests`, ...
    pub unit: &'static str,
}

/// Something that has become wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub kind: Kind,
    /// What has become of it.
    pub aspect: Aspect,
    /// How bad it is.
    pub severity: Severity,
    /// What it was seen in.
    pub what: What,
    /// Where it probably began.
    pub since: Moment,
    /// Where it was found.
    pub at: Moment,
    /// Where it was last seen.
    pub latest: Moment,
    /// How often it was seen.
    pub times: u64,
    /// Its size, when last seen.
    pub figure: Figure,
    /// One sentence.
    pub says: String,
    /// What mends it.
    pub do_this: String,
}

/// Findings by what identifies them: seen again, one stays one.
#[derive(Debug, Default)]
pub(super) struct Findings(BTreeMap<Key, Finding>);

/// Prompts are one subject, whatever task or signal shows it; else a finding is of its tier, task and cohort.
type Key = (Aspect, Option<Label>, Option<Label>, Option<Label>);

impl Findings {
    pub(super) fn raise_all(&mut self, findings: Vec<Finding>) {
        findings.into_iter().for_each(|finding| self.raise(finding));
    }

    fn raise(&mut self, mut finding: Finding) {
        let key = finding.key();
        if let Some(known) = self.0.get(&key) {
            finding.times = known.times + 1;
            finding.since = known.since;
            finding.at = known.at;
        }
        self.0.insert(key, finding);
    }

    /// The worst first, then by kind and name.
    pub(super) fn sorted(&self) -> Vec<Finding> {
        let mut all: Vec<Finding> = self.0.values().cloned().collect();
        all.sort_by_key(|finding| (Reverse(finding.severity), finding.kind));
        all
    }
}

impl Finding {
    /// Seen once, at `at`.
    pub(super) fn new(
        aspect: Aspect,
        severity: Severity,
        what: What,
        figure: Figure,
        since: Moment,
        at: Moment,
    ) -> Self {
        Self {
            kind: aspect.kind(),
            aspect,
            severity,
            what,
            since,
            at,
            latest: at,
            times: 1,
            figure,
            says: String::new(),
            do_this: String::new(),
        }
    }

    pub(super) fn with_words(mut self, says: String, do_this: String) -> Self {
        self.says = says;
        self.do_this = do_this;
        self
    }

    fn key(&self) -> Key {
        match self.kind {
            Kind::Inputs => (self.aspect, None, None, None),
            _ => {
                let What { tier, task, cohort, .. } = &self.what;
                (self.aspect, tier.clone(), task.clone(), cohort.clone())
            }
        }
    }
}

impl Aspect {
    /// What it is about.
    pub fn kind(self) -> Kind {
        match self {
            Self::UnlikeTraining | Self::PromptsChanged => Kind::Inputs,
            Self::TierMix | Self::PredictedQuality => Kind::Predictions,
            Self::Worse | Self::Better => Kind::Outcomes,
            Self::Price | Self::Longer | Self::Shorter => Kind::Price,
            Self::FirstToken | Self::Total => Kind::Latency,
        }
    }
}
