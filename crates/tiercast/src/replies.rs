//! The replies of outcome files, beside the prompts and tiers that they belong to.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use anyhow::Context;
use tiercast_chat::{mean_logprob, prompt_request};
use tiercast_predictor::answers::agreement;
use tiercast_records::completions;
use tiercast_records::outcomes::{Outcomes, PromptText};
use tiercast_trainer::cascade::{Replies, Said};

use crate::arguments::UsageError;

/// One reply of a tier to a prompt, in the order of the files.
struct Sample {
    text: String,
    mean_logprob: Option<f64>,
}

/// What a cascade is fitted to, and how it is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking {
    /// Replies that every stage but the last is asked for.
    pub(crate) samples: usize,
    /// Share of the best single tier's quality that has to be kept on validation.
    pub(crate) kept: f64,
}

/// Reads the replies of `tiers` to the prompts of `outcomes`, which hold their text. The first reply of a tier
/// to a prompt counts; of further ones as many as are asked for say whether they conclude the same.
pub(crate) fn read(
    files: &[PathBuf],
    outcomes: &Outcomes,
    tiers: &[String],
    asking: Asking,
) -> anyhow::Result<Replies> {
    let places: HashMap<&str, usize> = outcomes
        .prompts
        .iter()
        .enumerate()
        .map(|(place, prompt)| (prompt.prompt_id.as_str(), place))
        .collect();
    let mut samples: BTreeMap<(usize, usize), Vec<Sample>> = BTreeMap::new();
    for file in files {
        completions::for_each(file, |completion| {
            let tier = tiers.iter().position(|tier| tier == completion.model);
            let place = places.get(completion.prompt_id).copied();
            if let (Some(place), Some(tier), Some(text)) = (place, tier, completion.response) {
                let of = samples.entry((place, tier)).or_default();
                if of.len() < asking.samples {
                    of.push(Sample {
                        text: text.to_owned(),
                        mean_logprob: completion.logprobs.and_then(mean_logprob_of),
                    });
                }
            }
        })
        .with_context(|| format!("reading the replies in {}", file.display()))?;
    }
    let n_whole = samples.values().filter(|of| of.len() == asking.samples).count();
    if asking.samples > 1 && 2 * n_whole < samples.len() {
        let what = format!(
            "--cascade-samples {}: only {n_whole} of {} replies have as many samples; collect with `--samples {}`, and \
             name its completions.parquet by --replies",
            asking.samples,
            samples.len(),
            asking.samples
        );
        return Err(UsageError(what).into());
    }
    let said = samples.into_iter().filter_map(|(of, samples)| {
        let mut samples = samples.into_iter();
        let first = samples.next()?;
        let others: Vec<String> = samples.map(|sample| sample.text).collect();
        let said = Said {
            agreement: agreement(&first.text, others.iter().map(String::as_str)),
            text: first.text,
            mean_logprob: first.mean_logprob,
        };
        Some((of, said))
    });
    Ok(Replies {
        asks: outcomes
            .prompts
            .iter()
            .map(|prompt| ask(prompt.text.as_ref()?))
            .collect(),
        said: said.collect(),
        samples: asking.samples,
        kept: asking.kept,
    })
}

fn mean_logprob_of(json: &str) -> Option<f64> {
    mean_logprob(&serde_json::from_str(json).ok()?)
}

/// What the human asks, as features read it.
fn ask(text: &PromptText) -> Option<String> {
    let is_json = matches!(text, PromptText::MessagesJson(_));
    Some(prompt_request(text.as_str(), is_json).ok()?.ask)
}
