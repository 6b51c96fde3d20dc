//! The page as one HTML file.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::content::{Answer, Chart, Section, answers, sections, subtitle};
use super::number::{sentence, shown, time};
use super::table::{Cell, Column, Table};
use super::{FindingView, Report, chart};

const STYLE: &str = include_str!("page.css");
/// From this length on the text of a cell may break.
const LONG: usize = 28;

pub(super) fn page(report: &Report) -> String {
    let title = shown(&report.title);
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (title) }
                    p.soft { (subtitle(report)) }
                    @for note in &report.notes { p.note { (sentence(note)) } }
                    div.answers { @for found in answers(report) { (answer(&found)) } }
                    (findings(&report.findings))
                    @for found in sections(report) { (section(&found, report)) }
                }
            }
        }
    };
    markup.into_string()
}

fn answer(answer: &Answer) -> Markup {
    html! {
        div.answer.bad[answer.is_bad] {
            h2 { (answer.question) }
            p.figure { (answer.figure) }
            p.remark { (answer.remark) }
        }
    }
}

fn findings(findings: &[FindingView]) -> Markup {
    html! {
        section {
            h2 { "Drift" }
            @if findings.is_empty() {
                p { "Nothing was found to have drifted in this period." }
            } @else {
                ul.findings {
                    @for finding in findings {
                        li class=(finding.severity.name()) {
                            p.head {
                                strong { (finding.severity.name()) } " " (shown(&finding.kind)) ": " (shown(&finding.what))
                                @if let Some(ms) = finding.at_ms { span.soft { " " (time(ms)) " UTC" } }
                            }
                            p { (sentence(&finding.says)) }
                            p.do { (sentence(&finding.do_this)) }
                        }
                    }
                }
            }
        }
    }
}

fn section(section: &Section, report: &Report) -> Markup {
    html! {
        section {
            h2 { (section.title) }
            @for text in &section.text { p { (text) } }
            @for chart in &section.charts { (drawn(chart, report)) }
            @for found in section.tables.iter().filter(|table| !table.rows.is_empty()) { (table(found)) }
        }
    }
}

fn drawn(which: &Chart, report: &Report) -> Markup {
    let figures = &report.figures;
    match which {
        Chart::Timeline => html! { @if let Some(series) = figures.timelines.first() { (chart::timeline(series)) } },
        Chart::Paths => chart::qualities("Quality by route", &figures.quality.by_path),
        Chart::Tiers => chart::qualities("Quality by tier", &figures.quality.by_tier),
        Chart::Reliability => chart::reliability(&figures.quality.reliability),
        Chart::Frontier => chart::frontier(&figures.frontier),
    }
}

fn table(table: &Table) -> Markup {
    html! {
        h3 { (table.title) }
        div.scroll tabindex="0" {
            table {
                thead { tr { @for column in &table.columns { th.text[column.is_text] scope="col" { (column.heading) } } } }
                tbody {
                    @for row in &table.rows {
                        tr { @for (cell, column) in row.iter().zip(&table.columns) { (td(cell, column)) } }
                    }
                }
            }
        }
        @if !table.note.is_empty() { p.soft { (table.note) } }
    }
}

fn td(cell: &Cell, column: &Column) -> Markup {
    let is_long = cell.text.chars().count() > LONG;
    html! {
        td.text[column.is_text].long[is_long] {
            (cell.text)
            @if !cell.small.is_empty() { span.interval { (cell.small) } }
        }
    }
}
