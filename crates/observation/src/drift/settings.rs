//! What counts as wrong, and how rarely the monitor may be mistaken.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Sizes of effects and the rate of false alarms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// One false alarm, of any kind, is expected in so many requests at most. For one in 30 days: the requests
    /// of 30 days.
    pub requests_per_false_alarm: f64,
    /// Requests of different sessions that make a window.
    pub window: usize,
    /// First windows that later ones are compared with. Together they should span the usual day.
    pub baseline_windows: usize,
    /// First calls of a tier that later lengths and latencies are compared with.
    pub baseline_calls: usize,
    /// Observed quality may be off the prediction by so much.
    pub quality_margin: f64,
    /// Population stability index from which a signal or the tasks have changed (0.1 is the convention).
    pub changed: f64,
    /// The same against the training prompts (0.25 is the convention).
    pub unlike_training: f64,
    /// Points of traffic that must have moved between tiers, as a share.
    pub mix: f64,
    /// Shift of mean predicted quality that counts.
    pub predicted_quality: f64,
    /// Factor by which latency must have grown.
    pub latency_factor: f64,
    /// Factor by which replies must have grown or shrunk against what was predicted.
    pub length_factor: f64,
    /// A call's cost may be off what its tokens did cost before by such a share.
    pub price_tolerance: f64,
    /// Tiers, tasks and cohorts that are told apart; the rest is put together.
    pub labels: usize,
    /// Last requests that feedback can still be about.
    pub remembered: usize,
    /// Whose feedback counts: `judge`, `client`, ...; all where empty. A client that complains and never praises
    /// makes every tier look bad, so name who rates a random sample.
    pub sources: Vec<String>,
}

/// Why settings make no sense.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("drift setting `{name}` is {value}: {expected}")]
pub struct SettingsError {
    /// Name of the setting.
    pub name: &'static str,
    /// What it was.
    pub value: f64,
    /// What it may be.
    pub expected: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            requests_per_false_alarm: 1e6,
            window: 500,
            baseline_windows: 4,
            baseline_calls: 500,
            quality_margin: 0.03,
            changed: 0.1,
            unlike_training: 0.25,
            mix: 0.1,
            predicted_quality: 0.02,
            latency_factor: 1.5,
            length_factor: 1.15,
            price_tolerance: 0.02,
            labels: 32,
            remembered: 50_000,
            sources: Vec::new(),
        }
    }
}

impl Settings {
    /// Whether every setting can be used.
    pub fn check(&self) -> Result<(), SettingsError> {
        let within = |name, value: f64, is_right: bool, expected| {
            let error = SettingsError { name, value, expected };
            if is_right { Ok(()) } else { Err(error) }
        };
        let count = |name, value: usize, range: std::ops::RangeInclusive<usize>, expected| {
            within(name, value as f64, range.contains(&value), expected)
        };
        let share = |name, value: f64| {
            let is_share = value > 0.0 && value < 1.0;
            within(name, value, is_share, "say a share between 0 and 1, such as 0.1")
        };
        let index = |name, value: f64| {
            let is_index = value > 0.0 && value < 10.0;
            within(name, value, is_index, "say an index above 0, such as 0.1")
        };
        let factor = |name, value: f64| {
            let is_factor = value > 1.0 && value.is_finite();
            within(name, value, is_factor, "say a factor above 1, such as 1.5")
        };
        let rate = self.requests_per_false_alarm;
        within(
            "requests_per_false_alarm",
            rate,
            (1_000.0..=1e15).contains(&rate),
            "say 1,000 to 1e15 requests",
        )?;
        count("window", self.window, 100..=100_000, "say 100 to 100,000 requests")?;
        count(
            "baseline_windows",
            self.baseline_windows,
            1..=100,
            "say 1 to 100 windows",
        )?;
        count(
            "baseline_calls",
            self.baseline_calls,
            100..=100_000,
            "say 100 to 100,000 calls",
        )?;
        let margin = self.quality_margin;
        within(
            "quality_margin",
            margin,
            (0.0..=0.5).contains(&margin),
            "say 0 to 0.5 of quality",
        )?;
        index("changed", self.changed)?;
        index("unlike_training", self.unlike_training)?;
        share("mix", self.mix)?;
        share("predicted_quality", self.predicted_quality)?;
        factor("latency_factor", self.latency_factor)?;
        factor("length_factor", self.length_factor)?;
        share("price_tolerance", self.price_tolerance)?;
        count("labels", self.labels, 1..=1_000, "say 1 to 1,000 names")?;
        count(
            "remembered",
            self.remembered,
            1..=10_000_000,
            "say 1 to 10,000,000 requests",
        )
    }

    /// Whether feedback of this source counts.
    pub(super) fn hears(&self, source: &str) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|heard| heard == source)
    }
}
