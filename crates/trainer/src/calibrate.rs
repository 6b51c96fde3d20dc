//! What is fitted on the validation split after the network: per tier a Platt scaling of the
//! quality distribution and a factor on the output length; per checkpoint the service levels.

use tiercast_predictor::calibration::{TierCalibration, logit};
use tiercast_predictor::checkpoint::ServiceLevels;
use tiercast_predictor::model::Raw;
use tiercast_routing::catalog::Catalog;
use tiercast_routing::decide::{Acceptable, Constraints, Forecast, Objective, decide};
use tiercast_routing::distribution::{GRID, GRID_POINTS};

use crate::dataset::{Answer, Row};

/// Strength of the pull towards no correction, in validation rows: at small n the network is
/// believed, at large n the rows are.
const PRIOR_ROWS: f64 = 10.0;

/// Fits slope and offset of one tier by Newton's method on the logistic loss of the events
/// "outcome >= threshold", over all thresholds of the grid with equal weight.
pub fn fit_quality(raw: &[Raw], rows: &[Row], tier: usize, calibration: TierCalibration) -> TierCalibration {
    let events = events(raw, rows, tier);
    let (mut slope, mut offset) = (1.0, 0.0);
    for _ in 0..50 {
        let (step_slope, step_offset) = newton_step(&events, slope, offset);
        slope = (slope - step_slope).clamp(0.05, 20.0);
        offset = (offset - step_offset).clamp(-20.0, 20.0);
        if step_slope.abs() + step_offset.abs() < 1e-10 {
            break;
        }
    }
    TierCalibration {
        slope,
        offset,
        ..calibration
    }
}

/// (logit of the predicted probability, whether it happened, weight) of each threshold event.
fn events(raw: &[Raw], rows: &[Row], tier: usize) -> Vec<(f64, f64, f64)> {
    let mut events = Vec::new();
    for (raw, answer) in raw.iter().zip(rows.iter().map(|row| row.answers[tier])) {
        let Some(answer) = answer else { continue };
        let mut below = 0.0;
        for (mass, threshold) in raw.quality[tier].iter().zip(&GRID[1..]) {
            below += mass;
            let happened = f64::from(answer.score >= threshold - 1e-9);
            events.push((logit(1.0 - below), happened, 1.0 / (GRID_POINTS - 1) as f64));
        }
    }
    events
}

fn newton_step(events: &[(f64, f64, f64)], slope: f64, offset: f64) -> (f64, f64) {
    let (mut g_s, mut g_o) = (PRIOR_ROWS * (slope - 1.0), PRIOR_ROWS * offset);
    let (mut h_ss, mut h_so, mut h_oo) = (PRIOR_ROWS, 0.0, PRIOR_ROWS);
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
/// cost on these rows (those that all tiers answered).
pub fn fit_service_levels(catalog: &Catalog, forecasts: &[Vec<Forecast>], rows: &[Row]) -> ServiceLevels {
    let dense: Vec<(&Vec<Forecast>, Vec<Answer>)> = forecasts
        .iter()
        .zip(rows)
        .filter_map(|(forecast, row)| Some((forecast, row.answers.iter().copied().collect::<Option<Vec<Answer>>>()?)))
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
fn routed(catalog: &Catalog, dense: &[(&Vec<Forecast>, Vec<Answer>)], floor: f64) -> (f64, f64) {
    let objective = Objective::Cheapest(Acceptable::Floor(floor));
    let (mut quality, mut cost) = (0.0, 0.0);
    for (forecast, answers) in dense {
        if let Some(tier) = decide(catalog, forecast, objective, &Constraints::default()).chosen {
            quality += answers[tier].score;
            cost += answers[tier].cost_usd.unwrap_or(forecast[tier].cost_usd);
        }
    }
    (quality, cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiercast_predictor::encoding::Encoded;
    use tiercast_routing::evidence::Evidence;

    /// `n` rows predicted at `predicted`, of which the share `actual` is right.
    fn check(n: usize, predicted: f64, actual: f64, expected: f64, tolerance: f64) {
        let mut quality = [0.0; GRID_POINTS];
        (quality[0], quality[GRID_POINTS - 1]) = (1.0 - predicted, predicted);
        let raw = Raw {
            quality: vec![quality],
            length_mean: vec![0.0],
            length_std: vec![0.0],
            evidence: Evidence::NONE,
        };
        let row = |right: bool| Row {
            encoded: Encoded::default(),
            prompt: 0,
            answers: vec![Some(Answer {
                score: f64::from(right),
                output_tokens: None,
                visible_tokens: None,
                input_tokens: None,
                cost_usd: None,
            })],
            task: None,
        };
        let rows: Vec<Row> = (0..n).map(|idx| row((idx as f64) < actual * n as f64)).collect();
        let fitted = fit_quality(&vec![raw; n], &rows, 0, TierCalibration::IDENTITY);
        let found = fitted.quality(&quality).mean();
        assert!((found - expected).abs() < tolerance, "{found} against {expected}");
    }

    #[test]
    fn platt_scaling() {
        check(5000, 0.7, 0.5, 0.5, 0.01);
        check(5000, 0.5, 0.5, 0.5, 1e-6);
        // Few rows: the network is mostly believed.
        check(2, 0.7, 0.0, 0.66, 0.03);
        check(0, 0.7, 0.0, 0.7, 1e-6);
    }
}
