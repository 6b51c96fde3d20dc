//! Plans, estimates and status as text.

use tiercast_collect::config::CollectConfig;
use tiercast_collect::estimate::Estimate;
use tiercast_collect::ledger::ErrorCount;
use tiercast_collect::status::{StatusReport, TierStatus};

use crate::data::table;

pub(super) fn plan_text(config: &CollectConfig) -> String {
    let mut text = String::from("config, keys and prompts are in order; nothing was sent\n");
    for tier in &config.tiers {
        let endpoint = &tier.endpoint;
        let key = endpoint
            .api_key_env()
            .map_or("no key".to_owned(), |name| format!("key in {name}"));
        text += &format!(
            "{}: model {} at {}, {key}, {} at a time, parameters {}\n",
            tier.run.name,
            tier.run.model,
            endpoint.host(),
            endpoint.concurrency(),
            tier.run.parameters,
        );
    }
    if !config.not_asked.is_empty() {
        text += &format!("not asked, as they have no endpoint: {}\n", config.not_asked.join(", "));
    }
    text + &format!("{} answers per prompt and tier\n", config.samples)
}

pub(super) fn estimate_text(estimate: &Estimate) -> String {
    let head = [
        "tier",
        "calls",
        "done",
        "too long",
        "in tok",
        "out tok",
        "USD",
        "USD at most",
        "out tok from",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(estimate.tiers.iter().map(|tier| {
        [
            tier.tier.clone(),
            tier.n_calls.to_string(),
            tier.n_done.to_string(),
            tier.n_too_long.to_string(),
            tier.input_tokens.to_string(),
            tier.output_tokens.to_string(),
            format!("{:.4}", tier.cost_usd),
            format!("{:.4}", tier.most_cost_usd),
            tier.output_basis.to_owned(),
        ]
    }));
    format!(
        "{}all: {:.4} US dollars, {:.4} if every reply ran into its limit ({})\n",
        table(&lines),
        estimate.cost_usd,
        estimate.most_cost_usd,
        estimate.counted,
    )
}

pub(super) fn status_text(report: &StatusReport) -> String {
    let head = [
        "tier",
        "answered",
        "truncated",
        "cannot",
        "failed",
        "left",
        "in tok",
        "out tok",
        "USD",
        "requests",
        "extra",
        "model",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(report.tiers.iter().map(status_cells));
    let mut text = format!(
        "{}: {} prompts x {} tiers x {} samples, {} of {} calls done, {:.4} US dollars\n{}",
        report.folder.display(),
        report.n_prompts,
        report.tiers.len(),
        report.samples,
        report.n_wanted - report.n_left,
        report.n_wanted,
        report.cost_usd,
        table(&lines),
    );
    for tier in &report.tiers {
        text += &errors_text(tier);
    }
    text
}

fn status_cells(tier: &TierStatus) -> [String; 12] {
    let totals = &tier.totals;
    [
        tier.tier.clone(),
        totals.n_answered.to_string(),
        totals.n_truncated.to_string(),
        totals.n_unanswerable.to_string(),
        totals.n_failed.to_string(),
        tier.n_left.to_string(),
        totals.input_tokens.to_string(),
        totals.output_tokens.to_string(),
        format!("{:.4}", totals.cost_usd),
        (totals.n_requests + totals.n_lost).to_string(),
        tier.n_extra_requests.to_string(),
        tier.model.clone(),
    ]
}

fn errors_text(tier: &TierStatus) -> String {
    let mut text = String::new();
    if !tier.request_errors.is_empty() {
        text += &format!(
            "{}: requests that failed: {}\n",
            tier.tier,
            counts(&tier.request_errors)
        );
    }
    if tier.totals.n_lost > 0 {
        text += &format!(
            "{}: requests under way when a run was killed: {}\n",
            tier.tier, tier.totals.n_lost
        );
    }
    if tier.totals.n_filtered > 0 {
        text += &format!(
            "{}: answers that the provider's content filter ended: {}; what there is of them is judged as the answer\n",
            tier.tier, tier.totals.n_filtered
        );
    }
    if tier.totals.n_tokens_estimated > 0 {
        text += &format!(
            "{}: tokens counted here as characters / 4, not reported: {} answers\n",
            tier.tier, tier.totals.n_tokens_estimated
        );
    }
    for error in &tier.call_errors {
        let example = error.example.as_deref().unwrap_or_default();
        text += &format!(
            "{}: {} calls without an answer, {}: {example}\n",
            tier.tier, error.count, error.kind
        );
    }
    text
}

fn counts(errors: &[ErrorCount]) -> String {
    let counts: Vec<String> = errors
        .iter()
        .map(|error| format!("{} {}", error.kind, error.count))
        .collect();
    counts.join(", ")
}
