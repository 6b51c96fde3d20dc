//! Predicted quality beside what was said of the answers.

use tiercast_records::journal::Verdict;

use super::bounded::Fold;
use super::figures::{Bin, QualityFigures, VerdictCounts, Weighted};
use super::heard::Heard;
use super::interval::{of_difference, of_mean};
use super::sum::{Moments, Sum};

/// Bins of the reliability curve, equally wide over [0, 1].
const N_BINS: usize = 10;

/// Quality of a group of requests.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Quality {
    /// Answers with a prediction, and the sum of it.
    n_predicted: u64,
    predicted: Sum,
    observed: Moments,
    /// Observed outcomes that were 0 or 1.
    n_two_valued: u64,
    /// Requests of which a user said something.
    n_by_users: u64,
    /// What judges said, and how much of it was 0 or 1.
    judged: Moments,
    n_judged_two_valued: u64,
    /// Observed minus predicted, where both are known.
    difference: Moments,
    verdicts: [u64; 4],
}

impl Quality {
    #[inline]
    pub(crate) fn predict(&mut self, predicted: Option<f64>) {
        if let Some(predicted) = predicted {
            self.n_predicted += 1;
            self.predicted.add(predicted);
        }
    }

    pub(crate) fn observe(&mut self, predicted: Option<f64>, heard: Heard) {
        let observed = heard.quality;
        self.observed.add(observed);
        self.n_two_valued += u64::from(is_two_valued(observed));
        self.n_by_users += u64::from(heard.by_users);
        if let Some(judged) = heard.judged {
            self.judged.add(judged);
            self.n_judged_two_valued += u64::from(is_two_valued(judged));
        }
        if let Some(predicted) = predicted {
            self.difference.add(observed - predicted);
        }
    }

    pub(crate) fn hear(&mut self, verdict: Verdict) {
        self.verdicts[verdict as usize] += 1;
    }

    pub(crate) fn figures(&self, name: &str, requests: u64) -> QualityFigures {
        let difference = of_difference(&self.difference, &self.observed, self.n_two_valued);
        QualityFigures {
            predicted_as: None,
            name: name.to_owned(),
            is_rest: false,
            requests,
            predicted: self.predicted.mean(self.n_predicted),
            n_observed: self.observed.n,
            observed: self.observed.mean(),
            observed_interval: of_mean(&self.observed, self.n_two_valued),
            n_by_users: self.n_by_users,
            n_judged: self.judged.n,
            judged: self.judged.mean(),
            judged_interval: of_mean(&self.judged, self.n_judged_two_valued),
            difference: self.difference.mean(),
            difference_interval: difference.filter(|_| self.difference.n > 0),
            verdicts: self.verdict_counts(),
        }
    }

    fn verdict_counts(&self) -> VerdictCounts {
        let of = |verdict: Verdict| self.verdicts[verdict as usize];
        VerdictCounts {
            good_fit: of(Verdict::GoodFit),
            underpowered: of(Verdict::Underpowered),
            overprovisioned: of(Verdict::Overprovisioned),
            failed: of(Verdict::Failed),
        }
    }
}

fn is_two_valued(quality: f64) -> bool {
    quality == 0.0 || quality == 1.0
}

impl Fold for Quality {
    fn merge(&mut self, other: &Self) {
        self.n_predicted += other.n_predicted;
        self.predicted.merge(other.predicted);
        self.observed.merge(&other.observed);
        self.n_two_valued += other.n_two_valued;
        self.n_by_users += other.n_by_users;
        self.judged.merge(&other.judged);
        self.n_judged_two_valued += other.n_judged_two_valued;
        self.difference.merge(&other.difference);
        self.verdicts
            .iter_mut()
            .zip(other.verdicts)
            .for_each(|(n, more)| *n += more);
    }
}

/// Observed quality by predicted quality.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Reliability {
    bins: [ReliabilityBin; N_BINS],
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct ReliabilityBin {
    predicted: Sum,
    observed: Moments,
    n_two_valued: u64,
}

impl Reliability {
    pub(crate) fn observe(&mut self, predicted: f64, observed: f64) {
        let bin = &mut self.bins[((predicted * N_BINS as f64) as usize).min(N_BINS - 1)];
        bin.predicted.add(predicted);
        bin.observed.add(observed);
        bin.n_two_valued += u64::from(observed == 0.0 || observed == 1.0);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (bin, more) in self.bins.iter_mut().zip(&other.bins) {
            bin.predicted.merge(more.predicted);
            bin.observed.merge(&more.observed);
            bin.n_two_valued += more.n_two_valued;
        }
    }

    /// The bins in which something was observed.
    pub(crate) fn figures(&self) -> Vec<Bin> {
        self.bins.iter().filter_map(ReliabilityBin::figures).collect()
    }
}

impl ReliabilityBin {
    fn figures(&self) -> Option<Bin> {
        Some(Bin {
            n: self.observed.n,
            predicted: self.predicted.mean(self.observed.n)?,
            observed: self.observed.mean()?,
            observed_interval: of_mean(&self.observed, self.n_two_valued)?,
        })
    }
}

/// Outcomes weighted with the inverse of the probability with which their tier was chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ByPropensity {
    /// Outcomes whose tier was chosen by chance in part.
    n_by_chance: u64,
    weights: Sum,
    squares: Sum,
    weighted: Sum,
}

impl ByPropensity {
    /// An outcome of the tier that was chosen first. A propensity that is none is left out.
    pub(crate) fn observe(&mut self, propensity: f64, observed: f64) {
        if propensity > 0.0 && propensity <= 1.0 {
            let weight = 1.0 / propensity.max(1e-6);
            self.n_by_chance += u64::from(propensity < 1.0);
            self.weights.add(weight);
            self.squares.add(weight * weight);
            self.weighted.add(weight * observed);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.n_by_chance += other.n_by_chance;
        self.weights.merge(other.weights);
        self.squares.merge(other.squares);
        self.weighted.merge(other.weighted);
    }

    /// Where chance chose at all.
    pub(crate) fn figures(&self, tier: &str) -> Option<Weighted> {
        let weights = self.weights.value();
        (self.n_by_chance > 0).then(|| Weighted {
            tier: tier.to_owned(),
            n_by_chance: self.n_by_chance,
            effective_n: weights * weights / self.squares.value(),
            observed: self.weighted.value() / weights,
        })
    }
}
