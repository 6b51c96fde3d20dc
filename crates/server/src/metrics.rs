//! The metrics, in a recorder of their own, so that several apps live in one process.

use std::time::Duration;

use metrics::{Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use tiercast_observation::page::{FindingView, Severity};
use tiercast_observation::summary::figures::Figures;
use tiercast_records::journal::{Feedback, Label, Served, Verdict};

use crate::accounts::Call;
use crate::answer::Answer;
use crate::dials::Dials;

/// Kinds of drift.
const KINDS: [&str; 5] = ["inputs", "predictions", "outcomes", "price", "latency"];

/// Seconds, about a factor of two apart.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];

/// Seconds of a model's reply.
const CALL_SECONDS: [f64; 12] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 180.0, 600.0];

/// Expected quality.
const QUALITY: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let named = |name: &str| Matcher::Full(name.to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(named("tiercast_decision_seconds"), &SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(named("tiercast_predicted_quality"), &QUALITY))
            .and_then(|builder| builder.set_buckets_for_metric(named("tiercast_observed_quality"), &QUALITY))
            .and_then(|builder| builder.set_buckets_for_metric(named("tiercast_first_byte_seconds"), &CALL_SECONDS))
            .and_then(|builder| builder.set_buckets_for_metric(named("tiercast_call_seconds"), &CALL_SECONDS))
            .expect("the bucket lists are not empty")
            .build_recorder();
        let metrics = Self {
            handle: recorder.handle(),
            recorder,
        };
        metrics.with(describe);
        metrics
    }

    pub(crate) fn queue_depth(&self) -> Gauge {
        self.with(|| gauge!("tiercast_queue_depth"))
    }

    pub(crate) fn request(&self, path: &'static str, status: u16) {
        self.with(|| counter!("tiercast_requests_total", "path" => path, "status" => status.to_string()).increment(1));
    }

    pub(crate) fn queue_rejection(&self) {
        self.with(|| counter!("tiercast_queue_rejections_total").increment(1));
    }

    pub(crate) fn decision(&self, answer: &Answer, dials: &Dials, took: Duration) {
        let (decision, quality) = (&answer.decision, answer.decision.quality_mean);
        self.with(|| {
            counter!("tiercast_decisions_total",
                "tier" => decision.tier.clone(), "reason" => decision.reason.clone(),
                "policy" => decision.policy, "cohort" => dials.cohort.clone())
            .increment(1);
            histogram!("tiercast_decision_seconds").record(took.as_secs_f64());
            histogram!("tiercast_predicted_quality", "tier" => decision.tier.clone()).record(quality);
        });
    }

    pub(crate) fn call(&self, tier: &str, call: &Call) {
        let tier = tier.to_owned();
        self.with(|| {
            counter!("tiercast_calls_total", "tier" => tier.clone(), "outcome" => call.outcome.name()).increment(1);
            counter!("tiercast_cost_micro_usd_total", "tier" => tier.clone()).increment(micro_usd(call.cost_usd));
            for (kind, tokens) in [
                ("input", call.input_tokens),
                ("cached_input", call.cached_tokens),
                ("output", call.output_tokens),
            ] {
                let tokens = tokens.round().max(0.0) as u64;
                counter!("tiercast_tokens_total", "tier" => tier.clone(), "kind" => kind).increment(tokens);
            }
        });
    }

    pub(crate) fn fallback(&self, from: &str, to: &str, kind: &'static str) {
        self.with(|| {
            counter!("tiercast_fallbacks_total", "from" => from.to_owned(), "to" => to.to_owned(), "kind" => kind)
                .increment(1);
        });
    }

    pub(crate) fn escalation(&self, from: &str, to: &str) {
        self.with(|| {
            counter!("tiercast_escalations_total", "from" => from.to_owned(), "to" => to.to_owned()).increment(1);
        });
    }

    pub(crate) fn budget_refusal(&self) {
        self.with(|| counter!("tiercast_budget_refusals_total").increment(1));
    }

    pub(crate) fn budget_store_failure(&self) {
        self.with(|| counter!("tiercast_budget_store_failures_total").increment(1));
    }

    /// A request is over.
    pub(crate) fn served(&self, row: &Served) {
        let path = row.path().name();
        let of = |tier: &Label| {
            [
                ("tier", tier.to_string()),
                ("policy", row.policy.to_string()),
                ("task", row.task.to_string()),
                ("cohort", row.cohort.to_string()),
            ]
        };
        let tier = row.answer().map_or(&row.tiers[row.chosen].tier, |call| &call.tier);
        self.with(|| {
            let labels = of(tier).into_iter().chain([("path", path.to_owned())]);
            let labels: Vec<metrics::Label> = labels.map(|(name, value)| metrics::Label::new(name, value)).collect();
            counter!("tiercast_served_total", labels).increment(1);
            for call in &row.calls {
                let labels: Vec<metrics::Label> = of(&call.tier)
                    .into_iter()
                    .map(|(name, value)| metrics::Label::new(name, value))
                    .collect();
                counter!("tiercast_spent_micro_usd_total", labels).increment(micro_usd(call.cost_usd));
            }
        });
    }

    pub(crate) fn feedback(&self, said: &Feedback) {
        let verdict = said.verdict.map_or("none", Verdict::name);
        // Anybody may name a source, and a series per name would never end.
        let source = match &*said.source {
            "client" => "client",
            "judge" => "judge",
            _ if said.is_judged() => "judge",
            _ => "other",
        };
        self.with(|| counter!("tiercast_feedback_total", "source" => source, "verdict" => verdict).increment(1));
    }

    pub(crate) fn observed(&self, tier: &str, quality: f64) {
        self.with(|| histogram!("tiercast_observed_quality", "tier" => tier.to_owned()).record(quality));
    }

    /// What is spent and saved so far, US dollars.
    pub(crate) fn figures(&self, figures: &Figures) {
        let saved = figures.cost.all.saved.as_ref();
        self.with(|| {
            gauge!("tiercast_always_best_usd").set(saved.map_or(0.0, |saved| saved.always_best_usd));
            gauge!("tiercast_saved_usd").set(saved.map_or(0.0, |saved| saved.saved_usd));
        });
    }

    /// How many things have drifted, by kind and severity.
    pub(crate) fn drift(&self, findings: &[FindingView]) {
        self.with(|| {
            for kind in KINDS {
                for severity in [Severity::Note, Severity::Warning, Severity::Alarm] {
                    let found = findings.iter().filter(|of| of.kind == kind && of.severity == severity);
                    gauge!("tiercast_drift_findings", "kind" => kind, "severity" => severity.name())
                        .set(found.count() as f64);
                }
            }
        });
    }

    pub(crate) fn observer_dropped(&self, n: u64) {
        self.with(|| counter!("tiercast_observer_dropped_total").absolute(n));
    }

    pub(crate) fn journal(&self, health: &tiercast_journal::Health) {
        self.with(|| {
            counter!("tiercast_journal_written_total").absolute(health.written);
            counter!("tiercast_journal_dropped_total").absolute(health.dropped);
            gauge!("tiercast_journal_waiting").set(health.waiting as f64);
            gauge!("tiercast_journal_bytes").set(health.bytes_on_disk as f64);
            gauge!("tiercast_journal_failing").set(f64::from(u8::from(health.failing.is_some())));
        });
    }

    pub(crate) fn traces(&self, health: &tiercast_telemetry::exporter::Health) {
        self.with(|| {
            counter!("tiercast_spans_exported_total").absolute(health.exported);
            counter!("tiercast_spans_dropped_total").absolute(health.dropped);
        });
    }

    pub(crate) fn first_byte(&self, tier: &str, seconds: f64) {
        self.with(|| histogram!("tiercast_first_byte_seconds", "tier" => tier.to_owned()).record(seconds));
    }

    pub(crate) fn call_seconds(&self, tier: &str, seconds: f64) {
        self.with(|| histogram!("tiercast_call_seconds", "tier" => tier.to_owned()).record(seconds));
    }

    /// Which tiers borrow whose evidence: set anew at each reload.
    pub(crate) fn borrowed(&self, tier: &str, from: &str, is_served: bool) {
        let value = if is_served { 1.0 } else { 0.0 };
        self.with(|| gauge!("tiercast_borrowed_tier", "tier" => tier.to_owned(), "from" => from.to_owned()).set(value));
    }

    /// The Prometheus text.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds the histograms' samples into their buckets; without it they pile up between scrapes.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    fn with<T>(&self, record: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.recorder, record)
    }
}

/// Counters are whole: a millionth of a dollar is the unit.
fn micro_usd(usd: f64) -> u64 {
    (usd * 1e6).round().max(0.0) as u64
}

fn describe() {
    describe_counter!(
        "tiercast_served_total",
        "Requests that are over, by the tier that answered, policy, task, cohort and path (direct, escalated, fallback, unanswered)."
    );
    describe_counter!(
        "tiercast_spent_micro_usd_total",
        "Settled cost of calls by tier, policy, task and cohort, millionths of a US dollar."
    );
    describe_counter!(
        "tiercast_feedback_total",
        "What was said of answers, by source and verdict."
    );
    describe_histogram!(
        "tiercast_observed_quality",
        "Quality that feedback gave the tier that answered."
    );
    describe_gauge!(
        "tiercast_always_best_usd",
        "What the best single tier would have cost since the start, US dollars (an estimate)."
    );
    describe_gauge!("tiercast_saved_usd", "Saved against that, US dollars.");
    describe_gauge!(
        "tiercast_drift_findings",
        "Things that have drifted, by kind and severity."
    );
    describe_counter!(
        "tiercast_observer_dropped_total",
        "Finished requests that were not looked at, because too many waited."
    );
    describe_counter!("tiercast_journal_written_total", "Rows of the journal on disk.");
    describe_counter!(
        "tiercast_journal_dropped_total",
        "Rows that the journal could not take."
    );
    describe_gauge!("tiercast_journal_waiting", "Rows that wait for the disk.");
    describe_gauge!("tiercast_journal_bytes", "Bytes of the journal on disk.");
    describe_gauge!("tiercast_journal_failing", "1 while the journal cannot write.");
    describe_counter!("tiercast_spans_exported_total", "Spans that a collector took.");
    describe_counter!("tiercast_spans_dropped_total", "Spans that no collector took.");
    describe_counter!("tiercast_requests_total", "HTTP requests by path and status.");
    describe_counter!(
        "tiercast_decisions_total",
        "Decisions by tier, reason, policy and cohort."
    );
    describe_counter!(
        "tiercast_queue_rejections_total",
        "Requests refused because the inference queue was full."
    );
    describe_counter!("tiercast_calls_total", "Calls to tiers by how they went.");
    describe_counter!(
        "tiercast_cost_micro_usd_total",
        "Settled cost of calls, millionths of a US dollar."
    );
    describe_counter!(
        "tiercast_tokens_total",
        "Tokens of calls; `cached_input` is a part of `input`."
    );
    describe_counter!(
        "tiercast_fallbacks_total",
        "Calls that went on to another tier after a failure, by kind of failure."
    );
    describe_counter!(
        "tiercast_escalations_total",
        "Calls of a cascade to a dearer tier, after an answer that was not good enough."
    );
    describe_counter!(
        "tiercast_budget_refusals_total",
        "Requests refused because a budget is spent."
    );
    describe_counter!(
        "tiercast_budget_store_failures_total",
        "Questions that the budget store did not answer."
    );
    describe_gauge!(
        "tiercast_borrowed_tier",
        "1 for a tier that is predicted by another tier's evidence."
    );
    describe_histogram!(
        "tiercast_first_byte_seconds",
        Unit::Seconds,
        "From asking a tier to the first of its reply."
    );
    describe_histogram!(
        "tiercast_call_seconds",
        Unit::Seconds,
        "From asking a tier to the end of its reply."
    );
    describe_gauge!("tiercast_queue_depth", "Requests waiting for inference.");
    describe_histogram!(
        "tiercast_decision_seconds",
        Unit::Seconds,
        "From the read body to the decision."
    );
    describe_histogram!("tiercast_predicted_quality", "Expected quality of the chosen tier.");
    // A series that is absent until the first refusal cannot be alerted on.
    counter!("tiercast_queue_rejections_total").absolute(0);
    counter!("tiercast_budget_refusals_total").absolute(0);
    counter!("tiercast_budget_store_failures_total").absolute(0);
}
