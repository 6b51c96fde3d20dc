//! The result on a terminal: at most 100 characters wide.

use super::curve::shortened;
use super::headline;
use super::number::{ABSENT, fixed, gain, interval, optional, score, usd_per_thousand};
use super::results::{compared_point, cost_share, difference, tiercast};
use crate::report::{Estimate, MethodKind, MethodReport, OperatingPoint, Report, Verdict};

const WIDTH: usize = 100;
const NAME: usize = 30;
/// Widths of the columns of numbers, each after one space.
const COLUMNS: [usize; 5] = [20, 24, 7, 8, 6];
const LEGEND: &str = "AIQ: mean quality over all budgets, with its 95 % interval. * the paired interval excludes \
zero. Quality and cost (US dollars per 1,000 requests): at the cheapest setting that kept 99 % of the best single \
tier's quality on validation, or the only one. 99 %: cost, as a share of the best single tier's, at 99 % of its quality. \
AURC: share of wrong decisions as the doubtful are set aside, mean over all shares kept; lower is better. \
ECE: calibration error; off is more than .015 above its floor.";

/// Headline, a line per method, the operating points.
pub(super) fn table(report: &Report) -> String {
    let heading = ["AIQ", "tiercast minus it", "quality", "$ / 1k", "99 %"].map(str::to_owned);
    let mut lines = wrapped(&headline::headline(report));
    lines.push(String::new());
    lines.push(line("method", &heading));
    lines.extend(report.methods.iter().map(|method| method_line(report, method)));
    let settings = tiercast(report).into_iter().flat_map(|method| &method.operating_points);
    lines.extend(settings.filter(|point| point.name != "validated").map(setting_line));
    lines.push(String::new());
    lines.extend(doubt_line(report));
    lines.push(calibration_line(report));
    lines.push(String::new());
    lines.extend(wrapped(LEGEND));
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn method_line(report: &Report, method: &MethodReport) -> String {
    let point = compared_point(method);
    let minus = match difference(report, &method.name, "aiq") {
        Some(found) if found.significant => format!("{}*", bounded(found.difference, gain)),
        Some(found) => format!("{} ", bounded(found.difference, gain)),
        None if method.kind == MethodKind::Tiercast => "- ".to_owned(),
        None => format!("{ABSENT} "),
    };
    let cells = [
        interval(method.aiq, score),
        minus,
        optional(point, |point| score(point.quality.value)),
        optional(point, |point| usd_per_thousand(point.cost_usd.value)),
        optional(cost_share(method, 0.99), |share| {
            format!("{} %", fixed(100.0 * share, 0))
        }),
    ];
    line(&method.label, &cells)
}

fn setting_line(point: &OperatingPoint) -> String {
    let empty = String::new;
    let cells = [
        empty(),
        empty(),
        score(point.quality.value),
        usd_per_thousand(point.cost_usd.value),
        empty(),
    ];
    line(&format!("tiercast, {}", point.name), &cells)
}

/// The area of the first order of doubt, beside a random one.
fn doubt_line(report: &Report) -> Option<String> {
    let order = report.selective.orders.first()?;
    let star = if order.decision.significant { "*" } else { "" };
    Some(format!(
        "{:<12} AURC {}; minus random order {}{star}",
        order.name,
        interval(order.decision.aurc, score),
        bounded(order.decision.minus_random, gain),
    ))
}

/// Calibration over all tiers, and how many parts are off.
fn calibration_line(report: &Report) -> String {
    let prediction = &report.prediction;
    let off = |verdicts: Vec<Verdict>| {
        let n_off = verdicts
            .iter()
            .filter(|verdict| **verdict != Verdict::Calibrated)
            .count();
        format!("{n_off} of {}", verdicts.len())
    };
    format!(
        "{:<12} ECE {}, floor {}; off: {} tiers, {} routed subsets, {} domains",
        "calibration",
        score(prediction.pooled.ece_mass),
        score(prediction.pooled.ece_mass_floor),
        off(prediction.tiers.iter().map(|tier| tier.verdict).collect()),
        off(prediction.routed.iter().map(|routed| routed.verdict).collect()),
        off(prediction.domains.iter().map(|domain| domain.verdict).collect()),
    )
}

/// Bounds without the sign of a gain that is above zero: the column is narrow.
fn bounded(estimate: Estimate, show: impl Fn(f64) -> String) -> String {
    interval(estimate, show).replace("[+", "[").replace(", +", ", ")
}

fn line(name: &str, cells: &[String; 5]) -> String {
    let name = shortened(&name.replace(char::is_control, " "), NAME);
    let numbers = cells
        .iter()
        .zip(COLUMNS)
        .map(|(cell, width)| format!(" {cell:>width$}"));
    format!("{name:<NAME$}{}", numbers.collect::<String>())
}

fn wrapped(text: &str) -> Vec<String> {
    let add = |mut lines: Vec<String>, word: &str| {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
        lines
    };
    text.split_whitespace().fold(Vec::new(), add)
}
