//! Routing policies on the same rows, every call of a cascade counted: what each costs and keeps.
//!
//! A policy says which tiers it would ask for a prompt at a setting of its dial, and whose answer it would
//! give. Settings are chosen on validation for a stated share of the best single tier's quality, and read
//! once on the reported split.

use rayon::prelude::*;
use tiercast_routing::decide::{Acceptable, Constraints, Forecast, Objective, decide};
use tiercast_statistics::curve::{self, Axis};

use crate::interval::{dot, estimate, ratio};
use crate::operating::RIGHT;
use crate::report::{Estimate, Point};
use crate::study::{EvaluationError, GroupSums, Inputs, Rows, Study};
use crate::sweep::{floors, lambdas};
use report::{PolicyPoint, PolicyReport, PolicyRow, SCHEMA_VERSION};

mod certificates;
pub mod report;
#[cfg(test)]
mod tests;

/// Shares of the best single tier's quality that settings have to keep on validation.
pub const KEPT: [f64; 3] = [0.95, 0.98, 0.99];

/// What a policy does with one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Tiers asked, in order; at least one. A tier that is asked for several samples stands there as often.
    pub calls: Vec<usize>,
    /// The tier whose answer is given, one of them.
    pub accepted: usize,
}

impl Path {
    /// One call, whose answer is given.
    pub fn straight(tier: usize) -> Self {
        Self {
            calls: vec![tier],
            accepted: tier,
        }
    }
}

/// What a policy does with a prompt (an index into the outcomes' prompts) at a setting of its dial.
type Decide<'a> = Box<dyn Fn(f64, usize) -> Path + Sync + 'a>;

/// What can be turned between cheap and good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dial {
    /// Nothing.
    Absent,
    /// A number from 0 to 1, such as a floor on expected quality.
    Share(&'static str),
    /// Quality per US dollar: the same settings as every method's of the evaluation.
    TradeOff,
}

impl Dial {
    /// What it is, in words; empty for [`Dial::Absent`].
    fn words(self) -> &'static str {
        match self {
            Self::Absent => "",
            Self::Share(words) => words,
            Self::TradeOff => "quality per US dollar",
        }
    }

    fn settings(self, study: &Study<'_>) -> Vec<f64> {
        match self {
            Self::Absent => vec![0.0],
            Self::Share(_) => floors(),
            Self::TradeOff => lambdas(study),
        }
    }
}

/// A policy with its dial.
pub struct Policy<'a> {
    /// As in the config: `meta`, `rules`, ...
    pub name: String,
    /// For a reader.
    pub label: String,
    /// What is turned.
    pub dial: Dial,
    /// What it does.
    pub decide: Decide<'a>,
}

impl<'a> Policy<'a> {
    /// A policy without a dial: `tier` per prompt.
    pub fn of_choices(name: impl Into<String>, label: impl Into<String>, choices: Vec<usize>) -> Self {
        Self {
            name: name.into(),
            label: label.into(),
            dial: Dial::Absent,
            decide: Box::new(move |_, prompt| Path::straight(choices[prompt])),
        }
    }

    /// The cheapest tier whose expected quality is at least a floor.
    pub fn meta(inputs: &'a Inputs<'a>) -> Self {
        Self {
            name: "meta".to_owned(),
            label: "Quality distributions, cheapest acceptable tier".to_owned(),
            dial: Dial::Share("floor on expected quality"),
            decide: Box::new(|floor, prompt| {
                let objective = Objective::Cheapest(Acceptable::Floor(floor));
                Path::straight(chosen(inputs, prompt, objective))
            }),
        }
    }

    /// The best expected quality minus its price.
    pub fn trade_off(inputs: &'a Inputs<'a>) -> Self {
        Self {
            name: "meta:trade-off".to_owned(),
            label: "Quality distributions, best quality for its price".to_owned(),
            dial: Dial::TradeOff,
            decide: Box::new(|lambda_per_usd, prompt| {
                Path::straight(chosen(inputs, prompt, Objective::TradeOff { lambda_per_usd }))
            }),
        }
    }
}

fn chosen(inputs: &Inputs<'_>, prompt: usize, objective: Objective) -> usize {
    let forecasts: &[Forecast] = &inputs.forecasts[prompt];
    let decision = decide(inputs.catalog, forecasts, objective, &Constraints::default());
    decision.chosen.unwrap_or_else(|| inputs.catalog.dearest())
}

/// Measures policies beside every single tier. The first one leads: the others are compared with it.
pub fn evaluate_policies(inputs: &Inputs<'_>, policies: &[Policy<'_>]) -> Result<PolicyReport, EvaluationError> {
    let study = Study::new(inputs)?;
    let singles: Vec<Policy<'_>> = (0..study.n_tiers)
        .map(|tier| {
            let name = study.tier_name(tier);
            let choices = vec![tier; inputs.outcomes.prompts.len()];
            Policy::of_choices(format!("fixed:{name}"), format!("Always {name}"), choices)
        })
        .collect();
    let measured: Vec<Measured> = policies
        .iter()
        .chain(&singles)
        .map(|policy| measure(&study, policy))
        .collect();
    let leading = measured.first().map(|first| first.aiq.clone());
    let rows = measured.into_iter().enumerate().map(|(idx, measured)| {
        let paired = leading.as_ref().filter(|_| idx > 0 && measured.row.aiq.is_some());
        let minus_first = paired.map(|(value, replicates)| {
            let differences: Vec<f64> = measured
                .aiq
                .1
                .iter()
                .zip(replicates)
                .map(|(own, first)| own - first)
                .collect();
            estimate(measured.aiq.0 - value, &differences)
        });
        PolicyRow {
            aiq_minus_first: minus_first,
            ..measured.row
        }
    });
    Ok(PolicyReport {
        schema_version: SCHEMA_VERSION,
        checkpoint: inputs.checkpoint.clone(),
        data: crate::evaluate::data(&study),
        tiers: crate::evaluate::tiers(&study),
        references: study.references.clone(),
        policies: rows.collect(),
        certificates: policies
            .first()
            .map_or_else(Vec::new, |first| certificates::certificates(&study, first)),
        notes: notes(&study),
    })
}

/// A row with the replicates of its area.
struct Measured {
    row: PolicyRow,
    aiq: (f64, Vec<f64>),
}

fn measure(study: &Study<'_>, policy: &Policy<'_>) -> Measured {
    let (has_dial, settings) = (policy.dial != Dial::Absent, policy.dial.settings(study));
    let items: Vec<Vec<Path>> = settings.iter().map(|at| paths(policy, *at, &study.items)).collect();
    let sums: Vec<GroupSums> = items.iter().map(|paths| sums(study, paths)).collect();
    let ones = vec![1.0; study.group_sizes.len()];
    let points: Vec<Point> = sums.iter().map(|sums| point(study, sums, &ones)).collect();
    let aiq = study.replicates.run(|weights| area(study, &sums, weights));
    let at = |kept: Option<f64>, setting: usize| PolicyPoint {
        kept_on_validation: kept,
        setting: has_dial.then(|| settings[setting]),
        ..operating(study, &items[setting], &sums[setting])
    };
    let operating = if has_dial {
        let validation: Vec<Point> = settings
            .par_iter()
            .map(|at| of_validation(study, policy, *at))
            .collect();
        let chosen = KEPT
            .into_iter()
            .filter_map(|kept| Some((kept, least_cost(study, &validation, kept)?)));
        chosen.map(|(kept, setting)| at(Some(kept), setting)).collect()
    } else {
        vec![at(None, 0)]
    };
    Measured {
        row: PolicyRow {
            name: policy.name.clone(),
            label: policy.label.clone(),
            dial: policy.dial.words().to_owned(),
            settings,
            sweep: points,
            aiq: has_dial.then(|| estimate(aiq.0, &aiq.1)),
            aiq_minus_first: None,
            points: operating,
        },
        aiq,
    }
}

fn paths(policy: &Policy<'_>, at: f64, rows: &Rows) -> Vec<Path> {
    rows.prompts
        .par_iter()
        .map(|prompt| (policy.decide)(at, *prompt))
        .collect()
}

/// Mean cost and quality on validation.
fn of_validation(study: &Study<'_>, policy: &Policy<'_>, at: f64) -> Point {
    let rows = &study.validation;
    let n = rows.len().max(1) as f64;
    let (mut cost_usd, mut quality) = (0.0, 0.0);
    for (item, path) in paths(policy, at, rows).into_iter().enumerate() {
        cost_usd += path.calls.iter().map(|tier| rows.cost.at(item, *tier)).sum::<f64>() / n;
        quality += rows.quality.at(item, path.accepted) / n;
    }
    Point { cost_usd, quality }
}

/// Of the settings that keep `kept` of the best single tier's quality on validation, the one that costs
/// least there; the one of highest quality when none does; `None` without validation rows.
fn least_cost(study: &Study<'_>, validation: &[Point], kept: f64) -> Option<usize> {
    if study.validation.is_empty() {
        return None;
    }
    let wanted = kept * study.validation.quality.tier_means()[study.references.best_single];
    let settings = || 0..validation.len();
    let keeping = settings().filter(|at| validation[*at].quality >= wanted);
    keeping
        .min_by(|a, b| validation[*a].cost_usd.total_cmp(&validation[*b].cost_usd))
        .or_else(|| settings().max_by(|a, b| validation[*a].quality.total_cmp(&validation[*b].quality)))
}

/// Cost of every call made, quality of the answer given.
fn sums(study: &Study<'_>, paths: &[Path]) -> GroupSums {
    let zeros = vec![0.0; study.group_sizes.len()];
    let (mut cost, mut quality) = (zeros.clone(), zeros);
    for (item, (path, group)) in paths.iter().zip(&study.groups).enumerate() {
        cost[*group] += path
            .calls
            .iter()
            .map(|tier| study.items.cost.at(item, *tier))
            .sum::<f64>();
        quality[*group] += study.items.quality.at(item, path.accepted);
    }
    GroupSums { cost, quality }
}

fn point(study: &Study<'_>, sums: &GroupSums, weights: &[f64]) -> Point {
    let n = dot(weights, &study.group_sizes);
    Point {
        cost_usd: dot(weights, &sums.cost) / n,
        quality: dot(weights, &sums.quality) / n,
    }
}

/// AIQ between the cheapest and the dearest tier's mean cost (A.2); the peak where they cost the same.
fn area(study: &Study<'_>, sums: &[GroupSums], weights: &[f64]) -> f64 {
    let at = |sums: &GroupSums| {
        let Point { cost_usd, quality } = point(study, sums, weights);
        curve::Point {
            cost: cost_usd,
            quality,
        }
    };
    let hull = curve::hull(&sums.iter().map(at).collect::<Vec<_>>());
    let of = |tier: usize| point(study, &study.singles[tier], weights).cost_usd;
    let (from, to) = (of(study.references.cheapest), of(study.references.dearest));
    let height = curve::mean_height(&hull, from, to, Axis::Linear);
    if height.is_finite() {
        height
    } else {
        hull.last().map_or(0.0, |point| point.quality)
    }
}

/// The figures of one setting; the setting itself is the caller's to fill in.
fn operating(study: &Study<'_>, paths: &[Path], sums: &GroupSums) -> PolicyPoint {
    let run = |statistic: &(dyn Fn(&[f64]) -> f64 + Sync)| study.replicates.estimate(statistic);
    let against = |tier: usize, of: fn(&GroupSums) -> &Vec<f64>| {
        let other = &study.singles[tier];
        run(&|weights| ratio(dot(weights, of(sums)), dot(weights, of(other))))
    };
    let saved = |tier: usize| {
        let share = against(tier, |sums| &sums.cost);
        Estimate {
            value: 1.0 - share.value,
            low: 1.0 - share.high,
            high: 1.0 - share.low,
        }
    };
    let (best, dearest) = (study.references.best_single, study.references.dearest);
    let share =
        |holds: &dyn Fn(&Path) -> bool| paths.iter().filter(|path| holds(path)).count() as f64 / paths.len() as f64;
    PolicyPoint {
        kept_on_validation: None,
        setting: None,
        quality: run(&|weights| point(study, sums, weights).quality),
        cost_usd: run(&|weights| point(study, sums, weights).cost_usd),
        kept_of_best: against(best, |sums| &sums.quality),
        saved_of_best: saved(best),
        kept_of_dearest: against(dearest, |sums| &sums.quality),
        saved_of_dearest: saved(dearest),
        calls: paths.iter().map(|path| path.calls.len()).sum::<usize>() as f64 / paths.len() as f64,
        escalated: share(&|path| path.calls.iter().any(|tier| *tier != path.calls[0])),
        tier_shares: (0..study.n_tiers)
            .map(|tier| share(&|path| path.accepted == tier))
            .collect(),
        cheapest_captured: captured(study, paths),
        latency_s: latency(study, paths),
    }
}

/// Of the items that the cheapest tier answers acceptably (quality of at least one half), the share whose
/// first and last call went to it.
fn captured(study: &Study<'_>, paths: &[Path]) -> Option<Estimate> {
    let cheapest = study.references.cheapest;
    let mut counts = vec![[0.0; 2]; study.group_sizes.len()];
    for (item, path) in paths.iter().enumerate() {
        if study.items.quality.at(item, cheapest) >= RIGHT {
            let is_there = path.calls.iter().all(|tier| *tier == cheapest);
            counts[study.groups[item]][0] += f64::from(u8::from(is_there));
            counts[study.groups[item]][1] += 1.0;
        }
    }
    let sum = |weights: &[f64], at: usize| {
        counts
            .iter()
            .zip(weights)
            .map(|(count, weight)| count[at] * weight)
            .sum::<f64>()
    };
    let whole = vec![1.0; counts.len()];
    (sum(&whole, 1) > 0.0).then(|| {
        study
            .replicates
            .estimate(|weights| ratio(sum(weights, 0), sum(weights, 1)))
    })
}

/// Mean over items of the latencies of all calls, seconds: one tier after another, the samples of one side by
/// side. `None` where the data has none for some call.
fn latency(study: &Study<'_>, paths: &[Path]) -> Option<f64> {
    let of = |(item, path): (usize, &Path)| -> Option<f64> {
        let of_call = |tier: &usize| study.items.outcomes[item * study.n_tiers + tier].latency_s;
        path.calls.chunk_by(PartialEq::eq).map(|same| of_call(&same[0])).sum()
    };
    let total: Option<f64> = paths.iter().enumerate().map(of).sum();
    Some(total? / paths.len() as f64)
}

fn notes(study: &Study<'_>) -> Vec<String> {
    let mut notes = vec![
        "Costs are of every call made, qualities of the answer given.".to_owned(),
        "Captured: of the prompts that the cheapest tier answers with a quality of at least .5, the share that was sent there and nowhere else.".to_owned(),
    ];
    if study.validation.is_empty() {
        notes.push("There are no validation rows, so no setting was chosen.".to_owned());
    }
    notes
}
