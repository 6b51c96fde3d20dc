//! Tiers that were added to a checkpoint from few judged prompts, without training the rest again.
//!
//! The trained tiers are the scale that prompts are measured on: an added tier's expected quality is a
//! logistic function of what is expected of them, its ability and leaning fitted by `trainer::added`. (After
//! item response theory's equating; UniRoute (Jitkrittum et al. 2025) places new models by their errors on
//! anchor prompts in the same spirit.)

use serde::{Deserialize, Serialize};
use tiercast_records::features::Features;
use tiercast_routing::catalog::Tier;
use tiercast_routing::decide::Forecast;
use tiercast_routing::distribution::{GRID_POINTS, QualityDistribution};

use crate::calibration::logit;
use crate::views::{Pmf, tilt};

/// Expected qualities nearer to 0 or 1 than this are drawn back: beyond it logits are all tail.
const MARGIN: f64 = 0.02;

/// A tier that was added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddedTier {
    /// Name, prices, what it can do.
    pub tier: Tier,
    /// The constant, then one weight per trained tier: of the logit of its expected quality.
    pub coefficients: Vec<f64>,
    /// Shape of its quality distribution over the grid, which is tilted to the expected quality.
    pub base: Vec<f64>,
    /// ln(1 + output tokens) where the trained tiers' mean is 0, and its slope.
    pub length: [f64; 2],
    /// Input tokens as it counts them: factor on ours, and offset.
    pub input_tokens: [f64; 2],
    /// Judged prompts it was fitted on.
    pub n_prompts: usize,
}

impl AddedTier {
    /// Says what does not fit a checkpoint of `n_trained` tiers.
    pub fn check(&self, n_trained: usize) -> Result<(), String> {
        let say = |what: &str| Err(format!("added tier `{}`: {what}", self.tier.name));
        if self.coefficients.len() != n_trained + 1 {
            return say(&format!(
                "{} coefficients, expected {}",
                self.coefficients.len(),
                n_trained + 1
            ));
        }
        if self.base.len() != GRID_POINTS || self.base.iter().any(|mass| !(0.0..=1.0).contains(mass)) {
            return say("its distribution is none");
        }
        let values = self.coefficients.iter().chain(&self.length).chain(&self.input_tokens);
        match values.clone().all(|value| value.is_finite()) {
            true => Ok(()),
            false => say("a value is not finite"),
        }
    }

    /// What is expected of it, from what is expected of the trained tiers.
    pub fn forecast(&self, trained: &[Forecast], features: &Features) -> Forecast {
        let expected = predicted(&self.coefficients, &signals(trained));
        let [factor, offset] = self.input_tokens;
        let tokens = |ours: f64| (factor * ours + offset).max(0.0);
        let ask = f64::from(features.ask_tokens);
        let (input_tokens, ask_input_tokens) = (tokens(ask + f64::from(features.context_tokens)), tokens(ask));
        let [start, slope] = self.length;
        let output_tokens = ((start + slope * mean_log_tokens(trained)).min(16.0).exp() - 1.0).max(0.0);
        Forecast {
            quality: QualityDistribution::new(tilt(&self.shape(), expected))
                .unwrap_or_else(|_| QualityDistribution::two_point(expected)),
            input_tokens,
            ask_input_tokens,
            output_tokens,
            cost_usd: self.tier.cost_usd(input_tokens, output_tokens),
            ask_cost_usd: self.tier.cost_usd(ask_input_tokens, output_tokens),
            latency_p95_s: self.tier.latency_p95_s,
        }
    }

    fn shape(&self) -> Pmf {
        std::array::from_fn(|point| self.base[point])
    }
}

/// The inputs of an added tier: 1, then the logit of every trained tier's expected quality.
pub fn signals(trained: &[Forecast]) -> Vec<f64> {
    let of = |forecast: &Forecast| logit(forecast.quality.mean().clamp(MARGIN, 1.0 - MARGIN));
    std::iter::once(1.0).chain(trained.iter().map(of)).collect()
}

/// Mean over the trained tiers of ln(1 + expected output tokens).
pub fn mean_log_tokens(trained: &[Forecast]) -> f64 {
    let sum: f64 = trained.iter().map(|forecast| forecast.output_tokens.ln_1p()).sum();
    sum / trained.len().max(1) as f64
}

fn predicted(coefficients: &[f64], signals: &[f64]) -> f64 {
    let sum: f64 = coefficients.iter().zip(signals).map(|(a, b)| a * b).sum();
    1.0 / (1.0 + (-sum).exp())
}

#[cfg(test)]
mod tests {
    use tiercast_routing::catalog::Capabilities;

    use super::*;

    fn forecast(quality: f64, output_tokens: f64) -> Forecast {
        Forecast {
            quality: QualityDistribution::two_point(quality),
            input_tokens: 0.0,
            ask_input_tokens: 0.0,
            output_tokens,
            cost_usd: 0.0,
            ask_cost_usd: 0.0,
            latency_p95_s: None,
        }
    }

    fn added() -> AddedTier {
        let mut base = vec![0.0; GRID_POINTS];
        (base[0], base[GRID_POINTS - 1]) = (0.5, 0.5);
        AddedTier {
            tier: Tier {
                name: "new".to_owned(),
                class: 3,
                input_usd_per_mtok: 1.0,
                output_usd_per_mtok: 2.0,
                cached_input_usd_per_mtok: None,
                context_window: None,
                capabilities: Capabilities::default(),
                latency_p95_s: None,
            },
            coefficients: vec![0.0, 1.0, 0.0],
            base,
            length: [0.0, 1.0],
            input_tokens: [2.0, 1.0],
            n_prompts: 50,
        }
    }

    #[test]
    fn it_can_be_just_like_a_trained_tier() {
        let features = Features {
            ask_tokens: 10,
            context_tokens: 5,
            ..Features::default()
        };
        let found = added().forecast(&[forecast(0.8, 99.0), forecast(0.3, 99.0)], &features);
        assert!((found.quality.mean() - 0.8).abs() < 1e-3);
        assert!((found.output_tokens - 99.0).abs() < 1e-6);
        assert_eq!((found.input_tokens, found.ask_input_tokens), (31.0, 21.0));
        assert!((found.cost_usd - (31.0 + 198.0) / 1e6).abs() < 1e-12);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert_eq!(added().check(2), Ok(()));
        assert!(
            added()
                .check(3)
                .unwrap_err()
                .contains("`new`: 3 coefficients, expected 4")
        );
        let broken = AddedTier {
            length: [f64::NAN, 0.0],
            ..added()
        };
        assert!(broken.check(2).is_err());
    }
}
