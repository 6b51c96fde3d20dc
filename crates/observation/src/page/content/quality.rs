//! Quality: by path first, then by label.

use super::{Chart, MOST_ROWS, Section, more, row_name};
use crate::page::number::{bounds, count, gain, optional, percent, score, shown};
use crate::page::table::{Cell, Table, columns};
use crate::summary::figures::{Bin, Figures, QualityFigures, Weighted};

/// What has to be said wherever feedback is averaged.
const NO_SAMPLE: &str = "Observed quality is what clients and judges said. Clients do not speak of a random sample: somebody who is \
cross speaks sooner. A difference from the prediction may be the sample's.";

/// What is to be done about that.
const JUDGE_ONE: &str = "Judge a random sample to know: `tiercast judge --journal`.";

pub(super) fn by_path(figures: &Figures) -> Section {
    Section {
        title: "Quality by route",
        text: vec![
            format!("{NO_SAMPLE} {}", who_said_it(figures)),
            "Each route on its own, as a good average hides a bad one. Answers of fallbacks come from tiers that the decision did \
             not choose."
                .to_owned(),
        ],
        charts: vec![Chart::Paths],
        tables: vec![groups("By route", &figures.quality.by_path, false)],
    }
}

/// How much judges said, from how large a sample, and how much users.
fn who_said_it(figures: &Figures) -> String {
    let (all, rates) = (&figures.quality.all, figures.quality.judged_at_rates);
    if all.n_judged == 0 {
        return JUDGE_ONE.to_owned();
    }
    let drawn = match rates {
        None => String::new(),
        Some([low, high]) if low == high => format!(", drawn by chance at a rate of {}", percent(low)),
        Some([low, high]) => format!(", drawn by chance at rates of {} to {}", percent(low), percent(high)),
    };
    format!(
        "Of {} answers of which something is known, {} were judged{drawn}, and of {} users said something. What judges said \
         stands in its own column: it does not depend on who speaks.",
        count(all.n_observed),
        count(all.n_judged),
        count(all.n_by_users)
    )
}

pub(super) fn by_label(figures: &Figures) -> Section {
    let quality = &figures.quality;
    let mut tables = vec![
        groups("By tier that answered", &quality.by_tier, true),
        groups("By task", &quality.by_task, true),
        groups("By cohort", &quality.by_cohort, true),
        reliability(&quality.reliability),
    ];
    if !quality.weighted_by_tier.is_empty() {
        tables.push(weighted(&quality.weighted_by_tier));
    }
    Section {
        title: "Quality by tier, task and cohort",
        text: Vec::new(),
        charts: vec![Chart::Tiers, Chart::Reliability],
        tables,
    }
}

fn groups(title: &str, rows: &[QualityFigures], is_sorted: bool) -> Table {
    let mut rows: Vec<_> = rows.iter().collect();
    if is_sorted {
        rows.sort_by(|a, b| a.is_rest.cmp(&b.is_rest).then(b.requests.cmp(&a.requests)));
    }
    let shown_rows = rows.iter().enumerate().filter(|(i, row)| *i < MOST_ROWS || row.is_rest);
    let headings = [
        "t:",
        "requests",
        "expected",
        "of which known",
        "observed",
        "of which judged",
        "judged",
        "observed - expected",
        "t:verdicts",
    ];
    Table::new(
        title,
        columns(&headings),
        shown_rows.map(|(_, row)| cells(row)).collect(),
    )
    .noted(more(rows.len()))
}

fn cells(row: &QualityFigures) -> Vec<Cell> {
    vec![
        row_name(&row.name, row.is_rest, 0, row.predicted_as.as_deref()),
        count(row.requests).into(),
        optional(row.predicted, score).into(),
        count(row.n_observed).into(),
        Cell::from(optional(row.observed, score)).with(row.observed_interval.map(|interval| bounds(interval, score))),
        count(row.n_judged).into(),
        Cell::from(optional(row.judged, score)).with(row.judged_interval.map(|interval| bounds(interval, score))),
        Cell::from(optional(row.difference, gain)).with(row.difference_interval.map(|interval| bounds(interval, gain))),
        verdicts(row).into(),
    ]
}

fn verdicts(row: &QualityFigures) -> String {
    let verdicts = row.verdicts;
    let named = [
        (verdicts.good_fit, "good fit"),
        (verdicts.underpowered, "underpowered"),
        (verdicts.overprovisioned, "overprovisioned"),
        (verdicts.failed, "failed"),
    ];
    let said = named.iter().filter(|(n, _)| *n > 0);
    said.map(|(n, name)| format!("{} {name}", count(*n)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn reliability(bins: &[Bin]) -> Table {
    let row = |bin: &Bin| -> Vec<Cell> {
        vec![
            score(bin.predicted).into(),
            Cell::from(score(bin.observed)).with(Some(bounds(bin.observed_interval, score))),
            count(bin.n).into(),
        ]
    };
    let headings = ["expected", "observed", "requests"];
    Table::new(
        "Observed by expected quality",
        columns(&headings),
        bins.iter().map(row).collect(),
    )
}

fn weighted(rows: &[Weighted]) -> Table {
    let row = |row: &Weighted| -> Vec<Cell> {
        vec![
            shown(&row.tier).into(),
            count(row.n_by_chance).into(),
            count(row.effective_n.round() as u64).into(),
            score(row.observed).into(),
        ]
    };
    let headings = [
        "t:tier",
        "chosen by chance",
        "worth of equal weight",
        "observed, weighted",
    ];
    let note = "Weighted with the inverse of the probability with which the tier was chosen: its quality over all requests in which it \
                had a chance, rather than over those that the router sent to it.";
    Table::new(
        "With the choice of the tier made up for",
        columns(&headings),
        rows.iter().map(row).collect(),
    )
    .noted(note)
}
