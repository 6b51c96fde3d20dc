//! The outcome file of a judged run, which `train` and `evaluate` take as it is.

use std::path::Path;

use tiercast_records::collected::{ScoredSample, write_outcomes};

use super::figures::{Fate, Scores, fate};
use super::judges::Judges;
use super::plan::Plan;
use super::settings::JudgeSettings;
use crate::error::CollectError;
use crate::ledger::Ledger;

/// Its name in the folder of the run.
pub const FILE_NAME: &str = "outcomes.parquet";

/// Writes `path`: a row per prompt and tier that has a score. Returns the number of rows.
pub fn export(
    ledger: &Ledger,
    judges: &Judges,
    plan: &Plan,
    settings: &JudgeSettings,
    path: &Path,
) -> Result<u64, CollectError> {
    let scores = Scores::read(ledger, judges)?;
    write_outcomes::<CollectError>(path, |sink| {
        ledger.for_each_answer(plan.n_samples, |answer| {
            let fate = fate(&answer, plan, &scores, settings);
            let (Fate::Scored(score) | Fate::Truncated(Some(score))) = fate else {
                return Ok(());
            };
            let Some(tree) = plan.trees.get(&answer.prompt.prompt_id) else {
                return Ok(());
            };
            let sample = ScoredSample {
                prompt: &answer.prompt,
                model: &answer.call.key.tier,
                class: answer.class,
                response: answer.call.response(),
                finish_reason: answer.call.finish_reason.as_deref(),
                truncated: answer.call.truncated,
                score,
                score_kind: &judges.score_kind(tree),
                input_tokens: answer.call.input_tokens,
                cached_input_tokens: answer.call.cached_input_tokens,
                output_tokens: answer.call.output_tokens,
                tokens_estimated: answer.call.tokens_estimated,
                cost_usd: answer.call.cost_usd,
                latency_s: answer.call.latency_s,
            };
            Ok(sink.add(&sample)?)
        })
    })
}
