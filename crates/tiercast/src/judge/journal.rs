//! `tiercast judge --journal`: a sample of what was served is judged, and what the judge says is kept beside what
//! users say.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rayon::prelude::*;
use serde::Serialize;
use tiercast_collect::judge::served::{Missing, Served, ServedJudges, ServedRun, Skipped, Word, judge_served};
use tiercast_collect::run::Stop;
use tiercast_journal::{Adder, JournalError, Key, Part, Problem, Range, Reader, Said};
use tiercast_records::journal::{self as rows, About, Feedback, JUDGE_PREFIX, Label, Parts, Sampled};
use tiercast_upstream::client::Client;
use tiercast_upstream::upstream::Upstream;
use tokio::sync::{mpsc, watch};

use super::{open_endpoint, read_judges};
use crate::arguments::{JudgeArguments, UsageError};
use crate::collect::{ABANDON_AFTER, listen, usage};
use crate::observing::of_journal;
use crate::output::{print, print_json};
use crate::progress::{JudgeProgress, say};
use crate::serve::stop_signal;

/// Share of the answers that is judged where none is given.
const RATE: f64 = 0.05;

/// Answers whose texts are in memory at a time.
const BATCH: usize = 512;

/// Answers that wait to be judged.
const WAITING: usize = 4;

/// Outcome of a call whose answer reached the client as a whole.
const COMPLETE: &str = "complete";

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Summary {
    /// Whole answers in the span of time.
    n_answered: u64,
    /// Those of them in the sample.
    n_sampled: u64,
    /// Those of the sample that were judged before.
    n_judged_before: u64,
    /// Those that were judged now, with a quality.
    n_judged: u64,
    /// Replies of the judge that could not be read, twice each.
    n_unparseable: u64,
    /// Calls to the judge that failed.
    n_failed: u64,
    /// Answers without text, or with an empty one.
    n_without_text: u64,
    /// Answers of tasks whose judge needs a reference.
    n_without_judge: u64,
    /// Those of the sample that are left for the next run.
    n_left: u64,
    /// Mean quality of those that were judged now.
    mean_quality: Option<f64>,
    /// US dollars of this run.
    cost_usd: f64,
    /// Share of the answers that was asked for.
    rate: f64,
    /// Judges that were asked for and cannot do without a reference.
    skipped: Vec<Skipped>,
    /// Why it ended before all was judged.
    stopped: Option<String>,
    /// A call that failed.
    example: Option<String>,
    /// What could not be read.
    notes: Vec<String>,
}

/// What a run will take.
#[derive(Debug, Serialize)]
struct Estimate {
    /// Whole answers in the span of time.
    n_answered: u64,
    /// Those of them in the sample.
    n_sampled: u64,
    /// Those that were judged before.
    n_judged_before: u64,
    /// Those that would be judged.
    n_to_judge: u64,
    /// US dollars, if every verdict ran to its limit of tokens; none where prices are not known.
    most_cost_usd: Option<f64>,
}

/// Judges a sample of a journal's answers.
pub(super) fn judge_journal(arguments: &JudgeArguments, folder: &Path) -> anyhow::Result<ExitCode> {
    let reader = Reader::open(folder).map_err(of_journal)?;
    let (settings, judges) = read_judges(&arguments.config).map_err(usage(&arguments.config))?;
    let judges = ServedJudges::new(judges, &settings, arguments.sample.judge.as_deref());
    let judges = Arc::new(judges.map_err(usage(&arguments.config))?);
    for Skipped { judge, why } in &judges.skipped {
        say(&format!(
            "judge `{judge}` is skipped: {why}, and served requests have none"
        ));
    }
    let sampling = Sampling {
        range: arguments.span.range()?,
        rate: arguments.sample.rate.unwrap_or(RATE),
        seed: arguments.sample.seed.unwrap_or(0),
        key: reader.key().map_err(of_journal)?,
        reader,
        judges,
    };
    if arguments.sample.estimate {
        return estimate(arguments, &sampling);
    }
    // Before it is looked at what was said: two at a time would pay twice.
    let adder = Adder::open(folder).map_err(in_use)?;
    let sample = sampling.draw()?;
    let summary = judge_sample(arguments, sampling, sample, adder)?;
    finish(arguments, &summary)
}

fn in_use(error: JournalError) -> anyhow::Error {
    match error {
        JournalError::InUse { folder } => UsageError(format!(
            "another `tiercast judge --journal` judges {}: wait for it, or end it first",
            folder.display()
        ))
        .into(),
        error => of_journal(error),
    }
}

/// Who is drawn, and by whom they are judged.
struct Sampling {
    reader: Reader,
    key: Key,
    range: Range,
    rate: f64,
    seed: u64,
    judges: Arc<ServedJudges>,
}

/// The answers of the sample that are to be judged.
#[derive(Default)]
struct Sample {
    summary: Summary,
    /// Ids, in the order of the draw: wherever a run ends, what it has judged is a sample too, only a smaller one.
    due: Vec<String>,
    /// Earlier verdicts by a judge of the same name that goes by something else.
    n_by_another: u64,
}

/// What was drawn of a part of the journal.
#[derive(Default)]
struct Drawn {
    due: Vec<(f64, String)>,
    summary: Summary,
    n_by_another: u64,
    problems: Vec<Problem>,
}

impl Sampling {
    fn parts(&self, text: bool) -> anyhow::Result<Vec<Part>> {
        let parts = Parts {
            text,
            ..Parts::default()
        };
        self.reader.scan(self.range, parts).map_err(of_journal)
    }

    /// Looks through all rows, without their texts.
    fn draw(&self) -> anyhow::Result<Sample> {
        let said = self.reader.feedback(Range::ALL).map_err(of_journal)?;
        let drawn: Vec<Drawn> = self
            .parts(false)?
            .into_par_iter()
            .map(|part| self.draw_part(part, &said))
            .collect();
        let mut sample = Sample::default();
        let mut due = Vec::new();
        for part in drawn {
            let (to, of) = (&mut sample.summary, part.summary);
            to.n_answered += of.n_answered;
            to.n_sampled += of.n_sampled;
            to.n_judged_before += of.n_judged_before;
            to.n_without_judge += of.n_without_judge;
            to.notes.extend(part.problems.iter().map(ToString::to_string));
            sample.n_by_another += part.n_by_another;
            due.extend(part.due);
        }
        due.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        sample.due = due.into_iter().map(|(_, id)| id).collect();
        sample.summary.rate = self.rate;
        sample.summary.skipped.clone_from(&self.judges.skipped);
        Ok(sample)
    }

    fn draw_part(&self, part: Part, said: &Said) -> Drawn {
        let mut drawn = Drawn::default();
        let problems = part.read(&mut |row| {
            self.look_at(&row, said, &mut drawn);
            ControlFlow::Continue(())
        });
        drawn.problems = problems;
        drawn
    }

    fn look_at(&self, row: &rows::Served, said: &Said, drawn: &mut Drawn) {
        if row.answer().is_none_or(|call| &*call.outcome != COMPLETE) {
            return;
        }
        drawn.summary.n_answered += 1;
        let place = self.key.draw(self.seed, &row.id);
        if place >= self.rate {
            return;
        }
        drawn.summary.n_sampled += 1;
        let Some(panel) = self.judges.of_task(&row.task) else {
            drawn.summary.n_without_judge += 1;
            return;
        };
        let is_of_judge = |word: &&Feedback| word.source.strip_prefix(JUDGE_PREFIX) == Some(&panel.name);
        let earlier = said.of_decision(&row.id).iter().find(is_of_judge);
        match earlier.map(|word| word.sampled.as_ref().map(|sampled| &*sampled.judge_hash)) {
            Some(Some(hash)) if hash == panel.hash => drawn.summary.n_judged_before += 1,
            earlier => {
                drawn.n_by_another += u64::from(earlier.is_some());
                drawn.due.push((place, row.id.clone()));
            }
        }
    }

    /// The texts of these answers, in their order. What was forgotten meanwhile is not there; those without text
    /// are counted.
    fn texts(&self, ids: &[String]) -> anyhow::Result<(Vec<Served>, u64)> {
        let places: HashMap<&str, usize> = ids.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
        let of_part = |part: Part| {
            let (mut found, mut n_without) = (Vec::new(), 0);
            part.read(&mut |row| {
                if let Some(at) = places.get(row.id.as_str()) {
                    match served(row) {
                        Some(served) => found.push((*at, served)),
                        None => n_without += 1,
                    }
                }
                ControlFlow::Continue(())
            });
            (found, n_without)
        };
        let parts: Vec<(Vec<(usize, Served)>, u64)> = self.parts(true)?.into_par_iter().map(of_part).collect();
        let n_without = parts.iter().map(|(_, n)| n).sum();
        let mut found: Vec<(usize, Served)> = parts.into_iter().flat_map(|(found, _)| found).collect();
        found.sort_by_key(|(at, _)| *at);
        Ok((found.into_iter().map(|(_, served)| served).collect(), n_without))
    }

    /// Hands texts over until nobody takes them. Says how many answers have none.
    fn feed(&self, due: &[String], answers: &mpsc::Sender<Served>) -> anyhow::Result<u64> {
        let mut n_without = 0;
        for ids in due.chunks(BATCH) {
            let (found, without) = self.texts(ids)?;
            n_without += without;
            if found.is_empty() && without > 0 {
                return Err(without_text());
            }
            for answer in found {
                if answers.blocking_send(answer).is_err() {
                    return Ok(n_without);
                }
            }
        }
        Ok(n_without)
    }
}

fn without_text() -> anyhow::Error {
    UsageError(
        "the journal keeps no text of what was asked and answered, so there is nothing to judge: set `keep = \"text\"` \
         in [journal] of the server's tiercast.toml; what is served from then on can be judged"
            .to_owned(),
    )
    .into()
}

/// What a judge is given of a row; nothing where its texts were not kept, or there is nothing in them.
fn served(row: rows::Served) -> Option<Served> {
    let is_text = |text: &String| !text.trim().is_empty();
    Some(Served {
        id: row.id,
        task: row.task.as_ref().to_owned(),
        prompt: row.prompt.filter(is_text)?,
        reply: row.reply.filter(is_text)?,
    })
}

fn judge_sample(
    arguments: &JudgeArguments,
    sampling: Sampling,
    sample: Sample,
    mut adder: Adder,
) -> anyhow::Result<Summary> {
    let Sample {
        mut summary,
        due,
        n_by_another,
    } = sample;
    if n_by_another > 0 {
        say(&format!(
            "note: {n_by_another} answers of the sample have a verdict by a judge of this name that went by something \
             else; they are judged anew, and the new verdict counts"
        ));
    }
    if due.is_empty() {
        return Ok(summary);
    }
    say(&format!(
        "judging {} of {} answers ({} in the sample, {} judged before)",
        due.len(),
        summary.n_answered,
        summary.n_sampled,
        summary.n_judged_before
    ));
    let run = ServedRun {
        judges: Arc::clone(&sampling.judges),
        upstreams: open_endpoints(&sampling.judges)?,
        max_cost_usd: arguments.max_cost_usd,
    };
    let progress = JudgeProgress::new();
    let (rate, n_due) = (sampling.rate, due.len() as u64);
    let mut heard = Heard::default();
    let on_word = |word: Word| -> anyhow::Result<()> {
        progress.word(word.score.is_some(), word.cost_usd);
        if let Some(feedback) = feedback(&word, rate) {
            adder.add([feedback])?;
        }
        heard.add(word);
        Ok(())
    };
    let ended = run_to_end(run, sampling, due, on_word);
    progress.finish();
    let (stopped, n_without_text) = ended.map_err(|error| config_error(arguments, error))?;
    heard.tell(&mut summary);
    summary.n_without_text = n_without_text;
    let n_done = summary.n_judged + summary.n_unparseable + n_without_text;
    summary.n_left = n_due.saturating_sub(n_done);
    summary.stopped = stopped;
    Ok(summary)
}

fn config_error(arguments: &JudgeArguments, error: anyhow::Error) -> anyhow::Error {
    match error.downcast() {
        Ok(error) => usage(&arguments.config)(error),
        Err(error) => error,
    }
}

fn run_to_end(
    run: ServedRun,
    sampling: Sampling,
    due: Vec<String>,
    on_word: impl FnMut(Word) -> anyhow::Result<()>,
) -> anyhow::Result<(Option<String>, u64)> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let ended = runtime.block_on(async {
        let (stop, stopped) = watch::channel(Stop::No);
        let signals = tokio::spawn(listen(stop_signal()?, stop));
        let (answers, received) = mpsc::channel(WAITING);
        let feeding = tokio::task::spawn_blocking(move || sampling.feed(&due, &answers));
        let stopped = Box::pin(judge_served(run, received, stopped, on_word)).await;
        signals.abort();
        let stopped = stopped?;
        let n_without_text = match stopped {
            // It may be looking for texts that nobody wants any more.
            Some(_) => 0,
            None => feeding.await.context("reading the journal")??,
        };
        Ok((stopped, n_without_text))
    });
    runtime.shutdown_timeout(ABANDON_AFTER);
    ended
}

fn open_endpoints(judges: &ServedJudges) -> anyhow::Result<BTreeMap<usize, Upstream>> {
    let client = Client::new()?;
    let models = judges.models().into_iter();
    models
        .map(|(idx, judge, model)| Ok((idx, open_endpoint(judge, model, &client)?)))
        .collect()
}

/// What is kept of a word. What could not be read is kept too: asking again would be paid for again.
fn feedback(word: &Word, rate: f64) -> Option<Feedback> {
    let is_kept = word.score.is_some() || word.missing == Some(Missing::Unparseable);
    is_kept.then(|| Feedback {
        time_ms: now_ms(),
        about: About::Decision(word.id.clone()),
        source: Label::from(format!("{JUDGE_PREFIX}{}", word.judge)),
        score: word.score,
        verdict: None,
        // A judge quotes what it read: what is forgotten while it is judged would stay in its words.
        comment: None,
        sampled: Some(Sampled {
            judge_hash: Label::from(word.judge_hash.as_str()),
            rate,
        }),
    })
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What was said in this run.
#[derive(Debug, Default)]
struct Heard {
    n_judged: u64,
    quality: f64,
    cost_usd: f64,
    n_unparseable: u64,
    n_failed: u64,
    example: Option<String>,
}

impl Heard {
    fn add(&mut self, word: Word) {
        self.cost_usd += word.cost_usd;
        match (word.score, word.missing) {
            (Some(score), _) => {
                self.n_judged += 1;
                self.quality += score;
            }
            (None, Some(Missing::Failed(kind, message))) => {
                self.n_failed += 1;
                self.example.get_or_insert(format!("{kind}: {message}"));
            }
            (None, _) => self.n_unparseable += 1,
        }
    }

    fn tell(self, summary: &mut Summary) {
        summary.mean_quality = (self.n_judged > 0).then(|| self.quality / self.n_judged as f64);
        summary.n_judged = self.n_judged;
        summary.n_unparseable = self.n_unparseable;
        summary.n_failed = self.n_failed;
        summary.cost_usd = self.cost_usd;
        summary.example = self.example;
    }
}

/// Says what a run would take, and asks nothing.
fn estimate(arguments: &JudgeArguments, sampling: &Sampling) -> anyhow::Result<ExitCode> {
    let Sample { summary, due, .. } = sampling.draw()?;
    // The order is chance's, so the first are a sample of all.
    let first = &due[..due.len().min(BATCH)];
    let (found, n_without) = sampling.texts(first)?;
    if found.is_empty() && n_without > 0 {
        return Err(without_text());
    }
    let costs: Option<Vec<f64>> = found.iter().map(|answer| sampling.judges.most_usd(answer)).collect();
    let scale = due.len() as f64 / first.len().max(1) as f64;
    let estimate = Estimate {
        n_answered: summary.n_answered,
        n_sampled: summary.n_sampled,
        n_judged_before: summary.n_judged_before,
        n_to_judge: due.len() as u64,
        most_cost_usd: costs.map(|costs| costs.iter().sum::<f64>() * scale + 0.0),
    };
    if arguments.json {
        print_json(&estimate)?;
        return Ok(ExitCode::SUCCESS);
    }
    let cost = match estimate.most_cost_usd {
        Some(usd) => format!("{usd:.4} US dollars at most, where no verdict has to be asked for twice"),
        None => "what it costs is not known: [judge.judges.NAME] has no prices".to_owned(),
    };
    print(&format!(
        "{} of {} answers are in the sample (rate {}), {} of them judged before; {} would be judged: {cost}",
        estimate.n_sampled, estimate.n_answered, summary.rate, estimate.n_judged_before, estimate.n_to_judge
    ));
    Ok(ExitCode::SUCCESS)
}

/// Prints the figures. The exit code says whether anything of the sample is left.
fn finish(arguments: &JudgeArguments, summary: &Summary) -> anyhow::Result<ExitCode> {
    if arguments.json {
        print_json(summary)?;
    } else {
        print(&text(summary));
    }
    summary.notes.iter().for_each(|note| say(note));
    if let Some(why) = &summary.stopped {
        say(&format!("stopped: {why}"));
    }
    if let Some(example) = &summary.example {
        say(&format!("{} calls to the judge failed ({example})", summary.n_failed));
    }
    if summary.n_left == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!(
        "{} answers of the sample are left; the same command judges these alone",
        summary.n_left
    ));
    Ok(ExitCode::FAILURE)
}

fn text(summary: &Summary) -> String {
    let quality = summary
        .mean_quality
        .map_or_else(|| "n/a".to_owned(), |quality| format!("{quality:.3}"));
    let mut lines = vec![
        format!(
            "{} of {} answers are in the sample (rate {}), {} of them judged before",
            summary.n_sampled, summary.n_answered, summary.rate, summary.n_judged_before
        ),
        format!(
            "{} verdicts made, mean quality {quality}, {:.4} US dollars",
            summary.n_judged, summary.cost_usd
        ),
    ];
    for (n, what) in [
        (summary.n_unparseable, "verdicts could not be read in two replies"),
        (summary.n_without_text, "answers have no text and are left out"),
        (
            summary.n_without_judge,
            "answers are of tasks whose judge needs a reference",
        ),
    ] {
        if n > 0 {
            lines.push(format!("{n} {what}"));
        }
    }
    lines.join("\n")
}
