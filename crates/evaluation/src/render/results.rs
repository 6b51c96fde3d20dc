//! The tables about routing: methods beside each other, operating points, parts of the data.

use super::number::{ABSENT, count, fixed, gain, interval, optional, percent, score, usd_per_thousand};
use super::table::{Column, Row, Table, number, row, words};
use crate::report::{Difference, DomainRow, MethodKind, MethodReport, OperatingPoint, Report, SliceReport, TwoTier};

/// Gain in AIQ over the random mix that the choice among noisy points alone can give.
const HULL_BIAS: f64 = 0.01;

/// What a method is allowed to know, for a reader.
pub(super) fn kind(kind: MethodKind) -> &'static str {
    match kind {
        MethodKind::Tiercast => "this checkpoint",
        MethodKind::Learned => "fitted on the training rows",
        MethodKind::KnowsLabel => "is told the task label",
        MethodKind::Control => "control: its labels were shuffled",
        MethodKind::SingleTier => "one tier for everything",
        MethodKind::RandomMix => "chance between single tiers",
        MethodKind::Oracle => "knows the outcomes: a bound, not a method",
    }
}

/// The setting at which a method is compared in one line: chosen on validation, or its only one.
pub(super) fn compared_point(method: &MethodReport) -> Option<&OperatingPoint> {
    let named = |name: &str| method.operating_points.iter().find(|point| point.name == name);
    named("validated").or_else(|| named("always")).or_else(|| named("auto"))
}

/// tiercast minus `method` in one figure.
pub(super) fn difference<'a>(report: &'a Report, method: &str, metric: &str) -> Option<&'a Difference> {
    let mut all = report.differences.iter();
    all.find(|difference| difference.method == method && difference.metric == metric)
}

/// What a difference says about tiercast.
pub(super) fn verdict(difference: &Difference) -> &'static str {
    let value = difference.difference.value;
    if !value.is_finite() {
        ABSENT
    } else if !difference.significant {
        "not distinguishable"
    } else if value < 0.0 && difference.method.starts_with("oracle") {
        "below the bound"
    } else if value < 0.0 {
        "worse"
    } else if is_within_hull_bias(difference) {
        "too small to tell"
    } else {
        "better"
    }
}

/// Whether a gain over the random mix is one that chance gives.
pub(super) fn is_within_hull_bias(difference: &Difference) -> bool {
    difference.method == "random_mix" && difference.metric.starts_with("aiq") && difference.difference.value < HULL_BIAS
}

/// Cost as a share of the best single tier's at this share of its quality.
pub(super) fn cost_share(method: &MethodReport, retained: f64) -> Option<f64> {
    let is_it = |share: f64| (share - retained).abs() < 1e-9;
    let found = method.cost_share.iter().find(|share| is_it(share.retained));
    found.and_then(|found| found.cost_share)
}

/// Every method in one line.
pub(super) fn methods(report: &Report) -> Table {
    let is_two_tier = report.methods.iter().any(|method| method.two_tier.is_some());
    let mut columns = method_columns(report);
    if is_two_tier {
        columns.extend(two_tier_columns());
    }
    let rows = report
        .methods
        .iter()
        .map(|method| method_row(report, method, is_two_tier));
    Table::new("Methods", columns, rows.collect())
}

fn method_columns(report: &Report) -> Vec<Column> {
    let references = &report.references;
    let range = format!(
        "{} to {}",
        usd_per_thousand(references.cost_min_usd),
        usd_per_thousand(references.cost_max_usd)
    );
    vec![
        words(
            "Method",
            "The way to choose a tier; in small print what it may know and its settings.",
        ),
        number(
            "AIQ",
            format!(
                "Average quality over all budgets from the cheapest to the dearest tier ({range} per 1,000 requests), \
                 mixing settings where that helps. A single tier counts from its own cost on, so the dearest alone has 0. Higher is better. METRICS A.2."
            ),
        ),
        number(
            "AIQ, log cost",
            "The same with costs on a logarithmic scale, so that cheap budgets count as much as dear ones. Higher is better. METRICS A.2.",
        ),
        number(
            "tiercast minus it",
            "Difference in AIQ on the same bootstrap replicates, with its 95 % interval. Above zero is in favour of tiercast; n/a for single tiers, whose area is that of one point. METRICS A.9.",
        ),
        words(
            "tiercast is",
            "Whether that interval excludes zero. A gain under 0.01 over the random mix is called too small to tell: a curve drawn through noisy points gains as much by chance.",
        ),
        number(
            "Quality",
            "Mean quality at one setting: the cheapest that kept 99 % of the best single tier's quality on validation rows, or the only one there is. Higher is better. METRICS A.9.",
        ),
        number(
            "$ per 1,000",
            "Mean cost of 1,000 requests at that setting. Lower is better.",
        ),
        number(
            "Cost at 99 %",
            "Cost as a share of the best single tier's at which the curve reaches 99 % of its quality; n/a when it never does. Lower is better. METRICS A.8.",
        ),
    ]
}

fn method_row(report: &Report, method: &MethodReport, is_two_tier: bool) -> Row {
    let point = compared_point(method);
    let aiq = difference(report, &method.name, "aiq");
    let is_ours = method.kind == MethodKind::Tiercast;
    let dash = |text: String| if is_ours { "-".to_owned() } else { text };
    let mut cells = vec![
        method.label.clone(),
        interval(method.aiq, score),
        optional(method.aiq_log, |area| interval(area, score)),
        dash(optional(aiq, |found| interval(found.difference, gain))),
        dash(optional(aiq, |found| verdict(found).to_owned())),
        optional(point, |point| interval(point.quality, score)),
        optional(point, |point| usd_per_thousand(point.cost_usd.value)),
        optional(cost_share(method, 0.99), percent),
    ];
    if is_two_tier {
        cells.extend(two_tier_cells(method.two_tier.as_ref()));
    }
    let remarks = [kind(method.kind), method.setting.as_str()];
    Row {
        cells,
        remark: remarks
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("; "),
        is_ours,
    }
}

fn two_tier_columns() -> Vec<Column> {
    vec![
        number(
            "APGR",
            "Average share of the quality gap between the two tiers that is recovered, over all shares of strong calls. 0.5 is random routing; higher is better. METRICS A.1.",
        ),
        number(
            "CPT 50",
            "Smallest share of strong calls that recovers half of the gap. Lower is better. METRICS A.1.",
        ),
        number("CPT 80", "The same for 80 % of the gap."),
    ]
}

fn two_tier_cells(figures: Option<&TwoTier>) -> [String; 3] {
    [
        optional(figures.and_then(|two| two.apgr), |apgr| interval(apgr, score)),
        optional(figures.and_then(|two| two.cpt50), percent),
        optional(figures.and_then(|two| two.cpt80), percent),
    ]
}

/// How much quality for how much cost, read off the curves.
pub(super) fn trade(report: &Report) -> Table {
    let Some(first) = report.methods.first() else {
        return Table::new("Quality kept, cost saved", Vec::new(), Vec::new());
    };
    let mut columns = vec![words("Method", "")];
    let kept = first.cost_share.iter().map(|share| share.retained);
    columns.extend(family(
        kept,
        |share| format!("cost at {share} %"),
        "Cost as a share of the best single tier's, at this share of its quality. Lower is better. METRICS A.8.",
    ));
    let saved = first.quality_retained.iter().map(|kept| kept.saved);
    columns.extend(family(
        saved,
        |share| format!("{share} % saved"),
        "Quality as a share of the best single tier's, when this share of its cost is saved. Higher is better. METRICS A.8.",
    ));
    let cells = |method: &MethodReport| {
        let mut cells = vec![method.label.clone()];
        cells.extend(
            method
                .cost_share
                .iter()
                .map(|share| optional(share.cost_share, percent)),
        );
        cells.extend(
            method
                .quality_retained
                .iter()
                .map(|kept| optional(kept.retained, percent)),
        );
        cells
    };
    let rows = report.methods.iter().map(|method| Row {
        is_ours: method.kind == MethodKind::Tiercast,
        ..row(cells(method))
    });
    Table::new("Quality kept, cost saved", columns, rows.collect())
}

/// Columns that differ in a share only; the first carries the explanation.
fn family(
    shares: impl Iterator<Item = f64>,
    heading: impl Fn(&str) -> String,
    explanation: &str,
) -> impl Iterator<Item = Column> {
    shares.enumerate().map(move |(i, share)| {
        let text = if i == 0 { explanation } else { "" };
        number(heading(&fixed(100.0 * share, 0)), text)
    })
}

/// tiercast at each of its settings, beside the best single tier.
pub(super) fn operating(report: &Report) -> Table {
    let columns = vec![
        words(
            "Setting",
            "Name of the setting; auto and auto:cheap are model names that a client may ask for.",
        ),
        words(
            "Rule",
            "The floor on expected quality, or the quality that one US dollar has to buy, that the setting stands for.",
        ),
        number("Quality", "Mean quality of the answers, in [0, 1]. Higher is better."),
        number(
            "of best single",
            "That quality as a share of the best single tier's, on the same bootstrap replicates.",
        ),
        number("$ per 1,000", "Mean cost of 1,000 requests. Lower is better."),
        number(
            "of its cost",
            "That cost as a share of the best single tier's. Lower is better.",
        ),
        number(
            "saved",
            "US dollars saved per 1,000 requests against the best single tier; negative when it costs more.",
        ),
    ];
    let best = report.tiers.get(report.references.best_single);
    let cells = |name: String, point: &OperatingPoint| {
        vec![
            name,
            rule(point),
            interval(point.quality, score),
            interval(point.relative_quality, percent),
            interval(point.cost_usd, usd_per_thousand),
            interval(point.relative_cost, percent),
            optional(best, |best| usd_per_thousand(best.cost_usd - point.cost_usd.value)),
        ]
    };
    let ours = tiercast(report).into_iter().flat_map(|method| &method.operating_points);
    let mut rows: Vec<Row> = ours
        .map(|point| Row {
            is_ours: true,
            ..row(cells(point.name.clone(), point))
        })
        .collect();
    let best_method = best.and_then(|tier| named(report, &format!("single:{}", tier.name)));
    rows.extend(best_method.into_iter().flat_map(|method| {
        let points = method.operating_points.iter();
        points.map(|point| row(cells(format!("{} (best single tier)", method.label), point)))
    }));
    Table::new("Operating points", columns, rows)
}

fn rule(point: &OperatingPoint) -> String {
    match (point.floor, point.lambda_per_usd) {
        (Some(floor), _) => format!("expected quality ≥ {}", fixed(floor, 2)),
        (None, Some(lambda)) => format!("{} per US dollar", fixed(lambda, 1)),
        (None, None) => "always".to_owned(),
    }
}

/// Share of the requests per tier, at each setting of tiercast.
pub(super) fn shares(report: &Report) -> Table {
    let points: Vec<&OperatingPoint> = tiercast(report).into_iter().flat_map(|m| &m.operating_points).collect();
    let mut columns = vec![
        words("Tier", "Name in the catalog, in catalog order."),
        number(
            "Class",
            "1 heavyweight reasoner, 2 mid generalist, 3 lightweight, 4 domain fine-tune.",
        ),
        number("Quality", "Mean quality of the tier alone."),
        number("$ per 1,000", "Its mean cost alone."),
        number("Cost known", "Share of its answers with a whole recorded cost."),
    ];
    columns.extend(points.iter().map(|point| {
        let explanation = format!("Share of the requests that {} sends to the tier.", point.name);
        number(point.name.clone(), explanation)
    }));
    let rows = report.tiers.iter().enumerate().map(|(idx, tier)| {
        let mut cells = vec![
            tier.name.clone(),
            tier.class.to_string(),
            score(tier.quality),
            usd_per_thousand(tier.cost_usd),
            percent(tier.whole_cost_share),
        ];
        cells.extend(
            points
                .iter()
                .map(|point| optional(point.tier_shares.get(idx).copied(), percent)),
        );
        row(cells)
    });
    Table::new("Where the requests go", columns, rows.collect())
}

/// Each domain at `auto`.
pub(super) fn domains(report: &Report) -> Table {
    let columns = vec![
        words("Domain", "Label in the data; tiercast is not told it."),
        number("Prompts", "Prompts evaluated."),
        number("auto", "Mean quality of tiercast at auto. Higher is better."),
        number("best single", "Mean quality of the tier that is best over all domains."),
        number("dearest", "Mean quality of the tier that costs most."),
        number(
            "oracle",
            "Mean quality when the best answer is always found: the bound.",
        ),
        number(
            "auto $",
            "Cost per 1,000 requests of tiercast at auto. Lower is better.",
        ),
        number("best single $", "Cost per 1,000 requests of that tier."),
        number("auto, of its cost", "The first cost as a share of the second."),
    ];
    let cells = |domain: &DomainRow| {
        vec![
            domain.domain.clone(),
            count(domain.n_items),
            score(domain.auto.quality),
            score(domain.best_single.quality),
            score(domain.dearest.quality),
            score(domain.oracle.quality),
            usd_per_thousand(domain.auto.cost_usd),
            usd_per_thousand(domain.best_single.cost_usd),
            percent(domain.auto.cost_usd / domain.best_single.cost_usd),
        ]
    };
    let rows = report.domains.iter().map(|domain| row(cells(domain)));
    Table::new("Per domain", columns, rows.collect())
}

/// Two tiers on a named part of the rows.
pub(super) fn slice(report: &Report, slice: &SliceReport) -> Table {
    let mut columns = vec![words("Method", "")];
    columns.extend(two_tier_columns());
    columns.push(number(
        "tiercast minus it",
        "Difference in APGR on the same bootstrap replicates. Above zero is in favour of tiercast. METRICS A.9.",
    ));
    columns.push(words("tiercast is", "Whether that interval excludes zero."));
    let metric = format!("apgr:{}", slice.name);
    let rows = slice.methods.iter().map(|entry| {
        let method = named(report, &entry.method);
        let found = difference(report, &entry.method, &metric);
        let is_ours = method.is_some_and(|method| method.kind == MethodKind::Tiercast);
        let dash = |text: String| if is_ours { "-".to_owned() } else { text };
        let mut cells = vec![method.map_or_else(|| entry.method.clone(), |method| method.label.clone())];
        cells.extend(two_tier_cells(Some(&entry.two_tier)));
        cells.push(dash(optional(found, |found| interval(found.difference, gain))));
        cells.push(dash(optional(found, |found| verdict(found).to_owned())));
        Row { is_ours, ..row(cells) }
    });
    let title = format!(
        "{}: {} prompts, weak {}, strong {}",
        slice.name,
        count(slice.n_items),
        score(slice.weak_quality),
        score(slice.strong_quality)
    );
    Table::new(title, columns, rows.collect())
}

/// tiercast's own entry.
pub(super) fn tiercast(report: &Report) -> Option<&MethodReport> {
    report.methods.iter().find(|method| method.kind == MethodKind::Tiercast)
}

/// The method of a stable name.
pub(super) fn named<'a>(report: &'a Report, name: &str) -> Option<&'a MethodReport> {
    report.methods.iter().find(|method| method.name == name)
}
