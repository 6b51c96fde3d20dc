//! What a recipe has done: per step the hash of what went in, and of what came out.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tiercast_records::disk::{hex, sha256_of_file, write_atomically};

use super::Step;

/// Steps that were done, by what went in.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    program: String,
    /// Key of a step to the hashes of its outputs.
    done: BTreeMap<String, BTreeMap<PathBuf, String>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct OnDisk {
    done: BTreeMap<String, BTreeMap<PathBuf, String>>,
}

impl Memory {
    /// That of a recipe; empty where there is none, or none that can be read.
    pub(super) fn open(folder: &Path, recipe: &Path) -> anyhow::Result<Self> {
        let name = recipe.file_stem().unwrap_or_default().to_string_lossy();
        let of_path = hex(&Sha256::digest(recipe.to_string_lossy().as_bytes())[..4]);
        let path = folder.join(format!("{name}-{of_path}.json"));
        let text = std::fs::read(&path).unwrap_or_default();
        let on_disk: OnDisk = serde_json::from_slice(&text).unwrap_or_default();
        // Another build may compute something else from the same inputs.
        let program = std::env::current_exe().context("this program's own path")?;
        Ok(Self {
            path,
            program: sha256_of_file(&program)?,
            done: on_disk.done,
        })
    }

    /// Hash of the program, the command line and all that it reads.
    pub(super) fn key(&self, step: &Step) -> anyhow::Result<String> {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        add(&self.program);
        step.run.iter().for_each(|word| add(word));
        for input in &step.inputs {
            add(&input.to_string_lossy());
            add(&content(input)?.unwrap_or_else(|| "absent".to_owned()));
        }
        Ok(hex(&hash.finalize()))
    }

    /// Whether the step with this key was done, and its outputs are still as it left them.
    pub(super) fn is_done(&self, step: &Step, key: &str) -> anyhow::Result<bool> {
        let Some(outputs) = self.done.get(key) else {
            return Ok(false);
        };
        for output in &step.outputs {
            let now = content(output)?;
            if now.is_none() || now.as_ref() != outputs.get(output) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Notes that the step with this key is done.
    pub(super) fn remember(&mut self, step: &Step, key: String) -> anyhow::Result<()> {
        if step.outputs.is_empty() {
            return Ok(());
        }
        let mut outputs = BTreeMap::new();
        for output in &step.outputs {
            let found = content(output)?.with_context(|| format!("it left no {}", output.display()))?;
            outputs.insert(output.clone(), found);
        }
        self.done.insert(key, outputs);
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let text = serde_json::to_vec_pretty(&OnDisk {
            done: self.done.clone(),
        })?;
        Ok(write_atomically(&self.path, |file| file.write_all(&text))?)
    }
}

/// Hash of a file, or of all files of a folder with their names; `None` where there is nothing.
fn content(path: &Path) -> anyhow::Result<Option<String>> {
    if path.is_file() {
        return Ok(Some(sha256_of_file(path)?));
    }
    if !path.is_dir() {
        return Ok(None);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
    let mut entries: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| format!("cannot list {}", path.display()))?;
    entries.sort();
    let mut hash = Sha256::new();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        hash.update(format!("{name}\0{}\0", content(&entry)?.unwrap_or_default()));
    }
    Ok(Some(hex(&hash.finalize())))
}
