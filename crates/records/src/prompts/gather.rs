//! Candidates as they come in: each prompt once, contradictions by both their places.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::fields::{Candidate, FIELDS, candidate};
use super::{Objection, Prompt};
use crate::error::{Fault, Problems, Spot};
use crate::outcomes::Split;

/// Problems listed in full.
const MAX_LISTED: usize = 20;

/// Names of unknown fields kept; a file whose fields are all different must not fill the memory.
const MAX_UNKNOWN: usize = 10;

/// What else is to be found wrong with a prompt.
type Check<'a> = Box<dyn FnMut(&Prompt) -> Result<(), Objection> + 'a>;

/// Prompts being gathered.
pub(super) struct Gather<'a> {
    stem: String,
    check: Check<'a>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) problems: Problems,
    pub(super) n_rows: u64,
    pub(super) n_merged: u64,
    /// Rows left out because something is wrong with them.
    pub(super) n_invalid: u64,
    /// Fields that are not read, and in how many lines they stand.
    pub(super) unknown: BTreeMap<String, u64>,
    /// Whether rows are outcomes, one per model, and not prompts.
    pub(super) is_outcomes: bool,
    /// Rows of outcomes with another reference than the first of their prompt.
    pub(super) n_other_references: u64,
    by_id: HashMap<String, usize>,
    /// Per key with a given split: the split and where it was given first.
    splits: HashMap<String, (Split, Spot)>,
}

impl<'a> Gather<'a> {
    pub(super) fn new(stem: String, check: Check<'a>) -> Self {
        Self {
            stem,
            check,
            candidates: Vec::new(),
            problems: Problems::up_to(MAX_LISTED),
            n_rows: 0,
            n_merged: 0,
            n_invalid: 0,
            unknown: BTreeMap::new(),
            is_outcomes: false,
            n_other_references: 0,
            by_id: HashMap::new(),
            splits: HashMap::new(),
        }
    }

    /// Takes the fields of one line or row in, or notes what is wrong with them.
    pub(super) fn add(&mut self, spot: Spot, fields: Result<Map<String, Value>, Fault>) {
        self.n_rows += 1;
        let Some(fields) = self.problems.note_at(spot, fields) else {
            self.n_invalid += 1;
            return;
        };
        self.note_unknown(&fields);
        let candidate = candidate(fields, spot, &self.stem, &mut self.problems);
        let kept = candidate.map(|candidate| self.check(&candidate.prompt).and_then(|()| self.keep(candidate)));
        if kept.and_then(|kept| self.problems.note_at(spot, kept)).is_none() {
            self.n_invalid += 1;
        }
    }

    fn check(&mut self, prompt: &Prompt) -> Result<(), Fault> {
        (self.check)(prompt).map_err(|objection| Fault::new(objection.field, objection.what, objection.mend))
    }

    /// Counts a row that says what the one before it said.
    pub(super) fn repeat(&mut self) {
        self.n_rows += 1;
        self.n_merged += 1;
    }

    fn note_unknown(&mut self, fields: &Map<String, Value>) {
        for field in fields.keys().filter(|field| !FIELDS.contains(&field.as_str())) {
            if let Some(count) = self.unknown.get_mut(field) {
                *count += 1;
            } else if self.unknown.len() < MAX_UNKNOWN {
                self.unknown.insert(field.clone(), 1);
            }
        }
    }

    fn keep(&mut self, candidate: Candidate) -> Result<(), Fault> {
        if let Some(&held) = self.by_id.get(&candidate.prompt.prompt_id) {
            return self.merge(held, candidate);
        }
        self.check_split(&candidate)?;
        self.by_id
            .insert(candidate.prompt.prompt_id.clone(), self.candidates.len());
        self.candidates.push(candidate);
        Ok(())
    }

    fn merge(&mut self, held: usize, again: Candidate) -> Result<(), Fault> {
        let held = &mut self.candidates[held];
        let field = contradiction(held, &again);
        // Whoever recorded a model's answers may have had another key to the questions; the prompt is
        // the same.
        if field == Some("reference") && self.is_outcomes {
            self.n_other_references += 1;
        } else if let Some(field) = field {
            let (id, first) = (&again.prompt.prompt_id, held.spot);
            let what = format!("prompt `{id}` has another `{field}` at {first}");
            return Err(Fault::new(
                field,
                what,
                "Say the same of a prompt each time, or give each its own prompt_id",
            ));
        }
        take_origin(&mut held.prompt, again.prompt);
        self.n_merged += 1;
        Ok(())
    }

    /// One key must not cross splits: training would see test questions.
    fn check_split(&mut self, candidate: &Candidate) -> Result<(), Fault> {
        let Some(given) = candidate.given else { return Ok(()) };
        let key = &candidate.prompt.split_key;
        let (first, spot) = *self.splits.entry(key.clone()).or_insert((given, candidate.spot));
        if first == given {
            return Ok(());
        }
        let what = format!(
            "key `{key}` is in {} here and in {} at {spot}",
            given.name(),
            first.name()
        );
        Err(Fault::new(
            "split",
            what,
            "Put every prompt of one question into one split: else training sees test questions",
        ))
    }
}

/// The first field in which two say different things of one prompt. Where it comes from may differ.
fn contradiction(held: &Candidate, again: &Candidate) -> Option<&'static str> {
    let (a, b) = (&held.prompt, &again.prompt);
    let checks = [
        ("prompt", a.text == b.text),
        ("reference", a.reference == b.reference),
        ("split_key", a.split_key == b.split_key),
        ("split", held.given == again.given),
        ("judge", a.judge == b.judge),
        ("schema", a.schema == b.schema),
        ("response_format", a.response_format == b.response_format),
    ];
    checks.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
}

/// The first origin in alphabetical order stands for all, as in outcome files.
fn take_origin(held: &mut Prompt, again: Prompt) {
    if (&again.dataset, &again.subset, &again.domain) < (&held.dataset, &held.subset, &held.domain) {
        held.dataset = again.dataset;
        held.subset = again.subset;
        held.domain = again.domain;
    }
}
