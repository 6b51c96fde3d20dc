//! `tiercast judge` and `tiercast judge report`: scores for what was collected, and how far they can
//! be trusted. [`journal`] judges what was served.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tiercast_collect::CollectError;
use tiercast_collect::export::write_manifest;
use tiercast_collect::judge::judges::{Judge, Judges, ModelJudge};
use tiercast_collect::judge::plan::Plan;
use tiercast_collect::judge::report::{self, Report};
use tiercast_collect::judge::run::{JudgeRun, Summary, judge};
use tiercast_collect::judge::settings::JudgeSettings;
use tiercast_collect::judge::{export, page};
use tiercast_collect::ledger::Ledger;
use tiercast_collect::run::Stop;
use tiercast_records::disk::write_atomically;
use tiercast_records::manifest;
use tiercast_upstream::client::Client;
use tiercast_upstream::error::UpstreamError;
use tiercast_upstream::upstream::Upstream;
use tokio::sync::watch;

use crate::arguments::{JudgeArguments, JudgeCommand, UsageError};
use crate::collect::{ABANDON_AFTER, key_in, listen, usage};
use crate::output::{print, print_json};
use crate::progress::{JudgeProgress, say};
use crate::serve::stop_signal;

mod journal;

/// Runs either.
pub(crate) fn command(arguments: &JudgeArguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Some(JudgeCommand::Report { run, out, json }) => show_report(run, out.as_deref(), *json),
        None => match &arguments.journal {
            Some(folder) => journal::judge_journal(arguments, folder),
            None => judge_run(arguments),
        },
    }
}

fn judge_run(arguments: &JudgeArguments) -> anyhow::Result<ExitCode> {
    let Some(folder) = &arguments.run else {
        let needed = "--run is needed, the folder that `tiercast collect --out` wrote, or --journal, the folder of a \
                      server's journal";
        return Err(UsageError(needed.to_owned()).into());
    };
    if arguments.sample.is_given() || arguments.span.is_given() {
        let only = "--rate, --judge, --seed, --estimate, --since and --until go with --journal";
        return Err(UsageError(only.to_owned()).into());
    }
    let ledger = Ledger::open(folder)?;
    let (settings, mut judges) = read_judges(&arguments.config).map_err(usage(&arguments.config))?;
    let plan = Plan::new(&ledger, &mut judges, &settings).map_err(usage(&arguments.config))?;
    let upstreams = open_endpoints(&judges, &plan)?;
    tell_of_other_verdicts(&ledger, &judges, &plan)?;
    let outcomes = arguments
        .outcomes
        .clone()
        .unwrap_or_else(|| folder.join(export::FILE_NAME));
    let progress = Arc::new(JudgeProgress::new());
    let on_verdict = {
        let progress = Arc::clone(&progress);
        Box::new(move |verdict: &_| progress.verdict(verdict))
    };
    let run = JudgeRun {
        ledger,
        settings,
        judges,
        plan,
        upstreams,
        max_cost_usd: arguments.max_cost_usd,
        on_verdict,
    };
    let summary = to_its_end(run, &outcomes);
    progress.finish();
    let summary = summary.map_err(usage(&arguments.config))?;
    write_report(folder, &summary.report)?;
    if let Some(n_rows) = summary.n_rows {
        list_outcomes(folder, &outcomes, n_rows)?;
    }
    finish(arguments, &summary, &outcomes)
}

fn read_judges(path: &Path) -> Result<(JudgeSettings, Judges), CollectError> {
    let text = std::fs::read_to_string(path).map_err(|error| CollectError::Config(format!("reading it: {error}")))?;
    let settings = JudgeSettings::parse(&text)?;
    let judges = Judges::new(&settings, path.parent().unwrap_or(Path::new("")))?;
    Ok((settings, judges))
}

/// The endpoints of the models that have something to judge.
fn open_endpoints(judges: &Judges, plan: &Plan) -> anyhow::Result<BTreeMap<usize, Upstream>> {
    let client = Client::new()?;
    let mut upstreams = BTreeMap::new();
    for &idx in plan.n_replies.keys() {
        let judge = &judges.all()[idx];
        if let Some(model) = judge.model() {
            upstreams.insert(idx, open_endpoint(judge, model, &client)?);
        }
    }
    Ok(upstreams)
}

fn open_endpoint(judge: &Judge, model: &ModelJudge, client: &Client) -> anyhow::Result<Upstream> {
    let key = model.endpoint.api_key_env().and_then(key_in);
    let upstream = Upstream::new(&judge.name, &model.endpoint, key, client);
    // An upstream takes every endpoint for a tier's.
    let of_judge = |error: UpstreamError| UsageError(error.to_string().replacen("tier `", "judge `", 1));
    Ok(upstream.map_err(of_judge)?)
}

/// A changed rubric is a new judge: its name may be the same, its verdicts are not mixed with the old.
fn tell_of_other_verdicts(ledger: &Ledger, judges: &Judges, plan: &Plan) -> anyhow::Result<()> {
    let mut by_name: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (&idx, n_replies) in &plan.n_replies {
        let judge = &judges.all()[idx];
        let (n_to_judge, n_judged) = by_name.entry(&judge.name).or_default();
        *n_to_judge += n_replies;
        *n_judged += ledger.verdicts(&judge.hash)?.len();
    }
    for (name, (n_replies, n_judged)) in by_name {
        let n_other = ledger.n_other_verdicts(name, &judges.hashes_of(name))?;
        if n_other > 0 {
            say(&format!(
                "note: judge `{name}` has changed, or references have: {n_other} earlier verdicts stay in the ledger and \
                 are not used; {n_replies} replies are judged by this one, which has {n_judged} verdicts so far"
            ));
        }
    }
    Ok(())
}

fn to_its_end(run: JudgeRun, outcomes: &Path) -> Result<Summary, CollectError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|source| CollectError::Io {
        path: outcomes.to_path_buf(),
        doing: "judged: no runtime",
        source,
    })?;
    let summary = runtime.block_on(async {
        let (stop, stopped) = watch::channel(Stop::No);
        let signals = stop_signal().ok().map(|signal| tokio::spawn(listen(signal, stop)));
        let summary = Box::pin(judge(run, outcomes, stopped)).await;
        if let Some(signals) = signals {
            signals.abort();
        }
        summary
    });
    runtime.shutdown_timeout(ABANDON_AFTER);
    summary
}

fn write_report(folder: &Path, report: &Report) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    write(&folder.join(report::FILE_NAME), &text)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    Ok(write_atomically(path, |file| file.write_all(text.as_bytes()))?)
}

/// The run's manifest names the outcome file too, where it lies in the run's folder.
fn list_outcomes(folder: &Path, outcomes: &Path, n_rows: u64) -> anyhow::Result<()> {
    if outcomes != folder.join(export::FILE_NAME) {
        return Ok(());
    }
    let Ok(manifest) = manifest::read(folder) else {
        return Ok(());
    };
    let listed = manifest.files.iter().filter(|file| file.name != export::FILE_NAME);
    let mut files: Vec<(&str, u64)> = listed.map(|file| (file.name.as_str(), file.rows)).collect();
    files.push((export::FILE_NAME, n_rows));
    write_manifest(folder, &files, manifest.notes.clone())?;
    Ok(())
}

/// Prints the figures. The exit code says whether there is an outcome file.
fn finish(arguments: &JudgeArguments, summary: &Summary, outcomes: &Path) -> anyhow::Result<ExitCode> {
    if arguments.json {
        print_json(summary)?;
    } else {
        print(page::terminal(&summary.report).trim_end());
    }
    say(&format!(
        "{} verdicts made, {} were there",
        summary.n_new, summary.n_kept
    ));
    if let Some(why) = &summary.stopped {
        say(&format!("stopped: {why}"));
    }
    // Of a run that ended early the most is not measured yet.
    for check in summary.report.unmeasured().filter(|_| summary.stopped.is_none()) {
        say(&format!("not measured: {}", check.sentence()));
    }
    if let Some(sentence) = summary.report.uncollected.sentence() {
        say(&format!("note: {sentence}"));
    }
    for failure in summary.report.failures() {
        say(&format!("failed: {}", failure.sentence()));
    }
    let n_unscored: u64 = summary.report.tiers.iter().map(|tier| tier.n_unscored).sum();
    match summary.n_rows {
        Some(n_rows) => {
            if n_unscored > 0 {
                let errors = summary
                    .report
                    .judges
                    .iter()
                    .flat_map(|judge| &judge.errors)
                    .filter(|error| !error.example.is_empty());
                let example = errors
                    .map(|error| format!(" ({}: {})", error.kind, error.example))
                    .next()
                    .unwrap_or_default();
                say(&format!("{n_unscored} replies have no score and are left out{example}"));
            }
            say(&format!("{n_rows} outcome rows written to {}", outcomes.display()));
            Ok(ExitCode::SUCCESS)
        }
        None => {
            let before = if outcomes.exists() {
                " (the one that is there is of an earlier run)"
            } else {
                ""
            };
            if summary.report.n_scored() == 0 {
                say("no reply has a score");
            }
            say(&format!(
                "no outcome file was written{before}; the verdicts are kept, and the same command goes on from them"
            ));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The page, with Markdown and JSON beside it.
fn show_report(folder: &Path, out: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let path = folder.join(report::FILE_NAME);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("reading {}; `tiercast judge --run` writes it", path.display()))?;
    let report: Report = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    if json {
        print_json(&report)?;
    }
    let out: PathBuf = out.map_or_else(|| folder.join("judge.html"), Path::to_path_buf);
    write(&out.with_extension("md"), &page::markdown(&report))?;
    write(&out.with_extension("json"), &text)?;
    write(&out, &page::html(&report))?;
    say(&format!(
        "report written to {}, with .md and .json beside it",
        out.display()
    ));
    Ok(ExitCode::SUCCESS)
}
