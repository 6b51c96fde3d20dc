//! What a run leaves for others: `completions.parquet` and the manifest beside it.

use std::collections::BTreeMap;
use std::path::Path;

use tiercast_records::collected::{Completion, write_completions};
use tiercast_records::manifest::{self, Manifest};

use crate::error::CollectError;
use crate::ledger::{Answer, Ledger};
use crate::status::{StatusReport, samples};

/// Every reply, one row per prompt, tier and sample.
pub const COMPLETIONS: &str = "completions.parquet";

/// Kind of the manifest of a run's folder.
pub const KIND: &str = "tiercast-run";

/// Writes the completions and then the manifest. Returns the number of rows.
pub fn export(ledger: &Ledger, status: &StatusReport) -> Result<u64, CollectError> {
    let path = ledger.folder().join(COMPLETIONS);
    let n_samples = samples(ledger)?;
    let n_rows = write_completions::<CollectError>(&path, |add| {
        ledger.for_each_answer(n_samples, |answer| add(completion(answer)))
    })?;
    write_manifest(ledger.folder(), &[(COMPLETIONS, n_rows)], notes(ledger, status)?)?;
    Ok(n_rows)
}

/// Writes the manifest of a run's folder: the files as (name, rows), and where they come from.
pub fn write_manifest(
    folder: &Path,
    files: &[(&str, u64)],
    notes: BTreeMap<String, String>,
) -> Result<Manifest, CollectError> {
    Ok(manifest::write(folder, KIND, files, notes)?)
}

/// Where the completions come from, for the manifest.
pub fn notes(ledger: &Ledger, status: &StatusReport) -> Result<BTreeMap<String, String>, CollectError> {
    let tiers = status
        .tiers
        .iter()
        .map(|tier| format!("{} ({})", tier.tier, tier.model));
    let notes = [
        ("complete", (status.n_left == 0).to_string()),
        ("calls_left", status.n_left.to_string()),
        ("samples", status.samples.to_string()),
        ("tiers", tiers.collect::<Vec<_>>().join(", ")),
        ("prompts_sha256", ledger.meta("prompts_hash")?.unwrap_or_default()),
    ];
    Ok(notes.map(|(name, value)| (name.to_owned(), value)).into())
}

fn completion(answer: Answer) -> Completion {
    let Answer { prompt, call, class } = answer;
    Completion {
        response: call.response().map(str::to_owned),
        prompt,
        model: call.key.tier,
        class,
        sample: call.key.sample,
        tool_calls: call.tool_calls,
        finish_reason: call.finish_reason,
        truncated: call.truncated,
        logprobs: call.logprobs,
        input_tokens: call.input_tokens,
        cached_input_tokens: call.cached_input_tokens,
        output_tokens: call.output_tokens,
        tokens_estimated: call.tokens_estimated,
        cost_usd: call.cost_usd,
        time_to_first_token_s: call.time_to_first_token_s,
        latency_s: call.latency_s,
        n_requests: call.attempts + call.lost,
        error: call.error_kind,
    }
}
