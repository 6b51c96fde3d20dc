//! How hard a model thinks: OpenAI has words for it, Anthropic words and budgets.

use serde_json::{Map, Value, json};

use crate::error::{Unreadable, Untranslatable};
use crate::fields::{Fields, Reading};

/// Budgets of thinking tokens below which OpenAI's words are `low` and `medium`.
const LOW_BELOW: u64 = 4_096;
const MEDIUM_BELOW: u64 = 16_384;

/// OpenAI's word for `output_config.effort` and `thinking`. Thinking that is off says nothing: it is
/// what a model without it does, and many servers refuse the word `none`.
pub(crate) fn effort(
    body: &Fields<'_>,
    output: Option<&Fields<'_>>,
    reading: Reading,
) -> Result<Option<String>, Unreadable> {
    let thinking = body.object("thinking")?;
    let kind = match &thinking {
        Some(thinking) => thinking.need_text("type")?,
        None => "adaptive",
    };
    let effort = output.map(|output| output.text("effort")).transpose()?.flatten();
    match (kind, effort) {
        ("disabled", _) => Ok(None),
        (_, Some(effort)) => Ok(Some(effort.to_owned())),
        ("enabled", None) => {
            let budget = thinking
                .map(|thinking| thinking.whole("budget_tokens"))
                .transpose()?
                .flatten();
            Ok(budget.map(word).map(str::to_owned))
        }
        ("adaptive" | "between_tools", None) => Ok(None),
        (kind, None) => {
            reading.refuse("thinking.type", format!("is {kind}, which cannot be translated"))?;
            Ok(None)
        }
    }
}

fn word(budget: u64) -> &'static str {
    match budget {
        ..LOW_BELOW => "low",
        LOW_BELOW..MEDIUM_BELOW => "medium",
        _ => "high",
    }
}

/// Writes OpenAI's word. `minimal` has no like there and becomes `low`.
pub(crate) fn write_effort(
    effort: &str,
    field: &str,
    body: &mut Map<String, Value>,
    output: &mut Map<String, Value>,
) -> Result<(), Untranslatable> {
    let word = match effort {
        "none" => {
            body.insert("thinking".to_owned(), json!({"type": "disabled"}));
            return Ok(());
        }
        "minimal" => "low",
        "low" | "medium" | "high" | "xhigh" | "max" => effort,
        _ => {
            return Err(Untranslatable::new(
                field,
                "is none of none, minimal, low, medium, high, xhigh, max",
            ));
        }
    };
    output.insert("effort".to_owned(), word.into());
    Ok(())
}
