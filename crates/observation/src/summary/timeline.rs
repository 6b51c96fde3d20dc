//! Figures by minute or by hour, for live views and for the page: a ring of buckets.

use tiercast_records::journal::Path;

use super::bounded::Fold;
use super::cost::{Best, Cost, Forecast};
use super::figures::{TimePoint, TimelineFigures};
use super::sum::Sum;

/// Rows in a row that are older than the whole ring before the clock is taken to have been set back.
const SET_BACK_AFTER: u32 = 10;

/// How a series over time is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolution {
    bucket_ms: i64,
    n_buckets: usize,
}

impl Resolution {
    /// An hour by minutes.
    pub const HOUR: Self = Self {
        bucket_ms: 60_000,
        n_buckets: 60,
    };
    /// Two days by hours.
    pub const TWO_DAYS: Self = Self {
        bucket_ms: 3_600_000,
        n_buckets: 48,
    };

    /// For a period of that length: at most 62 buckets of a minute, an hour, a quarter or all of a day, a week, or so many
    /// weeks as are needed.
    pub fn for_period(period_ms: i64) -> Self {
        const MOST: i64 = 62;
        const DAY: i64 = 86_400_000;
        let widths = [60_000, 600_000, 3_600_000, DAY / 4, DAY, 7 * DAY];
        // The period may begin in the midst of a bucket, so it takes one more than fits.
        let n_buckets = |width: i64| period_ms.max(0) / width + 2;
        let fitting = widths.into_iter().find(|width| n_buckets(*width) <= MOST);
        let bucket_ms = fitting.unwrap_or_else(|| 7 * DAY * (n_buckets(7 * DAY) / MOST + 1));
        Self {
            bucket_ms,
            n_buckets: n_buckets(bucket_ms) as usize,
        }
    }
}

/// A bucket's figures.
#[derive(Debug, Clone, Default)]
struct Bucket {
    number: i64,
    cost: Cost,
    n_predicted: u64,
    predicted: Sum,
    escalated: u64,
    fallbacks: u64,
    errors: u64,
}

/// What a row adds to a bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) time_ms: i64,
    pub(crate) forecasts: &'a [Forecast],
    pub(crate) spent: f64,
    pub(crate) predicted: Option<f64>,
    pub(crate) path: Path,
    pub(crate) errors: u64,
}

/// A series of the newest buckets. Rows may come out of order, as long as they are not older than the ring is
/// long; a clock that is set back, or that was ahead for a while, costs the rows until that is noticed.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    resolution: Resolution,
    /// Bucket `number` lies at `number % n_buckets`.
    ring: Vec<Option<Bucket>>,
    newest: Option<i64>,
    late: u64,
    late_in_a_row: u32,
}

impl Timeline {
    pub(crate) fn new(resolution: Resolution) -> Self {
        Self {
            resolution,
            ring: vec![None; resolution.n_buckets],
            newest: None,
            late: 0,
            late_in_a_row: 0,
        }
    }

    pub(crate) fn resolution(&self) -> Resolution {
        self.resolution
    }

    pub(crate) fn add(&mut self, moment: &Moment<'_>) {
        let number = moment.time_ms.div_euclid(self.resolution.bucket_ms);
        if self.is_too_old(number) {
            self.late += 1;
            self.late_in_a_row += 1;
            if self.late_in_a_row < SET_BACK_AFTER {
                return;
            }
            self.set_back(number);
        }
        self.late_in_a_row = 0;
        self.newest = self.newest.max(Some(number));
        self.bucket(number).add(moment);
    }

    fn is_too_old(&self, number: i64) -> bool {
        self.newest
            .is_some_and(|newest| number <= newest.saturating_sub(self.ring.len() as i64))
    }

    /// Time goes on from here; what lies ahead of it is dropped.
    fn set_back(&mut self, newest: i64) {
        self.newest = Some(newest);
        self.ring.iter_mut().for_each(|bucket| {
            bucket.take_if(|bucket| bucket.number > newest);
        });
    }

    fn bucket(&mut self, number: i64) -> &mut Bucket {
        let at = number.rem_euclid(self.ring.len() as i64) as usize;
        let bucket = self.ring[at].get_or_insert_default();
        // Another number of the same place is a turn of the ring or more away.
        if bucket.number != number {
            *bucket = Bucket {
                number,
                ..Bucket::default()
            };
        }
        bucket
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.late += other.late;
        let newest = self.newest.max(other.newest);
        self.newest = newest;
        for bucket in other.ring.iter().flatten() {
            if self.is_too_old(bucket.number) {
                self.late += bucket.cost.requests;
            } else {
                self.bucket(bucket.number).merge(bucket);
            }
        }
    }

    pub(crate) fn costs_mut(&mut self) -> impl Iterator<Item = &mut Cost> {
        self.ring.iter_mut().flatten().map(|bucket| &mut bucket.cost)
    }

    /// Up to the bucket of a time, or to the newest. Buckets in which nothing happened are there with zeros.
    pub(crate) fn figures(&self, best: Option<&Best>, until_ms: Option<i64>) -> TimelineFigures {
        let last = until_ms
            .map(|ms| ms.div_euclid(self.resolution.bucket_ms))
            .or(self.newest);
        let points = last.map(|last| self.points(best, last)).unwrap_or_default();
        TimelineFigures {
            bucket_ms: self.resolution.bucket_ms,
            late: self.late,
            points,
        }
    }

    fn points(&self, best: Option<&Best>, last: i64) -> Vec<TimePoint> {
        let n = self.ring.len() as i64;
        let within = |bucket: &&Bucket| bucket.number <= last && bucket.number > last.saturating_sub(n);
        let first = self
            .ring
            .iter()
            .flatten()
            .filter(within)
            .map(|bucket| bucket.number)
            .min();
        let empty = Bucket::default();
        (first.unwrap_or(last)..=last)
            .map(|number| {
                let place = &self.ring[number.rem_euclid(n) as usize];
                let bucket = place
                    .as_ref()
                    .filter(|bucket| bucket.number == number)
                    .unwrap_or(&empty);
                bucket.figures(number.saturating_mul(self.resolution.bucket_ms), best)
            })
            .collect()
    }
}

impl Bucket {
    fn add(&mut self, moment: &Moment<'_>) {
        self.cost
            .add(moment.forecasts, moment.spent, moment.path != Path::Unanswered);
        if let Some(predicted) = moment.predicted {
            self.n_predicted += 1;
            self.predicted.add(predicted);
        }
        self.escalated += u64::from(moment.path == Path::Escalated);
        self.fallbacks += u64::from(moment.path == Path::Fallback);
        self.errors += moment.errors;
    }

    fn merge(&mut self, other: &Self) {
        self.cost.merge(&other.cost);
        self.n_predicted += other.n_predicted;
        self.predicted.merge(other.predicted);
        self.escalated += other.escalated;
        self.fallbacks += other.fallbacks;
        self.errors += other.errors;
    }

    fn figures(&self, from_ms: i64, best: Option<&Best>) -> TimePoint {
        let cost = self.cost.figures("", best);
        TimePoint {
            from_ms,
            requests: cost.requests,
            answered: cost.answered,
            spent_usd: cost.spent_usd,
            saved_usd: cost.saved.map(|saved| saved.saved_usd),
            predicted: self.predicted.mean(self.n_predicted),
            escalated: self.escalated,
            fallbacks: self.fallbacks,
            errors: self.errors,
        }
    }
}

#[cfg(test)]
mod tests;
