//! Judging answers that were served: they come one by one, have no reference, and what is said of them goes where the
//! caller keeps it. The judges, what they are asked and how they are read are those of a collected run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use tiercast_records::disk::hex;
use tiercast_upstream::upstream::Upstream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::asked::{Asker, Halt, Job, UNPARSEABLE, most_usd};
use super::endpoint::Endpoint;
use super::judges::{Against, Check, Judge, Judges, ModelJudge, Tree};
use super::run::{ABANDONED, FINISHED, check_price};
use super::settings::{JudgeSettings, config};
use crate::budget::Budget;
use crate::error::CollectError;
use crate::ledger::CallKey;
use crate::run::{Stop, reached};

/// Judgements at a time by judges that are no models: they take no time.
const AT_ONCE: usize = 8;

/// An answer that was served.
#[derive(Clone, PartialEq)]
pub struct Served {
    /// Id of its decision.
    pub id: String,
    /// Task of the request: takes the place of a prompt's domain.
    pub task: String,
    /// What was asked.
    pub prompt: String,
    /// What was answered.
    pub reply: String,
}

/// Says nothing of the texts.
impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A judge by name, without its parts that need a reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// As in the configuration.
    pub name: String,
    /// Hash of all that its verdicts rest on.
    pub hash: String,
    tree: Tree,
    members: Vec<usize>,
}

/// A judge that served answers are not judged by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its name.
    pub judge: String,
    /// Why not.
    pub why: &'static str,
}

/// Who judges served answers: the default judge, or the one that `by_domain` names for the task.
#[derive(Debug)]
pub struct ServedJudges {
    judges: Judges,
    seed: u64,
    default: Option<Panel>,
    by_task: BTreeMap<String, Option<Panel>>,
    /// Judges that were asked for and cannot.
    pub skipped: Vec<Skipped>,
}

impl ServedJudges {
    /// Of a configuration; `only` is the name of the one judge to take, whatever the task.
    /// [`CollectError::Config`] where none of them can judge without a reference.
    pub fn new(judges: Judges, settings: &JudgeSettings, only: Option<&str>) -> Result<Self, CollectError> {
        let mut skipped = Vec::new();
        let mut panel = |name: &String| Panel::new(&judges, name, &mut skipped);
        let name = only.map(str::to_owned).or_else(|| settings.default.clone());
        let default = name.as_ref().map(&mut panel).transpose()?.flatten();
        let by_domain = settings.by_domain.iter().filter(|_| only.is_none());
        let by_task: BTreeMap<String, Option<Panel>> = by_domain
            .map(|(domain, name)| Ok((domain.clone(), panel(name)?)))
            .collect::<Result<_, CollectError>>()?;
        skipped.sort_by(|a, b| a.judge.cmp(&b.judge));
        skipped.dedup();
        if default.is_none() && by_task.values().all(Option::is_none) {
            return Err(none_can(&judges, &skipped));
        }
        Ok(Self {
            judges,
            seed: settings.gate.seed,
            default,
            by_task,
            skipped,
        })
    }

    /// The judge of a task; none where it cannot judge without a reference, or there is none.
    pub fn of_task(&self, task: &str) -> Option<&Panel> {
        self.by_task.get(task).map_or(self.default.as_ref(), Option::as_ref)
    }

    /// All of them, by name.
    pub fn panels(&self) -> BTreeMap<&str, &Panel> {
        let panels = self.by_task.values().flatten().chain(&self.default);
        panels.map(|panel| (panel.name.as_str(), panel)).collect()
    }

    /// The models among them, by their place in a configuration's judges.
    pub fn models(&self) -> Vec<(usize, &Judge, &ModelJudge)> {
        let members: BTreeSet<usize> = self.panels().values().flat_map(|panel| panel.members.clone()).collect();
        let judge = |idx: usize| {
            let judge = &*self.judges.all()[idx];
            Some((idx, judge, judge.model()?))
        };
        members.into_iter().filter_map(judge).collect()
    }

    /// The most that judging an answer costs, US dollars, where nothing has to be asked for twice; nothing where a
    /// model's prices are not known, or nobody judges it.
    pub fn most_usd(&self, answer: &Served) -> Option<f64> {
        let panel = self.of_task(&answer.task)?;
        let model = |idx: &usize| Some((*idx, self.judges.all()[*idx].model()?));
        let models = panel.members.iter().filter_map(model);
        models
            .map(|(idx, model)| {
                let job = job(idx, answer);
                model
                    .prices
                    .map(|_| most_usd(model, &job.messages(model, self.seed, false)))
            })
            .sum()
    }
}

/// Why a judge that was named is of no use, and which would be.
fn none_can(judges: &Judges, skipped: &[Skipped]) -> CollectError {
    let can = judges.names().filter(|name| {
        let panel = Panel::new(judges, name, &mut Vec::new());
        matches!(panel, Ok(Some(_)))
    });
    let can: Vec<String> = can.map(|name| format!("`{name}`")).collect();
    let of = |skipped: &Skipped| format!("`{}`: {}", skipped.judge, skipped.why);
    let why = match skipped {
        [] => "`judge.default` names no judge".to_owned(),
        skipped => skipped.iter().map(of).collect::<Vec<_>>().join("; "),
    };
    let mend = match can.is_empty() {
        true => "Describe one of kind `llm_rubric` in [judge.judges.NAME]".to_owned(),
        false => format!(
            "Name one that can in `judge.default` or with --judge: {}",
            can.join(", ")
        ),
    };
    config(&format!(
        "no judge can judge what was served, which has no reference ({why}). {mend}"
    ))
}

impl Panel {
    /// None where nothing of the judge does without a reference.
    fn new(judges: &Judges, name: &str, skipped: &mut Vec<Skipped>) -> Result<Option<Self>, CollectError> {
        let Some(tree) = without_reference(judges.named(name)?, judges, skipped) else {
            return Ok(None);
        };
        let members: BTreeSet<usize> = tree.judges().into_iter().collect();
        Ok(Some(Self {
            name: name.to_owned(),
            hash: hash(&tree, judges),
            members: members.into_iter().collect(),
            tree,
        }))
    }
}

fn without_reference(tree: &Tree, judges: &Judges, skipped: &mut Vec<Skipped>) -> Option<Tree> {
    let mut parts = |of: &[Tree]| -> Option<Vec<Tree>> {
        let parts: Vec<Tree> = of
            .iter()
            .filter_map(|tree| without_reference(tree, judges, skipped))
            .collect();
        (!parts.is_empty()).then_some(parts)
    };
    match tree {
        Tree::All(of) => parts(of).map(Tree::All),
        Tree::Mean(of) => parts(of).map(Tree::Mean),
        Tree::One(idx) => {
            let judge = &judges.all()[*idx];
            let Some(why) = needs(&judge.check) else {
                return Some(tree.clone());
            };
            skipped.push(Skipped {
                judge: judge.name.clone(),
                why,
            });
            None
        }
    }
}

/// What a check needs that served answers do not have.
fn needs(check: &Check) -> Option<&'static str> {
    match check {
        Check::Choice(_)
        | Check::Text
        | Check::JsonAnswer
        | Check::Numeric(_)
        | Check::Schema { compare: true, .. } => Some("it compares with a reference"),
        Check::Schema { own: None, .. } => Some("it needs the prompt's schema"),
        // What it makes of a missing reference is not known here, and a wrong 0 would look like a bad answer.
        Check::Command(_) => Some("a command may compare with a reference"),
        Check::Model(model) => match &model.against {
            None => None,
            Some(Against::Reference) => Some("it compares with a reference"),
            Some(Against::Tier(_)) => Some("it compares with the answer of another tier"),
        },
        Check::Pattern(_) | Check::Schema { .. } => None,
    }
}

/// One judge has its own hash, several have one of theirs and of how they are put together.
fn hash(tree: &Tree, judges: &Judges) -> String {
    fn identity(tree: &Tree, judges: &Judges) -> serde_json::Value {
        let of = |trees: &[Tree]| trees.iter().map(|tree| identity(tree, judges)).collect::<Vec<_>>();
        match tree {
            Tree::One(idx) => json!(judges.all()[*idx].hash),
            Tree::All(trees) => json!(["all", of(trees)]),
            Tree::Mean(trees) => json!(["mean", of(trees)]),
        }
    }
    match tree {
        Tree::One(idx) => judges.all()[*idx].hash.clone(),
        tree => hex(&Sha256::digest(identity(tree, judges).to_string())[..8]),
    }
}

/// What was said of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// Id of its decision.
    pub id: String,
    /// Name of the judge.
    pub judge: String,
    /// Hash of all that the judge goes by.
    pub judge_hash: String,
    /// Quality in [0, 1]; none where there is no verdict.
    pub score: Option<f64>,
    /// US dollars.
    pub cost_usd: f64,
    /// Why there is no verdict.
    pub missing: Option<Missing>,
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The judge replied twice and neither could be read: asking again would be paid for again.
    Unparseable,
    /// The judge could not be asked: kind and message. May be asked again.
    Failed(String, String),
}

/// What a run needs from the caller.
#[derive(Debug)]
pub struct ServedRun {
    /// Who judges.
    pub judges: Arc<ServedJudges>,
    /// Endpoints of [`ServedJudges::models`], by place.
    pub upstreams: BTreeMap<usize, Upstream>,
    /// The most that this run may cost, US dollars.
    pub max_cost_usd: Option<f64>,
}

/// Judges every answer that comes, several at a time, and hands each word to `on_word` as soon as it is said. Ends
/// when no more come, or says why it ended before: what was not judged is not lost, for nothing was said of it.
/// Fails as `on_word` does.
pub async fn judge_served<E: From<CollectError>>(
    run: ServedRun,
    mut answers: mpsc::Receiver<Served>,
    mut stop: watch::Receiver<Stop>,
    mut on_word: impl FnMut(Word) -> Result<(), E>,
) -> Result<Option<String>, E> {
    let mut session = Session::new(run, &stop)?;
    let mut abandon = stop.clone();
    let mut is_open = true;
    loop {
        let is_going_on = is_open && session.stopped.is_none();
        if !is_going_on && session.in_flight.is_empty() {
            return Ok(session.stopped);
        }
        tokio::select! {
            Some(ended) = session.in_flight.join_next() => match ended.expect("a judgement does not panic") {
                Ok(word) => on_word(word)?,
                Err(halt) => session.halt(halt),
            },
            answer = answers.recv(), if is_going_on && session.has_room() => match answer {
                Some(answer) => session.start(answer),
                None => is_open = false,
            },
            () = reached(&mut stop, Stop::Finish), if session.stopped.is_none() => {
                session.stopped = Some(FINISHED.to_owned());
            }
            () = reached(&mut abandon, Stop::Abandon) => {
                session.in_flight.shutdown().await;
                return Ok(Some(ABANDONED.to_owned()));
            }
        }
    }
}

struct Session {
    judges: Arc<ServedJudges>,
    askers: Arc<BTreeMap<usize, Asker>>,
    in_flight: JoinSet<Result<Word, Halt>>,
    most_in_flight: usize,
    stopped: Option<String>,
}

impl Session {
    fn new(run: ServedRun, stop: &watch::Receiver<Stop>) -> Result<Self, CollectError> {
        let ServedRun {
            judges,
            mut upstreams,
            max_cost_usd,
        } = run;
        let models = judges.models();
        models
            .iter()
            .try_for_each(|(_, judge, model)| check_price(&judge.name, model, max_cost_usd))?;
        let concurrency: usize = models.iter().map(|(_, _, model)| model.endpoint.concurrency()).sum();
        let budget = Arc::new(Budget::new(max_cost_usd, 0.0));
        let members: BTreeSet<usize> = judges
            .panels()
            .values()
            .flat_map(|panel| panel.members.clone())
            .collect();
        let asker = |idx: usize| {
            let asker = Asker {
                judge: Arc::clone(&judges.judges.all()[idx]),
                endpoint: upstreams
                    .remove(&idx)
                    .map(|upstream| Endpoint::new(upstream, stop.clone())),
                budget: Arc::clone(&budget),
                commands: Arc::new(Semaphore::new(1)),
                seed: judges.seed,
            };
            (idx, asker)
        };
        let askers = Arc::new(members.into_iter().map(asker).collect());
        Ok(Self {
            askers,
            judges,
            in_flight: JoinSet::new(),
            most_in_flight: concurrency.max(AT_ONCE),
            stopped: None,
        })
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.most_in_flight
    }

    /// What nobody can judge is left out.
    fn start(&mut self, answer: Served) {
        if let Some(panel) = self.judges.of_task(&answer.task).cloned() {
            let askers = Arc::clone(&self.askers);
            self.in_flight.spawn(async move { panel.ask(&askers, &answer).await });
        }
    }

    /// The first reason counts.
    fn halt(&mut self, halt: Halt) {
        let why = match halt {
            Halt::Budget(why) | Halt::LeftAlone(_, why) => why,
            Halt::Stopped => FINISHED.to_owned(),
        };
        self.stopped.get_or_insert(why);
    }
}

impl Panel {
    async fn ask(&self, askers: &BTreeMap<usize, Asker>, answer: &Served) -> Result<Word, Halt> {
        let mut word = Word {
            id: answer.id.clone(),
            judge: self.name.clone(),
            judge_hash: self.hash.clone(),
            score: None,
            cost_usd: 0.0,
            missing: None,
        };
        let mut scores = BTreeMap::new();
        for idx in &self.members {
            let verdict = askers[idx].ask(&job(*idx, answer)).await?;
            word.cost_usd += verdict.cost_usd.unwrap_or(0.0);
            match (verdict.score, verdict.error_kind) {
                (Some(score), _) => {
                    scores.insert(*idx, score);
                }
                (None, Some(kind)) if kind != UNPARSEABLE => {
                    let message = verdict.error_message.unwrap_or_default();
                    word.missing = Some(Missing::Failed(kind, message));
                    return Ok(word);
                }
                (None, _) => word.missing = Some(Missing::Unparseable),
            }
        }
        word.score = self.tree.score(&|idx| scores.get(&idx).copied());
        Ok(word)
    }
}

fn job(judge: usize, answer: &Served) -> Job {
    Job {
        judge,
        key: CallKey {
            prompt_id: answer.id.clone(),
            tier: String::new(),
            sample: 0,
            parameters_hash: String::new(),
        },
        repeat: 0,
        order: 0,
        prompt: answer.prompt.clone(),
        reference: None,
        schema: None,
        reply: answer.reply.clone(),
        other: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = "rubric = \"r.md\"\nendpoint = { base_url = \"http://127.0.0.1:9/v1\", model = \"m\" }\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 1\n";

    /// Judges of a table `[judge]` that begins like this.
    fn served(head: &str, only: Option<&str>) -> Result<ServedJudges, CollectError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("r.md"), "Be right.").unwrap();
        let text = format!(
            "[judge]\n{head}\n[judge.judges.exact]\nkind = \"numeric\"\n[judge.judges.plain]\nkind = \"regex\"\npattern = \"a\"\n\
             [judge.judges.model]\nkind = \"llm_rubric\"\n{MODEL}[judge.judges.pair]\nkind = \"llm_pairwise\"\n\
             against = \"reference\"\n{MODEL}[judge.judges.both]\nkind = \"all\"\nof = [\"exact\", \"model\", \"plain\"]\n"
        );
        let settings = JudgeSettings::parse(&text)?;
        let judges = Judges::new(&settings, folder.path())?;
        ServedJudges::new(judges, &settings, only)
    }

    fn names(served: &ServedJudges) -> Vec<&str> {
        served.panels().keys().copied().collect()
    }

    #[test]
    fn what_needs_a_reference_is_skipped_by_name() {
        let both = served("default = \"both\"", None).unwrap();
        assert_eq!(names(&both), ["both"]);
        assert_eq!(both.skipped.len(), 1);
        assert_eq!(both.skipped[0].judge, "exact");
        assert_eq!(both.of_task("sums").unwrap().members.len(), 2);
        assert_eq!(both.models().len(), 1);

        let by_task = served(
            "default = \"model\"\nby_domain = { sums = \"exact\", prose = \"plain\" }",
            None,
        )
        .unwrap();
        assert!(by_task.of_task("sums").is_none());
        assert_eq!(by_task.of_task("prose").unwrap().name, "plain");
        assert_eq!(by_task.of_task("other").unwrap().name, "model");
        // One that is named is taken for all.
        let only = served("default = \"model\"\nby_domain = { sums = \"exact\" }", Some("plain")).unwrap();
        assert_eq!(only.of_task("sums").unwrap().name, "plain");
    }

    #[test]
    fn where_none_can_the_message_names_those_that_could() {
        for (head, only, parts) in [
            (
                "default = \"exact\"",
                None,
                ["`exact`: it compares", "`both`, `model`, `plain`"],
            ),
            ("", None, ["`judge.default` names no judge", "--judge"]),
            ("default = \"model\"", Some("pair"), ["`pair`: it compares", "`model`"]),
            ("default = \"model\"", Some("nobody"), ["`nobody`", "exact"]),
        ] {
            let error = served(head, only).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{head}: {error}");
        }
    }

    #[test]
    fn the_hash_is_of_what_a_judge_goes_by() {
        let hash = |only| served("", Some(only)).unwrap().of_task("").unwrap().hash.clone();
        assert_eq!(hash("model"), hash("model"));
        assert_ne!(hash("model"), hash("plain"));
        assert_ne!(hash("both"), hash("model"));
        assert_eq!(hash("both").len(), hash("model").len());
    }

    #[test]
    fn the_most_that_an_answer_costs() {
        let judges = served("default = \"both\"", None).unwrap();
        let answer = |n: usize| Served {
            id: "dec_1".to_owned(),
            task: String::new(),
            prompt: "What?".to_owned(),
            reply: "x".repeat(n),
        };
        let (short, long) = (
            judges.most_usd(&answer(4)).unwrap(),
            judges.most_usd(&answer(4_004)).unwrap(),
        );
        // 4,000 characters are 1,000 tokens, of which there may be twice as many, at a dollar a million.
        assert!((long - short - 2_000.0 / 1e6).abs() < 2e-6, "{short} {long}");
        // Nobody judges it for money.
        let plain = served("", Some("plain")).unwrap();
        assert_eq!(plain.most_usd(&answer(4)), Some(0.0));
    }
}
