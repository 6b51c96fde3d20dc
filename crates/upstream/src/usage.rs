//! Tokens as the endpoint reports them, if they can be true.

use serde_json::Value;

use crate::call::Usage;

/// The reported usage, and whether it contradicts itself. `has_output` says that a reply came, which
/// cannot have taken no tokens.
///
/// The total may exceed its parts: some endpoints count hidden reasoning only there.
pub(crate) fn read(usage: Option<&Value>, has_output: bool) -> (Option<Usage>, bool) {
    let Some(usage) = usage.filter(|usage| !usage.is_null()) else {
        return (None, false);
    };
    let usage = whole(usage).filter(|usage| usage.input_tokens > 0 && (usage.output_tokens > 0 || !has_output));
    (usage, usage.is_none())
}

fn whole(usage: &Value) -> Option<Usage> {
    let input_tokens = tokens(&usage["prompt_tokens"])?;
    let output_tokens = tokens(&usage["completion_tokens"])?;
    let cached = match &usage["prompt_tokens_details"]["cached_tokens"] {
        // DeepSeek's name.
        Value::Null => &usage["prompt_cache_hit_tokens"],
        cached => cached,
    };
    let cached_input_tokens = optional(cached, 0)?;
    let least_total = input_tokens.checked_add(output_tokens)?;
    let total = optional(&usage["total_tokens"], least_total)?;
    (cached_input_tokens <= input_tokens && total >= least_total).then_some(Usage {
        input_tokens,
        cached_input_tokens,
        output_tokens,
    })
}

fn optional(value: &Value, otherwise: u32) -> Option<u32> {
    if value.is_null() {
        Some(otherwise)
    } else {
        tokens(value)
    }
}

fn tokens(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn true_and_impossible_usage() {
        let good = |input_tokens, cached_input_tokens, output_tokens| {
            let usage = Usage {
                input_tokens,
                cached_input_tokens,
                output_tokens,
            };
            (Some(usage), false)
        };
        let bad = (None, true);
        let cases = [
            (json!(null), (None, false)),
            (json!({"prompt_tokens": 5, "completion_tokens": 2}), good(5, 0, 2)),
            (
                json!({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}),
                good(5, 0, 2),
            ),
            (
                json!({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 90}),
                good(5, 0, 2),
            ),
            (
                json!({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}),
                good(5, 4, 2),
            ),
            (
                json!({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": null}),
                good(5, 0, 2),
            ),
            (
                json!({"prompt_tokens": 5, "completion_tokens": 2, "prompt_cache_hit_tokens": 3}),
                good(5, 3, 2),
            ),
            (
                json!({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 6}),
                bad,
            ),
            (
                json!({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 6}}),
                bad,
            ),
            (json!({"prompt_tokens": -5, "completion_tokens": 2}), bad),
            (json!({"prompt_tokens": 5, "completion_tokens": 0}), bad),
            (json!({"prompt_tokens": 0, "completion_tokens": 2}), bad),
            (json!({"prompt_tokens": 5}), bad),
            (json!({"prompt_tokens": "5", "completion_tokens": 2}), bad),
            (json!({"prompt_tokens": 5_000_000_000_u64, "completion_tokens": 2}), bad),
            (json!("many"), bad),
        ];
        for (usage, expected) in cases {
            assert_eq!(read(Some(&usage), true), expected, "{usage}");
        }
        assert_eq!(read(None, true), (None, false));
        let empty = json!({"prompt_tokens": 5, "completion_tokens": 0});
        assert_eq!(read(Some(&empty), false), good(5, 0, 0));
    }
}
