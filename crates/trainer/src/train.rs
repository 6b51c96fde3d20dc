//! Outcomes and features to a checkpoint.

use std::collections::BTreeMap;

use burn::tensor::Device;
use rayon::prelude::*;
use thiserror::Error;
use tiercast_predictor::calibration::TierCalibration;
use tiercast_predictor::checkpoint::{Calibration, Contents, DataFile, Provenance};
use tiercast_predictor::device::{DeviceError, DeviceKind};
use tiercast_predictor::encoding::Encoding;
use tiercast_predictor::network::{Ensemble, NetworkConfig};
use tiercast_predictor::predictor::{Raw, forecast_of, raw};
use tiercast_predictor::weights;
use tiercast_records::features::Features;
use tiercast_records::outcomes::{CostKind, Outcome, Outcomes, Prompt, Split};
use tiercast_routing::catalog::Catalog;
use tiercast_routing::decide::Forecast;
use tiercast_routing::distribution::GRID;

use crate::calibrate::{fit_length, fit_quality, fit_service_levels};
use crate::dataset::{self, LengthScale, Row, length_scale};
use crate::fit::{Data, Epoch, FitConfig, Phase, fit};
use crate::prices::{fit_catalog, fit_input_tokens};
use crate::vocabulary::fit_encoding;

/// What to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Names of the tiers, in the order of the outputs.
    pub tiers: Vec<String>,
    /// Text encoder; `fast` is the one there is.
    pub encoder: String,
    /// Backend.
    pub device: DeviceKind,
    /// Networks in the ensemble.
    pub n_members: usize,
    /// The loop's settings, the seed among them.
    pub fit: FitConfig,
    /// The files the outcomes were read from, for the manifest.
    pub data: Vec<DataFile>,
}

/// Why nothing was trained.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A tier is not in the data.
    #[error("tier `{name}` is not in the data; it has: {known}")]
    UnknownTier {
        /// As asked for.
        name: String,
        /// Names that exist.
        known: String,
    },
    /// Fewer rows than anything can be learnt from.
    #[error("{found} {split} prompts with an answer of these tiers; at least {least} are needed")]
    TooFewRows {
        /// Split that is short.
        split: &'static str,
        /// What there is.
        found: usize,
        /// What is needed.
        least: usize,
    },
    /// A tier has no training row.
    #[error("tier `{0}` has no row in the train split: leave it out with --tiers, or add outcomes")]
    NoRows(String),
    /// A tier has no cost.
    #[error(
        "tier `{0}` has no `cost_usd` with `input_tokens` in the train split: its price is unknown; add both columns"
    )]
    NoCost(String),
    /// The tiers make no catalog.
    #[error("{0}")]
    Catalog(String),
    /// There is no such encoder.
    #[error("unknown encoder `{0}`: `fast` is the one there is")]
    UnknownEncoder(String),
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The weights could not be packed.
    #[error("packing the weights failed: {0}")]
    Weights(String),
}

/// The result: a checkpoint's contents and the learning curves.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// What `checkpoint::save` takes.
    pub contents: Contents,
    /// One entry per member and epoch.
    pub curves: Vec<Epoch>,
}

/// Least prompts in `train` and in `validation`.
const LEAST_TRAIN: usize = 32;
const LEAST_VALIDATION: usize = 8;

/// Trains on `train`, stops and calibrates on `validation`. `features` is parallel to
/// `outcomes.prompts`. `report` hears of every epoch.
pub fn train(
    outcomes: &Outcomes,
    features: &[Features],
    options: &TrainOptions,
    report: &mut dyn FnMut(Epoch),
) -> Result<Trained, TrainError> {
    if options.encoder != "fast" {
        return Err(TrainError::UnknownEncoder(options.encoder.clone()));
    }
    let device = options.device.device()?;
    let models = find_models(outcomes, &options.tiers)?;
    let prepared = prepare(outcomes, features, &models, &options.tiers)?;
    let config = NetworkConfig::new(
        prepared.encoding.d_dense(),
        prepared.encoding.ngram_hashes.len().max(1),
        models.len(),
        prepared.tasks.len().max(1),
    )
    .with_n_members(options.n_members);

    let mut curves = Vec::new();
    let data = Data {
        train: &prepared.train,
        validation: &prepared.validation,
        lengths: &prepared.lengths,
    };
    let network = fit(&config, &options.fit, data, &device, &mut |epoch| {
        curves.push(epoch);
        report(epoch);
    });

    let raw = raw_of(&network, &prepared.validation, &device);
    let tiers: Vec<TierCalibration> = (0..models.len())
        .map(|tier| calibrate_tier(&prepared, features, &raw, tier))
        .collect();
    let forecasts = forecasts(&prepared.catalog, &tiers, features, &prepared.validation, &raw);
    let service_levels = fit_service_levels(&prepared.catalog, &forecasts, &prepared.validation);
    let validation = validation_figures(&curves, &forecasts, &prepared.validation);
    let provenance = provenance(outcomes, &models, &prepared, options, validation);
    let contents = Contents {
        weights: weights::to_bytes(&network).map_err(TrainError::Weights)?,
        network: config,
        encoding: prepared.encoding,
        catalog: prepared.catalog,
        calibration: Calibration {
            grid: GRID.to_vec(),
            tiers,
            service_levels,
        },
        provenance,
    };
    Ok(Trained { contents, curves })
}

struct Prepared {
    catalog: Catalog,
    encoding: Encoding,
    tasks: Vec<String>,
    train: Vec<Row>,
    validation: Vec<Row>,
    lengths: Vec<LengthScale>,
}

fn find_models(outcomes: &Outcomes, tiers: &[String]) -> Result<Vec<usize>, TrainError> {
    let find = |name: &String| {
        outcomes
            .models
            .iter()
            .position(|model| model.name == *name)
            .ok_or_else(|| TrainError::UnknownTier {
                name: name.clone(),
                known: outcomes
                    .models
                    .iter()
                    .map(|model| model.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    };
    tiers.iter().map(find).collect()
}

fn prepare(
    outcomes: &Outcomes,
    features: &[Features],
    models: &[usize],
    names: &[String],
) -> Result<Prepared, TrainError> {
    let is_train =
        |outcome: &&Outcome| outcomes.prompts[outcome.prompt].split == Split::Train && models.contains(&outcome.model);
    let train_outcomes: Vec<&Outcome> = outcomes.outcomes.iter().filter(is_train).collect();
    for (model, name) in models.iter().zip(names) {
        if !train_outcomes.iter().any(|outcome| outcome.model == *model) {
            return Err(TrainError::NoRows(name.clone()));
        }
    }
    let catalog = fit_catalog(outcomes, models, &train_outcomes)?;
    // Every training prompt once, in order.
    let mut prompts: Vec<usize> = train_outcomes.iter().map(|outcome| outcome.prompt).collect();
    prompts.sort_unstable();
    prompts.dedup();
    let encoding = fit_encoding(
        &prompts
            .iter()
            .map(|prompt| &features[*prompt])
            .collect::<Vec<&Features>>(),
    );
    let tasks = dataset::tasks(
        &prompts
            .iter()
            .map(|prompt| &outcomes.prompts[*prompt])
            .collect::<Vec<&Prompt>>(),
    );
    let rows = |split| dataset::rows(outcomes, features, models, split, &encoding, &tasks);
    let (train, validation) = (rows(Split::Train), rows(Split::Validation));
    for (split, found, least) in [
        ("train", train.len(), LEAST_TRAIN),
        ("validation", validation.len(), LEAST_VALIDATION),
    ] {
        if found < least {
            return Err(TrainError::TooFewRows { split, found, least });
        }
    }
    let lengths = (0..models.len()).map(|tier| length_scale(&train, tier)).collect();
    Ok(Prepared {
        catalog,
        encoding,
        tasks,
        train,
        validation,
        lengths,
    })
}

fn raw_of(network: &Ensemble, rows: &[Row], device: &Device) -> Vec<Raw> {
    rows.par_iter()
        .map(|row| raw(&network.members, &row.encoded, device))
        .collect()
}

fn calibrate_tier(prepared: &Prepared, features: &[Features], validation: &[Raw], tier: usize) -> TierCalibration {
    let pairs: Vec<(f64, f64)> = prepared
        .train
        .iter()
        .filter_map(|row| Some((our_tokens(&features[row.prompt]), row.answers[tier]?.input_tokens?)))
        .collect();
    let (input_tokens_factor, input_tokens_offset) = fit_input_tokens(&pairs);
    let LengthScale {
        mean: length_mean,
        std: length_std,
    } = prepared.lengths[tier];
    let start = TierCalibration {
        length_mean,
        length_std,
        input_tokens_factor,
        input_tokens_offset,
        ..TierCalibration::IDENTITY
    };
    let with_length = fit_length(validation, &prepared.validation, tier, start);
    fit_quality(validation, &prepared.validation, tier, with_length)
}

fn our_tokens(features: &Features) -> f64 {
    f64::from(features.ask_tokens) + f64::from(features.context_tokens)
}

fn forecasts(
    catalog: &Catalog,
    tiers: &[TierCalibration],
    features: &[Features],
    rows: &[Row],
    raw: &[Raw],
) -> Vec<Vec<Forecast>> {
    let of_row = |(row, raw): (&Row, &Raw)| {
        let tiers = catalog.tiers().iter().zip(tiers).enumerate();
        tiers
            .map(|(tier_idx, (tier, fit))| forecast_of(tier, tier_idx, fit, raw, &features[row.prompt]))
            .collect()
    };
    rows.iter().zip(raw).map(of_row).collect()
}

fn validation_figures(curves: &[Epoch], forecasts: &[Vec<Forecast>], rows: &[Row]) -> BTreeMap<String, f64> {
    let best: Vec<f64> = curves
        .iter()
        .filter(|epoch| epoch.best && epoch.phase == Phase::Quality)
        .map(|epoch| epoch.validation_score)
        .collect();
    let mut squares = Vec::new();
    for (forecast, row) in forecasts.iter().zip(rows) {
        for (forecast, answer) in forecast.iter().zip(&row.answers) {
            squares.extend(answer.map(|answer| (forecast.quality.mean() - answer.score).powi(2)));
        }
    }
    BTreeMap::from([
        (
            "crps_of_best_member".to_owned(),
            best.into_iter().fold(f64::INFINITY, f64::min),
        ),
        (
            "brier".to_owned(),
            squares.iter().sum::<f64>() / squares.len().max(1) as f64,
        ),
    ])
}

fn provenance(
    outcomes: &Outcomes,
    models: &[usize],
    prepared: &Prepared,
    options: &TrainOptions,
    validation: BTreeMap<String, f64>,
) -> Provenance {
    Provenance {
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: options.fit.seed,
        device: format!("{:?}", options.device).to_lowercase(),
        encoder: options.encoder.clone(),
        data: options.data.clone(),
        counts: BTreeMap::from([
            ("train_prompts".to_owned(), prepared.train.len()),
            ("validation_prompts".to_owned(), prepared.validation.len()),
            ("known_ngrams".to_owned(), prepared.encoding.ngram_hashes.len()),
        ]),
        tasks: prepared.tasks.clone(),
        validation,
        notes: notes(outcomes, models, prepared, options),
    }
}

/// What was masked, per tier.
fn notes(outcomes: &Outcomes, models: &[usize], prepared: &Prepared, options: &TrainOptions) -> Vec<String> {
    let mut notes = Vec::new();
    for (tier, name) in options.tiers.iter().enumerate() {
        if prepared.lengths[tier].std == 0.0 {
            notes.push(format!(
                "{name}: output tokens are absent or constant; masked in the cost head"
            ));
        }
        let mut partial: Vec<CostKind> = outcomes
            .outcomes
            .iter()
            .filter(|row| row.model == models[tier] && !row.cost_kind.is_whole())
            .map(|row| row.cost_kind)
            .collect();
        partial.sort_unstable();
        partial.dedup();
        if !partial.is_empty() {
            let kinds: Vec<String> = partial.iter().map(|kind| kind.name().to_owned()).collect();
            notes.push(format!(
                "{name}: rows with partial cost ({}) are masked in the cost head",
                kinds.join(", ")
            ));
        }
    }
    notes
}
