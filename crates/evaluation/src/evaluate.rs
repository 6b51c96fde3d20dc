//! Runs an evaluation: rows to methods, methods to figures, figures to the report.

use std::collections::{BTreeMap, BTreeSet};

use tiercast_records::outcomes::Split;
use tiercast_statistics::summary::mean;

use crate::baselines;
use crate::interval::estimate;
use crate::method::{
    Method, Replicated, baseline, corrected_oracle, measure, measure_pareto_distances, oracle, single_tiers, tiercast,
};
use crate::prediction::{cost_head, prediction_report};
use crate::report::{
    DataSummary, Difference, DomainRow, Estimate, MethodKind, MethodReport, Point, Report, SCHEMA_VERSION, SliceMethod,
    SliceReport, TierSummary,
};
use crate::selective::selective_report;
use crate::study::{EvaluationError, Inputs, Study};
use crate::sweep::at_floor;
use crate::two_tier::{certify, two_tier};

/// Evaluates the forecasts beside all baselines on the rows of one split. `progress` is told what
/// is being done.
pub fn evaluate(inputs: &Inputs<'_>, progress: &dyn Fn(&str)) -> Result<Report, EvaluationError> {
    progress("laying out rows");
    let study = Study::new(inputs)?;
    let (predicted, baseline_notes) = baselines::fit_all(&study, progress);
    progress("deciding");
    let methods = methods(&study, predicted);
    Ok(report(&study, &methods, baseline_notes, progress).0)
}

/// The report on methods that have decided, and the replicates of each in their order.
pub(crate) fn report(
    study: &Study<'_>,
    methods: &[Method],
    baseline_notes: Vec<String>,
    progress: &dyn Fn(&str),
) -> (Report, Vec<Replicated>) {
    let (mut reports, replicated): (Vec<MethodReport>, Vec<Replicated>) = methods
        .iter()
        .map(|method| {
            progress(&format!("measuring {}", method.name));
            measure(study, method)
        })
        .unzip();
    measure_pareto_distances(study, &mut reports);
    progress("measuring predictions");
    let prediction = prediction_report(study, methods);
    let forecasts = methods[0].forecasts.as_deref().unwrap_or_default();
    let free = at_floor(study.inputs.catalog, forecasts, study.references.auto_floor);
    let selective = selective_report(study, forecasts, &free.choices);
    let (slices, slice_differences) = slices(study, methods);
    let mut differences = differences(study, &reports, &replicated);
    differences.extend(slice_differences);
    let report = Report {
        schema_version: SCHEMA_VERSION,
        checkpoint: study.inputs.checkpoint.clone(),
        data: data(study),
        tiers: tiers(study),
        references: study.references.clone(),
        differences,
        slices,
        domains: domain_rows(study, methods),
        prediction,
        selective,
        cost_head: cost_head(study),
        certified: certify(study),
        notes: notes(study, methods, baseline_notes),
        methods: reports,
    };
    (report, replicated)
}

/// tiercast, baselines, single tiers, mix, oracles.
pub(crate) fn methods(study: &Study<'_>, predicted: Vec<baselines::Predicted>) -> Vec<Method> {
    let mut methods = vec![tiercast(study)];
    methods.extend(predicted.into_iter().map(|predicted| baseline(study, predicted)));
    methods.extend(single_tiers(study));
    methods.push(oracle(study));
    methods.extend(corrected_oracle(study));
    methods
}

pub(crate) fn data(study: &Study<'_>) -> DataSummary {
    let prompts = study
        .items
        .prompts
        .iter()
        .map(|prompt| &study.inputs.outcomes.prompts[*prompt]);
    let datasets: BTreeSet<String> = prompts.map(|prompt| prompt.dataset.clone()).collect();
    DataSummary {
        datasets: datasets.into_iter().collect(),
        split: study.inputs.split,
        n_items: study.items.len(),
        n_left_out: study.items.n_left_out,
        n_groups: study.group_sizes.len(),
        n_train: study.train.len(),
        n_validation: study.validation.len(),
        is_binary: study
            .items
            .quality
            .values()
            .iter()
            .all(|quality| [0.0, 1.0].contains(quality)),
        seed: study.inputs.seed,
        n_bootstrap: study.inputs.n_bootstrap,
    }
}

pub(crate) fn tiers(study: &Study<'_>) -> Vec<TierSummary> {
    let (quality, cost) = (study.items.quality.tier_means(), study.items.cost.tier_means());
    let is_whole = |tier: usize| {
        let outcomes = study.items.outcomes.iter().skip(tier).step_by(study.n_tiers);
        outcomes
            .map(|o| f64::from(u8::from(o.cost_kind.is_whole() && o.cost_usd.is_some())))
            .collect::<Vec<_>>()
    };
    let summary = |(idx, tier): (usize, &tiercast_routing::catalog::Tier)| TierSummary {
        name: tier.name.clone(),
        class: tier.class,
        quality: quality[idx],
        cost_usd: cost[idx],
        whole_cost_share: mean(&is_whole(idx)),
    };
    study.inputs.catalog.tiers().iter().enumerate().map(summary).collect()
}

fn difference(method: &str, metric: &str, values: (f64, f64), replicates: (&[f64], &[f64])) -> Difference {
    let paired: Vec<f64> = replicates
        .0
        .iter()
        .zip(replicates.1)
        .map(|(ours, theirs)| ours - theirs)
        .collect();
    let difference = estimate(values.0 - values.1, &paired);
    Difference {
        method: method.to_owned(),
        metric: metric.to_owned(),
        difference,
        significant: difference.low > 0.0 || difference.high < 0.0,
    }
}

/// tiercast, which leads, against each method that has a curve.
fn differences(study: &Study<'_>, reports: &[MethodReport], replicated: &[Replicated]) -> Vec<Difference> {
    let (ours, our_replicates) = (&reports[0], &replicated[0]);
    let apgr = |report: &MethodReport| report.two_tier.as_ref().and_then(|two| two.apgr).map(value);
    let mut found = Vec::new();
    for (other, replicates) in reports.iter().zip(replicated).skip(1) {
        if other.kind == MethodKind::SingleTier {
            continue;
        }
        let mut push = |metric: &str, values: Option<(f64, f64)>, replicates: (&[f64], &[f64])| {
            found.extend(values.map(|values| difference(&other.name, metric, values, replicates)));
        };
        push(
            "aiq",
            Some((ours.aiq.value, other.aiq.value)),
            (&our_replicates.aiq, &replicates.aiq),
        );
        let log = ours.aiq_log.map(value).zip(other.aiq_log.map(value));
        push("aiq_log", log, (&our_replicates.aiq_log, &replicates.aiq_log));
        if study.n_tiers == 2 {
            push(
                "apgr",
                apgr(ours).zip(apgr(other)),
                (&our_replicates.apgr, &replicates.apgr),
            );
        }
    }
    found
}

fn value(estimate: Estimate) -> f64 {
    estimate.value
}

/// Two-tier figures per slice, and the paired differences of APGR.
fn slices(study: &Study<'_>, methods: &[Method]) -> (Vec<SliceReport>, Vec<Difference>) {
    if study.n_tiers != 2 {
        return (Vec::new(), Vec::new());
    }
    let position: BTreeMap<usize, usize> = study.items.prompts.iter().copied().zip(0..).collect();
    let of = |prompts: &[usize]| {
        prompts
            .iter()
            .filter_map(|prompt| position.get(prompt).copied())
            .collect()
    };
    let parts = study.inputs.slices.iter().map(|(name, prompts)| (name, of(prompts)));
    parts
        .filter(|(_, items): &(_, Vec<usize>)| !items.is_empty())
        .map(|(name, items)| slice(study, methods, name, &items))
        .fold(
            (Vec::new(), Vec::new()),
            |(mut slices, mut all), (slice, differences)| {
                slices.push(slice);
                all.extend(differences);
                (slices, all)
            },
        )
}

fn slice(study: &Study<'_>, methods: &[Method], name: &str, items: &[usize]) -> (SliceReport, Vec<Difference>) {
    let measured: Vec<_> = methods
        .iter()
        .filter_map(|method| Some((&method.name, two_tier(study, method.scores.as_ref()?, items))))
        .collect();
    let apgr = |index: usize| measured[index].1.0.apgr.map(value);
    let metric = format!("apgr:{name}");
    let differences = (1..measured.len())
        .filter_map(|other| {
            let replicates = (measured[0].1.1.as_slice(), measured[other].1.1.as_slice());
            Some(difference(
                measured[other].0,
                &metric,
                (apgr(0)?, apgr(other)?),
                replicates,
            ))
        })
        .collect();
    let quality = |tier: usize| mean_over(items, |item| study.items.quality.at(item, tier));
    let report = SliceReport {
        name: name.to_owned(),
        n_items: items.len(),
        weak_quality: quality(study.references.cheapest),
        strong_quality: quality(study.references.dearest),
        methods: measured
            .into_iter()
            .map(|(method, (two_tier, _))| SliceMethod {
                method: method.clone(),
                two_tier,
            })
            .collect(),
    };
    (report, differences)
}

fn mean_over(items: &[usize], of: impl Fn(usize) -> f64) -> f64 {
    mean(&items.iter().map(|item| of(*item)).collect::<Vec<_>>())
}

fn domain_rows(study: &Study<'_>, methods: &[Method]) -> Vec<DomainRow> {
    let auto = &methods[0].operating[0].1.choices;
    let oracle = methods
        .iter()
        .find(|method| method.name == "oracle")
        .map(|m| &m.operating[0].1.choices);
    let rows = study.items_by_domain().into_iter().map(|(domain, items)| {
        let point = |tier_of: &dyn Fn(usize) -> usize| Point {
            cost_usd: mean_over(&items, |item| study.items.cost.at(item, tier_of(item))),
            quality: mean_over(&items, |item| study.items.quality.at(item, tier_of(item))),
        };
        DomainRow {
            domain: domain.to_owned(),
            n_items: items.len(),
            best_single: point(&|_| study.references.best_single),
            auto: point(&|item| auto[item]),
            dearest: point(&|_| study.references.dearest),
            oracle: point(&|item| oracle.unwrap_or(auto)[item]),
        }
    });
    rows.collect()
}

/// What a reader has to know, in full sentences.
fn notes(study: &Study<'_>, methods: &[Method], mut notes: Vec<String>) -> Vec<String> {
    let n_absent = study
        .items
        .outcomes
        .iter()
        .filter(|outcome| outcome.cost_usd.is_none())
        .count();
    let partial: Vec<&str> = (0..study.n_tiers)
        .filter(|tier| {
            let mut outcomes = study.items.outcomes.iter().skip(*tier).step_by(study.n_tiers);
            outcomes.any(|outcome| outcome.cost_usd.is_some() && !outcome.cost_kind.is_whole())
        })
        .map(|tier| study.tier_name(tier))
        .collect();
    let mut add = |is_so: bool, note: String| notes.extend(is_so.then_some(note));
    add(true, "All learned baselines and label tables route with tiercast's cost forecast; they differ in predicted quality only.".to_owned());
    add(
        true,
        "Gains and gaps over domains are ratios of macro averages.".to_owned(),
    );
    add(
        n_absent > 0,
        format!("{n_absent} outcomes have no recorded cost; the forecast cost stands in for it."),
    );
    add(
        !partial.is_empty(),
        format!(
            "Recorded costs are partial, hence too low, for: {}.",
            partial.join(", ")
        ),
    );
    add(
        study.inputs.evidence.is_none(),
        "The caller gave no evidence: the order by doubt and the gate are absent.".to_owned(),
    );
    add(study.validation.is_empty(), "There are no validation rows: the best single tier is that of the evaluated rows, settings of baselines are defaults, and validated and certified points are absent.".to_owned());
    add(
        study.inputs.split == Split::Train,
        "The evaluated split is train: every fitted method has seen these rows.".to_owned(),
    );
    add(
        study.inputs.split == Split::Validation,
        "The evaluated split is validation: settings were chosen on these rows.".to_owned(),
    );
    add(
        !methods.iter().any(|method| method.name == "oracle_corrected"),
        "The noise-corrected oracle is absent: not every outcome averages several samples.".to_owned(),
    );
    add(
        study.references.cheapest == study.references.dearest
            || study.references.cost_min_usd >= study.references.cost_max_usd,
        "All tiers cost the same on average: areas over cost are the peak quality.".to_owned(),
    );
    notes
}

#[cfg(test)]
pub(crate) mod tests;
