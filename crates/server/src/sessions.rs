//! Which tier's prompt cache holds a session's conversation, so that leaving it has its price.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tiercast_routing::catalog::Catalog;
use tiercast_routing::decide::Forecast;

/// Sessions that are remembered; the longest unused is forgotten first.
const MOST_SESSIONS: usize = 100_000;

/// Longest session id that is kept.
pub(crate) const LONGEST_ID: usize = 200;

#[derive(Debug, Clone, PartialEq)]
struct Warm {
    tier: String,
    /// Tokens of the conversation that the provider's cache can hold.
    tokens: f64,
    at: Instant,
}

/// The last call of every session.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Warm>>);

impl Sessions {
    /// A call of this session went to `tier` with a conversation of so many tokens.
    pub(crate) fn record(&self, session: &str, tier: &str, tokens: f64, at: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_SESSIONS && !all.contains_key(session) {
            // Rare and linear: half go at once.
            let mut ages: Vec<Instant> = all.values().map(|warm| warm.at).collect();
            let (_, middle, _) = ages.select_nth_unstable(MOST_SESSIONS / 2);
            let middle = *middle;
            all.retain(|_, warm| warm.at > middle);
        }
        let tier = tier.to_owned();
        all.insert(session.to_owned(), Warm { tier, tokens, at });
    }

    /// Adds to the cost that ranks each tier what it takes to fill that tier's cache with the
    /// conversation. The tier whose cache is warm is spared that; how much it matters is a matter of
    /// prices alone, so a session stays where staying is cheaper and leaves where it is not.
    pub(crate) fn price(
        &self,
        session: &str,
        catalog: &Catalog,
        forecasts: &mut [Forecast],
        lasts: Duration,
        now: Instant,
    ) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let warm = all
            .get(session)
            .filter(|warm| now.saturating_duration_since(warm.at) <= lasts);
        let Some(warm) = warm else { return };
        for (tier, forecast) in catalog.tiers().iter().zip(forecasts) {
            // No more than what the request brings along is in any cache.
            let context = (forecast.input_tokens - forecast.ask_input_tokens).max(0.0);
            let saving = tier.cache_saving_usd(warm.tokens.min(context));
            if tier.name == warm.tier {
                forecast.cost_usd -= saving;
            } else {
                forecast.ask_cost_usd += saving;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tiercast_routing::catalog::{Capabilities, Tier};
    use tiercast_routing::distribution::QualityDistribution;

    use super::*;

    fn catalog() -> Catalog {
        let tier = |name: &str, price: f64, cached| Tier {
            name: name.to_owned(),
            class: 2,
            input_usd_per_mtok: price,
            output_usd_per_mtok: price,
            cached_input_usd_per_mtok: cached,
            context_window: None,
            capabilities: Capabilities::default(),
            latency_p95_s: None,
        };
        Catalog::new(vec![tier("dear", 2.0, Some(0.2)), tier("cheap", 1.0, Some(0.1))]).unwrap()
    }

    fn forecasts(context: f64) -> Vec<Forecast> {
        let of = |tier: &Tier| Forecast {
            quality: QualityDistribution::two_point(0.8),
            input_tokens: 100.0 + context,
            ask_input_tokens: 100.0,
            output_tokens: 100.0,
            cost_usd: tier.cost_usd(100.0 + context, 100.0),
            ask_cost_usd: tier.cost_usd(100.0, 100.0),
            latency_p95_s: None,
        };
        catalog().tiers().iter().map(of).collect()
    }

    /// Whether a session that is warm at the dear tier stays there.
    fn stays(context: f64, warm: f64, seconds: u64) -> bool {
        let (sessions, start) = (Sessions::default(), Instant::now());
        sessions.record("s", "dear", warm, start);
        let mut forecasts = forecasts(context);
        let now = start + Duration::from_secs(seconds);
        sessions.price("s", &catalog(), &mut forecasts, Duration::from_mins(5), now);
        forecasts[0].ask_cost_usd < forecasts[1].ask_cost_usd
    }

    #[test]
    fn staying_is_priced_and_not_absolute() {
        assert!(!stays(0.0, 0.0, 0), "nothing is cached");
        assert!(
            !stays(100.0, 100.0, 0),
            "filling the other cache costs less than the dearer tier"
        );
        assert!(stays(10_000.0, 10_000.0, 0));
        assert!(!stays(10_000.0, 10_000.0, 301), "the cache is cold by now");
        assert!(
            !stays(100.0, 10_000.0, 0),
            "what the request does not bring is not cached"
        );
    }

    #[test]
    fn the_longest_unused_are_forgotten() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        for index in 0..=MOST_SESSIONS as u64 {
            sessions.record(&index.to_string(), "dear", 1.0, start + Duration::from_millis(index));
        }
        let all = sessions.0.lock().unwrap();
        assert!(all.len() <= MOST_SESSIONS / 2 + 1 && all.contains_key(&MOST_SESSIONS.to_string()));
        assert!(!all.contains_key("0"));
    }
}
