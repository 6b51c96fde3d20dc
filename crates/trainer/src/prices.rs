//! The catalog as the outcome rows show it: prices and token counts per tier by least squares.

use tiercast_records::outcomes::{Outcome, Outcomes};
use tiercast_routing::catalog::{Capabilities, Catalog, Tier};

use crate::train::TrainError;

/// Prices are rounded to this many significant digits: they come from list prices.
const PRICE_DIGITS: i32 = 5;

/// The catalog of the named models (indices into `outcomes.models`), from training rows.
pub fn fit_catalog(outcomes: &Outcomes, models: &[usize], train: &[&Outcome]) -> Result<Catalog, TrainError> {
    let tiers = models.iter().map(|model| {
        let rows: Vec<&Outcome> = train.iter().copied().filter(|row| row.model == *model).collect();
        let info = &outcomes.models[*model];
        let (input, output) = fit_prices(&rows).ok_or_else(|| TrainError::NoCost(info.name.clone()))?;
        Ok(Tier {
            name: info.name.clone(),
            class: info.class,
            input_usd_per_mtok: round(input),
            output_usd_per_mtok: round(output),
            cached_input_usd_per_mtok: None,
            context_window: None,
            capabilities: Capabilities::default(),
            latency_p95_s: latency_p95(&rows),
        })
    });
    let tiers: Vec<Tier> = tiers.collect::<Result<_, TrainError>>()?;
    Catalog::new(tiers).map_err(|error| TrainError::Catalog(error.to_string()))
}

/// US dollars per million input and output tokens: non-negative least squares of cost on tokens.
/// The rows without output tokens count as input alone where there is nothing better.
fn fit_prices(rows: &[&Outcome]) -> Option<(f64, f64)> {
    let tokens_and_cost = |partial: bool| -> Vec<[f64; 3]> {
        let kind = rows.iter().filter(|row| row.cost_kind.is_whole() != partial);
        kind.filter_map(|row| {
            Some([
                f64::from(row.input_tokens?),
                f64::from(row.output_tokens?),
                row.cost_usd? * 1e6,
            ])
        })
        .collect()
    };
    // A cost that leaves out hidden tokens is still tokens x price for those it shows.
    if let Some(prices) = two_prices(&tokens_and_cost(false)).or_else(|| two_prices(&tokens_and_cost(true))) {
        return Some(prices);
    }
    let any = rows
        .iter()
        .filter_map(|row| Some((f64::from(row.input_tokens?), row.cost_usd? * 1e6)));
    let (top, bottom) = any.fold((0.0, 0.0), |(top, bottom), (tokens, cost)| {
        (top + tokens * cost, bottom + tokens * tokens)
    });
    (bottom > 0.0 && top > 0.0).then(|| (top / bottom, 0.0))
}

fn two_prices(rows: &[[f64; 3]]) -> Option<(f64, f64)> {
    let sum = |a: usize, b: usize| rows.iter().map(|row| row[a] * row[b]).sum::<f64>();
    let (ii, io, oo, ic, oc) = (sum(0, 0), sum(0, 1), sum(1, 1), sum(0, 2), sum(1, 2));
    if ii <= 0.0 || (ic <= 0.0 && oc <= 0.0) {
        return None;
    }
    let determinant = ii * oo - io * io;
    if determinant <= 1e-9 * ii * oo {
        return Some((ic / ii, 0.0));
    }
    let (input, output) = ((ic * oo - oc * io) / determinant, (oc * ii - ic * io) / determinant);
    Some(match (input < 0.0, output < 0.0) {
        (true, _) => (0.0, oc / oo),
        (_, true) => (ic / ii, 0.0),
        _ => (input, output),
    })
}

fn round(price: f64) -> f64 {
    if price <= 0.0 {
        return 0.0;
    }
    let unit = 10_f64.powi(price.log10().floor() as i32 + 1 - PRICE_DIGITS);
    let rounded = (price / unit).round() * unit;
    // Through text, so that 0.075 is 0.075 and not a neighbour of it.
    format!("{rounded:.12}").parse().unwrap_or(rounded)
}

fn latency_p95(rows: &[&Outcome]) -> Option<f64> {
    let mut seconds: Vec<f64> = rows
        .iter()
        .filter_map(|row| row.latency_s)
        .filter(|seconds| *seconds > 0.0)
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len().saturating_sub(1) * 95 / 100).copied()
}

/// `(factor, offset)` of a tier's input tokens on ours: least squares, the factor non-negative.
pub fn fit_input_tokens(pairs: &[(f64, f64)]) -> (f64, f64) {
    let n = pairs.len() as f64;
    if pairs.is_empty() {
        return (1.0, 0.0);
    }
    let mean = |pick: fn(&(f64, f64)) -> f64| pairs.iter().map(pick).sum::<f64>() / n;
    let (ours, theirs) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let spread: f64 = pairs.iter().map(|pair| (pair.0 - ours).powi(2)).sum();
    if spread < 1e-9 {
        return (1.0, theirs - ours);
    }
    let shared: f64 = pairs.iter().map(|pair| (pair.0 - ours) * (pair.1 - theirs)).sum();
    let factor = (shared / spread).max(0.0);
    (factor, theirs - factor * ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiercast_records::outcomes::CostKind;

    fn row(input: u32, output: Option<u32>, usd_per_mtok: (f64, f64)) -> Outcome {
        let cost = f64::from(input) * usd_per_mtok.0 + f64::from(output.unwrap_or(0)) * usd_per_mtok.1;
        Outcome {
            prompt: 0,
            model: 0,
            score: 1.0,
            score_kind: 0,
            n_samples: 1,
            input_tokens: Some(input),
            output_tokens: output,
            cost_usd: Some(cost / 1e6),
            cost_kind: CostKind::Computed,
            latency_s: None,
        }
    }

    fn check(tokens: &[(u32, Option<u32>)], paid: (f64, f64), expected: (f64, f64)) {
        let rows: Vec<Outcome> = tokens
            .iter()
            .map(|(input, output)| row(*input, *output, paid))
            .collect();
        let (input, output) = fit_prices(&rows.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!((round(input), round(output)), expected);
    }

    #[test]
    fn list_prices_are_found_again() {
        check(
            &[(100, Some(20)), (50, Some(300)), (10, Some(10))],
            (0.075, 0.3),
            (0.075, 0.3),
        );
        check(&[(100, None), (50, None)], (0.2, 0.0), (0.2, 0.0));
        check(&[(100, Some(1)), (100, Some(1))], (0.2, 0.0), (0.2, 0.0));
        assert_eq!(fit_prices(&[]), None);
    }

    #[test]
    fn input_tokens() {
        assert_eq!(fit_input_tokens(&[(10.0, 25.0), (20.0, 45.0)]), (2.0, 5.0));
        assert_eq!(fit_input_tokens(&[]), (1.0, 0.0));
    }
}
