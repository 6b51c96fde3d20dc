//! The figure of cost against quality.

use maud::{Markup, html};

use super::axis::{Axis, path};
use super::label::{Label, along, place};
use super::number::{fixed, usd};
use super::results::{named, tiercast};
use crate::report::{MethodKind, MethodReport, OperatingPoint, Point, Report};

pub(super) const WIDTH: f64 = 720.0;
pub(super) const HEIGHT: f64 = 470.0;
pub(super) const LEFT: f64 = 74.0;
pub(super) const RIGHT: f64 = 704.0;
pub(super) const TOP: f64 = 16.0;
pub(super) const BOTTOM: f64 = 402.0;
/// Heights of the font on a wide and on a narrow screen, in units of the drawing.
const FONTS: [(&str, f64, usize); 2] = [("wide", 13.0, 30), ("narrow", 21.0, 16)];

/// One drawn method.
struct Line<'a> {
    method: &'a MethodReport,
    class: &'static str,
}

/// Cost against quality, with its legend.
pub(super) fn figure(report: &Report) -> Markup {
    let lines = lines(report);
    let points = operating_points(report);
    let (x_axis, y_axis) = axes(report, &lines, &points);
    let at = |point: &Point| Some((x_axis.at(1000.0 * point.cost_usd)?, y_axis.at(point.quality)?));
    let hull = |line: &Line<'_>| line.method.hull.iter().filter_map(at).collect::<Vec<_>>();
    let sweep = tiercast(report).into_iter().flat_map(|method| &method.sweep);
    html! {
        figure {
            svg.plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-labelledby="curve-title" {
                title id="curve-title" { "Mean cost of 1,000 requests against mean quality: tiercast, baselines, single tiers and the oracle" }
                (grid(&x_axis, &y_axis))
                @for point in sweep.filter_map(|point| at(&point.point)) {
                    circle.sweep cx=(px(point.0)) cy=(px(point.1)) r="2" {}
                }
                @for line in &lines {
                    path class={ "line " (line.class) } d=(path(&hull(line))) {
                        title { (line.method.label) }
                    }
                }
                @for tier in &report.tiers {
                    @if let Some((x, y)) = at(&Point { cost_usd: tier.cost_usd, quality: tier.quality }) {
                        rect.tier x=(px(x - 4.0)) y=(px(y - 4.0)) width="8" height="8" { title { (tier.name) } }
                    }
                }
                @for (class, point) in &points { (marker(class, point, &x_axis, &y_axis)) }
                (names(report, &lines.iter().map(hull).collect::<Vec<_>>(), &points, &at))
            }
            (legend(&lines, &points))
            figcaption {
                "Up and to the left is better. Lines are upper hulls: mixing two settings at random reaches every point of them. Small dots are single settings of tiercast; bars through its marked settings are 95 % intervals."
            }
        }
    }
}

/// The methods drawn, those underneath first.
fn lines(report: &Report) -> Vec<Line<'_>> {
    let best = |kind: MethodKind| {
        let others = report
            .methods
            .iter()
            .filter(move |method| method.kind == kind && method.name != "prompt_length");
        others.max_by(|a, b| a.aiq.value.total_cmp(&b.aiq.value))
    };
    let chosen = [
        (named(report, "random_mix"), "mix"),
        (named(report, "prompt_length"), "length"),
        (best(MethodKind::Learned), "learned"),
        (best(MethodKind::KnowsLabel), "label"),
        (named(report, "oracle"), "oracle"),
        (tiercast(report), "ours"),
    ];
    let drawn = chosen
        .into_iter()
        .filter_map(|(method, class)| Some(Line { method: method?, class }));
    drawn.filter(|line| !line.method.hull.is_empty()).collect()
}

fn operating_points(report: &Report) -> Vec<(&'static str, &OperatingPoint)> {
    let marked = [("auto", "auto"), ("auto:cheap", "cheap")];
    let of = |name: &str| {
        tiercast(report)?
            .operating_points
            .iter()
            .find(|point| point.name == name)
    };
    marked
        .into_iter()
        .filter_map(|(name, class)| Some((class, of(name)?)))
        .collect()
}

fn axes(report: &Report, lines: &[Line<'_>], points: &[(&str, &OperatingPoint)]) -> (Axis, Axis) {
    let tiers = report.tiers.iter().map(|tier| (tier.cost_usd, tier.quality));
    let hulls = lines
        .iter()
        .flat_map(|line| line.method.hull.iter().map(|point| (point.cost_usd, point.quality)));
    let bars = points.iter().flat_map(|(_, point)| {
        [
            (point.cost_usd.low, point.quality.low),
            (point.cost_usd.high, point.quality.high),
        ]
    });
    let sweep = tiercast(report).into_iter().flat_map(|method| &method.sweep);
    let sweep = sweep.map(|point| (point.point.cost_usd, point.point.quality));
    let (costs, qualities): (Vec<f64>, Vec<f64>) = tiers
        .chain(hulls)
        .chain(bars)
        .chain(sweep)
        .map(|(cost, quality)| (1000.0 * cost, quality))
        .unzip();
    (
        Axis::around(&costs, true, LEFT, RIGHT),
        Axis::around(&qualities, false, BOTTOM, TOP),
    )
}

/// Lines at round values, and the names of the axes.
pub(super) fn grid(x_axis: &Axis, y_axis: &Axis) -> Markup {
    let place = |axis: &Axis, wanted| {
        let ticks = axis.ticks(wanted).into_iter();
        ticks
            .filter_map(|tick| Some((tick, axis.at(tick)?)))
            .collect::<Vec<_>>()
    };
    let y_ticks = place(y_axis, 5);
    let decimals = decimals(&y_ticks.iter().map(|(tick, _)| *tick).collect::<Vec<_>>());
    html! {
        g.grid {
            @for (tick, y) in &y_ticks {
                line x1=(LEFT) x2=(RIGHT) y1=(px(*y)) y2=(px(*y)) {}
                text.t text-anchor="end" dominant-baseline="middle" x=(LEFT - 8.0) y=(px(*y)) { (fixed(*tick, decimals)) }
            }
            @for (tick, x) in place(x_axis, 6) {
                line x1=(px(x)) x2=(px(x)) y1=(TOP) y2=(BOTTOM) {}
                text.t text-anchor="middle" x=(px(x)) y=(BOTTOM + 22.0) { (short_usd(tick)) }
            }
            text.t text-anchor="middle" x=((LEFT + RIGHT) / 2.0) y=(HEIGHT - 12.0) {
                "US dollars per 1,000 requests" @if x_axis.is_log() { " (logarithmic)" }
            }
            text.t text-anchor="middle" transform={ "translate(18 " ((TOP + BOTTOM) / 2.0) ") rotate(-90)" } { "Mean quality" }
        }
    }
}

/// Decimals that tell evenly spaced ticks apart.
pub(super) fn decimals(ticks: &[f64]) -> usize {
    let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).next().unwrap_or(1.0);
    (1..4)
        .find(|n| is_whole(step * 10f64.powi(*n)))
        .map_or(4, |n| n as usize)
}

fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() < 1e-6
}

/// `$0.50` as `$0.5`: ticks are round.
fn short_usd(value: f64) -> String {
    let text = usd(value);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn marker(class: &str, point: &OperatingPoint, x_axis: &Axis, y_axis: &Axis) -> Markup {
    let x_at = |cost: f64| x_axis.at(1000.0 * cost);
    let Some((x, y)) = x_at(point.cost_usd.value).zip(y_axis.at(point.quality.value)) else {
        return Markup::default();
    };
    let across = x_at(point.cost_usd.low).zip(x_at(point.cost_usd.high));
    let upright = y_axis.at(point.quality.low).zip(y_axis.at(point.quality.high));
    html! {
        g class={ "point " (class) } {
            title { "tiercast at " (point.name) }
            @if let Some((low, high)) = across { line x1=(px(low)) x2=(px(high)) y1=(px(y)) y2=(px(y)) {} }
            @if let Some((low, high)) = upright { line x1=(px(x)) x2=(px(x)) y1=(px(low)) y2=(px(high)) {} }
            (shape(class, x, y))
        }
    }
}

/// A disc for `auto`, a diamond for the other.
fn shape(class: &str, x: f64, y: f64) -> Markup {
    html! {
        @if class == "auto" {
            circle cx=(px(x)) cy=(px(y)) r="6.5" {}
        } @else {
            path d=(format!("M{x:.1} {:.1}l7.5 7.5 -7.5 7.5 -7.5 -7.5z", y - 7.5)) {}
        }
    }
}

/// Names of points and of the outer curves, laid out once per size of screen.
fn names(
    report: &Report,
    hulls: &[Vec<(f64, f64)>],
    points: &[(&'static str, &OperatingPoint)],
    at: &dyn Fn(&Point) -> Option<(f64, f64)>,
) -> Markup {
    let lines: Vec<(f64, f64)> = hulls.iter().flat_map(|hull| along(hull)).collect();
    html! {
        @for (screen, font, longest) in FONTS {
            @let labels = labels(report, points, at, longest);
            @let placed = place(&labels, &lines, [LEFT, TOP, RIGHT, BOTTOM], font);
            g class={ "names " (screen) } {
                @for (label, placed) in labels.iter().zip(placed) {
                    @if placed.is_far {
                        line x1=(px(label.at.0)) y1=(px(label.at.1)) x2=(px(placed.x + 4.0)) y2=(px(placed.y - font / 3.0)) {}
                    }
                    text class={ "t " (label.class) } x=(px(placed.x)) y=(px(placed.y)) { (label.text) }
                }
            }
        }
    }
}

fn labels(
    report: &Report,
    points: &[(&'static str, &OperatingPoint)],
    at: &dyn Fn(&Point) -> Option<(f64, f64)>,
    longest: usize,
) -> Vec<Label> {
    let label = |text: &str, class, point: Point| {
        Some(Label {
            text: shortened(text, longest),
            class,
            at: at(&point)?,
        })
    };
    let marked = points.iter().filter_map(|(_, point)| {
        let place = Point {
            cost_usd: point.cost_usd.value,
            quality: point.quality.value,
        };
        label(&point.name, "strong", place)
    });
    let tiers = report.tiers.iter().filter_map(|tier| {
        let place = Point {
            cost_usd: tier.cost_usd,
            quality: tier.quality,
        };
        label(&tier.name, "", place)
    });
    let top = named(report, "oracle").and_then(|oracle| oracle.hull.last().copied());
    let oracle = top.and_then(|top| label("oracle", "", top));
    marked.chain(tiers).chain(oracle).collect()
}

/// At most so many characters.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest.saturating_sub(1)).chain(Some('…')).collect()
}

fn legend(lines: &[Line<'_>], points: &[(&'static str, &OperatingPoint)]) -> Markup {
    html! {
        ul.legend {
            @for line in lines.iter().rev() {
                li { (swatch(&html! { path class={ "line " (line.class) } d="M1 8H35" {} })) (line.method.label) }
            }
            @for (class, point) in points {
                li { (swatch(&html! { g class={ "point " (class) } { (shape(class, 18.0, 8.0)) } })) "tiercast at " (point.name) }
            }
            li { (swatch(&html! { rect.tier x="14" y="4" width="8" height="8" {} })) "one tier for everything" }
        }
    }
}

/// A drawing of the legend's size.
pub(super) fn swatch(drawing: &Markup) -> Markup {
    html! { svg.swatch viewBox="0 0 36 16" aria-hidden="true" { (drawing) } }
}

/// A coordinate with one decimal.
pub(super) fn px(value: f64) -> String {
    format!("{value:.1}")
}
