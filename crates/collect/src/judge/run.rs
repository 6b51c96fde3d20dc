//! The run: every reply of the ledger to its judges, probes first. What has a verdict is not judged
//! again; what was paid for is in the ledger before it counts.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use tiercast_upstream::upstream::Upstream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::asked::{Asker, Halt, Job, NO_OTHER, NOT_PARSED, UNPARSEABLE, row};
use super::case;
use super::endpoint::Endpoint;
use super::export::export;
use super::figures::figures;
use super::gate;
use super::judges::{Check, Judges, ModelJudge};
use super::plan::{Plan, other, rank};
use super::probes::{PREFIX, probes};
use super::report::{JudgeFigures, Report, Uncollected, is_call_error};
use super::settings::{JudgeSettings, config};
use crate::budget::Budget;
use crate::error::CollectError;
use crate::ledger::{Answer, CallKey, Entry, Ledger, Status, Verdict, WriteError, Writer};
use crate::run::{Stop, reached};
use crate::status::status;

/// Prompts with their answers that wait to be judged.
const WAITING: usize = 4;

/// Commands at a time.
const COMMANDS: usize = 2;

/// After the first word to stop.
pub(super) const FINISHED: &str = "stopped as asked; verdicts that were under way are stored";

/// After the second.
pub(super) const ABANDONED: &str = "stopped as asked; verdicts that were under way are asked for again by the next run";

/// What a run needs from the caller.
pub struct JudgeRun {
    /// The ledger of a collected run.
    pub ledger: Ledger,
    /// As in the file.
    pub settings: JudgeSettings,
    /// The same, compiled.
    pub judges: Judges,
    /// The plan made of both.
    pub plan: Plan,
    /// Endpoints of the models that judge, by place of the judge.
    pub upstreams: BTreeMap<usize, Upstream>,
    /// The most that all verdicts of these judges may cost together.
    pub max_cost_usd: Option<f64>,
    /// Told of every verdict by a model or a command.
    pub on_verdict: Box<dyn Fn(&Verdict) + Send + Sync>,
}

impl fmt::Debug for JudgeRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JudgeRun")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Verdicts made by this run.
    pub n_new: u64,
    /// Verdicts that were there.
    pub n_kept: u64,
    /// Why it ended before everything was judged, in words.
    pub stopped: Option<String>,
    /// How far the judges can be trusted.
    pub report: Report,
    /// Rows of the outcome file; none where none was written.
    pub n_rows: Option<u64>,
}

/// Judges what has no verdict yet, measures the judges, and writes `outcomes` where they pass.
pub async fn judge(
    run: JudgeRun,
    outcomes: &std::path::Path,
    stop: watch::Receiver<Stop>,
) -> Result<Summary, CollectError> {
    check_prices(&run)?;
    let JudgeRun {
        ledger,
        settings,
        judges,
        plan,
        upstreams,
        max_cost_usd,
        on_verdict,
    } = run;
    let (plan, settings) = (Arc::new(plan), Arc::new(settings));
    let mut session = Session::new(
        &ledger,
        &settings,
        &judges,
        &plan,
        upstreams,
        max_cost_usd,
        stop,
        on_verdict,
    )?;
    session.judge_probes(&plan, &settings).await?;
    let is_trusted = gate::early(&figures(&ledger, &judges, &plan, &settings)?, &settings.gate).is_empty();
    if is_trusted && session.stopped.is_none() {
        session.judge_replies(&ledger, &judges, &plan, &settings).await?;
    }
    let (n_new, n_kept, stopped) = (session.n_new, session.n_kept, session.why_stopped());
    drop(session);
    let mut report = figures(&ledger, &judges, &plan, &settings)?;
    let stopped = stopped.or_else(|| unheard(&report, &settings));
    report.stopped.clone_from(&stopped);
    report.uncollected = uncollected(&ledger)?;
    let is_whole = stopped.is_none() && is_trusted && report.failures().next().is_none();
    let n_rows = if is_whole && report.n_scored() > 0 {
        Some(export(&ledger, &judges, &plan, &settings, outcomes)?)
    } else {
        None
    };
    if let Err(error) = ledger.tidy() {
        tracing::debug!(%error, "the ledger's log stays beside it");
    }
    Ok(Summary {
        n_new,
        n_kept,
        stopped,
        report,
        n_rows,
    })
}

/// Calls of the run that have no result, by tier.
fn uncollected(ledger: &Ledger) -> Result<Uncollected, CollectError> {
    let status = status(ledger)?;
    let left = status.tiers.into_iter().filter(|tier| tier.n_left > 0);
    Ok(Uncollected {
        n_calls: status.n_wanted,
        n_left: left.map(|tier| (tier.tier, tier.n_left)).collect(),
    })
}

/// Where calls to a judge failed for more replies than its verdicts may be unreadable, scores would be missing
/// from outcomes by chance. Says so; nothing is wrong with the judge's word itself.
fn unheard(report: &Report, settings: &JudgeSettings) -> Option<String> {
    let most = |judge: &JudgeFigures| (1.0 - settings.gate.min_parse_rate) * judge.n_verdicts as f64;
    let judge = report
        .judges
        .iter()
        .find(|judge| judge.n_unheard() as f64 > most(judge))?;
    let error = judge.errors.iter().find(|error| is_call_error(&error.kind))?;
    Some(format!(
        "{} of {} calls to judge `{}` came to nothing (most often {}: {}). The same command asks for these alone",
        judge.n_unheard(),
        judge.n_verdicts,
        judge.name,
        error.kind,
        error.example
    ))
}

/// A limit means nothing where the price is not known.
fn check_prices(run: &JudgeRun) -> Result<(), CollectError> {
    let mut judges = run.upstreams.keys().filter_map(|judge| run.judges.all().get(*judge));
    judges.try_for_each(|judge| match judge.model() {
        Some(model) => check_price(&judge.name, model, run.max_cost_usd),
        None => Ok(()),
    })
}

/// The same for one model.
pub(super) fn check_price(name: &str, model: &ModelJudge, max_cost_usd: Option<f64>) -> Result<(), CollectError> {
    match max_cost_usd {
        Some(_) if model.prices.is_none() => Err(config(&format!(
            "--max-cost-usd needs prices: set input_usd_per_mtok and output_usd_per_mtok in [judge.judges.{name}]"
        ))),
        _ => Ok(()),
    }
}

/// What came of a task: verdicts that are stored, or a reason to stop.
type Ended = Result<Result<u64, Halt>, WriteError>;

struct Session {
    writer: Option<Arc<Writer>>,
    askers: Vec<Arc<Asker>>,
    done: Vec<HashSet<u64>>,
    in_flight: JoinSet<Ended>,
    most_in_flight: usize,
    stop: watch::Receiver<Stop>,
    on_verdict: Arc<dyn Fn(&Verdict) + Send + Sync>,
    stopped: Option<String>,
    /// Judges of which nothing more is asked, and why.
    left_alone: BTreeMap<usize, String>,
    n_new: u64,
    n_kept: u64,
}

impl Session {
    #[expect(clippy::too_many_arguments, reason = "the parts of a run, once")]
    fn new(
        ledger: &Ledger,
        settings: &JudgeSettings,
        judges: &Judges,
        plan: &Plan,
        mut upstreams: BTreeMap<usize, Upstream>,
        max_cost_usd: Option<f64>,
        stop: watch::Receiver<Stop>,
        on_verdict: Box<dyn Fn(&Verdict) + Send + Sync>,
    ) -> Result<Self, CollectError> {
        let (mut done, mut spent_usd, mut most_in_flight) = (Vec::new(), 0.0, 1);
        for (idx, judge) in judges.all().iter().enumerate() {
            let verdicts = ledger.verdicts(&judge.hash)?;
            spent_usd += verdicts.iter().filter_map(|verdict| verdict.cost_usd).sum::<f64>();
            done.push(verdicts.iter().filter(|verdict| is_final(verdict)).map(id).collect());
            most_in_flight += match &judge.check {
                Check::Model(model) if plan.n_replies.contains_key(&idx) => model.endpoint.concurrency(),
                Check::Command(_) => COMMANDS,
                _ => 0,
            };
        }
        let budget = Arc::new(Budget::new(max_cost_usd, spent_usd));
        let commands = Arc::new(Semaphore::new(COMMANDS));
        let askers = judges.all().iter().enumerate().map(|(idx, judge)| {
            let upstream = upstreams.remove(&idx);
            Arc::new(Asker {
                judge: Arc::clone(judge),
                endpoint: upstream.map(|upstream| Endpoint::new(upstream, stop.clone())),
                budget: Arc::clone(&budget),
                commands: Arc::clone(&commands),
                seed: settings.gate.seed,
            })
        });
        Ok(Self {
            writer: Some(Arc::new(ledger.writer()?)),
            askers: askers.collect(),
            done,
            in_flight: JoinSet::new(),
            most_in_flight,
            stop,
            on_verdict: on_verdict.into(),
            stopped: None,
            left_alone: BTreeMap::new(),
            n_new: 0,
            n_kept: 0,
        })
    }

    /// Answers of known worth, to every model.
    async fn judge_probes(&mut self, plan: &Plan, settings: &JudgeSettings) -> Result<(), CollectError> {
        for (judge, sources) in plan.sources.iter().filter(|_| settings.gate.probes) {
            let n_orders = self.n_orders(*judge);
            for probe in probes(sources) {
                let source = &sources[probe.source];
                for order in 0..n_orders {
                    let key = CallKey {
                        prompt_id: source.prompt.prompt_id.clone(),
                        tier: probe.kind.tier(),
                        sample: 0,
                        parameters_hash: PREFIX.to_owned(),
                    };
                    let job = Job {
                        judge: *judge,
                        key,
                        repeat: 0,
                        order,
                        prompt: source.prompt.text.as_str().to_owned(),
                        reference: source.prompt.reference.clone(),
                        schema: source.prompt.schema.clone(),
                        reply: probe.reply.clone(),
                        other: source.other.clone(),
                    };
                    self.start(job).await?;
                }
            }
        }
        self.drain().await
    }

    /// Every reply. A thread of its own reads the ledger, as fast as replies are judged.
    async fn judge_replies(
        &mut self,
        ledger: &Ledger,
        judges: &Judges,
        plan: &Arc<Plan>,
        settings: &Arc<JudgeSettings>,
    ) -> Result<(), CollectError> {
        let (groups, mut received) = mpsc::channel::<Vec<Answer>>(WAITING);
        let (other, n_samples) = (ledger.again()?, plan.n_samples);
        let reader = tokio::task::spawn_blocking(move || read(&other, n_samples, &groups));
        while self.stopped.is_none()
            && let Some(group) = received.recv().await
        {
            self.judge_group(&group, judges, plan, settings).await?;
        }
        drop(received);
        self.drain().await?;
        reader.await.expect("reading the ledger does not panic")
    }

    async fn judge_group(
        &mut self,
        group: &[Answer],
        judges: &Judges,
        plan: &Plan,
        settings: &JudgeSettings,
    ) -> Result<(), CollectError> {
        let Some(tree) = group.first().and_then(|first| plan.trees.get(&first.prompt.prompt_id)) else {
            return Ok(());
        };
        let mut of_prompt = tree.judges();
        of_prompt.sort_unstable();
        of_prompt.dedup();
        let has_model = of_prompt.iter().any(|judge| judges.all()[*judge].model().is_some());
        let exact = plan
            .exact
            .filter(|exact| has_model && group[0].prompt.reference.is_some() && !of_prompt.contains(exact));
        let mut rows = Vec::new();
        for answer in group
            .iter()
            .filter(|answer| answer.call.status == Status::Answered && !answer.call.truncated)
        {
            for &judge in of_prompt.iter().chain(&exact) {
                for job in self.jobs(judge, answer, group, judges, plan, settings) {
                    match self.at_once(&job) {
                        Some(row) => rows.push(row),
                        None => self.start(job).await?,
                    }
                }
            }
        }
        self.store(rows).await
    }

    /// The judgements of one reply by one judge: both orders of a pair, repeated if it is in the sample.
    fn jobs(
        &mut self,
        judge: usize,
        answer: &Answer,
        group: &[Answer],
        judges: &Judges,
        plan: &Plan,
        settings: &JudgeSettings,
    ) -> Vec<Job> {
        let key = &answer.call.key;
        let name = format!("{} {} {}", key.prompt_id, key.tier, key.sample);
        let is_model = judges.all()[judge].model().is_some();
        let n_repeats = if is_model && plan.is_repeated(judge, &name, settings) {
            2
        } else {
            1
        };
        let other = other(judges, judge, &answer.prompt, group);
        let mut jobs = Vec::new();
        for (repeat, order) in
            (0..n_repeats).flat_map(|repeat| (0..self.n_orders(judge)).map(move |order| (repeat, order)))
        {
            jobs.push(Job {
                judge,
                key: key.clone(),
                repeat,
                order,
                prompt: answer.prompt.text.as_str().to_owned(),
                reference: answer.prompt.reference.clone(),
                schema: answer.prompt.schema.clone(),
                reply: answer.call.response().unwrap_or_default().to_owned(),
                other: other.clone(),
            });
        }
        jobs.retain(|job| !self.is_done(job));
        jobs
    }

    /// The row of a judgement that costs nothing; none where a model or a command has to be asked.
    fn at_once(&self, job: &Job) -> Option<Verdict> {
        let judge = &self.askers[job.judge].judge;
        let is_lonely = judge.model().is_some_and(|model| model.against.is_some()) && job.other.is_none();
        if is_lonely {
            let why = "there is no answer to compare with: the prompt has no reference, or the tier no whole answer";
            return Some(Verdict {
                error_kind: Some(NO_OTHER.to_owned()),
                ..row(job, judge, &case::Verdict::Failed(why.to_owned()))
            });
        }
        let said = judge.check_now(&job.reply, &job.case())?;
        Some(row(job, judge, &said))
    }

    fn is_done(&mut self, job: &Job) -> bool {
        let is_done = self.done[job.judge].contains(&id(&job.verdict(&self.askers[job.judge].judge)));
        self.n_kept += u64::from(is_done);
        is_done
    }

    fn n_orders(&self, judge: usize) -> u32 {
        let is_pairwise = self.askers[judge]
            .judge
            .model()
            .is_some_and(|model| model.against.is_some());
        if is_pairwise { 2 } else { 1 }
    }

    /// Starts a judgement once there is room for it; nothing once the run stops.
    async fn start(&mut self, job: Job) -> Result<(), CollectError> {
        if job.key.tier.starts_with(PREFIX) && self.is_done(&job) {
            return Ok(());
        }
        self.room().await?;
        if self.stopped.is_some() || self.left_alone.contains_key(&job.judge) {
            return Ok(());
        }
        let (asker, writer) = (Arc::clone(&self.askers[job.judge]), self.writer());
        let on_verdict = Arc::clone(&self.on_verdict);
        self.in_flight.spawn(async move {
            match asker.ask(&job).await {
                Ok(verdict) => {
                    on_verdict(&verdict);
                    writer.store(Entry::Verdict(Box::new(verdict))).await.map(|()| Ok(1))
                }
                Err(halt) => Ok(Err(halt)),
            }
        });
        Ok(())
    }

    /// Stores the rows of one prompt; the writer puts many prompts into one transaction.
    async fn store(&mut self, rows: Vec<Verdict>) -> Result<(), CollectError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.room().await?;
        let (writer, n_rows) = (self.writer(), rows.len() as u64);
        self.in_flight.spawn(async move {
            for row in rows {
                writer.store(Entry::Verdict(Box::new(row))).await?;
            }
            Ok(Ok(n_rows))
        });
        Ok(())
    }

    fn writer(&self) -> Arc<Writer> {
        Arc::clone(self.writer.as_ref().expect("it is taken only when the session ends"))
    }

    /// Waits until something may be started.
    async fn room(&mut self) -> Result<(), CollectError> {
        self.note_stop();
        while self.in_flight.len() >= self.most_in_flight.max(8) {
            self.next().await?;
        }
        Ok(())
    }

    async fn drain(&mut self) -> Result<(), CollectError> {
        while !self.in_flight.is_empty() {
            self.next().await?;
        }
        Ok(())
    }

    /// Remembers the word to stop, once it has come.
    fn note_stop(&mut self) {
        if *self.stop.borrow() >= Stop::Finish {
            self.stopped.get_or_insert(FINISHED.to_owned());
        }
    }

    /// Waits for one judgement to end, or leaves all of them where the caller says so.
    async fn next(&mut self) -> Result<(), CollectError> {
        let mut stop = self.stop.clone();
        let ended = tokio::select! {
            ended = self.in_flight.join_next() => ended,
            () = reached(&mut stop, Stop::Abandon) => {
                self.in_flight.shutdown().await;
                self.stopped = Some(ABANDONED.to_owned());
                None
            }
        };
        self.note_stop();
        let Some(ended) = ended else { return Ok(()) };
        match ended
            .expect("a judgement does not panic")
            .map_err(CollectError::Shared)?
        {
            Ok(n_stored) => self.n_new += n_stored,
            Err(Halt::Stopped) => {}
            Err(Halt::LeftAlone(judge, why)) => drop(self.left_alone.entry(judge).or_insert(why)),
            Err(Halt::Budget(why)) => {
                self.stopped.get_or_insert(why);
            }
        }
        Ok(())
    }

    /// Why not everything was judged, in words.
    fn why_stopped(&self) -> Option<String> {
        let reasons: Vec<&str> = self
            .stopped
            .iter()
            .chain(self.left_alone.values())
            .map(String::as_str)
            .collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The last one ends the thread, after everything sent is stored.
        if let Some(writer) = self.writer.take().and_then(Arc::into_inner) {
            writer.finish();
        }
    }
}

/// Hands prompts with all their answers over, until nobody takes them.
fn read(ledger: &Ledger, n_samples: u32, groups: &mpsc::Sender<Vec<Answer>>) -> Result<(), CollectError> {
    enum End {
        Failed(CollectError),
        Closed,
    }
    impl From<CollectError> for End {
        fn from(error: CollectError) -> Self {
            Self::Failed(error)
        }
    }
    let mut group: Vec<Answer> = Vec::new();
    let all = ledger.for_each_answer(n_samples, |answer| {
        if group
            .first()
            .is_some_and(|first| first.prompt.prompt_id != answer.prompt.prompt_id)
        {
            groups
                .blocking_send(std::mem::take(&mut group))
                .map_err(|_| End::Closed)?;
        }
        group.push(answer);
        Ok(())
    });
    match all.and_then(|()| groups.blocking_send(group).map_err(|_| End::Closed)) {
        Err(End::Failed(error)) => Err(error),
        Ok(()) | Err(End::Closed) => Ok(()),
    }
}

/// Whether a verdict is a result. Failures of the judge are asked again.
fn is_final(verdict: &Verdict) -> bool {
    verdict.parsed
        || verdict
            .error_kind
            .as_deref()
            .is_some_and(|kind| [UNPARSEABLE, NOT_PARSED].contains(&kind))
}

/// What a verdict is of, as a number: two of a run do not share one but once in 10^9 runs of a million.
fn id(verdict: &Verdict) -> u64 {
    let CallKey {
        prompt_id,
        tier,
        sample,
        parameters_hash,
    } = &verdict.key;
    rank(
        0,
        &format!(
            "{prompt_id}\n{tier}\n{sample}\n{parameters_hash}\n{}\n{}",
            verdict.repeat, verdict.order
        ),
    )
}
