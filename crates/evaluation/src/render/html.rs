//! The page: one file that needs nothing else.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::number::{fixed, usd_per_thousand};
use super::table::{Column, Row, Table};
use super::{curve, forecasts, headline, reproduce, results, selective, small};
use crate::report::Report;

const STYLE: &str = include_str!("page.css");
/// From this length on the text of a cell may break.
const LONG: usize = 40;

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    document(
        &format!("tiercast evaluation: {}", report.checkpoint.id),
        &html! {
            (opening(report))
            (curve_section(report))
            (methods(report))
            (operating(report))
            (parts(report))
            (predictions(report))
            (doubts(report))
            (costs(report))
            (field(report))
            (closing(report))
        },
    )
}

/// A page of this content: one file that needs nothing else.
pub(super) fn document(title: &str, content: &Markup) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (content) } }
        }
    };
    markup.into_string()
}

fn opening(report: &Report) -> Markup {
    html! {
        header {
            h1 { "tiercast evaluation" }
            p.headline { (kept_together(&headline::headline(report))) }
            p.second { (kept_together(&headline::comparison(report))) }
            p.second {
                "tiercast predicts, for each request, how good each model tier's answer will be, and routes to the cheapest tier that is good enough. "
                "Figures in brackets are 95 % intervals; what they do not separate is not called different. "
                "The best single tier" @if report.data.n_validation > 0 { ", chosen on validation rows," } " is " (forecasts::best_single(report)) "."
            }
            dl.facts {
                @for (name, fact) in headline::provenance(report) { div { dt { (name) } dd { (fact) } } }
            }
        }
    }
}

/// Units stay on the line of their number.
fn kept_together(text: &str) -> String {
    text.replace(" %", "\u{a0}%")
}

fn curve_section(report: &Report) -> Markup {
    section(
        "What quality costs",
        "Every router has a dial from cheap to good. Turning it draws a line: the higher the line, the better the answers for the same money.",
        &curve::figure(report),
    )
}

fn methods(report: &Report) -> Markup {
    section(
        "tiercast beside everything else",
        "All methods are measured on the same prompts. Baselines are fitted on the training prompts that every tier answered, tiercast on all.",
        &html! {
            (explained(&results::methods(report)))
            h3 { "Quality kept, cost saved" }
            (explained(&results::trade(report)))
        },
    )
}

fn operating(report: &Report) -> Markup {
    let references = &report.references;
    let lead = format!(
        "What a client gets who asks for a model by name: auto asks for an expected quality of at least {}, auto:cheap of at least {}; validated is the trade-off that was cheapest on validation rows while it kept 99 % of the best single tier's quality.",
        fixed(references.auto_floor, 2),
        fixed(references.cheap_floor, 2)
    );
    section(
        "Operating points",
        &lead,
        &html! {
            (explained(&results::operating(report)))
            h3 { "Where the requests go" }
            (small::shares(report))
            (explained(&results::shares(report)))
            @if let Some(sentence) = forecasts::certified(report) { p { (kept_together(&sentence)) } }
        },
    )
}

fn parts(report: &Report) -> Markup {
    html! {
        (section(
            "Per domain",
            "tiercast at auto. Domains with few prompts are noisy.",
            &explained(&results::domains(report)),
        ))
        @if !report.slices.is_empty() {
            (section(
                "Two tiers, part by part",
                "The figures that work on two models publishes, on the same parts of the data.",
                &html! {
                    @for (idx, slice) in report.slices.iter().enumerate() {
                        @let table = results::slice(report, slice);
                        h3 { (table.title) }
                        (plain(&table))
                        @if idx + 1 == report.slices.len() { (explanations(&table.columns)) }
                    }
                },
            ))
        }
    }
}

fn predictions(report: &Report) -> Markup {
    let prediction = &report.prediction;
    let target = fixed(prediction.target, 2);
    let qualities = || std::iter::once(&prediction.pooled).chain(&prediction.tiers);
    section(
        "Is the prediction right?",
        "Routing is only as good as the predicted quality. A prediction is calibrated when what it gives 70 % happens 70 % of the time, and sharp when it does not say the same of every request.",
        &html! {
            (explained(&forecasts::prediction(report)))
            h3 { "Reliability" }
            p { "Across: predicted probability that the quality is at least " (target) ". Up: how often it was. Calibrated predictions lie on the dashed line; the area of a dot is the number of forecasts behind it." }
            div.multiples { @for quality in qualities() { (small::reliability(quality, prediction.target)) } }
            h3 { "Where outcomes fall in the predicted distribution" }
            p { "Share of outcomes in each tenth of what was predicted (randomised PIT). Flat is calibrated; a bowl means too narrow, a hill too wide, a slope too high or too low. The grey strip is what chance alone moves a bar by." }
            div.multiples { @for quality in qualities() { (small::pit(quality)) } }
            h3 { "Where it is used" }
            p { "Calibration on the very requests that auto sent to a tier." }
            div.multiples { @for routed in &prediction.routed { (small::routed_reliability(routed, prediction.target)) } }
            (explained(&forecasts::routed(report)))
            h3 { "Per domain" }
            p { "A forecast can be right on average and wrong on every subject. The network is never told the domain." }
            (explained(&forecasts::domains(report)))
            h3 { "Predicted minus observed quality" }
            (explained(&forecasts::biases(report)))
            h3 { "Beside the baselines" }
            (explained(&forecasts::calibration(report)))
        },
    )
}

fn doubts(report: &Report) -> Markup {
    let sentences = [selective::sentence(report), selective::gate_sentence(report)];
    section(
        "Does it know when it does not know?",
        "Requests are ordered by doubt, and the most doubtful are set aside. When the doubt means something, decisions on the rest are right more often.",
        &html! {
            @if report.selective.orders.is_empty() {
                p { "Nothing to show on this data." }
            } @else {
                @for sentence in sentences.iter().flatten() { p { (kept_together(sentence)) } }
                (selective::figure(report))
                h3 { "Area under the risk-coverage curve" }
                (explained(&selective::areas(report)))
                h3 { "What is left" }
                (explained(&selective::kept(report)))
                @if report.selective.gate.is_some() {
                    h3 { "Evidence, sufficient or not" }
                    (explained(&selective::gate(report)))
                }
            }
        },
    )
}

fn costs(report: &Report) -> Markup {
    section(
        "Is the predicted cost right?",
        "The router weighs quality against a predicted cost, since the length of an answer is unknown before it is there.",
        &explained(&forecasts::cost_head(report)),
    )
}

fn field(report: &Report) -> Markup {
    section(
        "Figures of other benchmarks",
        "As they define them, so that results can be laid side by side. They compare only where data and tiers are the same.",
        &html! {
            h3 { "At settings" }
            (explained(&forecasts::field_points(report)))
            h3 { "Over whole curves" }
            (explained(&forecasts::field_curves(report)))
        },
    )
}

fn closing(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Notes" }
            @if report.notes.is_empty() { p { "None." } } @else { ul { @for note in &report.notes { li { (note) } } } }
            h2 { "Definitions" }
            ul {
                li { "A figure named METRICS A.n follows that section of the project's metrics document, which gives its source." }
                li { "Quality is the mean outcome in [0, 1]. Costs are what the answers really cost, at the prices in the data." }
                li {
                    "Areas are taken from the cheapest tier's mean cost to the dearest's: "
                    (usd_per_thousand(report.references.cost_min_usd)) " to " (usd_per_thousand(report.references.cost_max_usd)) " per 1,000 requests."
                }
                li { "Intervals: percentile bootstrap over groups of related prompts; differences are paired, on the same replicates (METRICS A.9)." }
                li { "n/a: undefined on this data; the notes say why." }
            }
            h2 { "How to reproduce" }
            p { "The same data, checkpoint and seed give this page again, to the byte." }
            pre { code { (reproduce(report)) } }
        }
    }
}

pub(super) fn section(title: &str, lead: &str, body: &Markup) -> Markup {
    html! {
        section {
            h2 { (title) }
            p { (kept_together(lead)) }
            (body)
        }
    }
}

/// A table, then what each column means.
pub(super) fn explained(table: &Table) -> Markup {
    html! {
        (plain(table))
        @if !table.rows.is_empty() { (explanations(&table.columns)) }
    }
}

fn plain(table: &Table) -> Markup {
    html! {
        @if table.rows.is_empty() {
            p { "Nothing to show on this data." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label=(table.title) {
                table {
                    thead { tr { @for column in &table.columns { th.text[column.is_text] scope="col" { (column.heading) } } } }
                    tbody { @for row in &table.rows { (table_row(&table.columns, row)) } }
                }
            }
        }
    }
}

fn table_row(columns: &[Column], row: &Row) -> Markup {
    let first = row.cells.first().map_or("", String::as_str);
    html! {
        tr.ours[row.is_ours] {
            th scope="row" { (first) @if !row.remark.is_empty() { small { (row.remark) } } }
            @for (column, cell) in columns.iter().zip(&row.cells).skip(1) {
                td.text[column.is_text].wrap[cell.len() > LONG] { (cell_text(cell)) }
            }
        }
    }
}

/// The interval stands under its figure.
fn cell_text(cell: &str) -> Markup {
    html! {
        @match cell.split_once(" [") {
            Some((value, interval)) => { (value) span.interval { "[" (interval) } }
            None => (cell),
        }
    }
}

fn explanations(columns: &[Column]) -> Markup {
    html! {
        dl.columns {
            @for column in columns.iter().filter(|column| !column.explanation.is_empty()) {
                dt { (column.heading) }
                dd { (kept_together(&column.explanation)) }
            }
        }
    }
}
