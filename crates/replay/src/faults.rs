//! What goes wrong, how often. Which calls it hits depends on the seed, the prompt, the model and the
//! how-manieth time the pair is asked for, and on nothing else: not on the order of calls.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest time that a setting may ask for: an hour.
const MAX_SECONDS: f64 = 3600.0;

/// Largest factor of false usage: more would not look true.
const MAX_FACTOR: f64 = 1000.0;

/// A thing that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// 429 without Retry-After.
    RateLimit,
    /// 429 with Retry-After.
    RetryAfter,
    /// 500.
    ServerError,
    /// No answer; the connection is held for `hang_s` and closed.
    Timeout,
    /// The connection breaks in the middle of the reply.
    CutStream,
    /// The JSON of the reply, or of an event in its middle, ends early.
    MalformedJson,
    /// 200 with a web page.
    Html,
    /// A whole reply whose usage contradicts itself.
    WrongUsage,
    /// A whole reply whose usage could be true and is not: `usage_factor` times too many tokens.
    FalseUsage,
    /// A whole reply in twenty pieces over `drip_s`.
    SlowDrip,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::RateLimit,
        Self::RetryAfter,
        Self::ServerError,
        Self::Timeout,
        Self::CutStream,
        Self::MalformedJson,
        Self::Html,
        Self::WrongUsage,
        Self::FalseUsage,
        Self::SlowDrip,
    ];

    /// As typed and counted.
    pub fn name(self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::RetryAfter => "retry_after",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::CutStream => "cut_stream",
            Self::MalformedJson => "malformed_json",
            Self::Html => "html",
            Self::WrongUsage => "wrong_usage",
            Self::FalseUsage => "false_usage",
            Self::SlowDrip => "slow_drip",
        }
    }

    /// Whether the client still gets the whole reply.
    pub(crate) fn leaves_whole(self) -> bool {
        matches!(self, Self::WrongUsage | Self::FalseUsage | Self::SlowDrip)
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Shares of calls by fault, and how faults behave. The body of `POST /replay/faults`; what it leaves
/// out has its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Which calls are hit.
    pub seed: u64,
    /// Share of calls by fault; together at most 1.
    pub shares: BTreeMap<FaultKind, f64>,
    /// What Retry-After says, in seconds.
    pub retry_after_s: u32,
    /// How long a time-out hangs.
    pub hang_s: f64,
    /// How long a slow drip takes.
    pub drip_s: f64,
    /// By what false usage multiplies tokens.
    pub usage_factor: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            seed: 0,
            shares: BTreeMap::new(),
            retry_after_s: 1,
            hang_s: 600.0,
            drip_s: 2.0,
            usage_factor: 10.0,
        }
    }
}

impl Faults {
    /// These faults, if they can be.
    pub fn checked(self) -> Result<Self, String> {
        if let Some((kind, share)) = self.shares.iter().find(|(_, share)| !(0.0..=1.0).contains(*share)) {
            return Err(format!("the share of {} is {share}; it must be 0 to 1", kind.name()));
        }
        let sum: f64 = self.shares.values().sum();
        if sum > 1.0 + 1e-9 {
            return Err(format!(
                "the shares add up to {sum}; a call has one fault, so at most to 1"
            ));
        }
        for (key, seconds) in [("hang_s", self.hang_s), ("drip_s", self.drip_s)] {
            if !(0.0..=MAX_SECONDS).contains(&seconds) {
                return Err(format!("`{key}` is {seconds}; it must be 0 to {MAX_SECONDS} seconds"));
            }
        }
        let factor = self.usage_factor;
        if !(0.0..=MAX_FACTOR).contains(&factor) {
            return Err(format!("`usage_factor` is {factor}; it must be 0 to {MAX_FACTOR}"));
        }
        Ok(self)
    }

    /// The fault of a call, if it has one.
    pub(crate) fn draw(&self, prompt: u64, model: &str, attempt: u32) -> Option<FaultKind> {
        let mut left = self.chance(prompt, model, attempt);
        self.shares.iter().find_map(|(kind, share)| {
            left -= share;
            (left < 0.0).then_some(*kind)
        })
    }

    /// A number in [0, 1).
    fn chance(&self, prompt: u64, model: &str, attempt: u32) -> f64 {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(prompt.to_be_bytes());
        hash.update(attempt.to_be_bytes());
        hash.update(model);
        let hash: [u8; 32] = hash.finalize().into();
        let bits = u64::from_be_bytes(hash[..8].try_into().expect("a SHA-256 has 32 bytes")) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn hang(&self) -> Duration {
        Duration::from_secs_f64(self.hang_s)
    }

    pub(crate) fn drip(&self) -> Duration {
        Duration::from_secs_f64(self.drip_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(shares: &[(FaultKind, f64)]) -> Faults {
        Faults {
            shares: shares.iter().copied().collect(),
            ..Faults::default()
        }
    }

    #[test]
    fn names_lead_back() {
        for kind in FaultKind::ALL {
            assert_eq!(FaultKind::from_name(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn shares_are_kept_and_draws_repeat() {
        let faults = faults(&[(FaultKind::Html, 0.1), (FaultKind::Timeout, 0.2)]);
        let draws = || {
            (0..10_000)
                .map(|prompt| faults.draw(prompt, "m", 0))
                .collect::<Vec<_>>()
        };
        let count = |kind| draws().iter().filter(|fault| **fault == Some(kind)).count();
        // Five standard deviations.
        assert!(
            count(FaultKind::Html).abs_diff(1000) < 150,
            "{}",
            count(FaultKind::Html)
        );
        assert!(
            count(FaultKind::Timeout).abs_diff(2000) < 200,
            "{}",
            count(FaultKind::Timeout)
        );
        assert_eq!(draws(), draws());
    }

    #[test]
    fn seed_model_and_attempt_change_the_draw() {
        let base = faults(&[(FaultKind::Html, 0.5)]);
        let seeded = Faults {
            seed: 1,
            ..base.clone()
        };
        let draw =
            |faults: &Faults, model, attempt| (0..64).map(|p| faults.draw(p, model, attempt)).collect::<Vec<_>>();
        let all = [
            draw(&base, "m", 0),
            draw(&base, "n", 0),
            draw(&base, "m", 1),
            draw(&seeded, "m", 0),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|other| other != one));
        }
    }

    #[test]
    fn all_and_nothing() {
        let all = faults(&[(FaultKind::Html, 1.0)]);
        assert!((0..1000).all(|prompt| all.draw(prompt, "m", 0).is_some()));
        assert!((0..1000).all(|prompt| Faults::default().draw(prompt, "m", 0).is_none()));
    }

    #[test]
    fn what_cannot_be() {
        let long = Faults {
            hang_s: f64::NAN,
            ..Faults::default()
        };
        let large = Faults {
            usage_factor: 1e9,
            ..Faults::default()
        };
        let cases = [
            (large, "`usage_factor` is 1000000000"),
            (faults(&[(FaultKind::Html, 1.5)]), "the share of html is 1.5"),
            (faults(&[(FaultKind::Html, f64::NAN)]), "html"),
            (
                faults(&[(FaultKind::Html, 0.7), (FaultKind::Timeout, 0.7)]),
                "add up to 1.4",
            ),
            (long, "`hang_s`"),
        ];
        for (faults, part) in cases {
            let message = faults.checked().unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
