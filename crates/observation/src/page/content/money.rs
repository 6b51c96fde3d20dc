//! Costs and the frontier.

use super::{Chart, MOST_ROWS, Section, basis, more, row_name};
use crate::page::number::{bounds, count, fixed, optional, percent, score, shown, time, usd};
use crate::page::table::{Cell, Table, columns};
use crate::summary::figures::{CostFigures, Figures, Point, TimePoint};

pub(super) fn cost(figures: &Figures) -> Section {
    let cost = &figures.cost;
    let series = figures.timelines.first().map(|timeline| over_time(&timeline.points));
    Section {
        title: "Cost",
        text: basis(figures).into_iter().collect(),
        charts: vec![Chart::Timeline],
        tables: [
            Some(groups("By tier", &cost.by_tier)),
            Some(groups("By task", &cost.by_task)),
            Some(groups("By cohort", &cost.by_cohort)),
            series,
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}

fn groups(title: &str, rows: &[CostFigures]) -> Table {
    let mut dearest: Vec<_> = rows.iter().collect();
    dearest.sort_by(|a, b| a.is_rest.cmp(&b.is_rest).then(b.spent_usd.total_cmp(&a.spent_usd)));
    let shown_rows = dearest
        .iter()
        .enumerate()
        .filter(|(i, row)| *i < MOST_ROWS || row.is_rest);
    let is_by_tier = rows.iter().any(|row| row.calls.is_some());
    let note = if is_by_tier {
        "Spent is the cost of all calls to the tier; requests and savings are those that it answered. "
    } else {
        ""
    };
    let headings = [
        "t:",
        "requests",
        "calls",
        "spent",
        "always best",
        "saved",
        "share saved",
    ];
    let mut table = Table::new(
        title,
        columns(&headings),
        shown_rows.map(|(_, row)| cells(row)).collect(),
    );
    if !is_by_tier {
        table.columns.remove(2);
        table.rows.iter_mut().for_each(|row| {
            row.remove(2);
        });
    }
    table.noted(format!("{note}{}", more(rows.len())))
}

fn cells(row: &CostFigures) -> Vec<Cell> {
    let saved = row.saved;
    vec![
        row_name(&row.name, row.is_rest, row.missed_at_most, row.predicted_as.as_deref()),
        count(row.requests).into(),
        optional(row.calls, count).into(),
        usd(row.spent_usd).into(),
        optional(saved, |saved| usd(saved.always_best_usd)).into(),
        Cell::from(optional(saved, |saved| usd(saved.saved_usd)))
            .with(saved.and_then(|saved| Some(bounds(saved.saved_usd_interval?, usd)))),
        Cell::from(optional(saved.and_then(|saved| saved.saved_share), percent))
            .with(saved.and_then(|saved| Some(bounds(saved.saved_share_interval?, percent)))),
    ]
}

fn over_time(points: &[TimePoint]) -> Table {
    let row = |point: &TimePoint| {
        vec![
            time(point.from_ms).into(),
            count(point.requests).into(),
            usd(point.spent_usd).into(),
            optional(point.saved_usd, usd).into(),
            optional(point.predicted, score).into(),
            count(point.escalated).into(),
            count(point.fallbacks).into(),
            count(point.errors).into(),
        ]
    };
    let headings = [
        "t:from (UTC)",
        "requests",
        "spent",
        "saved",
        "expected quality",
        "escalated",
        "fallbacks",
        "failed calls",
    ];
    Table::new("Over time", columns(&headings), points.iter().map(row).collect())
}

pub(super) fn frontier(figures: &Figures) -> Section {
    let found = &figures.frontier;
    let row = |name: String, point: &Point| -> Vec<Cell> {
        vec![
            name.into(),
            count(point.n).into(),
            usd(1000.0 * point.cost_usd).into(),
            score(point.quality).into(),
        ]
    };
    let marked = [("decided", found.decided), ("came of it", found.answered)];
    let marked = marked
        .into_iter()
        .filter_map(|(name, point)| Some(row(name.to_owned(), &point?)));
    let tiers = found
        .tiers
        .iter()
        .map(|tier| row(format!("always {}", shown(&tier.tier)), &tier.point));
    let floors = found
        .floors
        .iter()
        .map(|floor| row(format!("floor {}", fixed(floor.floor, 2)), &floor.point));
    let headings = ["t:dial", "requests", "cost of 1,000", "expected quality"];
    Section {
        title: "Other dials on the same requests",
        text: vec![
            "What the forecasts expect of other choices: the cheapest tier whose expected quality reaches a floor, and each tier \
             alone. Decided is what the tiers that were chosen first were expected to cost and to give; what came of it is the real \
             cost of all calls, and the expected quality of the tiers that answered."
                .to_owned(),
        ],
        charts: vec![Chart::Frontier],
        tables: vec![Table::new("Expected cost and quality", columns(&headings), marked.chain(tiers).chain(floors).collect())],
    }
}
