//! The tables of `tiercast.toml` that collecting reads: `tiers` and `collect`.
//!
//! The binary reads the file and hands the text over. An unknown key in these tables is refused with
//! its line; what other commands read is theirs.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tiercast_records::disk::hex;
use tiercast_upstream::settings::EndpointSettings;
use tiercast_upstream::told::without_keys;

use crate::error::CollectError;
use crate::ledger::RunTier;

/// Most samples of a pair: more is a slip of the finger, and a bill.
const MAX_SAMPLES: u32 = 1000;

/// Limits on the reply, in the order in which they are looked for.
const OUTPUT_LIMITS: [&str; 2] = ["max_completion_tokens", "max_tokens"];

/// What collecting knows of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectConfig {
    /// Tiers to ask, by name.
    pub tiers: Vec<TierConfig>,
    /// Tiers without an endpoint: known to others, not asked.
    pub not_asked: Vec<String>,
    /// Answers per prompt and tier.
    pub samples: u32,
}

/// A tier to ask.
#[derive(Debug, Clone, PartialEq)]
pub struct TierConfig {
    /// As the ledger keeps it.
    pub run: RunTier,
    /// How it is reached.
    pub endpoint: EndpointSettings,
    /// Sent with every call, those of `[collect]` and of the endpoint together.
    pub parameters: Map<String, Value>,
}

impl TierConfig {
    /// Most tokens of a reply, where the parameters say.
    pub fn output_limit(&self) -> Option<u32> {
        let limit = OUTPUT_LIMITS
            .iter()
            .find_map(|name| self.parameters.get(*name)?.as_u64());
        limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX))
    }
}

/// Every root key that is read here; the rest of the file is other commands'.
#[derive(Debug, Deserialize)]
struct Written {
    #[serde(default)]
    tiers: BTreeMap<String, toml::Spanned<TierTable>>,
    collect: Option<toml::Spanned<CollectSettings>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TierTable {
    class: Option<u8>,
    input_usd_per_mtok: Option<f64>,
    output_usd_per_mtok: Option<f64>,
    cached_input_usd_per_mtok: Option<f64>,
    context_window: Option<u32>,
    /// Read by `serve`.
    #[expect(dead_code, reason = "a key of another command")]
    capabilities: Option<toml::Table>,
    /// Read by `serve`.
    #[expect(dead_code, reason = "a key of another command")]
    latency_p95_s: Option<f64>,
    /// Read by `serve`.
    #[expect(dead_code, reason = "a key of another command")]
    predict_as: Option<String>,
    endpoint: Option<EndpointSettings>,
}

/// `[collect]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectSettings {
    /// Answers per prompt and tier.
    pub samples: u32,
    /// Whether to ask for the tokens' log probabilities.
    pub logprobs: bool,
    /// Sent with every call.
    pub parameters: Map<String, Value>,
}

impl Default for CollectSettings {
    fn default() -> Self {
        Self {
            samples: 1,
            logprobs: false,
            parameters: Map::new(),
        }
    }
}

impl CollectSettings {
    /// Reads the table `[collect]` alone, whatever the tiers are.
    pub fn parse(text: &str) -> Result<Self, CollectError> {
        let settings = Written::parse(text)?.settings(text, None)?;
        shared_parameters(&settings)?;
        Ok(settings)
    }
}

impl Written {
    fn parse(text: &str) -> Result<Self, CollectError> {
        toml::from_str(text).map_err(|error| CollectError::Config(without_keys(&error)))
    }

    /// The table with `samples` where they outrank its own.
    fn settings(&self, text: &str, samples: Option<u32>) -> Result<CollectSettings, CollectError> {
        let written = self.collect.as_ref();
        let mut settings = written.map(|table| table.get_ref().clone()).unwrap_or_default();
        let place = written.filter(|_| samples.is_none());
        let place = place.map(|table| format!("line {}: ", line_of(text, table.span())));
        settings.samples = samples.unwrap_or(settings.samples);
        if !(1..=MAX_SAMPLES).contains(&settings.samples) {
            return Err(CollectError::Config(format!(
                "{}`samples` is {}; it must be 1 to {MAX_SAMPLES}",
                place.unwrap_or_default(),
                settings.samples
            )));
        }
        Ok(settings)
    }
}

impl CollectConfig {
    /// Reads the text of a `tiercast.toml`; `samples` outranks the file's.
    pub fn parse(text: &str, samples: Option<u32>) -> Result<Self, CollectError> {
        let written = Written::parse(text)?;
        let settings = written.settings(text, samples)?;
        let shared = shared_parameters(&settings)?;
        let (mut tiers, mut not_asked) = (Vec::new(), Vec::new());
        for (name, table) in written.tiers {
            let line = line_of(text, table.span());
            match tier(&name, table.into_inner(), &shared) {
                Ok(Some(tier)) => tiers.push(tier),
                Ok(None) => not_asked.push(name),
                Err(what) => return Err(CollectError::Config(format!("line {line}: `tiers.{name}`: {what}"))),
            }
        }
        if tiers.is_empty() {
            return Err(CollectError::Config(
                "no tier has an endpoint: add at least one table [tiers.NAME.endpoint] with a base_url".to_owned(),
            ));
        }
        Ok(Self {
            tiers,
            not_asked,
            samples: settings.samples,
        })
    }

    /// The tiers as the ledger keeps them.
    pub fn run_tiers(&self) -> Vec<RunTier> {
        self.tiers.iter().map(|tier| tier.run.clone()).collect()
    }
}

/// Parameters of every call. A tier's own win.
fn shared_parameters(table: &CollectSettings) -> Result<Map<String, Value>, CollectError> {
    let mut parameters = table.parameters.clone();
    let ours = ["model", "messages", "tools", "stream", "stream_options", "n"];
    if let Some(name) = ours.into_iter().find(|name| parameters.contains_key(*name)) {
        return Err(CollectError::Config(format!(
            "`collect.parameters.{name}` is filled in by tiercast; leave it out"
        )));
    }
    if table.logprobs {
        parameters.insert("logprobs".to_owned(), Value::Bool(true));
    }
    Ok(parameters)
}

fn tier(name: &str, table: TierTable, shared: &Map<String, Value>) -> Result<Option<TierConfig>, String> {
    let Some(endpoint) = table.endpoint else {
        return Ok(None);
    };
    let input = price("input_usd_per_mtok", table.input_usd_per_mtok)?;
    let cached = table.cached_input_usd_per_mtok.or(Some(input));
    let class = table.class.unwrap_or(2);
    if !(1..=4).contains(&class) {
        return Err(format!(
            "`class` is {class}; it must be 1 (frontier or reasoner), 2 (mid generalist), 3 (light) or 4 (fine-tuned for \
             one domain)"
        ));
    }
    if table.context_window == Some(0) {
        return Err("`context_window` must be a number of tokens, 1 or more".to_owned());
    }
    let mut parameters = shared.clone();
    parameters.extend(endpoint.parameters().clone());
    let model = endpoint.model().unwrap_or(name).to_owned();
    let canonical = canonical(&parameters);
    Ok(Some(TierConfig {
        run: RunTier {
            name: name.to_owned(),
            class,
            parameters_hash: hash(&model, &canonical),
            model,
            base_url: endpoint.base_url().to_owned(),
            parameters: canonical,
            input_usd_per_mtok: input,
            output_usd_per_mtok: price("output_usd_per_mtok", table.output_usd_per_mtok)?,
            cached_input_usd_per_mtok: price("cached_input_usd_per_mtok", cached)?,
            context_window: table.context_window,
        },
        endpoint,
        parameters,
    }))
}

fn price(key: &str, price: Option<f64>) -> Result<f64, String> {
    match price {
        Some(price) if price.is_finite() && price >= 0.0 => Ok(price),
        Some(_) => Err(format!("`{key}` must be US dollars per million tokens, 0 or more")),
        None => Err(format!(
            "`{key}` is missing: write US dollars per million tokens, 0 for a model of your own"
        )),
    }
}

/// The same parameters as the same text, whatever their order in the file.
fn canonical(parameters: &Map<String, Value>) -> String {
    let sorted: BTreeMap<&String, &Value> = parameters.iter().collect();
    json!(sorted).to_string()
}

fn hash(model: &str, parameters: &str) -> String {
    let told = json!([model, parameters]).to_string();
    hex(&Sha256::digest(told)[..8])
}

fn line_of(text: &str, span: Range<usize>) -> usize {
    let before = text.get(..span.start).unwrap_or_default();
    before.matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIER: &str = "[tiers.light]\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 2\n";
    const ENDPOINT: &str = "[tiers.light.endpoint]\nbase_url = \"http://127.0.0.1:1/v1\"\n";

    fn parse(more: &str) -> Result<CollectConfig, CollectError> {
        CollectConfig::parse(&format!("{TIER}{ENDPOINT}{more}"), None)
    }

    fn refused(text: &str, parts: &[&str]) {
        let message = CollectConfig::parse(text, None).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
    }

    #[test]
    fn refusals_say_where_and_what_to_change() {
        refused("[tiers.light]\nspeed = 3", &["line 2", "speed"]);
        refused(&format!("{TIER}{ENDPOINT}[collect]\nsample = 3"), &["line 7", "sample"]);
        refused(&format!("{TIER}{ENDPOINT}speed = 3"), &["speed"]);
        refused(TIER, &["[tiers.NAME.endpoint]"]);
        refused("", &["[tiers.NAME.endpoint]"]);
        refused(
            &format!("[tiers.light]\n{ENDPOINT}"),
            &["`tiers.light`", "input_usd_per_mtok"],
        );
        refused(&format!("{TIER}class = 9\n{ENDPOINT}"), &["`class` is 9"]);
        refused(
            &format!("{TIER}{ENDPOINT}[collect]\nsamples = 0"),
            &["line 6", "`samples` is 0"],
        );
        refused(
            &format!("{TIER}{ENDPOINT}[collect]\nparameters = {{ model = \"x\" }}"),
            &["collect.parameters.model"],
        );
        refused("tiers = 3\n", &["line 1"]);
    }

    #[test]
    fn other_commands_tables_are_theirs() {
        let config = parse("[judge]\ndefault = \"exact\"\n").unwrap();
        assert_eq!((config.samples, config.tiers.len()), (1, 1));
        let light = &config.tiers[0].run;
        assert_eq!(
            (light.model.as_str(), light.class, light.cached_input_usd_per_mtok),
            ("light", 2, 1.0)
        );
    }

    #[test]
    fn a_tiers_own_parameters_win_and_their_order_does_not_count() {
        let more =
            "parameters = { max_tokens = 9, temperature = 0 }\n[collect]\nparameters = { temperature = 1, seed = 3 }";
        let tier = &parse(more).unwrap().tiers[0];
        assert_eq!(tier.run.parameters, r#"{"max_tokens":9,"seed":3,"temperature":0}"#);
        assert_eq!(tier.output_limit(), Some(9));
        let turned = "parameters = { temperature = 0, seed = 3, max_tokens = 9 }\n";
        assert_eq!(
            parse(turned).unwrap().tiers[0].run.parameters_hash,
            tier.run.parameters_hash
        );
        assert_ne!(
            parse("").unwrap().tiers[0].run.parameters_hash,
            tier.run.parameters_hash
        );
    }

    #[test]
    fn cached_tokens_cost_their_own_price() {
        let mut tier = parse("").unwrap().tiers[0].run.clone();
        tier.cached_input_usd_per_mtok = 0.1;
        let check = |input, cached, output, expected: f64| {
            assert!((tier.cost_usd(input, cached, output) - expected).abs() < 1e-15);
        };
        check(100, 0, 10, 120e-6);
        check(100, 50, 0, 55e-6);
        check(10, 50, 0, 1e-6);
    }
}
