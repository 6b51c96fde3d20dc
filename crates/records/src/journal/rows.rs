//! A batch as rows: its columns side by side, and the row at a place.

use arrow::array::{BooleanArray, StringArray};
use arrow::datatypes::{Float32Type, Float64Type, Int64Type, UInt32Type};

use super::cells::{FeatureColumns, Known, MaybeNumbers, NumberLists, Table, Words, span, text_at};
use super::{About, Call, Expected, Feedback, Label, Role, Sampled, Served, Verdict};
use crate::error::Fault;

pub(super) struct ServedColumns<'b> {
    id: &'b StringArray,
    time_ms: &'b [i64],
    endpoint: Words<'b, Label>,
    session: Option<&'b StringArray>,
    cohort: Words<'b, Label>,
    task: Words<'b, Label>,
    task_is_told: &'b BooleanArray,
    policy: Words<'b, Label>,
    reason: Words<'b, Label>,
    rule: Words<'b, Label>,
    checkpoint: Words<'b, Label>,
    feature_version: &'b [u32],
    target: MaybeNumbers<'b, Float32Type>,
    propensity: &'b [f64],
    chosen: &'b [u32],
    tiers: ExpectedColumns<'b>,
    evidence: &'b BooleanArray,
    overhead_ms: &'b [f32],
    calls: CallColumns<'b>,
    answered_by: MaybeNumbers<'b, UInt32Type>,
    prompt_hash: &'b StringArray,
    features: Option<FeatureColumns<'b>>,
    prompt: Option<&'b StringArray>,
    reply: Option<&'b StringArray>,
}

impl<'b> ServedColumns<'b> {
    pub(super) fn of(table: Table<'b>, known: &mut Known) -> Result<Self, Fault> {
        Ok(Self {
            id: table.text("id")?,
            time_ms: table.numbers::<Int64Type>("time_ms")?,
            endpoint: table.labels("endpoint", known)?,
            session: table.maybe_text("session"),
            cohort: table.labels("cohort", known)?,
            task: table.labels("task", known)?,
            task_is_told: table.flags("task_is_told")?,
            policy: table.labels("policy", known)?,
            reason: table.labels("reason", known)?,
            rule: table.labels("rule", known)?,
            checkpoint: table.labels("checkpoint", known)?,
            feature_version: table.numbers::<UInt32Type>("feature_version")?,
            target: table.maybe_numbers("target")?,
            propensity: table.numbers::<Float64Type>("propensity")?,
            chosen: table.numbers::<UInt32Type>("chosen")?,
            tiers: ExpectedColumns::of(table, known)?,
            evidence: table.flags("evidence")?,
            overhead_ms: table.numbers::<Float32Type>("overhead_ms")?,
            calls: CallColumns::of(table, known)?,
            answered_by: table.maybe_numbers("answered_by")?,
            prompt_hash: table.text("prompt_hash")?,
            features: FeatureColumns::of(table)?,
            prompt: table.maybe_text("prompt"),
            reply: table.maybe_text("reply"),
        })
    }

    pub(super) fn n_rows(&self) -> usize {
        self.time_ms.len()
    }

    pub(super) fn row(&self, i: usize) -> Served {
        Served {
            id: self.id.value(i).to_owned(),
            time_ms: self.time_ms[i],
            endpoint: self.endpoint.at(i),
            session: text_at(self.session, i),
            cohort: self.cohort.at(i),
            task: self.task.at(i),
            task_is_told: self.task_is_told.value(i),
            policy: self.policy.at(i),
            reason: self.reason.at(i),
            rule: self.rule.maybe_at(i),
            checkpoint: self.checkpoint.at(i),
            feature_version: self.feature_version[i],
            target: self.target.at(i),
            propensity: self.propensity[i],
            chosen: self.chosen[i] as usize,
            tiers: span(self.tiers.offsets, i).map(|at| self.tiers.row(at)).collect(),
            evidence: self.evidence.value(i),
            overhead_ms: self.overhead_ms[i],
            calls: span(self.calls.offsets, i).map(|at| self.calls.row(at)).collect(),
            answered_by: self.answered_by.at(i).map(|at| at as usize),
            prompt_hash: self.prompt_hash.value(i).to_owned(),
            features: self.features.as_ref().and_then(|features| features.at(i)),
            prompt: text_at(self.prompt, i),
            reply: text_at(self.reply, i),
            trace: None,
        }
    }
}

struct ExpectedColumns<'b> {
    offsets: &'b [i32],
    tier: Words<'b, Label>,
    predicted_as: Words<'b, Label>,
    quality_mean: &'b [f32],
    quality_pmf: Option<NumberLists<'b, Float32Type>>,
    cost_usd: &'b [f64],
    input_tokens: &'b [f32],
    output_tokens: &'b [f32],
    latency_p95_ms: MaybeNumbers<'b, Float32Type>,
    acceptable: &'b BooleanArray,
    excluded: Words<'b, Label>,
}

impl<'b> ExpectedColumns<'b> {
    fn of(table: Table<'b>, known: &mut Known) -> Result<Self, Fault> {
        let (table, offsets) = table.lists("tiers")?;
        Ok(Self {
            offsets,
            tier: table.labels("tier", known)?,
            predicted_as: table.labels("predicted_as", known)?,
            quality_mean: table.numbers::<Float32Type>("quality_mean")?,
            quality_pmf: table.maybe_number_lists("quality_pmf"),
            cost_usd: table.numbers::<Float64Type>("cost_usd")?,
            input_tokens: table.numbers::<Float32Type>("input_tokens")?,
            output_tokens: table.numbers::<Float32Type>("output_tokens")?,
            latency_p95_ms: table.maybe_numbers("latency_p95_ms")?,
            acceptable: table.flags("acceptable")?,
            excluded: table.labels("excluded", known)?,
        })
    }

    fn row(&self, i: usize) -> Expected {
        let pmf = self.quality_pmf.as_ref();
        Expected {
            tier: self.tier.at(i),
            predicted_as: self.predicted_as.maybe_at(i),
            quality_mean: self.quality_mean[i],
            quality_pmf: pmf.map_or_else(Vec::new, |pmf| pmf.at(i).to_vec()),
            cost_usd: self.cost_usd[i],
            input_tokens: self.input_tokens[i],
            output_tokens: self.output_tokens[i],
            latency_p95_ms: self.latency_p95_ms.at(i),
            acceptable: self.acceptable.value(i),
            excluded: self.excluded.maybe_at(i),
        }
    }
}

struct CallColumns<'b> {
    offsets: &'b [i32],
    tier: Words<'b, Label>,
    role: Words<'b, Role>,
    outcome: Words<'b, Label>,
    error: Words<'b, Label>,
    input_tokens: &'b [f64],
    cached_tokens: &'b [f64],
    output_tokens: &'b [f64],
    is_estimated: &'b BooleanArray,
    cost_usd: &'b [f64],
    start_ms: MaybeNumbers<'b, Float32Type>,
    first_token_ms: MaybeNumbers<'b, Float32Type>,
    total_ms: &'b [f32],
    estimate: MaybeNumbers<'b, Float32Type>,
}

impl<'b> CallColumns<'b> {
    fn of(table: Table<'b>, known: &mut Known) -> Result<Self, Fault> {
        let (table, offsets) = table.lists("calls")?;
        Ok(Self {
            offsets,
            tier: table.labels("tier", known)?,
            role: table.words("role", Role::from_name)?,
            outcome: table.labels("outcome", known)?,
            error: table.labels("error", known)?,
            input_tokens: table.numbers::<Float64Type>("input_tokens")?,
            cached_tokens: table.numbers::<Float64Type>("cached_tokens")?,
            output_tokens: table.numbers::<Float64Type>("output_tokens")?,
            is_estimated: table.flags("is_estimated")?,
            cost_usd: table.numbers::<Float64Type>("cost_usd")?,
            start_ms: table.maybe_numbers("start_ms")?,
            first_token_ms: table.maybe_numbers("first_token_ms")?,
            total_ms: table.numbers::<Float32Type>("total_ms")?,
            estimate: table.maybe_numbers("estimate")?,
        })
    }

    fn row(&self, i: usize) -> Call {
        Call {
            tier: self.tier.at(i),
            role: self.role.at(i),
            outcome: self.outcome.at(i),
            error: self.error.maybe_at(i),
            input_tokens: self.input_tokens[i],
            cached_tokens: self.cached_tokens[i],
            output_tokens: self.output_tokens[i],
            is_estimated: self.is_estimated.value(i),
            cost_usd: self.cost_usd[i],
            start_ms: self.start_ms.at(i).unwrap_or(0.0),
            first_token_ms: self.first_token_ms.at(i),
            total_ms: self.total_ms[i],
            estimate: self.estimate.at(i),
        }
    }
}

pub(super) struct FeedbackColumns<'b> {
    time_ms: &'b [i64],
    about_kind: Words<'b, fn(String) -> About>,
    about: &'b StringArray,
    source: Words<'b, Label>,
    score: MaybeNumbers<'b, Float64Type>,
    verdict: Words<'b, Verdict>,
    comment: Option<&'b StringArray>,
    judge_hash: Option<Words<'b, Label>>,
    sample_rate: Option<MaybeNumbers<'b, Float64Type>>,
}

impl<'b> FeedbackColumns<'b> {
    pub(super) fn of(table: Table<'b>, known: &mut Known) -> Result<Self, Fault> {
        Ok(Self {
            time_ms: table.numbers::<Int64Type>("time_ms")?,
            about_kind: table.words("about_kind", |kind| match kind {
                "decision" => Some(About::Decision as fn(String) -> About),
                "session" => Some(About::Session),
                _ => None,
            })?,
            about: table.text("about")?,
            source: table.labels("source", known)?,
            score: table.maybe_numbers("score")?,
            verdict: table.words("verdict", Verdict::from_name)?,
            comment: table.maybe_text("comment"),
            judge_hash: table
                .has("judge_hash")
                .then(|| table.labels("judge_hash", known))
                .transpose()?,
            sample_rate: table
                .has("sample_rate")
                .then(|| table.maybe_numbers("sample_rate"))
                .transpose()?,
        })
    }

    pub(super) fn n_rows(&self) -> usize {
        self.time_ms.len()
    }

    pub(super) fn row(&self, i: usize) -> Feedback {
        Feedback {
            time_ms: self.time_ms[i],
            about: self.about_kind.at(i)(self.about.value(i).to_owned()),
            source: self.source.at(i),
            score: self.score.at(i),
            verdict: self.verdict.maybe_at(i),
            comment: text_at(self.comment, i),
            sampled: self.sampled(i),
        }
    }

    fn sampled(&self, i: usize) -> Option<Sampled> {
        Some(Sampled {
            judge_hash: self.judge_hash.as_ref()?.maybe_at(i)?,
            rate: self.sample_rate.as_ref()?.at(i)?,
        })
    }
}
