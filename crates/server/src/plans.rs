//! Plans for agents: `POST /v1/plans` and `tiercast plan` divide a budget among the steps of a task.
//!
//! ```text
//! body -> steps -> a forecast per step -> solve -> a tier per step
//! step id of a request -> its tier;  settled call -> what the step really cost -> solved again
//! ```
//! Plans live in memory, one per session: they are advice, and whoever has lost one asks again. The session's
//! budget, where it has one, is kept by the store.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};
use tiercast_routing::catalog::Tier;
use tiercast_routing::decide::Forecast;
use tiercast_routing::evidence::Assessment;
use tiercast_routing::plan::{Estimate, Plan, PlanError, PlannedStep, State, Step, Terms, solve};
use tiercast_routing::request::{Needs, Request};

use crate::deployment::Deployment;
use crate::sessions::LONGEST_ID;

/// Steps of a plan: more are refused, since each takes a forecast.
pub const MOST_STEPS: usize = 2000;

/// Plans that are remembered; the longest unused is forgotten first.
const MOST_PLANS: usize = 10_000;

/// A task, as asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// For the whole task, US dollars.
    budget_usd: f64,
    /// Share of the budget that only the most important steps may spend.
    reserve_share: Option<f64>,
    /// Share of the budget that is planned for no step.
    cushion_share: Option<f64>,
    steps: Vec<StepRequest>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepRequest {
    id: String,
    #[serde(default = "one")]
    importance: f64,
    #[serde(default)]
    depends_on: Vec<String>,
    /// What will be asked, where that is known; else the step is judged by what all prompts are like.
    prompt: Option<String>,
    input_tokens: Option<f64>,
    output_tokens: Option<f64>,
    #[serde(default)]
    tools: bool,
    #[serde(default)]
    json_schema: bool,
    #[serde(default)]
    vision: bool,
    /// What it cost, US dollars: it is over.
    done_usd: Option<f64>,
}

fn one() -> f64 {
    1.0
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoPlan {
    /// Not what a plan is made from.
    #[error(
        "this is no task: {0}; send {{\"budget_usd\": 0.5, \"steps\": [{{\"id\": \"a\", \"prompt\": \"...\", \"output_tokens\": 300}}]}}"
    )]
    Body(String),
    /// Too many.
    #[error("{0} steps are more than {MOST_STEPS}: plan the nearest ones, and the others when their turn comes")]
    TooManySteps(usize),
    /// A number that cannot be.
    #[error("step `{step}`: {field} is {value}; give a number of tokens, 0 or more")]
    Tokens {
        /// The step.
        step: String,
        /// Which number.
        field: &'static str,
        /// What it is.
        value: f64,
    },
    /// An id that no header can hold.
    #[error("a step's id is empty or longer than {LONGEST_ID} bytes: it is sent as a header, so keep it short")]
    Id,
    /// It cannot be solved.
    #[error("{0}")]
    Task(PlanError),
}

impl PlanRequest {
    /// Reads and checks a body.
    pub fn read(bytes: &[u8]) -> Result<Self, NoPlan> {
        let read: Self = serde_json::from_slice(bytes).map_err(|error| NoPlan::Body(error.to_string()))?;
        if read.steps.len() > MOST_STEPS {
            return Err(NoPlan::TooManySteps(read.steps.len()));
        }
        for step in &read.steps {
            if step.id.is_empty() || step.id.len() > LONGEST_ID {
                return Err(NoPlan::Id);
            }
            for (field, value) in [
                ("input_tokens", step.input_tokens),
                ("output_tokens", step.output_tokens),
            ] {
                if let Some(value) = value.filter(|value| !value.is_finite() || *value < 0.0) {
                    let step = step.id.clone();
                    return Err(NoPlan::Tokens { step, field, value });
                }
            }
        }
        Ok(read)
    }

    /// What is to be forecast, step by step. A step without a prompt is an empty request.
    pub fn requests(&self) -> impl Iterator<Item = Request> {
        self.steps
            .iter()
            .map(|step| Request::of_text(step.prompt.clone().unwrap_or_default()))
    }

    /// The task as it stands, with a forecast per step in their order; at most `most_usd` may be spent, whatever
    /// the body says.
    pub fn task(&self, deployment: &Deployment, assessments: &[Assessment], most_usd: Option<f64>) -> Task {
        let steps = self.steps.iter().zip(assessments).map(|(step, assessment)| {
            let forecasts = deployment.forecasts(assessment);
            let tiers = deployment.catalog().tiers().iter().zip(&forecasts);
            Step {
                id: step.id.clone(),
                importance: step.importance,
                depends_on: step.depends_on.clone(),
                state: match step.done_usd {
                    Some(cost_usd) => State::Done { cost_usd },
                    None => State::Waiting(tiers.map(|(tier, forecast)| step.estimate(tier, forecast)).collect()),
                },
            }
        });
        let budget_usd = most_usd.map_or(self.budget_usd, |most| self.budget_usd.min(most));
        Task {
            steps: steps.collect(),
            terms: Terms {
                reserve_share: self.reserve_share.unwrap_or(Terms::DEFAULT_RESERVE_SHARE),
                cushion_share: self.cushion_share.unwrap_or(Terms::DEFAULT_CUSHION_SHARE),
                ..Terms::of_budget(budget_usd)
            },
        }
    }
}

impl StepRequest {
    /// `None` where the tier cannot take the step.
    fn estimate(&self, tier: &Tier, forecast: &Forecast) -> Option<Estimate> {
        let input_tokens = self.input_tokens.unwrap_or(forecast.input_tokens);
        let output_tokens = self.output_tokens.unwrap_or(forecast.output_tokens);
        let needs = Needs {
            tools: self.tools,
            json_schema: self.json_schema,
            vision: self.vision,
        };
        let can = tier.capabilities;
        let lacks = (needs.tools && !can.tools)
            || (needs.json_schema && !can.json_schema)
            || (needs.vision && !can.vision)
            || tier
                .context_window
                .is_some_and(|window| input_tokens + output_tokens > f64::from(window));
        (!lacks).then(|| Estimate {
            quality: forecast.quality.mean().clamp(0.0, 1.0),
            cost_usd: tier.cost_usd(input_tokens, output_tokens),
        })
    }
}

/// The steps of a task and what it has to keep to.
#[derive(Debug, Clone)]
pub struct Task {
    steps: Vec<Step>,
    terms: Terms,
}

impl Task {
    /// A tier per step that waits.
    pub fn solve(&self) -> Result<Plan, NoPlan> {
        solve(&self.steps, &self.terms).map_err(NoPlan::Task)
    }

    /// The same where no more than `left_usd` is left to spend, whatever the plan was made for.
    fn within(&self, left_usd: f64) -> Self {
        let done = self.steps.iter().map(|step| match step.state {
            State::Done { cost_usd } => cost_usd,
            State::Waiting(_) => 0.0,
        });
        let most_usd = done.sum::<f64>() + left_usd.max(0.0);
        let mut task = self.clone();
        task.terms.budget_usd = task.terms.budget_usd.min(most_usd);
        task
    }

    /// Books what a call for a step cost. A step that is asked again goes on where it was.
    fn spent(&mut self, step: &str, cost_usd: f64) {
        if let Some(step) = self.steps.iter_mut().find(|known| known.id == step) {
            let before = match step.state {
                State::Done { cost_usd } => cost_usd,
                State::Waiting(_) => 0.0,
            };
            step.state = State::Done {
                cost_usd: before + cost_usd,
            };
        }
    }

    fn ids(&self) -> Vec<&str> {
        self.steps.iter().map(|step| step.id.as_str()).collect()
    }
}

/// The plan for a reader, tiers by name.
pub fn view(plan: &Plan, deployment: &Deployment) -> Value {
    let step = |step: &PlannedStep| {
        json!({
            "id": step.id,
            "tier": deployment.name(step.choice.tier),
            "quality_mean": step.choice.quality,
            "cost_usd": step.choice.cost_usd,
            "reserved_usd": step.reserved_usd,
            "fallback": {
                "tier": deployment.name(step.fallback.tier),
                "quality_mean": step.fallback.quality,
                "cost_usd": step.fallback.cost_usd,
            },
            "why": step.why,
            "why_in_words": step.why.to_string(),
        })
    };
    json!({
        "steps": plan.steps.iter().map(step).collect::<Vec<_>>(),
        "quality": plan.quality,
        "upper_bound": plan.upper_bound,
        "gap": plan.gap,
        "cost_usd": plan.cost_usd,
        "least_usd": plan.least_usd,
        "budget_usd": plan.budget_usd,
        "spent_usd": plan.spent_usd,
        "reserve_usd": plan.reserve_usd,
        "cushion_usd": plan.cushion_usd,
    })
}

/// The plans of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Plans(Mutex<HashMap<String, Kept>>);

#[derive(Debug)]
struct Kept {
    task: Task,
    /// Tier of every step that had one, by id: a step that is asked again stays.
    given: HashMap<String, usize>,
    at: Instant,
}

/// What a plan says of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Advice {
    /// Take this tier (by index).
    Tier(usize),
    /// The session has no plan.
    NoPlan,
    /// The plan has no such step; it has these.
    NoStep(String),
    /// What was spent leaves too little for any plan: the cheapest tier.
    Spent,
}

impl Plans {
    /// Remembers a session's task in the place of its last one.
    pub(crate) fn put(&self, session: &str, task: Task, at: Instant) {
        let mut all = self.lock();
        if all.len() >= MOST_PLANS && !all.contains_key(session) {
            // Rare and linear: half go at once.
            let mut ages: Vec<Instant> = all.values().map(|kept| kept.at).collect();
            let (_, middle, _) = ages.select_nth_unstable(MOST_PLANS / 2);
            let middle = *middle;
            all.retain(|_, kept| kept.at > middle);
        }
        let given = HashMap::new();
        all.insert(session.to_owned(), Kept { task, given, at });
    }

    /// The tier for a step, solved with what the steps before it really cost, and with what the session has left
    /// where it has a budget: it may have spent besides the plan.
    pub(crate) fn advise(&self, session: &str, step: &str, left_usd: Option<f64>, at: Instant) -> Advice {
        let mut all = self.lock();
        let Some(kept) = all.get_mut(session) else {
            return Advice::NoPlan;
        };
        kept.at = at;
        if let Some(tier) = kept.given.get(step) {
            return Advice::Tier(*tier);
        }
        if !kept.task.ids().contains(&step) {
            return Advice::NoStep(kept.task.ids().join(", "));
        }
        let plan = match left_usd {
            Some(left_usd) => kept.task.within(left_usd).solve(),
            None => kept.task.solve(),
        };
        let found = plan
            .ok()
            .and_then(|plan| plan.steps.into_iter().find(|planned| planned.id == step));
        match found {
            Some(planned) => {
                kept.given.insert(step.to_owned(), planned.choice.tier);
                Advice::Tier(planned.choice.tier)
            }
            None => Advice::Spent,
        }
    }

    /// Books what a call for a step cost.
    pub(crate) fn spent(&self, session: &str, step: &str, cost_usd: f64) {
        if let Some(kept) = self.lock().get_mut(session) {
            kept.task.spent(step, cost_usd.max(0.0));
        }
    }

    /// A session's plan as it stands, or why there is none any more; `None` where it never had one.
    pub(crate) fn of(&self, session: &str) -> Option<Result<Plan, NoPlan>> {
        self.lock().get(session).map(|kept| kept.task.solve())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
