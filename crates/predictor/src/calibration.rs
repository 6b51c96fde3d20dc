//! What is corrected after training, per tier, on the validation split.

use serde::{Deserialize, Serialize};
use tiercast_routing::distribution::{GRID_POINTS, QualityDistribution};

/// Probabilities are kept this far from 0 and 1 before their logit is taken.
const LOGIT_MARGIN: f64 = 1e-6;

/// Platt scaling (Platt 1999) of the survival function: one slope and offset for all thresholds of
/// the grid, so that the result stays a distribution and 0/1 outcomes get ordinary Platt scaling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platt {
    /// Slope on the logit of P(quality >= threshold); positive.
    pub slope: f64,
    /// Offset on that logit.
    pub offset: f64,
}

impl Platt {
    /// No correction.
    pub const IDENTITY: Self = Self {
        slope: 1.0,
        offset: 0.0,
    };

    /// Corrected P(quality >= threshold) from the raw one.
    pub fn survival(&self, raw: f64) -> f64 {
        1.0 / (1.0 + (-(self.slope * logit(raw) + self.offset)).exp())
    }

    /// Between this one (`share` = 0) and another (`share` = 1).
    fn towards(&self, other: &Self, share: f64) -> Self {
        Self {
            slope: (1.0 - share) * self.slope + share * other.slope,
            offset: (1.0 - share) * self.offset + share * other.offset,
        }
    }
}

/// Correction of one tier. Length: the network predicts standardised log tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierCalibration {
    /// Of quality, for prompts like those of training.
    pub known: Platt,
    /// Of quality, for prompts of tasks never seen: there a forecast is worth less.
    pub unknown: Platt,
    /// Mean of ln(1 + output tokens) on the training rows.
    pub length_mean: f64,
    /// Standard deviation of the same; 0 when output tokens were absent or constant: then the
    /// mean is all that is known.
    pub length_std: f64,
    /// Factor on expected output tokens that makes their mean right on validation (Duan's
    /// smearing, 1983, in ratio form).
    pub length_factor: f64,
    /// Input tokens of this tier = this x our tokens + `input_tokens_offset`.
    pub input_tokens_factor: f64,
    /// See `input_tokens_factor`.
    pub input_tokens_offset: f64,
}

impl TierCalibration {
    /// No correction; lengths unknown.
    pub const IDENTITY: Self = Self {
        known: Platt::IDENTITY,
        unknown: Platt::IDENTITY,
        length_mean: 0.0,
        length_std: 0.0,
        length_factor: 1.0,
        input_tokens_factor: 1.0,
        input_tokens_offset: 0.0,
    };

    /// Says what is wrong with the values, if anything.
    pub fn check(&self) -> Result<(), String> {
        let values = [
            ("known.slope", self.known.slope, 1e-6),
            ("known.offset", self.known.offset, f64::MIN),
            ("unknown.slope", self.unknown.slope, 1e-6),
            ("unknown.offset", self.unknown.offset, f64::MIN),
            ("length_mean", self.length_mean, 0.0),
            ("length_std", self.length_std, 0.0),
            ("length_factor", self.length_factor, 1e-6),
            ("input_tokens_factor", self.input_tokens_factor, 0.0),
            ("input_tokens_offset", self.input_tokens_offset, f64::MIN),
        ];
        match values
            .iter()
            .find(|(_, value, least)| !value.is_finite() || value < least)
        {
            Some((name, value, _)) => Err(format!("{name} = {value} is out of range")),
            None => Ok(()),
        }
    }

    /// The corrected distribution of raw mass `pmf` (length of the grid) of a prompt whose task was
    /// never seen with probability `unknown`.
    pub fn quality(&self, pmf: &[f64], unknown: f64) -> QualityDistribution {
        let platt = self.known.towards(&self.unknown, unknown);
        let mut mass = [0.0; GRID_POINTS];
        let mut above = 1.0; // corrected P(quality >= GRID[point])
        let mut below = 0.0; // raw P(quality < GRID[point + 1])
        for point in 0..GRID_POINTS {
            below += pmf[point];
            let next = if point + 1 == GRID_POINTS {
                0.0
            } else {
                platt.survival(1.0 - below).min(above)
            };
            mass[point] = above - next;
            above = next;
        }
        QualityDistribution::new(mass).unwrap_or(QualityDistribution::two_point(0.5))
    }

    /// Expected output tokens from the network's mean and standard deviation of standardised log
    /// tokens (log-normal mean).
    pub fn output_tokens(&self, mean: f64, std: f64) -> f64 {
        let (centre, spread) = (self.length_mean + self.length_std * mean, self.length_std * std);
        // ln(1 + tokens) above 16 would be nine million tokens.
        let expected = (centre + 0.5 * spread * spread).min(16.0).exp() - 1.0;
        (expected * self.length_factor).max(0.0)
    }

    /// This tier's count of input tokens from ours.
    pub fn input_tokens(&self, ours: f64) -> f64 {
        (self.input_tokens_factor * ours + self.input_tokens_offset).max(0.0)
    }
}

/// ln(p / (1 - p)), with p kept away from 0 and 1.
pub fn logit(probability: f64) -> f64 {
    let probability = probability.clamp(LOGIT_MARGIN, 1.0 - LOGIT_MARGIN);
    (probability / (1.0 - probability)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_leaves_the_distribution() {
        let mut pmf = [0.0; GRID_POINTS];
        pmf[0] = 0.25;
        pmf[10] = 0.25;
        pmf[20] = 0.5;
        let corrected = TierCalibration::IDENTITY.quality(&pmf, 0.5);
        for (after, before) in corrected.pmf().iter().zip(pmf) {
            assert!((after - before).abs() < 1e-5);
        }
    }

    #[test]
    fn an_offset_moves_all_thresholds() {
        let mut pmf = [0.0; GRID_POINTS];
        pmf[0] = 0.5;
        pmf[20] = 0.5;
        let tier = TierCalibration {
            known: Platt {
                offset: 3.0_f64.ln(),
                ..Platt::IDENTITY
            },
            ..TierCalibration::IDENTITY
        };
        let mean = |unknown| tier.quality(&pmf, unknown).mean();
        assert!((mean(0.0) - 0.75).abs() < 1e-5);
        // A task never seen has a correction of its own; here it is none.
        assert!((mean(1.0) - 0.5).abs() < 1e-5);
        assert!((0.5..0.75).contains(&mean(0.5)));
    }

    #[test]
    fn lengths() {
        let tier = TierCalibration {
            length_mean: 101.0_f64.ln(),
            length_std: 1.0,
            ..TierCalibration::IDENTITY
        };
        assert!((tier.output_tokens(0.0, 0.0) - 100.0).abs() < 1e-9);
        assert!(tier.output_tokens(0.0, 1.0) > 160.0);
        assert!(tier.output_tokens(1e9, 0.0).is_finite());
    }
}
