//! How long things took: quantile sketches that can be merged.

use sketches_ddsketch::{Config, DDSketch};

use super::figures::Quantiles;

/// Shortest and longest wait that are told apart, milliseconds: a microsecond, and eleven days. Between them lie
/// fewer bins than a sketch has room for, so none is ever joined and merging is exact.
const SHORTEST_MS: f64 = 1e-3;
const LONGEST_MS: f64 = 1e9;

/// Waits in milliseconds; quantiles are right within 1 % (Masson et al. 2019, "DDSketch").
#[derive(Clone)]
pub(crate) struct Waits(DDSketch);

impl Default for Waits {
    fn default() -> Self {
        Self(DDSketch::new(Config::new(0.01, 2048, SHORTEST_MS)))
    }
}

impl std::fmt::Debug for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Waits").field(&self.0.count()).finish()
    }
}

impl Waits {
    /// A wait; one that is no number, or negative, is none.
    #[inline]
    pub(crate) fn add(&mut self, ms: f32) {
        if ms >= 0.0 {
            self.0.add(f64::from(ms).min(LONGEST_MS));
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let merged = self.0.merge(&other.0);
        debug_assert!(merged.is_ok(), "all sketches have one configuration");
    }

    pub(crate) fn figures(&self) -> Option<Quantiles> {
        let at = |level: f64| self.0.quantile(level).ok().flatten();
        Some(Quantiles {
            n: self.0.count() as u64,
            p50: at(0.5)?,
            p95: at(0.95)?,
            p99: at(0.99)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_a_hundredth_in_parts_and_whole() {
        let (mut whole, mut odd, mut even) = (Waits::default(), Waits::default(), Waits::default());
        for i in 0..=1000_u16 {
            let ms = 0.5 * f32::from(i);
            whole.add(ms);
            if i % 2 == 0 { &mut even } else { &mut odd }.add(ms);
        }
        odd.merge(&even);
        let found = odd.figures().unwrap();
        assert_eq!(Some(found), whole.figures());
        assert!(
            (found.p50 / 250.0 - 1.0).abs() < 0.011 && (found.p95 / 475.0 - 1.0).abs() < 0.011,
            "{found:?}"
        );
    }

    #[test]
    fn what_is_no_wait_is_left_out() {
        let mut waits = Waits::default();
        [f32::NAN, -1.0].into_iter().for_each(|ms| waits.add(ms));
        assert_eq!(waits.figures(), None);
        waits.add(f32::INFINITY);
        assert!(waits.figures().unwrap().p99.is_finite());
    }
}
