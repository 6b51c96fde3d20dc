//! What is kept per tier, and where a tier lies.

use std::collections::HashMap;

use tiercast_records::journal::{Call, Label};

use super::bounded::Fold;
use super::cost::{Candidate, Ratio};
use super::frontier::PointSums;
use super::latency::Waits;
use super::quality::ByPropensity;
use super::stage::Stage;
use super::sum::Sum;
use super::{Group, label};

/// Tiers with figures of their own. They come from a catalog and not from clients, so the first ones have them.
const MOST: usize = 64;

/// A tier.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tier {
    /// The trained tier whose evidence it borrows, by the last row that forecast it.
    pub(crate) predicted_as: Option<Label>,
    pub(crate) calls: u64,
    pub(crate) spent: Sum,
    /// Its forecasts over all rows.
    pub(crate) forecast: PointSums,
    pub(crate) ratio: Ratio,
    /// The requests that it answered.
    pub(crate) answered: Group,
    pub(crate) stage: Stage,
    pub(crate) by_propensity: ByPropensity,
    pub(crate) first_token: Waits,
    pub(crate) total: Waits,
}

impl Tier {
    pub(crate) fn call(&mut self, call: &Call, cost: f64) {
        self.calls += 1;
        self.spent.add(cost);
        call.first_token_ms.into_iter().for_each(|ms| self.first_token.add(ms));
        if is_complete(call) {
            self.total.add(call.total_ms);
        }
    }

    pub(crate) fn candidate(&self, slot: usize) -> Option<Candidate<'_>> {
        Some(Candidate {
            slot,
            n: self.forecast.n,
            quality_mean: self.forecast.quality_mean()?,
            cost_mean: self.forecast.cost_mean()?,
            ratio: &self.ratio,
        })
    }
}

impl Fold for Tier {
    fn merge(&mut self, other: &Self) {
        if other.forecast.n > 0 {
            self.predicted_as.clone_from(&other.predicted_as);
        }
        self.calls += other.calls;
        self.spent.merge(other.spent);
        self.forecast.merge(&other.forecast);
        self.ratio.merge(&other.ratio);
        self.answered.merge(&other.answered);
        self.stage.merge(&other.stage);
        self.by_propensity.merge(&other.by_propensity);
        self.first_token.merge(&other.first_token);
        self.total.merge(&other.total);
    }
}

/// Whether the whole reply came.
pub(crate) fn is_complete(call: &Call) -> bool {
    &*call.outcome == "complete"
}

/// All of them. A tier's place never changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tiers {
    names: Vec<Label>,
    places: HashMap<Label, usize>,
    tiers: Vec<Tier>,
    rest: Tier,
    has_rest: bool,
    /// Place of the tier at each position of the last row: rows name the tiers in the catalog's order.
    last: Vec<usize>,
}

impl Tiers {
    /// The place of a tier, unless all are taken.
    pub(crate) fn place(&mut self, name: &Label) -> Option<usize> {
        if let Some(place) = self.places.get(name) {
            return Some(*place);
        }
        if self.names.len() == MOST {
            return None;
        }
        self.names.push(name.clone());
        self.tiers.push(Tier::default());
        self.places.insert(name.clone(), self.names.len() - 1);
        Some(self.names.len() - 1)
    }

    /// The same for the tier at a position of a row, which is most often the one that was there in the last row.
    #[inline]
    pub(crate) fn place_at(&mut self, position: usize, name: &Label) -> Option<usize> {
        if let Some(place) = self.last.get(position)
            && label::is_same(&self.names[*place], name)
        {
            return Some(*place);
        }
        let place = self.place(name)?;
        if position < MOST {
            let n = self.last.len().max(position + 1);
            self.last.resize(n, place);
            self.last[position] = place;
        }
        Some(place)
    }

    /// The tier at a place, or all without one.
    #[inline]
    pub(crate) fn at(&mut self, place: Option<usize>) -> &mut Tier {
        match place {
            Some(place) => &mut self.tiers[place],
            None => {
                self.has_rest = true;
                &mut self.rest
            }
        }
    }

    /// Puts the tiers of another summary into these; says for each of its places which one it is here.
    pub(crate) fn merge(&mut self, other: &Self) -> Vec<Option<usize>> {
        let to: Vec<_> = other.names.iter().map(|name| self.place(name)).collect();
        for (tier, place) in other.tiers.iter().zip(&to) {
            let mut tier = tier.clone();
            tier.answered.cost.moved(&to);
            self.at(*place).merge(&tier);
        }
        if other.has_rest {
            let mut rest = other.rest.clone();
            rest.answered.cost.moved(&to);
            self.at(None).merge(&rest);
        }
        to
    }

    /// Tiers by name, with their places.
    pub(crate) fn sorted(&self) -> Vec<(&str, usize, &Tier)> {
        let named = self.names.iter().zip(&self.tiers).enumerate();
        let mut tiers: Vec<_> = named.map(|(place, (name, tier))| (&**name, place, tier)).collect();
        tiers.sort_by_key(|(name, _, _)| *name);
        tiers
    }

    pub(crate) fn name(&self, place: usize) -> &str {
        &self.names[place]
    }

    pub(crate) fn rest(&self) -> Option<&Tier> {
        self.has_rest.then_some(&self.rest)
    }
}
