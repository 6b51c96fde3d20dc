//! Outcomes and features to a checkpoint.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use rayon::prelude::*;
use thiserror::Error;
use tiercast_predictor::calibration::TierCalibration;
use tiercast_predictor::checkpoint::{Calibration, Contents, DataFile, Provenance};
use tiercast_predictor::device::{DeviceError, DeviceKind};
use tiercast_predictor::encoding::Encoding;
use tiercast_predictor::member::Member;
use tiercast_predictor::model::{Model, Raw};
use tiercast_predictor::neighbours::{MOST_PROMPTS, Neighbours};
use tiercast_predictor::network::{Ensemble, NetworkConfig, QualityNetwork};
use tiercast_predictor::predictor::forecast_of;
use tiercast_predictor::views::Tables;
use tiercast_predictor::weights;
use tiercast_records::features::Features;
use tiercast_records::outcomes::{CostKind, Outcome, Outcomes, Prompt, Split};
use tiercast_routing::catalog::Catalog;
use tiercast_routing::decide::Forecast;
use tiercast_routing::distribution::GRID;

use crate::calibrate::{fit_length, fit_quality, fit_service_levels};
use crate::dataset::{self, LengthScale, Row, length_scale};
use crate::fit::{Data, Epoch, FitConfig, Phase, fit_one};
use crate::folds::{fold_of, group_of, task_groups};
use crate::prices::{fit_catalog, fit_input_tokens};
use crate::stack::{Seen, Without, fit_doubt, fit_pool, look};
use crate::tables::{TableViews, fit_tables};
use crate::vocabulary::fit_encoding;

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

/// With fewer training outcomes the estimate of a tier is called the prior's.
const FEW_OUTCOMES: usize = 20;

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
    model.pool.doubt = fit_doubt(&model, &known, &prepared.validation);

    let raw: Vec<Raw> = prepared
        .validation
        .par_iter()
        .map(|row| model.raw(&row.encoded))
        .collect();
    let tiers: Vec<TierCalibration> = (0..models.len())
        .map(|tier| calibrate_tier(&prepared, features, &raw, tier))
        .collect();
    let forecasts = forecasts(&prepared.catalog, &tiers, features, &prepared.validation, &raw);
    let service_levels = fit_service_levels(&prepared.catalog, &forecasts, &prepared.validation);
    let validation = validation_figures(&curves, &forecasts, &prepared.validation);
    let provenance = provenance(outcomes, &models, &prepared, options, validation);
    let contents = Contents {
        weights: weights::to_bytes(&Ensemble { members }).map_err(TrainError::Weights)?,
        network: config,
        encoding: prepared.encoding,
        encoder: options.encoder_weights.clone(),
        tables,
        neighbours: model.neighbours,
        pool: model.pool,
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

/// Rows that one fit sees, and those it does not.
struct Plan<'a> {
    train: Vec<&'a Row>,
    validation: Vec<&'a Row>,
    /// Positions in the training rows that are left out.
    out: Vec<usize>,
    /// Whether each training row, by position, is in `train`.
    admitted: Vec<bool>,
}

/// What a fit gave.
struct Part {
    network: QualityNetwork,
    tables: Tables,
}

/// Folds of training rows that are left out in turn, to see what each view says of new rows.
const FOLDS: usize = 4;

/// First one plan per member, with all rows; then one per fold; then one per group of tasks, each
/// without those tasks.
fn plans<'a>(outcomes: &Outcomes, prepared: &'a Prepared, options: &TrainOptions) -> Vec<Plan<'a>> {
    let prompt = |row: &Row| &outcomes.prompts[row.prompt];
    let all_validation: Vec<&Row> = prepared.validation.iter().collect();
    let plan = |is_out: &dyn Fn(&Row) -> bool, validation: Vec<&'a Row>| {
        let admitted: Vec<bool> = prepared.train.iter().map(|row| !is_out(row)).collect();
        let rows = prepared.train.iter().zip(&admitted);
        Plan {
            train: rows.filter(|(_, admitted)| **admitted).map(|(row, _)| row).collect(),
            validation,
            out: (0..admitted.len()).filter(|row| !admitted[*row]).collect(),
            admitted,
        }
    };
    let members = (0..options.n_members).map(|_| plan(&|_| false, all_validation.clone()));
    let of_fold = |fold| plan(&|row| fold_of(prompt(row), FOLDS) == fold, all_validation.clone());
    let mut plans: Vec<Plan<'a>> = members.chain((0..FOLDS).map(of_fold)).collect();
    // The gate between the two sets of weights looks at neighbours.
    let groups = if options.is_off("neighbours") {
        BTreeMap::new()
    } else {
        task_groups(&prepared.train.iter().map(prompt).collect::<Vec<&Prompt>>())
    };
    for group in 0..groups.values().max().map_or(0, |last| last + 1) {
        let is_out = |row: &Row| group_of(prompt(row), &groups) == Some(group);
        // What is learnt has to stop being better on the tasks that are out.
        let stop: Vec<&Row> = all_validation.iter().copied().filter(|row| is_out(row)).collect();
        let stop = if stop.len() < LEAST_VALIDATION {
            all_validation.clone()
        } else {
            stop
        };
        plans.push(plan(&is_out, stop));
    }
    plans
}

fn fit_plans(
    plans: &[Plan<'_>],
    prepared: &Prepared,
    config: &NetworkConfig,
    options: &TrainOptions,
    device: &Device,
    report: &mut (dyn FnMut(Epoch) + Send),
) -> (Vec<Part>, Vec<Epoch>) {
    let report = Mutex::new(report);
    let fit = |(stream, plan): (usize, &Plan<'_>)| {
        let data = Data {
            train: &plan.train,
            validation: &plan.validation,
            lengths: &prepared.lengths,
        };
        let mut curve = Vec::new();
        let network = fit_one(config, &options.fit, data, stream, device, &mut |epoch| {
            curve.push(epoch);
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            report(epoch);
        });
        let tables = fit_tables(&plan.train, config, table_views(prepared, options));
        (Part { network, tables }, curve)
    };
    let (parts, curves): (Vec<Part>, Vec<Vec<Epoch>>) = side_by_side(plans, fit).into_iter().unzip();
    (parts, curves.concat())
}

/// Runs `work` on every item, one thread per core, results in order.
///
/// Each thread has a rayon pool of one for the tensors: in a shared pool a thread that waits for a
/// product would begin another item meanwhile, and memory would grow with the number of items.
fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn((usize, &T)) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let take_turns = || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        loop {
            let idx = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(idx) else { break };
            let result = match &pool {
                Ok(pool) => pool.install(|| work((idx, item))),
                Err(_) => work((idx, item)),
            };
            *results[idx].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    let n_threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(items.len());
    std::thread::scope(|scope| {
        for _ in 0..n_threads {
            scope.spawn(take_turns);
        }
    });
    let results = results
        .into_iter()
        .filter_map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner));
    results.collect()
}

fn table_views(prepared: &Prepared, options: &TrainOptions) -> TableViews {
    TableViews {
        ngrams: !prepared.encoding.ngram_hashes.is_empty(),
        n_signals: if options.is_off("surface") {
            0
        } else {
            prepared.encoding.surface_mean.len()
        },
    }
}

/// The tables as a checkpoint will give them back.
fn rounded(tables: &Tables, config: &NetworkConfig, prepared: &Prepared) -> Tables {
    weights::tables_from_bytes(weights::tables_to_bytes(tables), config, &prepared.encoding)
        .expect("tables of these sizes were just written")
}

/// Every training prompt; of very many, an even choice.
fn neighbours_of(prepared: &Prepared, options: &TrainOptions, n_tiers: usize) -> Neighbours {
    let mut neighbours = Neighbours::new(prepared.encoding.d_key(), n_tiers);
    if options.is_off("neighbours") || prepared.encoding.d_key() == 0 {
        return neighbours;
    }
    for row in kept(&prepared.train) {
        let row = &prepared.train[row];
        neighbours.push(
            &row.encoded.key,
            row.answers.iter().map(|answer| answer.map(|answer| answer.score)),
        );
    }
    neighbours
}

/// Positions of the training rows that are kept as neighbours.
fn kept(train: &[Row]) -> impl Iterator<Item = usize> {
    let n = train.len().min(MOST_PROMPTS);
    let of = train.len();
    (0..n).map(move |at| at * of / n)
}

/// Every training row, seen by the parts that were fitted without it: (left out at random, left out
/// with its task).
fn look_at_all<'a>(
    plans: &[Plan<'a>],
    parts: &'a [Part],
    prepared: &'a Prepared,
    neighbours: &Neighbours,
    options: &TrainOptions,
) -> (Vec<Seen<'a>>, Vec<Seen<'a>>) {
    let kept: Vec<usize> = kept(&prepared.train).collect();
    let seen_by = |(plan, part): (&Plan<'a>, &'a Part)| {
        let without = Without {
            network: &part.network,
            tables: &part.tables,
        };
        let rows: Vec<&Row> = plan.out.iter().map(|row| &prepared.train[*row]).collect();
        look(&without, neighbours, &rows, |position| plan.admitted[kept[position]])
    };
    let mut all = plans.iter().zip(parts).skip(options.n_members).map(seen_by);
    let known = all.by_ref().take(FOLDS).flatten().collect();
    (known, all.flatten().collect())
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
    options: &TrainOptions,
) -> Result<Prepared, TrainError> {
    let is_train =
        |outcome: &&Outcome| outcomes.prompts[outcome.prompt].split == Split::Train && models.contains(&outcome.model);
    let train_outcomes: Vec<&Outcome> = outcomes.outcomes.iter().filter(is_train).collect();
    for (model, name) in models.iter().zip(&options.tiers) {
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
        options,
    );
    let tasks = if options.is_off("tasks") {
        Vec::new()
    } else {
        tasks_of(outcomes, &prompts)
    };
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

fn tasks_of(outcomes: &Outcomes, prompts: &[usize]) -> Vec<String> {
    let prompts: Vec<&Prompt> = prompts.iter().map(|prompt| &outcomes.prompts[*prompt]).collect();
    dataset::tasks(&prompts)
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
        let n = prepared.train.iter().filter(|row| row.answers[tier].is_some()).count();
        if n < FEW_OUTCOMES {
            notes.push(format!(
                "{name}: {n} outcomes in train; its estimate is mostly the prior, which is what all tiers together did"
            ));
        }
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
