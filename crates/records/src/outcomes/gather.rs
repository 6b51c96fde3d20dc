//! Rows to tables: interns prompts, models and score kinds, and makes the checks that compare rows.
//! Rows that are not wanted are checked for what would spoil the wanted ones, a question that
//! crosses splits, and are then let go.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::cells::Row;
use super::{Model, Outcome, Outcomes, Prompt, PromptText, ReadOptions, Split};
use crate::error::{Fault, Problems};

/// A row of a file, for messages about two rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    file: usize,
    row: u64,
}

/// Tables being filled.
pub(super) struct Gather<'o> {
    options: &'o ReadOptions,
    files: Vec<PathBuf>,
    tables: Outcomes,
    prompts: HashMap<String, usize>,
    models: HashMap<String, usize>,
    score_kinds: HashMap<String, usize>,
    /// Per prompt: where it first stood, its key where a file states one, and whether a wanted row
    /// gave its origin.
    prompt_places: Vec<Place>,
    stated_keys: Vec<Option<String>>,
    has_origin: Vec<bool>,
    /// Per model: its class where a file states one, and where.
    classes: Vec<Option<(u8, Place)>>,
    /// Per key: its split and where it first stood.
    splits: HashMap<String, (Split, Place)>,
    /// Per prompt and model: where the pair stood.
    pairs: HashMap<(usize, usize), Place>,
    n_rows: u64,
}

impl<'o> Gather<'o> {
    pub(super) fn new(options: &'o ReadOptions) -> Self {
        Self {
            options,
            files: Vec::new(),
            tables: Outcomes::default(),
            prompts: HashMap::new(),
            models: HashMap::new(),
            score_kinds: HashMap::new(),
            prompt_places: Vec::new(),
            stated_keys: Vec::new(),
            has_origin: Vec::new(),
            classes: Vec::new(),
            splits: HashMap::new(),
            pairs: HashMap::new(),
            n_rows: 0,
        }
    }

    pub(super) fn start_file(&mut self, file: &Path) {
        self.files.push(file.to_path_buf());
        self.n_rows = 0;
    }

    /// Rows seen of the current file, right or wrong.
    pub(super) fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Counts a row and gives its number.
    pub(super) fn next_row(&mut self) -> u64 {
        self.n_rows += 1;
        self.n_rows - 1
    }

    /// Takes a row in, or says why it does not fit with earlier ones.
    pub(super) fn add(&mut self, row: &Row<'_>, at: u64, problems: &mut Problems) {
        let place = Place {
            file: self.files.len() - 1,
            row: at,
        };
        let prompt = self.prompt(row, place);
        let model = self.model(row);
        let wanted = self.wants(row);
        let mut checks = vec![self.check_split(row, prompt), self.check_key(row, prompt, place)];
        if wanted {
            checks.push(self.check_class(row, model, place));
            checks.push(self.check_pair(row, (prompt, model), place));
            checks.push(self.check_text(row, prompt));
        }
        let n_checks = checks.len();
        let n_passed = checks.into_iter().filter_map(|check| problems.note(at, check)).count();
        if wanted && n_passed == n_checks {
            self.keep(row, prompt, model);
        }
    }

    /// The tables in order, with keys and classes that no file stated filled in.
    pub(super) fn finish(mut self) -> Outcomes {
        for (prompt, key) in self.tables.prompts.iter_mut().zip(self.stated_keys) {
            prompt.split_key = key.unwrap_or_else(|| prompt.prompt_id.clone());
        }
        for (model, class) in self.tables.models.iter_mut().zip(self.classes) {
            model.class = class.map_or(2, |(class, _)| class);
        }
        self.tables.in_order()
    }

    fn wants(&self, row: &Row<'_>) -> bool {
        let ReadOptions { models, splits, .. } = self.options;
        let model = models
            .as_ref()
            .is_none_or(|models| models.iter().any(|model| model == row.model));
        model && splits.as_ref().is_none_or(|splits| splits.contains(&row.split))
    }

    fn keep(&mut self, row: &Row<'_>, prompt: usize, model: usize) {
        self.take_origin(row, prompt);
        let text = self.options.with_text.then_some(row.prompt).flatten();
        if let (None, Some(text)) = (&self.tables.prompts[prompt].text, text) {
            self.tables.prompts[prompt].text = Some(text_of(row, text));
        }
        let score_kind = intern(&mut self.score_kinds, row.score_kind, self.tables.score_kinds.len());
        if score_kind == self.tables.score_kinds.len() {
            self.tables.score_kinds.push(row.score_kind.to_owned());
        }
        self.tables.outcomes.push(Outcome {
            prompt,
            model,
            score: row.score,
            score_kind,
            n_samples: row.n_samples,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            cost_usd: row.cost_usd,
            cost_kind: row.cost_kind,
            latency_s: row.latency_s,
        });
    }

    /// Index of the row's prompt.
    fn prompt(&mut self, row: &Row<'_>, place: Place) -> usize {
        let index = intern(&mut self.prompts, row.prompt_id, self.tables.prompts.len());
        if index == self.tables.prompts.len() {
            self.tables.prompts.push(new_prompt(row));
            self.prompt_places.push(place);
            self.stated_keys.push(None);
            self.has_origin.push(false);
        }
        index
    }

    /// The first origin in alphabetical order, of the wanted rows, stands for all.
    fn take_origin(&mut self, row: &Row<'_>, prompt: usize) {
        let dataset = row.dataset.map_or_else(|| self.stem(), str::to_owned);
        let has_origin = std::mem::replace(&mut self.has_origin[prompt], true);
        let prompt = &mut self.tables.prompts[prompt];
        let held = (prompt.dataset.as_str(), prompt.subset.as_str(), prompt.domain.as_str());
        if !has_origin || (dataset.as_str(), row.subset, row.domain) < held {
            prompt.dataset = dataset;
            prompt.subset = row.subset.to_owned();
            prompt.domain = row.domain.to_owned();
        }
    }

    fn model(&mut self, row: &Row<'_>) -> usize {
        let index = intern(&mut self.models, row.model, self.tables.models.len());
        if index == self.tables.models.len() {
            self.tables.models.push(Model {
                name: row.model.to_owned(),
                class: 2,
            });
            self.classes.push(None);
        }
        index
    }

    fn check_split(&self, row: &Row<'_>, prompt: usize) -> Result<(), Fault> {
        let first = self.tables.prompts[prompt].split;
        if first == row.split {
            return Ok(());
        }
        let (id, now, then) = (row.prompt_id, row.split.name(), first.name());
        let place = self.name(self.prompt_places[prompt]);
        let what = format!("prompt `{id}` is in {now} here and in {then} at {place}");
        Err(Fault::new("split", what, "Put every row of a prompt into one split"))
    }

    fn check_key(&mut self, row: &Row<'_>, prompt: usize, place: Place) -> Result<(), Fault> {
        let Some(key) = row.split_key else { return Ok(()) };
        let stated = self.stated_keys[prompt].get_or_insert_with(|| key.to_owned());
        if stated != key {
            let what = format!(
                "prompt `{}` has the key `{key}` here and `{stated}` before",
                row.prompt_id
            );
            return Err(Fault::new(
                "split_key",
                what,
                "Give every row of a prompt one key: that of its bare question",
            ));
        }
        let (split, first) = match self.splits.get(key) {
            Some(&known) => known,
            None => *self.splits.entry(key.to_owned()).or_insert((row.split, place)),
        };
        if split == row.split {
            return Ok(());
        }
        let what = format!(
            "key `{key}` is in {} here and in {} at {}",
            row.split.name(),
            split.name(),
            self.name(first)
        );
        Err(Fault::new(
            "split_key",
            what,
            "Put every prompt of one key into one split: else training sees test questions",
        ))
    }

    fn check_class(&mut self, row: &Row<'_>, model: usize, place: Place) -> Result<(), Fault> {
        let Some(class) = row.class else { return Ok(()) };
        let (first_class, first) = *self.classes[model].get_or_insert((class, place));
        if first_class == class {
            return Ok(());
        }
        let what = format!(
            "`{}` is of class {class} here and {first_class} at {}",
            row.model,
            self.name(first)
        );
        Err(Fault::new("model_tier", what, "Give a model one class throughout"))
    }

    fn check_pair(&mut self, row: &Row<'_>, pair: (usize, usize), place: Place) -> Result<(), Fault> {
        let first = *self.pairs.entry(pair).or_insert(place);
        if first == place {
            return Ok(());
        }
        let what = format!(
            "`{}` answered prompt `{}` already at {}",
            row.model,
            row.prompt_id,
            self.name(first)
        );
        let mend = if first.file == place.file {
            "Keep one row per prompt and model; average repeated samples into n_samples"
        } else {
            "Read the files apart, leave the model out, or give it another name in one of them"
        };
        Err(Fault::new("model", what, mend))
    }

    fn check_text(&self, row: &Row<'_>, prompt: usize) -> Result<(), Fault> {
        let (Some(held), Some(text)) = (&self.tables.prompts[prompt].text, row.prompt) else {
            return Ok(());
        };
        if held.as_str() == text && matches!(held, PromptText::MessagesJson(_)) == row.is_messages_json {
            return Ok(());
        }
        let what = format!(
            "prompt `{}` has another text at {}",
            row.prompt_id,
            self.name(self.prompt_places[prompt])
        );
        Err(Fault::new("prompt", what, "Give each text its own prompt_id"))
    }

    /// A place as seen from the current file.
    fn name(&self, place: Place) -> String {
        let row = place.row;
        if place.file + 1 == self.files.len() {
            format!("data row {row}")
        } else {
            format!("data row {row} of {}", self.files[place.file].display())
        }
    }

    /// Data set of files that do not name one.
    fn stem(&self) -> String {
        let file = self.files.last().and_then(|file| file.file_stem());
        file.map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// Index of `name`, `next` if it is new. Looks before it copies: nearly every name is known.
fn intern(known: &mut HashMap<String, usize>, name: &str, next: usize) -> usize {
    match known.get(name) {
        Some(&index) => index,
        None => *known.entry(name.to_owned()).or_insert(next),
    }
}

/// A prompt whose key and origin are yet to be found.
fn new_prompt(row: &Row<'_>) -> Prompt {
    Prompt {
        prompt_id: row.prompt_id.to_owned(),
        split_key: String::new(),
        split: row.split,
        dataset: String::new(),
        subset: String::new(),
        domain: String::new(),
        text: None,
    }
}

fn text_of(row: &Row<'_>, text: &str) -> PromptText {
    if row.is_messages_json {
        PromptText::MessagesJson(text.to_owned())
    } else {
        PromptText::Text(text.to_owned())
    }
}
