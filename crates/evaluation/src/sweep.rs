//! The two dials and what is chosen at each setting, by the decision function that serves.

use rayon::prelude::*;
use tiercast_routing::catalog::Catalog;
use tiercast_routing::decide::{Acceptable, Constraints, Forecast, Objective, decide};

use crate::study::Study;

/// Settings of the trade-off dial between none and so high that cost alone decides.
const N_LAMBDAS: usize = 60;
const N_FLOORS: usize = 41;

/// A setting of a dial and what it chose per item.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    pub(crate) lambda_per_usd: Option<f64>,
    pub(crate) floor: Option<f64>,
    pub(crate) choices: Vec<usize>,
}

impl Setting {
    /// No dial: a given choice.
    pub(crate) fn fixed(choices: Vec<usize>) -> Self {
        Self {
            lambda_per_usd: None,
            floor: None,
            choices,
        }
    }

    /// Areas are taken over the trade-off sweep, as RouterBench defines them.
    pub(crate) fn is_on_curve(&self) -> bool {
        self.floor.is_none()
    }
}

/// Trade-offs in quality per US dollar: 0, [`N_LAMBDAS`] evenly spaced in the logarithm, and one at
/// which cost alone decides. The range runs from .001 quality for the mean cost of the dearest
/// tier to 10 for that of the cheapest, as forecast, and is the same for every method.
pub(crate) fn lambdas(study: &Study<'_>) -> Vec<f64> {
    let forecasts = || {
        study
            .items
            .prompts
            .iter()
            .map(|prompt| &study.inputs.forecasts[*prompt])
    };
    let mean_cost = |tier: usize| forecasts().map(|row| row[tier].ask_cost_usd).sum::<f64>() / study.items.len() as f64;
    let costs: Vec<f64> = (0..study.n_tiers).map(mean_cost).filter(|cost| *cost > 0.0).collect();
    let (cheapest, dearest) = (
        costs.iter().copied().fold(1.0, f64::min),
        costs.iter().copied().fold(1e-12, f64::max),
    );
    let (from, to) = ((1e-3 / dearest).ln(), (10.0 / cheapest).ln());
    let spaced = (0..N_LAMBDAS).map(|i| (from + (to - from) * i as f64 / (N_LAMBDAS - 1) as f64).exp());
    [0.0].into_iter().chain(spaced).chain([1e9 * to.exp()]).collect()
}

/// Floors on expected quality: 0, .025, ..., 1.
pub(crate) fn floors() -> Vec<f64> {
    (0..N_FLOORS).map(|i| i as f64 / (N_FLOORS - 1) as f64).collect()
}

pub(crate) fn at_lambda(catalog: &Catalog, forecasts: &[Vec<Forecast>], lambda_per_usd: f64) -> Setting {
    let choices = choices(catalog, forecasts, Objective::TradeOff { lambda_per_usd }, &|_| None);
    Setting {
        lambda_per_usd: Some(lambda_per_usd),
        floor: None,
        choices,
    }
}

pub(crate) fn at_floor(catalog: &Catalog, forecasts: &[Vec<Forecast>], floor: f64) -> Setting {
    at_floor_gated(catalog, forecasts, floor, &|_| None)
}

/// The same, where items for which `safe_tier` names a tier are unknown ground.
pub(crate) fn at_floor_gated(
    catalog: &Catalog,
    forecasts: &[Vec<Forecast>],
    floor: f64,
    safe_tier: &(dyn Fn(usize) -> Option<usize> + Sync),
) -> Setting {
    let objective = Objective::Cheapest(Acceptable::Floor(floor));
    Setting {
        lambda_per_usd: None,
        floor: Some(floor),
        choices: choices(catalog, forecasts, objective, safe_tier),
    }
}

/// The tier chosen per item. Where no context window is long enough, the longest takes it.
fn choices(
    catalog: &Catalog,
    forecasts: &[Vec<Forecast>],
    objective: Objective,
    safe_tier: &(dyn Fn(usize) -> Option<usize> + Sync),
) -> Vec<usize> {
    let constraints = |item: usize| Constraints {
        unknown_ground: safe_tier(item),
        ..Constraints::default()
    };
    let window = |tier: &usize| catalog.tiers()[*tier].context_window.unwrap_or(u32::MAX);
    let longest = (0..catalog.tiers().len()).max_by_key(window).unwrap_or(0);
    let choose = |(item, row): (usize, &Vec<Forecast>)| decide(catalog, row, objective, &constraints(item)).chosen;
    forecasts
        .par_iter()
        .enumerate()
        .map(|cell| choose(cell).unwrap_or(longest))
        .collect()
}
