//! What a run has to judge: the judges of each prompt, how many replies each judge gets, and what
//! its probes are made from. One pass over the ledger, before anything is spent.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use tiercast_records::prompts::Prompt;

use super::case::{Case, Verdict, text_of};
use super::judges::{Against, Check, Judges, Tree};
use super::settings::{JudgeSettings, config};
use crate::error::CollectError;
use crate::ledger::{Answer, Ledger, Status};
use crate::status::samples;

/// Replies that are judged twice at least, where there are as many.
const MIN_REPEATS: f64 = 20.0;

/// What a run has to judge.
#[derive(Debug, Default)]
pub struct Plan {
    /// Samples per prompt and tier.
    pub n_samples: u32,
    /// Judges by prompt.
    pub trees: BTreeMap<String, Tree>,
    /// Replies by judge, truncated ones left out.
    pub n_replies: BTreeMap<usize, usize>,
    /// What the probes of each model are made from.
    pub sources: BTreeMap<usize, Vec<Source>>,
    /// The judge that models are compared with.
    pub exact: Option<usize>,
}

/// A prompt and an answer to it that is good.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The prompt.
    pub prompt: Prompt,
    /// Its reference, else the whole answer of the strongest tier.
    pub good: String,
    /// A tier's whole answer that the exact judge gives nothing, where there is one.
    pub bad: Option<String>,
    /// The strongest tier's whole answer, which may be cut where the reference is too short.
    pub said: Option<String>,
    /// Whom a pairwise judge compares with.
    pub other: Option<String>,
    rank: u64,
}

impl Plan {
    /// Reads the ledger.
    pub fn new(ledger: &Ledger, judges: &mut Judges, settings: &JudgeSettings) -> Result<Self, CollectError> {
        let mut plan = Self {
            n_samples: samples(ledger)?,
            ..Self::default()
        };
        plan.exact = exact(judges, settings)?;
        let mut group: Vec<Answer> = Vec::new();
        ledger.for_each_answer(plan.n_samples, |answer| {
            if group
                .first()
                .is_some_and(|first| first.prompt.prompt_id != answer.prompt.prompt_id)
            {
                plan.add(&group, judges, settings)?;
                group.clear();
            }
            group.push(answer);
            Ok::<(), CollectError>(())
        })?;
        plan.add(&group, judges, settings)?;
        plan.check_tiers(ledger, judges)?;
        Ok(plan)
    }

    /// A judge that compares with a tier needs one of the run's: else every reply would be without a score.
    fn check_tiers(&self, ledger: &Ledger, judges: &Judges) -> Result<(), CollectError> {
        let tiers: Vec<String> = ledger.tiers()?.into_iter().map(|tier| tier.name).collect();
        for judge in self.n_replies.keys().map(|judge| &judges.all()[*judge]) {
            let against = judge.model().and_then(|model| model.against.as_ref());
            if let Some(Against::Tier(name)) = against.filter(|against| !against.is_one_of(&tiers)) {
                return Err(config(&format!(
                    "`judge.judges.{}.against` is \"tier:{name}\", and the run has no such tier; it has {}",
                    judge.name,
                    tiers.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// Whether the sample of replies that a model judges twice has this one.
    pub fn is_repeated(&self, judge: usize, key: &str, settings: &JudgeSettings) -> bool {
        let n = self.n_replies.get(&judge).copied().unwrap_or(0).max(1) as f64;
        let share = settings.gate.repeat_share;
        let share = if share == 0.0 { 0.0 } else { share.max(MIN_REPEATS / n) };
        rank(settings.gate.seed, key) as f64 / u64::MAX as f64 <= share && share > 0.0
    }

    fn add(&mut self, group: &[Answer], judges: &mut Judges, settings: &JudgeSettings) -> Result<(), CollectError> {
        let Some(first) = group.first() else { return Ok(()) };
        let tree = judges.of_prompt(&first.prompt)?;
        let whole = || {
            group
                .iter()
                .filter(|answer| answer.call.status == Status::Answered && !answer.call.truncated)
        };
        let mut of_prompt: BTreeSet<usize> = tree.judges().into_iter().collect();
        of_prompt.extend(
            self.exact
                .filter(|_| has_model(judges, &tree) && first.prompt.reference.is_some()),
        );
        for judge in of_prompt {
            *self.n_replies.entry(judge).or_default() += whole().count();
            let best = whole()
                .min_by_key(|answer| answer.class)
                .and_then(|answer| answer.call.response());
            let good = first.prompt.reference.as_ref().map(text_of).or(best.map(str::to_owned));
            let other = other(judges, judge, &first.prompt, group);
            let is_model = judges.all()[judge].model().is_some();
            let is_complete =
                judges.all()[judge].model().is_some_and(|model| model.against.is_none()) || other.is_some();
            if let Some(good) = good.filter(|good| is_model && is_complete && !good.trim().is_empty()) {
                let source = Source {
                    rank: rank(settings.gate.seed, &first.prompt.prompt_id),
                    prompt: first.prompt.clone(),
                    good,
                    bad: self.wrong(judges, &first.prompt, whole()),
                    said: best.map(str::to_owned),
                    other,
                };
                let sources = self.sources.entry(judge).or_default();
                sources.push(source);
                sources.sort_by_key(|source| source.rank);
                sources.truncate(settings.gate.probe_prompts);
            }
        }
        self.trees.insert(first.prompt.prompt_id.clone(), tree);
        Ok(())
    }
}

impl Plan {
    /// The first answer that the exact judge could read and gives nothing.
    fn wrong<'a>(
        &self,
        judges: &Judges,
        prompt: &Prompt,
        mut whole: impl Iterator<Item = &'a Answer>,
    ) -> Option<String> {
        let exact = &judges.all()[self.exact.filter(|_| prompt.reference.is_some())?];
        let case = Case {
            prompt: prompt.text.as_str(),
            reference: prompt.reference.as_ref(),
            schema: prompt.schema.as_ref(),
        };
        let is_wrong = |reply: &&str| match exact.check_now(reply, &case) {
            Some(Verdict::Scored(score)) => score.value == 0.0,
            _ => false,
        };
        let reply = whole.find_map(|answer| answer.call.response().filter(is_wrong))?;
        Some(reply.to_owned())
    }
}

/// Whom a pairwise judge compares replies to `prompt` with, where there is one.
pub fn other(judges: &Judges, judge: usize, prompt: &Prompt, group: &[Answer]) -> Option<String> {
    match judges.all()[judge].model()?.against.as_ref()? {
        Against::Reference => prompt.reference.as_ref().map(text_of),
        Against::Tier(name) => {
            let mut of_tier = group
                .iter()
                .filter(|answer| answer.call.key.tier == *name && !answer.call.truncated);
            of_tier.next()?.call.response().map(str::to_owned)
        }
    }
}

/// A number that depends on seed and key alone, even over all 64 bits.
pub fn rank(seed: u64, key: &str) -> u64 {
    let hash = Sha256::digest(format!("{seed}\n{key}"));
    u64::from_be_bytes(hash[..8].try_into().expect("a hash has 32 bytes"))
}

fn has_model(judges: &Judges, tree: &Tree) -> bool {
    tree.judges().iter().any(|judge| judges.all()[*judge].model().is_some())
}

fn exact(judges: &Judges, settings: &JudgeSettings) -> Result<Option<usize>, CollectError> {
    let Some(name) = &settings.gate.exact else {
        return Ok(None);
    };
    match judges.named(name)? {
        Tree::One(judge) if !matches!(judges.all()[*judge].check, Check::Command(_) | Check::Model(_)) => {
            Ok(Some(*judge))
        }
        _ => Err(config(&format!(
            "`judge.gate.exact` is `{name}`; it must be one judge that is no model, command or combination"
        ))),
    }
}
