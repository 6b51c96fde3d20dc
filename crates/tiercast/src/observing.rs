//! `tiercast report`, `tiercast drift` and `tiercast data forget`: what a journal says, and what it shall not
//! say any more.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use rayon::prelude::*;
use tiercast_journal::{JournalError, Part, Problem, Range, Reader, Said, What, forget};
use tiercast_observation::drift::{self, Monitor, Rated};
use tiercast_observation::page::{self, FindingView, Report};
use tiercast_observation::summary::{Heard, Resolution, Summary, Trace};
use tiercast_predictor::checkpoint;
use tiercast_records::journal::{Parts, Served};
use tiercast_records::reference::Reference;
use tiercast_server::settings::Settings;

use crate::arguments::UsageError;
use crate::output::print;
use crate::progress::say;
use span::Span;

pub(crate) mod span;

/// Period of the series over time where none is given, milliseconds: two months.
const LONG_MS: i64 = 60 * 86_400_000;

/// Exit code where something has drifted.
const DRIFTED: u8 = 3;

/// A journal and a part of its time.
#[derive(Debug, Args)]
pub(crate) struct JournalArguments {
    /// Folder of the journal, as `[journal]` of the server's tiercast.toml names it.
    #[arg(long)]
    journal: PathBuf,
    #[command(flatten)]
    span: Span,
}

/// What counts as drift.
#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// Checkpoint whose training prompts the requests are compared with (default: none, only changes are told).
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    /// The server's tiercast.toml, whose [drift] says what counts (default: the defaults).
    #[arg(long)]
    config: Option<PathBuf>,
}

impl WatchArguments {
    fn settings(&self) -> anyhow::Result<drift::Settings> {
        let Some(path) = &self.config else {
            return Ok(drift::Settings::default());
        };
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let settings = Settings::parse(&text).map_err(|error| UsageError(format!("{}: {error}", path.display())))?;
        Ok(settings.drift().clone())
    }
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    #[command(flatten)]
    of: JournalArguments,
    /// Folder for report.html, report.md and report.json; without it the Markdown is printed.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    watch: WatchArguments,
    /// Leave drift out: it reads what is kept of every prompt, which takes most of the time.
    #[arg(long)]
    without_drift: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DriftArguments {
    #[command(flatten)]
    of: JournalArguments,
    #[command(flatten)]
    watch: WatchArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ForgetArguments {
    /// Folder of the journal.
    #[arg(long)]
    journal: PathBuf,
    /// Forget this session.
    #[arg(long, required_unless_present = "cohort", conflicts_with = "cohort")]
    session: Option<String>,
    /// Forget this cohort.
    #[arg(long)]
    cohort: Option<String>,
}

/// Folds a journal to its report.
pub(crate) fn report(arguments: &ReportArguments) -> anyhow::Result<()> {
    let journal = Opened::new(&arguments.of)?;
    let Folded {
        summary,
        n_rows,
        mut notes,
    } = journal.fold()?;
    let findings = match arguments.without_drift {
        true => {
            notes.push("Drift was left out (--without-drift).".to_owned());
            Vec::new()
        }
        false => journal.watch(&arguments.watch)?,
    };
    let report = Report {
        title: format!("{}, {}", arguments.of.journal.display(), arguments.of.span),
        rows: n_rows,
        notes,
        findings,
        figures: summary.figures(),
    };
    if arguments.json {
        print(&serde_json::to_string_pretty(&report)?);
    }
    let Some(out) = &arguments.out else {
        if !arguments.json {
            print(&page::markdown(&report));
        }
        return Ok(());
    };
    let writing = || format!("writing to {}", out.display());
    fs::create_dir_all(out).with_context(writing)?;
    let files = [
        ("report.html", page::html(&report)),
        ("report.md", page::markdown(&report)),
        ("report.json", serde_json::to_string_pretty(&report)?),
    ];
    for (name, text) in files {
        fs::write(out.join(name), text).with_context(writing)?;
    }
    say(&format!("written to {}", out.join("report.html").display()));
    Ok(())
}

/// Says what has drifted; exit code [`DRIFTED`] where something has.
pub(crate) fn drift_command(arguments: &DriftArguments) -> anyhow::Result<ExitCode> {
    let journal = Opened::new(&arguments.of)?;
    let findings = journal.watch(&arguments.watch)?;
    if arguments.json {
        print(&serde_json::to_string_pretty(&findings)?);
    } else if findings.is_empty() {
        print("nothing has drifted");
    } else {
        for finding in &findings {
            print(&format!(
                "{} ({}, {}): {} {}",
                finding.severity.name(),
                finding.kind,
                finding.what,
                finding.says,
                finding.do_this
            ));
        }
    }
    let is_drift = findings.iter().any(|finding| finding.severity > page::Severity::Note);
    Ok(if is_drift {
        ExitCode::from(DRIFTED)
    } else {
        ExitCode::SUCCESS
    })
}

/// Deletes what is kept of a session or a cohort, and what was said of it.
pub(crate) fn forget_command(arguments: &ForgetArguments) -> anyhow::Result<()> {
    let (what, name) = match (&arguments.session, &arguments.cohort) {
        (Some(session), _) => (What::Session(session.clone()), format!("session `{session}`")),
        (None, cohort) => {
            let cohort = cohort.clone().unwrap_or_default();
            (What::Cohort(cohort.clone()), format!("cohort `{cohort}`"))
        }
    };
    let forgotten = forget(&arguments.journal, &what).map_err(of_journal)?;
    print(&format!(
        "{} requests and {} words of feedback of {name} are forgotten; {} segments were written anew",
        forgotten.rows, forgotten.feedback, forgotten.segments
    ));
    Ok(())
}

/// What the training prompts of a checkpoint were like, where it says so.
fn reference(checkpoint: &Path) -> anyhow::Result<Option<Reference>> {
    let (_, contents) =
        checkpoint::open(checkpoint).with_context(|| format!("opening checkpoint {}", checkpoint.display()))?;
    Ok(contents.reference)
}

pub(crate) fn of_journal(error: JournalError) -> anyhow::Error {
    match error {
        JournalError::NoJournal { .. } => UsageError(error.to_string()).into(),
        error => error.into(),
    }
}

/// A journal at one moment.
struct Opened {
    reader: Reader,
    range: Range,
    said: Said,
}

/// What a journal comes to.
struct Folded {
    summary: Summary,
    n_rows: u64,
    notes: Vec<String>,
}

impl Opened {
    fn new(arguments: &JournalArguments) -> anyhow::Result<Self> {
        let reader = Reader::open(&arguments.journal).map_err(of_journal)?;
        let range = arguments.span.range()?;
        // What is said of a row comes after it, perhaps after the end of the period.
        let said = Range {
            until_ms: None,
            ..range
        };
        Ok(Self {
            said: reader.feedback(said).map_err(of_journal)?,
            reader,
            range,
        })
    }

    /// Folds all rows, segments side by side.
    fn fold(&self) -> anyhow::Result<Folded> {
        let parts = self.reader.scan(self.range, Parts::default()).map_err(of_journal)?;
        let folded: Vec<(Summary, u64, Vec<Problem>)> =
            parts.into_par_iter().map(|part| self.fold_part(part)).collect();
        let mut whole = Summary::new(&[self.resolution()]);
        let mut n_rows = self.said.len() as u64;
        let mut notes: Vec<String> = self.said.problems.iter().map(ToString::to_string).collect();
        for (summary, n, problems) in folded {
            whole.merge(&summary);
            n_rows += n;
            notes.extend(problems.iter().map(ToString::to_string));
        }
        Ok(Folded {
            summary: whole,
            n_rows,
            notes,
        })
    }

    fn fold_part(&self, part: Part) -> (Summary, u64, Vec<Problem>) {
        let mut summary = Summary::new(&[self.resolution()]);
        let mut n = 0;
        let problems = part.read(&mut |row| {
            n += 1;
            summary.serve(&row);
            self.hear(&row, &mut summary);
            ControlFlow::Continue(())
        });
        (summary, n, problems)
    }

    fn hear(&self, row: &Served, summary: &mut Summary) {
        if self.said.is_empty() {
            return;
        }
        let mut of = None;
        for word in self.said.of(row) {
            let of = of.get_or_insert_with(|| Trace::of(row));
            if let Some(verdict) = word.verdict {
                summary.hear(of, verdict);
            }
        }
        if let (Some(of), Some(heard)) = (of, self.heard(row)) {
            summary.observe(&of, heard);
        }
    }

    /// What was said of a row, where anything was.
    fn heard(&self, row: &Served) -> Option<Heard> {
        Heard::of(self.said.of(row))
    }

    fn resolution(&self) -> Resolution {
        match (self.range.since_ms, self.range.until_ms) {
            (Some(since), Some(until)) => Resolution::for_period(until - since),
            _ => Resolution::for_period(LONG_MS),
        }
    }

    /// Reads the rows in the order in which they came, and says what has drifted.
    fn watch(&self, arguments: &WatchArguments) -> anyhow::Result<Vec<FindingView>> {
        let reference = arguments.checkpoint.as_deref().map(reference).transpose()?.flatten();
        let mut monitor = Monitor::new(reference, arguments.settings()?)?;
        let parts = self
            .reader
            .scan(
                self.range,
                Parts {
                    features: true,
                    ..Parts::default()
                },
            )
            .map_err(of_journal)?;
        // The open rows come first in the list and are the latest.
        let (open, closed): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(|part| part.n_rows().is_none());
        for part in closed.into_iter().chain(open) {
            part.read(&mut |row| {
                monitor.serve(&row);
                if let (Some(heard), Some(of)) = (self.heard(&row), Rated::of(&row)) {
                    monitor.said(&of, heard.quality);
                }
                ControlFlow::Continue(())
            });
        }
        Ok(monitor.findings().iter().map(FindingView::from).collect())
    }
}
