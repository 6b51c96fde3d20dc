//! Figures of the judges, from the verdicts in the ledger alone: they can be made again at any time.

use std::collections::BTreeMap;

use tiercast_statistics::agreement::{Metric, alpha, raw_agreement};
use tiercast_statistics::prediction_powered::{Labelled, MeanEstimate, Weight, bias, mean_estimate};
use tiercast_statistics::summary::mean;

use super::gate::checks;
use super::judges::{Check, Judge, Judges};
use super::plan::Plan;
use super::probes::{Kind, PREFIX};
use super::report::{
    Agreement, CHECKER, Estimate, JudgeErrors, JudgeFigures, JudgedTier, Position, ProbeFigures, Report, TierScores,
    is_call_error,
};
use super::settings::{JudgeSettings, Truncated};
use crate::error::CollectError;
use crate::ledger::{Answer, CallKey, Ledger, Status, Verdict};

/// Of every interval here.
const CONFIDENCE: f64 = 0.95;

/// Scores this close count as near.
const NEAR: f64 = 0.1 + 1e-9;

/// Scores by judge and reply: the first judgement, both orders of a pair averaged.
#[derive(Debug)]
pub struct Scores(Vec<BTreeMap<CallKey, f64>>);

impl Scores {
    /// Reads them.
    pub fn read(ledger: &Ledger, judges: &Judges) -> Result<Self, CollectError> {
        let of = |judge: &std::sync::Arc<Judge>| Ok(scores(&ledger.verdicts(&judge.hash)?, judge, 0));
        judges
            .all()
            .iter()
            .map(of)
            .collect::<Result<_, CollectError>>()
            .map(Self)
    }

    /// The score of a reply by a judge.
    pub fn get(&self, judge: usize, key: &CallKey) -> Option<f64> {
        self.0[judge].get(key).copied()
    }
}

/// What becomes of a reply in the outcome file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    /// A score.
    Scored(f64),
    /// Cut at its limit; the score, where the configuration gives one.
    Truncated(Option<f64>),
    /// Not to be answered by this tier.
    Unanswerable,
    /// A judge failed or could not be read.
    Unscored,
}

/// What becomes of `answer`.
pub fn fate(answer: &Answer, plan: &Plan, scores: &Scores, settings: &JudgeSettings) -> Fate {
    if answer.call.status != Status::Answered {
        return Fate::Unanswerable;
    }
    if answer.call.truncated {
        return Fate::Truncated((settings.truncated == Truncated::Fail).then_some(0.0));
    }
    let tree = plan.trees.get(&answer.prompt.prompt_id);
    let score = tree.and_then(|tree| tree.score(&|judge| scores.get(judge, &answer.call.key)));
    score.map_or(Fate::Unscored, Fate::Scored)
}

/// All figures.
pub fn figures(
    ledger: &Ledger,
    judges: &Judges,
    plan: &Plan,
    settings: &JudgeSettings,
) -> Result<Report, CollectError> {
    let scores = Scores::read(ledger, judges)?;
    let mut report = Report {
        tiers: tiers(ledger, plan, &scores, settings)?,
        ..Report::default()
    };
    for (&idx, &n_replies) in &plan.n_replies {
        let judge = &judges.all()[idx];
        let verdicts = ledger.verdicts(&judge.hash)?;
        // A pairwise score of 0.5 is as good as the other answer: no scale to compare with exact scores.
        let is_rubric = judge.model().is_some_and(|model| model.against.is_none());
        let exact = plan.exact.filter(|exact| *exact != idx && is_rubric);
        let figures = JudgeFigures {
            n_replies: n_replies as u64,
            n_other: ledger.n_other_verdicts(&judge.name, &judges.hashes_of(&judge.name))?,
            tiers: judged_tiers(&scores, idx, exact),
            ..of_judge(judge, &verdicts)
        };
        report.gate.extend(checks(&figures, &settings.gate));
        report.judges.push(figures);
    }
    Ok(report)
}

fn tiers(
    ledger: &Ledger,
    plan: &Plan,
    scores: &Scores,
    settings: &JudgeSettings,
) -> Result<Vec<TierScores>, CollectError> {
    let mut tiers: BTreeMap<String, (TierScores, f64)> = BTreeMap::new();
    ledger.for_each_answer(plan.n_samples, |answer| {
        let (tier, sum) = tiers.entry(answer.call.key.tier.clone()).or_default();
        let fate = fate(&answer, plan, scores, settings);
        let score = match fate {
            Fate::Scored(score) | Fate::Truncated(Some(score)) => Some(score),
            _ => None,
        };
        tier.n_scored += u64::from(score.is_some());
        *sum += score.unwrap_or(0.0);
        tier.n_truncated += u64::from(matches!(fate, Fate::Truncated(_)));
        tier.n_unanswerable += u64::from(fate == Fate::Unanswerable);
        tier.n_unscored += u64::from(fate == Fate::Unscored);
        Ok::<(), CollectError>(())
    })?;
    let named = tiers.into_iter().map(|(name, (tier, sum))| TierScores {
        mean: (tier.n_scored > 0).then(|| sum / tier.n_scored as f64),
        tier: name,
        ..tier
    });
    Ok(named.collect())
}

/// What needs no other judge.
fn of_judge(judge: &Judge, verdicts: &[Verdict]) -> JudgeFigures {
    let is_probe = |verdict: &Verdict| verdict.key.tier.starts_with(PREFIX);
    let n_parsed = verdicts.iter().filter(|verdict| verdict.parsed).count();
    let is_unparsed = |verdict: &&Verdict| {
        verdict
            .error_kind
            .as_deref()
            .is_some_and(|kind| [super::asked::UNPARSEABLE, super::asked::NOT_PARSED].contains(&kind))
    };
    let n_unparsed = verdicts.iter().filter(is_unparsed).count();
    // What no judge has said could not be read either, and says nothing about its form.
    let is_said = |verdict: &&Verdict| {
        let kind = verdict.error_kind.as_deref();
        !kind.is_some_and(|kind| is_call_error(kind) || kind == super::asked::NO_OTHER)
    };
    let n_said = verdicts.iter().filter(is_said).count();
    let role = match &judge.check {
        Check::Model(_) => "model",
        Check::Command(_) => "command",
        _ => CHECKER,
    };
    JudgeFigures {
        name: judge.name.clone(),
        score_kind: judge.score_kind.clone(),
        hash: judge.hash.clone(),
        role: role.to_owned(),
        n_scored: scores(verdicts, judge, 0)
            .keys()
            .filter(|key| !key.tier.starts_with(PREFIX))
            .count() as u64,
        n_verdicts: verdicts.len() as u64,
        n_unparsed: n_unparsed as u64,
        n_failed: (verdicts.len() - n_parsed - n_unparsed) as u64,
        n_asked_again: verdicts.iter().filter(|verdict| verdict.attempts > 1).count() as u64,
        parse_rate: (n_said > 0).then(|| n_parsed as f64 / n_said as f64),
        // Not `sum`, which is -0 of nothing.
        cost_usd: verdicts
            .iter()
            .filter_map(|verdict| verdict.cost_usd)
            .fold(0.0, |sum, cost| sum + cost),
        agreement: agreement(judge, verdicts),
        position: judge
            .model()
            .filter(|model| model.against.is_some())
            .and_then(|_| position(verdicts)),
        probes: probe_figures(&scores(verdicts.iter().filter(|verdict| is_probe(verdict)), judge, 0)),
        errors: errors(verdicts),
        ..JudgeFigures::default()
    }
}

/// Scores of the judgements of number `repeat`; of pairs only those judged in both orders.
fn scores<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>, judge: &Judge, repeat: u32) -> BTreeMap<CallKey, f64> {
    let n_orders = if judge.model().is_some_and(|model| model.against.is_some()) {
        2
    } else {
        1
    };
    let mut by_key: BTreeMap<CallKey, Vec<f64>> = BTreeMap::new();
    for verdict in verdicts.into_iter().filter(|verdict| verdict.repeat == repeat) {
        if let Some(score) = verdict.score {
            by_key.entry(verdict.key.clone()).or_default().push(score);
        }
    }
    let whole = by_key.into_iter().filter(|(_, scores)| scores.len() == n_orders);
    whole.map(|(key, scores)| (key, mean(&scores))).collect()
}

fn agreement(judge: &Judge, verdicts: &[Verdict]) -> Option<Agreement> {
    let (first, second) = (scores(verdicts, judge, 0), scores(verdicts, judge, 1));
    let twice = second
        .iter()
        .filter_map(|(key, again)| Some(vec![*first.get(key)?, *again]));
    let units: Vec<Vec<f64>> = twice.collect();
    Some(Agreement {
        n: units.len(),
        alpha_interval: alpha(&units, Metric::Interval),
        alpha_nominal: alpha(&units, Metric::Nominal),
        raw_equal: raw_agreement(&units, 1e-9)?,
        raw_near: raw_agreement(&units, NEAR)?,
    })
}

/// Over all pairs that were judged in both orders; `raw_score` is the quality of whichever stood first.
fn position(verdicts: &[Verdict]) -> Option<Position> {
    let mut pairs: BTreeMap<(&CallKey, u32), Vec<f64>> = BTreeMap::new();
    for verdict in verdicts.iter().filter(|verdict| verdict.attempts > 0) {
        if let Some(raw) = verdict.raw_score {
            pairs.entry((&verdict.key, verdict.repeat)).or_default().push(raw);
        }
    }
    let pairs: Vec<Vec<f64>> = pairs.into_values().filter(|pair| pair.len() == 2).collect();
    let firsts: Vec<f64> = pairs.iter().flatten().copied().collect();
    let n_flipped = pairs.iter().filter(|pair| pair[0] == pair[1] && pair[0] != 0.5).count();
    (!pairs.is_empty()).then(|| Position {
        n: pairs.len(),
        bias: 2.0 * mean(&firsts) - 1.0,
        flipped: n_flipped as f64 / pairs.len() as f64,
    })
}

fn probe_figures(scores: &BTreeMap<CallKey, f64>) -> Vec<ProbeFigures> {
    let good = Kind::Good.tier();
    let of = |kind: Kind| {
        let tier = kind.tier();
        let of_kind = || scores.iter().filter(|(key, _)| key.tier == tier);
        let gaps = of_kind().filter_map(|(key, score)| {
            let same = CallKey {
                tier: good.clone(),
                ..key.clone()
            };
            Some(scores.get(&same)? - score)
        });
        let gaps: Vec<f64> = gaps.collect();
        let of_kind: Vec<f64> = of_kind().map(|(_, score)| *score).collect();
        (!of_kind.is_empty()).then(|| ProbeFigures {
            kind,
            n: of_kind.len(),
            mean: mean(&of_kind),
            gap: (!gaps.is_empty()).then(|| mean(&gaps)),
        })
    };
    Kind::ALL.into_iter().filter_map(of).collect()
}

fn errors(verdicts: &[Verdict]) -> Vec<JudgeErrors> {
    let mut errors: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for verdict in verdicts.iter().filter(|verdict| !verdict.parsed) {
        let entry = errors
            .entry(verdict.error_kind.as_deref().unwrap_or("unknown"))
            .or_default();
        *entry = (entry.0 + 1, verdict.error_message.as_deref().unwrap_or_default());
    }
    let mut errors: Vec<JudgeErrors> = errors
        .into_iter()
        .map(|(kind, (n, example))| JudgeErrors {
            kind: kind.to_owned(),
            n,
            example: example.to_owned(),
        })
        .collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.n));
    errors
}

/// A judge's scores per tier and over all, beside those of the exact judge.
fn judged_tiers(scores: &Scores, judge: usize, exact: Option<usize>) -> Vec<JudgedTier> {
    let mut by_tier: BTreeMap<&str, Vec<(f64, Option<f64>)>> = BTreeMap::new();
    for (key, score) in scores.0[judge].iter().filter(|(key, _)| !key.tier.starts_with(PREFIX)) {
        let truth = exact.and_then(|exact| scores.get(exact, key));
        by_tier.entry(&key.tier).or_default().push((*score, truth));
        by_tier.entry("all tiers").or_default().push((*score, truth));
    }
    by_tier
        .into_iter()
        .map(|(tier, items)| judged_tier(tier, &items))
        .collect()
}

fn judged_tier(tier: &str, items: &[(f64, Option<f64>)]) -> JudgedTier {
    let labelled: Vec<Labelled> = items
        .iter()
        .filter_map(|&(judged, truth)| Some(Labelled { truth: truth?, judged }))
        .collect();
    let unlabelled: Vec<f64> = items
        .iter()
        .filter(|(_, truth)| truth.is_none())
        .map(|(judged, _)| *judged)
        .collect();
    let judged: Vec<f64> = items.iter().map(|(judged, _)| *judged).collect();
    let truths: Vec<f64> = labelled.iter().map(|item| item.truth).collect();
    let corrected = mean_estimate(&labelled, &unlabelled, Weight::Tuned, CONFIDENCE);
    let estimate = |found: MeanEstimate| Estimate {
        value: found.mean,
        low: found.low,
        high: found.high,
    };
    JudgedTier {
        tier: tier.to_owned(),
        n: items.len(),
        mean: mean(&judged),
        n_exact: labelled.len(),
        exact_mean: (!truths.is_empty()).then(|| mean(&truths)),
        bias: bias(&labelled, CONFIDENCE).map(estimate),
        corrected: corrected.map(estimate),
        weight: corrected.map(|found| found.weight),
    }
}
