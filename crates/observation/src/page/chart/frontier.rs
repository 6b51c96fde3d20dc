//! Expected cost and quality: the curve of floors, each tier alone, and where the router stands.

use maud::{Markup, html};

use super::axis::{Axis, across};
use super::{ABOVE, BELOW, FrontierSection, HIGH, fixed, nothing, score, shown, usd};
use crate::summary::figures::Point;

/// Labels are at least so far apart, pixels.
const LINE: f64 = 15.0;
/// Tiers that have a label.
const MOST_LABELS: usize = 10;

/// A point with its name.
struct Named {
    name: String,
    point: Point,
    class: &'static str,
}

/// The chart.
pub(in crate::page) fn frontier(found: &FrontierSection) -> Markup {
    let named = named(found);
    let floors = found.floors.iter().map(|floor| floor.point);
    let all: Vec<Point> = floors.clone().chain(named.iter().map(|named| named.point)).collect();
    if all.is_empty() {
        return nothing();
    }
    let dearest = all.iter().map(|point| 1000.0 * point.cost_usd).fold(0.0, f64::max);
    let axis = Axis::from_zero(dearest);
    let up = Axis::of_shares(all.iter().map(|point| point.quality));
    let down = |quality: f64| ABOVE + HIGH * (1.0 - (up.percent(quality) - 3.0) / 94.0);
    let x = |point: &Point| axis.at(1000.0 * point.cost_usd);
    let curve: Vec<Point> = floors.collect();
    html! {
        figure {
            svg width="100%" height=(ABOVE + HIGH + BELOW) role="img" aria-label="Expected quality by cost of 1,000 requests" {
                g.grid {
                    @for tick in up.ticks() {
                        line x1="0" x2="100%" y1=(down(tick)) y2=(down(tick)) {}
                        text.soft x="0" y=(down(tick) - 4.0) { (fixed(tick, up.decimals())) }
                    }
                    @for tick in axis.ticks() {
                        text.soft x=(axis.at(tick)) y=(ABOVE + HIGH + 17.0) text-anchor="middle" { (usd(tick)) }
                    }
                }
                @for pair in curve.windows(2) {
                    line.curve x1=(x(&pair[0])) y1=(down(pair[0].quality)) x2=(x(&pair[1])) y2=(down(pair[1].quality)) {}
                }
                @for (named, y) in named.iter().zip(labels_apart(&named, &down)) {
                    @let at = axis.percent(1000.0 * named.point.cost_usd);
                    circle class=(named.class) cx=(x(&named.point)) cy=(down(named.point.quality)) r="5.5" {
                        title { (named.name) ": " (usd(1000.0 * named.point.cost_usd)) " of 1,000 requests, quality " (score(named.point.quality)) }
                    }
                    @if at > 60.0 {
                        text.label x=(across(at - 1.5)) y=(y + 4.0) text-anchor="end" { (named.name) }
                    } @else {
                        text.label x=(across(at + 1.5)) y=(y + 4.0) { (named.name) }
                    }
                }
            }
            figcaption {
                span.key { svg width="16" height="16" { line.curve x1="0" x2="16" y1="8" y2="8" {} } "floors on expected quality" }
                span.key { svg width="16" height="16" { circle.observed cx="8" cy="8" r="5" {} } "decided" }
                span.key { svg width="16" height="16" { circle.expected cx="8" cy="8" r="5" {} } "came of it" }
                span.key { svg width="16" height="16" { circle.tier cx="8" cy="8" r="5" {} } "a tier alone" }
                " Across: cost of 1,000 requests. Up: expected quality."
            }
        }
    }
}

fn named(found: &FrontierSection) -> Vec<Named> {
    let tiers = found.tiers.iter().take(MOST_LABELS).map(|tier| Named {
        name: shown(&tier.tier),
        point: tier.point,
        class: "tier",
    });
    let named = |name: &str, class, point: Option<Point>| {
        point.map(|point| Named {
            name: name.to_owned(),
            point,
            class,
        })
    };
    let router = [
        named("decided", "observed", found.decided),
        named("came of it", "expected", found.answered),
    ];
    tiers.chain(router.into_iter().flatten()).collect()
}

/// A height for each label: that of its point, or as far below the one above as a line needs.
fn labels_apart(named: &[Named], down: &impl Fn(f64) -> f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..named.len()).collect();
    order.sort_by(|a, b| down(named[*a].point.quality).total_cmp(&down(named[*b].point.quality)));
    let mut heights = vec![0.0; named.len()];
    let mut above = f64::NEG_INFINITY;
    for i in order {
        above = down(named[i].point.quality).max(above + LINE);
        heights[i] = above;
    }
    heights
}
