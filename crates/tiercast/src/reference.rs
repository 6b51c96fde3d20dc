//! `data reference`: the committed figures, from the public outcome files with text.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tiercast_predictor::features::FEATURE_VERSION;
use tiercast_records::disk::sha256_of_file;
use tiercast_records::features::{self, Features};
use tiercast_records::manifest;
use tiercast_records::outcomes::{self, ReadOptions, Split};
use tiercast_trainer::featurise::{Dense, features_of};

use crate::progress::say;

/// The files and the tier pools taken from them.
const POOLS: [(&str, &[&str]); 3] = [
    (
        "mmlu_pro",
        &[
            "gemini-1.5-pro-002",
            "Meta-Llama-3.1-70B-Instruct",
            "gemini-1.5-flash-002",
            "Meta-Llama-3.1-8B-Instruct",
            "mathstral-7B",
        ],
    ),
    (
        "zeroeval",
        &[
            "o1-mini-2024-09-12",
            "gpt-4o-2024-08-06",
            "Meta-Llama-3.1-70B-Instruct",
            "gpt-4o-mini-2024-07-18",
            "Meta-Llama-3.1-8B-Instruct",
        ],
    ),
    (
        "routellm",
        &["gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"],
    ),
];

const FEATURES: &str = "features.parquet";

/// Writes outcome rows without text, the features of their prompts, and last the manifest.
pub(crate) fn build(from: &Path, out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    let mut notes = BTreeMap::from([("command".to_owned(), "tiercast data reference --from FOLDER".to_owned())]);
    let mut all_features: BTreeMap<String, Features> = BTreeMap::new();
    let mut files: Vec<(String, u64)> = Vec::new();
    // An old manifest must not vouch for new files.
    remove_manifest(out)?;
    for (name, tiers) in POOLS {
        let file = format!("{name}.parquet");
        let source = from.join(&file);
        notes.insert(format!("source sha256 of {file}"), sha256_of_file(&source)?);
        files.push((file.clone(), pool(&source, tiers, &out.join(&file), &mut all_features)?));
    }
    let rows: Vec<(String, Features)> = all_features.into_iter().collect();
    features::write(&out.join(FEATURES), FEATURE_VERSION, &rows)?;
    say(&format!("{FEATURES}: {} prompts", rows.len()));
    files.push((FEATURES.to_owned(), rows.len() as u64));
    let named: Vec<(&str, u64)> = files.iter().map(|(name, rows)| (name.as_str(), *rows)).collect();
    manifest::write(out, manifest::DATASET, &named, notes)?;
    Ok(())
}

fn remove_manifest(out: &Path) -> anyhow::Result<()> {
    let path: PathBuf = out.join(manifest::FILE_NAME);
    match path.exists() {
        true => fs::remove_file(&path).with_context(|| format!("removing {}", path.display())),
        false => Ok(()),
    }
}

/// Writes the figures of one pool and adds the features of its prompts; returns the rows written.
fn pool(source: &Path, tiers: &[&str], out: &Path, all: &mut BTreeMap<String, Features>) -> anyhow::Result<u64> {
    let options = ReadOptions {
        with_text: true,
        models: Some(tiers.iter().map(|tier| (*tier).to_owned()).collect()),
        splits: Some(vec![Split::Train, Split::Validation, Split::Test]),
    };
    let outcomes = outcomes::read(&[source.to_owned()], &options)?;
    let features = features_of(&outcomes, None, &mut Dense::default())?;
    all.extend(
        outcomes
            .prompts
            .iter()
            .map(|prompt| prompt.prompt_id.clone())
            .zip(features),
    );
    let n_rows = outcomes.outcomes.len() as u64;
    outcomes::write(out, &outcomes.without_text())?;
    say(&format!("{}: {n_rows} rows", out.display()));
    Ok(n_rows)
}
