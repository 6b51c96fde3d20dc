//! The replies of outcome files, beside the prompts and tiers that they belong to.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use anyhow::Context;
use tiercast_chat::prompt_request;
use tiercast_records::completions;
use tiercast_records::outcomes::{Outcomes, PromptText};
use tiercast_trainer::cascade::Replies;

/// Reads the replies of `tiers` to the prompts of `outcomes`, which hold their text.
pub(crate) fn read(files: &[PathBuf], outcomes: &Outcomes, tiers: &[String], kept: f64) -> anyhow::Result<Replies> {
    let places: HashMap<&str, usize> = outcomes
        .prompts
        .iter()
        .enumerate()
        .map(|(place, prompt)| (prompt.prompt_id.as_str(), place))
        .collect();
    let mut texts = BTreeMap::new();
    for file in files {
        completions::for_each(file, |completion| {
            let tier = tiers.iter().position(|tier| tier == completion.model);
            let place = places.get(completion.prompt_id).copied();
            if let (Some(place), Some(tier), Some(text)) = (place, tier, completion.response) {
                texts.insert((place, tier), text.to_owned());
            }
        })
        .with_context(|| format!("reading the replies in {}", file.display()))?;
    }
    Ok(Replies {
        asks: outcomes
            .prompts
            .iter()
            .map(|prompt| ask(prompt.text.as_ref()?))
            .collect(),
        texts,
        kept,
    })
}

/// What the human asks, as features read it.
fn ask(text: &PromptText) -> Option<String> {
    let is_json = matches!(text, PromptText::MessagesJson(_));
    Some(prompt_request(text.as_str(), is_json).ok()?.ask)
}
