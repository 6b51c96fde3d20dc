//! Forecasts and choices: windows against the first windows.

use std::collections::BTreeMap;

use tiercast_records::journal::Label;
use tiercast_statistics::shift::{Moments, homogeneity, mean_shift};

use super::chances;
use super::finding::{Aspect, Figure, Finding, Moment, Severity, What};
use super::labels::{Counts, Labels, aligned, most_grown};
use super::settings::Settings;
use super::window::Row;

/// Compares mix of tiers and predicted quality. Rows of other checkpoints than the era's are left out.
#[derive(Debug)]
pub(super) struct Predictions {
    labels: Labels,
    baseline: Sums,
    n_windows: usize,
}

/// Sums over rows.
#[derive(Debug, Default, Clone)]
struct Sums {
    chosen: Counts,
    /// Predicted quality of the tier that was chosen.
    quality: Moments,
    by_tier: BTreeMap<Label, Moments>,
}

impl Predictions {
    pub(super) fn new(n_labels: usize) -> Self {
        Self {
            labels: Labels::new(n_labels),
            baseline: Sums::default(),
            n_windows: 0,
        }
    }

    /// Another checkpoint predicts.
    pub(super) fn begin_anew(&mut self) {
        self.baseline = Sums::default();
        self.n_windows = 0;
    }

    pub(super) fn has_baseline(&self, settings: &Settings) -> bool {
        self.n_windows >= settings.baseline_windows
    }

    pub(super) fn close(&mut self, rows: &[Row], at: Moment, settings: &Settings) -> Vec<Finding> {
        let current: Vec<&Row> = rows.iter().filter(|row| row.is_current).collect();
        // Too few rows of the era to compare.
        if 2 * current.len() < settings.window {
            return Vec::new();
        }
        if !self.has_baseline(settings) {
            self.baseline.add(&current, &mut self.labels);
            self.n_windows += 1;
            return Vec::new();
        }
        let mut window = Sums::default();
        window.add(&current, &mut self.labels);
        let since = current.first().map_or(at, |row| row.at);
        let mix = self.baseline.mix(&window, since, at, settings);
        mix.into_iter()
            .chain(self.baseline.quality(&window, since, at, settings))
            .collect()
    }
}

impl Sums {
    fn add(&mut self, rows: &[&Row], labels: &mut Labels) {
        for row in rows {
            if let Some((tier, quality)) = &row.chosen {
                *self.chosen.entry(labels.known(tier)).or_default() += 1.0;
                self.quality.add(f64::from(*quality));
            }
            for (tier, quality) in &row.predicted {
                let moments = self.by_tier.entry(labels.known(tier)).or_default();
                moments.add(f64::from(*quality));
            }
        }
    }

    fn mix(&self, window: &Self, since: Moment, at: Moment, settings: &Settings) -> Option<Finding> {
        let (_, before, after) = aligned(&self.chosen, &window.chosen);
        let difference = homogeneity(&before, &after);
        let alpha = chances::per_window(chances::MIX, settings);
        if difference.size < settings.mix || difference.chance > alpha {
            return None;
        }
        let (tier, before, after) = most_grown(&self.chosen, &window.chosen)?;
        let figure = Figure {
            name: "total variation distance",
            value: difference.size,
            unit: "share of requests",
        };
        let says = format!(
            "tiers are chosen in another mix than at first: {:.0} % of the requests have moved, most of them to `{tier}` \
             ({:.0} % where it had {:.0} %)",
            100.0 * difference.size,
            100.0 * after,
            100.0 * before
        );
        let do_this = format!(
            "see by tiercast report which reason sends requests to `{tier}` (prompts, prices, latency, a tier that is \
             down); where prompts changed, judge a sample of what it answered"
        );
        // One finding, wherever requests go: the tier is in the sentence and not in what identifies it.
        let what = What::default();
        Some(Finding::new(Aspect::TierMix, Severity::Warning, what, figure, since, at).with_words(says, do_this))
    }

    fn quality(&self, window: &Self, since: Moment, at: Moment, settings: &Settings) -> Vec<Finding> {
        let tiers = self
            .by_tier
            .iter()
            .filter_map(|(tier, before)| Some((Some(tier), before, window.by_tier.get(tier)?)));
        let all = [(None, &self.quality, &window.quality)].into_iter().chain(tiers);
        let alpha = chances::per_window(chances::PREDICTED, settings) / (1 + self.by_tier.len()) as f64;
        all.filter_map(|(tier, before, after)| {
            let difference = mean_shift(before, after);
            let is_found = difference.size.abs() >= settings.predicted_quality && difference.chance <= alpha;
            is_found.then(|| predicted(tier, before.mean, after.mean, since, at))
        })
        .collect()
    }
}

fn predicted(tier: Option<&Label>, before: f64, after: f64, since: Moment, at: Moment) -> Finding {
    let figure = Figure {
        name: "shift of mean predicted quality",
        value: after - before,
        unit: "quality",
    };
    let whose = tier.map_or_else(|| "the chosen tiers".to_owned(), |tier| format!("tier `{tier}`"));
    let says = format!("predicted quality of {whose} is {after:.2} on average where it was {before:.2} at first");
    let do_this = format!(
        "judge a sample of the answers of {whose}: where predicted and observed quality agree, prompts became \
         {} and nothing is wrong; else calibrate on them: tiercast calibrate",
        if after < before { "harder" } else { "easier" }
    );
    let what = What {
        tier: tier.cloned(),
        ..What::default()
    };
    Finding::new(Aspect::PredictedQuality, Severity::Warning, what, figure, since, at).with_words(says, do_this)
}
