//! The result in words, made from the numbers. Neutral: what is within noise is called so.

use super::number::{count, gain, interval, percent};
use super::results::{difference, is_within_hull_bias, named, tiercast};
use crate::report::{Difference, Estimate, MethodKind, OperatingPoint, Report};
use tiercast_records::outcomes::Split;

/// The first sentence of every view.
pub(super) fn headline(report: &Report) -> String {
    let found = tiercast(report).and_then(|method| method.operating_points.first());
    let rows = rows(report);
    found.map_or_else(
        || format!("On {rows} tiercast has no operating point to report."),
        |point| sentence(&rows, point),
    )
}

fn sentence(rows: &str, point: &OperatingPoint) -> String {
    let (quality, cost) = (point.relative_quality, point.relative_cost);
    let mut text = format!(
        "On {rows} tiercast at {} has {} of the best single tier's quality at {} of its cost",
        point.name,
        interval(quality, percent),
        interval(cost, percent)
    );
    let same = [(quality, "quality"), (cost, "cost")]
        .into_iter()
        .filter(|(share, _)| holds_one(*share));
    match same.map(|(_, name)| name).collect::<Vec<_>>().as_slice() {
        [] => {}
        [one] => text += &format!("; the {one} is not distinguishable from that tier's"),
        [one, two, ..] => text += &format!("; neither {one} nor {two} is distinguishable from that tier's"),
    }
    text + "."
}

fn holds_one(share: Estimate) -> bool {
    share.low <= 1.0 && 1.0 <= share.high
}

fn rows(report: &Report) -> String {
    let n = count(report.data.n_items);
    match report.data.split {
        Split::Test | Split::Holdout => format!("{n} held-out prompts"),
        Split::Validation => format!("{n} validation prompts, on which settings were chosen,"),
        Split::Train => format!("{n} training prompts, which tiercast was fitted on,"),
    }
}

/// tiercast's curve against chance and against the strongest baseline.
pub(super) fn comparison(report: &Report) -> String {
    let of = |name: &str| difference(report, name, "aiq");
    let strongest = |kind: MethodKind| {
        let methods = report.methods.iter().filter(|method| method.kind == kind);
        methods
            .max_by(|a, b| a.aiq.value.total_cmp(&b.aiq.value))
            .and_then(|method| of(&method.name))
    };
    let mut clauses: Vec<String> = of("random_mix")
        .map(|found| clause(report, found))
        .into_iter()
        .collect();
    clauses.extend(strongest(MethodKind::Learned).map(|found| clause(report, found)));
    clauses.extend(strongest(MethodKind::KnowsLabel).map(|found| clause(report, found)));
    if clauses.is_empty() {
        return String::new();
    }
    format!("Over all budgets, its mean quality (AIQ) is {}.", clauses.join("; "))
}

fn clause(report: &Report, found: &Difference) -> String {
    let label = named(report, &found.method).map_or(found.method.as_str(), |method| method.label.as_str());
    let size = interval(found.difference, gain);
    if !found.significant {
        format!("not distinguishable from {label}, {size}")
    } else if found.difference.value < 0.0 {
        format!("below {label}, {size}")
    } else if is_within_hull_bias(found) {
        format!("above {label} by too little to tell from chance, {size}")
    } else {
        format!("above {label}, {size}")
    }
}

/// What was evaluated, on what, with which chance.
pub(super) fn provenance(report: &Report) -> Vec<(&'static str, String)> {
    let (data, checkpoint) = (&report.data, &report.checkpoint);
    let known = |text: &String| {
        if text.is_empty() {
            "not recorded".to_owned()
        } else {
            text.clone()
        }
    };
    vec![
        ("Checkpoint", known(&checkpoint.id)),
        (
            "Network",
            format!(
                "{} parameters, {}",
                count(checkpoint.n_params),
                known(&checkpoint.encoder)
            ),
        ),
        ("Trained by", known(&checkpoint.commit)),
        ("Trained on data", known(&checkpoint.data_hash)),
        ("Data", data.datasets.join(", ")),
        (
            "Split",
            format!(
                "{}, {} prompts in {} groups",
                data.split.name(),
                count(data.n_items),
                count(data.n_groups)
            ),
        ),
        (
            "Left out",
            format!("{} prompts that some tier did not answer", count(data.n_left_out)),
        ),
        (
            "Baselines",
            format!(
                "fitted on {} training prompts, settings chosen on {}",
                count(data.n_train),
                count(data.n_validation)
            ),
        ),
        (
            "Outcomes",
            if data.is_binary {
                "right or wrong"
            } else {
                "graded in [0, 1]"
            }
            .to_owned(),
        ),
        (
            "Seed",
            format!("{}; {} bootstrap replicates", data.seed, count(data.n_bootstrap)),
        ),
    ]
}
