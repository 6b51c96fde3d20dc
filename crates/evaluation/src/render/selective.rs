//! Setting the doubtful aside: the curves, their areas, and the gate on evidence.

use maud::{Markup, html};

use super::axis::{Axis, path};
use super::curve::{decimals, px};
use super::number::{ABSENT, count, fixed, gain, interval, percent, score, usd_per_thousand};
use super::table::{Row, Table, number, row, words};
use crate::report::{
    CoveragePoint, Estimate, GateReport, GateSide, Report, SelectiveArea, SelectiveOrder, SelectiveReference,
};

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 322.0;
const LEFT: f64 = 68.0;
const RIGHT: f64 = 468.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 262.0;
/// Shares kept that the table shows; the report has all steps of 5 %.
const SHOWN: [f64; 7] = [0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0];

/// An order in words.
fn order_name(order: &SelectiveOrder) -> &str {
    match order.name.as_str() {
        "doubt" => "by doubt (distance and spread)",
        "confidence" => "by confidence in the chosen tier",
        other => other,
    }
}

fn class(order: &SelectiveOrder) -> &'static str {
    if order.name == "doubt" { "ours" } else { "learned" }
}

/// The curve of right decisions and that of the Brier score, side by side.
pub(super) fn figure(report: &Report) -> Markup {
    let selective = &report.selective;
    let orders = &selective.orders;
    let decision = selective.decision.random.value;
    html! {
        figure {
            div.pair {
                (plot("risk-decision", "Share of right decisions", orders, 1.0 - decision, |point| point.accuracy))
                (plot("risk-forecast", "Brier score of the forecasts", orders, selective.forecast.random.value, |point| point.brier))
            }
            (legend(orders))
            figcaption {
                "From right to left, more of the doubtful requests are set aside. On the left a doubt that knows something rises above the dashed line, on the right it falls below it. "
                @if orders.iter().any(|order| order.name == "doubt") { "The band is the 95 % interval of the curve by doubt." }
            }
        }
    }
}

fn plot(
    id: &str,
    title: &str,
    orders: &[SelectiveOrder],
    random: f64,
    of: impl Fn(&CoveragePoint) -> Estimate,
) -> Markup {
    let ends = |point: &CoveragePoint| [of(point).low, of(point).value, of(point).high];
    let values: Vec<f64> = orders
        .iter()
        .flat_map(|order| order.curve.iter().flat_map(ends))
        .chain([random])
        .collect();
    let axes = (
        Axis::exact(0.0, 1.0, LEFT, RIGHT),
        Axis::around(&values, false, BOTTOM, TOP),
    );
    let at = |coverage: f64, value: f64| Some((axes.0.at(coverage)?, axes.1.at(value)?));
    let line = |order: &SelectiveOrder, end: &dyn Fn(Estimate) -> f64| -> Vec<(f64, f64)> {
        let points = order.curve.iter();
        points.filter_map(|point| at(point.coverage, end(of(point)))).collect()
    };
    let flat: Vec<(f64, f64)> = [0.0, 1.0].into_iter().filter_map(|end| at(end, random)).collect();
    html! {
        svg.plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-labelledby=(id) {
            title id=(id) { (title) " against the share of the requests that is kept, least doubtful first" }
            (grid(title, &axes))
            @for order in orders.iter().filter(|order| order.name == "doubt") {
                path.band d=(band(&line(order, &|e| e.low), &line(order, &|e| e.high))) {}
            }
            path class="line mix" d=(path(&flat)) {}
            @for order in orders.iter().rev() {
                path class={ "line " (class(order)) } d=(path(&line(order, &|e| e.value))) { title { (order_name(order)) } }
            }
        }
    }
}

/// The outline between two lines; nothing without them.
fn band(low: &[(f64, f64)], high: &[(f64, f64)]) -> String {
    let outline: Vec<(f64, f64)> = low.iter().chain(high.iter().rev()).copied().collect();
    let end = if outline.is_empty() { "" } else { "Z" };
    path(&outline) + end
}

fn grid(title: &str, (x_axis, y_axis): &(Axis, Axis)) -> Markup {
    let y_ticks = y_axis.ticks(4);
    let decimals = decimals(&y_ticks);
    html! {
        g.grid {
            @for (tick, y) in y_ticks.iter().filter_map(|tick| Some((tick, y_axis.at(*tick)?))) {
                line x1=(LEFT) x2=(RIGHT) y1=(px(y)) y2=(px(y)) {}
                text.t text-anchor="end" dominant-baseline="middle" x=(LEFT - 7.0) y=(px(y)) { (fixed(*tick, decimals)) }
            }
            @for (step, x) in (0..=5).filter_map(|step| Some((step, x_axis.at(f64::from(step) / 5.0)?))) {
                line x1=(px(x)) x2=(px(x)) y1=(TOP) y2=(BOTTOM) {}
                text.t text-anchor="middle" x=(px(x)) y=(BOTTOM + 22.0) { (20 * step) }
            }
            text.t text-anchor="middle" x=((LEFT + RIGHT) / 2.0) y=(HEIGHT - 10.0) { "% kept, least doubtful first" }
            text.t x=(LEFT) y=(TOP - 14.0) { (title) }
        }
    }
}

fn legend(orders: &[SelectiveOrder]) -> Markup {
    let lines = orders.iter().map(|order| (class(order), order_name(order)));
    html! {
        ul.legend {
            @for (class, name) in lines.chain([("mix", "random order")]) {
                li { svg.swatch viewBox="0 0 36 16" aria-hidden="true" { path class={ "line " (class) } d="M1 8H35" {} } (name) }
            }
        }
    }
}

/// What the first order does, in words; neutral within noise.
pub(super) fn sentence(report: &Report) -> Option<String> {
    let order = report.selective.orders.first()?;
    let means = match order.name.as_str() {
        "doubt" => "distance from the training prompts and spread of the ensemble",
        _ => "low confidence in the chosen tier",
    };
    let kept = order.curve.iter().find(|point| is_at(point, 0.8))?;
    let all = order.curve.last()?;
    Some(format!(
        "Setting aside the fifth of the requests that is most doubtful by {means} takes the share of right decisions \
         from {} to {}. Over all shares kept, this order is {} for decisions and {} for forecasts.",
        percent(all.accuracy.value),
        interval(kept.accuracy, percent),
        against_random(&order.decision),
        against_random(&order.forecast),
    ))
}

fn is_at(point: &CoveragePoint, coverage: f64) -> bool {
    (point.coverage - coverage).abs() < 1e-9
}

/// What an area says about its order.
fn against_random(area: &SelectiveArea) -> &'static str {
    if !area.minus_random.value.is_finite() {
        ABSENT
    } else if !area.significant {
        "not distinguishable from a random one"
    } else if area.minus_random.value < 0.0 {
        "better than a random one"
    } else {
        "worse than a random one"
    }
}

/// Area under each risk-coverage curve.
pub(super) fn areas(report: &Report) -> Table {
    let minus = "Difference to a random order on the same bootstrap replicates, with its 95 % interval. Below zero is in favour of the order.";
    let columns = vec![
        words(
            "Order",
            "How requests are ordered, least doubtful first. By doubt: how far a request is from the training prompts and how much the members of the ensemble differ. By confidence: predicted probability that the chosen tier's quality reaches the target. The best possible order knows the outcomes.",
        ),
        number(
            "AURC, decisions",
            "Area under the risk-coverage curve: share of wrong decisions among the k least doubtful requests, averaged over k. A decision is right when the chosen tier did as well as the best. Lower is better. Geifman and El-Yaniv 2017.",
        ),
        number("decisions minus random", minus),
        number(
            "AURC, forecasts",
            "The same for the squared error of the predicted quality (Brier), mean over tiers.",
        ),
        number("forecasts minus random", minus),
    ];
    let selective = &report.selective;
    let of_order = |order: &SelectiveOrder| Row {
        is_ours: order.name == "doubt",
        ..row(vec![
            order_name(order).to_owned(),
            interval(order.decision.aurc, score),
            interval(order.decision.minus_random, gain),
            interval(order.forecast.aurc, score),
            interval(order.forecast.minus_random, gain),
        ])
    };
    let reference = |name: &str, of: fn(&SelectiveReference) -> Estimate| {
        let dash = || "-".to_owned();
        let show = |reference| interval(of(reference), score);
        row(vec![
            name.to_owned(),
            show(&selective.decision),
            dash(),
            show(&selective.forecast),
            dash(),
        ])
    };
    let mut rows: Vec<Row> = selective.orders.iter().map(of_order).collect();
    if !rows.is_empty() {
        rows.push(reference("random", |reference| reference.random));
        rows.push(reference("best possible", |reference| reference.optimal));
    }
    Table::new("Area under the risk-coverage curve", columns, rows)
}

/// What is left at some shares kept.
pub(super) fn kept(report: &Report) -> Table {
    let mut columns = vec![words(
        "Kept",
        "Share of the requests that is kept, least doubtful first.",
    )];
    let orders = &report.selective.orders;
    for order in orders {
        let of = |what: &str| format!("{what} by {}", order.name);
        columns.extend([
            number(of("right"), "Share of right decisions at auto: the chosen tier did as well as the best."),
            number(of("quality"), "Mean quality of the chosen tier. It also follows how hard the kept requests are."),
            number(of("Brier"), "Squared error of the predicted quality, mean over tiers. It also follows how uncertain the kept outcomes are."),
        ]);
    }
    let cells = |coverage: f64| -> Option<Vec<String>> {
        let mut cells = vec![format!("{} %", fixed(100.0 * coverage, 0))];
        for order in orders {
            let point = order.curve.iter().find(|point| is_at(point, coverage))?;
            cells.push(interval(point.accuracy, percent));
            cells.push(interval(point.quality, score));
            cells.push(interval(point.brier, score));
        }
        Some(cells)
    };
    let rows = SHOWN.into_iter().filter(|_| !orders.is_empty()).filter_map(cells);
    Table::new("What is left", columns, rows.map(row).collect())
}

/// Both sides of the gate.
pub(super) fn gate(report: &Report) -> Table {
    let columns = vec![
        words("Evidence", "Whether the gate lets a decision rest on the forecast."),
        number("Requests", "Requests on that side."),
        number(
            "Quality",
            "Mean quality of the tier that auto chose from the forecast, before the gate.",
        ),
        number(
            "Right",
            "Share of right decisions among them: the chosen tier did as well as the best.",
        ),
        number(
            "Brier",
            "Squared error of the predicted quality on them, mean over tiers.",
        ),
    ];
    let side = |name: &str, side: Option<GateSide>| match side {
        Some(side) => vec![
            name.to_owned(),
            count(side.n_items),
            interval(side.quality, score),
            interval(side.accuracy, percent),
            interval(side.brier, score),
        ],
        None => [name, "0", ABSENT, ABSENT, ABSENT].map(str::to_owned).to_vec(),
    };
    let of_gate = |gate: &GateReport| {
        let difference = gate.difference.map(|difference| {
            let cells = ["sufficient minus insufficient", "-", "-"].map(str::to_owned);
            let figures = [
                interval(difference.accuracy, super::number::gain_percent),
                interval(difference.brier, gain),
            ];
            cells.into_iter().chain(figures).collect()
        });
        [
            side("sufficient", gate.sufficient),
            side("insufficient", gate.insufficient),
        ]
        .into_iter()
        .chain(difference)
        .map(row)
        .collect::<Vec<_>>()
    };
    let rows = report.selective.gate.iter().flat_map(of_gate);
    Table::new("Evidence, sufficient or not", columns, rows.collect())
}

/// What the gate does to `auto`, in words.
pub(super) fn gate_sentence(report: &Report) -> Option<String> {
    let gate = report.selective.gate.as_ref()?;
    let cost = |value: f64| {
        let text = usd_per_thousand(value);
        if text.starts_with('-') || text == ABSENT {
            text
        } else {
            format!("+{text}")
        }
    };
    Some(format!(
        "The evidence of {} of the requests is called insufficient. Sending those to {} changes the mean quality of auto by {} \
         and its cost by {} US dollars per 1,000 requests.",
        interval(gate.insufficient_share, percent),
        gate.safe_tier,
        interval(gate.quality_change, gain),
        interval(gate.cost_change_usd, cost).replace('$', ""),
    ))
}
