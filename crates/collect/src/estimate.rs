//! What a run will take, before anything is sent.

use serde::Serialize;
use tiercast_records::outcomes::PromptText;
use tiercast_records::prompts::Prompt;

use crate::config::{CollectConfig, TierConfig};
use crate::error::CollectError;
use crate::ledger::Ledger;

/// Tokens of a reply where no limit is set: about the mean of chat replies in public outcome files.
const DEFAULT_OUTPUT_TOKENS: u32 = 400;

/// Most tokens of a reply where neither a limit nor a window is set.
const UNBOUNDED_OUTPUT_TOKENS: u32 = 16_384;

/// Characters in a token, for languages written with spaces; no tokenizer of the provider's is here.
const CHARACTERS_PER_TOKEN: usize = 4;

/// Tokens that a provider adds around each message.
const TOKENS_PER_MESSAGE: usize = 4;

/// Prompts read at a time.
const PAGE: usize = 512;

/// How tokens were counted, for whoever reads the figures.
pub const COUNTED: &str = "tokens of prompts are counted as characters / 4";

/// What a run will take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Per tier.
    pub tiers: Vec<TierEstimate>,
    /// US dollars of all.
    pub cost_usd: f64,
    /// US dollars if every reply ran into its limit.
    pub most_cost_usd: f64,
    /// How tokens were counted.
    pub counted: &'static str,
}

/// What a tier will take.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct TierEstimate {
    /// The tier.
    pub tier: String,
    /// Calls to make.
    pub n_calls: u64,
    /// Results that are there already.
    pub n_done: u64,
    /// Prompts longer than the tier's window, which are not sent.
    pub n_too_long: u64,
    /// Tokens of prompts.
    pub input_tokens: u64,
    /// Tokens of replies: the mean so far, else the limit, else 400 each.
    pub output_tokens: u64,
    /// Where the tokens of replies come from.
    pub output_basis: &'static str,
    /// US dollars.
    pub cost_usd: f64,
    /// US dollars if every reply ran into its limit.
    pub most_cost_usd: f64,
}

/// Tokens of a prompt, about.
pub fn input_tokens(prompt: &Prompt) -> u32 {
    let characters = prompt.text.as_str().chars().count();
    let n_messages = match &prompt.text {
        PromptText::Text(_) => 1,
        PromptText::MessagesJson(_) => prompt.messages().len(),
    };
    let format = prompt
        .response_format
        .as_ref()
        .map_or(0, |format| format.to_string().len());
    let tokens = (characters + format).div_ceil(CHARACTERS_PER_TOKEN) + n_messages * TOKENS_PER_MESSAGE;
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

/// Tokens of a text, about.
pub fn text_tokens(text: &str) -> u32 {
    u32::try_from(text.chars().count().div_ceil(CHARACTERS_PER_TOKEN)).unwrap_or(u32::MAX)
}

/// Whether the prompt alone fills the tier's window.
pub fn is_too_long(tier: &TierConfig, input_tokens: u32) -> bool {
    tier.run.context_window.is_some_and(|window| input_tokens >= window)
}

/// Tokens that a reply is expected to have.
pub fn expected_output(tier: &TierConfig) -> u32 {
    tier.output_limit().unwrap_or(DEFAULT_OUTPUT_TOKENS)
}

/// Most tokens that a reply can have.
fn most_output(tier: &TierConfig, input_tokens: u32) -> u32 {
    let rest = tier
        .run
        .context_window
        .map(|window| window.saturating_sub(input_tokens).max(1));
    let limits = [tier.output_limit(), rest];
    limits.into_iter().flatten().min().unwrap_or(UNBOUNDED_OUTPUT_TOKENS)
}

/// The most that a call can cost in US dollars: no token is shorter than a byte.
pub fn most_cost_usd(tier: &TierConfig, prompt: &Prompt) -> f64 {
    let bytes = prompt.text.as_str().len()
        + prompt
            .response_format
            .as_ref()
            .map_or(0, |format| format.to_string().len())
        + TOKENS_PER_MESSAGE * prompt.messages().len();
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    let input = tier.run.context_window.map_or(bytes, |window| bytes.min(window));
    tier.run.cost_usd(input, 0, most_output(tier, input_tokens(prompt)))
}

/// Sums over the calls of `ledger` that are yet to be made.
pub fn estimate(ledger: &Ledger, config: &CollectConfig) -> Result<Estimate, CollectError> {
    let tiers = config
        .tiers
        .iter()
        .map(|tier| tier_estimate(ledger, tier, config.samples));
    let tiers = tiers.collect::<Result<Vec<_>, _>>()?;
    Ok(Estimate {
        cost_usd: tiers.iter().map(|tier| tier.cost_usd).sum(),
        most_cost_usd: tiers.iter().map(|tier| tier.most_cost_usd).sum(),
        tiers,
        counted: COUNTED,
    })
}

fn tier_estimate(ledger: &Ledger, tier: &TierConfig, n_samples: u32) -> Result<TierEstimate, CollectError> {
    let totals = ledger.totals(&tier.run, n_samples)?;
    let mean = (totals.n_answered > 0).then(|| totals.output_tokens as f64 / totals.n_answered as f64);
    let mut sum = TierEstimate {
        tier: tier.run.name.clone(),
        n_done: totals.n_done(),
        output_basis: match (mean, tier.output_limit()) {
            (Some(_), _) => "mean of the replies so far",
            (None, Some(_)) => "max_tokens",
            (None, None) => "400 a reply, as no max_tokens is set",
        },
        ..TierEstimate::default()
    };
    let mut after = None;
    loop {
        let page = ledger.pending(&tier.run, n_samples, after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = Some(last.at);
        page.iter()
            .for_each(|pending| add(&mut sum, tier, &pending.prompt, mean));
    }
    Ok(sum)
}

fn add(sum: &mut TierEstimate, tier: &TierConfig, prompt: &Prompt, mean: Option<f64>) {
    let input = input_tokens(prompt);
    if is_too_long(tier, input) {
        sum.n_too_long += 1;
        return;
    }
    let output = mean.map_or_else(|| expected_output(tier), |mean| mean.round() as u32);
    sum.n_calls += 1;
    sum.input_tokens += u64::from(input);
    sum.output_tokens += u64::from(output);
    sum.cost_usd += tier.run.cost_usd(input, 0, output);
    sum.most_cost_usd += tier.run.cost_usd(input, 0, most_output(tier, input));
}
