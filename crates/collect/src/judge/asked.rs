//! One judgement by a model or a command: ask, read, ask once more where it could not be read.

use std::sync::Arc;

use serde_json::Value;
use tiercast_upstream::call::{ChatCall, OnCut, Reply, Usage};
use tiercast_upstream::error::CallError;
use tokio::sync::Semaphore;

use super::asking::{Fence, pairwise_messages, rubric_messages};
use super::case::{self, Case};
use super::endpoint::{Endpoint, NoReply};
use super::judges::{Check, Judge, ModelJudge};
use super::reading::{self, Reading};
use crate::budget::Budget;
use crate::estimate::text_tokens;
use crate::ledger::{CallKey, Verdict};

/// Tokens that a verdict may take where the endpoint's parameters set no limit.
const VERDICT_TOKENS: u32 = 1024;

/// In the ledger: the judge replied and no verdict could be read.
pub(super) const UNPARSEABLE: &str = "unparseable";

/// In the ledger: a pairwise judge had nothing to compare with.
pub(super) const NO_OTHER: &str = "no_other";

/// In the ledger: nothing in the reply could be judged.
pub(super) const NOT_PARSED: &str = "not_parsed";

/// A judgement to be made.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) judge: usize,
    pub(super) key: CallKey,
    pub(super) repeat: u32,
    pub(super) order: u32,
    pub(super) prompt: String,
    pub(super) reference: Option<Value>,
    pub(super) schema: Option<Value>,
    pub(super) reply: String,
    /// Whom a pairwise judge compares with.
    pub(super) other: Option<String>,
}

/// Why there is no verdict and nothing more is to be asked, of this judge or at all.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Halt {
    /// The next call could exceed the limit.
    Budget(String),
    /// Nothing comes of asking the judge of this place; others go on.
    LeftAlone(usize, String),
    /// The run was told to stop.
    Stopped,
}

/// Who judges.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) judge: Arc<Judge>,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) budget: Arc<Budget>,
    /// Commands at a time.
    pub(super) commands: Arc<Semaphore>,
    pub(super) seed: u64,
}

impl Job {
    pub(super) fn case(&self) -> Case<'_> {
        Case {
            prompt: &self.prompt,
            reference: self.reference.as_ref(),
            schema: self.schema.as_ref(),
        }
    }

    /// What a model is asked.
    pub(super) fn messages(&self, model: &ModelJudge, seed: u64, is_second_try: bool) -> Vec<Value> {
        let CallKey {
            prompt_id,
            tier,
            sample,
            ..
        } = &self.key;
        let key = format!("{prompt_id} {tier} {sample} {} {}", self.repeat, self.order);
        let other = self.other.as_deref().unwrap_or_default();
        let fence = Fence::new(seed, &key, &[&self.reply, other, &self.prompt]);
        match model.against {
            None => rubric_messages(&model.rubric, &self.case(), &self.reply, &fence, is_second_try),
            Some(_) => {
                let answers = if self.order == 0 {
                    [self.reply.as_str(), other]
                } else {
                    [other, &self.reply]
                };
                pairwise_messages(&model.rubric, &self.case(), answers, &fence, is_second_try)
            }
        }
    }

    /// Nothing said yet.
    pub(super) fn verdict(&self, judge: &Judge) -> Verdict {
        Verdict {
            key: self.key.clone(),
            judge: judge.name.clone(),
            judge_hash: judge.hash.clone(),
            repeat: self.repeat,
            order: self.order,
            score: None,
            raw_score: None,
            reasons: None,
            parsed: false,
            cost_usd: None,
            error_kind: None,
            error_message: None,
            attempts: 0,
        }
    }
}

/// A checker's word as a row of the ledger.
pub(super) fn row(job: &Job, judge: &Judge, said: &case::Verdict) -> Verdict {
    let detail = Some(said.detail().to_owned());
    let row = Verdict {
        score: said.value(),
        raw_score: said.value(),
        attempts: 1,
        ..job.verdict(judge)
    };
    match said {
        case::Verdict::Scored(_) => Verdict {
            parsed: true,
            reasons: detail,
            ..row
        },
        case::Verdict::NotParsed(_) => Verdict {
            reasons: detail,
            error_kind: Some(NOT_PARSED.to_owned()),
            ..row
        },
        case::Verdict::Failed(_) => Verdict {
            error_kind: Some("judge_failed".to_owned()),
            error_message: detail,
            ..row
        },
    }
}

impl Asker {
    /// The verdict on `job`.
    pub(super) async fn ask(&self, job: &Job) -> Result<Verdict, Halt> {
        match &self.judge.check {
            Check::Command(command) => {
                let _permit = self.commands.acquire().await.expect("this semaphore is never closed");
                Ok(row(job, &self.judge, &command.check(&job.reply, &job.case()).await))
            }
            Check::Model(model) => self.ask_model(model, job).await,
            _ => {
                let said = self.judge.check_now(&job.reply, &job.case());
                Ok(row(job, &self.judge, &said.expect("the other checks are done at once")))
            }
        }
    }

    async fn ask_model(&self, model: &ModelJudge, job: &Job) -> Result<Verdict, Halt> {
        let mut verdict = job.verdict(&self.judge);
        if job.other.as_ref() == Some(&job.reply) {
            let reasons = Some("the same text as the answer it is compared with".to_owned());
            return Ok(Verdict {
                score: Some(0.5),
                raw_score: Some(0.5),
                reasons,
                parsed: true,
                ..verdict
            });
        }
        for attempt in 0..2 {
            let messages = job.messages(model, self.seed, attempt > 0);
            let reply = match self.call(model, &messages).await {
                Ok((reply, cost_usd)) => {
                    verdict.cost_usd = Some(verdict.cost_usd.unwrap_or(0.0) + cost_usd);
                    reply
                }
                Err(Failed::LeftAlone(why)) => return Err(Halt::LeftAlone(job.judge, why)),
                Err(Failed::Halt(halt)) => return Err(halt),
                Err(Failed::Call(error)) => {
                    verdict.error_kind = Some(error.kind.name().to_owned());
                    verdict.error_message = Some(error.message);
                    return Ok(verdict);
                }
            };
            verdict.attempts += 1;
            let reading = match model.against {
                None => reading::score(&reply.text, model.rubric.scale),
                Some(_) => reading::better(&reply.text),
            };
            if let Some(reading) = reading {
                return Ok(read(verdict, reading, model, job));
            }
            verdict.reasons = Some(reply.text.chars().take(300).collect());
        }
        verdict.error_kind = Some(UNPARSEABLE.to_owned());
        verdict.error_message = Some("no verdict could be read in two replies of the judge".to_owned());
        Ok(verdict)
    }

    /// One call within the budget.
    async fn call(&self, model: &ModelJudge, messages: &[Value]) -> Result<(Reply, f64), Failed> {
        let (text, output) = tokens(model, messages);
        let most_usd = most_usd(model, messages);
        self.budget.reserve(most_usd).await.map_err(|exhausted| {
            Failed::Halt(Halt::Budget(
                exhausted.message("verdict", &format!("judge.judges.{}.endpoint", self.judge.name)),
            ))
        })?;
        let call = ChatCall {
            messages: messages.to_vec(),
            tools: Vec::new(),
            parameters: model.endpoint.parameters().clone(),
            stream: false,
            expected_tokens: text.saturating_add(output),
            on_cut: OnCut::AskAgain,
        };
        let endpoint = self.endpoint.as_ref().expect("every model has its endpoint");
        let said = endpoint.chat(&call).await;
        let cost_usd = said.as_ref().map_or(0.0, |reply| {
            let counted = Usage {
                input_tokens: text,
                cached_input_tokens: 0,
                output_tokens: text_tokens(&reply.text),
            };
            let usage = reply.usage.unwrap_or(counted);
            cost(model, usage.input_tokens, usage.output_tokens)
        });
        self.budget.settle(most_usd, cost_usd);
        match said {
            Ok(reply) => Ok((reply, cost_usd)),
            Err(NoReply::Failed(error)) => Err(Failed::Call(error)),
            Err(NoReply::LeftAlone(why)) => Err(Failed::LeftAlone(self.left_alone(&why))),
            Err(NoReply::Stopped) => Err(Failed::Halt(Halt::Stopped)),
        }
    }

    /// An upstream takes every endpoint for a tier's.
    fn left_alone(&self, why: &str) -> String {
        let name = &self.judge.name;
        let why = why.replacen(&format!("tier `{name}`"), "its endpoint", 1);
        format!(
            "judge `{name}` was left alone: {why}. Its endpoint is in [judge.judges.{name}]; verdicts that were made are \
             stored, and the same command goes on from them"
        )
    }
}

enum Failed {
    Halt(Halt),
    LeftAlone(String),
    Call(CallError),
}

/// Tokens of a call: of what is asked, and the most of the reply.
fn tokens(model: &ModelJudge, messages: &[Value]) -> (u32, u32) {
    let text: u32 = messages
        .iter()
        .map(|message| text_tokens(message["content"].as_str().unwrap_or_default()))
        .sum();
    let limit = ["max_completion_tokens", "max_tokens"]
        .iter()
        .find_map(|key| model.endpoint.parameters().get(*key)?.as_u64());
    let output = limit.and_then(|limit| u32::try_from(limit).ok());
    (text, output.unwrap_or(VERDICT_TOKENS))
}

/// The most that a call costs, US dollars.
pub(super) fn most_usd(model: &ModelJudge, messages: &[Value]) -> f64 {
    let (text, output) = tokens(model, messages);
    // Other tokenizers make more of a text than characters / 4.
    cost(model, text.saturating_mul(2), output)
}

fn cost(model: &ModelJudge, input_tokens: u32, output_tokens: u32) -> f64 {
    let (input, output) = model.prices.unwrap_or_default();
    (f64::from(input_tokens) * input + f64::from(output_tokens) * output) / 1e6
}

/// `raw_score` of a pairwise verdict is the quality of whichever stood first: what position bias is made of.
fn read(verdict: Verdict, reading: Reading, model: &ModelJudge, job: &Job) -> Verdict {
    let is_swapped = model.against.is_some() && job.order == 1;
    let score = if is_swapped {
        1.0 - reading.quality
    } else {
        reading.quality
    };
    Verdict {
        score: Some(score),
        raw_score: Some(reading.raw),
        reasons: Some(reading.reasons),
        parsed: true,
        ..verdict
    }
}
