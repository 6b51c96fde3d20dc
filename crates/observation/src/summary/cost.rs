//! What was spent, and what the best single tier would have cost.
//!
//! The counterfactual is a ratio estimator (Cochran 1977, *Sampling Techniques*, chapter 6). Forecasts say for
//! every request what each tier was expected to cost; calls say how far that was off where the tier was
//! really called. With `b` the tier of the highest mean predicted quality, `A` the requests in which a call to
//! `b` was complete, and `U` the others that were answered and had a forecast for `b`:
//!
//! ```text
//! always best = sum of real cost over A + r * sum of expected cost over U
//! r           = sum of real cost over A / sum of expected cost over A      (all of the summary, not the group)
//! variance    = (sum of expected cost over U)^2 * Var(r) + s^2 * sum of squared expected costs over U
//! Var(r)      = n / (n - 1) * sum over A of (real - r * expected)^2 / (sum of expected cost over A)^2
//! s^2         = sum over A of (real - r * expected)^2 / sum of squared expected costs over A
//! ```
//!
//! The second term of the variance is the spread of single calls around their forecast. What the interval does
//! not hold: `b` was called where the router chose it, and its forecasts may be off by another factor elsewhere.

use super::bounded::Fold;
use super::figures::{AlwaysBest, CostBasis, CostFigures, Saved};
use super::interval::{Interval, Z};
use super::sum::Sum;

/// Complete calls below which a ratio of real to expected cost is one call's luck.
const ENOUGH: u64 = 30;

/// A forecast of a row, and what became of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forecast {
    /// Position of the tier among the tiers of the summary.
    pub(crate) slot: usize,
    /// Expected quality, in [0, 1].
    pub(crate) quality: f64,
    /// Expected cost, US dollars.
    pub(crate) cost: f64,
    /// Whether the tier could be chosen.
    pub(crate) is_open: bool,
    /// What a complete call to it did cost, US dollars.
    pub(crate) real: Option<f64>,
}

/// Money of a group of requests.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Cost {
    pub(crate) requests: u64,
    pub(crate) answered: u64,
    pub(crate) spent: Sum,
    /// By tier, what is needed to say what it would have cost to use it always.
    books: Vec<Book>,
}

/// A tier in the answered requests of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Book {
    requests: u64,
    /// What these requests did cost, however they were answered.
    spent: Sum,
    /// Real cost of the tier's complete calls.
    real: Sum,
    /// Expected cost of the tier where it was not called, and its square.
    expected: Sum,
    expected_square: Sum,
}

impl Cost {
    #[inline]
    pub(crate) fn add(&mut self, forecasts: &[Forecast], spent: f64, is_answered: bool) {
        self.requests += 1;
        self.spent.add(spent);
        if is_answered {
            self.answered += 1;
            forecasts.iter().for_each(|forecast| self.compare(forecast, spent));
        }
    }

    #[inline]
    fn compare(&mut self, forecast: &Forecast, spent: f64) {
        if self.books.len() <= forecast.slot {
            self.books.resize(forecast.slot + 1, Book::default());
        }
        let book = &mut self.books[forecast.slot];
        book.requests += 1;
        book.spent.add(spent);
        match forecast.real {
            Some(real) => book.real.add(real),
            None => {
                book.expected.add(forecast.cost);
                book.expected_square.add(forecast.cost * forecast.cost);
            }
        }
    }

    /// The tiers move to other places: `to[i]` is the new one of tier `i`. Without one, nothing is compared with it.
    pub(crate) fn moved(&mut self, to: &[Option<usize>]) {
        let books = std::mem::take(&mut self.books);
        for (book, place) in books.iter().zip(to) {
            let Some(place) = *place else { continue };
            let n = self.books.len().max(place + 1);
            self.books.resize(n, Book::default());
            self.books[place].merge(book);
        }
    }

    pub(crate) fn figures(&self, name: &str, best: Option<&Best>) -> CostFigures {
        CostFigures {
            predicted_as: None,
            name: name.to_owned(),
            is_rest: false,
            missed_at_most: 0,
            requests: self.requests,
            answered: self.answered,
            calls: None,
            spent_usd: self.spent.value(),
            saved: best.and_then(|best| best.saved(self.books.get(best.slot)?)),
        }
    }
}

impl Fold for Cost {
    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.answered += other.answered;
        self.spent.merge(other.spent);
        let n = self.books.len().max(other.books.len());
        self.books.resize(n, Book::default());
        self.books
            .iter_mut()
            .zip(&other.books)
            .for_each(|(book, more)| book.merge(more));
    }
}

impl Book {
    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.spent.merge(other.spent);
        self.real.merge(other.real);
        self.expected.merge(other.expected);
        self.expected_square.merge(other.expected_square);
    }
}

/// Real beside expected cost of a tier's complete calls.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) n: u64,
    real: Sum,
    expected: Sum,
    real_square: Sum,
    product: Sum,
    expected_square: Sum,
}

impl Ratio {
    #[inline]
    pub(crate) fn add(&mut self, expected: f64, real: f64) {
        self.n += 1;
        self.real.add(real);
        self.expected.add(expected);
        self.real_square.add(real * real);
        self.product.add(real * expected);
        self.expected_square.add(expected * expected);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.real.merge(other.real);
        self.expected.merge(other.expected);
        self.real_square.merge(other.real_square);
        self.product.merge(other.product);
        self.expected_square.merge(other.expected_square);
    }

    /// Real cost by expected cost, of enough calls.
    pub(crate) fn value(&self) -> Option<f64> {
        let expected = self.expected.value();
        (self.n >= ENOUGH && expected > 0.0).then(|| self.real.value() / expected)
    }

    fn squared_residuals(&self, ratio: f64) -> f64 {
        let residuals = self.real_square.value() - 2.0 * ratio * self.product.value()
            + ratio * ratio * self.expected_square.value();
        residuals.max(0.0)
    }
}

/// The best single tier, and how its forecasts of cost are to be taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Best {
    slot: usize,
    ratio: f64,
    basis: CostBasis,
    /// Variance of the ratio, and of a single call's cost around it by its squared expected cost.
    variance: f64,
    spread: f64,
}

/// What decides which tier is the best single one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) slot: usize,
    /// Requests with a forecast for it.
    pub(crate) n: u64,
    pub(crate) quality_mean: f64,
    pub(crate) cost_mean: f64,
    pub(crate) ratio: &'a Ratio,
}

impl Best {
    /// The highest mean predicted quality among tiers that were forecast at least half as often as the one that was
    /// most often; of equals the cheaper.
    pub(crate) fn among(candidates: &[Candidate<'_>]) -> Option<Self> {
        let most = candidates.iter().map(|candidate| candidate.n).max()?;
        let best = candidates
            .iter()
            .filter(|candidate| 2 * candidate.n >= most)
            .max_by(|a, b| {
                let by_quality = a.quality_mean.total_cmp(&b.quality_mean);
                by_quality.then_with(|| b.cost_mean.total_cmp(&a.cost_mean))
            })?;
        Some(Self::with_ratio(best, candidates))
    }

    fn with_ratio(best: &Candidate<'_>, candidates: &[Candidate<'_>]) -> Self {
        let slot = best.slot;
        if let Some(ratio) = best.ratio.value() {
            let (n, residuals) = (best.ratio.n as f64, best.ratio.squared_residuals(ratio));
            return Self {
                slot,
                ratio,
                basis: CostBasis::CallsOfTheTier,
                variance: n / (n - 1.0) * residuals / best.ratio.expected.value().powi(2),
                spread: residuals / best.ratio.expected_square.value(),
            };
        }
        let mut pooled = Ratio::default();
        candidates.iter().for_each(|candidate| pooled.merge(candidate.ratio));
        Self {
            slot,
            ratio: pooled.value().unwrap_or(1.0),
            basis: pooled
                .value()
                .map_or(CostBasis::ForecastsAlone, |_| CostBasis::CallsOfOtherTiers),
            variance: 0.0,
            spread: 0.0,
        }
    }

    pub(crate) fn slot(&self) -> usize {
        self.slot
    }

    fn saved(&self, book: &Book) -> Option<Saved> {
        if book.requests == 0 {
            return None;
        }
        let (expected, spent) = (book.expected.value(), book.spent.value());
        let always_best = book.real.value() + self.ratio * expected;
        let variance = expected * expected * self.variance + self.spread * book.expected_square.value();
        let saved = always_best - spent;
        let is_known = self.basis == CostBasis::CallsOfTheTier;
        let interval = is_known.then(|| Interval::around(saved, Z * variance.max(0.0).sqrt()));
        let share = |usd: f64| (always_best > 0.0).then(|| usd / always_best);
        Some(Saved {
            compared_requests: book.requests,
            compared_spent_usd: spent,
            always_best_usd: always_best,
            saved_usd: saved,
            saved_usd_interval: interval,
            saved_share: share(saved),
            saved_share_interval: interval.and_then(|found| share_interval(found, spent)),
        })
    }

    pub(crate) fn figures(&self, tier: &str, best: &Candidate<'_>, decided_quality: Option<f64>) -> AlwaysBest {
        AlwaysBest {
            tier: tier.to_owned(),
            quality_mean: best.quality_mean,
            decided_quality_mean: decided_quality,
            cost_ratio: self.ratio,
            n_calls: best.ratio.n,
            basis: self.basis,
        }
    }
}

/// Bounds of `saved / (saved + spent)`, which grows with what was saved.
fn share_interval(saved: Interval, spent: f64) -> Option<Interval> {
    let share = |saved: f64| (saved + spent > 0.0).then(|| saved / (saved + spent));
    Some(Interval {
        low: share(saved.low)?,
        high: share(saved.high)?,
    })
}

#[cfg(test)]
mod tests;
