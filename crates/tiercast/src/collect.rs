//! `tiercast collect` and `tiercast collect status`: every prompt to every tier, and where that stands.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tiercast_collect::CollectError;
use tiercast_collect::config::{CollectConfig, TierConfig};
use tiercast_collect::estimate::estimate;
use tiercast_collect::export::export;
use tiercast_collect::judge::own::PromptJudges;
use tiercast_collect::ledger::Ledger;
use tiercast_collect::run::{Run, Stop, Summary, begin, run};
use tiercast_collect::status::status;
use tiercast_records::prompts::{self, Prompts};
use tiercast_upstream::client::Client;
use tiercast_upstream::upstream::{Secret, Upstream};
use tokio::sync::watch;

use crate::arguments::{CollectArguments, CollectCommand, UsageError};
use crate::output::{print, print_json};
use crate::progress::{CollectProgress, say};
use crate::serve::stop_signal;

mod text;

use self::text::{estimate_text, plan_text, status_text};

/// After Ctrl-C calls in flight get this long: they are paid for.
const GRACE: Duration = Duration::from_secs(30);

/// What is left running after that is abandoned.
pub(crate) const ABANDON_AFTER: Duration = Duration::from_secs(1);

/// Runs either.
pub(crate) fn command(arguments: &CollectArguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Some(CollectCommand::Status { out, json }) => show_status(out, *json),
        None => collect(arguments),
    }
}

fn show_status(out: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let report = status(&Ledger::open(out)?)?;
    if json {
        print_json(&report)?;
    } else {
        print(status_text(&report).trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

fn collect(arguments: &CollectArguments) -> anyhow::Result<ExitCode> {
    let (Some(prompts), Some(out)) = (&arguments.prompts, &arguments.out) else {
        return Err(UsageError("--prompts and --out are needed".to_owned()).into());
    };
    let config = read_config(&arguments.config, arguments.samples)?;
    let upstreams = match arguments.estimate {
        true => Vec::new(),
        false => open_endpoints(&config.tiers)?,
    };
    let judges = read_judges(&arguments.config)?;
    let prompts = read_prompts(prompts, arguments.skip_invalid, judges)?;
    if arguments.estimate || arguments.dry_run {
        return look_ahead(arguments, &config, &prompts, out);
    }
    let (ledger, notes) = begin(out, &prompts.prompts, &config)?;
    notes.iter().for_each(|note| say(&format!("note: {note}")));
    drop(prompts);
    let summary = ask(arguments, ledger, config, upstreams)?;
    let ledger = Ledger::open(out)?;
    let has_results = summary.status.tiers.iter().any(|tier| tier.totals.n_done() > 0);
    let exported = has_results.then(|| export(&ledger, &summary.status)).transpose();
    // What happened is told before anything else goes wrong.
    let code = finish(arguments, &summary)?;
    if let Some(n_rows) = exported? {
        say(&format!(
            "{n_rows} completions written to {}",
            out.join("completions.parquet").display()
        ));
    }
    Ok(code)
}

/// Reads `tiercast.toml`; what is wrong with it is wrong usage.
pub(crate) fn read_config(path: &Path, samples: Option<u32>) -> anyhow::Result<CollectConfig> {
    CollectConfig::parse(&read_text(path)?, samples).map_err(usage(path))
}

/// The judges of the prompts: one that cannot be made is to be known before its replies are paid for.
fn read_judges(path: &Path) -> anyhow::Result<PromptJudges> {
    let folder = path.parent().unwrap_or(Path::new(""));
    PromptJudges::read(&read_text(path)?, folder).map_err(usage(path))
}

fn read_text(path: &Path) -> Result<String, UsageError> {
    std::fs::read_to_string(path).map_err(|error| UsageError(format!("reading {}: {error}", path.display())))
}

/// What is wrong with the configuration is wrong usage.
pub(crate) fn usage(config: &Path) -> impl Fn(CollectError) -> anyhow::Error {
    let name = config.display().to_string();
    move |error| match error {
        CollectError::Config(what) => UsageError(format!("{name}: {what}")).into(),
        error => error.into(),
    }
}

/// The endpoints with their keys. All that cannot be are named together, not one a try.
fn open_endpoints(tiers: &[TierConfig]) -> anyhow::Result<Vec<Upstream>> {
    let client = Client::new()?;
    let (mut upstreams, mut wrong) = (Vec::new(), Vec::new());
    for tier in tiers {
        let key = tier.endpoint.api_key_env().and_then(key_in);
        match Upstream::new(&tier.run.name, &tier.endpoint, key, &client) {
            Ok(upstream) => upstreams.push(upstream),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    match wrong.is_empty() {
        true => Ok(upstreams),
        false => Err(UsageError(wrong.join("; ")).into()),
    }
}

#[expect(clippy::disallowed_methods, reason = "read in the binary, as the lint asks")]
pub(crate) fn key_in(variable: &str) -> Option<Secret> {
    std::env::var(variable).ok().map(Secret::from)
}

fn read_prompts(path: &Path, skip_invalid: bool, mut judges: PromptJudges) -> anyhow::Result<Prompts> {
    let prompts = prompts::read_checked(path, skip_invalid, |prompt| judges.check(prompt))?;
    let report = &prompts.report;
    report
        .warnings
        .iter()
        .for_each(|warning| say(&format!("note: {warning}")));
    report
        .problems
        .iter()
        .for_each(|problem| say(&format!("skipped: {problem}")));
    let skipped = match report.n_invalid {
        0 => String::new(),
        n => format!(", {n} rows skipped because something is wrong with them"),
    };
    say(&format!(
        "{} prompts in {} ({} rows repeat one{skipped})",
        report.n_prompts,
        path.display(),
        report.n_merged
    ));
    Ok(prompts)
}

/// Prints what a run would take.
fn look_ahead(
    arguments: &CollectArguments,
    config: &CollectConfig,
    prompts: &Prompts,
    out: &Path,
) -> anyhow::Result<ExitCode> {
    let ledger = Ledger::preview(out, &prompts.prompts, &config.run_tiers())?;
    let estimate = estimate(&ledger, config)?;
    if arguments.json {
        print_json(&estimate)?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.dry_run {
        print(plan_text(config).trim_end());
    }
    print(estimate_text(&estimate).trim_end());
    if let Some(limit) = arguments.max_cost_usd
        && estimate.most_cost_usd > limit
    {
        say(&format!("--max-cost-usd {limit} may stop the run before its end"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks what is left, with progress, until it is done or told to stop.
fn ask(
    arguments: &CollectArguments,
    ledger: Ledger,
    config: CollectConfig,
    upstreams: Vec<Upstream>,
) -> anyhow::Result<Summary> {
    let before = status(&ledger)?;
    say(&format!(
        "collecting {} of {} calls from {} tiers",
        before.n_left,
        before.n_wanted,
        config.tiers.len()
    ));
    let progress = Arc::new(CollectProgress::new(before.n_left));
    let on_step = {
        let progress = Arc::clone(&progress);
        Box::new(move |step: &_| progress.step(step))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let summary = runtime.block_on(async {
        let (stop, stopped) = watch::channel(Stop::No);
        let signals = tokio::spawn(listen(stop_signal()?, stop));
        let run = Run {
            ledger,
            config,
            upstreams,
            max_cost_usd: arguments.max_cost_usd,
            on_step,
        };
        let summary = run_to_end(run, stopped).await;
        signals.abort();
        summary
    });
    runtime.shutdown_timeout(ABANDON_AFTER);
    progress.finish();
    summary
}

async fn run_to_end(to_run: Run, stopped: watch::Receiver<Stop>) -> anyhow::Result<Summary> {
    Ok(Box::pin(run(to_run, stopped)).await?)
}

/// The first signal lets calls in flight end, a second one or the end of the grace leaves them.
pub(crate) async fn listen(first: impl Future<Output = ()>, stop: watch::Sender<Stop>) {
    first.await;
    say("stopping: calls in flight are waited for, since they are paid for; Ctrl-C again leaves them");
    // Nobody listens any more when the run has just ended.
    let _ = stop.send(Stop::Finish);
    match stop_signal() {
        Ok(second) => {
            let _ = tokio::time::timeout(GRACE, second).await;
        }
        Err(_) => tokio::time::sleep(GRACE).await,
    }
    let _ = stop.send(Stop::Abandon);
    // A sender that is gone would look like a run that nobody can stop.
    std::future::pending::<()>().await;
}

/// Prints the summary. The exit code says whether anything is left, or the run was told to stop.
fn finish(arguments: &CollectArguments, summary: &Summary) -> anyhow::Result<ExitCode> {
    if arguments.json {
        print_json(summary)?;
    } else {
        print(status_text(&summary.status).trim_end());
    }
    for (tier, why) in &summary.tiers_stopped {
        say(&format!("tier `{tier}` was left alone: {why}"));
    }
    for tier in &summary.tiers_without_logprobs {
        say(&format!(
            "tier `{tier}` refuses to give log probabilities: it was asked without them"
        ));
    }
    if let Some(why) = &summary.stopped {
        say(&format!("stopped: {why}"));
    }
    if summary.n_unstored > 0 {
        say(&format!(
            "{} replies came and could not be stored; they are asked again",
            summary.n_unstored
        ));
    }
    if summary.is_complete() {
        // Who asked to stop asked what follows on this command to stop too.
        return Ok(match summary.stopped {
            None => ExitCode::SUCCESS,
            Some(_) => ExitCode::FAILURE,
        });
    }
    say(&format!(
        "{} of {} calls are left; run the same command again to go on",
        summary.status.n_left, summary.status.n_wanted
    ));
    Ok(ExitCode::FAILURE)
}
