//! Tiers and the catalog of one deployment.

use serde::{Deserialize, Serialize};

/// What a tier can be asked for beside text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capabilities {
    /// Accepts tool definitions.
    pub tools: bool,
    /// Keeps to a JSON schema in the reply.
    pub json_schema: bool,
    /// Reads images.
    pub vision: bool,
}

impl Default for Capabilities {
    /// Tools and JSON schema are the rule today; vision has to be declared.
    fn default() -> Self {
        Self {
            tools: true,
            json_schema: true,
            vision: false,
        }
    }
}

/// A routable target: a model behind an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Name as in the outcome rows.
    pub name: String,
    /// 1 heavyweight reasoner, 2 mid generalist, 3 lightweight, 4 domain-finetuned vertical.
    pub class: u8,
    /// US dollars per million input tokens.
    pub input_usd_per_mtok: f64,
    /// US dollars per million output tokens.
    pub output_usd_per_mtok: f64,
    /// US dollars per million input tokens that the provider's prompt cache holds, where it charges
    /// less for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input_usd_per_mtok: Option<f64>,
    /// Largest number of tokens of prompt and reply together, where known.
    #[serde(default)]
    pub context_window: Option<u32>,
    /// What it can be asked for.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// 95th percentile of the total latency in seconds before any live observation, where known.
    #[serde(default)]
    pub latency_p95_s: Option<f64>,
}

impl Tier {
    /// Cost in US dollars of a call with these token counts.
    pub fn cost_usd(&self, input_tokens: f64, output_tokens: f64) -> f64 {
        (input_tokens * self.input_usd_per_mtok + output_tokens * self.output_usd_per_mtok) / 1e6
    }

    /// What is saved on input tokens that the provider's prompt cache holds, US dollars.
    pub fn cache_saving_usd(&self, cached_tokens: f64) -> f64 {
        let cached_price = self.cached_input_usd_per_mtok.unwrap_or(self.input_usd_per_mtok);
        cached_tokens * (self.input_usd_per_mtok - cached_price) / 1e6
    }
}

/// All tiers of one deployment: at least one, names unique, prices finite and non-negative.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Tier>", into = "Vec<Tier>")]
pub struct Catalog {
    tiers: Vec<Tier>,
}

impl Catalog {
    /// Checks the tiers; the error names the tier and the field.
    pub fn new(tiers: Vec<Tier>) -> Result<Self, InvalidCatalog> {
        if tiers.is_empty() {
            return Err(InvalidCatalog("a catalog needs at least one tier".to_owned()));
        }
        for (tier_idx, tier) in tiers.iter().enumerate() {
            check(tier)?;
            if tiers[..tier_idx].iter().any(|earlier| earlier.name == tier.name) {
                return Err(InvalidCatalog(format!("tier `{}` is named twice", tier.name)));
            }
        }
        Ok(Self { tiers })
    }

    /// The tiers, in the order of the predictor's outputs.
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// Position of the tier that is safe where nothing is known: that with the highest price of a
    /// million tokens in and out together.
    pub fn dearest(&self) -> usize {
        let price = |tier: &Tier| tier.input_usd_per_mtok + tier.output_usd_per_mtok;
        let ranked = self.tiers.iter().enumerate();
        let dearest = ranked.max_by(|a, b| price(a.1).total_cmp(&price(b.1)).then(b.0.cmp(&a.0)));
        dearest.map_or(0, |(tier_idx, _)| tier_idx)
    }

    /// Position of a tier by name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.tiers.iter().position(|tier| tier.name == name)
    }
}

fn check(tier: &Tier) -> Result<(), InvalidCatalog> {
    let say = |what: &str| Err(InvalidCatalog(format!("tier `{}`: {what}", tier.name)));
    if tier.name.trim().is_empty() {
        return say("the name is empty");
    }
    if !(1..=4).contains(&tier.class) {
        return say("class must be 1 to 4");
    }
    for (field, price) in [
        ("input_usd_per_mtok", tier.input_usd_per_mtok),
        ("output_usd_per_mtok", tier.output_usd_per_mtok),
        (
            "cached_input_usd_per_mtok",
            tier.cached_input_usd_per_mtok.unwrap_or_default(),
        ),
    ] {
        if !price.is_finite() || price < 0.0 {
            return say(&format!("{field} must be a number of at least 0"));
        }
    }
    if tier
        .latency_p95_s
        .is_some_and(|seconds| !seconds.is_finite() || seconds <= 0.0)
    {
        return say("latency_p95_s must be a positive number");
    }
    Ok(())
}

/// What is wrong with a catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidCatalog(pub String);

impl std::fmt::Display for InvalidCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidCatalog {}

impl TryFrom<Vec<Tier>> for Catalog {
    type Error = InvalidCatalog;
    fn try_from(tiers: Vec<Tier>) -> Result<Self, Self::Error> {
        Self::new(tiers)
    }
}

impl From<Catalog> for Vec<Tier> {
    fn from(catalog: Catalog) -> Self {
        catalog.tiers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(name: &str) -> Tier {
        Tier {
            name: name.to_owned(),
            class: 2,
            input_usd_per_mtok: 1.0,
            output_usd_per_mtok: 2.0,
            cached_input_usd_per_mtok: None,
            context_window: None,
            capabilities: Capabilities::default(),
            latency_p95_s: None,
        }
    }

    fn check(tiers: Vec<Tier>, expected: &str) {
        assert_eq!(Catalog::new(tiers).unwrap_err().0, expected);
    }

    #[test]
    fn refusals_name_the_tier() {
        check(vec![], "a catalog needs at least one tier");
        check(vec![tier("a"), tier("a")], "tier `a` is named twice");
        check(vec![Tier { class: 7, ..tier("a") }], "tier `a`: class must be 1 to 4");
        check(
            vec![Tier {
                input_usd_per_mtok: f64::NAN,
                ..tier("a")
            }],
            "tier `a`: input_usd_per_mtok must be a number of at least 0",
        );
    }

    #[test]
    fn cost_is_per_million_tokens() {
        assert!((tier("a").cost_usd(1e6, 5e5) - 2.0).abs() < 1e-12);
    }
}
