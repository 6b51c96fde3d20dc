//! The report as a page: HTML, Markdown, and JSON by serde. All three are views of one [`Report`].

use serde::Serialize;

use crate::drift::{self, Finding, What};
use crate::summary::figures::Figures;

mod chart;
mod content;
mod html;
mod markdown;
mod number;
mod table;

#[cfg(test)]
mod tests;

/// A period of a journal, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What it is of, in a line.
    pub title: String,
    /// Rows that were read, feedback among them.
    pub rows: u64,
    /// What the reader has to know of the journal: broken segments, rows that were dropped, text that was cut.
    pub notes: Vec<String>,
    /// What drift was found, worst first.
    pub findings: Vec<FindingView>,
    /// The figures. The first of their series over time is drawn.
    pub figures: Figures,
}

/// A finding of drift, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FindingView {
    /// What kind of thing drifted: `inputs`, `predictions`, `outcomes`, `price`, `latency`.
    pub kind: String,
    /// How bad it is.
    pub severity: Severity,
    /// Tier, task, cohort or signal that it was seen in.
    pub what: String,
    /// One sentence.
    pub says: String,
    /// What to do about it.
    pub do_this: String,
    /// When it was found, milliseconds since 1970.
    pub at_ms: Option<i64>,
}

impl From<&Finding> for FindingView {
    fn from(finding: &Finding) -> Self {
        let What {
            tier,
            task,
            cohort,
            signals,
        } = &finding.what;
        let named = [("tier", tier), ("task", task), ("cohort", cohort)];
        let named = named
            .iter()
            .filter_map(|(kind, name)| Some(format!("{kind} {}", name.as_ref()?)));
        let signals = (!signals.is_empty()).then(|| format!("signals {}", signals.join(", ")));
        Self {
            kind: finding.kind.name().to_owned(),
            severity: match finding.severity {
                drift::Severity::Note => Severity::Note,
                drift::Severity::Warning => Severity::Warning,
                drift::Severity::Alarm => Severity::Alarm,
            },
            what: named.chain(signals).collect::<Vec<String>>().join("; "),
            says: finding.says.clone(),
            do_this: finding.do_this.clone(),
            at_ms: Some(finding.at.time_ms),
        }
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Look at it this week.
    Warning,
    /// Look at it today.
    Alarm,
}

impl Severity {
    /// As it is written in JSON and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Alarm => "alarm",
        }
    }
}

/// One page that needs nothing else: no scripts, no assets.
pub fn html(report: &Report) -> String {
    html::page(report)
}

/// The same as Markdown, with tables instead of charts.
pub fn markdown(report: &Report) -> String {
    markdown::page(report)
}
