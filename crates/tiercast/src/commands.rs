//! What each subcommand does: read, call the stage, write, say what happened.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use tiercast_encoder::dense::DenseEncoder;
use tiercast_evaluation::evaluate::evaluate;
use tiercast_evaluation::render;
use tiercast_evaluation::report::{CheckpointInfo, Report};
use tiercast_evaluation::study::{Inputs, slices_of};
use tiercast_predictor::checkpoint::{self, Contents, DataFile, Manifest};
use tiercast_predictor::device::DeviceKind;
use tiercast_predictor::features::FEATURE_VERSION;
use tiercast_predictor::network::DEFAULT_MEMBERS;
use tiercast_predictor::predictor::Predictor;
use tiercast_records::disk::sha256_of_file;
use tiercast_records::features::{self, FeatureFile, Features};
use tiercast_records::outcomes::{self, Outcomes, ReadOptions, Split};
use tiercast_records::predictions::{self, Prediction};
use tiercast_routing::distribution::GRID;
use tiercast_trainer::card::card;
use tiercast_trainer::featurise::{Dense, features_of};
use tiercast_trainer::fit::FitConfig;
use tiercast_trainer::recalibrate::recalibrate;
use tiercast_trainer::train::{TrainOptions, train};

use crate::arguments::{
    CalibrateArguments, Command, DataCommand, EvaluateArguments, FeaturiseArguments, FitArguments, PipelineCommand,
    PredictArguments, RowsArguments, TrainArguments, UsageError,
};
use crate::encoders::Cache;
use crate::output::print;
use crate::progress::{TrainingProgress, say};
use crate::{
    collect, config, data, doctor, encoders, judge, observing, pipeline, plan, policies, quickstart, reference, replay,
    replies, route, serve, suite, tier,
};

/// Costs below this are shown as this: a tier is never free in `predict`.
const LEAST_COST_USD: f64 = 1e-9;

/// Runs a subcommand.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Quickstart(arguments) => quickstart::run(&arguments)?,
        Command::Data(DataCommand::Validate { file, json }) => {
            return Ok(if data::validate(&file, json)? {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Command::Data(DataCommand::Describe { file, tiers, json }) => data::describe(&file, tiers, json)?,
        Command::Data(DataCommand::Reference { from, out }) => reference::build(&from, &out)?,
        Command::Collect(arguments) => return collect::command(&arguments),
        Command::Judge(arguments) => return judge::command(&arguments),
        Command::Featurise(arguments) => featurise(&arguments)?,
        Command::Train(arguments) => train_checkpoint(&arguments).map(|_| ())?,
        Command::Calibrate(arguments) => calibrate(&arguments)?,
        Command::Tier(command) => tier::run(&command)?,
        Command::Evaluate(arguments) => evaluate_command(arguments)?,
        Command::Predict(arguments) => predict(&arguments)?,
        Command::Route(arguments) => {
            route::route(
                &arguments.checkpoint,
                &arguments.prompt,
                arguments.quality,
                arguments.json,
                DeviceKind::Flex,
            )?;
        }
        Command::Plan(arguments) => plan::run(&arguments)?,
        Command::Report(arguments) => observing::report(&arguments)?,
        Command::Drift(arguments) => return observing::drift_command(&arguments),
        Command::Data(DataCommand::Forget(arguments)) => observing::forget_command(&arguments)?,
        Command::Serve(arguments) => {
            serve::serve(
                &arguments.checkpoint,
                arguments.config.as_deref(),
                arguments.listen,
                arguments.device,
            )?;
        }
        Command::Pipeline(PipelineCommand::Run { recipe, again, memory }) => {
            return pipeline::run(&recipe, again, &memory);
        }
        Command::Config(command) => config::run(&command)?,
        Command::Doctor(arguments) => return doctor::run(&arguments),
        Command::Replay(arguments) => replay::replay(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Outcomes and, parallel to their prompts, features.
pub(crate) struct Rows {
    pub(crate) outcomes: Outcomes,
    pub(crate) features: Vec<Features>,
}

/// Reads rows; `tiers` and `splits` narrow them.
pub(crate) fn read_rows(
    arguments: &RowsArguments,
    tiers: Option<Vec<String>>,
    splits: Option<Vec<Split>>,
    dense: Option<&DenseEncoder>,
) -> anyhow::Result<Rows> {
    // The text is not needed again; for large files it is most of the memory.
    let Rows { outcomes, features } = read_rows_with_text(arguments, tiers, splits, dense)?;
    Ok(Rows {
        outcomes: outcomes.without_text(),
        features,
    })
}

/// The same with the text of the prompts, where there is any.
pub(crate) fn read_rows_with_text(
    arguments: &RowsArguments,
    tiers: Option<Vec<String>>,
    splits: Option<Vec<Split>>,
    dense: Option<&DenseEncoder>,
) -> anyhow::Result<Rows> {
    let options = ReadOptions {
        with_text: true,
        models: tiers,
        splits,
    };
    let outcomes = outcomes::read(&arguments.outcomes, &options)?;
    let file = read_features(arguments, &outcomes)?;
    let features = features_with(&outcomes, file.as_ref(), dense, &arguments.cache)?;
    Ok(Rows { outcomes, features })
}

/// Features of all prompts; transformer embeddings are made once and kept in `cache`.
pub(crate) fn features_with(
    outcomes: &Outcomes,
    file: Option<&FeatureFile>,
    dense: Option<&DenseEncoder>,
    cache: &Path,
) -> anyhow::Result<Vec<Features>> {
    let Some(encoder) = dense else {
        return Ok(features_of(outcomes, file, &mut Dense::default())?);
    };
    let (on_disk, cache) = Cache::open(cache);
    let mut dense = Dense {
        encoder: Some(encoder),
        cache,
    };
    let features = features_of(outcomes, file, &mut dense)?;
    on_disk.save(&dense.cache);
    Ok(features)
}

fn read_features(arguments: &RowsArguments, outcomes: &Outcomes) -> anyhow::Result<Option<FeatureFile>> {
    let beside = || arguments.outcomes[0].with_file_name("features.parquet");
    let path = match &arguments.features {
        Some(path) => path.clone(),
        None if outcomes.prompts.iter().all(|prompt| prompt.text.is_some()) => return Ok(None),
        None if beside().is_file() => beside(),
        None => return Ok(None),
    };
    Ok(Some(features::read(&path)?))
}

fn featurise(arguments: &FeaturiseArguments) -> anyhow::Result<()> {
    let options = ReadOptions {
        with_text: true,
        models: None,
        splits: None,
    };
    let outcomes = outcomes::read(&arguments.outcomes, &options)?;
    let dense = encoders::load(&arguments.encoder, arguments.encoder_weights.as_deref())?;
    let encoder = dense.as_ref().map(|dense| &dense.encoder);
    let features = features_with(&outcomes, None, encoder, &arguments.cache)?;
    let rows: Vec<(String, Features)> = outcomes
        .prompts
        .iter()
        .map(|prompt| prompt.prompt_id.clone())
        .zip(features)
        .collect();
    features::write(&arguments.out, FEATURE_VERSION, &rows)?;
    say(&format!(
        "features of {} prompts written to {}",
        rows.len(),
        arguments.out.display()
    ));
    Ok(())
}

/// Trains and saves; returns the manifest.
pub(crate) fn train_checkpoint(arguments: &TrainArguments) -> anyhow::Result<Manifest> {
    checkpoint::prepare(&arguments.out)?;
    let splits = Some(vec![Split::Train, Split::Validation]);
    let dense = encoders::load(&arguments.fit.encoder, arguments.fit.encoder_weights.as_deref())?;
    let encoder = dense.as_ref().map(|dense| &dense.encoder);
    let tiers = arguments.tiers.clone();
    let rows = match arguments.cascade {
        true => read_rows_with_text(&arguments.rows, tiers, splits, encoder)?,
        false => read_rows(&arguments.rows, tiers, splits, encoder)?,
    };
    tell_of_score_kinds(&rows.outcomes);
    let named = train_options(arguments, &rows.outcomes)?;
    if arguments.cascade && named.tiers.len() < 2 {
        let what = "--cascade: one tier is no cascade; name two tiers or more in --tiers, or leave it out";
        return Err(UsageError(what.to_owned()).into());
    }
    let replies = match arguments.cascade {
        true => Some(replies::read(
            if arguments.replies.is_empty() {
                &arguments.rows.outcomes
            } else {
                &arguments.replies
            },
            &rows.outcomes,
            &named.tiers,
            replies::Asking {
                samples: arguments.cascade_samples as usize,
                kept: arguments.cascade_keeps,
            },
        )?),
        false => None,
    };
    let options = TrainOptions {
        replies,
        encoder_weights: dense.map(|dense| dense.weights),
        ..named
    };
    let bar = TrainingProgress::new(options.fit.max_epochs);
    let trained = train(&rows.outcomes, &rows.features, &options, &mut |epoch| bar.epoch(epoch))?;
    bar.finish();
    let curves = serde_json::to_string_pretty(&trained.curves)?;
    let manifest = checkpoint::save(&arguments.out, &trained.contents, &curves, &card(&trained.contents))?;
    for note in &trained.contents.provenance.notes {
        say(&format!("note: {note}"));
    }
    tell_certificate(&trained.contents);
    if let Some(cascade) = &trained.contents.cascade {
        say(&cascade.sentence());
    }
    say(&format!(
        "checkpoint {} saved to {}",
        manifest.id,
        arguments.out.display()
    ));
    Ok(manifest)
}

fn tell_certificate(contents: &Contents) {
    if let Some(certificate) = &contents.calibration.certificate {
        say(&certificate.sentence());
    }
}

fn calibrate(arguments: &CalibrateArguments) -> anyhow::Result<()> {
    checkpoint::prepare(&arguments.out)?;
    let opening = || format!("opening checkpoint {}", arguments.checkpoint.display());
    let (manifest, contents) = checkpoint::open(&arguments.checkpoint).with_context(opening)?;
    let curves = std::fs::read_to_string(arguments.checkpoint.join("curves.json")).with_context(opening)?;
    let predictor = Predictor::new(manifest, contents.clone(), arguments.device).with_context(opening)?;
    let tiers = predictor
        .catalog()
        .tiers()
        .iter()
        .map(|tier| tier.name.clone())
        .collect();
    let splits = Some(vec![Split::Validation]);
    let rows = read_rows(&arguments.rows, Some(tiers), splits, predictor.dense_encoder())?;
    let contents = recalibrate(
        contents,
        &predictor,
        &rows.outcomes,
        &rows.features,
        arguments.certify.promise(),
    )?;
    let manifest = checkpoint::save(&arguments.out, &contents, &curves, &card(&contents))?;
    tell_certificate(&contents);
    let levels = contents.calibration.service_levels;
    say(&format!(
        "checkpoint {} saved to {}; floors: auto {:.3}, auto:cheap {:.3}",
        manifest.id,
        arguments.out.display(),
        levels.auto,
        levels.cheap
    ));
    Ok(())
}

/// Several judges in one file: tiers of one prompt are always judged alike, so decisions compare what
/// compares; means over prompts mix the judges' scales.
fn tell_of_score_kinds(outcomes: &Outcomes) {
    if outcomes.score_kinds.len() > 1 {
        say(&format!(
            "note: scores of {} kinds ({}) are taken together: the quality of a prompt is on the scale of its own judge, and \
             means over prompts mix them",
            outcomes.score_kinds.len(),
            outcomes.score_kinds.join(", ")
        ));
    }
}

fn train_options(arguments: &TrainArguments, outcomes: &Outcomes) -> anyhow::Result<TrainOptions> {
    let all = || outcomes.models.iter().map(|model| model.name.clone()).collect();
    let FitArguments {
        seed,
        device,
        encoder,
        encoder_weights: _,
        epochs,
        members,
        without,
    } = &arguments.fit;
    let mut fit = FitConfig {
        seed: *seed,
        ..FitConfig::default()
    };
    if let Some(epochs) = epochs {
        fit.max_epochs = *epochs as usize;
    }
    Ok(TrainOptions {
        tiers: arguments.tiers.clone().unwrap_or_else(all),
        encoder: encoder.clone(),
        encoder_weights: None,
        device: *device,
        n_members: members.map_or(DEFAULT_MEMBERS, |members| members as usize),
        off: without.clone(),
        promise: arguments.certify.promise(),
        replies: None,
        fit,
        data: arguments
            .rows
            .outcomes
            .iter()
            .map(|path| data_file(path))
            .collect::<anyhow::Result<_>>()?,
    })
}

fn data_file(path: &Path) -> anyhow::Result<DataFile> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(DataFile {
        file,
        sha256: sha256_of_file(path)?,
    })
}

/// What to measure a checkpoint on.
pub(crate) struct CheckpointEvaluation {
    pub(crate) checkpoint: PathBuf,
    pub(crate) rows: RowsArguments,
    /// Of a cascade; none: the rows'.
    pub(crate) replies: Vec<PathBuf>,
    pub(crate) split: Split,
    pub(crate) out: PathBuf,
    pub(crate) replicates: u32,
    pub(crate) seed: u64,
    pub(crate) device: DeviceKind,
}

/// A suite where one is named, else a checkpoint.
fn evaluate_command(arguments: EvaluateArguments) -> anyhow::Result<()> {
    if let Some(name) = &arguments.suite.name {
        return suite::run(&arguments, name);
    }
    let (Some(checkpoint), Some(out)) = (arguments.checkpoint, arguments.out) else {
        return Err(UsageError("--checkpoint and --out are needed, or --suite".to_owned()).into());
    };
    let policies = arguments.policies;
    let evaluation = CheckpointEvaluation {
        checkpoint,
        rows: RowsArguments {
            outcomes: arguments.outcomes,
            features: arguments.features,
            cache: arguments.cache,
        },
        replies: arguments.replies,
        split: arguments.split,
        out,
        replicates: arguments.replicates,
        seed: arguments.seed,
        device: arguments.device,
    };
    if policies.is_empty() {
        print(&render::table(&evaluate_checkpoint(&evaluation)?));
        return Ok(());
    }
    policies::compare(&evaluation, &policies)
}

/// Evaluates and writes the report; returns it.
pub(crate) fn evaluate_checkpoint(arguments: &CheckpointEvaluation) -> anyhow::Result<Report> {
    let predictor = open(&arguments.checkpoint, arguments.device)?;
    let tiers = predictor
        .catalog()
        .tiers()
        .iter()
        .map(|tier| tier.name.clone())
        .collect();
    let rows = read_rows(&arguments.rows, Some(tiers), None, predictor.dense_encoder())?;
    tell_of_score_kinds(&rows.outcomes);
    say(&format!("predicting {} prompts", rows.outcomes.prompts.len()));
    let (forecasts, evidence): (Vec<_>, Vec<_>) = predictor
        .assess(&rows.features)
        .into_iter()
        .map(|assessment| (assessment.forecasts, assessment.evidence))
        .unzip();
    let levels = predictor.service_levels();
    let inputs = Inputs {
        catalog: predictor.catalog(),
        outcomes: &rows.outcomes,
        features: &rows.features,
        forecasts: &forecasts,
        evidence: Some(&evidence),
        split: arguments.split,
        seed: arguments.seed,
        n_bootstrap: arguments.replicates as usize,
        checkpoint: checkpoint_info(&predictor),
        auto_floor: levels.auto,
        cheap_floor: levels.cheap,
        slices: slices_of(&rows.outcomes),
    };
    let report = evaluate(&inputs, &say)?;
    render::write(&report, &arguments.out)
        .with_context(|| format!("writing the report to {}", arguments.out.display()))?;
    say(&format!(
        "report written to {}",
        arguments.out.join("report.html").display()
    ));
    Ok(report)
}

pub(crate) fn checkpoint_info(predictor: &Predictor) -> CheckpointInfo {
    let provenance = &predictor.manifest().provenance;
    CheckpointInfo {
        id: predictor.id().to_owned(),
        n_params: predictor.n_params(),
        encoder: provenance.encoder.clone(),
        commit: format!("tiercast {}", provenance.code_version),
        data_hash: provenance
            .data
            .iter()
            .map(|data| {
                format!(
                    "{} (sha256 {}...)",
                    data.file,
                    data.sha256.get(..12).unwrap_or_default()
                )
            })
            .collect::<Vec<_>>()
            .join(", "),
    }
}

pub(crate) fn open(folder: &Path, device: DeviceKind) -> anyhow::Result<Predictor> {
    Predictor::open(folder, device).with_context(|| format!("opening checkpoint {}", folder.display()))
}

fn predict(arguments: &PredictArguments) -> anyhow::Result<()> {
    let predictor = open(&arguments.checkpoint, arguments.device)?;
    let splits = arguments.split.map(|split| vec![split]);
    let rows = read_rows(&arguments.rows, None, splits, predictor.dense_encoder())?;
    let forecasts = predictor.forecast(&rows.features);
    let tiers = predictor.catalog().tiers();
    let prediction = |prompt_id: &str, tier: usize, forecast: &tiercast_routing::decide::Forecast| Prediction {
        prompt_id: prompt_id.to_owned(),
        model: tiers[tier].name.clone(),
        quality_mean: forecast.quality.mean(),
        quality_grid: GRID.to_vec(),
        quality_pmf: forecast.quality.pmf().to_vec(),
        cost_usd: forecast.cost_usd.max(LEAST_COST_USD),
        output_tokens: forecast.output_tokens,
    };
    let all = rows
        .outcomes
        .prompts
        .iter()
        .zip(&forecasts)
        .flat_map(|(prompt, forecasts)| {
            let of_tier = forecasts.iter().enumerate();
            of_tier.map(|(tier, forecast)| prediction(&prompt.prompt_id, tier, forecast))
        });
    let n_rows = predictions::write(&arguments.out, all)?;
    say(&format!("{n_rows} predictions written to {}", arguments.out.display()));
    Ok(())
}
