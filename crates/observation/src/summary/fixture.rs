//! Rows for tests.

use tiercast_records::journal::{Call, Expected, Label, Role, Served};

/// A request of task `code` and cohort `free` that was decided and not forwarded.
pub(crate) fn decided(tiers: &[(&str, f32, f64)]) -> Served {
    Served {
        id: "d1".into(),
        time_ms: 1_700_000_000_000,
        endpoint: "chat".into(),
        session: None,
        cohort: "free".into(),
        task: "code".into(),
        task_is_told: false,
        policy: "meta".into(),
        reason: "cheapest_acceptable".into(),
        rule: None,
        checkpoint: "c1".into(),
        feature_version: 1,
        target: None,
        propensity: 1.0,
        chosen: 0,
        tiers: tiers
            .iter()
            .map(|(name, quality, cost)| expected(name, *quality, *cost))
            .collect(),
        evidence: true,
        overhead_ms: 2.0,
        calls: Vec::new(),
        answered_by: None,
        prompt_hash: String::new(),
        features: None,
        prompt: None,
        reply: None,
    }
}

/// The same, with these calls, the last of which answered.
pub(crate) fn answered(tiers: &[(&str, f32, f64)], calls: Vec<Call>) -> Served {
    Served {
        answered_by: calls.len().checked_sub(1),
        calls,
        ..decided(tiers)
    }
}

fn expected(name: &str, quality: f32, cost: f64) -> Expected {
    Expected {
        tier: name.into(),
        predicted_as: None,
        quality_mean: quality,
        quality_pmf: Vec::new(),
        cost_usd: cost,
        input_tokens: 100.0,
        output_tokens: 200.0,
        latency_p95_ms: None,
        acceptable: true,
        excluded: None,
    }
}

/// A complete call.
pub(crate) fn call(tier: &str, role: Role, cost: f64) -> Call {
    Call {
        tier: tier.into(),
        role,
        outcome: "complete".into(),
        error: None,
        input_tokens: 100.0,
        cached_tokens: 10.0,
        output_tokens: 200.0,
        is_estimated: false,
        cost_usd: cost,
        first_token_ms: Some(300.0),
        total_ms: 2000.0,
        estimate: None,
    }
}

/// A complete call whose answer a cascade read.
pub(crate) fn read(tier: &str, role: Role, cost: f64, estimate: f32) -> Call {
    Call {
        estimate: Some(estimate),
        ..call(tier, role, cost)
    }
}

/// A call that failed.
pub(crate) fn failed(tier: &str, role: Role, error: &str) -> Call {
    Call {
        outcome: "failed".into(),
        error: Some(Label::from(error)),
        first_token_ms: None,
        ..call(tier, role, 0.0)
    }
}
