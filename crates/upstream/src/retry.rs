//! How long to wait before the next attempt.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Waiting begins with this and doubles.
const FIRST: Duration = Duration::from_millis(500);

/// And ends with this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// An endpoint that asks for a longer wait gets none: the call fails and says when to come again.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_mins(2);

/// The wait before attempt `failures + 1`: between half and all of 0.5 s, 1 s, 2 s ... 30 s, by
/// `chance` in [0, 1), so that calls that failed together do not come again together.
pub(crate) fn backoff(failures: usize, chance: f64) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let whole = (FIRST * 2_u32.pow(doublings)).min(LONGEST_BACKOFF);
    whole.mul_f64(0.5 + chance / 2.0)
}

/// A number in [0, 1) from the keys that the system gives to hash maps. It spreads waits and reaches
/// no result, so nothing is lost by its having no seed.
pub(crate) fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// The wait that an answer asks for: milliseconds, seconds or a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |text: &str| text.parse().ok().filter(|number: &f64| (0.0..1e9).contains(number));
    if let Some(milliseconds) = text("retry-after-ms").and_then(number) {
        return Some(Duration::from_secs_f64(milliseconds / 1e3));
    }
    let value = text(RETRY_AFTER.as_str())?;
    if let Some(seconds) = number(value) {
        return Some(Duration::from_secs_f64(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &'static str, value: &str) -> Option<Duration> {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        retry_after(&headers, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
    }

    #[test]
    fn seconds_milliseconds_and_dates() {
        let seconds = |s| Some(Duration::from_secs_f64(s));
        let cases = [
            ("retry-after", "3", seconds(3.0)),
            ("retry-after", " 0.25 ", seconds(0.25)),
            ("retry-after", "0", seconds(0.0)),
            ("retry-after-ms", "1500", seconds(1.5)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT", seconds(10.0)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT", seconds(0.0)),
            ("retry-after", "soon", None),
            ("retry-after", "-3", None),
            ("retry-after", "NaN", None),
            ("retry-after", "1e300", None),
            ("x-other", "3", None),
        ];
        for (name, value, expected) in cases {
            assert_eq!(asked(name, value), expected, "{name}: {value}");
        }
    }

    #[test]
    fn waits_double_up_to_half_a_minute() {
        let cases = [(1, 500), (2, 1000), (4, 4000), (7, 30_000), (1_000_000, 30_000)];
        for (failures, most_ms) in cases {
            let most = Duration::from_millis(most_ms);
            assert_eq!(backoff(failures, 0.0), most / 2);
            assert!(backoff(failures, 0.999) < most && backoff(failures, 0.999) > most.mul_f64(0.99));
        }
    }

    #[test]
    fn chance_spreads() {
        let numbers: Vec<f64> = (0..1000).map(|_| chance()).collect();
        let mean = numbers.iter().sum::<f64>() / 1000.0;
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        assert!((0.4..0.6).contains(&mean), "{mean}");
    }
}
