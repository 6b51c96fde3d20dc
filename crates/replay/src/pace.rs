//! How long a reply takes.
//!
//! A file has one latency per reply, if any. Where it has none, a reply takes 0.2 s and 50 tokens a
//! second, as a small hosted model does. A streamed reply begins after a fifth of its time and then
//! comes evenly; both are conventions, nothing recorded says more.

use std::time::Duration;

use crate::library::Recorded;

/// Before the first token, where no latency is recorded.
const START_S: f64 = 0.2;

/// Tokens a second, where no latency is recorded.
const TOKENS_PER_S: f64 = 50.0;

/// Characters to a token, where no tokens are recorded.
const CHARACTERS_PER_TOKEN: f64 = 4.0;

/// Part of the time before the first piece of a stream.
const FIRST_SHARE: f64 = 0.2;

/// At which speed to replay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As recorded, so many times faster.
    Recorded {
        /// 1 is as recorded.
        speed: f64,
    },
    /// Without waiting.
    Instant,
}

impl Pace {
    /// Time to the last byte.
    pub(crate) fn whole(self, recorded: &Recorded) -> Duration {
        match self {
            Self::Instant => Duration::ZERO,
            Self::Recorded { speed } => Duration::from_secs_f64(latency_s(recorded) / speed),
        }
    }

    /// Time to the first piece of a stream, and between its pieces.
    pub(crate) fn pieces(self, recorded: &Recorded, n: usize) -> (Duration, Duration) {
        let whole = self.whole(recorded);
        let gaps = u32::try_from(n.saturating_sub(1)).unwrap_or(u32::MAX).max(1);
        (whole.mul_f64(FIRST_SHARE), whole.mul_f64(1.0 - FIRST_SHARE) / gaps)
    }
}

fn latency_s(recorded: &Recorded) -> f64 {
    recorded.latency_s.unwrap_or_else(|| {
        let counted = recorded.n_characters() as f64 / CHARACTERS_PER_TOKEN;
        START_S + recorded.output_tokens.map_or(counted, f64::from) / TOKENS_PER_S
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_derived_scaled_and_none() {
        let reply = |latency_s, output_tokens| Recorded {
            text: Some("a".repeat(400).into()),
            latency_s,
            output_tokens,
            ..Recorded::default()
        };
        let recorded = Pace::Recorded { speed: 1.0 };
        let cases = [
            (recorded, reply(Some(3.0), Some(100)), 3.0),
            (recorded, reply(None, Some(100)), 2.2),
            (recorded, reply(None, None), 2.2),
            (Pace::Recorded { speed: 10.0 }, reply(Some(3.0), None), 0.3),
            (Pace::Instant, reply(Some(3.0), None), 0.0),
        ];
        for (pace, reply, seconds) in cases {
            assert_eq!(pace.whole(&reply), Duration::from_secs_f64(seconds));
            let (first, gap) = pace.pieces(&reply, 9);
            let sum = (first + 8 * gap).as_secs_f64();
            assert!((sum - seconds).abs() < 1e-6, "{sum} and not {seconds}");
        }
    }
}
