//! The page as Markdown: for a pull request, a chat, a mail.

use super::content::{answers, sections, subtitle};
use super::number::{sentence, shown, time};
use super::table::{Cell, Table};
use super::{FindingView, Report};

pub(super) fn page(report: &Report) -> String {
    let mut blocks = vec![
        format!("# {}", escaped(&shown(&report.title))),
        escaped(&subtitle(report)),
    ];
    blocks.extend(
        report
            .notes
            .iter()
            .map(|note| format!("> {}", escaped(&sentence(note)))),
    );
    let lines = answers(report).into_iter().map(|answer| {
        let remark = escaped(answer.remark.trim());
        format!("- **{}: {}.** {remark}", answer.question, escaped(&answer.figure))
    });
    blocks.push(lines.collect::<Vec<_>>().join("\n"));
    blocks.push("## Drift".to_owned());
    blocks.push(findings(&report.findings));
    for section in sections(report) {
        blocks.push(format!("## {}", section.title));
        blocks.extend(section.text.iter().map(|text| escaped(text)));
        blocks.extend(section.tables.iter().filter(|found| !found.rows.is_empty()).map(table));
    }
    blocks.join("\n\n") + "\n"
}

fn findings(findings: &[FindingView]) -> String {
    if findings.is_empty() {
        return "Nothing was found to have drifted in this period.".to_owned();
    }
    let line = |finding: &FindingView| {
        let at = finding
            .at_ms
            .map(|ms| format!(" ({} UTC)", time(ms)))
            .unwrap_or_default();
        let [kind, what] = [&finding.kind, &finding.what].map(|label| escaped(&shown(label)));
        let [says, do_this] = [&finding.says, &finding.do_this].map(|text| escaped(&sentence(text)));
        format!(
            "- **{}** {kind}: {what}{at}. {says} **{do_this}**",
            finding.severity.name()
        )
    };
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn table(table: &Table) -> String {
    let heading = row(table.columns.iter().map(|column| column.heading.clone()));
    let rule = row(table
        .columns
        .iter()
        .map(|column| if column.is_text { "---" } else { "---:" }.to_owned()));
    let rows = table.rows.iter().map(|cells| row(cells.iter().map(cell)));
    let lines: Vec<_> = [heading, rule].into_iter().chain(rows).collect();
    let note = if table.note.is_empty() {
        String::new()
    } else {
        format!("\n\n{}", escaped(&table.note))
    };
    format!("### {}\n\n{}{note}", table.title, lines.join("\n"))
}

fn row(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
}

fn cell(cell: &Cell) -> String {
    let text = escaped(&cell.text);
    if cell.small.is_empty() {
        text
    } else {
        format!("{text} ({})", escaped(&cell.small))
    }
}

/// With every character that Markdown could take for its own set off, and no line of its own. A word joiner keeps
/// labels from calling people by name and from becoming links.
fn escaped(text: &str) -> String {
    let set_off = |c: char| {
        let is_mark = "\\`*_[]<>|#~!&$".contains(c);
        is_mark
            .then_some('\\')
            .into_iter()
            .chain([if c.is_control() { ' ' } else { c }])
    };
    let text: String = text.chars().flat_map(set_off).collect();
    text.replace('@', "@\u{2060}")
        .replace("://", ":\u{2060}//")
        .replace("www.", "www\u{2060}.")
}
