//! `tiercast tier`: a new tier for an existing checkpoint, from few judged prompts.

use std::io::Write;

use anyhow::Context;
use serde_json::json;
use tiercast_predictor::checkpoint;
use tiercast_predictor::predictor::Predictor;
use tiercast_records::disk::write_atomically;
use tiercast_records::outcomes::Split;
use tiercast_trainer::added::{choose_prompts, fit_added};
use tiercast_trainer::card::card;

use crate::arguments::{TierAddArguments, TierChooseArguments, TierCommand, UsageError};
use crate::commands::{open, read_rows, read_rows_with_text};
use crate::progress::say;

/// Runs either.
pub(crate) fn run(command: &TierCommand) -> anyhow::Result<()> {
    match command {
        TierCommand::Choose(arguments) => choose(arguments),
        TierCommand::Add(arguments) => add(arguments),
    }
}

/// Writes the prompts to be judged, the most telling one first.
fn choose(arguments: &TierChooseArguments) -> anyhow::Result<()> {
    let predictor = open(&arguments.checkpoint, arguments.device)?;
    let splits = Some(vec![Split::Train, Split::Validation]);
    let rows = read_rows_with_text(&arguments.rows, None, splits, predictor.dense_encoder())?;
    let prompts = &rows.outcomes.prompts;
    let fitting: Vec<usize> = (0..prompts.len())
        .filter(|prompt| [Split::Train, Split::Validation].contains(&prompts[*prompt].split))
        .collect();
    let features: Vec<_> = fitting.iter().map(|prompt| rows.features[*prompt].clone()).collect();
    let chosen = choose_prompts(&predictor, &features, arguments.n as usize);
    let line = |at: &usize| {
        let prompt = &prompts[fitting[*at]];
        let mut line = json!({
            "prompt_id": prompt.prompt_id,
            "split_key": prompt.split_key,
            "split": prompt.split.name(),
            "dataset": prompt.dataset,
            "subset": prompt.subset,
            "domain": prompt.domain,
        });
        if let Some(text) = &prompt.text {
            line["prompt"] = json!(text.as_str());
            line["prompt_format"] = json!(text.format());
        }
        line
    };
    let lines: Vec<String> = chosen.iter().map(|at| line(at).to_string() + "\n").collect();
    write_atomically(&arguments.out, |file| file.write_all(lines.concat().as_bytes()))?;
    say(&format!(
        "{} prompts written to {}",
        chosen.len(),
        arguments.out.display()
    ));
    if fitting.iter().any(|prompt| prompts[*prompt].text.is_none()) {
        say("note: the outcome file has no text, so the lines hold ids alone: find the prompts by `prompt_id`");
    }
    Ok(())
}

/// Fits the tier and saves a checkpoint that has it.
fn add(arguments: &TierAddArguments) -> anyhow::Result<()> {
    checkpoint::prepare(&arguments.out)?;
    let opening = || format!("opening checkpoint {}", arguments.checkpoint.display());
    let (manifest, mut contents) = checkpoint::open(&arguments.checkpoint).with_context(opening)?;
    let curves = std::fs::read_to_string(arguments.checkpoint.join("curves.json")).with_context(opening)?;
    let predictor = Predictor::new(manifest, contents.clone(), arguments.device).with_context(opening)?;
    let splits = Some(vec![Split::Train, Split::Validation]);
    let tiers = Some(vec![arguments.tier.clone()]);
    let rows = read_rows(&arguments.rows, tiers, splits, predictor.dense_encoder())?;
    let most = arguments.samples.map(|most| most as usize);
    let mut added = fit_added(&predictor, &rows.outcomes, &rows.features, &arguments.tier, most)?;
    if let Some(class) = arguments.class {
        added.tier.class = class;
    }
    let n_prompts = added.n_prompts;
    contents.added.push(added);
    contents
        .whole_catalog()
        .map_err(|error| UsageError(error.to_string()))?;
    let manifest = checkpoint::save(&arguments.out, &contents, &curves, &card(&contents))?;
    say(&format!(
        "tier {} added from {n_prompts} judged prompts; checkpoint {} saved to {}. Its floors are those of before: \
         `tiercast calibrate` fits them to all tiers, where validation rows have every tier's outcome",
        arguments.tier,
        manifest.id,
        arguments.out.display()
    ));
    Ok(())
}
