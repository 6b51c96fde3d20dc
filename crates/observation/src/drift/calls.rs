//! Calls by tier: price, length of replies against their forecasts, latency.

use std::collections::BTreeMap;

use tiercast_records::journal::{Call, Label, Served};

use super::chances;
use super::finding::{Aspect, Figure, Finding, Moment, Severity, What};
use super::labels::Labels;
use super::price::{PriceChange, PriceWatch, Usage};
use super::rank::{Needed, Ranks, Shift};
use super::settings::Settings;

/// Outcome of a call whose reply is whole.
const COMPLETE: &str = "complete";
/// From this factor on, latency is an alarm.
const ALARMING: f64 = 3.0;

/// Watches calls.
#[derive(Debug)]
pub(super) struct Calls {
    labels: Labels,
    by_tier: BTreeMap<Label, Tier>,
    n_calls: u64,
}

#[derive(Debug, Default)]
struct Tier {
    /// Of calls without a cached part, and of those with one: caches have prices of their own.
    prices: [PriceWatch; 2],
    length: Ranks,
    first_token: Ranks,
    total: Ranks,
}

/// What all tests of a call need.
struct Context<'a> {
    tier: Label,
    at: Moment,
    n_calls: u64,
    settings: &'a Settings,
}

impl Calls {
    pub(super) fn new(n_labels: usize) -> Self {
        Self {
            labels: Labels::new(n_labels),
            by_tier: BTreeMap::new(),
            n_calls: 0,
        }
    }

    /// Another checkpoint predicts lengths.
    pub(super) fn begin_anew(&mut self) {
        self.by_tier.values_mut().for_each(|tier| tier.length.begin_anew());
    }

    /// Takes the calls of a request; `is_current` where the era's checkpoint predicted it.
    pub(super) fn take(&mut self, row: &Served, is_current: bool, at: Moment, settings: &Settings) -> Vec<Finding> {
        let mut found = Vec::new();
        for call in &row.calls {
            self.n_calls += 1;
            let context = Context {
                tier: self.labels.known(&call.tier),
                at,
                n_calls: self.n_calls,
                settings,
            };
            let forecast = row.tiers.iter().find(|expected| expected.tier == call.tier);
            let forecast = forecast
                .filter(|_| is_current)
                .map(|expected| f64::from(expected.output_tokens));
            let tier = self.by_tier.entry(context.tier.clone()).or_default();
            found.extend(tier.first_token(call, &context));
            if &*call.outcome == COMPLETE {
                found.extend(tier.total(call, &context));
                if !call.is_estimated {
                    found.extend(tier.price(call, &context));
                    found.extend(forecast.and_then(|forecast| tier.length(call, forecast, &context)));
                }
            }
        }
        found
    }
}

impl Tier {
    fn price(&mut self, call: &Call, context: &Context<'_>) -> Option<Finding> {
        let usage = Usage {
            tokens: [
                call.input_tokens - call.cached_tokens,
                call.cached_tokens,
                call.output_tokens,
            ],
            cost_usd: call.cost_usd,
        };
        let chance = 1.0 / context.evidence(chances::PRICE);
        let watch = &mut self.prices[usize::from(call.cached_tokens > 0.0)];
        let change = watch.observe(usage, context.at, context.settings.price_tolerance, chance)?;
        Some(context.price(&change))
    }

    fn length(&mut self, call: &Call, forecast: f64, context: &Context<'_>) -> Option<Finding> {
        // A token more, so that an empty reply has a logarithm.
        let ratio = (call.output_tokens + 1.0) / (forecast + 1.0);
        let needed = context.needed(chances::LENGTH, context.settings.length_factor, 1.0);
        let shift = self.length.observe(ratio, context.at, &needed)?;
        Some(context.length(&shift))
    }

    fn first_token(&mut self, call: &Call, context: &Context<'_>) -> Option<Finding> {
        let latency = f64::from(call.first_token_ms?);
        context.latency(Aspect::FirstToken, &mut self.first_token, latency, chances::FIRST_TOKEN)
    }

    fn total(&mut self, call: &Call, context: &Context<'_>) -> Option<Finding> {
        context.latency(Aspect::Total, &mut self.total, f64::from(call.total_ms), chances::TOTAL)
    }
}

impl Context<'_> {
    fn evidence(&self, share: f64) -> f64 {
        chances::evidence(share, self.n_calls, self.at.request, self.settings)
    }

    fn needed(&self, share: f64, factor: f64, granted: f64) -> Needed {
        Needed {
            n_first: self.settings.baseline_calls,
            evidence: self.evidence(share),
            factor,
            granted,
        }
    }

    fn what(&self) -> What {
        What {
            tier: Some(self.tier.clone()),
            ..What::default()
        }
    }

    fn finding(&self, aspect: Aspect, severity: Severity, name: &'static str, factor: f64, since: Moment) -> Finding {
        let figure = Figure {
            name,
            value: factor,
            unit: "times",
        };
        Finding::new(aspect, severity, self.what(), figure, since, self.at)
    }

    fn price(&self, change: &PriceChange) -> Finding {
        let (tier, [prompt, reply]) = (&self.tier, change.before);
        let says = if change.factor.is_finite() {
            format!(
                "the same tokens of tier `{tier}` cost {:.2} times what they did (before: {prompt:.2} US dollars per million \
                 tokens of the prompt, {reply:.2} of the reply)",
                change.factor
            )
        } else {
            format!("tokens of tier `{tier}` cost something, and were free before")
        };
        let do_this = format!(
            "compare the provider's price list with the prices of [tiers.\"{tier}\"] in tiercast.toml and correct them: \
             forecasts of cost and budgets go by those; nothing is to be done if you changed them"
        );
        // JSON has no infinity.
        let factor = if change.factor.is_finite() {
            change.factor
        } else {
            f64::MAX
        };
        let name = "cost of the same tokens";
        self.finding(Aspect::Price, Severity::Alarm, name, factor, change.since)
            .with_words(says, do_this)
    }

    fn length(&self, shift: &Shift) -> Finding {
        let (aspect, word) = if shift.factor > 1.0 {
            (Aspect::Longer, "longer")
        } else {
            (Aspect::Shorter, "shorter")
        };
        let tier = &self.tier;
        let says = format!(
            "replies of tier `{tier}` became {word}: {:.2} times the tokens that they had, against their forecasts",
            shift.factor
        );
        let do_this = format!(
            "costs of `{tier}` are forecast {}: collect replies of it anew and calibrate on them (tiercast collect, tiercast \
             calibrate), or limit max_tokens",
            if shift.factor > 1.0 { "too low" } else { "too high" }
        );
        let name = "median length by forecast, against before";
        self.finding(aspect, Severity::Warning, name, shift.factor, shift.since)
            .with_words(says, do_this)
    }

    fn latency(&self, aspect: Aspect, ranks: &mut Ranks, latency_ms: f64, share: f64) -> Option<Finding> {
        // Load comes and goes, so half of the factor, in logarithms, is no evidence.
        let factor = self.settings.latency_factor;
        let needed = self.needed(share, factor, factor.sqrt());
        let shift = ranks.observe(latency_ms, self.at, &needed)?;
        // That it became faster needs no mending.
        if shift.factor < 1.0 {
            return None;
        }
        let (tier, what) = (
            &self.tier,
            if aspect == Aspect::FirstToken {
                "the first token"
            } else {
                "the whole reply"
            },
        );
        let says = format!(
            "{what} of tier `{tier}` takes {:.1} times as long as at first, by the median",
            shift.factor
        );
        let do_this = format!(
            "ask the provider of `{tier}` or look at its load; requests with a latency target avoid it by themselves, others \
             do when it is excluded or its endpoint replaced in tiercast.toml"
        );
        let severity = if shift.factor >= ALARMING {
            Severity::Alarm
        } else {
            Severity::Warning
        };
        let name = "median latency against before";
        Some(
            self.finding(aspect, severity, name, shift.factor, shift.since)
                .with_words(says, do_this),
        )
    }
}
