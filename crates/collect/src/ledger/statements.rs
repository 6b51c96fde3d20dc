//! The statements that read and write rows of the ledger.

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Result, Row, named_params};
use serde_json::Value;
use tiercast_records::outcomes::{PromptText, Split};
use tiercast_records::prompts::Prompt;

use super::rows::{Call, CallKey, FailedAttempt, Verdict};

/// Columns of [`Call`], in the order of [`call_of`]. `calls` must be in the query.
pub(super) const CALL_COLUMNS: &str = "calls.prompt_id, calls.tier, calls.sample, calls.parameters_hash, calls.status, \
     calls.text, calls.tool_calls, calls.finish_reason, calls.truncated, calls.input_tokens, \
     calls.cached_input_tokens, calls.output_tokens, calls.tokens_estimated, calls.cost_usd, \
     calls.time_to_first_token_s, calls.latency_s, calls.logprobs, calls.error_kind, calls.error_message, \
     calls.attempts, calls.lost";

/// Number of [`CALL_COLUMNS`].
pub(super) const N_CALL_COLUMNS: usize = 21;

/// The call whose columns begin at `at`.
pub(super) fn call_of(row: &Row<'_>, at: usize) -> Result<Call> {
    Ok(Call {
        key: CallKey {
            prompt_id: row.get(at)?,
            tier: row.get(at + 1)?,
            sample: row.get(at + 2)?,
            parameters_hash: row.get(at + 3)?,
        },
        status: row.get(at + 4)?,
        text: row.get(at + 5)?,
        tool_calls: row.get(at + 6)?,
        finish_reason: row.get(at + 7)?,
        truncated: row.get(at + 8)?,
        input_tokens: row.get(at + 9)?,
        cached_input_tokens: row.get(at + 10)?,
        output_tokens: row.get(at + 11)?,
        tokens_estimated: row.get(at + 12)?,
        cost_usd: row.get(at + 13)?,
        time_to_first_token_s: row.get(at + 14)?,
        latency_s: row.get(at + 15)?,
        logprobs: row.get(at + 16)?,
        error_kind: row.get(at + 17)?,
        error_message: row.get(at + 18)?,
        attempts: row.get(at + 19)?,
        lost: row.get(at + 20)?,
    })
}

/// Columns of [`Prompt`], in the order of [`prompt_of`]. `prompts` must be in the query.
pub(super) const PROMPT_COLUMNS: &str = "prompts.prompt_id, prompts.split_key, prompts.split, prompts.dataset, \
     prompts.subset, prompts.domain, prompts.prompt, prompts.prompt_format, prompts.response_format, prompts.schema, \
     prompts.reference, prompts.judge";

/// Number of [`PROMPT_COLUMNS`].
pub(super) const N_PROMPT_COLUMNS: usize = 12;

/// The prompt whose columns begin at `at`.
pub(super) fn prompt_of(row: &Row<'_>, at: usize) -> Result<Prompt> {
    let split: String = row.get(at + 2)?;
    let text: String = row.get(at + 6)?;
    let format: String = row.get(at + 7)?;
    Ok(Prompt {
        prompt_id: row.get(at)?,
        split_key: row.get(at + 1)?,
        split: Split::from_name(&split).ok_or(FromSqlError::InvalidType)?,
        dataset: row.get(at + 3)?,
        subset: row.get(at + 4)?,
        domain: row.get(at + 5)?,
        text: match format.as_str() {
            "messages_json" => PromptText::MessagesJson(text),
            _ => PromptText::Text(text),
        },
        response_format: json(row, at + 8)?,
        schema: json(row, at + 9)?,
        reference: json(row, at + 10)?,
        judge: json(row, at + 11)?,
    })
}

fn json(row: &Row<'_>, at: usize) -> Result<Option<Value>> {
    let text: Option<String> = row.get(at)?;
    let value = text.map(|text| serde_json::from_str(&text)).transpose();
    value.map_err(|error| FromSqlError::Other(Box::new(error)).into())
}

pub(super) fn insert_prompt(connection: &Connection, number: i64, prompt: &Prompt) -> Result<()> {
    let json = |value: &Option<Value>| value.as_ref().map(Value::to_string);
    connection
        .prepare_cached(
            "INSERT INTO prompts (number, prompt_id, split_key, split, dataset, subset, domain, prompt, prompt_format, \
             response_format, schema, reference, judge) VALUES (:number, :prompt_id, :split_key, :split, :dataset, \
             :subset, :domain, :prompt, :prompt_format, :response_format, :schema, :reference, :judge)",
        )?
        .execute(named_params! {
            ":number": number,
            ":prompt_id": prompt.prompt_id,
            ":split_key": prompt.split_key,
            ":split": prompt.split.name(),
            ":dataset": prompt.dataset,
            ":subset": prompt.subset,
            ":domain": prompt.domain,
            ":prompt": prompt.text.as_str(),
            ":prompt_format": prompt.text.format(),
            ":response_format": json(&prompt.response_format),
            ":schema": json(&prompt.schema),
            ":reference": json(&prompt.reference),
            ":judge": json(&prompt.judge),
        })?;
    Ok(())
}

/// Takes over what is not sent of a prompt.
pub(super) fn update_prompt(connection: &Connection, prompt: &Prompt) -> Result<()> {
    let json = |value: &Option<Value>| value.as_ref().map(Value::to_string);
    connection
        .prepare_cached(
            "UPDATE prompts SET split_key = :split_key, split = :split, dataset = :dataset, subset = :subset, \
             domain = :domain, schema = :schema, reference = :reference, judge = :judge WHERE prompt_id = :prompt_id",
        )?
        .execute(named_params! {
            ":prompt_id": prompt.prompt_id,
            ":split_key": prompt.split_key,
            ":split": prompt.split.name(),
            ":dataset": prompt.dataset,
            ":subset": prompt.subset,
            ":domain": prompt.domain,
            ":schema": json(&prompt.schema),
            ":reference": json(&prompt.reference),
            ":judge": json(&prompt.judge),
        })?;
    Ok(())
}

/// Marks a call as sent. One that has failed before is opened again and keeps its counts.
pub(super) fn open_call(connection: &Connection, key: &CallKey) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO calls (prompt_id, tier, sample, parameters_hash, status) VALUES (?1, ?2, ?3, ?4, 'open') \
             ON CONFLICT DO UPDATE SET status = 'open' WHERE status = 'failed'",
        )?
        .execute((&key.prompt_id, &key.tier, key.sample, &key.parameters_hash))?;
    Ok(())
}

/// Stores what came of a call. A result that is there stays: the first one counts.
pub(super) fn close_call(connection: &Connection, call: &Call, failed: &[FailedAttempt]) -> Result<()> {
    let key = &call.key;
    connection
        .prepare_cached(
            "INSERT INTO calls (prompt_id, tier, sample, parameters_hash, status, text, tool_calls, finish_reason, \
             truncated, input_tokens, cached_input_tokens, output_tokens, tokens_estimated, cost_usd, \
             time_to_first_token_s, latency_s, logprobs, error_kind, error_message, attempts) VALUES (:prompt_id, \
             :tier, :sample, :parameters_hash, :status, :text, :tool_calls, :finish_reason, :truncated, :input_tokens, \
             :cached_input_tokens, :output_tokens, :tokens_estimated, :cost_usd, :time_to_first_token_s, :latency_s, \
             :logprobs, :error_kind, :error_message, :attempts) ON CONFLICT DO UPDATE SET status = excluded.status, \
             text = excluded.text, tool_calls = excluded.tool_calls, finish_reason = excluded.finish_reason, \
             truncated = excluded.truncated, input_tokens = excluded.input_tokens, \
             cached_input_tokens = excluded.cached_input_tokens, output_tokens = excluded.output_tokens, \
             tokens_estimated = excluded.tokens_estimated, cost_usd = excluded.cost_usd, \
             time_to_first_token_s = excluded.time_to_first_token_s, latency_s = excluded.latency_s, \
             logprobs = excluded.logprobs, error_kind = excluded.error_kind, error_message = excluded.error_message, \
             attempts = calls.attempts + excluded.attempts WHERE calls.status IN ('open', 'failed')",
        )?
        .execute(named_params! {
            ":prompt_id": key.prompt_id,
            ":tier": key.tier,
            ":sample": key.sample,
            ":parameters_hash": key.parameters_hash,
            ":status": call.status,
            ":text": call.text,
            ":tool_calls": call.tool_calls,
            ":finish_reason": call.finish_reason,
            ":truncated": call.truncated,
            ":input_tokens": call.input_tokens,
            ":cached_input_tokens": call.cached_input_tokens,
            ":output_tokens": call.output_tokens,
            ":tokens_estimated": call.tokens_estimated,
            ":cost_usd": call.cost_usd,
            ":time_to_first_token_s": call.time_to_first_token_s,
            ":latency_s": call.latency_s,
            ":logprobs": call.logprobs,
            ":error_kind": call.error_kind,
            ":error_message": call.error_message,
            ":attempts": call.attempts,
        })?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO failed_attempts (prompt_id, tier, sample, parameters_hash, kind, http_status, after_s) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for attempt in failed {
        insert.execute((
            &key.prompt_id,
            &key.tier,
            key.sample,
            &key.parameters_hash,
            &attempt.kind,
            attempt.http_status,
            attempt.after_s,
        ))?;
    }
    Ok(())
}

/// Stores a judgement. One that could be read stays; one that could not gives way to a later one.
pub(super) fn store_verdict(connection: &Connection, verdict: &Verdict) -> Result<()> {
    let key = &verdict.key;
    connection
        .prepare_cached(
            "INSERT INTO verdicts (prompt_id, tier, sample, parameters_hash, judge, judge_hash, repeat, \"order\", score, \
             raw_score, reasons, parsed, cost_usd, error_kind, error_message, attempts) VALUES (:prompt_id, :tier, \
             :sample, :parameters_hash, :judge, :judge_hash, :repeat, :order, :score, :raw_score, :reasons, :parsed, \
             :cost_usd, :error_kind, :error_message, :attempts) ON CONFLICT DO UPDATE SET score = excluded.score, \
             raw_score = excluded.raw_score, reasons = excluded.reasons, parsed = excluded.parsed, \
             cost_usd = coalesce(verdicts.cost_usd, 0) + coalesce(excluded.cost_usd, 0), \
             error_kind = excluded.error_kind, error_message = excluded.error_message, \
             attempts = verdicts.attempts + excluded.attempts WHERE verdicts.parsed = 0",
        )?
        .execute(named_params! {
            ":prompt_id": key.prompt_id,
            ":tier": key.tier,
            ":sample": key.sample,
            ":parameters_hash": key.parameters_hash,
            ":judge": verdict.judge,
            ":judge_hash": verdict.judge_hash,
            ":repeat": verdict.repeat,
            ":order": verdict.order,
            ":score": verdict.score,
            ":raw_score": verdict.raw_score,
            ":reasons": verdict.reasons,
            ":parsed": verdict.parsed,
            ":cost_usd": verdict.cost_usd,
            ":error_kind": verdict.error_kind,
            ":error_message": verdict.error_message,
            ":attempts": verdict.attempts,
        })?;
    Ok(())
}

/// Judgements by one configuration of a judge, in order of what was judged.
pub(super) fn verdicts(connection: &Connection, judge_hash: &str) -> Result<Vec<Verdict>> {
    let mut select = connection.prepare_cached(
        "SELECT prompt_id, tier, sample, parameters_hash, judge, judge_hash, repeat, \"order\", score, raw_score, reasons, \
         parsed, cost_usd, error_kind, error_message, attempts FROM verdicts WHERE judge_hash = ?1 \
         ORDER BY prompt_id, tier, sample, parameters_hash, repeat, \"order\"",
    )?;
    let rows = select.query_map([judge_hash], |row| {
        Ok(Verdict {
            key: CallKey {
                prompt_id: row.get(0)?,
                tier: row.get(1)?,
                sample: row.get(2)?,
                parameters_hash: row.get(3)?,
            },
            judge: row.get(4)?,
            judge_hash: row.get(5)?,
            repeat: row.get(6)?,
            order: row.get(7)?,
            score: row.get(8)?,
            raw_score: row.get(9)?,
            reasons: row.get(10)?,
            parsed: row.get(11)?,
            cost_usd: row.get(12)?,
            error_kind: row.get(13)?,
            error_message: row.get(14)?,
            attempts: row.get(15)?,
        })
    })?;
    rows.collect()
}
