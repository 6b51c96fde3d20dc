//! Adds a tier to a checkpoint from few judged prompts.

use thiserror::Error;
use tiercast_predictor::added::{AddedTier, mean_log_tokens, signals};
use tiercast_predictor::predictor::Predictor;
use tiercast_predictor::views::add_outcome;
use tiercast_records::features::Features;
use tiercast_records::outcomes::{Outcome, Outcomes, Split};
use tiercast_routing::decide::Forecast;
use tiercast_routing::distribution::GRID_POINTS;
use tiercast_statistics::bayesian_logistic::{Prior, choose, fit};

use crate::prices::{fit_catalog, fit_input_tokens};
use crate::train::TrainError;

/// Fewer judged prompts say nothing that the prior does not.
pub const LEAST_PROMPTS: usize = 20;

/// One over the prior variance of the ability: two logits either way are no surprise.
const ABILITY_PRECISION: f64 = 0.25;
/// The same of all weights together: a new tier is taken to be like the mean of the trained ones, until the
/// rows say otherwise.
const WEIGHT_PRECISION: f64 = 10.0;
/// Outcomes of the trained tiers that the shape of the distribution starts from.
const SHAPE_ROWS: f64 = 2.0;
/// Rows that the slope of the lengths is drawn to 1 by.
const LENGTH_ROWS: f64 = 10.0;

/// Why no tier was added.
#[derive(Debug, Error)]
pub enum AddError {
    /// It is there already.
    #[error("the checkpoint has tier `{0}` already: nothing to add")]
    Known(String),
    /// Not enough to go by.
    #[error(
        "tier `{tier}` has {found} judged prompts outside `test` and `holdout`; at least {LEAST_PROMPTS} are needed"
    )]
    TooFew {
        /// The tier.
        tier: String,
        /// What there is.
        found: usize,
    },
    /// The rows are no use.
    #[error(transparent)]
    Rows(#[from] TrainError),
}

/// Where a new tier stands before anything is known of it.
fn prior(n_trained: usize) -> Prior {
    let n = n_trained as f64;
    let mut mean = vec![1.0 / n; n_trained + 1];
    let mut precision = vec![WEIGHT_PRECISION; n_trained + 1];
    (mean[0], precision[0]) = (0.0, ABILITY_PRECISION);
    Prior { mean, precision }
}

/// Positions of the `n` prompts of `features` whose outcomes would tell most of a tier that is not there yet, in
/// the order of choice.
pub fn choose_prompts(predictor: &Predictor, features: &[Features], n: usize) -> Vec<usize> {
    let trained = predictor.trained(features);
    let rows: Vec<Vec<f64>> = trained.iter().map(|forecasts| signals(forecasts)).collect();
    choose(&rows, &prior(predictor.n_trained()), n)
}

/// Fits tier `name` on its outcomes in `train` and `validation`; `features` is parallel to the prompts. At most
/// `most` prompts are used, those that [`choose_prompts`] would name first.
pub fn fit_added(
    predictor: &Predictor,
    outcomes: &Outcomes,
    features: &[Features],
    name: &str,
    most: Option<usize>,
) -> Result<AddedTier, AddError> {
    if predictor.catalog().position(name).is_some() {
        return Err(AddError::Known(name.to_owned()));
    }
    let model = crate::prepare::find_models(outcomes, &[name.to_owned()])?[0];
    let is_fitted_on = |outcome: &&Outcome| {
        outcome.model == model && [Split::Train, Split::Validation].contains(&outcomes.prompts[outcome.prompt].split)
    };
    let mut rows: Vec<&Outcome> = outcomes.outcomes.iter().filter(is_fitted_on).collect();
    if rows.len() < LEAST_PROMPTS {
        return Err(AddError::TooFew {
            tier: name.to_owned(),
            found: rows.len(),
        });
    }
    if let Some(most) = most.filter(|most| *most < rows.len()) {
        let of: Vec<Features> = rows.iter().map(|row| features[row.prompt].clone()).collect();
        rows = choose_prompts(predictor, &of, most)
            .into_iter()
            .map(|at| rows[at])
            .collect();
    }
    let of: Vec<Features> = rows.iter().map(|row| features[row.prompt].clone()).collect();
    let trained = predictor.trained(&of);
    let tier = fit_catalog(outcomes, &[model], &rows)?.tiers()[0].clone();
    let signals: Vec<Vec<f64>> = trained.iter().map(|forecasts| signals(forecasts)).collect();
    let scores: Vec<f64> = rows.iter().map(|row| row.score).collect();
    let (factor, offset) = fit_input_tokens(&input_tokens(&rows, &of));
    Ok(AddedTier {
        tier,
        coefficients: fit(&signals, &scores, &prior(predictor.n_trained())),
        base: shape(&scores, &trained),
        length: fit_length(&rows, &trained),
        input_tokens: [factor, offset],
        n_prompts: rows.len(),
    })
}

fn input_tokens(rows: &[&Outcome], features: &[Features]) -> Vec<(f64, f64)> {
    let pair = |(row, features): (&&Outcome, &Features)| {
        let ours = f64::from(features.ask_tokens) + f64::from(features.context_tokens);
        Some((ours, f64::from(row.input_tokens?)))
    };
    rows.iter().zip(features).filter_map(pair).collect()
}

/// Shares of the grid over the outcomes, begun with what the trained tiers are expected to do.
fn shape(scores: &[f64], trained: &[Vec<Forecast>]) -> Vec<f64> {
    let mut shape = [0.0; GRID_POINTS];
    let all = trained.iter().flatten();
    let n = all.clone().count().max(1) as f64;
    for forecast in all {
        for (sum, mass) in shape.iter_mut().zip(forecast.quality.pmf()) {
            *sum += SHAPE_ROWS * mass / n;
        }
    }
    scores.iter().for_each(|score| add_outcome(&mut shape, *score, 1.0));
    let total: f64 = shape.iter().sum();
    shape.iter().map(|mass| mass / total).collect()
}

/// Least squares of ln(1 + output tokens) on the trained tiers' mean, the slope drawn to 1. Without whole
/// token counts the trained tiers' mean stands.
fn fit_length(rows: &[&Outcome], trained: &[Vec<Forecast>]) -> [f64; 2] {
    let pair = |(row, forecasts): (&&Outcome, &Vec<Forecast>)| {
        let tokens = row.output_tokens.filter(|_| row.cost_kind.is_whole())?;
        Some((mean_log_tokens(forecasts), f64::from(tokens).ln_1p()))
    };
    let pairs: Vec<(f64, f64)> = rows.iter().zip(trained).filter_map(pair).collect();
    if pairs.is_empty() {
        return [0.0, 1.0];
    }
    let n = pairs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let spread: f64 = pairs.iter().map(|pair| (pair.0 - x).powi(2)).sum();
    let shared: f64 = pairs.iter().map(|pair| (pair.0 - x) * (pair.1 - y)).sum();
    // In units of a log token squared: what rows of an ordinary spread weigh.
    let slope = (shared + LENGTH_ROWS) / (spread + LENGTH_ROWS);
    // The mean of exponentials is over the exponential of the mean: half the variance of what is left.
    let left: f64 = pairs
        .iter()
        .map(|pair| (pair.1 - y - slope * (pair.0 - x)).powi(2))
        .sum();
    [y - slope * x + 0.5 * left / n, slope]
}

#[cfg(test)]
mod tests {
    use tiercast_routing::distribution::QualityDistribution;

    use super::*;

    #[test]
    fn few_rows_stay_near_the_mean_of_the_trained_tiers() {
        let prior = prior(2);
        assert_eq!(prior.mean, [0.0, 0.5, 0.5]);
        let found = fit(&[vec![1.0, 1.0, -1.0]], &[1.0], &prior);
        assert!(found[0] > 0.0 && (found[1] - 0.5).abs() < 0.1, "{found:?}");
    }

    #[test]
    fn a_shape_is_a_distribution() {
        let forecast = Forecast {
            quality: QualityDistribution::two_point(0.5),
            input_tokens: 0.0,
            ask_input_tokens: 0.0,
            output_tokens: 0.0,
            cost_usd: 0.0,
            ask_cost_usd: 0.0,
            latency_p95_s: None,
        };
        let found = shape(&[1.0, 1.0], &[vec![forecast], vec![forecast]]);
        assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((found[GRID_POINTS - 1] - 0.75).abs() < 1e-9 && (found[0] - 0.25).abs() < 1e-9);
    }
}
