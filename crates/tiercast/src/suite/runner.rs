//! Runs a case: trains on every fold, forecasts what was not trained on, measures it once.

use std::time::Instant;

use anyhow::Context;
use tiercast_evaluation::report::CheckpointInfo;
use tiercast_evaluation::study::Inputs;
use tiercast_evaluation::suite::result::{Ablation, Control, EncoderResult, Spread, headline};
use tiercast_evaluation::suite::{Baselines, Measured, measure, measure_pooled};
use tiercast_predictor::checkpoint;
use tiercast_predictor::device::DeviceKind;
use tiercast_predictor::network::DEFAULT_MEMBERS;
use tiercast_predictor::predictor::Predictor;
use tiercast_records::features::Features;
use tiercast_records::outcomes::{Outcomes, Split};
use tiercast_routing::catalog::Catalog;
use tiercast_routing::decide::Forecast;
use tiercast_routing::evidence::Evidence;
use tiercast_trainer::fit::FitConfig;
use tiercast_trainer::train::{SWITCHES, TrainOptions, train};

use super::data::{Data, in_fold, learnable, shuffled};
use super::folds::Fold;
use crate::arguments::{ControlKind, EvaluateArguments};
use crate::progress::say;

/// Replicates where no interval is wanted.
const FEW_REPLICATES: usize = 20;

/// How to train and measure.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) encoders: Vec<String>,
    seed: u64,
    n_seeds: u32,
    control: Option<ControlKind>,
    has_ablation: bool,
    n_bootstrap: usize,
    n_members: usize,
    max_epochs: Option<usize>,
    device: DeviceKind,
}

impl Settings {
    pub(crate) fn of(arguments: &EvaluateArguments) -> Self {
        let suite = &arguments.suite;
        Self {
            encoders: suite.encoders.clone(),
            seed: arguments.seed,
            n_seeds: suite.seeds,
            control: suite.control,
            has_ablation: suite.ablation,
            n_bootstrap: arguments.replicates as usize,
            n_members: suite.members.map_or(DEFAULT_MEMBERS, |members| members as usize),
            max_epochs: suite.epochs.map(|epochs| epochs as usize),
            device: arguments.device,
        }
    }
}

/// Rows, folds and tiers of one measurement.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) name: String,
    pub(crate) data: &'a Data,
    /// Tiers that are learnt.
    pub(crate) tiers: Vec<String>,
    /// The two tiers that are measured, where not all are.
    pub(crate) pair: Option<[String; 2]>,
    pub(crate) folds: Vec<Fold>,
    /// Whether the tested rows of all folds are measured together.
    pub(crate) is_pooled: bool,
    /// The split that is measured in each fold.
    pub(crate) tested: Split,
}

impl Case<'_> {
    /// Training prompts, the mean over folds.
    pub(crate) fn n_train(&self) -> usize {
        let train = self.folds.iter().flatten().filter(|split| **split == Split::Train);
        train.count() / self.folds.len()
    }
}

/// What is varied between runs of one case.
#[derive(Debug, Clone, Copy)]
struct Variant<'a> {
    encoder: &'a str,
    seed: u64,
    is_shuffled: bool,
    /// The view that is switched off.
    without: Option<&'a str>,
    with_baselines: bool,
    n_bootstrap: usize,
}

/// Measures a case with one encoder, and once more per extra seed and control.
pub(crate) fn run_case(
    case: &Case<'_>,
    encoder: &str,
    settings: &Settings,
) -> anyhow::Result<(EncoderResult, Measured)> {
    let whole = Variant {
        encoder,
        seed: settings.seed,
        is_shuffled: false,
        without: None,
        with_baselines: true,
        n_bootstrap: settings.n_bootstrap,
    };
    let (checkpoints, measured) = measure_variant(case, whole, settings)?;
    let mut result = EncoderResult::of(encoder, checkpoints, &measured);
    if settings.n_seeds > 1 {
        let mut headlines = vec![headline(&measured)];
        for extra in 1..u64::from(settings.n_seeds) {
            let variant = Variant {
                seed: settings.seed + extra,
                with_baselines: false,
                n_bootstrap: FEW_REPLICATES,
                ..whole
            };
            headlines.push(headline(&measure_variant(case, variant, settings)?.1));
        }
        result.seeds = Some(Spread::of(headlines));
    }
    if settings.control == Some(ControlKind::Shuffled) {
        let variant = Variant {
            is_shuffled: true,
            with_baselines: false,
            ..whole
        };
        result.control = Some(Control::of(&measure_variant(case, variant, settings)?.1));
    }
    if settings.has_ablation {
        // The fast encoder has no transformer to switch off.
        for view in SWITCHES
            .into_iter()
            .filter(|view| *view != "dense" || encoder == "dense")
        {
            let variant = Variant {
                without: Some(view),
                with_baselines: false,
                ..whole
            };
            let (_, rest) = measure_variant(case, variant, settings)?;
            result.ablations.push(Ablation::of(view, &measured, &rest));
        }
    }
    Ok((result, measured))
}

/// One fold, trained.
struct Trained {
    checkpoint: CheckpointInfo,
    catalog: Catalog,
    /// Floors of `auto` and `auto:cheap`.
    floors: (f64, f64),
    outcomes: Outcomes,
    /// Per prompt.
    forecasts: Vec<Vec<Forecast>>,
    /// Per prompt.
    evidence: Vec<Evidence>,
}

/// Checkpoint ids and figures.
fn measure_variant(
    case: &Case<'_>,
    variant: Variant<'_>,
    settings: &Settings,
) -> anyhow::Result<(Vec<String>, Measured)> {
    let features = &case.data.features[variant.encoder];
    let (mut trained, mut baselines) = (Vec::new(), Baselines::default());
    for (index, fold) in case.folds.iter().enumerate() {
        let started = Instant::now();
        let of_fold = train_fold(case, fold, features, variant, settings)
            .with_context(|| format!("{}, fold {} of {}", case.name, index + 1, case.folds.len()))?;
        if case.is_pooled && variant.with_baselines {
            baselines.extend(Baselines::fit(&inputs(case, &of_fold, features, variant), &|_| {})?);
        }
        let (n, seconds) = (case.folds.len(), started.elapsed().as_secs());
        say(&format!(
            "{}, {}, seed {}: fold {} of {n} done in {seconds} s",
            case.name,
            variant.encoder,
            variant.seed,
            index + 1
        ));
        trained.push(of_fold);
    }
    let ids = trained.iter().map(|fold| fold.checkpoint.id.clone()).collect();
    let measured = if case.is_pooled {
        let pooled = pooled(case, &trained);
        measure_pooled(
            &inputs(case, &pooled, features, variant),
            &baselines,
            &tested_in(case),
            &|_| {},
        )?
    } else if variant.with_baselines {
        measure(&inputs(case, &trained[0], features, variant), &|_| {})?
    } else {
        measure_pooled(
            &inputs(case, &trained[0], features, variant),
            &baselines,
            &tested_in(case),
            &|_| {},
        )?
    };
    Ok((ids, measured))
}

fn inputs<'a>(case: &Case<'_>, fold: &'a Trained, features: &'a [Features], variant: Variant<'_>) -> Inputs<'a> {
    Inputs {
        catalog: &fold.catalog,
        outcomes: &fold.outcomes,
        features,
        forecasts: &fold.forecasts,
        split: case.tested,
        // The same replicates whatever the seed of the weights, so that all runs are paired.
        seed: 0,
        n_bootstrap: variant.n_bootstrap,
        checkpoint: fold.checkpoint.clone(),
        auto_floor: fold.floors.0,
        cheap_floor: fold.floors.1,
        evidence: Some(&fold.evidence),
        slices: Vec::new(),
    }
}

fn train_fold(
    case: &Case<'_>,
    fold: &Fold,
    features: &[Features],
    variant: Variant<'_>,
    settings: &Settings,
) -> anyhow::Result<Trained> {
    let outcomes = in_fold(&case.data.outcomes, fold);
    let (rows, row_features) = learnable(&outcomes, features);
    let rows = if variant.is_shuffled {
        shuffled(rows, variant.seed)
    } else {
        rows
    };
    let trained = train(&rows, &row_features, &options(case, variant, settings), &mut |_| {})?;
    let curves = serde_json::to_string_pretty(&trained.curves)?;
    let manifest = checkpoint::unsaved(&trained.contents, &curves);
    let predictor = Predictor::new(manifest, trained.contents, settings.device)?;
    let levels = predictor.service_levels();
    let assessments = predictor.assess(features).into_iter();
    let (forecasts, evidence) = assessments.map(|of| (of.forecasts, of.evidence)).unzip();
    let (catalog, forecasts) = measured_tiers(case, predictor.catalog(), forecasts)?;
    Ok(Trained {
        checkpoint: CheckpointInfo {
            id: predictor.id().to_owned(),
            n_params: predictor.n_params(),
            encoder: variant.encoder.to_owned(),
            ..CheckpointInfo::default()
        },
        catalog,
        floors: (levels.auto, levels.cheap),
        outcomes,
        forecasts,
        evidence,
    })
}

fn options(case: &Case<'_>, variant: Variant<'_>, settings: &Settings) -> TrainOptions {
    let fit = FitConfig {
        seed: variant.seed,
        ..FitConfig::default()
    };
    TrainOptions {
        tiers: case.tiers.clone(),
        encoder: variant.encoder.to_owned(),
        device: settings.device,
        n_members: settings.n_members,
        off: variant.without.into_iter().map(str::to_owned).collect(),
        fit: FitConfig {
            max_epochs: settings.max_epochs.unwrap_or(fit.max_epochs),
            ..fit
        },
        ..TrainOptions::default()
    }
}

/// Catalog and forecasts of the tiers that are measured.
fn measured_tiers(
    case: &Case<'_>,
    catalog: &Catalog,
    forecasts: Vec<Vec<Forecast>>,
) -> anyhow::Result<(Catalog, Vec<Vec<Forecast>>)> {
    let Some(pair) = &case.pair else {
        return Ok((catalog.clone(), forecasts));
    };
    let position = |name: &String| {
        catalog
            .position(name)
            .with_context(|| format!("no set has tier `{name}`"))
    };
    let positions = [position(&pair[0])?, position(&pair[1])?];
    let tiers = positions.map(|position| catalog.tiers()[position].clone()).to_vec();
    let of_pair = |row: Vec<Forecast>| positions.map(|position| row[position]).to_vec();
    Ok((Catalog::new(tiers)?, forecasts.into_iter().map(of_pair).collect()))
}

/// All folds as one: each tested row with the forecast of the fold that did not train on it.
fn pooled(case: &Case<'_>, folds: &[Trained]) -> Trained {
    let n = folds.len() as f64;
    let floor = |of: fn(&Trained) -> f64| folds.iter().map(of).sum::<f64>() / n;
    let tested_in = tested_in(case);
    let n_prompts = tested_in.len();
    let split = |prompt: usize| match case.folds[tested_in[prompt]][prompt] {
        Split::Test => Split::Test,
        _ => Split::Holdout,
    };
    let splits: Fold = (0..n_prompts).map(split).collect();
    // What no fold tests is held out, so its forecast is not looked at.
    let forecasts = (0..n_prompts)
        .map(|prompt| folds[tested_in[prompt]].forecasts[prompt].clone())
        .collect();
    let evidence = (0..n_prompts)
        .map(|prompt| folds[tested_in[prompt]].evidence[prompt])
        .collect();
    Trained {
        checkpoint: folds[0].checkpoint.clone(),
        catalog: folds[0].catalog.clone(),
        floors: (floor(|fold| fold.floors.0), floor(|fold| fold.floors.1)),
        outcomes: in_fold(&case.data.outcomes, &splits),
        forecasts,
        evidence,
    }
}

/// Per prompt the fold that tests it; the first where none does, and nobody looks.
fn tested_in(case: &Case<'_>) -> Vec<usize> {
    let fold_of = |prompt: usize| case.folds.iter().position(|fold| fold[prompt] == Split::Test);
    let n_prompts = case.data.outcomes.prompts.len();
    (0..n_prompts).map(|prompt| fold_of(prompt).unwrap_or(0)).collect()
}
