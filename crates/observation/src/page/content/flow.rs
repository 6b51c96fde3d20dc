//! Escalations, failures, waits, counts.

use super::{MOST_ROWS, Section, more};
use crate::page::number::{bounds, count, gain, optional, percent, score, sentence, shown, usd, wait};
use crate::page::table::{Cell, Table, columns};
use crate::summary::figures::{Count, Figures, Quantiles, StageFigures};

pub(super) fn escalations(figures: &Figures) -> Section {
    let found = &figures.escalations;
    let moves = found
        .moves
        .iter()
        .map(|row| vec![shown(&row.from).into(), shown(&row.to).into(), count(row.calls).into()]);
    let mut text: Vec<_> = found
        .stages
        .iter()
        .filter_map(|stage| stage.hint.as_deref().map(sentence))
        .collect();
    if found.stages.is_empty() {
        text.push("No cascade read an answer in this period.".to_owned());
    } else {
        text.push(
            "Whether answers that were passed on would have done is not known: the client never saw them. Their estimate can be judged \
             only by the answers that were let out."
                .to_owned(),
        );
    }
    let headings = [
        "t:tier",
        "answers read",
        "passed on",
        "estimate, let out",
        "observed, let out",
        "observed - estimate",
        "target",
        "cost of unused answers",
    ];
    Section {
        title: "Escalations",
        text,
        charts: Vec::new(),
        tables: vec![
            Table::new(
                "Answers that a cascade read",
                columns(&headings),
                found.stages.iter().map(stage).collect(),
            ),
            Table::new(
                "From tier to tier",
                columns(&["t:from", "t:to", "calls"]),
                moves.collect(),
            ),
        ],
    }
}

fn stage(row: &StageFigures) -> Vec<Cell> {
    vec![
        shown(&row.tier).into(),
        count(row.answers_read).into(),
        Cell::from(optional(row.escalation_rate, percent))
            .with(row.escalation_rate_interval.map(|interval| bounds(interval, percent))),
        optional(row.estimate_let_out, score).into(),
        Cell::from(optional(row.observed, score)).with(row.observed_interval.map(|interval| bounds(interval, score))),
        Cell::from(optional(row.above_estimate, gain))
            .with(row.above_estimate_interval.map(|interval| bounds(interval, gain))),
        optional(row.target, score).into(),
        usd(row.unused_usd).into(),
    ]
}

pub(super) fn failures(figures: &Figures) -> Section {
    let failures = &figures.failures;
    let fallbacks = failures.fallbacks.iter().map(|row| {
        let names = [&row.from, &row.to, &row.error].map(|name| Cell::from(shown(name)));
        (row.calls, Vec::from(names))
    });
    let errors = failures
        .by_tier
        .iter()
        .map(|row| (row.calls, vec![shown(&row.tier).into(), shown(&row.error).into()]));
    let out = failures
        .exclusions
        .iter()
        .map(|row| (row.requests, vec![shown(&row.tier).into(), shown(&row.why).into()]));
    Section {
        title: "Fallbacks, failures and exclusions",
        text: Vec::new(),
        charts: Vec::new(),
        tables: vec![
            most_frequent("Fallbacks", &["t:from", "t:to", "t:because of", "calls"], fallbacks),
            most_frequent("Failed calls", &["t:tier", "t:error", "calls"], errors),
            most_frequent(
                "Tiers out of the question",
                &["t:tier", "t:because of", "requests"],
                out,
            ),
        ],
    }
}

/// The most frequent first, with their number as the last column.
fn most_frequent(title: &str, headings: &[&str], rows: impl Iterator<Item = (u64, Vec<Cell>)>) -> Table {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
    let note = more(rows.len());
    rows.truncate(MOST_ROWS);
    let cells = rows.into_iter().map(|(n, mut cells)| {
        cells.push(count(n).into());
        cells
    });
    Table::new(title, columns(headings), cells.collect()).noted(note)
}

pub(super) fn latency(figures: &Figures) -> Section {
    let cells = |name: String, quantiles: &Quantiles| {
        let waits = [quantiles.p50, quantiles.p95, quantiles.p99].map(|ms| Cell::from(wait(ms)));
        [Cell::from(name), count(quantiles.n).into()]
            .into_iter()
            .chain(waits)
            .collect::<Vec<_>>()
    };
    let overhead = figures
        .latency
        .overhead_ms
        .iter()
        .map(|quantiles| cells("decision (overhead)".to_owned(), quantiles));
    let tiers = figures.latency.by_tier.iter().flat_map(|tier| {
        let first = tier
            .first_token_ms
            .map(|found| cells(format!("{}, first token", shown(&tier.tier)), &found));
        let total = tier
            .total_ms
            .map(|found| cells(format!("{}, complete reply", shown(&tier.tier)), &found));
        first.into_iter().chain(total)
    });
    let headings = ["t:what", "n", "median", "95 %", "99 %"];
    Section {
        title: "Latency",
        text: Vec::new(),
        charts: Vec::new(),
        tables: vec![Table::new(
            "Waits, right within 1 %",
            columns(&headings),
            overhead.chain(tiers).collect(),
        )],
    }
}

pub(super) fn totals(figures: &Figures) -> Section {
    let totals = &figures.totals;
    let amounts = [
        ("Requests", totals.requests),
        ("answered", totals.answered),
        ("failed", totals.failed),
        ("refused before any call", totals.refused),
        ("only decided (/v1/route)", totals.decided_only),
        ("with insufficient evidence", totals.insufficient_evidence),
        ("Calls", totals.calls),
        ("with tokens counted here", totals.calls_with_estimated_tokens),
        ("Prompt tokens", totals.input_tokens as u64),
        ("of which cached", totals.cached_tokens as u64),
        ("Reply tokens", totals.output_tokens as u64),
        ("Figures that could not be used", totals.unusable_figures),
    ];
    let rows = amounts.map(|(name, n)| vec![name.to_owned().into(), count(n).into()]);
    let by = [
        ("By endpoint", &totals.by_endpoint),
        ("By policy", &totals.by_policy),
        ("By reason", &totals.by_reason),
        ("By rule", &totals.by_rule),
        ("By checkpoint", &totals.by_checkpoint),
    ];
    let counted = by
        .into_iter()
        .filter(|(_, counts)| !counts.is_empty())
        .map(|(title, counts)| named(title, counts));
    let all = Table::new("All", columns(&["t:", "number"]), rows.into());
    Section {
        title: "Totals",
        text: Vec::new(),
        charts: Vec::new(),
        tables: std::iter::once(all).chain(counted).collect(),
    }
}

fn named(title: &str, counts: &[Count]) -> Table {
    let name = |row: &Count| {
        if row.is_rest {
            "all others".to_owned()
        } else {
            shown(&row.name)
        }
    };
    most_frequent(
        title,
        &["t:", "requests"],
        counts.iter().map(|row| (row.requests, vec![name(row).into()])),
    )
}
