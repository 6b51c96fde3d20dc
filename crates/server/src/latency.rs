//! How long the tiers take, as seen by live calls of the last minutes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use sketches_ddsketch::{Config, DDSketch};

/// How long calls are remembered, at least; at most twice as long.
const WINDOW: Duration = Duration::from_mins(5);

/// Calls below which the configuration's word stands: with fewer, a 95th percentile is one call's luck.
pub(crate) const LEAST_CALLS: usize = 20;

/// The two waits of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wait {
    /// Until the first piece of the reply, of a streamed one.
    FirstToken,
    /// Until its end.
    Total,
}

/// Two windows of quantile sketches (Masson et al. 2019, "DDSketch"), relative error 1 %.
struct Windows {
    now: DDSketch,
    before: DDSketch,
    since: Instant,
}

impl Windows {
    fn new(at: Instant) -> Self {
        Self {
            now: DDSketch::new(Config::defaults()),
            before: DDSketch::new(Config::defaults()),
            since: at,
        }
    }

    fn turn(&mut self, at: Instant) {
        let age = at.saturating_duration_since(self.since);
        if age >= 2 * WINDOW {
            *self = Self::new(at);
        } else if age >= WINDOW {
            self.before = std::mem::replace(&mut self.now, DDSketch::new(Config::defaults()));
            self.since = at;
        }
    }

    fn p95_s(&mut self, at: Instant) -> Option<f64> {
        self.turn(at);
        let mut all = self.before.clone();
        // Both have the same configuration, so they can be merged.
        all.merge(&self.now).ok()?;
        let value = all.quantile(0.95).ok()??;
        (all.count() >= LEAST_CALLS).then_some(value)
    }
}

/// Sketches of all tiers, by name: they outlive a reload. Times are monotonic, so a clock that jumps
/// does not matter.
#[derive(Default)]
pub(crate) struct Latencies(Mutex<HashMap<(String, bool), Windows>>);

impl Latencies {
    /// A call of `tier` took `seconds`.
    pub(crate) fn record(&self, tier: &str, wait: Wait, seconds: f64, at: Instant) {
        self.with(tier, wait, at, |windows| {
            windows.turn(at);
            windows.now.add(seconds);
        });
    }

    /// The 95th percentile, where enough calls were seen.
    pub(crate) fn p95_s(&self, tier: &str, wait: Wait, at: Instant) -> Option<f64> {
        self.with(tier, wait, at, |windows| windows.p95_s(at))
    }

    fn with<T>(&self, tier: &str, wait: Wait, at: Instant, work: impl FnOnce(&mut Windows) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tier.to_owned(), wait == Wait::FirstToken);
        work(all.entry(key).or_insert_with(|| Windows::new(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_calls_count_and_old_ones_do_not() {
        let (latencies, start) = (Latencies::default(), Instant::now());
        let p95 = |at| latencies.p95_s("a", Wait::Total, at);
        for index in 0..LEAST_CALLS - 1 {
            latencies.record("a", Wait::Total, index as f64, start);
        }
        assert_eq!(p95(start), None, "too few");
        latencies.record("a", Wait::Total, 19.0, start);
        assert!((p95(start).unwrap() - 18.0).abs() < 0.4);
        assert_eq!(latencies.p95_s("a", Wait::FirstToken, start), None);
        let later = start + WINDOW;
        (0..100).for_each(|_| latencies.record("a", Wait::Total, 1.0, later));
        assert!(p95(later).unwrap() > 10.0, "both windows count");
        assert!(
            (p95(later + WINDOW).unwrap() - 1.0).abs() < 0.05,
            "the first is forgotten"
        );
        assert_eq!(p95(later + 4 * WINDOW), None, "all are");
    }
}
