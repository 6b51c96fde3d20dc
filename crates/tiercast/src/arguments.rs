//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tiercast_predictor::checkpoint::Loss;
use tiercast_predictor::device::DeviceKind;
use tiercast_records::outcomes::Split;
use tiercast_replay::faults::FaultKind;
use tiercast_trainer::certify::Promise;
use tiercast_trainer::train::SWITCHES;

use crate::encoders::CACHE;
use crate::observing::span::Span;
use crate::observing::{DriftArguments, ForgetArguments, ReportArguments};
use crate::replay::parse_fault;

/// Where configuration is, unless another file is named.
pub(crate) const CONFIG: &str = "tiercast.toml";

/// Routes each request to the cheapest model tier that is good enough.
#[derive(Debug, Parser)]
#[command(name = "tiercast", version, about, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Stop as for SIGTERM when standard input closes: how a recipe's servers end with it, however it ends.
    #[arg(long, global = true, hide = true)]
    pub(crate) until_stdin_closes: bool,
    /// Be killed when standard input closes: how a recipe's step goes down with it.
    #[arg(long, global = true, hide = true)]
    pub(crate) killed_with_stdin: bool,
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
    /// Ask every tier every prompt of a file, and keep what they say: resumable and budgeted.
    ///
    /// Every result is in OUT/ledger.sqlite before it counts, so the same command goes on where a run
    /// was stopped or killed. Prompts may come and go between runs, and what they are judged by may be
    /// mended: only what has no reply yet is asked. At the end OUT/completions.parquet holds every
    /// reply. Exit code 1 where calls are left.
    Collect(CollectArguments),
    /// Score what was collected, measure the judges, and write the outcome file that `train` takes.
    ///
    /// `judge` in the config says which judge scores which prompts: exact match, numbers, regular
    /// expressions, JSON schemas, commands, and models that score by a rubric or compare in pairs.
    /// Models have to pass [judge.gate]: agreement with themselves, verdicts that can be read, and
    /// answers of known worth; exit code 1 where one does not, where its endpoint cannot be reached, or
    /// where the run was stopped. Verdicts are kept in RUN/ledger.sqlite and never paid for twice; a
    /// changed rubric or reference starts anew.
    ///
    /// With --journal a sample of what a server answered is judged instead, where the journal keeps text, by judges
    /// that need no reference. Verdicts go into the journal beside the users' feedback, and `report` and /v1/stats
    /// tell them apart; the server may be running. The sample is drawn by a keyed hash of the decision: the same
    /// command judges nothing twice, and a higher rate adds to what a lower one has judged.
    Judge(JudgeArguments),
    /// Write the features of every prompt of outcome files with text.
    Featurise(FeaturiseArguments),
    /// Train a checkpoint: fit on `train`, stop and calibrate on `validation`.
    Train(TrainArguments),
    /// Calibrate a checkpoint anew on the validation rows of other outcome files, without training it again.
    ///
    /// For newer traffic, and to certify a checkpoint that was trained without --certify: corrections per
    /// tier and the floors behind `auto` and `auto:cheap` are fitted, the networks stay as they are.
    Calibrate(CalibrateArguments),
    /// Add a tier to a checkpoint from few judged prompts, without training the rest again.
    #[command(subcommand)]
    Tier(TierCommand),
    /// Measure a checkpoint, or with --suite a whole protocol, against every baseline on held-out rows.
    Evaluate(EvaluateArguments),
    /// Write the predicted quality distribution of every row, for outside tools.
    Predict(PredictArguments),
    /// Decide for one prompt and show why.
    Route(RouteArguments),
    /// Divide a budget among the steps of an agent's task: a tier per step.
    ///
    /// FILE is the JSON of POST /v1/plans: {"budget_usd": 0.05, "steps": [{"id": "search", "prompt": "...",
    /// "importance": 1, "depends_on": [], "input_tokens": 900, "output_tokens": 200}, ...]}. Steps with
    /// "done_usd" are over, and what they cost is counted.
    Plan(PlanArguments),
    /// Serve decisions over HTTP.
    Serve(ServeArguments),
    /// Write, check, show and describe a tiercast.toml; make keys for it.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check config, checkpoint, keys, endpoints, address and folders, and say what to mend.
    ///
    /// A line each, with ok, warning or problem. Endpoints are asked for their list of models
    /// (GET base_url/models), with the key and for 5 s at most; nothing that costs is sent, and no key
    /// is printed. Exit code 1 where there is a problem.
    Doctor(DoctorArguments),
    /// Serve the recorded replies of an outcome file as OpenAI-compatible models, with faults if wanted.
    ///
    /// GET /v1/models, POST /v1/chat/completions, /v1/responses, /v1/messages (plain and streaming),
    /// keyed by `model` and prompt: messages and tools as a whole where the file holds those, else the
    /// last message of the user.
    /// POST /replay/faults switches faults, GET /replay/stats counts every call.
    Replay(ReplayArguments),
    /// What a journal says of a period: cost and savings, quality by the way of the answer, escalations, drift.
    Report(ReportArguments),
    /// Say what has drifted in a journal, for cron: inputs, predictions, outcomes, prices, latencies.
    ///
    /// Exit code 0 where nothing has, 3 where something has, 1 where the journal cannot be read.
    Drift(DriftArguments),
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
    /// Check an outcome file or a prompts file; every problem with its row or line and its column.
    Validate {
        /// Parquet file of outcome rows, or prompts as JSONL or Parquet: told apart by content.
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
    /// Delete what a journal keeps of a session or a cohort, and what was said of it; the server may run on.
    Forget(ForgetArguments),
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct CollectArguments {
    #[command(subcommand)]
    pub(crate) command: Option<CollectCommand>,
    /// Prompts: JSONL or Parquet, as `data validate` checks them; an outcome file will do.
    #[arg(long, required = true)]
    pub(crate) prompts: Option<PathBuf>,
    /// Tiers with their endpoints and prices.
    #[arg(long, default_value = "tiercast.toml")]
    pub(crate) config: PathBuf,
    /// Folder of the run: ledger, completions, manifest.
    #[arg(long, required = true)]
    pub(crate) out: Option<PathBuf>,
    /// Answers per prompt and tier (default: the config's, else 1).
    #[arg(long)]
    pub(crate) samples: Option<u32>,
    /// The most that all calls of the folder may cost together, earlier runs included: stops before
    /// a call that could exceed it.
    #[arg(long, value_name = "USD", value_parser = parse_amount)]
    pub(crate) max_cost_usd: Option<f64>,
    /// Print tokens and cost per tier of what is left, and send nothing.
    #[arg(long)]
    pub(crate) estimate: bool,
    /// Check config, keys and prompts, print the plan, and send nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave out prompts with a problem instead of refusing the file.
    #[arg(long)]
    pub(crate) skip_invalid: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CollectCommand {
    /// Where a run stands: done, left, cost, errors by tier and kind. Also while it is going on.
    Status {
        /// Folder of the run.
        #[arg(long)]
        out: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
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
    #[command(flatten)]
    pub(crate) certify: CertifyArguments,
    /// Learn a cascade too, from the replies in the files: how good an answer is once it has been read, which
    /// tiers to ask in which order, and when an answer is taken.
    #[arg(long)]
    pub(crate) cascade: bool,
    /// Share of the best single tier's quality that the cascade has to keep on validation.
    #[arg(long, default_value = "0.99", value_parser = parse_share, requires = "cascade")]
    pub(crate) cascade_keeps: f64,
    /// Replies that every stage but the last is asked for: whether they conclude the same tells how good the
    /// first is. Each is paid for.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16), requires = "cascade")]
    pub(crate) cascade_samples: u32,
    /// Files with the replies, several samples or log-probabilities included: the completions.parquet of
    /// `collect` (default: the outcome files).
    #[arg(long, num_args = 1.., requires = "cascade")]
    pub(crate) replies: Vec<PathBuf>,
}

/// A guarantee on what cheaper tiers lose.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Guarantee")]
pub(crate) struct CertifyArguments {
    /// Certify that at most this share of the requests sent to a cheaper tier than the dearest is lost, and
    /// find the boldest floor for which that holds: the model name `auto:certified`. Half of the validation
    /// rows are kept apart for it.
    #[arg(long, value_name = "SHARE", value_parser = parse_inner_share)]
    pub(crate) certify: Option<f64>,
    /// Probability with which the certificate may be wrong.
    #[arg(long, default_value = "0.1", value_parser = parse_inner_share, requires = "certify")]
    pub(crate) certify_delta: f64,
    /// What counts as lost: `missed` is an answer below the target, `avoidable` one where the dearest tier
    /// would have reached it.
    #[arg(long, default_value = "missed", value_parser = parse_loss, requires = "certify")]
    pub(crate) certify_loss: Loss,
    /// Quality that an answer has to reach.
    #[arg(long, default_value = "0.5", value_parser = parse_share, requires = "certify")]
    pub(crate) certify_target: f64,
}

impl CertifyArguments {
    /// No guarantee.
    pub(crate) const NOTHING: Self = Self {
        certify: None,
        certify_delta: 0.1,
        certify_loss: Loss::Missed,
        certify_target: 0.5,
    };

    /// What to certify, where anything is.
    pub(crate) fn promise(&self) -> Option<Promise> {
        self.certify.map(|alpha| Promise {
            loss: self.certify_loss,
            target: self.certify_target,
            alpha,
            delta: self.certify_delta,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct CalibrateArguments {
    /// Checkpoint folder.
    #[arg(long)]
    pub(crate) checkpoint: PathBuf,
    #[command(flatten)]
    pub(crate) rows: RowsArguments,
    /// Folder to write; an older checkpoint there is replaced when the new one is whole.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Backend that the weights are read on.
    #[arg(long, default_value = "flex")]
    pub(crate) device: DeviceKind,
    #[command(flatten)]
    pub(crate) certify: CertifyArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TierCommand {
    /// Write the prompts whose outcomes would tell most of a new tier, the most telling one first: 50 to 200
    /// of them, to be asked by `collect` and scored by `judge`.
    Choose(TierChooseArguments),
    /// Fit a new tier on its judged prompts, and save a checkpoint that has it.
    ///
    /// Its expected quality becomes a function of what is expected of the trained tiers, which stay as they
    /// are. Rows of `train` and `validation` are used.
    Add(TierAddArguments),
}

#[derive(Debug, Args)]
pub(crate) struct TierChooseArguments {
    /// Checkpoint folder.
    #[arg(long)]
    pub(crate) checkpoint: PathBuf,
    #[command(flatten)]
    pub(crate) rows: RowsArguments,
    /// Prompts to choose.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) n: u32,
    /// File to write: JSONL, as `collect` takes it.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Backend that the weights are read on.
    #[arg(long, default_value = "flex")]
    pub(crate) device: DeviceKind,
}

#[derive(Debug, Args)]
pub(crate) struct TierAddArguments {
    /// Checkpoint folder.
    #[arg(long)]
    pub(crate) checkpoint: PathBuf,
    #[command(flatten)]
    pub(crate) rows: RowsArguments,
    /// Name of the new tier, as in the outcome rows.
    #[arg(long)]
    pub(crate) tier: String,
    /// Its class (default: as in the rows): 1 frontier or reasoner, 2 mid, 3 light, 4 fine-tuned for a domain.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=4))]
    pub(crate) class: Option<u8>,
    /// Use at most this many prompts, the most telling ones.
    #[arg(long)]
    pub(crate) samples: Option<u32>,
    /// Folder to write; an older checkpoint there is replaced when the new one is whole.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Backend that the weights are read on.
    #[arg(long, default_value = "flex")]
    pub(crate) device: DeviceKind,
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
    /// Compare routing policies on one chart, every call of a cascade counted: `all`, or some by name.
    /// Writes policies.html, policies.md and policies.json, in a folder per data set where there are several.
    #[arg(long, value_delimiter = ',', conflicts_with = "suite", value_name = "NAMES")]
    pub(crate) policies: Vec<String>,
    /// Files with the replies that a cascade reads, where it reads several samples or log-probabilities
    /// (default: the outcome files).
    #[arg(long, num_args = 1.., requires = "policies")]
    pub(crate) replies: Vec<PathBuf>,
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
    /// Train once more without each view in turn, and print what each brings.
    #[arg(long, conflicts_with = "checkpoint")]
    pub(crate) ablation: bool,
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
pub(crate) struct PlanArguments {
    /// The task.
    pub(crate) file: PathBuf,
    /// Checkpoint folder.
    #[arg(long, default_value = "checkpoints/reference")]
    pub(crate) checkpoint: PathBuf,
    /// Configuration file, for tiers and prices (default: those of the checkpoint).
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Backend that the weights are read on.
    #[arg(long, default_value = "flex")]
    pub(crate) device: DeviceKind,
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
pub(crate) enum ConfigCommand {
    /// Write an example with every key and what it means, ready to serve.
    Init {
        /// File to write; one that is there stays as it is.
        #[arg(long, default_value = CONFIG)]
        out: PathBuf,
    },
    /// Check everything in a file: what `serve`, `collect` and `judge` read of it.
    ///
    /// Exit code 2 with line and mend where it does not hold. Keys are not looked for: `doctor` does.
    Validate {
        /// File to check.
        #[arg(default_value = CONFIG)]
        file: PathBuf,
        /// Check too that the tiers go with this checkpoint.
        #[arg(long)]
        checkpoint: Option<PathBuf>,
    },
    /// Print the settings in force as TOML, every default filled in, without digests of keys.
    Show {
        /// File to read.
        #[arg(default_value = CONFIG)]
        file: PathBuf,
    },
    /// Print a JSON Schema (2020-12) of the file, for editors.
    Schema,
    /// Make a random key for a client: prints it once, and the table to paste, which holds its digest.
    Key {
        /// Whose key it is: the name of its table.
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        name: String,
        /// Cohort of its requests: one of `cohorts`.
        #[arg(long)]
        cohort: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Configuration file (default: tiercast.toml, or none where that is not there).
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// Checkpoint folder.
    #[arg(long, default_value = "checkpoints/reference")]
    pub(crate) checkpoint: PathBuf,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct JudgeArguments {
    #[command(subcommand)]
    pub(crate) command: Option<JudgeCommand>,
    /// Folder of the run, as `collect --out` wrote it.
    #[arg(long, conflicts_with = "journal")]
    pub(crate) run: Option<PathBuf>,
    /// Folder of a server's journal, as `[journal]` names it: judges a sample of what was served.
    #[arg(long, conflicts_with = "outcomes")]
    pub(crate) journal: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) sample: SampleArguments,
    #[command(flatten)]
    pub(crate) span: Span,
    /// Configuration with the table `judge`.
    #[arg(long, default_value = "tiercast.toml")]
    pub(crate) config: PathBuf,
    /// Outcome file to write (default: RUN/outcomes.parquet).
    #[arg(long)]
    pub(crate) outcomes: Option<PathBuf>,
    /// The most that all verdicts of the configured judges may cost together, earlier runs included (with --journal:
    /// those of this run): stops before a call that could exceed it.
    #[arg(long, value_name = "USD", value_parser = parse_amount)]
    pub(crate) max_cost_usd: Option<f64>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What of a journal is judged, and by whom.
#[derive(Debug, Args)]
pub(crate) struct SampleArguments {
    /// With --journal: share of the answers to judge, above 0 and up to 1 (default: 0.05).
    #[arg(long, value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,
    /// With --journal: name of the judge for all of them (default: `judge.by_domain` by the request's task, else
    /// `judge.default`).
    #[arg(long, value_name = "NAME")]
    pub(crate) judge: Option<String>,
    /// With --journal: seed of the draw; another one draws another sample (default: 0).
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// With --journal: say how many answers would be judged and what that costs at most, and ask nothing.
    #[arg(long)]
    pub(crate) estimate: bool,
}

impl SampleArguments {
    /// Whether any is.
    pub(crate) fn is_given(&self) -> bool {
        self.rate.is_some() || self.judge.is_some() || self.seed.is_some() || self.estimate
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum JudgeCommand {
    /// The figures of the last `judge` as a page, with Markdown and JSON beside it.
    Report {
        /// Folder of the run.
        #[arg(long)]
        run: PathBuf,
        /// Page to write (default: RUN/judge.html).
        #[arg(long)]
        out: Option<PathBuf>,
        /// Print JSON too.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// Outcome file (Parquet) with the columns `prompt` and `response`.
    #[arg(long)]
    pub(crate) outcomes: PathBuf,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub(crate) listen: SocketAddr,
    /// Only these models (default: all in the file).
    #[arg(long, value_delimiter = ',')]
    pub(crate) models: Option<Vec<String>>,
    /// How many times faster than recorded; where no latency is, 0.2 s and 50 tokens a second are taken.
    #[arg(long, default_value_t = 1.0, value_parser = parse_speed, conflicts_with = "instant")]
    pub(crate) speed: f64,
    /// Answer without waiting.
    #[arg(long)]
    pub(crate) instant: bool,
    /// Share of calls that go wrong, by kind: `rate_limit` (429), `retry_after` (429 with Retry-After),
    /// `server_error` (500), timeout (hangs), `cut_stream`, `malformed_json`, html, `wrong_usage`,
    /// `false_usage`, `slow_drip`. May be given several times.
    #[arg(long, value_name = "KIND=SHARE", value_parser = parse_fault)]
    pub(crate) fault: Vec<(FaultKind, f64)>,
    /// Seed of the faults: the same prompt, model and attempt go wrong each time.
    #[arg(long, default_value_t = 0)]
    pub(crate) fault_seed: u64,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PipelineCommand {
    /// Run the steps of a recipe, one after the other; stops at the first that fails. Steps whose
    /// inputs and outputs have not changed since they were done are skipped.
    Run {
        /// TOML recipe.
        recipe: PathBuf,
        /// Skip nothing.
        #[arg(long)]
        again: bool,
        /// Folder that remembers which steps are done.
        #[arg(long, default_value = "runs/pipeline")]
        memory: PathBuf,
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

fn parse_speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if (1e-3..=1e6).contains(&speed) => Ok(speed),
        _ => Err("a number from 0.001 to 1000000 is expected; --instant does not wait at all".to_owned()),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| 0.0 < *rate && *rate <= 1.0);
    rate.ok_or_else(|| "a share of the answers above 0 and up to 1 is expected: 0.05 judges one in twenty".to_owned())
}

fn parse_amount(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(amount) if amount.is_finite() && amount >= 0.0 => Ok(amount),
        _ => Err("US dollars from 0 are expected".to_owned()),
    }
}

fn parse_inner_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| 0.0 < *share && *share < 1.0);
    share.ok_or_else(|| "must be a number between 0 and 1, neither of them".to_owned())
}

fn parse_loss(text: &str) -> Result<Loss, String> {
    let mut known = [Loss::Missed, Loss::Avoidable].into_iter();
    let found = known.find(|loss| loss.name() == text);
    found.ok_or_else(|| "must be `missed` or `avoidable`".to_owned())
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a number from 0 to 1 is expected".to_owned()),
    }
}
