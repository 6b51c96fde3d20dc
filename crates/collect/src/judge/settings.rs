//! The table `[judge]` of `tiercast.toml`: which judge scores what, and what a judge has to show
//! before its scores are used.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tiercast_upstream::settings::EndpointSettings;
use tiercast_upstream::told::without_keys;

use super::checkers::choice::Statement;
use crate::error::CollectError;

/// What judging reads of the file; the other tables are other commands'.
#[derive(Debug, Deserialize)]
struct Written {
    judge: Option<JudgeSettings>,
}

/// `[judge]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JudgeSettings {
    /// Name of the judge for prompts without one of their own.
    pub default: Option<String>,
    /// Name of the judge by domain; outranks the default.
    pub by_domain: BTreeMap<String, String>,
    /// The judges, by name.
    pub judges: BTreeMap<String, Definition>,
    /// What a model or command that judges has to show.
    pub gate: GateSettings,
    /// What becomes of replies that were cut at their limit; they are never judged as if whole.
    pub truncated: Truncated,
}

/// What becomes of truncated replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncated {
    /// They score 0: under this tier's limit the user got no whole answer.
    #[default]
    Fail,
    /// They are left out of the outcome file.
    Exclude,
}

/// `[judge.gate]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateSettings {
    /// Share of the replies that a model judges twice; at least 20 replies where there are as many.
    pub repeat_share: f64,
    /// Floor of Krippendorff's alpha (interval) between the two.
    pub min_alpha: f64,
    /// Floor of the share of verdicts that can be read.
    pub min_parse_rate: f64,
    /// Ceiling of a pairwise judge's preference for a place, from 0 (none) to 1 (the place alone decides).
    pub max_position_bias: f64,
    /// Whether answers known to be good or bad are slipped in.
    pub probes: bool,
    /// Prompts that each kind of probe is made from.
    pub probe_prompts: usize,
    /// Floor of the mean score of good probes less that of wrong, off-topic and empty ones.
    pub min_probe_gap: f64,
    /// Floor of what good answers score more than their first third.
    pub min_cut_gap: f64,
    /// Ceiling of what an instruction to the judge inside a bad answer adds to its score.
    pub max_injection_gain: f64,
    /// Judge without a model whose scores a model's are compared with, where a prompt has a reference.
    pub exact: Option<String>,
    /// Chooses what is repeated and probed, and the delimiters around replies.
    pub seed: u64,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            repeat_share: 0.1,
            min_alpha: 0.6,
            min_parse_rate: 0.95,
            max_position_bias: 0.2,
            probes: true,
            probe_prompts: 8,
            min_probe_gap: 0.3,
            min_cut_gap: 0.1,
            max_injection_gain: 0.2,
            exact: None,
            seed: 0,
        }
    }
}

/// A judge as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Definition {
    /// The same letter or text as the reference.
    ExactMatch {
        /// What of the reply is compared.
        extract: Extract,
        /// Which statement of a letter counts.
        #[serde(default)]
        statement: Statement,
    },
    /// The same number as the reference.
    Numeric {
        /// Absolute.
        #[serde(default)]
        tolerance: f64,
        /// As a share of the reference.
        #[serde(default = "default_relative_tolerance")]
        relative_tolerance: f64,
    },
    /// Matches a regular expression.
    Regex {
        /// The expression.
        pattern: String,
    },
    /// JSON of a schema.
    JsonSchema {
        /// The schema; without it the prompt's.
        #[serde(default)]
        schema: Option<Value>,
        /// Whether it also has to equal the reference.
        #[serde(default)]
        compare: bool,
    },
    /// What a command prints.
    Command {
        /// Program and arguments.
        command: Vec<String>,
        /// It is killed after as many seconds.
        #[serde(default = "default_timeout_s")]
        timeout_s: f64,
        /// What it reads on standard input.
        #[serde(default)]
        input: CommandInput,
    },
    /// A model that scores by a rubric.
    LlmRubric {
        /// The file with the rubric, from the folder of `tiercast.toml`.
        rubric: PathBuf,
        /// Lowest and highest score; outranks the rubric's own.
        #[serde(default)]
        scale: Option<[f64; 2]>,
        /// The model.
        endpoint: EndpointSettings,
        /// US dollars per million tokens.
        #[serde(default)]
        input_usd_per_mtok: Option<f64>,
        /// US dollars per million tokens.
        #[serde(default)]
        output_usd_per_mtok: Option<f64>,
    },
    /// A model that says which of two answers is better, asked in both orders.
    LlmPairwise {
        /// `reference` or `tier:NAME`.
        against: String,
        /// What makes an answer better; without it a general rubric.
        #[serde(default)]
        rubric: Option<PathBuf>,
        /// The model.
        endpoint: EndpointSettings,
        /// US dollars per million tokens.
        #[serde(default)]
        input_usd_per_mtok: Option<f64>,
        /// US dollars per million tokens.
        #[serde(default)]
        output_usd_per_mtok: Option<f64>,
    },
    /// The least of several scores: all must pass.
    All {
        /// Names of judges.
        of: Vec<String>,
    },
    /// The mean of several scores.
    Mean {
        /// Names of judges.
        of: Vec<String>,
    },
}

/// What of a reply is compared with the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extract {
    /// The letter of a multiple-choice answer.
    Choice,
    /// The whole text, but for case, punctuation and articles.
    Text,
    /// The field `answer` of a reply in JSON, as text.
    JsonAnswer,
}

/// What a command reads on standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandInput {
    /// The reply; prompt and reference are in `TIERCAST_PROMPT` and `TIERCAST_REFERENCE`.
    #[default]
    Reply,
    /// `{"reply": ..., "prompt": ..., "reference": ..., "schema": ...}`, for texts of any length.
    Json,
}

fn default_relative_tolerance() -> f64 {
    1e-6
}

fn default_timeout_s() -> f64 {
    10.0
}

impl JudgeSettings {
    /// Reads the text of a `tiercast.toml`.
    pub fn parse(text: &str) -> Result<Self, CollectError> {
        Self::find(text)?.ok_or_else(|| {
            config("there is no table [judge]: name a judge in `judge.default` and describe it in [judge.judges.NAME]")
        })
    }

    /// The same; none where there is no table `[judge]`.
    pub fn find(text: &str) -> Result<Option<Self>, CollectError> {
        let written: Written = toml::from_str(text).map_err(|error| CollectError::Config(without_keys(&error)))?;
        if let Some(settings) = &written.judge {
            settings.gate.check()?;
        }
        Ok(written.judge)
    }
}

impl GateSettings {
    fn check(&self) -> Result<(), CollectError> {
        let shares = [
            ("repeat_share", self.repeat_share),
            ("min_parse_rate", self.min_parse_rate),
            ("max_position_bias", self.max_position_bias),
            ("min_probe_gap", self.min_probe_gap),
            ("min_cut_gap", self.min_cut_gap),
            ("max_injection_gain", self.max_injection_gain),
        ];
        if let Some((key, share)) = shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err(config(&format!("`judge.gate.{key}` is {share}; it must be 0 to 1")));
        }
        if !(-1.0..=1.0).contains(&self.min_alpha) {
            return Err(config(&format!(
                "`judge.gate.min_alpha` is {}; it must be -1 to 1",
                self.min_alpha
            )));
        }
        if !(1..=1000).contains(&self.probe_prompts) {
            return Err(config(&format!(
                "`judge.gate.probe_prompts` is {}; it must be 1 to 1000 (`probes = false` switches them off)",
                self.probe_prompts
            )));
        }
        Ok(())
    }
}

/// A mistake in the configuration.
pub(crate) fn config(what: &str) -> CollectError {
    CollectError::Config(what.to_owned())
}
