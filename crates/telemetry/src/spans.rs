//! From a finished row to spans: the request's, the decision's below it, and one for each call.
//!
//! Pure. Times come from the row, so that spans can be made long after what they tell of.

use tiercast_records::journal::{Call, Expected, Role, Served, Trace};

use crate::names::{self, gen_ai, router};
use crate::otlp::{Code, KeyValue, Kind, Span, Status, Value};
use crate::targets::{Target, Targets};

#[cfg(test)]
mod tests;

/// How many spans [`spans`] makes.
pub(crate) fn n_spans(row: &Served) -> u64 {
    2 + row.calls.len() as u64
}

/// What spans need of a row: no text, no features, and of the tiers the chosen one alone. So a waiting row is
/// small, and what is not here cannot get out.
pub(crate) fn outline(row: &Served) -> Served {
    let chosen = row.tiers.get(row.chosen).map(|chosen| Expected {
        tier: chosen.tier.clone(),
        predicted_as: chosen.predicted_as.clone(),
        quality_pmf: Vec::new(),
        excluded: None,
        ..*chosen
    });
    Served {
        id: row.id.clone(),
        endpoint: row.endpoint.clone(),
        session: row.session.clone(),
        cohort: row.cohort.clone(),
        task: row.task.clone(),
        policy: row.policy.clone(),
        reason: row.reason.clone(),
        rule: row.rule.clone(),
        checkpoint: row.checkpoint.clone(),
        chosen: 0,
        tiers: chosen.into_iter().collect(),
        calls: row.calls.clone(),
        prompt_hash: String::new(),
        features: None,
        prompt: None,
        reply: None,
        ..*row
    }
}

/// The spans of a row, the request's first.
pub(crate) fn spans(row: &Served, trace: &Trace, targets: &Targets) -> Vec<Span> {
    let calls = row.calls.iter().enumerate();
    let calls = calls.map(|(n, call)| of_call(row, call, trace, n, targets));
    [of_request(row, trace), of_decision(row, trace)]
        .into_iter()
        .chain(calls)
        .collect()
}

fn of_request(row: &Served, trace: &Trace) -> Span {
    let end = |call: &Call| f64::from(call.start_ms) + length(call.total_ms);
    let end_ms = row.calls.iter().map(end).fold(0.0, f64::max);
    let error = failure(row);
    Span {
        parent_span_id: trace.parent.map(Vec::from).unwrap_or_default(),
        attributes: attributes([
            (gen_ai::METHOD, text("POST")),
            (gen_ai::CONVERSATION, row.session.as_deref().and_then(text)),
            (gen_ai::ERROR, error.and_then(text)),
            (router::DECISION, text(&row.id)),
            (router::ENDPOINT, text(&row.endpoint)),
            (router::COHORT, text(&row.cohort)),
            (router::ANSWERED_BY, row.answer().and_then(|call| text(&call.tier))),
        ]),
        status: error.map(|_| failed()),
        // The parent, where there is one, is the client's.
        flags: flags(trace, trace.parent.is_some()),
        ..span(
            trace,
            trace.span,
            format!("POST {}", row.endpoint),
            Kind::Server,
            times(row, -length(row.overhead_ms), end_ms),
        )
    }
}

fn of_decision(row: &Served, trace: &Trace) -> Span {
    let chosen = row.tiers.get(row.chosen);
    let is_escalated = row.calls.iter().any(|call| call.role == Role::Escalation);
    Span {
        attributes: attributes([
            (router::DECISION, text(&row.id)),
            (router::COHORT, text(&row.cohort)),
            (router::TASK, text(&row.task)),
            (router::TASK_IS_TOLD, flag(row.task_is_told)),
            (router::TIER, chosen.and_then(|tier| text(&tier.tier))),
            (router::POLICY, text(&row.policy)),
            (router::POLICY_VERSION, text(&row.checkpoint)),
            (router::REASON, text(&row.reason)),
            (router::RULE, row.rule.as_deref().and_then(text)),
            (router::TARGET, row.target.and_then(number)),
            (router::PROPENSITY, number(row.propensity)),
            (
                router::PREDICTED_QUALITY,
                chosen.and_then(|tier| number(tier.quality_mean)),
            ),
            (router::PREDICTED_COST, chosen.and_then(|tier| number(tier.cost_usd))),
            (
                router::PREDICTED_AS,
                chosen.and_then(|tier| text(tier.predicted_as.as_deref()?)),
            ),
            (router::EVIDENCE, flag(row.evidence)),
            (router::COST, number(row.cost_usd())),
            (router::ESCALATED, flag(is_escalated)),
        ]),
        ..below(
            trace,
            trace.of_decision(),
            names::DECIDE.to_owned(),
            Kind::Internal,
            times(row, -length(row.overhead_ms), 0.0),
        )
    }
}

fn of_call(row: &Served, call: &Call, trace: &Trace, n: usize, targets: &Targets) -> Span {
    let unknown = Target::default();
    let target = targets.get(&*call.tier).unwrap_or(&unknown);
    let model = target.model.as_deref().unwrap_or(&call.tier);
    let is_told = call.input_tokens > 0.0 || call.output_tokens > 0.0;
    let tokens = |tokens| is_told.then(|| count(tokens));
    let start_ms = f64::from(call.start_ms);
    let error = error(call);
    Span {
        attributes: attributes([
            (gen_ai::OPERATION, text(names::CHAT)),
            (
                gen_ai::PROVIDER,
                text(target.provider.as_deref().unwrap_or(names::OPENAI)),
            ),
            (gen_ai::REQUEST_MODEL, text(model)),
            (gen_ai::CONVERSATION, row.session.as_deref().and_then(text)),
            (gen_ai::INPUT_TOKENS, tokens(call.input_tokens)),
            (gen_ai::OUTPUT_TOKENS, tokens(call.output_tokens)),
            (gen_ai::CACHED_TOKENS, tokens(call.cached_tokens)),
            (
                gen_ai::FIRST_CHUNK,
                call.first_token_ms.and_then(|ms| number(length(ms) / 1e3)),
            ),
            (gen_ai::ERROR, error.and_then(text)),
            (gen_ai::ADDRESS, target.address.as_deref().and_then(text)),
            (gen_ai::PORT, target.port.map(|port| count(f64::from(port)))),
            (router::TIER, text(&call.tier)),
            (router::ROLE, text(role(call.role))),
            (router::OUTCOME, text(&call.outcome)),
            (router::CALL_COST, number(call.cost_usd)),
            (router::USAGE_IS_ESTIMATED, flag(call.is_estimated)),
            (router::ESTIMATED_QUALITY, call.estimate.and_then(number)),
        ]),
        status: error.map(|_| failed()),
        ..below(
            trace,
            trace.of_call(n),
            format!("{} {model}", names::CHAT),
            Kind::Client,
            times(row, start_ms, start_ms + length(call.total_ms)),
        )
    }
}

/// Why nobody answered, where somebody should have. A client that left has done nothing wrong.
fn failure(row: &Served) -> Option<&str> {
    match row.answered_by {
        None => row.calls.last().and_then(error),
        Some(_) => None,
    }
}

/// Kind of a call's error, or how it ended where that was not well.
fn error(call: &Call) -> Option<&str> {
    match (&call.error, &*call.outcome) {
        (Some(error), _) => Some(error),
        (None, "complete" | "client_gone") => None,
        (None, outcome) => Some(outcome),
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Chosen => "chosen",
        Role::Fallback => "fallback",
        Role::Escalation => "escalation",
    }
}

fn below(trace: &Trace, id: [u8; 8], name: String, kind: Kind, times: (u64, u64)) -> Span {
    Span {
        parent_span_id: trace.span.to_vec(),
        flags: flags(trace, false),
        ..span(trace, id, name, kind, times)
    }
}

fn span(trace: &Trace, id: [u8; 8], name: String, kind: Kind, (start_ns, end_ns): (u64, u64)) -> Span {
    Span {
        trace_id: trace.trace_id.to_vec(),
        span_id: id.to_vec(),
        name,
        kind: kind.into(),
        start_ns,
        end_ns,
        ..Span::default()
    }
}

fn flags(trace: &Trace, is_remote: bool) -> u32 {
    u32::from(trace.sampled) | 0x100 | if is_remote { 0x200 } else { 0 }
}

fn failed() -> Status {
    Status {
        code: Code::Error.into(),
    }
}

/// Start and end in nanoseconds since 1970, from milliseconds after the decision.
fn times(row: &Served, start_ms: f64, end_ms: f64) -> (u64, u64) {
    let at = |after_ms: f64| {
        let ns = (i128::from(row.time_ms) * 1_000_000).saturating_add((after_ms * 1e6) as i128);
        u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
    };
    (at(start_ms), at(end_ms))
}

/// A length of time is not negative, nor not a number.
fn length(ms: f32) -> f64 {
    f64::from(ms.max(0.0))
}

fn attributes<const N: usize>(all: [(&str, Option<Value>); N]) -> Vec<KeyValue> {
    let known = all.into_iter();
    known
        .filter_map(|(key, value)| Some(KeyValue::new(key, value?)))
        .collect()
}

fn text(value: &str) -> Option<Value> {
    Some(Value::Text(value.to_owned()))
}

fn flag(value: bool) -> Option<Value> {
    Some(Value::Flag(value))
}

fn number(value: impl Into<f64>) -> Option<Value> {
    let value = value.into();
    value.is_finite().then_some(Value::Number(value))
}

fn count(value: f64) -> Value {
    Value::Count(value.round() as i64)
}
