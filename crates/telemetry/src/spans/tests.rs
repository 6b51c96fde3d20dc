use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::sample::{DECIDED_MS, call, label, served, targets, trace};

fn made(row: &Served) -> Vec<Span> {
    spans(row, &row.trace.unwrap(), &targets())
}

/// An attribute as text; empty where there is none.
fn at(span: &Span, key: &str) -> String {
    let mut found = span.attributes.iter().filter(|attribute| attribute.key == key);
    let value = found
        .next()
        .map(|attribute| attribute.value.clone().unwrap().value.unwrap());
    assert_eq!(found.next(), None, "{key} is there twice");
    match value {
        None => String::new(),
        Some(Value::Text(text)) => text,
        Some(Value::Flag(flag)) => flag.to_string(),
        Some(Value::Count(count)) => count.to_string(),
        Some(Value::Number(number)) => format!("{number:?}"),
    }
}

fn check(span: &Span, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert_eq!(at(span, key), *value, "{key} of {}", span.name);
    }
}

/// Milliseconds after the decision.
fn after(ns: u64) -> f64 {
    (i128::from(ns) - i128::from(DECIDED_MS) * 1_000_000) as f64 / 1e6
}

fn times(span: &Span) -> (f64, f64) {
    (after(span.start_ns), after(span.end_ns))
}

#[test]
fn a_request_is_a_span_with_the_decision_and_the_calls_below_it() {
    let all = made(&served());
    let names: Vec<&str> = all.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["POST chat", "router.decide", "chat small", "chat large-2026"]);
    let kinds: Vec<i32> = all.iter().map(|span| span.kind).collect();
    assert_eq!(kinds, [2, 1, 3, 3]);
    assert!(all.iter().all(|span| span.trace_id == trace().trace_id));
    assert!(all[0].parent_span_id.is_empty());
    assert!(all[1..].iter().all(|span| span.parent_span_id == all[0].span_id));
    assert!(all.iter().all(|span| span.flags == 0x101 && span.status.is_none()));
    assert_eq!(all.len() as u64, n_spans(&served()));
}

#[test]
fn the_clients_span_is_the_parent_and_elsewhere() {
    let client = Trace {
        parent: Some([7; 8]),
        ..trace()
    };
    let row = Served {
        trace: Some(client),
        ..served()
    };
    let all = made(&row);
    assert_eq!(all[0].parent_span_id, [7; 8]);
    let flags: Vec<u32> = all.iter().map(|span| span.flags).collect();
    assert_eq!(flags, [0x301, 0x101, 0x101, 0x101]);
}

#[test]
fn a_calls_span_is_the_one_that_its_header_names() {
    let row = served();
    let calls = &made(&row)[2..];
    for (n, span) in calls.iter().enumerate() {
        let header = row.trace.unwrap().header_for_call(n);
        let below = Trace::read(Some(&header), || 1);
        assert_eq!(Vec::from(below.parent.unwrap()), span.span_id);
        assert_eq!(Vec::from(below.trace_id), span.trace_id);
    }
}

#[test]
fn spans_are_placed_in_time_by_the_row() {
    let all = made(&served());
    assert_eq!(times(&all[0]), (-4.0, 1_510.0));
    assert_eq!(times(&all[1]), (-4.0, 0.0));
    assert_eq!(times(&all[2]), (1.0, 501.0));
    assert_eq!(times(&all[3]), (510.0, 1_510.0));
}

#[test]
fn the_requests_span_says_who_asked_and_who_answered() {
    check(
        &made(&served())[0],
        &[
            ("http.request.method", "POST"),
            ("gen_ai.conversation.id", "session-1"),
            ("router.decision_id", "dec_1"),
            ("router.endpoint", "chat"),
            ("router.cohort", "team"),
            ("router.answered_by", "large"),
            ("error.type", ""),
        ],
    );
}

#[test]
fn the_decisions_span_says_what_was_chosen_and_why() {
    check(
        &made(&served())[1],
        &[
            ("router.tier", "small"),
            ("router.policy", "cascade"),
            ("router.policy_version", "reference-1"),
            ("router.reason", "cheapest_acceptable"),
            ("router.rule", ""),
            ("router.task", "code"),
            ("router.task_is_told", "true"),
            ("router.cohort", "team"),
            ("router.target_quality", "0.5"),
            ("router.propensity", "1.0"),
            ("router.predicted_quality", "0.75"),
            ("router.predicted_cost_usd", "0.125"),
            ("router.predicted_as", "trained"),
            ("router.evidence_is_sufficient", "true"),
            ("router.cost_usd", "0.5"),
            ("router.escalated", "true"),
        ],
    );
}

#[test]
fn a_calls_span_has_the_names_of_generative_ai() {
    let all = made(&served());
    check(
        &all[2],
        &[
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "openai"),
            ("gen_ai.request.model", "small"),
            ("gen_ai.conversation.id", "session-1"),
            ("gen_ai.usage.input_tokens", "120"),
            ("gen_ai.usage.output_tokens", "30"),
            ("gen_ai.usage.cache_read.input_tokens", "100"),
            ("gen_ai.response.time_to_first_chunk", "0.2"),
            ("error.type", ""),
            ("server.address", ""),
            ("router.tier", "small"),
            ("router.role", "chosen"),
            ("router.outcome", "complete"),
            ("router.call.cost_usd", "0.25"),
            ("router.call.usage_is_estimated", "false"),
            ("router.call.estimated_quality", "0.25"),
            // Of the decision alone.
            ("router.cost_usd", ""),
        ],
    );
    check(
        &all[3],
        &[
            ("gen_ai.provider.name", "anthropic"),
            ("gen_ai.request.model", "large-2026"),
            ("server.address", "api.example.com"),
            ("server.port", "443"),
            ("router.tier", "large"),
            ("router.role", "escalation"),
        ],
    );
}

/// Kinds of errors, of the request and of each call.
fn errors(calls: Vec<Call>, answered_by: Option<usize>) -> Vec<String> {
    let row = Served {
        calls,
        answered_by,
        ..served()
    };
    let mut all = made(&row);
    all.remove(1);
    for span in &all {
        let is_error = span.status.as_ref().is_some_and(|status| status.code == 2);
        assert_eq!(is_error, !at(span, "error.type").is_empty(), "{}", span.name);
    }
    all.iter().map(|span| at(span, "error.type")).collect()
}

#[test]
fn what_failed_is_marked() {
    let ended = |outcome: &str, error: Option<&str>| Call {
        outcome: label(outcome),
        error: error.map(label),
        input_tokens: 0.0,
        output_tokens: 0.0,
        first_token_ms: None,
        ..call("small", Role::Chosen)
    };
    let failed = ended("failed", Some("timeout"));
    let fallback = call("large", Role::Fallback);
    assert_eq!(errors(vec![failed.clone(), fallback], Some(1)), ["", "timeout", ""]);
    assert_eq!(errors(vec![failed.clone()], None), ["timeout", "timeout"]);
    assert_eq!(errors(vec![ended("cut", None)], None), ["cut", "cut"]);
    assert_eq!(errors(vec![ended("cut", None)], Some(0)), ["", "cut"]);
    assert_eq!(errors(vec![ended("client_gone", None)], None), ["", ""]);
    assert_eq!(errors(vec![], None), [""]);
    // Nothing was told, so nothing is said: that is not the same as no tokens.
    let row = Served {
        calls: vec![failed],
        ..served()
    };
    check(
        &made(&row)[2],
        &[
            ("gen_ai.usage.input_tokens", ""),
            ("gen_ai.response.time_to_first_chunk", ""),
        ],
    );
}

#[test]
fn a_row_without_tiers_or_calls_is_two_spans() {
    let row = Served {
        calls: Vec::new(),
        tiers: Vec::new(),
        answered_by: None,
        ..served()
    };
    let all = made(&row);
    assert_eq!(all.len(), 2);
    assert_eq!(times(&all[0]), (-4.0, 0.0));
    check(
        &all[1],
        &[
            ("router.tier", ""),
            ("router.predicted_quality", ""),
            ("router.cost_usd", "0.0"),
        ],
    );
}

#[test]
fn an_outline_makes_the_same_spans() {
    let row = served();
    let outline = outline(&row);
    assert_eq!(made(&outline), made(&row));
    assert_eq!(
        (outline.prompt, outline.reply, outline.prompt_hash),
        (None, None, String::new())
    );
    assert_eq!(outline.tiers.len(), 1);
}

fn any_ms() -> impl Strategy<Value = f32> {
    prop_oneof![-1e9_f32..1e9, Just(f32::NAN), Just(f32::INFINITY)]
}

proptest! {
    #[test]
    fn whatever_a_row_says_spans_end_after_they_begin_and_have_ids_of_their_own(
        time_ms in any::<i64>(),
        overhead_ms in any_ms(),
        spent in prop::collection::vec((any_ms(), any_ms(), any::<f64>()), 0..5),
    ) {
        let calls = spent.iter().map(|&(start_ms, total_ms, input_tokens)| Call {
            start_ms,
            total_ms,
            input_tokens,
            ..call("small", Role::Chosen)
        });
        let row = Served { time_ms, overhead_ms, calls: calls.collect(), ..served() };
        let all = made(&row);
        prop_assert!(all.iter().all(|span| span.start_ns <= span.end_ns));
        let ids: BTreeSet<&[u8]> = all.iter().map(|span| &*span.span_id).collect();
        prop_assert_eq!(ids.len(), all.len());
    }

    #[test]
    fn a_requests_span_covers_all_below_it(
        overhead_ms in 0_f32..1e4,
        spent in prop::collection::vec((0_f32..1e6, 0_f32..1e6), 0..5),
    ) {
        let calls = spent.iter().map(|&(start_ms, total_ms)| Call {
            start_ms,
            total_ms,
            ..call("small", Role::Chosen)
        });
        let row = Served { overhead_ms, calls: calls.collect(), ..served() };
        let all = made(&row);
        prop_assert!(all.iter().all(|span| all[0].start_ns <= span.start_ns && span.end_ns <= all[0].end_ns));
    }
}
