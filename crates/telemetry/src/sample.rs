//! A row for tests: an answer that was not good enough, and one of a dearer tier.

use std::sync::Arc;

use tiercast_records::journal::{Call, Expected, Label, Role, Served, Trace};

use crate::targets::{Target, Targets};

/// Text that must not leave this program.
pub(crate) const SECRET: &str = "hush";

/// When it was decided, milliseconds since 1970.
pub(crate) const DECIDED_MS: i64 = 1_700_000_000_000;

pub(crate) fn label(text: &str) -> Label {
    Label::from(text)
}

pub(crate) fn trace() -> Trace {
    Trace {
        trace_id: [0xab; 16],
        parent: None,
        span: [0xcd; 8],
        sampled: true,
    }
}

pub(crate) fn call(tier: &str, role: Role) -> Call {
    Call {
        tier: label(tier),
        role,
        outcome: label("complete"),
        error: None,
        input_tokens: 120.0,
        cached_tokens: 100.0,
        output_tokens: 30.0,
        is_estimated: false,
        cost_usd: 0.25,
        start_ms: 1.0,
        first_token_ms: Some(200.0),
        total_ms: 500.0,
        estimate: None,
    }
}

fn expected(tier: &str, quality_mean: f32) -> Expected {
    Expected {
        tier: label(tier),
        predicted_as: Some(label("trained")),
        quality_mean,
        quality_pmf: vec![0.0, 1.0],
        cost_usd: 0.125,
        input_tokens: 100.0,
        output_tokens: 40.0,
        latency_p95_ms: None,
        acceptable: true,
        excluded: None,
    }
}

pub(crate) fn served() -> Served {
    let first = Call {
        estimate: Some(0.25),
        ..call("small", Role::Chosen)
    };
    let second = Call {
        start_ms: 510.0,
        total_ms: 1_000.0,
        ..call("large", Role::Escalation)
    };
    Served {
        id: "dec_1".to_owned(),
        time_ms: DECIDED_MS,
        endpoint: label("chat"),
        session: Some("session-1".to_owned()),
        cohort: label("team"),
        task: label("code"),
        task_is_told: true,
        policy: label("cascade"),
        reason: label("cheapest_acceptable"),
        rule: None,
        checkpoint: label("reference-1"),
        feature_version: 3,
        target: Some(0.5),
        propensity: 1.0,
        chosen: 1,
        tiers: vec![expected("large", 0.875), expected("small", 0.75)],
        evidence: true,
        overhead_ms: 4.0,
        calls: vec![first, second],
        answered_by: Some(1),
        prompt_hash: SECRET.to_owned(),
        features: None,
        prompt: Some(SECRET.to_owned()),
        reply: Some(SECRET.to_owned()),
        trace: Some(trace()),
    }
}

pub(crate) fn targets() -> Arc<Targets> {
    let large = Target {
        provider: Some("anthropic".to_owned()),
        model: Some("large-2026".to_owned()),
        address: Some("api.example.com".to_owned()),
        port: Some(443),
    };
    Arc::new(Targets::from([("large".to_owned(), large)]))
}
