//! Outcomes: observed quality against the prediction, for all answers, by tier, by tier and task, by cohort.

use std::collections::BTreeMap;

use serde::Serialize;
use tiercast_records::journal::Label;
use tiercast_statistics::betting::{Change, Detector};
use tiercast_statistics::shift::Moments;

use super::chances;
use super::finding::{Aspect, Figure, Finding, Moment, Severity, What};
use super::joining::Rated;
use super::labels::Labels;
use super::settings::Settings;

/// Pairs of tier and task that are watched, per label; later ones are not.
const PAIRS_PER_LABEL: usize = 8;

/// Compares outcomes with predictions.
#[derive(Debug)]
pub(super) struct Outcomes {
    tiers: Labels,
    tasks: Labels,
    cohorts: Labels,
    most_pairs: usize,
    overall: Stream,
    by_tier: BTreeMap<Label, Stream>,
    by_task: BTreeMap<(Label, Label), Stream>,
    by_cohort: BTreeMap<Label, Stream>,
}

/// How predicted and observed quality agree, over all ratings so far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reliability {
    /// The tier; all where none.
    pub tier: Option<Label>,
    /// Ratings.
    pub n: u64,
    /// Mean predicted quality.
    pub predicted: f64,
    /// Mean observed quality.
    pub observed: f64,
    /// Lower end of the 95 % interval of observed less predicted; none with one rating.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

#[derive(Debug)]
struct Stream {
    /// Made with the first rating, when the margin is known.
    detectors: Option<Detectors>,
    predicted: Moments,
    observed: Moments,
    difference: Moments,
}

#[derive(Debug)]
struct Detectors {
    worse: Detector<Moment>,
    better: Detector<Moment>,
}

/// Evidence that both directions need.
struct Needed {
    worse: f64,
    better: f64,
}

impl Outcomes {
    pub(super) fn new(n_labels: usize) -> Self {
        let labels = || Labels::new(n_labels);
        Self {
            tiers: labels(),
            tasks: labels(),
            cohorts: labels(),
            most_pairs: PAIRS_PER_LABEL * n_labels,
            overall: Stream::new(),
            by_tier: BTreeMap::new(),
            by_task: BTreeMap::new(),
            by_cohort: BTreeMap::new(),
        }
    }

    pub(super) fn n_rated(&self) -> u64 {
        self.overall.difference.n
    }

    pub(super) fn reliability(&self) -> Vec<Reliability> {
        let tiers = self.by_tier.iter().map(|(tier, stream)| (Some(tier), stream));
        let all = [(None, &self.overall)].into_iter().chain(tiers);
        all.filter(|(_, stream)| stream.difference.n > 0)
            .map(|(tier, stream)| stream.reliability(tier))
            .collect()
    }

    pub(super) fn take(&mut self, rated: &Rated, observed: f64, at: Moment, settings: &Settings) -> Vec<Finding> {
        if !observed.is_finite() || !rated.predicted.is_finite() {
            return Vec::new();
        }
        let n = self.n_rated() + 1;
        let needed = |group: f64| {
            let of = |share| chances::evidence(share * group, n, at.request, settings);
            Needed {
                worse: of(chances::WORSE),
                better: of(chances::BETTER),
            }
        };
        let (predicted, observed) = (rated.predicted.clamp(0.0, 1.0), observed.clamp(0.0, 1.0));
        let tier = self.tiers.known(&rated.tier);
        let task = self.tasks.known(&rated.task);
        let cohort = self.cohorts.known(&rated.cohort);
        let watch =
            |stream: &mut Stream, group, what| stream.take(predicted, observed, at, &needed(group), &what, settings);
        let what = What::default;
        let mut found: Vec<Finding> = watch(&mut self.overall, chances::OVERALL, what()).into_iter().collect();
        let of_tier = What {
            tier: Some(tier.clone()),
            ..what()
        };
        let stream = self.by_tier.entry(tier.clone()).or_insert_with(Stream::new);
        found.extend(watch(stream, chances::BY_TIER, of_tier.clone()));
        let of_cohort = What {
            cohort: Some(cohort.clone()),
            ..what()
        };
        let stream = self.by_cohort.entry(cohort).or_insert_with(Stream::new);
        found.extend(watch(stream, chances::BY_COHORT, of_cohort));
        let pair = (tier, task.clone());
        if self.by_task.len() < self.most_pairs || self.by_task.contains_key(&pair) {
            let of_pair = What {
                task: Some(task),
                ..of_tier
            };
            let stream = self.by_task.entry(pair).or_insert_with(Stream::new);
            found.extend(watch(stream, chances::BY_TASK, of_pair));
        }
        found
    }
}

impl Stream {
    fn new() -> Self {
        Self {
            detectors: None,
            predicted: Moments::default(),
            observed: Moments::default(),
            difference: Moments::default(),
        }
    }

    fn take(
        &mut self,
        predicted: f64,
        observed: f64,
        at: Moment,
        needed: &Needed,
        what: &What,
        settings: &Settings,
    ) -> Option<Finding> {
        self.predicted.add(predicted);
        self.observed.add(observed);
        self.difference.add(observed - predicted);
        let margin = settings.quality_margin;
        let detectors = self.detectors.get_or_insert_with(|| Detectors {
            worse: Detector::new(1.0 + margin),
            better: Detector::new(1.0 + margin),
        });
        let worse = detectors.worse.observe(predicted - observed - margin, at, needed.worse);
        let better = detectors
            .better
            .observe(observed - predicted - margin, at, needed.better);
        let worse = worse.map(|change| finding(Aspect::Worse, &change, what, at, margin));
        worse.or_else(|| better.map(|change| finding(Aspect::Better, &change, what, at, margin)))
    }

    fn reliability(&self, tier: Option<&Label>) -> Reliability {
        let (low, high) = self.difference.interval(0.95);
        let known = |bound: f64| bound.is_finite().then_some(bound);
        Reliability {
            tier: tier.cloned(),
            n: self.difference.n,
            predicted: self.predicted.mean,
            observed: self.observed.mean,
            low: known(low),
            high: known(high),
        }
    }
}

fn finding(aspect: Aspect, change: &Change<Moment>, what: &What, at: Moment, margin: f64) -> Finding {
    let gap = change.values.mean + margin;
    let (low, high) = change.values.interval(0.95);
    let points = |bound: f64| (100.0 * (bound + margin).clamp(0.0, 1.0)).round();
    let is_worse = aspect == Aspect::Worse;
    let figure = Figure {
        name: "observed less predicted quality",
        value: if is_worse { -gap } else { gap },
        unit: "quality",
    };
    let whose = match (&what.tier, &what.task, &what.cohort) {
        (Some(tier), Some(task), _) => format!("tier `{tier}` on task `{task}`"),
        (Some(tier), None, _) => format!("tier `{tier}`"),
        (None, _, Some(cohort)) => format!("cohort `{cohort}`"),
        _ => "all tiers together".to_owned(),
    };
    let says = format!(
        "answers of {whose} are {} to {} points {} than predicted, in the last {} that were rated",
        points(low),
        points(high),
        if is_worse { "worse" } else { "better" },
        change.values.n
    );
    let newest = what
        .tier
        .as_ref()
        .map_or_else(|| "every tier".to_owned(), |tier| format!("tier `{tier}`"));
    let do_this = if is_worse {
        format!(
            "look whether the endpoint or model behind {newest} was replaced; judge a sample of its newest answers and \
             correct the forecasts: tiercast calibrate --outcomes of that sample; exclude it until then if need be"
        )
    } else {
        format!(
            "judge a sample of the newest answers of {newest} and correct the forecasts (tiercast calibrate): requests \
             go to dearer tiers than they need"
        )
    };
    let severity = if is_worse { Severity::Alarm } else { Severity::Warning };
    Finding::new(aspect, severity, what.clone(), figure, change.since, at).with_words(says, do_this)
}
