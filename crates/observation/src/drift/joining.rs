//! Which answer a rating is of, and what was predicted for it.

use std::collections::{HashMap, VecDeque};

use tiercast_records::journal::{About, Feedback, Label, Path, Served};

/// An answer that can be rated.
#[derive(Debug, Clone, PartialEq)]
pub struct Rated {
    /// Tier that gave it.
    pub tier: Label,
    /// Task of the request.
    pub task: Label,
    /// Who asked.
    pub cohort: Label,
    /// Predicted quality.
    pub predicted: f64,
}

impl Rated {
    /// The answer of a request. `None` where there is none, or no prediction that an outcome could be compared with.
    ///
    /// Where a cascade read the answer, its estimate is the prediction: answers it let out are the better ones.
    /// An answer that it went on to without an estimate is left out: such prompts are harder than the forecast knew.
    /// `route` forwards nothing, and its caller is taken to have asked the chosen tier.
    pub fn of(row: &Served) -> Option<Self> {
        let (tier, estimate) = match row.answer() {
            Some(call) => (&call.tier, call.estimate),
            None if &*row.endpoint == "route" && row.calls.is_empty() => (&row.tiers.get(row.chosen)?.tier, None),
            None => return None,
        };
        let forecast = || {
            row.tiers
                .iter()
                .find(|expected| expected.tier == *tier)
                .map(|expected| expected.quality_mean)
        };
        let predicted = match estimate {
            Some(estimate) => estimate,
            None if row.path() == Path::Escalated => return None,
            None => forecast()?,
        };
        (0.0..=1.0).contains(&predicted).then(|| Self {
            tier: tier.clone(),
            task: row.task.clone(),
            cohort: row.cohort.clone(),
            predicted: f64::from(predicted),
        })
    }
}

/// The last answers, by the id of their decision.
#[derive(Debug)]
pub(super) struct Memory {
    answers: HashMap<String, Rated>,
    /// Ids from the oldest on; some of them may have been rated.
    order: VecDeque<String>,
    limit: usize,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            answers: HashMap::new(),
            order: VecDeque::new(),
            limit,
        }
    }

    pub(super) fn keep(&mut self, row: &Served) {
        let Some(rated) = Rated::of(row) else { return };
        if self.order.len() >= self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        self.order.push_back(row.id.clone());
        self.answers.insert(row.id.clone(), rated);
    }

    /// The answer that feedback rates, and its quality. An answer is rated once.
    pub(super) fn recall(&mut self, feedback: &Feedback) -> Option<(Rated, f64)> {
        let observed = feedback.quality()?;
        match &feedback.about {
            About::Decision(id) => self.answers.remove(id).map(|rated| (rated, observed)),
            About::Session(_) => None,
        }
    }
}
