//! Fits the pool of the views on rows that they were not fitted on.

use rayon::prelude::*;
use tiercast_predictor::member::Member;
use tiercast_predictor::model::{Model, NetworkSays, Raw, ask, mean_variance};
use tiercast_predictor::neighbours::{Neighbour, NeighbourSettings, Neighbours, similarity};
use tiercast_predictor::network::QualityNetwork;
use tiercast_predictor::pool::{Doubt, Gate, Pool};
use tiercast_predictor::views::{N_POOLED, Pmf, Tables, mean};
use tiercast_predictor::{encoding::Encoded, model};
use tiercast_routing::evidence::Evidence;
use tiercast_statistics::simplex;

use crate::dataset::Row;
use crate::loss::{N_CELLS, share_above};

/// Prompts of tasks never seen are taken to be this much rarer than others when the gate is fitted.
const UNKNOWN_ODDS: f64 = 0.25;
/// Share of training prompts that would themselves be called too far from the others.
const FAR_SHARE: f64 = 0.005;
/// Members may differ this much more than on any but [`FAR_SHARE`] of the validation prompts.
const SPREAD_SLACK: f64 = 1.25;
/// Quantiles kept of the expected loss.
const N_QUANTILES: usize = 101;

/// What the views say of a row they were not fitted on.
pub struct Seen<'a> {
    /// The row.
    pub row: &'a Row,
    says: NetworkSays,
    nearest: Vec<Neighbour>,
    tables: &'a Tables,
}

/// The parts that were fitted without some rows.
pub struct Without<'a> {
    /// Network fitted without them.
    pub network: &'a QualityNetwork,
    /// Tables fitted without them.
    pub tables: &'a Tables,
}

/// Looks at rows through parts fitted without them; `admit` says whether a neighbour at a position
/// was among the rows of the fit.
pub fn look<'a>(
    without: &Without<'a>,
    neighbours: &Neighbours,
    rows: &[&'a Row],
    admit: impl Fn(usize) -> bool + Sync,
) -> Vec<Seen<'a>> {
    let member = Member::new(without.network);
    let see = |row: &&'a Row| Seen {
        row,
        says: ask(std::slice::from_ref(&member), &row.encoded),
        nearest: neighbours.nearest(&row.encoded.key, &admit),
        tables: without.tables,
    };
    rows.par_iter().map(see).collect()
}

type Views = [Option<Vec<Pmf>>; N_POOLED];

/// Fits everything of the pool but the doubt. `known` are rows left out at random, `unknown` rows
/// whose whole task was left out.
pub fn fit_pool(known: &[Seen<'_>], unknown: &[Seen<'_>], neighbours: &Neighbours) -> Pool {
    let mut pool = Pool {
        known: [0.0; N_POOLED],
        unknown: [0.0; N_POOLED],
        gate: Gate::OPEN,
        neighbours: fit_neighbours(known, neighbours),
        doubt: Doubt {
            least_similarity: 0.0,
            most_spread: 1.0,
            loss: [0.0; 4],
            quantiles: vec![0.0],
        },
    };
    pool.known = fit_weights(known, neighbours, &pool);
    pool.unknown = pool.known;
    if !unknown.is_empty() && !neighbours.is_empty() {
        pool.unknown = fit_weights(unknown, neighbours, &pool);
        pool.gate = fit_gate(known, unknown);
    }
    pool
}

fn views_of(seen: &Seen<'_>, neighbours: &Neighbours, pool: &Pool) -> Views {
    let row: &Encoded = &seen.row.encoded;
    let all = [true; N_POOLED];
    model::views(seen.tables, neighbours, pool, row, &seen.nearest, &seen.says, all)
}

/// What the pool says of rows that its parts were not fitted on.
pub fn pooled<'a>(seen: &[Seen<'a>], model: &Model) -> Vec<(Vec<Pmf>, &'a Row)> {
    let of_row = |seen: &Seen<'a>| {
        let views = views_of(seen, &model.neighbours, &model.pool);
        (model.pool.mix(&views, similarity(&seen.nearest)), seen.row)
    };
    seen.par_iter().map(of_row).collect()
}

/// The settings under which the neighbours alone have the lowest CRPS.
fn fit_neighbours(seen: &[Seen<'_>], neighbours: &Neighbours) -> NeighbourSettings {
    let mut candidates = Vec::new();
    for k in [12, 32, 96] {
        for sharpness in [4.0, 12.0, 30.0] {
            for prior_rows in [4.0, 16.0] {
                candidates.push(NeighbourSettings {
                    k,
                    sharpness,
                    prior_rows,
                });
            }
        }
    }
    let loss = |settings: &NeighbourSettings| -> f64 {
        seen.iter()
            .map(|seen| {
                let quality = neighbours.distributions(&seen.nearest, settings, &seen.tables.base);
                mean_crps(&quality, seen.row).unwrap_or(0.0)
            })
            .sum()
    };
    let losses: Vec<f64> = candidates.par_iter().map(loss).collect();
    let best = (0..candidates.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b]));
    candidates[best.unwrap_or(0)]
}

/// Weights on the simplex that minimise the CRPS of the pool, and the squared error of the contrasts
/// between tiers, which is what routes. With F the sum of w F_v the CRPS is, cell by cell,
/// F^2 - 2 F u + u where u is the share of the cell above the outcome.
fn fit_weights(seen: &[Seen<'_>], neighbours: &Neighbours, pool: &Pool) -> [f64; N_POOLED] {
    let zero = || (vec![vec![0.0; N_POOLED]; N_POOLED], vec![0.0; N_POOLED]);
    // In order and in chunks, so that sums are the same on any number of threads.
    let parts: Vec<_> = seen
        .par_chunks(256)
        .map(|chunk| {
            let mut sums = zero();
            for seen in chunk {
                let views = views_of(seen, neighbours, pool);
                add_row(&mut sums, &views, seen.row);
                add_contrasts(&mut sums, &views, seen.row);
            }
            sums
        })
        .collect();
    let (mut h, mut b) = zero();
    for (part_h, part_b) in parts {
        for view in 0..N_POOLED {
            b[view] += part_b[view];
            for other in 0..N_POOLED {
                h[view][other] += part_h[view][other];
            }
        }
    }
    // A view that is off never added anything.
    let on: Vec<usize> = (0..N_POOLED).filter(|view| h[*view][*view] > 0.0).collect();
    let pick = |values: &[f64]| -> Vec<f64> { on.iter().map(|view| values[*view] / seen.len() as f64).collect() };
    let found = simplex::minimise(&on.iter().map(|view| pick(&h[*view])).collect::<Vec<_>>(), &pick(&b));
    let mut weights = [0.0; N_POOLED];
    for (view, weight) in on.into_iter().zip(found) {
        weights[view] = weight.max(0.0);
    }
    if weights.iter().sum::<f64>() < 0.5 {
        // Nothing to fit on.
        weights[0] = 1.0;
    }
    let total: f64 = weights.iter().sum();
    weights.map(|weight| weight / total)
}

fn add_row((h, b): &mut (Vec<Vec<f64>>, Vec<f64>), views: &Views, row: &Row) {
    for (tier, answer) in row.answers.iter().enumerate() {
        let Some(answer) = answer else { continue };
        let above = share_above(answer.score);
        let below: Vec<Option<[f64; N_CELLS]>> = views
            .iter()
            .map(|view| view.as_ref().map(|tiers| cumulative(&tiers[tier])))
            .collect();
        for (view, f) in below.iter().enumerate() {
            let Some(f) = f else { continue };
            b[view] += f.iter().zip(above).map(|(f, u)| f * f64::from(u)).sum::<f64>();
            for (other, g) in below.iter().enumerate() {
                if let Some(g) = g {
                    h[view][other] += f.iter().zip(g).map(|(f, g)| f * g).sum::<f64>();
                }
            }
        }
    }
}

/// Weight of the contrasts beside the CRPS; chosen on inner folds (`evals/LOG.md`).
const CONTRAST: f64 = 3.0;

/// Adds the squared error of (quality of a tier - mean quality of the row's tiers).
fn add_contrasts((h, b): &mut (Vec<Vec<f64>>, Vec<f64>), views: &Views, row: &Row) {
    let answered: Vec<(usize, f64)> = row
        .answers
        .iter()
        .enumerate()
        .filter_map(|(tier, answer)| Some((tier, answer.as_ref()?.score)))
        .collect();
    let centred = |values: Vec<f64>| -> Vec<f64> {
        let centre = values.iter().sum::<f64>() / values.len().max(1) as f64;
        values.into_iter().map(|value| value - centre).collect()
    };
    let actual = centred(answered.iter().map(|(_, score)| *score).collect());
    let of_view = |tiers: &Vec<Pmf>| centred(answered.iter().map(|(tier, _)| mean(&tiers[*tier])).collect());
    let predicted: Vec<Option<Vec<f64>>> = views.iter().map(|view| view.as_ref().map(of_view)).collect();
    let product = |a: &[f64], b: &[f64]| CONTRAST * N_CELLS as f64 * a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for (view, of_view) in predicted.iter().enumerate() {
        let Some(of_view) = of_view else { continue };
        b[view] += product(of_view, &actual);
        for (other, of_other) in predicted.iter().enumerate() {
            if let Some(of_other) = of_other {
                h[view][other] += product(of_view, of_other);
            }
        }
    }
}

/// P(quality <= upper end of the cell) but for the end itself, per cell.
fn cumulative(pmf: &Pmf) -> [f64; N_CELLS] {
    let mut sum = 0.0;
    std::array::from_fn(|cell| {
        sum += pmf[cell];
        sum
    })
}

/// CRPS of a row, mean over the tiers that answered.
fn mean_crps(quality: &[Pmf], row: &Row) -> Option<f64> {
    let (mut total, mut n) = (0.0, 0.0);
    for (pmf, answer) in quality.iter().zip(&row.answers) {
        let Some(answer) = answer else { continue };
        let cells = cumulative(pmf).into_iter().zip(share_above(answer.score));
        let score: f64 = cells
            .map(|(f, u)| f * f * f64::from(1.0 - u) + (1.0 - f) * (1.0 - f) * f64::from(u))
            .sum();
        total += score / N_CELLS as f64;
        n += 1.0;
    }
    (n > 0.0).then(|| total / n)
}

/// Logistic regression of "whole task left out" on the similarity, by Newton's method.
fn fit_gate(known: &[Seen<'_>], unknown: &[Seen<'_>]) -> Gate {
    let rows = |seen: &[Seen<'_>], label: f64, total: f64| -> Vec<(f64, f64, f64)> {
        let weight = total / seen.len().max(1) as f64;
        seen.iter()
            .map(|seen| (similarity(&seen.nearest), label, weight))
            .collect()
    };
    let mut events = rows(known, 0.0, 1.0);
    events.extend(rows(unknown, 1.0, UNKNOWN_ODDS));
    let (mut slope, mut offset) = (0.0, UNKNOWN_ODDS.ln());
    for _ in 0..50 {
        // A weak pull to no slope keeps separable data finite.
        let (mut g, mut h) = ([1e-4 * slope, 0.0], [1e-4, 0.0, 1e-9]);
        for (x, y, weight) in &events {
            let p = 1.0 / (1.0 + (-(offset + slope * x)).exp());
            let (error, curvature) = (weight * (p - y), weight * p * (1.0 - p));
            g = [g[0] + error * x, g[1] + error];
            h = [h[0] + curvature * x * x, h[1] + curvature * x, h[2] + curvature];
        }
        let determinant = h[0] * h[2] - h[1] * h[1];
        let step = [
            (h[2] * g[0] - h[1] * g[1]) / determinant,
            (h[0] * g[1] - h[1] * g[0]) / determinant,
        ];
        slope -= step[0].clamp(-20.0, 20.0);
        offset -= step[1].clamp(-20.0, 20.0);
        if step[0].abs() + step[1].abs() < 1e-9 {
            break;
        }
    }
    // The more alike the more known, or no gate at all.
    if slope.is_finite() && offset.is_finite() && slope < 0.0 {
        Gate { slope, offset }
    } else {
        Gate::OPEN
    }
}

/// Fits the doubt on validation rows, which no part of the model was fitted on: what the model says of
/// them, `raw`, but for the doubt.
pub fn fit_doubt(raw: &[Raw], known: &[Seen<'_>], validation: &[Row], has_neighbours: bool) -> Doubt {
    let of_row = |(raw, row): (&Raw, &Row)| {
        let Evidence { similarity, spread, .. } = raw.evidence;
        let signs = [1.0, similarity, spread, mean_variance(&raw.quality)];
        Some((signs, mean_crps(&raw.quality, row)?))
    };
    let measured: Vec<([f64; 4], f64)> = raw.iter().zip(validation).filter_map(of_row).collect();
    let loss = least_squares(&measured);
    let unfitted = Doubt {
        least_similarity: 0.0,
        most_spread: 1.0,
        loss,
        quantiles: Vec::new(),
    };
    let expected = measured
        .iter()
        .map(|(signs, _)| unfitted.expected_loss(signs[1], signs[2], signs[3]));
    let similarities = known.iter().map(|seen| similarity(&seen.nearest)).collect();
    let spreads = measured.iter().map(|(signs, _)| signs[2]).collect();
    let expected = sorted(expected.collect());
    Doubt {
        least_similarity: if has_neighbours {
            quantile(&sorted(similarities), FAR_SHARE)
        } else {
            -1.0
        },
        most_spread: SPREAD_SLACK * quantile(&sorted(spreads), 1.0 - FAR_SHARE),
        quantiles: (0..N_QUANTILES)
            .map(|step| quantile(&expected, step as f64 / (N_QUANTILES - 1) as f64))
            .collect(),
        ..unfitted
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// Of sorted values; 0 where there are none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(place).copied().unwrap_or(0.0)
}

/// Ordinary least squares with a small ridge; Gauss elimination on the 4 x 4 normal equations.
fn least_squares(rows: &[([f64; 4], f64)]) -> [f64; 4] {
    let mut system = [[0.0; 5]; 4];
    for (idx, equation) in system.iter_mut().enumerate() {
        equation[idx] = 1e-3;
        for (x, y) in rows {
            for (column, value) in equation.iter_mut().enumerate() {
                *value += x[idx] * x.get(column).unwrap_or(y);
            }
        }
    }
    for pivot in 0..4 {
        let row = system[pivot];
        for (other, equation) in system.iter_mut().enumerate() {
            if other != pivot {
                let factor = equation[pivot] / row[pivot];
                equation
                    .iter_mut()
                    .zip(row)
                    .for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
    }
    std::array::from_fn(|idx| system[idx][4] / system[idx][idx])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_squares_by_hand() {
        let rows: Vec<([f64; 4], f64)> = (0..200)
            .map(|row| {
                let x = f64::from(row % 7);
                let (z, v) = (f64::from(row % 5), f64::from(row % 3));
                ([1.0, x, z, v], 2.0 - 0.5 * x + 0.25 * z + v)
            })
            .collect();
        let found = least_squares(&rows);
        for (found, wanted) in found.iter().zip([2.0, -0.5, 0.25, 1.0]) {
            assert!((found - wanted).abs() < 1e-3, "{found} against {wanted}");
        }
        assert_eq!(least_squares(&[]), [0.0; 4]);
    }

    #[test]
    fn quantiles() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 0.5), 2.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
