//! Weak against strong: recovered gap (A.1) and certified share (A.8).

use tiercast_routing::decide::Forecast;
use tiercast_statistics::certify::clopper_pearson_upper;
use tiercast_statistics::curve::{GapCurve, strong_first};

use crate::interval::estimate;
use crate::report::{Certified, GapPoint, TwoTier};
use crate::study::{Rows, Study};

/// Steps of the curve in the report.
const CURVE_STEPS: usize = 100;

/// Predicted gain of the strong tier per item. A constant is random routing.
pub(crate) fn scores(forecasts: &[Vec<Forecast>], weak: usize, strong: usize) -> Vec<f64> {
    forecasts
        .iter()
        .map(|row| row[strong].quality.mean() - row[weak].quality.mean())
        .collect()
}

/// The figures on `items` (positions among the evaluated), with the replicates of APGR.
pub(crate) fn two_tier(study: &Study<'_>, scores: &[f64], items: &[usize]) -> (TwoTier, Vec<f64>) {
    let (weak, strong) = (study.references.cheapest, study.references.dearest);
    let of = |tier: usize| -> Vec<f64> { items.iter().map(|item| study.items.quality.at(*item, tier)).collect() };
    let (weak, strong) = (of(weak), of(strong));
    let order = strong_first(&items.iter().map(|item| scores[*item]).collect::<Vec<_>>());
    let curve = |group_weights: &[f64]| {
        let weights: Vec<f64> = items.iter().map(|item| group_weights[study.groups[*item]]).collect();
        GapCurve::new(&order, &weak, &strong, &weights)
    };
    let (apgr, replicates) = study.replicates.run(|weights| curve(weights).apgr());
    let gap: f64 = strong.iter().zip(&weak).map(|(strong, weak)| strong - weak).sum();
    let whole = curve(&vec![1.0; study.group_sizes.len()]);
    // Where the dearer tier is not better there is no gap to recover.
    let crossing = |recovered| (gap > 0.0).then(|| whole.first_crossing(recovered));
    let sampled = if apgr.is_finite() {
        whole.sampled(CURVE_STEPS)
    } else {
        Vec::new()
    };
    let two_tier = TwoTier {
        apgr: apgr.is_finite().then(|| estimate(apgr, &replicates)),
        cpt50: crossing(0.5).flatten(),
        cpt80: crossing(0.8).flatten(),
        curve: sampled
            .into_iter()
            .map(|(strong_share, recovered)| GapPoint {
                strong_share,
                recovered,
            })
            .collect(),
    };
    (two_tier, replicates)
}

/// Loss rate that a certified share must stay below, and probability that it does not.
const ALPHA: f64 = 0.05;
const DELTA: f64 = 0.05;
const SHARES_TRIED: usize = 20;

/// The largest share of items for the cheapest tier whose loss rate is certified below [`ALPHA`] on
/// validation; `delta` is divided over the shares tried. `None` without validation rows, or when
/// cheapest and dearest are one tier.
pub(crate) fn certify(study: &Study<'_>) -> Option<Certified> {
    let (weak, strong) = (study.references.cheapest, study.references.dearest);
    if study.validation.is_empty() || weak == strong {
        return None;
    }
    let scored = |rows: &Rows| -> Vec<(f64, bool)> {
        let forecasts: Vec<Vec<Forecast>> = rows
            .prompts
            .iter()
            .map(|p| study.inputs.forecasts[*p].clone())
            .collect();
        let is_loss = |item| rows.quality.at(item, strong) >= 0.5 && rows.quality.at(item, weak) < 0.5;
        scores(&forecasts, weak, strong)
            .into_iter()
            .enumerate()
            .map(|(item, score)| (score, is_loss(item)))
            .collect()
    };
    let (validation, items) = (scored(&study.validation), scored(&study.items));
    let mut thresholds: Vec<f64> = validation.iter().map(|(score, _)| *score).collect();
    thresholds.sort_by(f64::total_cmp);
    let at = |step: usize| thresholds[(thresholds.len() * step).div_ceil(SHARES_TRIED).max(1) - 1];
    let holds = |threshold: &f64| {
        let (n, losses) = weakly_routed(&validation, *threshold);
        clopper_pearson_upper(losses, n, DELTA / SHARES_TRIED as f64) <= ALPHA
    };
    let threshold = (1..=SHARES_TRIED)
        .rev()
        .map(at)
        .find(holds)
        .unwrap_or(f64::NEG_INFINITY);
    let (n_validation, _) = weakly_routed(&validation, threshold);
    let (n, losses) = weakly_routed(&items, threshold);
    Some(Certified {
        weak: study.tier_name(weak).to_owned(),
        strong: study.tier_name(strong).to_owned(),
        alpha: ALPHA,
        delta: DELTA,
        weak_share_validation: n_validation as f64 / validation.len() as f64,
        weak_share: n as f64 / items.len() as f64,
        loss_rate: (n > 0).then(|| losses as f64 / n as f64),
    })
}

/// Items whose predicted gain is at most `threshold`, and the losses among them.
fn weakly_routed(scored: &[(f64, bool)], threshold: f64) -> (usize, usize) {
    let routed = || scored.iter().filter(|(score, _)| *score <= threshold);
    (routed().count(), routed().filter(|(_, is_loss)| *is_loss).count())
}
