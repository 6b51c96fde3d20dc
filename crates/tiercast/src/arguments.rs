//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tiercast_predictor::device::DeviceKind;
use tiercast_records::outcomes::Split;
use tiercast_trainer::train::SWITCHES;

use crate::encoders::CACHE;

/// Routes each request to the cheapest model tier that is good enough.
#[derive(Debug, Parser)]
#[command(name = "tiercast", version, about, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Wrong usage or configuration: exit code 2.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train on the reference data, evaluate, write a report, serve: the whole product in one command.
    Quickstart(QuickstartArguments),
    /// Look at outcome files; build the reference data.
    #[command(subcommand)]
    Data(DataCommand),
    /// Write the features of every prompt of outcome files with text.
    Featurise(FeaturiseArguments),
    /// Train a checkpoint: fit on `train`, stop and calibrate on `validation`.
    Train(TrainArguments),
    /// Measure a checkpoint, or with --suite a whole protocol, against every baseline on held-out rows.
    Evaluate(EvaluateArguments),
    /// Write the predicted quality distribution of every row, for outside tools.
    Predict(PredictArguments),
    /// Decide for one prompt and show why.
    Route(RouteArguments),
    /// Serve decisions over HTTP.
    Serve(ServeArguments),
    /// Run a recipe of stages.
    #[command(subcommand)]
    Pipeline(PipelineCommand),
}

#[derive(Debug, Args)]
pub(crate) struct QuickstartArguments {
    /// Folder of the reference data.
    #[arg(long, default_value = "datasets/reference")]
    pub(crate) data: PathBuf,
    /// Folder for checkpoint and report.
    #[arg(long, default_value = "runs/quickstart")]
    pub(crate) out: PathBuf,
    /// Address to serve on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Stop before serving.
    #[arg(long)]
    pub(crate) no_serve: bool,
    #[command(flatten)]
    pub(crate) fit: FitArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Check an outcome file; every problem with its row and column.
    Validate {
        /// Parquet file of outcome rows.
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prompts, tiers, scores, costs, and how much there is to gain from routing.
    Describe {
        /// Parquet file of outcome rows.
        file: PathBuf,
        /// Tiers to look at (default: all models in the file).
        #[arg(long, value_delimiter = ',')]
        tiers: Option<Vec<String>>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Build `datasets/reference` (figures only) from the public outcome files with text.
    Reference {
        /// Folder that holds mmlu_pro.parquet, zeroeval.parquet and routellm.parquet.
        #[arg(long)]
        from: PathBuf,
        /// Folder to write.
        #[arg(long, default_value = "datasets/reference")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FeaturiseArguments {
    /// Outcome files with a `prompt` column.
    #[arg(long, num_args = 1.., required = true)]
    pub(crate) outcomes: Vec<PathBuf>,
    /// File to write.
    #[arg(long, default_value = "features.parquet")]
    pub(crate) out: PathBuf,
    /// Text encoder: `dense` adds transformer embeddings.
    #[arg(long, default_value = "fast", value_parser = ["fast", "dense"])]
    pub(crate) encoder: String,
    /// Weights of the dense encoder (default: checkpoints/encoders/dense/model.bin of the clone).
    #[arg(long)]
    pub(crate) encoder_weights: Option<PathBuf>,
    /// Folder that keeps transformer embeddings between runs, by content and feature version.
    #[arg(long, default_value = CACHE)]
    pub(crate) cache: PathBuf,
}

/// Where rows come from.
#[derive(Debug, Args)]
pub(crate) struct RowsArguments {
    /// Outcome files (Parquet).
    #[arg(long, num_args = 1.., required = true)]
    pub(crate) outcomes: Vec<PathBuf>,
    /// Features of prompts without text (default: features.parquet beside the first outcome file).
    #[arg(long)]
    pub(crate) features: Option<PathBuf>,
    /// Folder that keeps transformer embeddings between runs, by content and feature version.
    #[arg(long, default_value = CACHE)]
    pub(crate) cache: PathBuf,
}

/// How to fit.
#[derive(Debug, Clone, Args)]
pub(crate) struct FitArguments {
    /// Seed of weights, order and dropout: the same inputs and seed give the same checkpoint.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Backend: flex, or ndarray and wgpu where built with that feature.
    #[arg(long, default_value = "flex")]
    pub(crate) device: DeviceKind,
    /// Text encoder: `fast` is a static embedding (microseconds), `dense` adds a transformer
    /// (milliseconds).
    #[arg(long, default_value = "fast", value_parser = ["fast", "dense"])]
    pub(crate) encoder: String,
    /// Weights of the dense encoder (default: checkpoints/encoders/dense/model.bin of the clone).
    #[arg(long)]
    pub(crate) encoder_weights: Option<PathBuf>,
    /// Most passes over the training rows; training stops earlier when validation stops improving.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) epochs: Option<u32>,
    /// Networks whose distributions are averaged.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) members: Option<u32>,
    /// Views to switch off: surface, ngrams, embedding, dense, neighbours, tasks.
    #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(SWITCHES))]
    pub(crate) without: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArguments {
    #[command(flatten)]
    pub(crate) rows: RowsArguments,
    /// Tiers to learn, in the order of the catalog (default: every model in the files).
    #[arg(long, value_delimiter = ',')]
    pub(crate) tiers: Option<Vec<String>>,
    /// Folder to write; an older checkpoint there is replaced when the new one is whole.
    #[arg(long)]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) fit: FitArguments,
}

#[derive(Debug, Args)]
pub(crate) struct EvaluateArguments {
    /// Checkpoint folder.
    #[arg(long, required_unless_present = "suite", conflicts_with = "suite")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Outcome files (Parquet).
    #[arg(long, num_args = 1.., required_unless_present = "suite", conflicts_with = "suite")]
    pub(crate) outcomes: Vec<PathBuf>,
    /// Features of prompts without text (default: features.parquet beside the first outcome file).
    #[arg(long, conflicts_with = "suite")]
    pub(crate) features: Option<PathBuf>,
    /// Folder that keeps transformer embeddings between runs, by content and feature version.
    #[arg(long, default_value = CACHE)]
    pub(crate) cache: PathBuf,
    /// Rows to report on; a suite takes test or, for making choices, validation.
    #[arg(long, default_value = "test", value_parser = parse_split)]
    pub(crate) split: Split,
    /// Folder for report.html, report.md and report.json; of a suite for result.md and result.json
    /// (default: evals/results/NAME, or a folder in runs/suites for anything but all parts on test).
    #[arg(long, required_unless_present = "suite")]
    pub(crate) out: Option<PathBuf>,
    /// Bootstrap replicates behind the intervals.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(20..=100_000))]
    pub(crate) replicates: u32,
    /// Seed of the bootstrap and of the baselines; of a suite the seed of the weights.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Backend.
    #[arg(long, default_value = "flex")]
    pub(crate) device: DeviceKind,
    #[command(flatten)]
    pub(crate) suite: SuiteArguments,
}

/// A suite trains by itself.
#[derive(Debug, Args)]
#[command(next_help_heading = "Suites")]
pub(crate) struct SuiteArguments {
    /// Train and measure a suite of evals/suites by name, or `all`: ours beside all baselines.
    #[arg(long = "suite", id = "suite", value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Folder of the suites.
    #[arg(long, default_value = "evals/suites", conflicts_with = "checkpoint")]
    pub(crate) suites: PathBuf,
    /// Folder of the outcome files; what is not there is looked for in datasets/reference, and a
    /// suite whose data is in neither is skipped (an error where TIERCAST_REQUIRE names `shared`).
    #[arg(long, default_value = "../shared/data", conflicts_with = "checkpoint")]
    pub(crate) data: PathBuf,
    /// Only these parts of the suite.
    #[arg(long, value_delimiter = ',', conflicts_with = "checkpoint")]
    pub(crate) part: Vec<String>,
    /// Text encoders to train with; all are printed.
    #[arg(long, value_delimiter = ',', default_value = "fast,dense", value_parser = ["fast", "dense"], conflicts_with = "checkpoint")]
    pub(crate) encoders: Vec<String>,
    /// Measure on five folds inside the train split instead: for making choices without test rows.
    #[arg(long, conflicts_with = "checkpoint")]
    pub(crate) inner: bool,
    /// Train with this many seeds, from --seed on, and print the spread of the headline.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100), conflicts_with = "checkpoint")]
    pub(crate) seeds: u32,
    /// Train once more on outcomes permuted between prompts: what noise gives.
    #[arg(long, conflicts_with = "checkpoint")]
    pub(crate) control: Option<ControlKind>,
    /// Most passes over the training rows.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with = "checkpoint")]
    pub(crate) epochs: Option<u32>,
    /// Networks whose distributions are averaged.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64), conflicts_with = "checkpoint")]
    pub(crate) members: Option<u32>,
}

/// A control that ours has to beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ControlKind {
    /// Outcomes permuted between the prompts of a split.
    Shuffled,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArguments {
    /// Checkpoint folder.
    #[arg(long)]
    pub(crate) checkpoint: PathBuf,
    #[command(flatten)]
    pub(crate) rows: RowsArguments,
    /// Rows to predict (default: all).
    #[arg(long, value_parser = parse_split)]
    pub(crate) split: Option<Split>,
    /// Parquet file to write.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Backend that the weights are read on; predictions run in plain Rust on every one.
    #[arg(long, default_value = "flex")]
    pub(crate) device: DeviceKind,
}

#[derive(Debug, Args)]
pub(crate) struct RouteArguments {
    /// Checkpoint folder.
    #[arg(long, default_value = "checkpoints/reference")]
    pub(crate) checkpoint: PathBuf,
    /// What the user asks.
    pub(crate) prompt: String,
    /// Floor on expected quality, 0 to 1 (default: the checkpoint's `auto` level).
    #[arg(long, value_parser = parse_share)]
    pub(crate) quality: Option<f64>,
    /// Print the JSON of POST /v1/route.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Checkpoint folder.
    #[arg(long, default_value = "checkpoints/reference")]
    pub(crate) checkpoint: PathBuf,
    /// Configuration file.
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// Address to listen on (default: the config's, else 127.0.0.1:8080).
    #[arg(long)]
    pub(crate) listen: Option<SocketAddr>,
    /// Backend that the weights are read on; predictions run in plain Rust on every one.
    #[arg(long, default_value = "flex")]
    pub(crate) device: DeviceKind,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PipelineCommand {
    /// Run the steps of a recipe, one after the other; stops at the first that fails.
    Run {
        /// TOML recipe.
        recipe: PathBuf,
    },
}

fn parse_split(name: &str) -> Result<Split, String> {
    match name {
        "train" => Ok(Split::Train),
        "validation" => Ok(Split::Validation),
        "test" => Ok(Split::Test),
        "holdout" => Ok(Split::Holdout),
        _ => Err("a split is one of train, validation, test, holdout".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a number from 0 to 1 is expected".to_owned()),
    }
}
