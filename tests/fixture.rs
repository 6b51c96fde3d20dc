//! A folder with small data: 120 made-up prompts, three tiers, and a word in each prompt that
//! decides which tiers are right.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tiercast_records::outcomes::{self, CostKind, Model, Outcome, Outcomes, Prompt, PromptText, Split};

use crate::run::{Run, tiercast};

/// Name, class, US dollars per million tokens in and out; by name, as the rows lie on disk.
pub(crate) const TIERS: [(&str, u8, f64, f64); 3] =
    [("large", 1, 5.0, 15.0), ("medium", 2, 1.0, 2.0), ("small", 3, 0.1, 0.2)];

/// What is asked, and the least tier that is right (index into [`TIERS`]).
const TASKS: [(&str, &str, usize); 3] = [
    ("arithmetic", "Please add up the apples and pears", 2),
    ("language", "Translate this postcard into Portuguese", 1),
    ("mathematics", "Prove by induction that the staircase sum holds", 0),
];

const PLACES: [&str; 8] = [
    "harbour",
    "orchard",
    "library",
    "station",
    "bakery",
    "museum",
    "valley",
    "lighthouse",
];

pub(crate) struct Fixture {
    folder: TempDir,
}

impl Fixture {
    /// A folder with `outcomes.parquet`.
    pub(crate) fn new() -> Self {
        let fixture = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        outcomes::write(&fixture.path("outcomes.parquet"), &rows()).unwrap();
        fixture
    }

    /// The same with a checkpoint trained on it.
    pub(crate) fn trained() -> Self {
        let fixture = Self::new();
        fixture.train("checkpoint", &[]).ok();
        fixture
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The path for a command line.
    pub(crate) fn at(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().unwrap()
    }

    /// Trains briefly on the outcomes, into `out`.
    pub(crate) fn train(&self, out: &str, more: &[&str]) -> Run {
        tiercast(&[&self.training(out).iter().map(String::as_str).collect::<Vec<_>>(), more].concat())
    }

    /// Arguments of that training.
    pub(crate) fn training(&self, out: &str) -> Vec<String> {
        let fixed = ["train", "--epochs", "3", "--members", "1"].map(str::to_owned);
        let paths = ["--outcomes", &self.at("outcomes.parquet"), "--out", &self.at(out)].map(str::to_owned);
        [fixed.to_vec(), paths.to_vec()].concat()
    }

    /// Names in the folder, hidden ones too.
    pub(crate) fn names(&self) -> Vec<String> {
        contents(self.folder.path()).into_keys().collect()
    }
}

/// Every file of a folder, and every folder in it as nothing, by name.
pub(crate) fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let bytes = if entry.path().is_file() {
                fs::read(entry.path()).unwrap()
            } else {
                Vec::new()
            };
            (entry.file_name().into_string().unwrap(), bytes)
        })
        .collect()
}

/// Copies the files of a folder into a new one.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for (name, bytes) in contents(from) {
        fs::write(to.join(name), bytes).unwrap();
    }
}

/// The texts of the prompts, in the order of `rows().prompts`.
pub(crate) fn texts() -> Vec<String> {
    (0..120).map(text).collect()
}

fn text(number: usize) -> String {
    let (_, ask, _) = TASKS[number % TASKS.len()];
    let (place, other) = (
        PLACES[number % PLACES.len()],
        PLACES[number / PLACES.len() % PLACES.len()],
    );
    format!("{ask}, number {number}, from the {place} to the {other}.")
}

/// All rows.
pub(crate) fn rows() -> Outcomes {
    Outcomes {
        prompts: (0..120).map(prompt).collect(),
        models: TIERS
            .map(|(name, class, ..)| Model {
                name: name.to_owned(),
                class,
            })
            .to_vec(),
        score_kinds: vec!["exact_match".to_owned()],
        outcomes: (0..120)
            .flat_map(|prompt| (0..TIERS.len()).map(move |model| outcome(prompt, model)))
            .collect(),
    }
}

fn prompt(number: usize) -> Prompt {
    let (subset, ..) = TASKS[number % TASKS.len()];
    Prompt {
        prompt_id: format!("{:016x}", 0xabc0_0000 + number),
        split_key: format!("{:016x}", 0xdef0_0000 + number),
        // 72 to train, 24 to validate, 24 to test, each with every task.
        split: match number / 3 % 5 {
            0..3 => Split::Train,
            3 => Split::Validation,
            _ => Split::Test,
        },
        dataset: "made_up".to_owned(),
        subset: subset.to_owned(),
        domain: subset.to_owned(),
        text: Some(PromptText::Text(text(number))),
    }
}

fn outcome(prompt: usize, model: usize) -> Outcome {
    let (.., input_price, output_price) = TIERS[model];
    let (.., least) = TASKS[prompt % TASKS.len()];
    let input_tokens = u32::try_from(text(prompt).len() / 4).unwrap();
    let output_tokens = u32::try_from(40 + prompt * 7 % 50 + 30 * (prompt % 3)).unwrap();
    // One in eleven goes the other way, so that nothing is certain.
    let is_right = (model <= least) != ((prompt * 3 + model).is_multiple_of(11));
    Outcome {
        prompt,
        model,
        score: if is_right { 1.0 } else { 0.0 },
        score_kind: 0,
        n_samples: 1,
        input_tokens: Some(input_tokens),
        output_tokens: Some(output_tokens),
        cost_usd: Some((f64::from(input_tokens) * input_price + f64::from(output_tokens) * output_price) / 1e6),
        cost_kind: CostKind::Computed,
        latency_s: None,
    }
}
