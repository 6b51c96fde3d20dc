//! What is fitted on the validation split after the network: per tier a Platt scaling of the
//! quality distribution and a factor on the output length; per checkpoint the service levels.

use tiercast_predictor::calibration::{Platt, TierCalibration, logit};
use tiercast_predictor::checkpoint::ServiceLevels;
use tiercast_predictor::model::Raw;
use tiercast_predictor::views::Pmf;
use tiercast_routing::catalog::Catalog;
use tiercast_routing::decide::{Acceptable, Constraints, Objective, decide};
use tiercast_routing::distribution::{GRID, GRID_POINTS};
use tiercast_routing::evidence::Assessment;

use crate::dataset::{Answer, Row};

/// Strength of the pull towards no correction, in units of a threshold event's curvature: at small n
/// the network is believed, at large n the rows are.
const PRIOR_ROWS: f64 = 10.0;
/// The same towards what the rows out of fold say, which are many but seen by other networks.
const OUT_OF_FOLD_ROWS: f64 = 100.0;

/// A tier's raw distribution on a row that it was not fitted on, and the score.
pub type Scored<'a> = (&'a Pmf, f64);

/// Fits the corrections of one tier's quality: first on rows out of fold (`known` left out at
/// random, `unknown` with their whole task), then the known one on validation rows.
pub fn fit_quality(
    known: &[Scored<'_>],
    unknown: &[Scored<'_>],
    validation: &[Scored<'_>],
    calibration: TierCalibration,
) -> TierCalibration {
    let out_of_fold = fit_platt(known, Platt::IDENTITY, PRIOR_ROWS);
    let prior_rows = if known.is_empty() { PRIOR_ROWS } else { OUT_OF_FOLD_ROWS };
    let known = fit_platt(validation, out_of_fold, prior_rows);
    TierCalibration {
        known,
        unknown: fit_platt(unknown, known, PRIOR_ROWS),
        ..calibration
    }
}

/// Fits the correction of one tier again, on rows of newer traffic: what the checkpoint says of it is as good
/// as a hundred rows, and stays where there are none.
pub fn refit_quality(validation: &[Scored<'_>], calibration: TierCalibration) -> TierCalibration {
    TierCalibration {
        known: fit_platt(validation, calibration.known, OUT_OF_FOLD_ROWS),
        ..calibration
    }
}

/// Over all thresholds of the grid with equal weight.
fn fit_platt(rows: &[Scored<'_>], prior: Platt, prior_rows: f64) -> Platt {
    platt_of(&events(rows), prior, prior_rows)
}

/// Slope and offset by Newton's method on the logistic loss of events (logit of the predicted
/// probability, share that happened, weight), pulled towards `prior`.
pub(crate) fn platt_of(events: &[(f64, f64, f64)], prior: Platt, prior_rows: f64) -> Platt {
    let mut platt = prior;
    for _ in 0..50 {
        let (step_slope, step_offset) = newton_step(events, platt, prior, prior_rows);
        platt.slope = (platt.slope - step_slope).clamp(0.05, 20.0);
        platt.offset = (platt.offset - step_offset).clamp(-20.0, 20.0);
        if step_slope.abs() + step_offset.abs() < 1e-10 {
            break;
        }
    }
    platt
}

/// (logit of the predicted probability, whether it happened, weight) of each threshold event.
fn events(rows: &[Scored<'_>]) -> Vec<(f64, f64, f64)> {
    let mut events = Vec::new();
    for (pmf, score) in rows {
        let mut below = 0.0;
        for (mass, threshold) in pmf.iter().zip(&GRID[1..]) {
            below += mass;
            let happened = f64::from(*score >= threshold - 1e-9);
            events.push((logit(1.0 - below), happened, 1.0 / (GRID_POINTS - 1) as f64));
        }
    }
    events
}

fn newton_step(events: &[(f64, f64, f64)], at: Platt, prior: Platt, prior_rows: f64) -> (f64, f64) {
    let Platt { slope, offset } = at;
    let mut g_s = prior_rows * (slope - prior.slope);
    let mut g_o = prior_rows * (offset - prior.offset);
    let (mut h_ss, mut h_so, mut h_oo) = (prior_rows, 0.0, prior_rows);
    for (x, y, weight) in events {
        let p = 1.0 / (1.0 + (-(slope * x + offset)).exp());
        let (error, curvature) = (weight * (p - y), weight * p * (1.0 - p));
        g_s += error * x;
        g_o += error;
        h_ss += curvature * x * x;
        h_so += curvature * x;
        h_oo += curvature;
    }
    let determinant = h_ss * h_oo - h_so * h_so;
    (
        (h_oo * g_s - h_so * g_o) / determinant,
        (h_ss * g_o - h_so * g_s) / determinant,
    )
}

/// Fits the factor that makes the mean output length right.
pub fn fit_length(raw: &[Raw], rows: &[Row], tier: usize, calibration: TierCalibration) -> TierCalibration {
    let (mut predicted, mut actual) = (0.0, 0.0);
    for (raw, row) in raw.iter().zip(rows) {
        let Some(tokens) = row.answers[tier].and_then(|answer| answer.output_tokens) else {
            continue;
        };
        predicted += calibration.output_tokens(raw.length_mean[tier], raw.length_std[tier]);
        actual += tokens;
    }
    let factor = if predicted > 0.0 && actual > 0.0 {
        actual / predicted
    } else {
        1.0
    };
    TierCalibration {
        length_factor: factor,
        ..calibration
    }
}

/// Floors on expected quality that keep 99 % and 95 % of the best single tier's quality at least
/// cost on these rows (those that all tiers answered), decided as they will be served.
pub fn fit_service_levels(catalog: &Catalog, assessments: &[Assessment], rows: &[Row]) -> ServiceLevels {
    let answers = |row: &Row| row.answers.iter().copied().collect::<Option<Vec<Answer>>>();
    let dense: Vec<(&Assessment, Vec<Answer>)> = assessments
        .iter()
        .zip(rows)
        .filter_map(|(assessment, row)| Some((assessment, answers(row)?)))
        .collect();
    let n_tiers = catalog.tiers().len();
    let quality_of = |tier: usize| dense.iter().map(|(_, answers)| answers[tier].score).sum::<f64>();
    let best_single = (0..n_tiers).map(quality_of).fold(0.0, f64::max);
    let floors: Vec<(f64, f64, f64)> = (0..=200)
        .map(|step| {
            let floor = f64::from(step) / 200.0;
            let (quality, cost) = routed(catalog, &dense, floor);
            (floor, quality, cost)
        })
        .collect();
    let keeping = |share: f64| {
        let good = floors.iter().filter(|(_, quality, _)| *quality >= share * best_single);
        good.min_by(|a, b| a.2.total_cmp(&b.2))
            .map_or(1.0, |(floor, _, _)| *floor)
    };
    ServiceLevels {
        auto: keeping(0.99),
        cheap: keeping(0.95),
    }
}

/// Summed quality and expected cost when the cheapest tier above `floor` is taken.
fn routed(catalog: &Catalog, dense: &[(&Assessment, Vec<Answer>)], floor: f64) -> (f64, f64) {
    let objective = Objective::Cheapest(Acceptable::Floor(floor));
    let safe = catalog.dearest();
    let (mut quality, mut cost) = (0.0, 0.0);
    for (
        Assessment {
            forecasts, evidence, ..
        },
        answers,
    ) in dense
    {
        let constraints = Constraints {
            unknown_ground: (!evidence.sufficient).then_some(safe),
            ..Constraints::default()
        };
        if let Some(tier) = decide(catalog, forecasts, objective, &constraints).chosen {
            quality += answers[tier].score;
            cost += answers[tier].cost_usd.unwrap_or(forecasts[tier].cost_usd);
        }
    }
    (quality, cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_point(probability: f64) -> Pmf {
        let mut pmf = [0.0; GRID_POINTS];
        (pmf[0], pmf[GRID_POINTS - 1]) = (1.0 - probability, probability);
        pmf
    }

    /// `n` rows predicted at .7, of which the share `actual` is right.
    fn rows(pmf: &Pmf, n: usize, actual: f64) -> Vec<Scored<'_>> {
        let right = |idx| f64::from((idx as f64) < actual * n as f64);
        (0..n).map(|idx| (pmf, right(idx))).collect()
    }

    #[test]
    fn platt_scaling() {
        let check = |n, predicted, actual, expected: f64, tolerance| {
            let pmf = two_point(predicted);
            let fitted = fit_quality(&[], &[], &rows(&pmf, n, actual), TierCalibration::IDENTITY);
            let found = fitted.quality(&pmf, 0.0).mean();
            assert!((found - expected).abs() < tolerance, "{found} against {expected}");
        };
        check(5000, 0.7, 0.5, 0.5, 0.01);
        check(5000, 0.5, 0.5, 0.5, 1e-6);
        // Few rows: the network is mostly believed.
        check(2, 0.7, 0.0, 0.66, 0.03);
        check(0, 0.7, 0.0, 0.7, 1e-6);
    }

    #[test]
    fn rows_out_of_fold_are_believed_before_few_validation_rows_but_not_before_many() {
        let pmf = two_point(0.7);
        let fitted = |n| {
            let (known, unknown) = (rows(&pmf, 5000, 0.5), rows(&pmf, 5000, 0.3));
            fit_quality(&known, &unknown, &rows(&pmf, n, 0.9), TierCalibration::IDENTITY)
        };
        let known = |n| fitted(n).quality(&pmf, 0.0).mean();
        assert!((known(5) - 0.5).abs() < 0.02 && known(5000) > 0.85);
        assert!((fitted(5).quality(&pmf, 1.0).mean() - 0.3).abs() < 0.02);
    }
}
