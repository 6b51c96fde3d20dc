//! Calibration where it counts: on the items that each tier was given, and on each domain.

use tiercast_routing::decide::Forecast;
use tiercast_statistics::calibration::{Binning, ece, ece_floor};
use tiercast_statistics::score::brier;
use tiercast_statistics::summary::mean;

use crate::prediction::{Pairs, bins, mean_crps, pairs};
use crate::report::{DomainCalibration, Estimate, RoutedCalibration, Verdict};
use crate::study::Study;

/// The event P(quality >= target): predicted, observed, and its error.
struct Event {
    predicted: f64,
    observed: f64,
    ece: f64,
    floor: f64,
}

impl Event {
    fn of(pairs: &Pairs, seed: u64) -> Self {
        let (p, y) = (pairs.event_predicted(), pairs.event_observed());
        Self {
            predicted: mean(&p),
            observed: mean(&y),
            ece: ece(&p, &y, Binning::EqualMass),
            floor: ece_floor(&p, Binning::EqualMass, seed),
        }
    }

    fn verdict(&self) -> Verdict {
        Verdict::of(self.ece, self.floor, self.predicted, self.observed)
    }
}

/// Per tier that `auto` chose at least once, on the items it was chosen for.
pub(crate) fn routed(study: &Study<'_>, forecasts: &[Vec<Forecast>], choices: &[usize]) -> Vec<RoutedCalibration> {
    let of_tier = |tier: usize| {
        let cells = choices.iter().copied().enumerate();
        let pairs = pairs(study, forecasts, cells.filter(|(_, chosen)| *chosen == tier));
        let event = Event::of(&pairs, study.inputs.seed);
        RoutedCalibration {
            tier: study.tier_name(tier).to_owned(),
            n: pairs.observed.len(),
            mean_predicted: mean(&pairs.means()),
            mean_observed: mean(&pairs.observed),
            event_predicted: event.predicted,
            event_observed: event.observed,
            ece_mass: event.ece,
            ece_mass_floor: event.floor,
            verdict: event.verdict(),
            reliability: bins(&pairs.event_predicted(), &pairs.event_observed()),
        }
    };
    (0..study.n_tiers)
        .filter(|tier| choices.contains(tier))
        .map(of_tier)
        .collect()
}

/// Per domain, all tiers together and the bias of each.
pub(crate) fn domains(study: &Study<'_>, forecasts: &[Vec<Forecast>]) -> Vec<DomainCalibration> {
    let of_domain = |(domain, items): (&str, Vec<usize>)| {
        let cells = items
            .iter()
            .flat_map(|item| (0..study.n_tiers).map(move |tier| (*item, tier)));
        let pairs = pairs(study, forecasts, cells);
        let event = Event::of(&pairs, study.inputs.seed);
        let means = pairs.means();
        DomainCalibration {
            domain: domain.to_owned(),
            n: pairs.observed.len(),
            mean_predicted: mean(&means),
            mean_observed: mean(&pairs.observed),
            event_predicted: event.predicted,
            event_observed: event.observed,
            brier: brier(&means, &pairs.observed),
            crps: mean_crps(&pairs.forecasts, &pairs.observed),
            ece_mass: event.ece,
            ece_mass_floor: event.floor,
            verdict: event.verdict(),
            bias: (0..study.n_tiers)
                .map(|tier| bias(study, forecasts, &items, tier))
                .collect(),
        }
    };
    study.items_by_domain().into_iter().map(of_domain).collect()
}

/// Predicted minus observed mean quality of one tier on `items`.
fn bias(study: &Study<'_>, forecasts: &[Vec<Forecast>], items: &[usize], tier: usize) -> Estimate {
    let error = |item: &usize| forecasts[*item][tier].quality.mean() - study.items.quality.at(*item, tier);
    let errors: Vec<(usize, f64)> = items.iter().map(|item| (study.groups[*item], error(item))).collect();
    study.replicates.estimate(|weights| {
        let summed = |of: &dyn Fn(&(usize, f64)) -> f64| errors.iter().map(of).sum::<f64>();
        summed(&|(group, error)| weights[*group] * error) / summed(&|(group, _)| weights[*group])
    })
}
