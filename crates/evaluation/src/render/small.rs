//! The small figures: reliability, probability integral transform, shares of the requests.

use maud::{Markup, html};

use super::axis::{Axis, path};
use super::curve::px;
use super::forecasts::verdict;
use super::number::{count, fixed, percent};
use super::results::tiercast;
use crate::report::{PredictionQuality, ReliabilityBin, Report, RoutedCalibration, Verdict};

const SIDE: f64 = 200.0;
const LOW: f64 = 30.0;
const HIGH: f64 = 192.0;

/// What a reliability picture shows.
struct Reliability<'a> {
    name: &'a str,
    bins: &'a [ReliabilityBin],
    ece: f64,
    floor: f64,
    verdict: Verdict,
}

/// Reliability of all forecasts of one tier.
pub(super) fn reliability(quality: &PredictionQuality, target: f64) -> Markup {
    let picture = Reliability {
        name: &quality.name,
        bins: &quality.reliability,
        ece: quality.ece_mass,
        floor: quality.ece_mass_floor,
        verdict: quality.verdict,
    };
    picture.drawn("Reliability of", target)
}

/// Reliability on the requests that `auto` sent to a tier.
pub(super) fn routed_reliability(routed: &RoutedCalibration, target: f64) -> Markup {
    let picture = Reliability {
        name: &routed.tier,
        bins: &routed.reliability,
        ece: routed.ece_mass,
        floor: routed.ece_mass_floor,
        verdict: routed.verdict,
    };
    picture.drawn("Reliability on the requests sent to", target)
}

impl Reliability<'_> {
    /// Predicted against observed probability; the area of a dot is its share of the forecasts.
    fn drawn(&self, what: &str, target: f64) -> Markup {
        let (x_axis, y_axis) = (
            Axis::exact(0.0, 1.0, LOW, HIGH),
            Axis::exact(0.0, 1.0, SIDE - LOW, SIDE - HIGH),
        );
        let at = |bin: &ReliabilityBin| Some((x_axis.at(bin.predicted)?, y_axis.at(bin.observed)?));
        let largest = self.bins.iter().map(|bin| bin.n).max().unwrap_or(1).max(1) as f64;
        let line: Vec<(f64, f64)> = self.bins.iter().filter_map(at).collect();
        html! {
            figure.small {
                svg viewBox={ "0 0 " (SIDE) " " (SIDE) } role="img" aria-label={ (what) " " (self.name) } {
                    title { "Predicted and observed share of answers with quality of at least " (fixed(target, 2)) ", " (self.name) }
                    (unit_grid(&x_axis, &y_axis, ["0", "0.5", "1"]))
                    path.ideal d=(path(&[(LOW, SIDE - LOW), (HIGH, SIDE - HIGH)])) {}
                    path.bins d=(path(&line)) {}
                    @for bin in self.bins {
                        @if let Some((x, y)) = at(bin) {
                            circle.bin cx=(px(x)) cy=(px(y)) r=(px(1.5 + 4.0 * (bin.n as f64 / largest).sqrt())) {
                                title { (count(bin.n)) " forecasts: predicted " (fixed(bin.predicted, 3)) ", observed " (fixed(bin.observed, 3)) }
                            }
                        }
                    }
                }
                figcaption {
                    strong { (self.name) } ", " (verdict(self.verdict)) br;
                    "ECE " (fixed(self.ece, 3)) ", floor " (fixed(self.floor, 3)) br;
                    (self.bin_sizes())
                }
            }
        }
    }

    /// How many forecasts stand behind a dot.
    fn bin_sizes(&self) -> String {
        let sizes = || self.bins.iter().map(|bin| bin.n);
        let (least, most) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
        if least == most {
            format!("{} per dot", count(most))
        } else {
            format!("{} to {} per dot", count(least), count(most))
        }
    }
}

/// Share of outcomes in each tenth of the predicted distribution; flat when calibrated.
pub(super) fn pit(quality: &PredictionQuality) -> Markup {
    let flat = 1.0 / quality.pit.len().max(1) as f64;
    let finite = quality.pit.iter().copied().filter(|share| share.is_finite());
    let top = finite.fold(2.0 * flat, f64::max);
    let (x_axis, y_axis) = (
        Axis::exact(0.0, 1.0, LOW, HIGH),
        Axis::exact(0.0, top, SIDE - LOW, SIDE - HIGH),
    );
    let bottom = SIDE - LOW;
    let bar = |(i, share): (usize, &f64)| Some((x_axis.at(i as f64 * flat)?, y_axis.at(*share)?));
    let ideal = y_axis.at(flat).unwrap_or(bottom);
    // What the share of a calibrated forecast stays within, 95 times of 100.
    let noise = 1.96 * (flat * (1.0 - flat) / quality.n.max(1) as f64).sqrt();
    let bounds = y_axis.at(flat - noise).zip(y_axis.at(flat + noise));
    let labels = [0.0, top / 2.0, top].map(|share| fixed(share, 2));
    html! {
        figure.small {
            svg viewBox={ "0 0 " (SIDE) " " (SIDE) } role="img" aria-label={ "Probability integral transform of " (quality.name) } {
                title { "Share of outcomes per tenth of the predicted distribution, " (quality.name) }
                (unit_grid(&x_axis, &Axis::exact(0.0, 1.0, SIDE - LOW, SIDE - HIGH), [&labels[0], &labels[1], &labels[2]]))
                @for (x, y) in quality.pit.iter().enumerate().filter_map(bar) {
                    rect.bin x=(px(x + 1.0)) width=(px((HIGH - LOW) * flat - 2.0)) y=(px(y)) height=(px((bottom - y).max(0.0))) {}
                }
                @if let Some((low, high)) = bounds {
                    rect.noise x=(LOW) width=(HIGH - LOW) y=(px(high)) height=(px((low - high).max(0.0))) {}
                }
                path.ideal d=(path(&[(LOW, ideal), (HIGH, ideal)])) {}
            }
            figcaption {
                strong { (quality.name) } br;
                (percent(quality.coverage80_randomised)) " in the central 80 %"
            }
        }
    }
}

fn unit_grid(x_axis: &Axis, y_axis: &Axis, y_labels: [&str; 3]) -> Markup {
    let marks = [(0.0, "0"), (0.5, "0.5"), (1.0, "1")];
    html! {
        g.grid {
            @for ((mark, text), y_label) in marks.into_iter().zip(y_labels) {
                @if let Some((x, y)) = x_axis.at(mark).zip(y_axis.at(mark)) {
                    line x1=(px(x)) x2=(px(x)) y1=(px(SIDE - LOW)) y2=(px(SIDE - HIGH)) {}
                    line x1=(px(LOW)) x2=(px(HIGH)) y1=(px(y)) y2=(px(y)) {}
                    text.s text-anchor="middle" x=(px(x)) y=(px(SIDE - LOW + 15.0)) { (text) }
                    text.s text-anchor="end" dominant-baseline="middle" x=(px(LOW - 4.0)) y=(px(y)) { (y_label) }
                }
            }
        }
    }
}

/// A bar per setting, a part per tier.
pub(super) fn shares(report: &Report) -> Markup {
    let points = tiercast(report).into_iter().flat_map(|method| &method.operating_points);
    html! {
        figure.shares {
            @for point in points {
                div.share-row {
                    div.share-name { (point.name) }
                    div.share-bar role="img" aria-label={ "Share of the requests per tier at " (point.name) } {
                        @for ((idx, tier), share) in report.tiers.iter().enumerate().zip(&point.tier_shares) {
                            @if share.is_finite() && *share > 0.0 {
                                div class={ "share tier-" (idx % 8) @if idx >= 8 { " hatched" } } style={ "flex-grow:" (fixed(100.0 * share, 3)) } title={ (tier.name) " " (percent(*share)) } {
                                    @if *share >= 0.08 { (fixed(100.0 * share, 0)) " %" }
                                }
                            }
                        }
                    }
                }
            }
            ul.legend {
                @for (idx, tier) in report.tiers.iter().enumerate() {
                    li { span class={ "patch tier-" (idx % 8) @if idx >= 8 { " hatched" } } {} (tier.name) }
                }
            }
        }
    }
}
