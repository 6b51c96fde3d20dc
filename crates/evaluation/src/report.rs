//! The one value that an evaluation makes. JSON, Markdown, HTML and SVG are views of it.
//!
//! Numbers only. Every field says what it measures, its unit and, where it follows a paper, the
//! section of the metrics document (A.1 to A.9). A figure that is undefined on the data at hand is
//! `None`; the reason is then in [`Report::notes`]. Costs are US dollars per item (mean) unless
//! a field says otherwise; qualities are means of outcomes in [0, 1].

use serde::{Deserialize, Serialize};
use tiercast_records::outcomes::Split;

mod prediction;
mod selective;

pub use prediction::{
    CALIBRATION_MARGIN, DomainCalibration, MethodCalibration, PredictionQuality, PredictionReport, ReliabilityBin,
    RoutedCalibration, Verdict,
};
pub use selective::{
    CoveragePoint, GateDifference, GateReport, GateSide, SelectiveArea, SelectiveOrder, SelectiveReference,
    SelectiveReport,
};

/// Version of this format; raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// All that one evaluation found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// What was evaluated.
    pub checkpoint: CheckpointInfo,
    /// On what.
    pub data: DataSummary,
    /// The tiers, in catalog order. Every `tier_shares` and `tier_idx` refers to this order.
    pub tiers: Vec<TierSummary>,
    /// Reference tiers and the range over which areas are taken.
    pub references: References,
    /// The methods on the same rows: tiercast first, then learned baselines, label tables,
    /// controls, single tiers, the random mix, oracles.
    pub methods: Vec<MethodReport>,
    /// tiercast minus each other method, paired on the same bootstrap replicates (A.9).
    pub differences: Vec<Difference>,
    /// Two-tier figures per named slice of the rows, for example `gsm8k`; empty unless the catalog
    /// has two tiers and the caller named slices.
    pub slices: Vec<SliceReport>,
    /// One row per domain, by name.
    pub domains: Vec<DomainRow>,
    /// How good the predicted quality distributions are.
    pub prediction: PredictionReport,
    /// What is left when the doubtful items are set aside.
    pub selective: SelectiveReport,
    /// How good the predicted costs are, one row per tier in catalog order.
    pub cost_head: Vec<CostHeadRow>,
    /// Largest share of items that may go to the cheapest tier with a guarantee (A.8).
    pub certified: Option<Certified>,
    /// What a reader has to know: masked costs, missing baselines, undefined figures. Full sentences.
    pub notes: Vec<String>,
}

/// The checkpoint that made the forecasts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CheckpointInfo {
    /// Its identity.
    pub id: String,
    /// Weights of the network.
    pub n_params: usize,
    /// Kind of encoder, in words.
    pub encoder: String,
    /// Commit it was trained at, where known.
    pub commit: String,
    /// Hash of the data it was trained on, where known.
    pub data_hash: String,
}

/// The rows that were evaluated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    /// Data sets, by name.
    pub datasets: Vec<String>,
    /// The split reported on.
    pub split: Split,
    /// Items (prompts) evaluated: those of the split that every tier answered.
    pub n_items: usize,
    /// Prompts of the split left out because a tier has no outcome.
    pub n_left_out: usize,
    /// Bootstrap groups among the items (distinct split keys).
    pub n_groups: usize,
    /// Items of `train` that the baselines were fitted on.
    pub n_train: usize,
    /// Items of `validation` that settings were chosen on.
    pub n_validation: usize,
    /// Whether every outcome of every tier is 0 or 1.
    pub is_binary: bool,
    /// Seed of all chance in the evaluation.
    pub seed: u64,
    /// Bootstrap replicates behind each interval.
    pub n_bootstrap: usize,
}

/// A figure with its 95 % percentile bootstrap interval (A.9).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// On the rows themselves.
    pub value: f64,
    /// 2.5th percentile over replicates.
    pub low: f64,
    /// 97.5th percentile over replicates.
    pub high: f64,
}

/// One tier on the evaluated rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TierSummary {
    /// Name in the catalog.
    pub name: String,
    /// Tier class 1 to 4.
    pub class: u8,
    /// Mean quality.
    pub quality: f64,
    /// Mean actual cost, US dollars per item.
    pub cost_usd: f64,
    /// Share of the items with a whole recorded cost.
    pub whole_cost_share: f64,
}

/// What figures are relative to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct References {
    /// Best single tier, chosen on validation (on the split itself where validation is empty).
    pub best_single: usize,
    /// Tier with the lowest mean cost on the split.
    pub cheapest: usize,
    /// Tier with the highest mean cost on the split.
    pub dearest: usize,
    /// `c_min` of every area: mean cost of the cheapest tier.
    pub cost_min_usd: f64,
    /// `c_max` of every area: mean cost of the dearest tier.
    pub cost_max_usd: f64,
    /// Floor on expected quality that `auto` used.
    pub auto_floor: f64,
    /// Floor on expected quality that `auto:cheap` used.
    pub cheap_floor: f64,
}

/// What a method is allowed to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodKind {
    /// The checkpoint's predictions.
    Tiercast,
    /// A baseline fitted on the training prompts that every tier answered.
    Learned,
    /// A baseline that is told the task label.
    KnowsLabel,
    /// A baseline from which the signal was removed.
    Control,
    /// One tier for every item.
    SingleTier,
    /// A random mix of single tiers at equal cost (Zero router).
    RandomMix,
    /// Knows the outcomes: a bound, not a method.
    Oracle,
}

/// A point of cost against quality.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Mean actual cost, US dollars per item.
    pub cost_usd: f64,
    /// Mean quality.
    pub quality: f64,
}

/// A point of a method's sweep, with the dial that made it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SweepPoint {
    /// Trade-off in quality per US dollar, for a point of the trade-off sweep.
    pub lambda_per_usd: Option<f64>,
    /// Floor on expected quality, for a point of the cheapest-acceptable sweep.
    pub floor: Option<f64>,
    /// Where it lies.
    pub point: Point,
}

/// One method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodReport {
    /// Stable name: `tiercast`, `prompt_length`, `domain_table`, `subset_table`, `tfidf`, `knn`,
    /// `shuffled`, `single:<tier>`, `random_mix`, `oracle`, `oracle_corrected`.
    pub name: String,
    /// For a reader.
    pub label: String,
    /// What it may know.
    pub kind: MethodKind,
    /// Settings chosen on validation, in words; empty when there are none.
    pub setting: String,
    /// Sweep of both dials, by cost; a single tier has one point.
    pub sweep: Vec<SweepPoint>,
    /// Upper concave non-decreasing hull of the trade-off points of the sweep, by cost (A.2).
    pub hull: Vec<Point>,
    /// Mean height of the hull on \[c_min, c_max\], linear cost (A.2). The hull is flat right of its
    /// last point and zero left of its first, so a single tier, being one point, is worth its quality
    /// over the costs from its own on. Peak quality when c_min equals c_max.
    pub aiq: Estimate,
    /// The same on the logarithm of cost; `None` when c_min is not positive.
    pub aiq_log: Option<Estimate>,
    /// Highest mean quality of the trade-off sweep (A.7).
    pub peak_quality: f64,
    /// Area under the deferral curve (A.7): as `aiq`, through the points of the trade-off sweep
    /// with straight lines instead of the hull.
    pub deferral_area: f64,
    /// Cost as a share of the best single tier's, at 95, 97, 99 and 100 % of its quality; read off
    /// the hull (A.8). The last is QNC (A.7).
    pub cost_share: Vec<CostShare>,
    /// Quality as a share of the best single tier's, at 20, 40, 60 and 80 % of its cost saved; read
    /// off the hull (A.8).
    pub quality_retained: Vec<QualityRetained>,
    /// Best quality over the sweep against the best single tier, relative (A.4 PerfGain).
    pub performance_gain: f64,
    /// One minus the cost of the cheapest sweep point at or above the best single tier's quality,
    /// over the best single's cost (A.4 CostSave).
    pub cost_save: Option<f64>,
    /// Mean distance of the sweep to the joint Pareto frontier of all methods but the oracles, with
    /// cost scaled to \[c_min, c_max\] (A.4 ParetoDist): depends on who competes.
    pub pareto_distance: f64,
    /// Figures for a catalog of two tiers, all rows (A.1).
    pub two_tier: Option<TwoTier>,
    /// Operating points: `auto` and `auto:cheap` (tiercast only), `validated` (of the
    /// lambdas that keep 99 % of the best single tier's quality on validation, the one that costs
    /// least there; read once here; absent without validation rows), or
    /// `always` for a single tier and an oracle.
    pub operating_points: Vec<OperatingPoint>,
}

/// Cost at a retained quality.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CostShare {
    /// Share of the best single tier's quality to keep.
    pub retained: f64,
    /// Cost as a share of the best single tier's; `None` when the hull does not reach that high.
    pub cost_share: Option<f64>,
}

/// Quality at a saving.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QualityRetained {
    /// Share of the best single tier's cost saved.
    pub saved: f64,
    /// Quality as a share of the best single tier's; `None` when the hull starts dearer than that.
    pub retained: Option<f64>,
}

/// Weak against strong (A.1). Strong is the dearer tier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TwoTier {
    /// Average performance gap recovered, over the exact curve; ties are a straight line. `None`
    /// when both tiers have the same quality.
    pub apgr: Option<Estimate>,
    /// Smallest share of strong calls that recovers half the gap (first crossing).
    pub cpt50: Option<f64>,
    /// The same for 80 % of the gap.
    pub cpt80: Option<f64>,
    /// The curve at up to 101 shares of strong calls.
    pub curve: Vec<GapPoint>,
}

/// A point of the curve of recovered gap.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GapPoint {
    /// Share of strong calls.
    pub strong_share: f64,
    /// Performance gap recovered: 0 is always weak, 1 always strong; not bounded by 1.
    pub recovered: f64,
}

/// A method at one setting of its dial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// `auto`, `auto:cheap`, `validated` or `always`.
    pub name: String,
    /// Floor on expected quality, where that is the dial.
    pub floor: Option<f64>,
    /// Trade-off in quality per US dollar, where that is the dial.
    pub lambda_per_usd: Option<f64>,
    /// Mean quality.
    pub quality: Estimate,
    /// Mean actual cost, US dollars per item.
    pub cost_usd: Estimate,
    /// Quality over the best single tier's; paired replicates.
    pub relative_quality: Estimate,
    /// Cost over the best single tier's; paired replicates.
    pub relative_cost: Estimate,
    /// Share of the items per tier, catalog order.
    pub tier_shares: Vec<f64>,
    /// RouterArena score in [0, 1] (A.3), cost clamped as in the newer code.
    pub arena_score: f64,
    /// Share of the items some tier gets right on which the cheapest right tier was chosen (A.3
    /// Opt.Sel). Right: quality of at least 0.5.
    pub optimal_selection: Option<f64>,
    /// Summed quality over the oracle's, over the same items (A.3 Opt.Acc).
    pub optimal_accuracy: Option<f64>,
    /// Oracle cost over router cost, over the items that were answered right (A.3 Opt.Cost).
    pub optimal_cost: Option<f64>,
    /// Unweighted mean quality over domains (A.4 AvgAcc).
    pub macro_quality: f64,
    /// Relative gain over a uniformly random tier, ratio of macro averages (A.4 Gain@R).
    pub gain_over_random: f64,
    /// Relative gain over the best single tier, ratio of macro averages (A.4 Gain@B).
    pub gain_over_best_single: f64,
    /// Relative gap to the oracle, ratio of macro averages (A.4 Gap@O); negative is below it.
    pub gap_to_oracle: f64,
    /// Mean quality over that of the best tier of the pool on these rows (A.5 V_B).
    pub relative_to_pool_best: f64,
    /// Entropy in bits of the shares per tier (A.5 E_p): 0 when one tier takes all.
    pub selection_entropy_bits: f64,
}

/// tiercast minus another method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// [`MethodReport::name`] of the other method.
    pub method: String,
    /// Which figure: `aiq`, `aiq_log`, `apgr`, or `apgr:<slice>`.
    pub metric: String,
    /// The difference; positive is in favour of tiercast.
    pub difference: Estimate,
    /// Whether the 95 % interval excludes zero. Shuffled labels gain up to .008 AIQ over the hull of
    /// single tiers by chance of the hull alone, so a gain under .01 over `random_mix` proves nothing.
    pub significant: bool,
}

/// Two-tier figures on a named part of the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliceReport {
    /// Name of the slice.
    pub name: String,
    /// Items in it.
    pub n_items: usize,
    /// Mean quality of the cheaper tier.
    pub weak_quality: f64,
    /// Mean quality of the dearer tier.
    pub strong_quality: f64,
    /// Per method that has a score, in the order of [`Report::methods`].
    pub methods: Vec<SliceMethod>,
}

/// A method on a slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliceMethod {
    /// [`MethodReport::name`].
    pub method: String,
    /// Its figures.
    pub two_tier: TwoTier,
}

/// One domain at tiercast's `auto`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DomainRow {
    /// Its label.
    pub domain: String,
    /// Items.
    pub n_items: usize,
    /// The best single tier of the whole split.
    pub best_single: Point,
    /// tiercast at `auto`.
    pub auto: Point,
    /// The dearest tier.
    pub dearest: Point,
    /// Cheapest among best.
    pub oracle: Point,
}

/// Predicted against actual cost of one tier, rows with a whole cost only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostHeadRow {
    /// The tier.
    pub tier: String,
    /// Rows compared.
    pub n: usize,
    /// Median absolute percentage error, as a share (0.1 is 10 %).
    pub median_ape: Option<f64>,
    /// Mean absolute percentage error, as a share.
    pub mean_ape: Option<f64>,
    /// Mean predicted over mean actual cost.
    pub bias: Option<f64>,
    /// Why the tier's token counts or costs are masked: absent or constant output tokens, partial
    /// costs. `None` when they are whole.
    pub masked: Option<String>,
}

/// A share of traffic for the cheapest tier with a guarantee, by Clopper-Pearson on validation
/// (A.8). Loss: the dearest tier right (quality of at least 0.5) and the cheapest wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certified {
    /// The cheap tier.
    pub weak: String,
    /// The dear tier.
    pub strong: String,
    /// Largest loss rate among the cheaply routed.
    pub alpha: f64,
    /// Probability with which the guarantee may fail, divided over the 20 shares tried
    /// (5 %, 10 %, ..., 100 %).
    pub delta: f64,
    /// Largest certified share on validation; 0 when none is.
    pub weak_share_validation: f64,
    /// Share of the evaluated items that the same threshold sends to the cheap tier.
    pub weak_share: f64,
    /// Loss rate among them on the evaluated items; `None` when there are none.
    pub loss_rate: Option<f64>,
}
