//! The policy `cascade`: `[cascade]`.

use serde::{Deserialize, Serialize};
use tiercast_predictor::cascade::{CascadeFit, MOST_SAMPLES};
use tiercast_routing::cascade::{Acceptance, Cascade, Expected, Stop};
use tiercast_routing::catalog::Catalog;

use super::{SettingsError, value};

/// Share of the surprise at an answer that the next tier is taken to share, where none was fitted.
const DEPENDENCE: f64 = 0.5;

/// The policy `cascade`: `[cascade]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CascadeSettings {
    /// Cheapest first; none: those that the checkpoint was fitted with.
    pub(crate) tiers: Vec<String>,
    /// Estimate of an answer's quality from which it is taken; absent: as fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threshold: Option<f64>,
    /// Stop by value of information instead: quality given up per US dollar saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lambda_per_usd: Option<f64>,
    /// Replies that each stage but the last is asked for; absent: as fitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) samples: Option<usize>,
    /// Ask a tier how sure it is of its answer, and give its word this weight beside the estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) self_report: Option<f64>,
    /// A streaming client gets the first tier's stream, whatever it says.
    pub(crate) first_streams: bool,
}

/// A cascade among the served tiers, and how its stages are asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cascading {
    pub(crate) cascade: Cascade,
    /// What is known of the answers of each stage.
    pub(crate) acceptance: Vec<Acceptance>,
    /// Standard deviation of the estimates of each stage's answers.
    spreads: Vec<f64>,
    /// Replies that each stage but the last is asked for.
    pub(crate) samples: usize,
    /// Weight of a tier's own word.
    pub(crate) self_report: Option<f64>,
}

impl Cascading {
    /// What asking a tier is expected to come to: every sample is paid, and the last stage is asked once.
    pub(crate) fn expected(&self, tier: usize, mut of: Expected) -> Expected {
        let stages = self.cascade.stages();
        if let Some(stage) = stages.iter().position(|stage| *stage == tier) {
            of.spread = self.spreads.get(stage).copied().unwrap_or(0.0);
            if stage + 1 < stages.len() {
                of.cost_usd *= self.samples as f64;
            }
        }
        of
    }
}

impl CascadeSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let is_share = |number: f64| (0.0..=1.0).contains(&number);
        if self.threshold.is_some_and(|threshold| !is_share(threshold)) {
            return Err(value("cascade.threshold", "must be a number from 0 to 1"));
        }
        if self
            .lambda_per_usd
            .is_some_and(|lambda| !lambda.is_finite() || lambda <= 0.0)
        {
            return Err(value("cascade.lambda_per_usd", "must be a number above 0"));
        }
        if self.threshold.is_some() && self.lambda_per_usd.is_some() {
            let mend = "stops by value of information, `cascade.threshold` by the estimate alone: keep one of them";
            return Err(value("cascade.lambda_per_usd", mend));
        }
        if self
            .samples
            .is_some_and(|samples| !(1..=MOST_SAMPLES).contains(&samples))
        {
            return Err(value("cascade.samples", format!("must be from 1 to {MOST_SAMPLES}")));
        }
        if self.self_report.is_some_and(|weight| !is_share(weight)) {
            return Err(value("cascade.self_report", "is a weight: a number from 0 to 1"));
        }
        Ok(())
    }

    /// The cascade, true of these tiers: what is not said here is as in `fit` where its stages are the same.
    /// `None` where nothing says which tiers, or what was fitted is not served. An answer is taken from the
    /// estimate `otherwise` on where nothing says from which.
    pub(crate) fn among(
        &self,
        catalog: &Catalog,
        fit: Option<&CascadeFit>,
        otherwise: f64,
    ) -> Result<Option<Cascading>, SettingsError> {
        let fitted = fit.map(|fit| fit.stages.as_slice()).unwrap_or_default();
        let is_served = |stages: &[String]| stages.iter().all(|name| catalog.position(name).is_some());
        let stages = match self.tiers.is_empty() {
            false => self.tiers.as_slice(),
            true if !fitted.is_empty() && is_served(fitted) => fitted,
            true => return Ok(None),
        };
        let n_readable = fit.map_or(1, |fit| fit.samples);
        if n_readable == 1 && self.samples.is_some_and(|samples| samples > 1) {
            let mend =
                "pays for replies that the checkpoint cannot compare: train it with --cascade-samples, or leave it out";
            return Err(value("cascade.samples", mend));
        }
        let known = fit.filter(|fit| fit.stages == stages);
        let n = stages.len().saturating_sub(1);
        let stop = match (self.lambda_per_usd, self.threshold) {
            (Some(lambda_per_usd), _) => Stop::Value {
                lambda_per_usd,
                dependence: known.map_or(DEPENDENCE, |fit| fit.dependence),
            },
            (None, Some(threshold)) => Stop::Thresholds(vec![threshold; n]),
            (None, None) => Stop::Thresholds(known.map_or(vec![otherwise; n], |fit| fit.thresholds.clone())),
        };
        let cascade = Cascade::new(stages, stop, catalog)
            .map_err(|error| value("cascade.tiers", format!("will not do: {error}")))?;
        let spreads = known.map(|fit| fit.acceptance.iter().map(|taken| taken.spread).collect());
        Ok(Some(Cascading {
            cascade,
            acceptance: known.map(CascadeFit::acceptances).unwrap_or_default(),
            spreads: spreads.unwrap_or_default(),
            samples: self.samples.or(known.map(|fit| fit.samples)).unwrap_or(1),
            self_report: self.self_report.filter(|weight| *weight > 0.0),
        }))
    }
}
