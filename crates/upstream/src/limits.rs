//! Requests and tokens per minute, and a pause that holds for the whole tier.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_mins(1);

/// At most so many units in any minute.
///
/// A bucket that refills at rate r and holds b lets r + b pass in a minute: both together make the
/// limit, so an endpoint that counts by the minute never sees more.
#[derive(Debug)]
pub(crate) struct Rate {
    limiter: DefaultDirectRateLimiter,
    burst: NonZeroU32,
    clock: DefaultClock,
    /// Waiting calls queue here, so that one looks at the bucket and large ones are not overtaken.
    turn: tokio::sync::Mutex<()>,
}

impl Rate {
    /// `share` of the limit may go at once: a second's worth for requests, more for tokens, since one
    /// call takes many.
    pub(crate) fn per_minute(limit: NonZeroU32, share: u32) -> Self {
        let burst = NonZeroU32::new(limit.get() / share).unwrap_or(NonZeroU32::MIN);
        let refill = (limit.get() - burst.get()).max(1);
        let quota = Quota::with_period(MINUTE / refill)
            .expect("a minute over a u32 is at least a dozen nanoseconds")
            .allow_burst(burst);
        Self {
            limiter: RateLimiter::direct(quota),
            burst,
            clock: DefaultClock::default(),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// Waits until `units` may pass. More than the bucket holds are taken a bucket at a time.
    pub(crate) async fn wait(&self, units: u32) {
        let mut left = units;
        let _turn = self.turn.lock().await;
        while let Some(part) = NonZeroU32::new(left.min(self.burst.get())) {
            match self.limiter.check_n(part) {
                Ok(Ok(())) => left -= part.get(),
                Ok(Err(not_yet)) => tokio::time::sleep(not_yet.wait_time_from(self.clock.now())).await,
                Err(_) => unreachable!("a part is no larger than the bucket"),
            }
        }
    }
}

/// When the endpoint said "not before": one call was told, all wait.
#[derive(Debug, Default)]
pub(crate) struct Pause(Mutex<Option<Instant>>);

impl Pause {
    pub(crate) fn at_least(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *end = Some(end.map_or(until, |end| end.max(until)));
    }

    pub(crate) async fn over(&self) {
        while let Some(end) = self.end() {
            tokio::time::sleep_until(end).await;
        }
    }

    #[cfg(test)]
    pub(crate) fn is_over(&self) -> bool {
        self.end().is_none()
    }

    fn end(&self) -> Option<Instant> {
        let mut end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *end = end.filter(|end| *end > Instant::now());
        *end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(limit: u32, share: u32) -> Rate {
        Rate::per_minute(NonZeroU32::new(limit).unwrap(), share)
    }

    #[tokio::test]
    async fn what_fits_passes_at_once_and_the_rest_waits() {
        // 6,000 a minute, 100 at once: 110 take about the time of ten, 0.1 s.
        let rate = rate(6000, 60);
        let start = std::time::Instant::now();
        rate.wait(100).await;
        assert!(start.elapsed() < Duration::from_millis(50));
        rate.wait(10).await;
        assert!(start.elapsed() >= Duration::from_millis(90), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn more_than_the_bucket_holds_passes_in_parts() {
        let rate = rate(60_000, 600);
        let start = std::time::Instant::now();
        rate.wait(300).await;
        assert!(start.elapsed() >= Duration::from_millis(190), "{:?}", start.elapsed());
    }

    #[test]
    fn least_and_largest_limits_can_be_set() {
        for limit in [1, 2, 59, 60, u32::MAX] {
            rate(limit, 60);
            rate(limit, 6);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_pause_holds() {
        let pause = Pause::default();
        let start = Instant::now();
        pause.over().await;
        pause.at_least(Duration::from_secs(5));
        pause.at_least(Duration::from_secs(2));
        pause.over().await;
        assert!(start.elapsed() >= Duration::from_secs(5));
    }
}
