//! One call: a prompt as the tier's endpoint takes it, and what came back as a row of the ledger.

use serde_json::{Map, Value};
use tiercast_records::prompts::Prompt;
use tiercast_upstream::call::{AttemptError, ChatCall, OnCut, Reply, Usage};
use tiercast_upstream::error::{CallError, ErrorKind};

use crate::config::TierConfig;
use crate::estimate::{expected_output, input_tokens, text_tokens};
use crate::ledger::{Call, CallKey, FailedAttempt, Pending, Status};

/// Kind of the error of a prompt that was not sent because the tier's window is too small for it.
const TOO_LONG: &str = "context_too_long";

/// The key of a pending call.
pub(crate) fn key(tier: &TierConfig, pending: &Pending) -> CallKey {
    CallKey {
        prompt_id: pending.prompt.prompt_id.clone(),
        tier: tier.run.name.clone(),
        sample: pending.sample,
        parameters_hash: tier.run.parameters_hash.clone(),
    }
}

/// The body of the call. Streamed, since that is what gives a time to the first token.
pub(crate) fn chat_call(tier: &TierConfig, prompt: &Prompt) -> ChatCall {
    let mut parameters: Map<String, Value> = tier.parameters.clone();
    if let Some(format) = &prompt.response_format {
        parameters.insert("response_format".to_owned(), format.clone());
    }
    ChatCall {
        messages: prompt.messages(),
        tools: prompt.tools(),
        parameters,
        stream: true,
        expected_tokens: input_tokens(prompt).saturating_add(expected_output(tier)),
        on_cut: OnCut::AskAgain,
    }
}

/// A prompt that does not fit the tier's window: a result without a call.
pub(crate) fn too_long(tier: &TierConfig, key: CallKey, tokens: u32) -> Call {
    let window = tier.run.context_window.unwrap_or_default();
    Call {
        error_kind: Some(TOO_LONG.to_owned()),
        error_message: Some(format!(
            "not sent: the prompt has about {tokens} tokens and the tier's context_window is {window}"
        )),
        ..Call::new(key, Status::Unanswerable)
    }
}

/// A reply as a result.
pub(crate) fn answered(tier: &TierConfig, key: CallKey, prompt: &Prompt, reply: Reply) -> (Call, Vec<FailedAttempt>) {
    let tool_calls = reply.tool_calls.as_ref().map(Value::to_string);
    let usage = reply.usage.unwrap_or_else(|| Usage {
        input_tokens: input_tokens(prompt),
        cached_input_tokens: 0,
        output_tokens: text_tokens(&reply.text) + tool_calls.as_deref().map_or(0, text_tokens),
    });
    let cost = tier
        .run
        .cost_usd(usage.input_tokens, usage.cached_input_tokens, usage.output_tokens);
    let call = Call {
        truncated: reply.is_truncated(),
        tokens_estimated: reply.usage.is_none(),
        input_tokens: Some(usage.input_tokens),
        cached_input_tokens: Some(usage.cached_input_tokens),
        output_tokens: Some(usage.output_tokens),
        cost_usd: Some(cost),
        time_to_first_token_s: reply.time_to_first_token_s,
        latency_s: Some(reply.latency_s),
        logprobs: reply.logprobs.as_ref().map(Value::to_string),
        attempts: sent(&reply.attempts) + 1,
        text: Some(reply.text),
        tool_calls,
        finish_reason: reply.finish_reason,
        ..Call::new(key, Status::Answered)
    };
    (call, failed_attempts(&reply.attempts))
}

/// A failure: one that may pass is asked again by the next run, another is a result.
pub(crate) fn failed(key: CallKey, error: &CallError, status: Status) -> (Call, Vec<FailedAttempt>) {
    let call = Call {
        error_kind: Some(error.kind.name().to_owned()),
        error_message: Some(error.message.clone()),
        attempts: sent(&error.attempts),
        ..Call::new(key, status)
    };
    (call, failed_attempts(&error.attempts))
}

fn sent(attempts: &[AttemptError]) -> u32 {
    u32::try_from(attempts.len()).unwrap_or(u32::MAX)
}

fn failed_attempts(attempts: &[AttemptError]) -> Vec<FailedAttempt> {
    let failed = attempts.iter().map(|attempt| FailedAttempt {
        kind: attempt.kind.name().to_owned(),
        http_status: attempt.status,
        after_s: attempt.after_s,
    });
    failed.collect()
}

/// What a failure says about the tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// This call failed; the next may not.
    MayPass,
    /// This tier cannot answer this prompt.
    Unanswerable,
    /// The endpoint is left alone for a while.
    CircuitOpen,
    /// No call to this tier can succeed until the configuration changes.
    Configuration,
    /// Either the prompt or every call; it is one prompt's if others were answered.
    Refused,
    /// Either a wrong address or, if others were answered, something that may pass.
    NotFound,
}

/// What a kind of failure says.
pub(crate) fn meaning(kind: ErrorKind) -> Meaning {
    match kind {
        ErrorKind::CircuitOpen => Meaning::CircuitOpen,
        ErrorKind::NotFound | ErrorKind::Html => Meaning::NotFound,
        kind if kind.is_configuration() => Meaning::Configuration,
        ErrorKind::BadRequest | ErrorKind::StreamRefused => Meaning::Refused,
        kind if kind.is_transient() => Meaning::MayPass,
        _ => Meaning::Unanswerable,
    }
}
