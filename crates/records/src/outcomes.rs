//! Outcomes: the quality of one model on one prompt, with tokens, cost, latency and how it was
//! judged. Read as three tables that refer to each other by index, so that text is held once.

use serde::{Deserialize, Serialize};

pub(crate) mod cells;
mod gather;
mod order;
mod reading;
mod validating;
mod writing;

#[cfg(test)]
mod tests;

pub use reading::{ReadOptions, read};
pub use validating::{ValidationReport, validate};
pub use writing::write;

/// Which part of the data a prompt belongs to. The split key of the bare question decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For fitting.
    Train,
    /// For choosing and calibrating.
    Validation,
    /// For reporting, once.
    Test,
    /// Kept back by others for outside checks.
    Holdout,
}

impl Split {
    /// Every split, in the order of reports.
    pub const ALL: [Self; 4] = [Self::Train, Self::Validation, Self::Test, Self::Holdout];

    /// As written in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::Holdout => "holdout",
        }
    }

    /// The split of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|split| split.name() == name)
    }
}

/// How `text` of a prompt is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptText {
    /// The user's text.
    Text(String),
    /// `{"messages": [...], "tools": [...]}` as JSON.
    MessagesJson(String),
}

impl PromptText {
    /// The text or JSON itself.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) | Self::MessagesJson(text) => text,
        }
    }

    /// As written in the column `prompt_format`.
    pub fn format(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::MessagesJson(_) => "messages_json",
        }
    }
}

/// A prompt, once, however many models answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// First 16 hex digits of the SHA-256 of the prompt.
    pub prompt_id: String,
    /// Key of the bare question: prompts of one key never cross splits and are resampled together.
    pub split_key: String,
    /// Its split.
    pub split: Split,
    /// Data set it comes from.
    pub dataset: String,
    /// Task or category inside the data set.
    pub subset: String,
    /// Coarse domain.
    pub domain: String,
    /// Absent in figures-only files and when reading without text.
    pub text: Option<PromptText>,
}

/// A model that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Name as in the origin.
    pub name: String,
    /// Tier class 1 to 4.
    pub class: u8,
}

/// What `cost_usd` covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostKind {
    /// Reported with the data.
    Reported,
    /// Tokens times list price.
    Computed,
    /// Hidden reasoning tokens are missing: too low.
    ComputedVisibleOutputOnly,
    /// No reply in the data: one output token assumed.
    ComputedOneOutputToken,
    /// No reply in the data: input only.
    ComputedInputOnly,
    /// There is no cost.
    None,
}

impl CostKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Reported,
        Self::Computed,
        Self::ComputedVisibleOutputOnly,
        Self::ComputedOneOutputToken,
        Self::ComputedInputOnly,
        Self::None,
    ];

    /// As written in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Computed => "computed",
            Self::ComputedVisibleOutputOnly => "computed_visible_output_only",
            Self::ComputedOneOutputToken => "computed_one_output_token",
            Self::ComputedInputOnly => "computed_input_only",
            Self::None => "none",
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the cost covers the whole call; partial costs are masked in the cost head.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Reported | Self::Computed)
    }
}

/// One model's result on one prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Index into [`Outcomes::prompts`].
    pub prompt: usize,
    /// Index into [`Outcomes::models`].
    pub model: usize,
    /// Quality in [0, 1], averaged over `n_samples`.
    pub score: f64,
    /// Index into [`Outcomes::score_kinds`]: scores compare only inside one kind.
    pub score_kind: usize,
    /// Samples averaged.
    pub n_samples: u32,
    /// Tokens of the prompt.
    pub input_tokens: Option<u32>,
    /// Tokens of the reply.
    pub output_tokens: Option<u32>,
    /// US dollars.
    pub cost_usd: Option<f64>,
    /// What `cost_usd` covers.
    pub cost_kind: CostKind,
    /// Seconds, where reported.
    pub latency_s: Option<f64>,
}

/// The outcomes of one or several files. Prompts are in order of `(dataset, subset, prompt_id)`,
/// models and score kinds by name, outcomes by prompt and model, so the order does not depend on
/// that of files or rows. What no outcome refers to is not held.
///
/// Where files share a prompt it is held once, under the first `(dataset, subset, domain)` in
/// alphabetical order; the files must agree on its split, key and text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcomes {
    /// Prompts, each once.
    pub prompts: Vec<Prompt>,
    /// Models, each once.
    pub models: Vec<Model>,
    /// How things were judged, each once.
    pub score_kinds: Vec<String>,
    /// The results.
    pub outcomes: Vec<Outcome>,
}

impl Outcomes {
    /// Index of the model of this name.
    pub fn model_position(&self, name: &str) -> Option<usize> {
        self.models.iter().position(|model| model.name == name)
    }

    /// Per prompt, per model of `models` in that order: index into `outcomes`, if it answered.
    pub fn matrix(&self, models: &[usize]) -> Vec<Vec<Option<usize>>> {
        let mut matrix = vec![vec![None; models.len()]; self.prompts.len()];
        for (index, outcome) in self.outcomes.iter().enumerate() {
            if let Some(column) = models.iter().position(|&model| model == outcome.model) {
                matrix[outcome.prompt][column] = Some(index);
            }
        }
        matrix
    }

    /// The outcomes of these models, and the prompts they answered.
    pub fn restrict(&self, models: &[usize]) -> Self {
        self.filter(|outcome| models.contains(&outcome.model))
    }

    /// The outcomes that `keep` keeps, and the prompts, models and score kinds they refer to.
    pub fn filter(&self, keep: impl Fn(&Outcome) -> bool) -> Self {
        let outcomes = self.outcomes.iter().filter(|outcome| keep(outcome)).copied().collect();
        Self {
            outcomes,
            ..self.clone()
        }
        .in_order()
    }

    /// The same without text: what may be passed on where the text may not.
    pub fn without_text(mut self) -> Self {
        self.prompts.iter_mut().for_each(|prompt| prompt.text = None);
        self
    }

    /// Whether any prompt has its text.
    pub fn has_text(&self) -> bool {
        self.prompts.iter().any(|prompt| prompt.text.is_some())
    }
}
