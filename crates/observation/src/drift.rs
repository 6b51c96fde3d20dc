//! Tells when the router has become wrong.
//!
//! A [`Monitor`] takes the rows of a journal in their order and keeps [`Finding`]s: traffic unlike the training
//! prompts or unlike itself before, forecasts that moved, answers better or worse than predicted, prices,
//! lengths and latencies that changed. The server feeds it as it writes; `tiercast drift` feeds a whole journal
//! by [`watch`]. Memory is bounded, whatever the labels; times are only reported, so a clock may jump.
//!
//! # False alarms
//!
//! [`Settings::requests_per_false_alarm`] is divided among the tests by fixed shares (`drift::chances`). Outcomes,
//! lengths and latencies are watched by betting detectors, whose number of false alarms is bounded at any time
//! and for any distribution (`statistics::betting`). Windows are compared by tests whose chances are
//! approximate and hold for requests that are independent of each other; so of a session only one request
//! enters a window. All of them need an effect of a stated size besides.

use tiercast_records::journal::{Entry, Served};
use tiercast_records::reference::Reference;

mod calls;
mod chances;
mod era;
mod finding;
mod inputs;
mod joining;
mod labels;
mod outcomes;
mod predictions;
mod price;
mod rank;
mod settings;
mod window;

#[cfg(test)]
mod tests;

pub use finding::{Aspect, Figure, Finding, Kind, Moment, Severity, What};
pub use joining::Rated;
pub use outcomes::Reliability;
pub use settings::{Settings, SettingsError};

use calls::Calls;
use era::Era;
use finding::Findings;
use inputs::Inputs;
use joining::Memory;
use outcomes::Outcomes;
use predictions::Predictions;
use window::{Row, Window};

/// Watches a journal.
#[derive(Debug)]
pub struct Monitor {
    settings: Settings,
    n_requests: u64,
    n_windows: u64,
    last: Moment,
    era: Era,
    window: Window,
    inputs: Inputs,
    predictions: Predictions,
    outcomes: Outcomes,
    calls: Calls,
    memory: Memory,
    findings: Findings,
}

/// What a monitor has seen, and how predictions and outcomes agree.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct State {
    /// Requests.
    pub n_requests: u64,
    /// Ratings that found their request.
    pub n_rated: u64,
    /// Windows that were compared.
    pub n_windows: u64,
    /// Whether the first windows, with which later ones are compared, are complete.
    pub has_baseline: bool,
    /// One false alarm in so many requests is what the thresholds are made for.
    pub requests_per_false_alarm: f64,
    /// Predicted and observed quality: overall first, then by tier.
    pub reliability: Vec<Reliability>,
}

impl Monitor {
    /// Begins with nothing seen. Without a reference, traffic is compared with its own beginning only.
    pub fn new(reference: Option<Reference>, settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Self {
            n_requests: 0,
            n_windows: 0,
            last: Moment::default(),
            era: Era::default(),
            window: Window::default(),
            inputs: Inputs::new(reference),
            predictions: Predictions::new(settings.labels),
            outcomes: Outcomes::new(settings.labels),
            calls: Calls::new(settings.labels),
            memory: Memory::new(settings.remembered),
            findings: Findings::default(),
            settings,
        })
    }

    /// Takes a row as it stands in the journal. Feedback finds its request by the decision's id among the
    /// last [`Settings::remembered`]; the first word counts. What is said of a whole session is of no single answer, and
    /// is left out.
    pub fn take(&mut self, entry: &Entry) {
        match entry {
            Entry::Served(row) => {
                self.serve(row);
                self.memory.keep(row);
            }
            Entry::Feedback(feedback) if self.settings.hears(&feedback.source) => {
                if let Some((rated, observed)) = self.memory.recall(feedback) {
                    self.said(&rated, observed);
                }
            }
            Entry::Feedback(_) => {}
        }
    }

    /// Takes a request.
    pub fn serve(&mut self, row: &Served) {
        self.n_requests += 1;
        self.last = Moment {
            time_ms: row.time_ms,
            request: self.n_requests,
        };
        if self.era.begins_with(&row.checkpoint) {
            self.window.begin_anew();
            self.inputs.begin_anew(row.feature_version);
            self.predictions.begin_anew();
            self.calls.begin_anew();
        }
        let is_current = self.era.is_current(&row.checkpoint);
        let raised = self.calls.take(row, is_current, self.last, &self.settings);
        self.findings.raise_all(raised);
        self.window.add(Row::new(row, is_current, self.last));
        if self.window.len() >= self.settings.window {
            self.close_window();
        }
    }

    /// Takes the quality that was observed of an answer, in [0, 1]. For who has joined feedback to its row already;
    /// [`Monitor::take`] does both.
    pub fn said(&mut self, rated: &Rated, observed: f64) {
        let at = self.last;
        let raised = self.outcomes.take(rated, observed, at, &self.settings);
        self.findings.raise_all(raised);
    }

    /// What was found, the worst first. Each stays once it was found; [`Finding::latest`] tells when it was last seen.
    pub fn findings(&self) -> Vec<Finding> {
        self.findings.sorted()
    }

    /// What was seen.
    pub fn state(&self) -> State {
        State {
            n_requests: self.n_requests,
            n_rated: self.outcomes.n_rated(),
            n_windows: self.n_windows,
            has_baseline: self.inputs.has_baseline() || self.predictions.has_baseline(&self.settings),
            requests_per_false_alarm: self.settings.requests_per_false_alarm,
            reliability: self.outcomes.reliability(),
        }
    }

    fn close_window(&mut self) {
        self.n_windows += 1;
        let rows = self.window.close();
        let raised = self.predictions.close(&rows, self.last, &self.settings);
        self.findings.raise_all(raised);
        let raised = self.inputs.close(rows, self.last, &self.settings);
        self.findings.raise_all(raised);
    }
}

/// A monitor that has seen all of a journal.
pub fn watch(
    reference: Option<Reference>,
    settings: Settings,
    entries: impl IntoIterator<Item = Entry>,
) -> Result<Monitor, SettingsError> {
    let mut monitor = Monitor::new(reference, settings)?;
    entries.into_iter().for_each(|entry| monitor.take(&entry));
    Ok(monitor)
}
