//! Small charts as inline SVG. Across, places are percentages, so that a chart has the width of the screen and its text
//! the size of the page's; down, they are pixels. Every chart's figures stand in a table below it.

use maud::{Markup, html};

use super::number::{count, date, fixed, score, shown, time, usd};
use crate::summary::figures::{Bin, FrontierSection, QualityFigures, TimePoint, TimelineFigures};

mod axis;
mod frontier;

pub(super) use frontier::frontier;

use axis::{Axis, across};

/// Height of a row of dots, of its name, and of its strip, pixels.
const ROW: f64 = 44.0;
/// Height of the plotted area of the others.
const HIGH: f64 = 200.0;
/// Room above it, and below it for the axis.
const ABOVE: f64 = 18.0;
const BELOW: f64 = 26.0;
/// Rows of dots that are drawn; the table has more.
const MOST_ROWS: usize = 12;

/// Expected and observed quality with its interval, a row each.
pub(super) fn qualities(label: &str, rows: &[QualityFigures]) -> Markup {
    let mut rows: Vec<_> = rows
        .iter()
        .filter(|row| row.predicted.is_some() || row.observed.is_some())
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.requests));
    rows.truncate(MOST_ROWS);
    if rows.is_empty() {
        return nothing();
    }
    let bounds = rows
        .iter()
        .filter_map(|row| row.observed_interval)
        .flat_map(|interval| [interval.low, interval.high]);
    let axis = Axis::of_shares(bounds.chain(rows.iter().filter_map(|row| row.predicted)));
    let bottom = ROW * rows.len() as f64;
    html! {
        figure {
            svg width="100%" height=(bottom + BELOW) role="img" aria-label=(label) {
                (grid(&axis, bottom))
                @for (i, row) in rows.iter().enumerate() {
                    (quality(row, &axis, ROW * i as f64))
                }
            }
            figcaption {
                span.key { svg width="16" height="16" { circle.observed cx="8" cy="8" r="5" {} } "observed where known, 95 % interval" }
                span.key { svg width="16" height="16" { circle.expected cx="8" cy="8" r="5" {} } "expected, of all" }
            }
        }
    }
}

fn quality(row: &QualityFigures, axis: &Axis, top: f64) -> Markup {
    let strip = top + 29.0;
    let name = if row.is_rest {
        "all others".to_owned()
    } else {
        shown(&row.name)
    };
    html! {
        text.name x="0" y=(top + 14.0) { (name) }
        text.soft x="100%" y=(top + 14.0) text-anchor="end" { (count(row.requests)) " requests, " (count(row.n_observed)) " known" }
        @if let Some(interval) = row.observed_interval {
            line.interval x1=(axis.at(interval.low)) x2=(axis.at(interval.high)) y1=(strip) y2=(strip) {}
        }
        @if let Some(observed) = row.observed {
            circle.observed cx=(axis.at(observed)) cy=(strip) r="5" { title { "observed " (score(observed)) } }
        }
        @if let Some(expected) = row.predicted {
            circle.expected cx=(axis.at(expected)) cy=(strip) r="5" { title { "expected " (score(expected)) } }
        }
    }
}

/// Vertical lines with their values below.
fn grid(axis: &Axis, bottom: f64) -> Markup {
    html! {
        g.grid {
            @for tick in axis.ticks() {
                line x1=(axis.at(tick)) x2=(axis.at(tick)) y1="18" y2=(bottom) {}
                text.soft x=(axis.at(tick)) y=(bottom + 17.0) text-anchor="middle" { (fixed(tick, axis.decimals())) }
            }
        }
    }
}

/// Observed by expected quality, with the line on which both are equal.
pub(super) fn reliability(bins: &[Bin]) -> Markup {
    if bins.is_empty() {
        return nothing();
    }
    let axis = Axis::of_shares([0.0, 1.0].into_iter());
    let down = |quality: f64| ABOVE + HIGH * (1.0 - quality);
    html! {
        figure.square {
            svg width="100%" height=(ABOVE + HIGH + BELOW) role="img" aria-label="Observed by expected quality" {
                (grid(&axis, ABOVE + HIGH))
                line.ideal x1=(axis.at(0.0)) y1=(down(0.0)) x2=(axis.at(1.0)) y2=(down(1.0)) {}
                @for bin in bins {
                    @let (x, interval) = (axis.at(bin.predicted), bin.observed_interval);
                    line.interval x1=(x) x2=(x) y1=(down(interval.low)) y2=(down(interval.high)) {}
                    circle.observed cx=(x) cy=(down(bin.observed)) r="5" {
                        title { (count(bin.n)) " requests: expected " (score(bin.predicted)) ", observed " (score(bin.observed)) }
                    }
                }
            }
            figcaption { "Across: expected quality. Up: observed quality, 0 to 1, with 95 % intervals. On the line both are equal." }
        }
    }
}

/// Spent per bucket of time, and what always the best tier would have cost.
pub(super) fn timeline(timeline: &TimelineFigures) -> Markup {
    let points = &timeline.points;
    let always_best = |point: &TimePoint| point.saved_usd.map(|saved| (point.spent_usd + saved).max(0.0));
    let tops = points
        .iter()
        .flat_map(|point| [point.spent_usd, always_best(point).unwrap_or(0.0)]);
    let top = tops.fold(0.0, f64::max);
    if top <= 0.0 {
        return nothing();
    }
    let width = 100.0 / points.len() as f64;
    let down = |usd: f64| ABOVE + HIGH * (1.0 - usd / top);
    let left = |i: usize| across(width * (i as f64 + 0.1));
    let right = |i: usize| across(width * (i as f64 + 0.9));
    let label = |at: usize| {
        points
            .get(at)
            .map(|point| tick(point.from_ms, timeline.bucket_ms))
            .unwrap_or_default()
    };
    html! {
        figure {
            svg width="100%" height=(ABOVE + HIGH + BELOW) role="img" aria-label="Spent over time, beside the cost of the best tier alone" {
                @for share in [0.0, 0.5, 1.0] {
                    g.grid {
                        line x1="0" x2="100%" y1=(down(share * top)) y2=(down(share * top)) {}
                        text.soft x="0" y=(down(share * top) - 4.0) { (usd(share * top)) }
                    }
                }
                @for (i, point) in points.iter().enumerate() {
                    rect.spent x=(left(i)) width=(across(0.8 * width)) y=(down(point.spent_usd)) height=(ABOVE + HIGH - down(point.spent_usd)) {
                        title { (time(point.from_ms)) ": spent " (usd(point.spent_usd)) }
                    }
                    @if let Some(usd) = always_best(point) {
                        line.best x1=(left(i)) x2=(right(i)) y1=(down(usd)) y2=(down(usd)) {}
                    }
                }
                text.soft x="0" y=(ABOVE + HIGH + 17.0) { (label(0)) }
                @if points.len() > 2 {
                    text.soft x="100%" y=(ABOVE + HIGH + 17.0) text-anchor="end" { (label(points.len() - 1)) }
                }
            }
            figcaption {
                span.key { svg width="16" height="16" { rect.spent x="3" y="2" width="10" height="12" {} } "spent" }
                span.key { svg width="16" height="16" { line.best x1="1" x2="15" y1="8" y2="8" {} } "with the best single tier always" }
                " per " (bucket(timeline.bucket_ms)) ", UTC"
            }
        }
    }
}

/// A bucket's beginning, as finely as its width needs.
fn tick(from_ms: i64, bucket_ms: i64) -> String {
    if bucket_ms % 86_400_000 == 0 {
        date(from_ms)
    } else {
        time(from_ms)
    }
}

fn bucket(ms: i64) -> String {
    match ms {
        ms if ms % 86_400_000 == 0 => named(ms / 86_400_000, "day"),
        ms if ms % 3_600_000 == 0 => named(ms / 3_600_000, "hour"),
        ms => named(ms / 60_000, "minute"),
    }
}

fn named(n: i64, unit: &str) -> String {
    if n == 1 {
        unit.to_owned()
    } else {
        format!("{n} {unit}s")
    }
}

fn nothing() -> Markup {
    html! { p.soft { "Nothing to draw." } }
}
