//! What every handler shares.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use tiercast_budgets::amount::Amount;
use tiercast_budgets::error::BudgetError;
use tiercast_budgets::store::Store;
use tiercast_chat::Said;
use tiercast_records::journal::Label;
use tiercast_routing::cascade::{Cascade, Expected};
use tiercast_routing::decide::{Because, Budget, Exclusion, Forecast, Objective, Preferred, decide};
use tiercast_routing::evidence::{Assessment, Evidence};
use tiercast_routing::plan::Plan;
use tiercast_routing::request::Request;
use tiercast_routing::rules::Told;
use tiercast_upstream::client::Client;
use tiercast_upstream::error::ErrorKind;
use tokio::sync::{Semaphore, watch};

use crate::accounts::Accounts;
use crate::answer::{Answer, answer};
use crate::budgets::{Hold, Left, Purses, now_ms};
use crate::deployment::Deployment;
use crate::dials::Dials;
use crate::error::Error;
use crate::gateway::asked::Asked;
use crate::gateway::ways::Ways;
use crate::gateway::{unavailable, wait_of};
use crate::keys::Caller;
use crate::latency::Latencies;
use crate::metrics::Metrics;
use crate::observer::{Observer, Watch};
use crate::plans::{Advice, PlanRequest, Plans};
use crate::policy::{Policy, by_chance, classified, expected, first_stage, is_cheaper};
use crate::record::{Basis, Finished, Record, row};
use crate::serving::{Checkpoint, Env, Serving};
use crate::sessions::Sessions;
use crate::settings::budgets::{WhenSpent, WhenUnavailable};
use crate::settings::{Settings, SettingsError};
use crate::worker::{Forecasted, Forecaster, Refusal, Worker};

/// How long a deferred request waits before its purses are looked at again.
const DEFERRED: Duration = Duration::from_millis(250);

/// Tasks that clients may name; further ones are `other`.
const MOST_TASKS: usize = 100;

/// Confidence of the classifier where a request gives none: more likely than not.
const LIKELY: f64 = 0.5;

/// Estimates the quality of an answer, in [0, 1]: of a trained tier (by index), to a request, with what was
/// expected of it before, what it says, and the share of further samples that conclude the same.
pub type AnswerJudge = Arc<dyn Fn(usize, &Request, f64, &Said, Option<f64>) -> f64 + Send + Sync>;

/// Reads the settings anew: their text, or why it cannot be read.
pub type Source = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// How near the end of the process is, for what is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// What is under way may go on.
    None,
    /// The time to drain is over: say so to the client, settle, end.
    GivingUp,
    /// The client does not listen: end.
    Abandoned,
}

/// One served deployment: what it serves, its limits, its inference threads and its metrics.
pub struct State {
    serving: RwLock<Arc<Serving>>,
    checkpoint: Checkpoint,
    client: Client,
    env: Box<Env>,
    source: Option<Source>,
    /// One reload at a time.
    reloading: Mutex<()>,
    pub(crate) worker: Worker,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) accounts: Accounts,
    pub(crate) latencies: Latencies,
    pub(crate) sessions: Sessions,
    pub(crate) plans: Plans,
    answers: Option<AnswerJudge>,
    pub(crate) budgets: Option<Arc<dyn Store>>,
    /// Settlements under way.
    pub(crate) settling: Arc<AtomicUsize>,
    pub(crate) permits: Arc<Semaphore>,
    draining: AtomicBool,
    ending: watch::Sender<Ending>,
    process: u64,
    n_decisions: AtomicU64,
    pub(crate) observer: Arc<Observer>,
    /// Tasks that clients have named: labels of metrics and of rows.
    tasks: Mutex<BTreeSet<Label>>,
}

/// Everything a state is made of.
pub struct Parts {
    /// What is served.
    pub checkpoint: Checkpoint,
    /// The settings to begin with.
    pub settings: Settings,
    /// One per inference thread.
    pub forecasters: Vec<Forecaster>,
    /// Connections to endpoints.
    pub client: Client,
    /// Judges answers, where the checkpoint can.
    pub answers: Option<AnswerJudge>,
    /// Where budgets are kept; needed where the settings have any.
    pub budgets: Option<Arc<dyn Store>>,
    /// Where keys are read.
    pub env: Box<Env>,
    /// Where settings are read anew; none where there is no file.
    pub source: Option<Source>,
    /// What the server is observed by.
    pub watch: Watch,
}

/// A decision and what led to it.
pub(crate) struct Decided {
    pub(crate) answer: Answer,
    pub(crate) forecasts: Vec<Forecast>,
    pub(crate) dials: Dials,
    pub(crate) purses: Purses,
    /// The cascade that is to be run, where one is.
    pub(crate) cascade: Option<Cascade>,
    /// What is expected of the tiers that fit, for the cascade; empty without one.
    pub(crate) expected: Vec<Option<Expected>>,
    /// The budget is spent, and the cheapest tier answers all the same: its calls hold nothing.
    pub(crate) is_over: bool,
    /// What is told of it, when it is over.
    pub(crate) record: Arc<Record>,
}

/// Why a state cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings do not go with the checkpoint, or a key is missing.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No threads.
    #[error("starting the inference threads: {0}")]
    Threads(#[from] std::io::Error),
}

impl State {
    /// Starts one inference thread per forecaster.
    pub fn new(parts: Parts) -> Result<Arc<Self>, StartError> {
        let Parts {
            checkpoint,
            settings,
            forecasters,
            client,
            answers,
            budgets,
            env,
            source,
            watch,
        } = parts;
        let metrics = Arc::new(Metrics::new());
        let serving = Serving::new(&checkpoint, settings, &client, env.as_ref(), None)?;
        let settings = &serving.settings;
        let worker = Worker::start(forecasters, settings.queue_capacity, metrics.queue_depth())?;
        let observer = Observer::start(watch, Arc::clone(&metrics))?;
        let state = Self {
            permits: Arc::new(Semaphore::new(settings.max_concurrency)),
            serving: RwLock::new(Arc::new(serving)),
            checkpoint,
            client,
            env,
            source,
            reloading: Mutex::new(()),
            worker,
            metrics,
            accounts: Accounts::default(),
            latencies: Latencies::default(),
            sessions: Sessions::default(),
            plans: Plans::default(),
            answers,
            budgets,
            settling: Arc::default(),
            draining: AtomicBool::new(false),
            ending: watch::Sender::new(Ending::None),
            process: RandomState::new().hash_one(std::process::id()),
            n_decisions: AtomicU64::new(0),
            observer,
            tasks: Mutex::default(),
        };
        state.mark_borrowed(&state.serving(), true);
        Ok(Arc::new(state))
    }

    /// What is in force now. A request keeps it to its end.
    pub(crate) fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the settings anew and puts them in force as a whole, or leaves everything as it was.
    pub fn reload(&self) -> Result<(), String> {
        let source = self.source.as_ref();
        let source = source.ok_or("the server was started without --config, so there is nothing to reload")?;
        self.put_in_force(&source()?)
    }

    /// The same with the text of the settings.
    pub fn put_in_force(&self, text: &str) -> Result<(), String> {
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.serving();
        let next = || -> Result<Serving, SettingsError> {
            let settings = Settings::parse(text)?;
            before.settings.check_reload(&settings)?;
            let settings = settings.listening_on(before.settings.listen)?;
            Serving::new(
                &self.checkpoint,
                settings,
                &self.client,
                self.env.as_ref(),
                Some(&before),
            )
        };
        let next = next().map_err(|error| error.located(text).to_string())?;
        self.mark_borrowed(&before, false);
        self.mark_borrowed(&next, true);
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    fn mark_borrowed(&self, serving: &Serving, is_served: bool) {
        for (tier_idx, tier) in serving.deployment.catalog().tiers().iter().enumerate() {
            if let Some(from) = serving.deployment.borrowed_from(tier_idx) {
                self.metrics.borrowed(&tier.name, from, is_served);
            }
        }
    }

    /// Forecasts and decides. `start` is when the body had been read; what waits for a budget waits until
    /// `deadline`.
    pub(crate) async fn decide(
        &self,
        serving: &Serving,
        asked: &Asked,
        (headers, endpoint): (&HeaderMap, &'static str),
        caller: &Caller,
        ways: &Ways,
        (start, deadline): (Instant, Instant),
    ) -> Result<Decided, Error> {
        let mut dials = Dials::read(asked.model(), headers, &asked.request, serving, caller)?;
        let Forecasted { assessment, features } = self.assess(asked).await?;
        let forecasts = self.priced(serving, asked, &dials, &assessment);
        let notes = close(serving, asked, ways, &mut dials);
        dials.objective = match self.planned(serving, &dials, &forecasts).await? {
            Some(objective) => objective,
            None => self.objective(serving, &mut dials, asked, &assessment, &forecasts)?,
        };
        let purses = Purses::of(&serving.settings.budgets, &dials, caller).map_err(Error::Budgets)?;
        let known = (forecasts.as_slice(), &assessment.evidence);
        let (mut answer, is_over) = self
            .within(serving, &mut dials, known, &notes, &purses, deadline)
            .await
            .map_err(|error| or_open(error, serving))?;
        let took = start.elapsed();
        answer.overhead_ms = took.as_secs_f64() * 1000.0;
        self.metrics.decision(&answer, &dials, took);
        self.accounts.decided(&answer.decision.tier);
        tracing::debug!(
            id = answer.decision.id,
            tier = answer.decision.tier,
            reason = answer.decision.reason,
            "decided"
        );
        let basis = Basis {
            answer: &answer,
            dials: &dials,
            forecasts: &forecasts,
            endpoint,
            task: self.task(&dials, &assessment),
            feature_version: self.checkpoint.feature_version,
            features,
            trace: self.observer.trace(headers),
        };
        let record = Record::new(
            Arc::clone(&self.observer),
            Finished {
                served: row(basis),
                ask: asked.request.ask.clone(),
                reply: None,
            },
        );
        let is_passed_on = asked.is_streamed() && serving.settings.cascade.first_streams;
        let cascade = cascade_of(serving, &dials).filter(|_| !is_over && !is_passed_on);
        Ok(Decided {
            expected: match (&cascade, serving.deployment.cascade()) {
                (Some(_), Some(of)) => expected(of, serving.deployment.catalog(), &forecasts, &dials.constraints),
                _ => Vec::new(),
            },
            cascade,
            answer,
            forecasts,
            dials,
            purses,
            is_over,
            record,
        })
    }

    /// What a request is about, and whether the client said so.
    fn task(&self, dials: &Dials, assessment: &Assessment) -> (Label, bool) {
        if let Some(told) = &dials.task {
            let mut known = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(label) = known.get(told.as_str()) {
                return (Arc::clone(label), true);
            }
            if known.len() < MOST_TASKS {
                let label = Label::from(told.as_str());
                known.insert(Arc::clone(&label));
                return (label, true);
            }
            return (Label::from("other"), true);
        }
        let guessed = assessment.task.and_then(|task| self.checkpoint.tasks.get(task));
        (Label::from(guessed.map_or("unknown", String::as_str)), false)
    }

    async fn assess(&self, asked: &Asked) -> Result<Forecasted, Error> {
        let assessed = self.worker.forecast(asked.request.clone()).await;
        let assessed = assessed.inspect_err(|refusal| {
            if *refusal == Refusal::Full {
                self.metrics.queue_rejection();
            }
        });
        Ok(assessed?)
    }

    /// Forecasts of the served tiers, with what is known of latencies and of the session's prompt cache.
    fn priced(&self, serving: &Serving, asked: &Asked, dials: &Dials, assessment: &Assessment) -> Vec<Forecast> {
        let (deployment, now) = (&serving.deployment, Instant::now());
        let mut forecasts = deployment.forecasts(assessment);
        let wait = wait_of(asked.is_streamed());
        for (tier, forecast) in deployment.catalog().tiers().iter().zip(&mut forecasts) {
            forecast.latency_p95_s = self.latencies.p95_s(&tier.name, wait, now).or(forecast.latency_p95_s);
        }
        if let Some(session) = &dials.session {
            let lasts = Duration::from_secs(serving.settings.session_cache_s);
            self.sessions
                .price(session, deployment.catalog(), &mut forecasts, lasts, now);
        }
        forecasts
    }

    /// The answer within what the purses have left; or what is to be done where that is too little. Also says
    /// whether it is answered over the budget.
    async fn within(
        &self,
        serving: &Serving,
        dials: &mut Dials,
        known: (&[Forecast], &Evidence),
        notes: &[(usize, String)],
        purses: &Purses,
        deadline: Instant,
    ) -> Result<(Answer, bool), Error> {
        let deployment = &serving.deployment;
        let answered = |dials: &Dials| answer(deployment, dials, known, notes, self.next_id());
        loop {
            let left = self.left(serving, purses).await?;
            dials.constraints.budget = left.budget();
            let found = answered(dials);
            if found.is_ok() || left.budget() == Budget::default() {
                return Ok((found?, false));
            }
            // Where nothing fits without the budget either, the budget is not why.
            dials.constraints.budget = Budget::default();
            let cheapest = cheapest(deployment, &answered(dials)?);
            let (named, is_named) = match dials.objective {
                Objective::Fixed(named) => (named, true),
                _ => (cheapest, false),
            };
            let (usd, tokens) = needed(&known.0[named]);
            match left.when_spent(usd, tokens) {
                WhenSpent::Degrade if !is_named => {
                    dials.objective = Objective::Preferred {
                        what: Preferred::Tier(cheapest),
                        why: Because::Budget,
                    };
                    return Ok((answered(dials)?, true));
                }
                WhenSpent::Defer if dials.is_async && Instant::now() + DEFERRED < deadline => {
                    tokio::time::sleep(DEFERRED).await;
                }
                _ => {
                    self.metrics.budget_refusal();
                    return Err(purses.spent(&left, usd, tokens).into());
                }
            }
        }
    }

    /// What the policy looks for in this request.
    fn objective(
        &self,
        serving: &Serving,
        dials: &mut Dials,
        asked: &Asked,
        assessment: &Assessment,
        forecasts: &[Forecast],
    ) -> Result<Objective, Error> {
        let (deployment, constraints) = (&serving.deployment, &dials.constraints);
        let catalog = deployment.catalog();
        let cascade = deployment.cascade().filter(|_| self.answers.is_some());
        Ok(match dials.policy {
            Policy::Meta | Policy::Fixed(_) => dials.objective,
            Policy::Rules => {
                let told = Told {
                    task: dials.task.as_deref(),
                    input_tokens: forecasts.first().map(|forecast| forecast.input_tokens.round() as u64),
                };
                let fired = deployment.rules().fire(&asked.request, told);
                dials.rule = Some(fired.name.to_owned());
                Objective::Preferred {
                    what: fired.target,
                    why: Because::Rule,
                }
            }
            Policy::Classifier => classified(deployment, assessment, forecasts, LIKELY).ok_or(Error::NoClassifier)?,
            Policy::Random(seed) => by_chance(seed, &asked.request.ask, catalog, forecasts, constraints),
            Policy::Cascade => {
                let cascade = cascade.ok_or(Error::NoCascade)?;
                let first = first_stage(&cascade.cascade, &expected(cascade, catalog, forecasts, constraints));
                // Where no stage can be asked, what is said of the others is what there is to say.
                first.unwrap_or(dials.objective)
            }
            Policy::Auto => cascade
                .and_then(|cascade| {
                    let expected = expected(cascade, catalog, forecasts, constraints);
                    let one = decide(catalog, forecasts, dials.objective, constraints).chosen?;
                    let most = constraints.max_latency_s;
                    let is_cheaper = is_cheaper(cascade, &expected, one, most);
                    is_cheaper.then(|| first_stage(&cascade.cascade, &expected))?
                })
                .unwrap_or(dials.objective),
        })
    }

    /// The estimate of an answer's quality; what was expected before it where nothing can judge.
    pub(crate) fn answer_quality(
        &self,
        serving: &Serving,
        tier_idx: usize,
        request: &Request,
        forecast: &Forecast,
        (said, agreement): (&Said, Option<f64>),
    ) -> f64 {
        let expected = forecast.quality.mean();
        let source = serving.deployment.source(tier_idx);
        match &self.answers {
            Some(judge) => judge(source, request, expected, said, agreement),
            None => expected,
        }
    }

    pub(crate) fn escalated(&self, from: &str, to: &str) {
        self.accounts.escalated(from, to);
        self.metrics.escalation(from, to);
    }

    /// What the session's plan gives the step of this request, where it names one.
    async fn planned(
        &self,
        serving: &Serving,
        dials: &Dials,
        forecasts: &[Forecast],
    ) -> Result<Option<Objective>, Error> {
        let (Some(session), Some(step)) = (&dials.session, &dials.step) else {
            return Ok(None);
        };
        let prefer = |tier: usize, why: Because| {
            Some(Objective::Preferred {
                what: Preferred::Tier(tier),
                why,
            })
        };
        let by_cost = |a: &usize, b: &usize| forecasts[*a].cost_usd.total_cmp(&forecasts[*b].cost_usd);
        let purses = Purses::of_session(&serving.settings.budgets, session).map_err(Error::Budgets)?;
        let left_usd = self.left(serving, &purses).await?.budget().usd;
        match self.plans.advise(session, step, left_usd, Instant::now()) {
            Advice::Tier(tier) if tier < forecasts.len() => Ok(prefer(tier, Because::Plan)),
            // The tiers were changed since: the plan is of others.
            Advice::Tier(_) => Ok(None),
            Advice::Spent => Ok(prefer(
                (0..forecasts.len()).min_by(by_cost).unwrap_or_default(),
                Because::Budget,
            )),
            Advice::NoPlan => {
                let mend =
                    "the session has no plan: POST /v1/plans with its x-session-id first, or leave this header out";
                Err(Error::header("x-tiercast-step-id", step, mend))
            }
            Advice::NoStep(known) => {
                let mend = format!("the steps of the session's plan are {known}");
                Err(Error::header("x-tiercast-step-id", step, mend))
            }
        }
    }

    /// Plans a task, and remembers the plan where the request is of a session.
    pub(crate) async fn plan(&self, serving: &Serving, bytes: &[u8], session: Option<&str>) -> Result<Plan, Error> {
        let request = PlanRequest::read(bytes)?;
        let mut assessments = Vec::new();
        for ask in request.requests() {
            assessments.push(self.worker.forecast(ask).await?.assessment);
        }
        let most_usd = match session {
            Some(session) => {
                let purses = Purses::of_session(&serving.settings.budgets, session).map_err(Error::Budgets)?;
                self.left(serving, &purses).await?.budget().usd
            }
            None => None,
        };
        let task = request.task(&serving.deployment, &assessments, most_usd);
        let plan = task.solve()?;
        if let Some(session) = session {
            self.plans.put(session, task, Instant::now());
        }
        Ok(plan)
    }

    /// What the purses have left; no limit where there is none, or where the store is away and that is allowed.
    async fn left(&self, serving: &Serving, purses: &Purses) -> Result<Left, Error> {
        let (false, Some(store)) = (purses.is_empty(), &self.budgets) else {
            return Ok(Left::default());
        };
        let left = purses.left(store.as_ref()).await;
        self.unless_open(serving, left)
    }

    /// What a store answered; where it is away and the settings say so, nothing.
    fn unless_open<T: Default>(&self, serving: &Serving, answered: Result<T, BudgetError>) -> Result<T, Error> {
        match answered {
            Err(error @ BudgetError::Unavailable { .. }) => {
                self.metrics.budget_store_failure();
                tracing::warn!(%error, "the budget store does not answer");
                match serving.settings.budgets.when_unavailable {
                    WhenUnavailable::Open => Ok(T::default()),
                    WhenUnavailable::Closed => Err(Error::Budgets(error)),
                }
            }
            other => other.map_err(Error::Budgets),
        }
    }

    /// Holds what a call to a tier may cost: the most where the request bounds its reply, twice what is expected
    /// where it does not; where that does not fit any more, all that is left, so that no other call counts on it too.
    /// `None` where there is no purse, or where the store is away and that is allowed.
    pub(crate) async fn hold(
        &self,
        serving: &Serving,
        decided: &Decided,
        tier_idx: usize,
        max_output_tokens: Option<u32>,
        n_attempts: usize,
    ) -> Result<Option<Hold>, Error> {
        let (false, Some(store)) = (decided.purses.is_empty(), &self.budgets) else {
            return Ok(None);
        };
        let id = format!("{}.{n_attempts}", decided.answer.decision.id);
        if decided.is_over {
            return Ok(Some(decided.purses.booked(store, id, &self.settling)));
        }
        let (tier, forecast) = (
            &serving.deployment.catalog().tiers()[tier_idx],
            &decided.forecasts[tier_idx],
        );
        let most = max_output_tokens.map_or(2.0 * forecast.output_tokens, f64::from);
        let hold_s = serving.settings.budgets.hold_s;
        let try_to = async |output: f64, within: Budget| {
            let usd = tier
                .cost_usd(forecast.input_tokens, output)
                .min(within.usd.unwrap_or(f64::INFINITY));
            let tokens = (forecast.input_tokens + output).min(within.tokens.unwrap_or(f64::INFINITY));
            let amount = Amount::new(usd, tokens)?;
            decided
                .purses
                .hold(store, id.clone(), amount, hold_s, &self.settling)
                .await
        };
        let mut held = try_to(most, Budget::default()).await;
        if matches!(held, Err(BudgetError::Refused { .. })) && forecast.output_tokens < most {
            let left = self.left(serving, &decided.purses).await?.budget();
            let (usd, tokens) = needed(forecast);
            held = match left.admits(usd, tokens) {
                true => try_to(most, left).await,
                false => held,
            };
            // Another call was quicker: what is expected may still fit.
            if matches!(held, Err(BudgetError::Refused { .. })) {
                held = try_to(forecast.output_tokens, Budget::default()).await;
            }
        }
        match held {
            Err(BudgetError::Refused { .. }) => {
                let left = self.left(serving, &decided.purses).await?;
                let (usd, tokens) = needed(forecast);
                Err(decided.purses.spent(&left, usd, tokens).into())
            }
            other => self.unless_open(serving, other.map(Some)),
        }
    }

    pub(crate) fn fell_back(&self, from: &str, to: &str, kind: ErrorKind) {
        self.accounts.fell_back(from, to);
        self.metrics.fallback(from, to, kind.name());
    }

    /// Whether requests should come here: a forecast has come back and we are not leaving.
    pub(crate) fn is_ready(&self) -> bool {
        self.worker.answers() && !self.draining.load(Ordering::Relaxed)
    }

    /// Says that we are leaving; what is under way goes on.
    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Says to what is under way how near the end is.
    pub(crate) fn go_to(&self, ending: Ending) {
        self.ending.send_replace(ending);
    }

    /// Resolves once the end is so near.
    pub(crate) async fn ends(&self, ending: Ending) {
        let mut now = self.ending.subscribe();
        now.wait_for(|now| *now >= ending).await.expect("its sender is ours");
    }

    /// Whether what is under way has to end.
    pub(crate) fn is_giving_up(&self) -> bool {
        *self.ending.borrow() >= Ending::GivingUp
    }

    /// Forgets what is old in the budgets' store.
    pub(crate) async fn sweep_budgets(&self) {
        let Some(store) = &self.budgets else { return };
        if let Err(error) = store.sweep(now_ms()).await {
            self.metrics.budget_store_failure();
            tracing::warn!(%error, "the budget store could not be swept");
        }
    }

    /// Whether every call that has ended is booked.
    pub(crate) fn is_settled(&self) -> bool {
        self.settling.load(Ordering::Relaxed) == 0
    }

    /// Answers what is queued and ends the inference threads.
    pub(crate) fn drain(&self) {
        self.start_draining();
        self.worker.drain();
        self.observer.stop();
    }

    /// A name for a decision: random per process, counted within.
    pub(crate) fn next_id(&self) -> String {
        let count = self.n_decisions.fetch_add(1, Ordering::Relaxed);
        self.observer.sign(&format!("{:016x}{count:08x}", self.process))
    }
}

/// Adds the tiers that cannot be asked, and says of those which field of the request is at fault.
fn close(serving: &Serving, asked: &Asked, ways: &Ways, dials: &mut Dials) -> Vec<(usize, String)> {
    let mut notes = Vec::new();
    for (tier_idx, upstream) in serving.upstreams.iter().enumerate() {
        let foreign = upstream
            .as_ref()
            .and_then(|upstream| ways.why_not(upstream.settings(), asked));
        let why = match foreign {
            Some(untranslatable) => {
                notes.push((tier_idx, untranslatable.to_string()));
                Some(Exclusion::Untranslatable)
            }
            None => unavailable(upstream.as_ref(), serving.settings.has_endpoints()),
        };
        dials.constraints.unavailable.extend(why.map(|why| (tier_idx, why)));
    }
    notes
}

/// A tier that would do and is left alone for a while is nothing that the request could mend.
fn or_open(error: Error, serving: &Serving) -> Error {
    let Error::NoTierFits(none) = error else { return error };
    let open = none.open_circuits().iter();
    let waits = open.filter_map(|tier| serving.upstreams.get(*tier)?.as_ref()?.circuit_open_for());
    match (none.open_circuits().is_empty(), waits.min()) {
        (true, _) => Error::NoTierFits(none),
        (false, wait) => Error::CircuitOpen {
            message: none.to_string(),
            retry_after_s: wait.map_or(1, |wait| wait.as_secs_f64().ceil() as u64).max(1),
        },
    }
}

/// The cascade that a decision begins. A level that the request asks for is the estimate from which an answer is
/// taken.
fn cascade_of(serving: &Serving, dials: &Dials) -> Option<Cascade> {
    let begins = matches!(
        dials.objective,
        Objective::Preferred {
            why: Because::Cascade,
            ..
        }
    );
    let cascade = serving.deployment.cascade().filter(|_| begins)?.cascade.clone();
    Some(match dials.level {
        Some(level) => cascade.with_threshold(level.threshold()),
        None => cascade,
    })
}

/// Of the tiers that fit, the one that is expected to cost least.
fn cheapest(deployment: &Deployment, answer: &Answer) -> usize {
    let fitting = answer
        .decision
        .ranked
        .iter()
        .filter_map(|name| deployment.catalog().position(name));
    let by_cost = |a: &usize, b: &usize| answer.tiers[*a].cost_usd.total_cmp(&answer.tiers[*b].cost_usd);
    fitting.min_by(by_cost).unwrap_or_default()
}

/// What a call is expected to take: US dollars, and tokens in and out.
fn needed(forecast: &Forecast) -> (f64, f64) {
    (forecast.cost_usd, forecast.input_tokens + forecast.output_tokens)
}
