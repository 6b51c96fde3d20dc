//! The one value that a suite makes: ours beside all baselines, per part and encoder.

use serde::{Deserialize, Serialize};

use super::{Headline, Measured};
use crate::interval::estimate;
use crate::report::{Estimate, MethodKind, MethodReport, OperatingPoint, Point};

/// Version of this format; raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// All that a run of a suite found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteResult {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// Name of the suite.
    pub suite: String,
    /// For a reader.
    pub title: String,
    /// Version of tiercast.
    pub version: String,
    /// Commit of the checkout; `unknown` outside one, with `-dirty` after uncommitted changes.
    pub commit: String,
    /// Rows reported on: `test`, `validation`, or `inner folds of train`.
    pub rows: String,
    /// Seed of the weights; the bootstrap and the baselines always have seed 0, so that runs are paired.
    pub seed: u64,
    /// Bootstrap replicates.
    pub n_bootstrap: usize,
    /// The data files and their SHA-256.
    pub data: Vec<DataFile>,
    /// The parts in order.
    pub parts: Vec<PartResult>,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Name without folder.
    pub file: String,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
}

/// One protocol on one set of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartResult {
    /// Name inside the suite.
    pub name: String,
    /// How it was measured, in words.
    pub protocol: String,
    /// Which figure leads.
    pub headline: Headline,
    /// Prompts that the figures are over; for a mean over sets, all of them.
    pub n_prompts: usize,
    /// Training prompts, the mean over folds.
    pub n_train: usize,
    /// The tiers.
    pub tiers: Vec<String>,
    /// One per encoder.
    pub encoders: Vec<EncoderResult>,
    /// What a reader has to know.
    pub notes: Vec<String>,
}

/// tiercast with one encoder, beside all baselines on the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderResult {
    /// Text encoder.
    pub encoder: String,
    /// Checkpoints behind the forecasts, one per fold.
    pub checkpoints: Vec<String>,
    /// tiercast first, then every baseline. Those route with the cost forecast of this encoder.
    pub methods: Vec<MethodFigures>,
    /// Quality of the forecasts; absent for a mean over sets.
    pub prediction: Option<PredictionFigures>,
    /// The setting chosen on validation, read once; absent without validation rows.
    pub validated: Option<OperatingPoint>,
    /// Headline of tiercast over several seeds, where asked for.
    pub seeds: Option<Spread>,
    /// tiercast trained on shuffled outcomes, where asked for.
    pub control: Option<Control>,
    /// Without each view in turn; empty where not asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ablations: Vec<Ablation>,
}

/// One method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodFigures {
    /// Stable name, as in [`MethodReport::name`].
    pub name: String,
    /// For a reader.
    pub label: String,
    /// What it may know.
    pub kind: MethodKind,
    /// The headline figure; `None` where it is undefined, and for a single tier, which is a point.
    pub headline: Option<Estimate>,
    /// tiercast minus it, paired on the same replicates; `None` for tiercast itself.
    pub difference: Option<Estimate>,
    /// APGR with each fold ranked by itself (two tiers, folds): without comparing folds with each
    /// other, which pooled scores do.
    pub within_folds: Option<Estimate>,
    /// tiercast minus it in that.
    pub within_folds_difference: Option<Estimate>,
    /// Share of strong calls that recovers half the gap (two tiers).
    pub cpt50: Option<f64>,
    /// The same for 80 % of the gap.
    pub cpt80: Option<f64>,
    /// At the setting chosen on validation, or the only one: mean quality and US dollars per prompt.
    pub point: Option<Point>,
    /// Cost at 95 % of the best single tier's quality, as a share of its cost; off the hull.
    pub cost_share_95: Option<f64>,
}

/// Scores of the forecasts, tiers pooled unless said otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionFigures {
    /// Mean squared error of the mean.
    pub brier: f64,
    /// Continuous ranked probability score.
    pub crps: f64,
    /// CRPS of the histogram of each tier's training outcomes; `None` out of fold.
    pub crps_train_histogram: Option<f64>,
    /// CRPS minus that of the histogram, paired: below zero is better than knowing the tier alone.
    pub crps_minus_histogram: Option<Estimate>,
    /// Expected calibration error of P(quality >= .5), bins of equal width.
    pub ece: f64,
    /// What sampling noise alone gives.
    pub ece_floor: f64,
    /// The two per tier.
    pub tiers: Vec<TierCalibration>,
}

/// Calibration of one tier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TierCalibration {
    /// Tier.
    pub tier: String,
    /// Expected calibration error of P(quality >= .5), bins of equal width.
    pub ece: f64,
    /// What sampling noise alone gives.
    pub ece_floor: f64,
}

/// A figure over several seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Per seed, from the first.
    pub values: Vec<f64>,
    /// Mean.
    pub mean: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: Vec<f64>) -> Self {
        Self {
            mean: tiercast_statistics::summary::mean(&values),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            values,
        }
    }
}

/// What noise gives: the network trained on outcomes that were permuted between prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Its headline.
    pub headline: Option<Estimate>,
    /// Its headline minus that of the random mix of single tiers.
    pub over_random_mix: Option<Estimate>,
}

impl Control {
    /// Reads it off the report on the shuffled network.
    pub fn of(measured: &Measured) -> Self {
        let (ours, mix) = (figures(measured, 0), named(measured, "random_mix"));
        Self {
            headline: ours.headline,
            over_random_mix: mix.and_then(|mix| mix.difference),
        }
    }
}

/// What a view brings: all views, against all but this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ablation {
    /// The view that was switched off.
    pub without: String,
    /// Headline of the rest.
    pub headline: Option<Estimate>,
    /// Headline of all views minus that; paired.
    pub gain: Option<Estimate>,
    /// CRPS of the rest.
    pub crps: f64,
}

impl Ablation {
    /// Both were measured on the same rows and replicates.
    pub fn of(without: &str, whole: &Measured, rest: &Measured) -> Self {
        let of = |measured: &Measured| value(measured, 0).map(|value| (value, measured.replicates[0].clone()));
        let gain = of(whole)
            .zip(of(rest))
            .map(|(whole, rest)| minus((whole.0, &whole.1), (rest.0, &rest.1)));
        Self {
            without: without.to_owned(),
            headline: figures(rest, 0).headline,
            gain,
            crps: rest.report.prediction.pooled.crps,
        }
    }
}

fn named(measured: &Measured, name: &str) -> Option<MethodFigures> {
    let position = measured.report.methods.iter().position(|method| method.name == name)?;
    Some(figures(measured, position))
}

impl EncoderResult {
    /// The figures of one report.
    pub fn of(encoder: &str, checkpoints: Vec<String>, measured: &Measured) -> Self {
        let report = &measured.report;
        let validated = |ours: &MethodReport| {
            ours.operating_points
                .iter()
                .find(|point| point.name == "validated")
                .cloned()
        };
        Self {
            encoder: encoder.to_owned(),
            checkpoints,
            methods: (0..report.methods.len())
                .map(|method| figures(measured, method))
                .collect(),
            prediction: Some(prediction(measured)),
            validated: report.methods.first().and_then(validated),
            seeds: None,
            control: None,
            ablations: Vec::new(),
        }
    }

    /// The mean of the headline over several sets, which are resampled independently of each other.
    /// Methods that some set lacks are left out.
    pub fn mean(encoder: &str, sets: &[&Measured]) -> Self {
        let methods = sets.first().map_or(&[][..], |first| &first.report.methods);
        let common = methods.iter().filter_map(|method| mean_figures(sets, method));
        Self {
            encoder: encoder.to_owned(),
            checkpoints: Vec::new(),
            methods: common.collect(),
            prediction: None,
            validated: None,
            seeds: None,
            control: None,
            ablations: Vec::new(),
        }
    }
}

/// The headline of tiercast.
pub fn headline(measured: &Measured) -> f64 {
    value(measured, 0).unwrap_or(f64::NAN)
}

fn value(measured: &Measured, method: usize) -> Option<f64> {
    let method = &measured.report.methods[method];
    match measured.headline {
        Headline::Apgr => method.two_tier.as_ref()?.apgr.map(|apgr| apgr.value),
        Headline::Aiq => Some(method.aiq.value),
    }
}

fn figures(measured: &Measured, position: usize) -> MethodFigures {
    let method = &measured.report.methods[position];
    let with_replicates = |method: usize| Some((value(measured, method)?, measured.replicates[method].as_slice()));
    let (ours, theirs) = (with_replicates(0), with_replicates(position));
    let within_folds = |method: usize| {
        let (value, replicates) = measured.within_folds[method].as_ref()?;
        Some((*value, replicates.as_slice()))
    };
    let (ours_within, theirs_within) = (within_folds(0), within_folds(position));
    // One tier is a point: its area over cost says nothing.
    let theirs = theirs.filter(|_| method.kind != MethodKind::SingleTier);
    MethodFigures {
        headline: theirs.map(|(value, replicates)| estimate(value, replicates)),
        difference: ours
            .zip(theirs)
            .filter(|_| position > 0)
            .map(|(ours, theirs)| minus(ours, theirs)),
        within_folds: theirs_within.map(|(value, replicates)| estimate(value, replicates)),
        within_folds_difference: ours_within
            .zip(theirs_within)
            .filter(|_| position > 0)
            .map(|(ours, theirs)| minus(ours, theirs)),
        cost_share_95: method
            .cost_share
            .iter()
            .find(|share| (share.retained - 0.95).abs() < 1e-9)
            .and_then(|share| share.cost_share),
        ..bare(method)
    }
}

/// Name and what needs no replicates.
fn bare(method: &MethodReport) -> MethodFigures {
    let two_tier = method.two_tier.as_ref();
    MethodFigures {
        name: method.name.clone(),
        label: method.label.clone(),
        kind: method.kind,
        headline: None,
        difference: None,
        within_folds: None,
        within_folds_difference: None,
        cpt50: two_tier.and_then(|two| two.cpt50),
        cpt80: two_tier.and_then(|two| two.cpt80),
        point: method
            .operating_points
            .iter()
            .find(|point| is_compared(&point.name))
            .map(|at| Point {
                cost_usd: at.cost_usd.value,
                quality: at.quality.value,
            }),
        cost_share_95: None,
    }
}

/// The settings that methods are compared at; `auto` is ours alone.
fn is_compared(setting: &str) -> bool {
    ["validated", "always"].contains(&setting)
}

fn minus(ours: (f64, &[f64]), theirs: (f64, &[f64])) -> Estimate {
    let paired: Vec<f64> = ours
        .1
        .iter()
        .zip(theirs.1)
        .map(|(ours, theirs)| ours - theirs)
        .collect();
    estimate(ours.0 - theirs.0, &paired)
}

fn mean_figures(sets: &[&Measured], method: &MethodReport) -> Option<MethodFigures> {
    let ours = mean_headline(sets, "tiercast");
    let theirs = mean_headline(sets, &method.name)?;
    let pair = |mean: &(f64, Vec<f64>)| estimate(mean.0, &mean.1);
    let difference = ours.filter(|_| method.kind != MethodKind::Tiercast);
    Some(MethodFigures {
        difference: difference.map(|ours| minus((ours.0, &ours.1), (theirs.0, &theirs.1))),
        headline: Some(pair(&theirs)),
        cpt50: None,
        cpt80: None,
        point: None,
        ..bare(method)
    })
}

/// Mean over the sets, of the value and of each replicate.
fn mean_headline(sets: &[&Measured], name: &str) -> Option<(f64, Vec<f64>)> {
    let share = 1.0 / sets.len() as f64;
    let (mut total, mut replicates) = (0.0, Vec::new());
    for set in sets {
        let position = set.report.methods.iter().position(|method| method.name == name)?;
        total += share * value(set, position)?;
        let of_set = &set.replicates[position];
        replicates.resize(of_set.len(), 0.0);
        replicates
            .iter_mut()
            .zip(of_set)
            .for_each(|(sum, value)| *sum += share * value);
    }
    Some((total, replicates))
}

fn prediction(measured: &Measured) -> PredictionFigures {
    let prediction = &measured.report.prediction;
    let pooled = &prediction.pooled;
    let tiers = prediction.tiers.iter().map(|tier| TierCalibration {
        tier: tier.name.clone(),
        ece: tier.ece_width,
        ece_floor: tier.ece_width_floor,
    });
    PredictionFigures {
        brier: pooled.brier,
        crps: pooled.crps,
        crps_train_histogram: pooled.crps_train_histogram,
        crps_minus_histogram: measured.crps_minus_histogram,
        ece: pooled.ece_width,
        ece_floor: pooled.ece_width_floor,
        tiers: tiers.collect(),
    }
}
