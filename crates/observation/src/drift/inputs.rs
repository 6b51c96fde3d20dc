//! Prompts: windows against the training prompts, and against the first windows.

use std::collections::BTreeMap;

use tiercast_records::features::Features;
use tiercast_records::journal::Label;
use tiercast_records::reference::{Reference, unit_steps};
use tiercast_statistics::fourier::{self, Frequencies};
use tiercast_statistics::shift::stability;

use super::chances;
use super::finding::{Aspect, Figure, Finding, Moment, Severity, What};
use super::labels::{Counts, most_grown};
use super::settings::Settings;
use super::window::Row;

/// Signals that a finding names.
const NAMED: usize = 3;
/// Rows that a comparison needs, as a share of the window: rows may be without features or with a told task.
const LEAST_SHARE: f64 = 0.2;
/// The embedding has moved where the squared distance of the means is such a part of the limit on the stability
/// index, in units of the embeddings' own spread: with the usual limit, 0.02 of it.
const EMBEDDING_PART: f64 = 0.2;

/// Compares prompts.
#[derive(Debug)]
pub(super) struct Inputs {
    training: Option<Base>,
    own: Own,
    names: Vec<String>,
}

#[derive(Debug)]
enum Own {
    Gathering(Vec<Row>),
    Complete(Base),
}

/// A reference and what is computed from it once.
#[derive(Debug)]
struct Base {
    reference: Reference,
    frequencies: Option<Frequencies>,
    tasks: Counts,
}

/// Something that differs, and how much.
#[derive(Debug, Clone, PartialEq)]
struct Difference {
    subject: Subject,
    /// Population stability index, or squared shift of the embedding's mean in units of its spread.
    size: f64,
    /// Size in units of its limit, for ranking.
    rank: f64,
}

#[derive(Debug, Clone, PartialEq)]
enum Subject {
    Signal(String),
    Tasks,
    Embedding,
}

impl Inputs {
    pub(super) fn new(reference: Option<Reference>) -> Self {
        let signals = reference.iter().flat_map(Reference::signals);
        let names = signals.map(|signal| signal.name.clone()).collect();
        Self {
            training: reference.map(Base::new),
            own: Own::Gathering(Vec::new()),
            names,
        }
    }

    /// Another checkpoint predicts: where its features are others, what was seen before cannot be compared.
    pub(super) fn begin_anew(&mut self, feature_version: u32) {
        let is_same = match &self.own {
            Own::Complete(base) => base.reference.feature_version() == feature_version,
            Own::Gathering(rows) => rows.iter().all(|row| row.feature_version == feature_version),
        };
        if !is_same {
            self.own = Own::Gathering(Vec::new());
        }
    }

    pub(super) fn has_baseline(&self) -> bool {
        matches!(self.own, Own::Complete(_))
    }

    pub(super) fn close(&mut self, rows: Vec<Row>, at: Moment, settings: &Settings) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Some(base) = &self.training {
            // A client's labels are not the names that training had.
            let counts = task_counts(rows.iter().filter(|row| !row.task_is_told));
            let alpha = chances::per_window(chances::UNLIKE_TRAINING, settings);
            let differences = base.differences(&rows, &counts, alpha, settings.unlike_training, settings);
            let aspect = Aspect::UnlikeTraining;
            found.extend(finding(
                aspect,
                &differences,
                most_grown(&base.tasks, &counts),
                &rows,
                at,
            ));
        }
        match &mut self.own {
            Own::Gathering(gathered) => {
                gathered.extend(rows);
                if gathered.len() >= settings.window * settings.baseline_windows {
                    self.own = own(gathered, &mut self.names);
                }
            }
            Own::Complete(base) => {
                let counts = task_counts(rows.iter());
                let alpha = chances::per_window(chances::CHANGED, settings);
                let differences = base.differences(&rows, &counts, alpha, settings.changed, settings);
                let aspect = Aspect::PromptsChanged;
                found.extend(finding(
                    aspect,
                    &differences,
                    most_grown(&base.tasks, &counts),
                    &rows,
                    at,
                ));
            }
        }
        found
    }
}

/// The first windows as a reference; they are gathered anew where it rests on no row. Without features there are
/// tasks to compare.
fn own(rows: &[Row], names: &mut Vec<String>) -> Own {
    let version = rows.last().map_or(0, |row| row.feature_version);
    let of_version = || rows.iter().filter(|row| row.feature_version == version);
    let with_features = || of_version().filter_map(|row| Some((row.features.as_ref()?, Some(&*row.task))));
    // Some rows may lack signals.
    let n_signals = with_features().map(|(features, _)| features.surface.len()).max();
    let reference = match n_signals {
        Some(n_signals) => {
            if names.len() != n_signals {
                *names = (0..n_signals).map(|at| format!("signal {at}")).collect();
            }
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Reference::fit(version, &names, with_features())
        }
        None => {
            let nothing = Features::default();
            Reference::fit(version, &[], of_version().map(|row| (&nothing, Some(&*row.task))))
        }
    };
    reference.map_or_else(
        || Own::Gathering(Vec::new()),
        |reference| Own::Complete(Base::new(reference)),
    )
}

impl Base {
    fn new(reference: Reference) -> Self {
        let counts = reference.tasks().iter();
        Self {
            frequencies: reference.embedding().map(|summary| summary.frequencies()),
            tasks: counts
                .map(|(task, n)| (Label::from(task.as_str()), *n as f64))
                .collect(),
            reference,
        }
    }

    /// What differs by more than chance and by more than `limit`, the largest first. `alpha` is the chance of
    /// any, without a difference.
    fn differences(
        &self,
        rows: &[Row],
        tasks: &Counts,
        alpha: f64,
        limit: f64,
        settings: &Settings,
    ) -> Vec<Difference> {
        let signals = self.reference.signals();
        let alpha = alpha / (signals.len() + 2) as f64;
        let usable = rows
            .iter()
            .filter(|row| row.feature_version == self.reference.feature_version());
        let features: Vec<_> = usable.filter_map(|row| row.features.as_ref()).collect();
        let least = LEAST_SHARE * settings.window as f64;
        let surfaces: Vec<&[f32]> = (features.iter().map(|features| features.surface.as_slice()))
            .filter(|surface| surface.len() == signals.len())
            .collect();
        let mut found = Vec::new();
        let mut compare = |subject, before: &[f64], after: &[f64]| {
            let difference = stability(before, after);
            if after.iter().sum::<f64>() >= least && difference.size >= limit && difference.chance <= alpha {
                found.push(Difference {
                    subject,
                    size: difference.size,
                    rank: difference.size / limit,
                });
            }
        };
        for (at, signal) in signals.iter().enumerate() {
            let before: Vec<f64> = signal.counts.iter().map(|count| *count as f64).collect();
            let mut after = vec![0.0; before.len()];
            surfaces
                .iter()
                .for_each(|surface| after[signal.bin(surface[at])] += 1.0);
            compare(Subject::Signal(signal.name.clone()), &before, &after);
        }
        let (before, after) = known_tasks(&self.tasks, tasks);
        compare(Subject::Tasks, &before, &after);
        let embeddings = features.iter().map(|features| features.embedding.as_slice());
        found.extend(self.moved(embeddings, alpha, EMBEDDING_PART * limit, least));
        found.sort_by(|a, b| b.rank.total_cmp(&a.rank));
        found
    }

    /// Maximum mean discrepancy of the embeddings.
    fn moved<'a>(
        &self,
        embeddings: impl Iterator<Item = &'a [i8]>,
        alpha: f64,
        limit: f64,
        least: f64,
    ) -> Option<Difference> {
        let (summary, frequencies) = (self.reference.embedding()?, self.frequencies.as_ref()?);
        let (mut mean, mut n) = (vec![0.0; summary.mean.len()], 0.0);
        for embedding in embeddings.filter(|embedding| embedding.len() == summary.dim) {
            fourier::add(&mut mean, &frequencies.features(&unit_steps(embedding)));
            n += 1.0;
        }
        mean.iter_mut().for_each(|sum| *sum /= n);
        let (spread, m) = (summary.spread(), self.reference.n_rows() as f64);
        let before: Vec<f64> = summary.mean.iter().copied().map(f64::from).collect();
        let distance = fourier::squared_distance(&mean, &before);
        // Without any spread every difference is infinitely large, so a little is granted.
        let size = (distance - spread.expected(n, m)) / spread.trace.max(0.01);
        let is_found = n >= least && size >= limit && distance > spread.threshold(n, m, alpha);
        is_found.then(|| Difference {
            subject: Subject::Embedding,
            size,
            rank: size / limit,
        })
    }
}

/// Rows by task.
fn task_counts<'a>(rows: impl Iterator<Item = &'a Row>) -> Counts {
    let mut counts = Counts::new();
    for row in rows {
        *counts.entry(row.task.clone()).or_default() += 1.0;
    }
    counts
}

/// Counts by the tasks of the base, and one of all others.
fn known_tasks(before: &Counts, after: &Counts) -> (Vec<f64>, Vec<f64>) {
    if before.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let mut known: BTreeMap<&Label, f64> = before.keys().map(|task| (task, 0.0)).collect();
    let mut others = 0.0;
    for (task, n) in after {
        *known.get_mut(task).unwrap_or(&mut others) += n;
    }
    let ends = |counts: Vec<f64>, last| counts.into_iter().chain([last]).collect();
    (
        ends(before.values().copied().collect(), 0.0),
        ends(known.into_values().collect(), others),
    )
}

type Grown = Option<(Label, f64, f64)>;

/// `None` where nothing differs.
fn finding(aspect: Aspect, differences: &[Difference], grown: Grown, rows: &[Row], at: Moment) -> Option<Finding> {
    let largest = differences.first()?;
    let is_level = aspect == Aspect::UnlikeTraining;
    // A task that hardly grew explains nothing.
    let grown = grown.filter(|(_, before, after)| after - before >= 0.05);
    let what = What {
        task: grown.as_ref().map(|(task, _, _)| task.clone()),
        signals: differences
            .iter()
            .take(NAMED)
            .map(|difference| difference.subject.name())
            .collect(),
        ..What::default()
    };
    let figure = Figure {
        name: largest.subject.measure(),
        value: largest.size,
        unit: "",
    };
    let base = if is_level {
        "the training prompts"
    } else {
        "the first prompts of the journal"
    };
    let contributors: Vec<String> = differences.iter().take(NAMED).map(Difference::to_string).collect();
    let task = grown.map_or_else(String::new, |(task, before, after)| {
        let (before, after) = (100.0 * before, 100.0 * after);
        format!("; task `{task}` has {after:.0} % of the requests where it had {before:.0} %")
    });
    let says = format!("prompts are unlike {base}: {}{task}", contributors.join(", "));
    let sample = what.task.as_ref().map_or_else(
        || "a sample of the newest prompts".to_owned(),
        |task| format!("a sample of the prompts of task `{task}`"),
    );
    let do_this = format!(
        "have {sample} answered by every tier and judged (tiercast collect, tiercast judge), see in tiercast evaluate \
         whether forecasts hold there, and train with them where they do not"
    );
    let severity = if is_level { Severity::Note } else { Severity::Warning };
    let since = rows.first().map_or(at, |row| row.at);
    Some(Finding::new(aspect, severity, what, figure, since, at).with_words(says, do_this))
}

impl Subject {
    fn name(&self) -> String {
        match self {
            Self::Signal(name) => name.clone(),
            Self::Tasks => "task".to_owned(),
            Self::Embedding => "embedding".to_owned(),
        }
    }

    fn measure(&self) -> &'static str {
        match self {
            Self::Embedding => "squared maximum mean discrepancy by spread",
            _ => "population stability index",
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} of `{}` {:.2}",
            self.subject.measure(),
            self.subject.name(),
            self.size
        )
    }
}
