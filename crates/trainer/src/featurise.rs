//! Features for every prompt of an outcome table: from its text, or from a features file.

use std::collections::BTreeMap;

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tiercast_chat::prompt_request;
use tiercast_encoder::dense::DenseEncoder;
use tiercast_predictor::features::{FEATURE_VERSION, Featuriser};
use tiercast_records::features::{FeatureFile, Features};
use tiercast_records::outcomes::{Outcomes, Prompt, PromptText};
use tiercast_routing::request::Request;

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
    /// The features file has no transformer embeddings.
    #[error(
        "prompt {0} has neither text nor a transformer embedding: make the features file again with \
         `tiercast featurise --encoder dense`, or use --encoder fast"
    )]
    NoDense(String),
    /// A prompt cannot be read.
    #[error("prompt {prompt_id}: {what}")]
    Prompt {
        /// Which.
        prompt_id: String,
        /// What is wrong.
        what: String,
    },
}

/// Where transformer embeddings come from, beside the features file.
#[derive(Default)]
pub struct Dense<'a> {
    /// Makes them; `None` for the `fast` encoder.
    pub encoder: Option<&'a DenseEncoder>,
    /// Made earlier, by [`content_key`]; what is made now is added.
    pub cache: BTreeMap<String, Vec<i8>>,
}

/// Features parallel to `outcomes.prompts`. Text wins over the file where both are there.
pub fn features_of(
    outcomes: &Outcomes,
    file: Option<&FeatureFile>,
    dense: &mut Dense<'_>,
) -> Result<Vec<Features>, FeaturiseError> {
    if let Some(found) = file
        .map(|file| file.version)
        .filter(|version| *version != FEATURE_VERSION)
    {
        return Err(FeaturiseError::Version { found });
    }
    let featuriser = Featuriser::new();
    let sources: Vec<Source> = outcomes
        .prompts
        .par_iter()
        .map(|prompt| source(&featuriser, prompt, file))
        .collect::<Result<_, _>>()?;
    match dense.encoder {
        Some(encoder) => with_dense(outcomes, sources, encoder, &mut dense.cache),
        None => Ok(sources
            .into_iter()
            .map(|source| source.features.without_dense())
            .collect()),
    }
}

/// Features but for the transformer's embedding, and what it is made from.
struct Source {
    features: Features,
    /// `None` where there is no text.
    request: Option<Request>,
}

fn source(featuriser: &Featuriser, prompt: &Prompt, file: Option<&FeatureFile>) -> Result<Source, FeaturiseError> {
    let id = || prompt.prompt_id.clone();
    let request = match (&prompt.text, file) {
        (Some(PromptText::Text(text)), _) => prompt_request(text, false),
        (Some(PromptText::MessagesJson(text)), _) => prompt_request(text, true),
        (None, Some(file)) => {
            let found = file.rows.get(&prompt.prompt_id).cloned();
            let features = found.ok_or_else(|| FeaturiseError::Missing(id()))?;
            return Ok(Source {
                features,
                request: None,
            });
        }
        (None, None) => return Err(FeaturiseError::NoText(id())),
    };
    let request = request.map_err(|error| FeaturiseError::Prompt {
        prompt_id: id(),
        what: error.to_string(),
    })?;
    Ok(Source {
        features: featuriser.features(&request),
        request: Some(request),
    })
}

/// Adds the transformer's embeddings: from the cache, or made now, each text once.
fn with_dense(
    outcomes: &Outcomes,
    sources: Vec<Source>,
    encoder: &DenseEncoder,
    cache: &mut BTreeMap<String, Vec<i8>>,
) -> Result<Vec<Features>, FeaturiseError> {
    let keys: Vec<Option<String>> = sources
        .par_iter()
        .map(|source| source.request.as_ref().map(|request| content_key(&request.ask)))
        .collect();
    let missing: BTreeMap<&String, &Request> = keys
        .iter()
        .zip(&sources)
        .filter_map(|(key, source)| Some((key.as_ref()?, source.request.as_ref()?)))
        .filter(|(key, _)| !cache.contains_key(*key))
        .collect();
    let featuriser = Featuriser::with_dense(encoder.clone());
    let made: Vec<(String, Vec<i8>)> = missing
        .into_par_iter()
        .map(|(key, request)| (key.clone(), featuriser.dense(request)))
        .collect();
    cache.extend(made);
    let finish = |((source, key), prompt): ((Source, Option<String>), &Prompt)| {
        let mut features = source.features;
        if let Some(found) = key.and_then(|key| cache.get(&key)) {
            features.dense.clone_from(found);
        }
        match features.dense.is_empty() {
            true => Err(FeaturiseError::NoDense(prompt.prompt_id.clone())),
            false => Ok(features),
        }
    };
    sources
        .into_iter()
        .zip(keys)
        .zip(&outcomes.prompts)
        .map(finish)
        .collect()
}

/// Key of an embedding: SHA-256 of the ask, first 32 hex digits. Encoder and feature version are in
/// the name of the cache.
pub fn content_key(ask: &str) -> String {
    let hash = Sha256::digest(ask.as_bytes());
    hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
