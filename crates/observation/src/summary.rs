//! Rows folded to figures.
//!
//! [`Summary`] takes rows one by one and forgets them; parts can be folded apart and merged. Its memory is bounded
//! by the number of labels it keeps apart (64 tiers, 200 tasks, 100 cohorts), whatever clients send.
//! [`Summary::figures`] makes of it what is shown.

use tiercast_records::journal::{Label, Path, Served, Verdict};

mod bounded;
mod cost;
pub mod figures;
mod fold;
mod frontier;
mod heard;
mod hint;
mod interval;
mod label;
mod latency;
mod quality;
mod stage;
mod sum;
mod tier;
mod timeline;
mod trace;
mod view;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

use bounded::{Bounded, Fold};
use cost::{Cost, Forecast};
use frontier::{Frontier, PointSums};
use latency::Waits;
use quality::{Quality, Reliability};
use sum::Sum;
use tier::Tiers;
use timeline::Timeline;

pub use heard::Heard;
pub use interval::Interval;
pub use timeline::Resolution;
pub use trace::Trace;

/// Tasks and cohorts with figures of their own. Clients name them, so the most frequent ones have them.
const MOST_TASKS: usize = 200;
const MOST_COHORTS: usize = 100;
/// Names of endpoints, policies, reasons, rules and checkpoints that are counted apart.
const MOST_NAMES: usize = 100;
/// Pairs and triples of tiers and causes that are counted apart.
const MOST_PAIRS: usize = 500;

/// Rows, folded. A monoid: the figures of merged parts are those of the whole up to rounding, as long as there are
/// not more labels than have room.
#[derive(Debug, Clone)]
pub struct Summary {
    from_ms: Option<i64>,
    to_ms: Option<i64>,
    counts: Counts,
    tiers: Tiers,
    all: Group,
    by_path: [(u64, Quality); 4],
    tasks: Bounded<Label, Group>,
    cohorts: Bounded<Label, Group>,
    reliability: Reliability,
    /// Least and greatest rate at which judges drew.
    rates: Option<[f64; 2]>,
    frontier: Frontier,
    decided: PointSums,
    answered: PointSums,
    overhead: Waits,
    escalations: Bounded<[Label; 2], u64>,
    fallbacks: Bounded<[Label; 3], u64>,
    errors: Bounded<[Label; 2], u64>,
    exclusions: Bounded<[Label; 2], u64>,
    timelines: Vec<Timeline>,
    /// Forecasts of the row at hand; kept for its memory.
    forecasts: Vec<Forecast>,
}

/// Requests of one task, cohort or tier.
#[derive(Debug, Clone, Default)]
struct Group {
    cost: Cost,
    quality: Quality,
}

impl Fold for Group {
    fn merge(&mut self, other: &Self) {
        self.cost.merge(&other.cost);
        self.quality.merge(&other.quality);
    }
}

/// Plain counts.
#[derive(Debug, Clone)]
struct Counts {
    failed: u64,
    refused: u64,
    decided_only: u64,
    insufficient_evidence: u64,
    calls: u64,
    calls_with_estimated_tokens: u64,
    input_tokens: Sum,
    cached_tokens: Sum,
    output_tokens: Sum,
    unusable_figures: u64,
    endpoints: Bounded<Label, u64>,
    policies: Bounded<Label, u64>,
    reasons: Bounded<Label, u64>,
    rules: Bounded<Label, u64>,
    checkpoints: Bounded<Label, u64>,
}

impl Default for Summary {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Summary {
    /// Of nothing yet, with a series over time per resolution.
    pub fn new(timelines: &[Resolution]) -> Self {
        Self {
            from_ms: None,
            to_ms: None,
            counts: Counts::new(),
            tiers: Tiers::default(),
            all: Group::default(),
            by_path: Default::default(),
            tasks: Bounded::new(MOST_TASKS),
            cohorts: Bounded::new(MOST_COHORTS),
            reliability: Reliability::default(),
            rates: None,
            frontier: Frontier::default(),
            decided: PointSums::default(),
            answered: PointSums::default(),
            overhead: Waits::default(),
            escalations: Bounded::new(MOST_PAIRS),
            fallbacks: Bounded::new(MOST_PAIRS),
            errors: Bounded::new(MOST_PAIRS),
            exclusions: Bounded::new(MOST_PAIRS),
            timelines: timelines.iter().map(|resolution| Timeline::new(*resolution)).collect(),
            forecasts: Vec::new(),
        }
    }

    /// A row with the quality that users gave it, where it is known by now.
    pub fn add(&mut self, row: &Served, observed: Option<f64>) {
        self.serve(row);
        if let Some(observed) = observed {
            self.observe(&Trace::of(row), Heard::by_users(observed));
        }
    }

    /// What was said of a request's answer. Once per request: it is not known here whether something was said before.
    pub fn observe(&mut self, trace: &Trace, heard: Heard) {
        let Some(heard) = heard.clamped() else {
            self.counts.unusable_figures += 1;
            return;
        };
        self.drawn_at(heard.rate.map(|rate| [rate, rate]));
        let quality = heard.quality;
        self.qualities(trace, |group| group.observe(trace.predicted, heard));
        if let Some(predicted) = trace.predicted {
            self.reliability.observe(predicted, quality);
        }
        if let Some(name) = &trace.tier {
            let place = self.tiers.place(name);
            let tier = self.tiers.at(place);
            if let Some(estimate) = trace.estimate {
                tier.stage.observe(estimate, trace.target, quality);
            }
            if trace.path == Path::Direct {
                tier.by_propensity.observe(trace.propensity, quality);
            }
        }
    }

    fn drawn_at(&mut self, rates: Option<[f64; 2]>) {
        if let Some([low, high]) = rates {
            let [lowest, highest] = self.rates.unwrap_or([low, high]);
            self.rates = Some([lowest.min(low), highest.max(high)]);
        }
    }

    /// The same in a word.
    pub fn hear(&mut self, trace: &Trace, verdict: Verdict) {
        self.qualities(trace, |group| group.hear(verdict));
    }

    /// Every group that a request belongs to.
    fn qualities(&mut self, trace: &Trace, mut change: impl FnMut(&mut Quality)) {
        change(&mut self.all.quality);
        change(&mut self.by_path[trace.path as usize].1);
        change(&mut self.tasks.later(&label::short(&trace.task)).quality);
        change(&mut self.cohorts.later(&label::short(&trace.cohort)).quality);
        if let Some(tier) = &trace.tier {
            let place = self.tiers.place(tier);
            change(&mut self.tiers.at(place).answered.quality);
        }
    }

    /// Takes in what another summary has seen. Its series over time must be of the same resolutions; others are left out.
    pub fn merge(&mut self, other: &Self) {
        self.from_ms = self.from_ms.into_iter().chain(other.from_ms).min();
        self.to_ms = self.to_ms.max(other.to_ms);
        self.counts.merge(&other.counts);
        let to = self.tiers.merge(&other.tiers);
        let mut other = other.clone();
        other.costs_mut().for_each(|cost| cost.moved(&to));
        self.all.merge(&other.all);
        for (path, more) in self.by_path.iter_mut().zip(&other.by_path) {
            path.0 += more.0;
            path.1.merge(&more.1);
        }
        self.tasks.merge(&other.tasks);
        self.cohorts.merge(&other.cohorts);
        self.reliability.merge(&other.reliability);
        self.drawn_at(other.rates);
        self.frontier.merge(&other.frontier);
        self.decided.merge(&other.decided);
        self.answered.merge(&other.answered);
        self.overhead.merge(&other.overhead);
        self.escalations.merge(&other.escalations);
        self.fallbacks.merge(&other.fallbacks);
        self.errors.merge(&other.errors);
        self.exclusions.merge(&other.exclusions);
        for timeline in &mut self.timelines {
            let same = other
                .timelines
                .iter()
                .find(|theirs| theirs.resolution() == timeline.resolution());
            same.into_iter().for_each(|theirs| timeline.merge(theirs));
        }
    }

    /// Costs that hold figures by tier, other than those of the tiers themselves.
    fn costs_mut(&mut self) -> impl Iterator<Item = &mut Cost> {
        let groups = self
            .tasks
            .values_mut()
            .chain(self.cohorts.values_mut())
            .chain(Some(&mut self.all));
        let timelines = self.timelines.iter_mut().flat_map(Timeline::costs_mut);
        groups.map(|group| &mut group.cost).chain(timelines)
    }
}

impl Counts {
    fn new() -> Self {
        Self {
            failed: 0,
            refused: 0,
            decided_only: 0,
            insufficient_evidence: 0,
            calls: 0,
            calls_with_estimated_tokens: 0,
            input_tokens: Sum::default(),
            cached_tokens: Sum::default(),
            output_tokens: Sum::default(),
            unusable_figures: 0,
            endpoints: Bounded::new(MOST_NAMES),
            policies: Bounded::new(MOST_NAMES),
            reasons: Bounded::new(MOST_NAMES),
            rules: Bounded::new(MOST_NAMES),
            checkpoints: Bounded::new(MOST_NAMES),
        }
    }

    fn merge(&mut self, other: &Self) {
        self.failed += other.failed;
        self.refused += other.refused;
        self.decided_only += other.decided_only;
        self.insufficient_evidence += other.insufficient_evidence;
        self.calls += other.calls;
        self.calls_with_estimated_tokens += other.calls_with_estimated_tokens;
        self.input_tokens.merge(other.input_tokens);
        self.cached_tokens.merge(other.cached_tokens);
        self.output_tokens.merge(other.output_tokens);
        self.unusable_figures += other.unusable_figures;
        self.endpoints.merge(&other.endpoints);
        self.policies.merge(&other.policies);
        self.reasons.merge(&other.reasons);
        self.rules.merge(&other.rules);
        self.checkpoints.merge(&other.checkpoints);
    }
}
