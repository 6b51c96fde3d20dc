//! What is known of the judges of a run: one value, of which JSON, Markdown and the page are views.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tiercast_upstream::error::ErrorKind;

/// Its file in the folder of the run.
pub const FILE_NAME: &str = "judge.json";

/// Role of a judge that follows a rule.
pub const CHECKER: &str = "checker";

/// How far the judges can be trusted, and what they say of the tiers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Per tier, by all judges together.
    pub tiers: Vec<TierScores>,
    /// Per judge that has something to judge.
    pub judges: Vec<JudgeFigures>,
    /// Figures beside their floors.
    pub gate: Vec<GateCheck>,
    /// Why the run that wrote this ended before everything was judged, in words.
    #[serde(default)]
    pub stopped: Option<String>,
    /// What was not there to be judged.
    #[serde(default)]
    pub uncollected: Uncollected,
}

/// Calls of the collected run without a result.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Uncollected {
    /// All calls of the run.
    pub n_calls: u64,
    /// Calls without a result, by tier; no tier that has all of them.
    pub n_left: BTreeMap<String, u64>,
}

impl Uncollected {
    /// How many calls of which tiers are missing, and the mend; none where nothing is.
    pub fn sentence(&self) -> Option<String> {
        let n_left: u64 = self.n_left.values().sum();
        let tiers: Vec<String> = self.n_left.iter().map(|(tier, n)| format!("`{tier}` {n}")).collect();
        (n_left > 0).then(|| {
            format!(
                "{n_left} of {} calls are not collected (tiers {}): run `tiercast collect` again, and then this command",
                self.n_calls,
                tiers.join(", ")
            )
        })
    }
}

/// What became of the replies of a tier.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TierScores {
    /// The tier.
    pub tier: String,
    /// Replies with a score.
    pub n_scored: u64,
    /// Their mean score, truncated ones as configured.
    pub mean: Option<f64>,
    /// Replies cut at their limit.
    pub n_truncated: u64,
    /// Prompts that the tier cannot answer.
    pub n_unanswerable: u64,
    /// Replies without a score, because a judge failed or could not be read.
    pub n_unscored: u64,
}

/// Figures of one judge.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct JudgeFigures {
    /// Name.
    pub name: String,
    /// As in outcome files.
    pub score_kind: String,
    /// Hash of its configuration.
    pub hash: String,
    /// `model`, `command` or `checker`.
    pub role: String,
    /// Replies that are its to judge.
    pub n_replies: u64,
    /// Replies with a score by it.
    pub n_scored: u64,
    /// Judgements of any outcome, of probes and repeated ones too.
    #[serde(default)]
    pub n_verdicts: u64,
    /// Verdicts that could not be read, or replies in which nothing could be judged.
    pub n_unparsed: u64,
    /// Judgements that failed: they are made again by the next run.
    pub n_failed: u64,
    /// Verdicts that were asked for a second time because the first could not be read.
    pub n_asked_again: u64,
    /// Verdicts by other configurations of this judge: kept, not used.
    pub n_other: u64,
    /// Share of judgements that could be read, of those that the judge did make.
    pub parse_rate: Option<f64>,
    /// US dollars.
    pub cost_usd: f64,
    /// Between repeated judgements.
    pub agreement: Option<Agreement>,
    /// Of a pairwise judge.
    pub position: Option<Position>,
    /// Answers of known worth.
    pub probes: Vec<ProbeFigures>,
    /// Per tier.
    pub tiers: Vec<JudgedTier>,
    /// What went wrong, by kind.
    pub errors: Vec<JudgeErrors>,
}

/// Agreement of a judge with itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Replies judged twice.
    pub n: usize,
    /// Krippendorff's alpha, interval; none where all judgements are the same.
    pub alpha_interval: Option<f64>,
    /// Krippendorff's alpha, nominal.
    pub alpha_nominal: Option<f64>,
    /// Share of pairs that are equal.
    pub raw_equal: f64,
    /// Share of pairs at most 0.1 apart.
    pub raw_near: f64,
}

/// What the place of an answer does to a pairwise verdict.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Pairs judged in both orders.
    pub n: usize,
    /// From -1 (the second always wins) over 0 to 1 (the first always wins).
    pub bias: f64,
    /// Share of pairs in which the same place won in both orders.
    pub flipped: f64,
}

/// Scores of probes of a kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeFigures {
    /// What they are.
    pub kind: super::probes::Kind,
    /// How many have a score.
    pub n: usize,
    /// Mean score.
    pub mean: f64,
    /// Mean of what the good answers to the same prompts score more.
    #[serde(default)]
    pub gap: Option<f64>,
}

/// A figure with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// A judge's word on a tier, beside exact scores where there are some.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedTier {
    /// The tier; `all tiers` for all together.
    pub tier: String,
    /// Replies with a score.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Those of them with an exact score.
    pub n_exact: usize,
    /// Mean of the exact scores.
    pub exact_mean: Option<f64>,
    /// Judged minus exact.
    pub bias: Option<Estimate>,
    /// Prediction-powered estimate of the mean exact score over all replies.
    pub corrected: Option<Estimate>,
    /// Share of the judge's word in it.
    pub weight: Option<f64>,
}

/// Judgements that failed in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgeErrors {
    /// In one word.
    pub kind: String,
    /// How often.
    pub n: u64,
    /// The last message.
    pub example: String,
}

/// A figure beside its floor or ceiling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateCheck {
    /// The judge.
    pub judge: String,
    /// What was measured, in words.
    pub figure: String,
    /// The value; none where it could not be measured.
    pub value: Option<f64>,
    /// What it is held to.
    pub limit: f64,
    /// The key of the limit in `[judge.gate]`.
    pub key: String,
    /// Whether the limit is a floor.
    pub is_floor: bool,
    /// Whether it holds. What could not be measured is not held against the judge.
    pub passed: bool,
    /// Why it could not be measured, where it could not.
    #[serde(default)]
    pub unmeasured: Option<String>,
    /// What is wrong and what to do where it does not.
    pub mend: String,
}

impl JudgeFigures {
    /// Calls to a model that came to nothing: there is no verdict that could have been read.
    pub fn n_unheard(&self) -> u64 {
        let of_calls = self.errors.iter().filter(|error| is_call_error(&error.kind));
        of_calls.map(|error| error.n).sum()
    }
}

/// Whether a kind of error is that of a call and not of what was said.
pub fn is_call_error(kind: &str) -> bool {
    ErrorKind::from_name(kind).is_some()
}

impl Report {
    /// What did not pass.
    pub fn failures(&self) -> impl Iterator<Item = &GateCheck> {
        self.gate.iter().filter(|check| !check.passed)
    }

    /// What could not be measured: nothing is known of the judge in that respect.
    pub fn unmeasured(&self) -> impl Iterator<Item = &GateCheck> {
        self.gate.iter().filter(|check| check.unmeasured.is_some())
    }

    /// Replies with a score, of all tiers.
    pub fn n_scored(&self) -> u64 {
        self.tiers.iter().map(|tier| tier.n_scored).sum()
    }
}

impl GateCheck {
    /// The figure, the limit and the mend in a sentence.
    pub fn sentence(&self) -> String {
        if let Some(why) = &self.unmeasured {
            let (judge, figure, key) = (&self.judge, &self.figure, &self.key);
            return format!("judge `{judge}`: {figure} (judge.gate.{key}): {why}");
        }
        let value = self
            .value
            .map_or("is undefined".to_owned(), |value| format!("is {value:.3}"));
        let limit = if self.is_floor {
            "under the floor of"
        } else {
            "over the ceiling of"
        };
        let limit = if self.value.is_some() {
            format!(", {limit} {}", self.limit)
        } else {
            format!(" (limit {})", self.limit)
        };
        format!(
            "judge `{}`: {} {value}{limit} (judge.gate.{}): {}",
            self.judge, self.figure, self.key, self.mend
        )
    }
}
