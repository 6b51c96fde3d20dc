//! `quickstart`: train, evaluate, report, serve, on the reference data.

use std::path::{Path, PathBuf};

use tiercast_evaluation::render;
use tiercast_server::settings::Settings;

use crate::arguments::{CertifyArguments, QuickstartArguments, RowsArguments, TrainArguments, UsageError};
use crate::commands::{CheckpointEvaluation, evaluate_checkpoint, train_checkpoint};
use crate::encoders::CACHE;
use crate::output::print;
use crate::progress::say;
use crate::serve;

/// The tier pool of the first run: clearly different prices, every prompt answered by all.
const TIERS: [&str; 5] = [
    "gemini-1.5-pro-002",
    "Meta-Llama-3.1-70B-Instruct",
    "gemini-1.5-flash-002",
    "Meta-Llama-3.1-8B-Instruct",
    "mathstral-7B",
];

/// Runs everything.
pub(crate) fn run(arguments: &QuickstartArguments) -> anyhow::Result<()> {
    let outcomes = arguments.data.join("mmlu_pro.parquet");
    if !outcomes.is_file() {
        let what = format!(
            "{} is not there: run this in the checkout, or name the folder with --data",
            outcomes.display()
        );
        return Err(UsageError(what).into());
    }
    if !arguments.no_serve {
        // An address that will be refused is refused before a minute of work.
        Settings::default().listening_on(arguments.listen)?;
    }
    let checkpoint = arguments.out.join("checkpoint");
    say(&format!("training on {} ({} tiers)", outcomes.display(), TIERS.len()));
    let manifest = train_checkpoint(&TrainArguments {
        rows: rows(&outcomes),
        tiers: Some(TIERS.map(str::to_owned).to_vec()),
        out: checkpoint.clone(),
        fit: arguments.fit.clone(),
        certify: CertifyArguments::NOTHING,
        cascade: false,
        cascade_keeps: 0.99,
        cascade_samples: 1,
        replies: Vec::new(),
    })?;
    let report = evaluate_checkpoint(&CheckpointEvaluation {
        checkpoint: checkpoint.clone(),
        rows: rows(&outcomes),
        replies: Vec::new(),
        split: tiercast_records::outcomes::Split::Test,
        out: arguments.out.clone(),
        replicates: 1000,
        seed: arguments.fit.seed,
        device: arguments.fit.device,
    })?;
    print(&render::table(&report));
    print(&format!("checkpoint {} in {}", manifest.id, checkpoint.display()));
    print(&format!("report: {}", arguments.out.join("report.html").display()));
    if arguments.no_serve {
        return Ok(());
    }
    serve::serve(&checkpoint, None, Some(arguments.listen), arguments.fit.device)
}

fn rows(outcomes: &Path) -> RowsArguments {
    RowsArguments {
        outcomes: vec![outcomes.to_owned()],
        features: None,
        cache: PathBuf::from(CACHE),
    }
}
