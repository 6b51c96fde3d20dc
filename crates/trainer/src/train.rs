//! Outcomes and features to a checkpoint.

use rayon::prelude::*;
use thiserror::Error;
use tiercast_predictor::calibration::TierCalibration;
use tiercast_predictor::cascade::CascadeFit;
use tiercast_predictor::checkpoint::{Calibration, Contents, DataFile};
use tiercast_predictor::device::{DeviceError, DeviceKind};
use tiercast_predictor::features::FEATURE_VERSION;
use tiercast_predictor::member::Member;
use tiercast_predictor::model::{Model, Raw};
use tiercast_predictor::network::{Ensemble, NetworkConfig, QualityNetwork};
use tiercast_predictor::predictor::assessment_of;
use tiercast_predictor::surface::NAMES;
use tiercast_predictor::views::{Pmf, Tables};
use tiercast_predictor::weights;
use tiercast_records::features::Features;
use tiercast_records::outcomes::Outcomes;
use tiercast_records::reference::Reference;
use tiercast_routing::catalog::Catalog;
use tiercast_routing::distribution::GRID;
use tiercast_routing::evidence::Assessment;

use crate::answers::AnswersError;
use crate::calibrate::{Scored, fit_length, fit_quality, fit_service_levels};
use crate::cascade::{Forecast, Replies, fit_cascade};
use crate::certify::{Promise, certify};
use crate::classifier::fit_classifier;
use crate::dataset::{LengthScale, Row};
use crate::fit::{Epoch, FitConfig};
use crate::plans::{fit_plans, look_at_all, neighbours_of, plans, table_views};
use crate::prepare::{Prepared, find_models, prepare};
use crate::prices::fit_input_tokens;
use crate::provenance::{provenance, validation_figures};
use crate::stack::{Seen, fit_doubt, fit_pool, pooled};
use crate::tables::fit_tables;

/// What to train.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrainOptions {
    /// Names of the tiers, in the order of the outputs.
    pub tiers: Vec<String>,
    /// Text encoder, by name: `fast` or `dense`. The features have to be of it.
    pub encoder: String,
    /// Weights of the `dense` encoder, for the checkpoint.
    pub encoder_weights: Option<Vec<u8>>,
    /// Backend.
    pub device: DeviceKind,
    /// Networks in the ensemble.
    pub n_members: usize,
    /// The loop's settings, the seed among them.
    pub fit: FitConfig,
    /// Views that are switched off, of [`SWITCHES`].
    pub off: Vec<String>,
    /// Replies, for a cascade; none: there will be none.
    pub replies: Option<Replies>,
    /// What to certify, on half of the validation rows, which nothing else then sees.
    pub promise: Option<Promise>,
    /// The files the outcomes were read from, for the manifest.
    pub data: Vec<DataFile>,
}

/// Views that can be switched off.
pub const SWITCHES: [&str; 6] = ["surface", "ngrams", "embedding", "dense", "neighbours", "tasks"];

impl TrainOptions {
    /// Whether a view is switched off.
    pub fn is_off(&self, view: &str) -> bool {
        self.off.iter().any(|off| off == view)
    }
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
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is nothing to learn an estimate of answers from.
    #[error("the cascade: {0}")]
    Answers(#[from] AnswersError),
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

/// Trains on `train`, stops and calibrates on `validation`. `features` is parallel to
/// `outcomes.prompts`. `report` hears of every epoch, from several threads.
pub fn train(
    outcomes: &Outcomes,
    features: &[Features],
    options: &TrainOptions,
    report: &mut (dyn FnMut(Epoch) + Send),
) -> Result<Trained, TrainError> {
    let device = options.device.device()?;
    let models = find_models(outcomes, &options.tiers)?;
    let prepared = prepare(outcomes, features, &models, options)?;
    let config = NetworkConfig::new(
        prepared.encoding.d_dense(),
        prepared.encoding.ngram_hashes.len().max(1),
        models.len(),
        prepared.tasks.len().max(1),
    )
    .with_n_members(options.n_members);

    let plans = plans(outcomes, &prepared, options);
    let (parts, curves) = fit_plans(&plans, &prepared, &config, options, &device, report);
    let all: Vec<&Row> = prepared.train.iter().collect();
    let tables = rounded(
        &fit_tables(&all, &config, table_views(&prepared, options)),
        &config,
        &prepared,
    );
    let members: Vec<QualityNetwork> = parts[..options.n_members]
        .iter()
        .map(|part| part.network.clone())
        .collect();
    let neighbours = neighbours_of(&prepared, options, models.len());

    let (known, unknown) = look_at_all(&plans, &parts, &prepared, &neighbours, options);
    let mut model = Model {
        members: members.iter().map(Member::new).collect(),
        pool: fit_pool(&known, &unknown, &neighbours),
        tables: tables.clone(),
        neighbours,
    };
    let mut raw: Vec<Raw> = prepared
        .validation
        .par_iter()
        .map(|row| model.raw(&row.encoded))
        .collect();
    model.pool.doubt = fit_doubt(&raw, &known, &prepared.validation, !model.neighbours.is_empty());
    for raw in &mut raw {
        raw.evidence = model
            .pool
            .doubt
            .of(raw.evidence.similarity, raw.evidence.spread, &raw.quality);
    }
    let tiers = calibrate(&model, [&known, &unknown], &raw, &prepared, features);
    let assess = |rows: &[Row], raw: &[Raw]| assessments(&prepared.catalog, &tiers, features, rows, raw);
    let assessments = assess(&prepared.validation, &raw);
    let certificate = options.promise.map(|promise| {
        let rows = &prepared.certifying;
        let raw: Vec<Raw> = rows.par_iter().map(|row| model.raw(&row.encoded)).collect();
        certify(promise, &prepared.catalog, &assess(rows, &raw), rows)
    });
    let service_levels = fit_service_levels(&prepared.catalog, &assessments, &prepared.validation);
    let validation = validation_figures(&curves, &assessments, &prepared.validation);
    let provenance = provenance(outcomes, &models, &prepared, options, validation);
    let n_columns = prepared.encoding.d_dense() + prepared.encoding.ngram_hashes.len();
    let classifier = fit_classifier(&prepared.catalog, &prepared.train, &prepared.validation, n_columns);
    let cascade = match &options.replies {
        Some(replies) => cascade(
            replies,
            outcomes,
            features,
            &prepared,
            &pooled(&known, &model),
            &tiers,
            &assessments,
        )?,
        None => None,
    };
    let contents = Contents {
        weights: weights::to_bytes(&Ensemble { members }).map_err(TrainError::Weights)?,
        network: config,
        encoding: prepared.encoding,
        encoder: options.encoder_weights.clone(),
        tables,
        neighbours: model.neighbours,
        pool: model.pool,
        reference: reference(&prepared.train, features),
        cascade,
        classifier,
        catalog: prepared.catalog,
        added: Vec::new(),
        calibration: Calibration {
            grid: GRID.to_vec(),
            tiers,
            service_levels,
            certificate,
        },
        provenance,
    };
    Ok(Trained { contents, curves })
}

/// What the training prompts are like. Their tasks are left out: those that are guessed of requests differ from
/// the told ones also where nothing has drifted.
fn reference(train: &[Row], features: &[Features]) -> Option<Reference> {
    let rows = train.iter().map(|row| (&features[row.prompt], None));
    Reference::fit(FEATURE_VERSION, &NAMES, rows)
}

/// The cascade, with forecasts of training rows out of fold (`known`, before calibration) and of validation.
fn cascade(
    replies: &Replies,
    outcomes: &Outcomes,
    features: &[Features],
    prepared: &Prepared,
    known: &[(Vec<Pmf>, &Row)],
    tiers: &[TierCalibration],
    validation: &[Assessment],
) -> Result<Option<CascadeFit>, AnswersError> {
    let calibrated = |quality: &Vec<Pmf>| -> Vec<f64> {
        let all = quality.iter().zip(tiers);
        all.map(|(pmf, fit)| fit.quality(pmf, 0.0).mean()).collect()
    };
    let train = Forecast {
        rows: known.iter().map(|(_, row)| *row).collect(),
        quality: known.iter().map(|(quality, _)| calibrated(quality)).collect(),
    };
    let means = |assessment: &Assessment| -> Vec<f64> {
        assessment
            .forecasts
            .iter()
            .map(|forecast| forecast.quality.mean())
            .collect()
    };
    let validation = Forecast {
        rows: prepared.validation.iter().collect(),
        quality: validation.iter().map(means).collect(),
    };
    fit_cascade(replies, &prepared.catalog, outcomes, features, [&train, &validation])
}

/// The corrections of every tier. `seen` are the training rows out of fold: (known, unknown).
fn calibrate(
    model: &Model,
    seen: [&[Seen<'_>]; 2],
    raw: &[Raw],
    prepared: &Prepared,
    features: &[Features],
) -> Vec<TierCalibration> {
    let [known, unknown] = seen.map(|seen| pooled(seen, model));
    let of_validation = raw.iter().zip(&prepared.validation);
    let validation: Vec<(Vec<Pmf>, &Row)> = of_validation.map(|(raw, row)| (raw.quality.clone(), row)).collect();
    let of_one = |tier| {
        let [known, unknown, validation] = [&known, &unknown, &validation].map(|rows| of_tier(rows, tier));
        let start = calibrate_tokens(prepared, features, raw, tier);
        fit_quality(&known, &unknown, &validation, start)
    };
    (0..prepared.catalog.tiers().len()).map(of_one).collect()
}

fn calibrate_tokens(prepared: &Prepared, features: &[Features], validation: &[Raw], tier: usize) -> TierCalibration {
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
    fit_length(validation, &prepared.validation, tier, start)
}

/// One tier's distributions with its scores, of the rows that it answered.
fn of_tier<'a>(rows: &'a [(Vec<Pmf>, &Row)], tier: usize) -> Vec<Scored<'a>> {
    let scored = |(quality, row): &'a (Vec<Pmf>, &Row)| Some((&quality[tier], row.answers[tier]?.score));
    rows.iter().filter_map(scored).collect()
}

fn our_tokens(features: &Features) -> f64 {
    f64::from(features.ask_tokens) + f64::from(features.context_tokens)
}

fn assessments(
    catalog: &Catalog,
    tiers: &[TierCalibration],
    features: &[Features],
    rows: &[Row],
    raw: &[Raw],
) -> Vec<Assessment> {
    let rows = rows.iter().zip(raw);
    rows.map(|(row, raw)| assessment_of(catalog, tiers, raw, &features[row.prompt]))
        .collect()
}

/// The tables as a checkpoint will give them back.
fn rounded(tables: &Tables, config: &NetworkConfig, prepared: &Prepared) -> Tables {
    weights::tables_from_bytes(weights::tables_to_bytes(tables), config, &prepared.encoding)
        .expect("tables of these sizes were just written")
}
