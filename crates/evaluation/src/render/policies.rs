//! Views of a comparison of policies: a page with the chart, Markdown, a table for the terminal, JSON.

use std::fs;
use std::io::Write;
use std::path::Path;

use maud::{Markup, html};
use tiercast_records::disk::write_atomically;
use tiercast_statistics::curve as hulls;

use super::RenderError;
use super::axis::{Axis, path};
use super::curve::{BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, grid, px, swatch};
use super::html::{document, explained, section};
use super::number::{ABSENT, count, fixed, gain, interval, optional, percent, score, usd_per_thousand};
use super::table::{Column, Row, Table, escaped, number, row, words};
use crate::policies::report::{PolicyPoint, PolicyReport, PolicyRow};
use crate::report::Point;

/// Classes of the lines, from the first policy on; those that follow share the last.
const CLASSES: [&str; 6] = ["ours", "learned", "label", "length", "mix", "oracle"];

/// Writes `policies.html`, `policies.md` and, last, `policies.json` into `folder`, making it where absent.
pub fn write(report: &PolicyReport, folder: &Path) -> Result<(), RenderError> {
    let json = serde_json::to_string_pretty(report)? + "\n";
    fs::create_dir_all(folder).map_err(|source| RenderError::Folder {
        folder: folder.to_path_buf(),
        source,
    })?;
    let views = [
        ("policies.html", page(report)),
        ("policies.md", markdown(report)),
        ("policies.json", json),
    ];
    for (name, text) in views {
        write_atomically(&folder.join(name), |file| file.write_all(text.as_bytes()))?;
    }
    Ok(())
}

/// The comparison for a terminal.
pub fn table(report: &PolicyReport) -> String {
    const NAME: usize = 30;
    const CELL: usize = 27;
    let line = |cells: &[String]| {
        let rest: String = cells[1..].iter().map(|cell| format!(" {cell:>CELL$}")).collect();
        format!("{:<NAME$}{rest}", super::curve::shortened(&cells[0], NAME))
            .trim_end()
            .to_owned()
    };
    let points = points(report);
    // The columns that decide; the rest is in the page.
    let wanted = [
        "policy",
        "kept of best",
        "saved of best",
        "saved of dearest",
        "captured",
    ];
    let picked: Vec<usize> = wanted
        .iter()
        .filter_map(|name| points.columns.iter().position(|column| column.heading == *name))
        .collect();
    let pick = |cells: Vec<String>| -> Vec<String> { picked.iter().map(|at| cells[*at].clone()).collect() };
    let mut lines = vec![
        lead(report),
        line(&pick(
            points.columns.iter().map(|column| column.heading.clone()).collect(),
        )),
    ];
    lines.extend(points.rows.into_iter().map(|row| line(&pick(row.cells))));
    lines.join("\n") + "\n"
}

fn lead(report: &PolicyReport) -> String {
    let (data, references) = (&report.data, &report.references);
    let name = |tier: usize| &report.tiers[tier].name;
    format!(
        "{} prompts of {}, split {}; best single tier {} (chosen on validation), dearest {}, cheapest {}.",
        count(data.n_items),
        data.datasets.join(", "),
        data.split.name(),
        name(references.best_single),
        name(references.dearest),
        name(references.cheapest)
    )
}

fn page(report: &PolicyReport) -> String {
    document(
        &format!("tiercast policies: {}", report.checkpoint.id),
        &html! {
            header {
                h1 { "Routing policies compared" }
                p.second { (lead(report)) }
            }
            (section("What quality costs", "Every call of a cascade is counted. Up and to the left is better.", &figure(report)))
            (section(
                "Settings chosen on validation",
                "Of the settings that keep the stated share of the best single tier's quality on validation, the one that costs least there, read once here.",
                &explained(&points(report)),
            ))
            (section("Over all budgets", "One figure per dial.", &explained(&areas(report))))
            (section(
                "Guarantees",
                "A floor is certified on a random half of these rows and looked at on the other, many times over.",
                &explained(&certificates(report)),
            ))
            (section("What to know", "", &html! { ul { @for note in &report.notes { li { (note) } } } }))
        },
    )
}

fn markdown(report: &PolicyReport) -> String {
    let mut text = format!("# Routing policies compared\n\n{}\n\n", escaped(&lead(report)));
    text += &format!(
        "Checkpoint {}, seed {}, {} replicates.\n\n",
        escaped(&report.checkpoint.id),
        report.data.seed,
        report.data.n_bootstrap
    );
    for table in [points(report), areas(report), certificates(report)] {
        text += &format!("## {}\n\n{}\n", table.title, table.markdown());
        for column in table.columns.iter().filter(|column| !column.explanation.is_empty()) {
            text += &format!("- {}: {}\n", escaped(&column.heading), escaped(&column.explanation));
        }
        text += "\n";
    }
    report
        .notes
        .iter()
        .for_each(|note| text += &format!("- {}\n", escaped(note)));
    text
}

fn points(report: &PolicyReport) -> Table {
    let mut columns: Vec<Column> = vec![
        words("policy", "Its name in the config."),
        words(
            "chosen for",
            "Share of the best single tier's quality that the setting had to keep on validation.",
        ),
        number("setting", "Of the policy's dial."),
        number("quality", "Mean quality of the answers given."),
        number("USD per 1,000", "Cost of all calls, of 1,000 requests."),
        number("kept of best", "Quality over the best single tier's."),
        number("saved of best", "One minus cost over the best single tier's."),
        number("kept of dearest", "Quality over the dearest tier's."),
        number("saved of dearest", "One minus cost over the dearest tier's."),
        number("calls", "Per request."),
        number(
            "captured",
            "Of the prompts that the cheapest tier answers with a quality of at least .5, the share that went there and nowhere else.",
        ),
        number(
            "seconds",
            "Mean of the summed latencies of a request's calls, where the data has them.",
        ),
    ];
    columns.extend(report.tiers.iter().map(|tier| number(tier.name.clone(), "")));
    let rows = report
        .policies
        .iter()
        .flat_map(|policy| policy.points.iter().map(move |point| cells(policy, point)));
    Table::new("Settings chosen on validation", columns, rows.collect())
}

fn cells(policy: &PolicyRow, point: &PolicyPoint) -> Row {
    let mut cells = vec![
        policy.name.clone(),
        point.kept_on_validation.map_or_else(String::new, percent),
        point
            .setting
            .map_or_else(String::new, |setting| format!("{setting:.4}")),
        interval(point.quality, score),
        interval(point.cost_usd, usd_per_thousand),
        interval(point.kept_of_best, percent),
        interval(point.saved_of_best, percent),
        interval(point.kept_of_dearest, percent),
        interval(point.saved_of_dearest, percent),
        fixed(point.calls, 2),
        point
            .cheapest_captured
            .map_or_else(|| ABSENT.to_owned(), |share| interval(share, percent)),
        optional(point.latency_s, |seconds| fixed(seconds, 2)),
    ];
    cells.extend(point.tier_shares.iter().map(|share| percent(*share)));
    Row {
        is_ours: policy.name == "meta",
        ..row(cells)
    }
}

fn areas(report: &PolicyReport) -> Table {
    let first = report.policies.first().map_or("", |policy| policy.name.as_str());
    let columns = vec![
        words("policy", ""),
        words("dial", "What is turned between cheap and good."),
        number(
            "AIQ",
            "Mean height of the hull between the cheapest and the dearest tier's mean cost.",
        ),
        number(format!("minus {first}"), "Paired on the same bootstrap replicates."),
    ];
    let with_dial = report.policies.iter().filter_map(|policy| Some((policy, policy.aiq?)));
    let rows = with_dial.map(|(policy, aiq)| {
        row(vec![
            policy.name.clone(),
            policy.dial.clone(),
            interval(aiq, score),
            policy
                .aiq_minus_first
                .map_or_else(String::new, |difference| interval(difference, gain)),
        ])
    });
    Table::new("Over all budgets", columns, rows.collect())
}

fn certificates(report: &PolicyReport) -> Table {
    let columns = vec![
        words(
            "lost",
            "missed: quality under .5; avoidable: and the dearest tier's at least .5.",
        ),
        number(
            "at most",
            "Largest share lost among items sent to a cheaper tier than the dearest.",
        ),
        number("confidence", "Probability with which that is to hold."),
        number(
            "certified",
            "Share of the random halves where a floor could be certified.",
        ),
        number(
            "sent cheaper",
            "Mean share of the items; none where nothing was certified.",
        ),
        number(
            "broken, other half",
            "Share of the splits whose other half lost more: the certificate and the noise of that half.",
        ),
        number(
            "broken, all rows",
            "Share of the splits at whose floor all rows together lose more.",
        ),
    ];
    let rows = report.certificates.iter().map(|found| {
        row(vec![
            found.loss.clone(),
            percent(found.alpha),
            percent(1.0 - found.delta),
            percent(found.certified),
            percent(found.share),
            percent(found.broken_on_other_half),
            percent(found.broken_on_all),
        ])
    });
    Table::new("Guarantees", columns, rows.collect())
}

fn figure(report: &PolicyReport) -> Markup {
    let all = || report.policies.iter().flat_map(|policy| &policy.sweep);
    let costs: Vec<f64> = all().map(|point| 1000.0 * point.cost_usd).collect();
    let qualities: Vec<f64> = all().map(|point| point.quality).collect();
    let x_axis = Axis::around(&costs, true, LEFT, RIGHT);
    let y_axis = Axis::around(&qualities, false, BOTTOM, TOP);
    let at = |point: Point| Some((x_axis.at(1000.0 * point.cost_usd)?, y_axis.at(point.quality)?));
    let (dials, single): (Vec<&PolicyRow>, Vec<&PolicyRow>) =
        report.policies.iter().partition(|policy| policy.aiq.is_some());
    let class = |idx: usize| CLASSES[idx.min(CLASSES.len() - 1)];
    html! {
        figure {
            svg.plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-labelledby="policies-title" {
                title id="policies-title" { "Mean cost of 1,000 requests against mean quality, per policy" }
                (grid(&x_axis, &y_axis))
                @for (idx, policy) in dials.iter().enumerate().rev() {
                    path class={ "line " (class(idx)) } d=(path(&hull(policy).into_iter().filter_map(at).collect::<Vec<_>>())) {
                        title { (policy.label) }
                    }
                }
                @for policy in &single {
                    @if let Some((x, y)) = policy.sweep.first().and_then(|point| at(*point)) {
                        rect.tier x=(px(x - 4.0)) y=(px(y - 4.0)) width="8" height="8" { title { (policy.label) } }
                        text.t x=(px(x + 7.0)) y=(px(y - 6.0)) { (policy.name) }
                    }
                }
            }
            ul.legend {
                @for (idx, policy) in dials.iter().enumerate() {
                    li { (swatch(&html! { path class={ "line " (class(idx)) } d="M1 8H35" {} })) (policy.name) ": " (policy.label) }
                }
                li { (swatch(&html! { rect.tier x="14" y="4" width="8" height="8" {} })) "policies without a dial" }
            }
            figcaption { "Lines are upper hulls: mixing two settings at random reaches every point of them." }
        }
    }
}

fn hull(policy: &PolicyRow) -> Vec<Point> {
    let points = policy.sweep.iter().map(|point| hulls::Point {
        cost: point.cost_usd,
        quality: point.quality,
    });
    let hull = hulls::hull(&points.collect::<Vec<_>>());
    hull.into_iter()
        .map(|point| Point {
            cost_usd: point.cost,
            quality: point.quality,
        })
        .collect()
}
