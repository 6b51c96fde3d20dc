//! The policy `cascade`: ask a cheap tier, read its answer, then take it or ask a dearer one.
//!
//! [`Cascade::step`] is a pure function of what is expected and what has been answered: server and evaluation
//! drive it alike. Who drives it makes the calls, judges each answer (an estimate of its quality in [0, 1]),
//! and counts the cost and the latency of every call.

mod error;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use error::CascadeError;

use crate::catalog::{Catalog, Tier};

/// When an answer is taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stop {
    /// As soon as the estimate of an answer reaches its stage's threshold, in [0, 1]: one per stage but the
    /// last. Fitted on validation for a stated loss of quality.
    Thresholds(Vec<f64>),
    /// By value of information, one call ahead: as soon as no further call is expected to add more quality
    /// than its cost is worth.
    Value {
        /// Quality given up per US dollar saved, above 0.
        lambda_per_usd: f64,
        /// Share, in [0, 1], of the surprise at an answer that is expected of the next tier too. 0: tiers
        /// fail on different requests; 1: what is hard for one is as hard for the other.
        dependence: f64,
    },
}

/// Two tiers or more, none twice, no later one cheaper than an earlier, and when to stop.
#[derive(Debug, Clone, PartialEq)]
pub struct Cascade {
    stages: Vec<usize>,
    stop: Stop,
}

/// What is expected of a tier before it is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Mean of its quality.
    pub quality: f64,
    /// Standard deviation of the estimates that its answers get; 0 where unknown, which makes calls less
    /// worth while.
    pub spread: f64,
    /// Cost of the call, US dollars.
    pub cost_usd: f64,
    /// Expected latency, seconds, where known.
    pub latency_s: Option<f64>,
}

/// A call that was answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Call {
    /// Index of the tier in the catalog.
    pub tier: usize,
    /// Estimate of the answer's quality after reading it, in [0, 1].
    pub quality: f64,
    /// What it really cost, US dollars.
    pub cost_usd: f64,
}

/// What the calls of one request may take.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Allowance {
    /// All calls together, those made included, US dollars.
    pub max_cost_usd: Option<f64>,
    /// Seconds left until the deadline.
    pub left_s: Option<f64>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask this tier, by index in the catalog.
    Call(usize),
    /// Take the answer of this call, by position among the calls made; an earlier one may be the best.
    Accept(usize),
}

/// What is known of one stage's answers on validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Acceptance {
    /// Share of the answers that are taken, of those that get this far.
    pub share: f64,
    /// Mean quality of the taken ones.
    pub quality: f64,
}

/// What a cascade is expected to come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Mean quality.
    pub quality: f64,
    /// Mean cost of all calls together, US dollars.
    pub cost_usd: f64,
    /// Mean latency of all calls one after another, seconds; none where that of a stage is unknown.
    pub latency_s: Option<f64>,
    /// The same where every stage is asked.
    pub longest_s: Option<f64>,
}

impl Cascade {
    /// Checks the stages, cheapest first, and the rule.
    pub fn new(tiers: &[String], stop: Stop, catalog: &Catalog) -> Result<Self, CascadeError> {
        if tiers.len() < 2 {
            return Err(CascadeError::TooShort(tiers.to_vec()));
        }
        let stages = tiers.iter().enumerate().map(|(stage, name)| {
            if tiers[..stage].contains(name) {
                return Err(CascadeError::Cycle(name.clone()));
            }
            catalog.position(name).ok_or_else(|| CascadeError::UnknownTier {
                tier: name.clone(),
                known: catalog.tiers().iter().map(|tier| tier.name.clone()).collect(),
            })
        });
        let stages = stages.collect::<Result<Vec<usize>, CascadeError>>()?;
        check_order(&stages, catalog.tiers())?;
        check_stop(&stop, stages.len())?;
        Ok(Self { stages, stop })
    }

    /// The same stages, an answer of any of them taken from this estimate on, drawn into [0, 1].
    #[must_use]
    pub fn with_threshold(mut self, threshold: f64) -> Self {
        let n = self.stages.len() - 1;
        self.stop = Stop::Thresholds(vec![threshold.clamp(0.0, 1.0); n]);
        self
    }

    /// The same stages, stopped by value of information; both are drawn into their range.
    #[must_use]
    pub fn with_value(mut self, lambda_per_usd: f64, dependence: f64) -> Self {
        self.stop = Stop::Value {
            lambda_per_usd: lambda_per_usd.max(f64::MIN_POSITIVE),
            dependence: dependence.clamp(0.0, 1.0),
        };
        self
    }

    /// The tiers, by index in the catalog, cheapest first.
    pub fn stages(&self) -> &[usize] {
        &self.stages
    }

    /// What to do after `calls`. `expected` has one entry per tier of the catalog, `None` where it cannot be
    /// asked: it does not fit the request, or has failed. Stages are only passed forwards. Where nothing
    /// more may be asked, the best answer so far is taken; `None` if there is none either.
    pub fn step(&self, expected: &[Option<Expected>], calls: &[Call], allowance: &Allowance) -> Option<Step> {
        let mut open = self.open(expected, calls, allowance);
        let Some(best) = best(calls) else {
            return open.next().map(|(tier, _)| Step::Call(tier));
        };
        let next = match &self.stop {
            Stop::Thresholds(thresholds) if self.is_enough(thresholds, calls) => None,
            Stop::Thresholds(_) => open.next().map(|(tier, _)| tier),
            Stop::Value {
                lambda_per_usd,
                dependence,
            } => {
                let shift = dependence * surprise(expected, calls);
                worth_most(open, |of| {
                    gain(of, shift, calls[best].quality) - lambda_per_usd * of.cost_usd
                })
            }
        };
        Some(next.map_or(Step::Accept(best), Step::Call))
    }

    /// What the cascade is expected to come to before any call, for weighing it against one call of one tier.
    /// `acceptance` has one entry per stage; every answer of the last stage that can be asked is taken. A
    /// stage without an entry takes none. `None` where no stage can be asked.
    pub fn outlook(&self, expected: &[Option<Expected>], acceptance: &[Acceptance]) -> Option<Outlook> {
        let asked: Vec<(usize, Expected)> = (0..self.stages.len())
            .filter_map(|stage| Some((stage, expected.get(self.stages[stage]).copied().flatten()?)))
            .collect();
        let last = asked.len().checked_sub(1)?;
        let mut outlook = Outlook {
            quality: 0.0,
            cost_usd: 0.0,
            latency_s: Some(0.0),
            longest_s: Some(0.0),
        };
        let mut reach = 1.0;
        for (position, (stage, of)) in asked.iter().enumerate() {
            let known = acceptance.get(*stage).copied();
            let (share, quality) = match known {
                Some(known) if position < last => (known.share.clamp(0.0, 1.0), known.quality),
                // A stage that became the last takes also what it would have passed on: its mean.
                Some(known) if *stage + 1 == self.stages.len() => (1.0, known.quality),
                _ => (f64::from(u8::from(position == last)), of.quality),
            };
            outlook.quality += reach * share * quality;
            outlook.cost_usd += reach * of.cost_usd;
            let add = |sum: Option<f64>, weight: f64| Some(sum? + weight * of.latency_s?);
            outlook.latency_s = add(outlook.latency_s, reach);
            outlook.longest_s = add(outlook.longest_s, 1.0);
            reach *= 1.0 - share;
        }
        Some(outlook)
    }

    /// Stages behind the furthest one that was asked, as far as time and money allow.
    fn open(
        &self,
        expected: &[Option<Expected>],
        calls: &[Call],
        allowance: &Allowance,
    ) -> impl Iterator<Item = (usize, Expected)> {
        let furthest = calls.iter().filter_map(|call| self.stage(call.tier)).max();
        let spent: f64 = calls.iter().map(|call| call.cost_usd).sum();
        let fits = move |of: &Expected| {
            allowance.max_cost_usd.is_none_or(|most| spent + of.cost_usd <= most)
                && allowance.left_s.zip(of.latency_s).is_none_or(|(left, latency)| latency <= left)
                // Without a forecast of the latency there is still none without time.
                && allowance.left_s.is_none_or(|left| left > 0.0)
        };
        let behind = &self.stages[furthest.map_or(0, |stage| stage + 1)..];
        behind
            .iter()
            .filter_map(|tier| Some((*tier, expected.get(*tier).copied().flatten()?)))
            .filter(move |(_, of)| fits(of))
    }

    fn is_enough(&self, thresholds: &[f64], calls: &[Call]) -> bool {
        calls.iter().any(|call| {
            let threshold = self.stage(call.tier).and_then(|stage| thresholds.get(stage));
            threshold.is_some_and(|threshold| call.quality >= *threshold)
        })
    }

    fn stage(&self, tier: usize) -> Option<usize> {
        self.stages.iter().position(|stage| *stage == tier)
    }
}

/// Position of the best answer; of equals the last, since it is a dearer tier's.
fn best(calls: &[Call]) -> Option<usize> {
    (0..calls.len()).max_by(|a, b| calls[*a].quality.total_cmp(&calls[*b].quality))
}

/// How much better the answers are than was expected of their tiers, on average.
fn surprise(expected: &[Option<Expected>], calls: &[Call]) -> f64 {
    let surprises = calls.iter().filter_map(|call| {
        let of = expected.get(call.tier).copied().flatten()?;
        Some(call.quality - of.quality)
    });
    let (n, sum) = surprises.fold((0, 0.0), |(n, sum), surprise| (n + 1, sum + surprise));
    sum / f64::from(n.max(1))
}

/// Expected improvement on `current` if this tier is asked and the better answer is taken: the tier's estimate
/// is taken to be one spread above or below its mean, each as likely. Falls with `current`, rises with mean
/// and spread.
fn gain(of: Expected, shift: f64, current: f64) -> f64 {
    let mean = (of.quality + shift).clamp(0.0, 1.0);
    let improvement = |estimate: f64| (estimate.clamp(0.0, 1.0) - current).max(0.0);
    0.5 * (improvement(mean + of.spread) + improvement(mean - of.spread))
}

/// The tier whose call is worth most, if it is worth anything; of equals the first.
fn worth_most(open: impl Iterator<Item = (usize, Expected)>, worth: impl Fn(Expected) -> f64) -> Option<usize> {
    let mut most: Option<(usize, f64)> = None;
    for (tier, of) in open {
        let worth = worth(of);
        if worth > most.map_or(0.0, |(_, most)| most) {
            most = Some((tier, worth));
        }
    }
    most.map(|(tier, _)| tier)
}

/// Errors where a stage is cheaper than one before it, whatever the request.
fn check_order(stages: &[usize], tiers: &[Tier]) -> Result<(), CascadeError> {
    let is_cheaper = |a: &Tier, b: &Tier| {
        let (a, b) = (
            [a.input_usd_per_mtok, a.output_usd_per_mtok],
            [b.input_usd_per_mtok, b.output_usd_per_mtok],
        );
        a != b && a[0] <= b[0] && a[1] <= b[1]
    };
    for pair in stages.windows(2) {
        let (earlier, later) = (&tiers[pair[0]], &tiers[pair[1]]);
        if is_cheaper(later, earlier) {
            return Err(CascadeError::Order {
                earlier: earlier.name.clone(),
                later: later.name.clone(),
            });
        }
    }
    Ok(())
}

fn check_stop(stop: &Stop, n_stages: usize) -> Result<(), CascadeError> {
    let is_share = |number: f64| (0.0..=1.0).contains(&number);
    match stop {
        Stop::Thresholds(thresholds) if thresholds.len() + 1 != n_stages => Err(CascadeError::NThresholds {
            n: thresholds.len(),
            n_stages,
        }),
        Stop::Thresholds(thresholds) => match thresholds.iter().find(|threshold| !is_share(**threshold)) {
            Some(threshold) => Err(CascadeError::Threshold(*threshold)),
            None => Ok(()),
        },
        Stop::Value { lambda_per_usd, .. } if !lambda_per_usd.is_finite() || *lambda_per_usd <= 0.0 => {
            Err(CascadeError::Lambda(*lambda_per_usd))
        }
        Stop::Value { dependence, .. } if !is_share(*dependence) => Err(CascadeError::Dependence(*dependence)),
        Stop::Value { .. } => Ok(()),
    }
}
