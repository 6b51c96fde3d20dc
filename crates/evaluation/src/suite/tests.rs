//! A small world with known answers: the dear tier alone is right on even prompts, both on odd ones.

use tiercast_records::features::Features;
use tiercast_records::outcomes::{CostKind, Model, Outcome, Outcomes, Prompt, Split};
use tiercast_routing::catalog::{Capabilities, Catalog, Tier};
use tiercast_routing::decide::Forecast;
use tiercast_routing::distribution::QualityDistribution;

use super::result::{EncoderResult, MethodFigures, Spread};
use super::*;
use crate::report::CheckpointInfo;

const N: usize = 80;

struct World {
    catalog: Catalog,
    outcomes: Outcomes,
    features: Vec<Features>,
    forecasts: Vec<Vec<Forecast>>,
}

fn is_even(prompt: usize) -> bool {
    prompt.is_multiple_of(2)
}

/// `split` per prompt; forecasts know the truth.
fn world(split: impl Fn(usize) -> Split) -> World {
    let tier = |name: &str| Tier {
        name: name.to_owned(),
        class: 2,
        input_usd_per_mtok: 1.0,
        output_usd_per_mtok: 1.0,
        cached_input_usd_per_mtok: None,
        context_window: None,
        capabilities: Capabilities::default(),
        latency_p95_s: None,
    };
    let prompt = |index: usize| Prompt {
        prompt_id: format!("{index:016x}"),
        split_key: format!("key {index}"),
        split: split(index),
        dataset: "d".to_owned(),
        subset: if is_even(index) { "even" } else { "odd" }.to_owned(),
        domain: "d".to_owned(),
        text: None,
    };
    let score = |prompt: usize, model: usize| f64::from(u8::from(model == 1 || !is_even(prompt)));
    let outcome = |prompt: usize, model: usize| Outcome {
        prompt,
        model,
        score: score(prompt, model),
        score_kind: 0,
        n_samples: 1,
        input_tokens: Some(10),
        output_tokens: Some(10),
        cost_usd: Some([1.0, 3.0][model]),
        cost_kind: CostKind::Reported,
        latency_s: None,
    };
    let forecast = |prompt: usize, model: usize| Forecast {
        quality: QualityDistribution::two_point(score(prompt, model)),
        input_tokens: 10.0,
        ask_input_tokens: 10.0,
        output_tokens: 10.0,
        cost_usd: [1.0, 3.0][model],
        ask_cost_usd: [1.0, 3.0][model],
        latency_p95_s: None,
    };
    let model = |name: &str| Model {
        name: name.to_owned(),
        class: 2,
    };
    // Even prompts are longer, so that length alone knows the answer too.
    let features = |prompt: usize| Features {
        ask_tokens: if is_even(prompt) { 50 } else { 10 },
        ..Features::default()
    };
    World {
        catalog: Catalog::new(vec![tier("cheap"), tier("dear")]).unwrap(),
        outcomes: Outcomes {
            prompts: (0..N).map(prompt).collect(),
            models: vec![model("cheap"), model("dear")],
            score_kinds: vec!["exact".to_owned()],
            outcomes: (0..N).flat_map(|p| [outcome(p, 0), outcome(p, 1)]).collect(),
        },
        features: (0..N).map(features).collect(),
        forecasts: (0..N).map(|p| vec![forecast(p, 0), forecast(p, 1)]).collect(),
    }
}

fn inputs(world: &World) -> Inputs<'_> {
    Inputs {
        catalog: &world.catalog,
        outcomes: &world.outcomes,
        features: &world.features,
        forecasts: &world.forecasts,
        split: Split::Test,
        seed: 0,
        n_bootstrap: 50,
        checkpoint: CheckpointInfo::default(),
        auto_floor: 0.5,
        cheap_floor: 0.5,
        evidence: None,
        slices: Vec::new(),
    }
}

/// Quarters of the prompts, by pairs of an even and an odd one.
fn fold(tested: usize) -> impl Fn(usize) -> Split {
    move |prompt| match (prompt / 2 % 4 + 4 - tested) % 4 {
        0 => Split::Test,
        1 => Split::Validation,
        _ => Split::Train,
    }
}

fn method<'a>(result: &'a EncoderResult, name: &str) -> &'a MethodFigures {
    result.methods.iter().find(|method| method.name == name).unwrap()
}

fn near(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
}

#[test]
fn pooled_folds_are_measured_once() {
    let mut baselines = Baselines::default();
    for tested in 0..4 {
        let world = world(fold(tested));
        baselines.extend(Baselines::fit(&inputs(&world), &|_| {}).unwrap());
    }
    let world = world(|_| Split::Test);
    let folds: Vec<usize> = (0..N).map(|prompt| prompt / 2 % 4).collect();
    let measured = measure_pooled(&inputs(&world), &baselines, &folds, &|_| {}).unwrap();
    assert_eq!(measured.headline, Headline::Apgr);
    let result = EncoderResult::of("fast", Vec::new(), &measured);
    // Half of the prompts need the dear tier and come first: PGR rises to 1 at x = .5 and stays.
    for name in ["tiercast", "prompt_length", "length_untrained", "subset_table"] {
        near(method(&result, name).headline.unwrap().value, 0.75);
    }
    let ours = method(&result, "tiercast");
    assert_eq!((ours.difference, ours.cpt50, ours.cpt80), (None, Some(0.25), Some(0.4)));
    near(method(&result, "random_mix").difference.unwrap().value, 0.25);
    near(method(&result, "subset_table").difference.unwrap().high, 0.0);
    near(method(&result, "subset_table").within_folds.unwrap().value, 0.75);
    near(
        method(&result, "random_mix").within_folds_difference.unwrap().value,
        0.25,
    );
    assert!(result.validated.is_none() && result.prediction.unwrap().brier < 1e-9);
}

#[test]
fn a_baseline_that_a_fold_lacks_is_left_out() {
    let first = world(fold(0));
    let baselines = Baselines::fit(&inputs(&first), &|_| {}).unwrap();
    let all = world(|_| Split::Test);
    let measured = measure_pooled(&inputs(&all), &baselines, &[0; N], &|_| {}).unwrap();
    let names: Vec<&str> = measured
        .report
        .methods
        .iter()
        .map(|method| method.name.as_str())
        .collect();
    assert!(
        !names.contains(&"prompt_length") && names.contains(&"length_untrained"),
        "{names:?}"
    );
}

#[test]
fn one_split_has_a_validated_setting() {
    let world = world(fold(0));
    let measured = measure(&inputs(&world), &|_| {}).unwrap();
    let result = EncoderResult::of("fast", Vec::new(), &measured);
    // Each tier's CRPS is 0 for ours; the cheap tier's histogram is half and half: .25.
    near(
        result.prediction.as_ref().unwrap().crps_minus_histogram.unwrap().value,
        -0.125,
    );
    // All right at $3 for every other prompt and $1 for the rest.
    near(result.validated.as_ref().unwrap().cost_usd.value, 2.0);
    near(method(&result, "tiercast").point.unwrap().quality, 1.0);
    assert!(method(&result, "single:dear").headline.is_none());
    near(method(&result, "single:dear").point.unwrap().cost_usd, 3.0);
}

#[test]
fn the_mean_over_sets_pairs_replicates() {
    let world = world(fold(0));
    let one = measure(&inputs(&world), &|_| {}).unwrap();
    let mean = EncoderResult::mean("fast", &[&one, &one]);
    let alone = EncoderResult::of("fast", Vec::new(), &one);
    for name in ["tiercast", "random_mix"] {
        let (mean, alone) = (method(&mean, name), method(&alone, name));
        near(mean.headline.unwrap().low, alone.headline.unwrap().low);
        assert_eq!(mean.difference.is_some(), name != "tiercast");
    }
}

#[test]
fn ranks_do_not_compare_folds() {
    // The second fold is ten times as high; inside a fold ties share their place.
    let ranks = ranks(&[0.1, 0.2, 0.2, 0.3, 2.0, 1.0], &[0, 0, 0, 0, 1, 1]);
    assert_eq!(ranks, [0.125, 0.5, 0.5, 0.875, 0.75, 0.25]);
}

#[test]
fn spread_by_hand() {
    let spread = Spread::of(vec![0.5, 0.7, 0.6]);
    near(spread.mean, 0.6);
    assert_eq!((spread.min, spread.max), (0.5, 0.7));
}
