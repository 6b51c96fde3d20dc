//! Feedback, joined to what it is about.

use std::collections::HashMap;

use tiercast_records::journal::{About, Feedback, Served};

use crate::reading::Problem;

/// What was said, by decision and by session: one word of each source, its last. The order of arrival counts,
/// not the clock, so it may jump.
#[derive(Debug, Default)]
pub struct Said {
    decisions: HashMap<String, Vec<Feedback>>,
    sessions: HashMap<String, Vec<Feedback>>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

impl Said {
    /// Adds a word that came after all others: it replaces what its source said of the same thing.
    pub fn add(&mut self, word: Feedback) {
        let said = match &word.about {
            About::Decision(id) => self.decisions.entry(id.clone()),
            About::Session(name) => self.sessions.entry(name.clone()),
        };
        let said = said.or_default();
        match said.iter_mut().find(|earlier| earlier.source == word.source) {
            Some(earlier) => *earlier = word,
            None => said.push(word),
        }
    }

    /// What was said of a decision, each source once.
    pub fn of_decision(&self, id: &str) -> &[Feedback] {
        self.decisions.get(id).map_or(&[], Vec::as_slice)
    }

    /// What was said of a session, each source once.
    pub fn of_session(&self, name: &str) -> &[Feedback] {
        self.sessions.get(name).map_or(&[], Vec::as_slice)
    }

    /// What was said of a row: of its decision first, then of its session.
    pub fn of(&self, row: &Served) -> impl Iterator<Item = &Feedback> {
        let session = row.session.as_deref().map_or(&[][..], |name| self.of_session(name));
        self.of_decision(&row.id).iter().chain(session)
    }

    /// Words that count.
    pub fn len(&self) -> usize {
        let lengths = self.decisions.values().chain(self.sessions.values());
        lengths.map(Vec::len).sum()
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.decisions.is_empty() && self.sessions.is_empty()
    }
}
