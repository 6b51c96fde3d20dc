//! Features for every prompt of an outcome table: from its text, or from a features file.

use rayon::prelude::*;
use thiserror::Error;
use tiercast_chat::prompt_request;
use tiercast_predictor::features::{FEATURE_VERSION, Featuriser};
use tiercast_records::features::{FeatureFile, Features};
use tiercast_records::outcomes::{Outcomes, Prompt, PromptText};

/// Why there are no features.
#[derive(Debug, Error)]
pub enum FeaturiseError {
    /// No text, and no features file.
    #[error(
        "prompt {0} has no text and there is no features file: \
         give outcomes with a `prompt` column, or the features file that was made from them"
    )]
    NoText(String),
    /// The features file lacks the prompt.
    #[error("the features file has no prompt {0}: make it again with `tiercast featurise`")]
    Missing(String),
    /// The features file is of another version.
    #[error(
        "the features file is of version {found}, this build makes version {FEATURE_VERSION}: make it again with `tiercast featurise`"
    )]
    Version {
        /// In the file.
        found: u32,
    },
    /// A prompt cannot be read.
    #[error("prompt {prompt_id}: {what}")]
    Prompt {
        /// Which.
        prompt_id: String,
        /// What is wrong.
        what: String,
    },
}

/// Features parallel to `outcomes.prompts`. Text wins over the file where both are there.
pub fn features_of(outcomes: &Outcomes, file: Option<&FeatureFile>) -> Result<Vec<Features>, FeaturiseError> {
    if let Some(found) = file
        .map(|file| file.version)
        .filter(|version| *version != FEATURE_VERSION)
    {
        return Err(FeaturiseError::Version { found });
    }
    let featuriser = Featuriser::new();
    outcomes
        .prompts
        .par_iter()
        .map(|prompt| features_of_prompt(&featuriser, prompt, file))
        .collect()
}

fn features_of_prompt(
    featuriser: &Featuriser,
    prompt: &Prompt,
    file: Option<&FeatureFile>,
) -> Result<Features, FeaturiseError> {
    let id = || prompt.prompt_id.clone();
    let request = match (&prompt.text, file) {
        (Some(PromptText::Text(text)), _) => prompt_request(text, false),
        (Some(PromptText::MessagesJson(text)), _) => prompt_request(text, true),
        (None, Some(file)) => {
            return file
                .rows
                .get(&prompt.prompt_id)
                .cloned()
                .ok_or_else(|| FeaturiseError::Missing(id()));
        }
        (None, None) => return Err(FeaturiseError::NoText(id())),
    };
    let request = request.map_err(|error| FeaturiseError::Prompt {
        prompt_id: id(),
        what: error.to_string(),
    })?;
    Ok(featuriser.features(&request))
}
