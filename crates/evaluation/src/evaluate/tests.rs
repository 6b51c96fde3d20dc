//! A small world with known answers. Two tiers, $1 and $3. Of every four prompts one is of domain
//! `a` (only the cheap tier is right), two of `b` (only the dear one), one of `c` (both).

use tiercast_records::features::Features;
use tiercast_records::outcomes::{CostKind, Model, Outcome, Outcomes, Prompt, Split};
use tiercast_routing::catalog::{Capabilities, Catalog, Tier};
use tiercast_routing::decide::Forecast;
use tiercast_routing::distribution::QualityDistribution;
use tiercast_routing::evidence::Evidence;

use super::*;
use crate::report::{CheckpointInfo, Verdict};
use crate::study::slices_of;

const N: usize = 40;
pub(crate) const SPLITS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

/// Catalog order: dear, cheap. Model order in the outcomes: cheap, dear.
fn catalog() -> Catalog {
    let tier = |name: &str, class| Tier {
        name: name.to_owned(),
        class,
        input_usd_per_mtok: 1.0,
        output_usd_per_mtok: 1.0,
        cached_input_usd_per_mtok: None,
        context_window: None,
        capabilities: Capabilities::default(),
        latency_p95_s: None,
    };
    Catalog::new(vec![tier("dear", 1), tier("cheap", 3)]).unwrap()
}

/// Quality of (dear, cheap) for prompt `index`.
pub(crate) fn truth(index: usize) -> [f64; 2] {
    [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0]][index % 4]
}

fn outcomes(splits: &[Split]) -> Outcomes {
    let prompt = |index: usize| Prompt {
        prompt_id: format!("{index:016x}"),
        split_key: format!("key {index}"),
        split: splits[index / N],
        dataset: "routellm".to_owned(),
        subset: if index % 8 < 4 { "gsm8k" } else { "law" }.to_owned(),
        domain: ["a", "b", "b", "c"][index % 4].to_owned(),
        text: None,
    };
    let outcome = |prompt: usize, model: usize| Outcome {
        prompt,
        model,
        score: truth(prompt)[1 - model],
        score_kind: 0,
        n_samples: 1,
        input_tokens: Some(10),
        output_tokens: Some(10 + prompt as u32),
        cost_usd: Some([1.0, 3.0][model]),
        cost_kind: CostKind::Reported,
        latency_s: None,
    };
    let n = N * splits.len();
    Outcomes {
        prompts: (0..n).map(prompt).collect(),
        models: ["cheap", "dear"]
            .map(|name| Model {
                name: name.to_owned(),
                class: 2,
            })
            .to_vec(),
        score_kinds: vec!["exact".to_owned()],
        outcomes: (0..n).flat_map(|p| [outcome(p, 0), outcome(p, 1)]).collect(),
    }
}

/// Domains have distinct embeddings and words, lengths say nothing.
fn features(n: usize) -> Vec<Features> {
    let domain = |index: usize| [0, 1, 1, 2][index % 4];
    let feature = |index: usize| Features {
        ask_tokens: 100,
        embedding: (0..3)
            .map(|place| if place == domain(index) { 127 } else { 0 })
            .collect(),
        word_ngrams: vec![(domain(index) as u32, 1)],
        ..Features::default()
    };
    (0..n).map(feature).collect()
}

fn forecasts(n: usize, quality: impl Fn(usize) -> [f64; 2]) -> Vec<Vec<Forecast>> {
    let forecast = |quality: f64, cost: f64| Forecast {
        quality: QualityDistribution::two_point(quality),
        input_tokens: 10.0,
        ask_input_tokens: 10.0,
        output_tokens: 10.0,
        cost_usd: cost,
        ask_cost_usd: cost,
        latency_p95_s: None,
    };
    (0..n)
        .map(&quality)
        .map(|[dear, cheap]| vec![forecast(dear, 3.0), forecast(cheap, 1.0)])
        .collect()
}

fn report(splits: &[Split], quality: impl Fn(usize) -> [f64; 2]) -> Report {
    report_on(splits, quality, None)
}

/// `b`, which only the dear tier gets right, is unknown ground.
fn doubt_of_b(n: usize) -> Vec<Evidence> {
    let known = Evidence {
        similarity: 1.0,
        spread: 0.0,
        doubt: 0.0,
        sufficient: true,
    };
    (0..n)
        .map(|index| {
            if [1, 2].contains(&(index % 4)) {
                Evidence::NONE
            } else {
                known
            }
        })
        .collect()
}

fn report_on(splits: &[Split], quality: impl Fn(usize) -> [f64; 2], evidence: Option<&[Evidence]>) -> Report {
    with_inputs(splits, quality, evidence, |inputs| evaluate(inputs, &|_| {}).unwrap())
}

/// Calls `then` with this world: two tiers, dear and cheap, at $3 and $1.
pub(crate) fn with_inputs<R>(
    splits: &[Split],
    quality: impl Fn(usize) -> [f64; 2],
    evidence: Option<&[Evidence]>,
    then: impl FnOnce(&Inputs<'_>) -> R,
) -> R {
    let (catalog, outcomes) = (catalog(), outcomes(splits));
    let n = outcomes.prompts.len();
    then(&Inputs {
        catalog: &catalog,
        slices: slices_of(&outcomes),
        outcomes: &outcomes,
        features: &features(n),
        forecasts: &forecasts(n, quality),
        evidence,
        split: Split::Test,
        seed: 1,
        n_bootstrap: 50,
        checkpoint: CheckpointInfo::default(),
        auto_floor: 0.5,
        cheap_floor: 0.0,
    })
}

fn method<'a>(report: &'a Report, name: &str) -> &'a MethodReport {
    report.methods.iter().find(|method| method.name == name).unwrap()
}

fn near(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
}

#[test]
fn perfect_forecasts_reach_the_oracle() {
    let report = report(&SPLITS, truth);
    let ours = method(&report, "tiercast");
    // The hull runs from ($1, .5) to ($2, 1) and is flat to $3.
    near(ours.aiq.value, 0.875);
    near(method(&report, "oracle").aiq.value, 0.875);
    near(
        ours.aiq_log.unwrap().value,
        (2_f64.ln() * 0.0 + 0.5 + 1.5_f64.ln()) / 3_f64.ln(),
    );
    // Best single is dear: .75 at $3. Its quality is reached half way up, at $1.5.
    near(ours.cost_share[3].cost_share.unwrap(), 0.5);
    // At $1.2 (60 % saved) the hull stands at .6.
    near(ours.quality_retained[2].retained.unwrap(), 0.8);
    near(ours.performance_gain, 1.0 / 0.75 - 1.0);
    near(ours.cost_save.unwrap(), 1.0 / 3.0);
    near(ours.pareto_distance, 0.0);
}

#[test]
fn gap_recovered_by_hand() {
    let report = report(&SPLITS, truth);
    let ours = method(&report, "tiercast").two_tier.as_ref().unwrap();
    // Recovered gap at shares 0, .5, .75, 1: 0, 2, 2, 1.
    near(ours.apgr.unwrap().value, 0.5 + 0.5 + 0.375);
    near(ours.cpt50.unwrap(), 0.125);
    near(
        method(&report, "random_mix")
            .two_tier
            .as_ref()
            .unwrap()
            .apgr
            .unwrap()
            .value,
        0.5,
    );
    assert_eq!(
        report
            .slices
            .iter()
            .map(|s| (s.name.as_str(), s.n_items))
            .collect::<Vec<_>>(),
        [("mmlu", 20), ("gsm8k", 20)]
    );
    near(report.slices[1].methods[0].two_tier.apgr.unwrap().value, 1.375);
}

#[test]
fn the_operating_point_auto() {
    let report = report(&SPLITS, truth);
    let auto = &method(&report, "tiercast").operating_points[0];
    near(auto.quality.value, 1.0);
    near(auto.cost_usd.value, 2.0);
    near(auto.relative_cost.value, 2.0 / 3.0);
    assert_eq!(
        auto.tier_shares.iter().map(|s| (s * 100.0).round()).collect::<Vec<_>>(),
        [50.0, 50.0]
    );
    near(auto.optimal_selection.unwrap(), 1.0);
    near(auto.selection_entropy_bits, 1.0);
    near(auto.gap_to_oracle, 0.0);
    // Domains count alike: dear is right on b and c.
    near(auto.gain_over_best_single, 1.0 / (2.0 / 3.0) - 1.0);
    assert!(auto.relative_cost.low < auto.relative_cost.value && auto.relative_cost.value < auto.relative_cost.high);
}

#[test]
fn constant_forecasts_give_no_more_than_the_hull() {
    let report = report(&SPLITS, |_| [0.75, 0.5]);
    near(method(&report, "tiercast").aiq.value, 0.625);
    near(method(&report, "random_mix").aiq.value, 0.625);
    near(
        method(&report, "tiercast")
            .two_tier
            .as_ref()
            .unwrap()
            .apgr
            .unwrap()
            .value,
        0.5,
    );
    let to_mix = report
        .differences
        .iter()
        .find(|d| d.method == "random_mix" && d.metric == "aiq")
        .unwrap();
    assert!(!to_mix.significant);
    near(
        report.prediction.pooled.mean_predicted,
        report.prediction.pooled.mean_observed,
    );
}

#[test]
fn baselines_find_what_the_features_say() {
    let report = report(&SPLITS, |_| [0.75, 0.5]);
    for (name, expected) in [
        ("knn", 0.875),
        ("tfidf", 0.875),
        ("domain_table", 0.875),
        ("prompt_length", 0.625),
    ] {
        near(method(&report, name).aiq.value, expected);
    }
    // Against the label, constant forecasts lose by .25 for certain.
    let to_table = report
        .differences
        .iter()
        .find(|d| d.method == "domain_table" && d.metric == "aiq")
        .unwrap();
    assert!(to_table.significant && to_table.difference.high < 0.0);
    assert!(method(&report, "shuffled").aiq.value < 0.875);
}

#[test]
fn perfect_distributions() {
    let prediction = report(&SPLITS, truth).prediction;
    near(prediction.pooled.brier, 0.0);
    near(prediction.pooled.crps, 0.0);
    near(prediction.tiers[1].variance, 0.25);
    // The training histogram of cheap is a fair coin: CRPS .25.
    near(prediction.tiers[1].crps_train_histogram.unwrap(), 0.25);
    near(prediction.pooled.coverage80, 1.0);
    near(prediction.pooled.ece_width + prediction.pooled.ece_width_floor, 0.0);
    assert_eq!(prediction.routed.iter().map(|r| r.n).collect::<Vec<_>>(), [20, 20]);
}

#[test]
fn doubt_by_hand() {
    // `auto` takes the cheap tier everywhere: right on a and c, where doubt is 0.
    let selective = report_on(&SPLITS, |_| [0.75, 0.5], Some(&doubt_of_b(3 * N))).selective;
    let harmonic = |n: u32| (1..=n).map(|k| 1.0 / f64::from(k)).sum::<f64>();
    // Risk 0 up to 20 items, then (k - 20) / k.
    let expected = (20.0 - 20.0 * (harmonic(40) - harmonic(20))) / 40.0;
    let [doubt, confidence] = selective.orders.as_slice() else {
        panic!("two orders")
    };
    near(doubt.decision.aurc.value, expected);
    near(selective.decision.optimal.value, expected);
    near(selective.decision.random.value, 0.5);
    near(doubt.decision.minus_random.value, expected - 0.5);
    assert!(doubt.decision.significant && doubt.decision.minus_random.high < 0.0);
    // Squared errors: a (.75^2 + .5^2) / 2, b and c (.25^2 + .5^2) / 2.
    let (of_a, of_rest) = (0.40625, 0.15625);
    let at = |idx: usize| doubt.curve[idx];
    near(at(9).coverage, 0.5);
    near(at(9).accuracy.value, 1.0);
    near(at(9).quality.value, 1.0);
    near(at(9).brier.value, (of_a + of_rest) / 2.0);
    near(at(19).accuracy.value, 0.5);
    near(at(19).brier.value, (of_a + 3.0 * of_rest) / 4.0);
    near(selective.forecast.random.value, at(19).brier.value);
    // One forecast for all: confidence sets nothing apart.
    assert_eq!((doubt.name.as_str(), confidence.name.as_str()), ("doubt", "confidence"));
    near(confidence.decision.aurc.value, 0.5);
    assert!(!confidence.decision.significant && confidence.decision.minus_random.high.abs() < 1e-9);
}

#[test]
fn the_gate_by_hand() {
    let gate = report_on(&SPLITS, |_| [0.75, 0.5], Some(&doubt_of_b(3 * N)))
        .selective
        .gate;
    let gate = gate.unwrap();
    near(gate.insufficient_share.value, 0.5);
    let (inside, outside) = (gate.sufficient.unwrap(), gate.insufficient.unwrap());
    assert_eq!((inside.n_items, outside.n_items), (20, 20));
    near(inside.accuracy.value, 1.0);
    near(outside.accuracy.value, 0.0);
    near(inside.brier.value, 0.28125);
    near(outside.brier.value, 0.15625);
    near(gate.difference.unwrap().accuracy.value, 1.0);
    near(gate.difference.unwrap().brier.value, 0.125);
    // Half of the items go from the cheap tier, wrong at $1, to the dear one, right at $3.
    assert_eq!(gate.safe_tier, "dear");
    near(gate.quality_change.value, 0.5);
    near(gate.cost_change_usd.value, 1.0);
}

#[test]
fn a_gate_that_is_always_open_has_one_side() {
    let mut evidence = doubt_of_b(3 * N);
    evidence.iter_mut().for_each(|e| e.sufficient = true);
    let gate = report_on(&SPLITS, truth, Some(&evidence)).selective.gate.unwrap();
    assert_eq!((gate.insufficient, gate.difference), (None, None));
    near(gate.insufficient_share.high, 0.0);
    near(gate.quality_change.value, 0.0);
    let without = report(&SPLITS, truth).selective;
    assert_eq!((without.gate, without.orders.len()), (None, 1));
}

#[test]
fn calibration_of_subsets_by_hand() {
    let prediction = report(&SPLITS, |_| [0.75, 0.5]).prediction;
    let routed = &prediction.routed[0];
    assert_eq!((prediction.routed.len(), routed.n), (1, 40));
    near(routed.event_predicted, 0.5);
    near(routed.event_observed, 0.5);
    near(routed.ece_mass, 0.0);
    assert_eq!(routed.verdict, Verdict::Calibrated);
    let [a, b, c] = prediction.domains.as_slice() else {
        panic!("three domains")
    };
    assert_eq!((a.domain.as_str(), a.n, b.n), ("a", 20, 40));
    // a: .75 for 0 and .5 for 1; c: .75 and .5 for 1.
    near(a.ece_mass, (0.75 + 0.5) / 2.0);
    near(c.ece_mass, (0.25 + 0.5) / 2.0);
    near(c.event_predicted, 0.625);
    near(c.mean_observed, 1.0);
    near(c.brier, 0.15625);
    near(c.crps, 0.15625);
    assert_eq!((a.verdict, c.verdict), (Verdict::Uneven, Verdict::TooLow));
    // Predicted minus observed, dear then cheap.
    near(a.bias[0].value, 0.75);
    near(a.bias[1].value, -0.5);
    near(c.bias[0].low, -0.25);
}

#[test]
fn cost_head_and_domains() {
    let report = report(&SPLITS, truth);
    near(report.cost_head[0].median_ape.unwrap(), 0.0);
    assert_eq!(report.cost_head[0].masked, None);
    assert_eq!(
        report
            .domains
            .iter()
            .map(|d| (d.domain.as_str(), d.n_items))
            .collect::<Vec<_>>(),
        [("a", 10), ("b", 20), ("c", 10)]
    );
    near(report.domains[0].best_single.quality, 0.0);
    near(report.domains[0].auto.quality, 1.0);
}

#[test]
fn without_training_rows_baselines_are_absent() {
    let report = report(&[Split::Test], truth);
    assert!(
        report
            .methods
            .iter()
            .all(|method| !matches!(method.kind, MethodKind::Learned | MethodKind::KnowsLabel))
    );
    assert!(report.notes.iter().any(|note| note.contains("no training rows")));
    assert_eq!(
        (report.certified, report.prediction.pooled.crps_train_histogram),
        (None, None)
    );
}

#[test]
fn the_report_survives_json_and_repeats() {
    let first = report(&SPLITS, truth);
    let text = serde_json::to_string(&first).unwrap();
    // A figure that is not finite would be written as null and refused here.
    assert!(serde_json::from_str::<Report>(&text).is_ok());
    assert!(serde_json::to_string(&report(&SPLITS, truth)).unwrap() == text);
}

#[test]
fn refusals() {
    let (mut outcomes, catalog) = (outcomes(&SPLITS), catalog());
    let n = outcomes.prompts.len();
    outcomes.models[0].name = "other".to_owned();
    let (features, forecasts) = (features(n), forecasts(n, truth));
    let check = |outcomes: &Outcomes, features: &[Features], split, expected: &str| {
        let inputs = Inputs {
            catalog: &catalog,
            outcomes,
            features,
            forecasts: &forecasts,
            evidence: None,
            split,
            seed: 1,
            n_bootstrap: 5,
            checkpoint: CheckpointInfo::default(),
            auto_floor: 0.5,
            cheap_floor: 0.0,
            slices: Vec::new(),
        };
        assert_eq!(evaluate(&inputs, &|_| {}).unwrap_err().to_string(), expected);
    };
    check(
        &outcomes,
        &features,
        Split::Test,
        "tier `cheap` of the catalog is not among the models of the outcomes",
    );
    check(
        &outcomes,
        &features[1..],
        Split::Test,
        "features per prompt: expected 120, found 119",
    );
    outcomes.models[0].name = "cheap".to_owned();
    let inputs = Inputs {
        catalog: &catalog,
        outcomes: &outcomes,
        features: &features,
        forecasts: &forecasts,
        evidence: Some(&[]),
        split: Split::Test,
        seed: 1,
        n_bootstrap: 5,
        checkpoint: CheckpointInfo::default(),
        auto_floor: 0.5,
        cheap_floor: 0.0,
        slices: Vec::new(),
    };
    assert_eq!(
        evaluate(&inputs, &|_| {}).unwrap_err().to_string(),
        "evidence per prompt: expected 120, found 0"
    );
    check(
        &outcomes,
        &features,
        Split::Holdout,
        "no prompt of split `holdout` was answered by every tier",
    );
}
