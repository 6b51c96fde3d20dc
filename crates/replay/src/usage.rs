//! The tokens that a reply tells: as recorded, false, or such as cannot be.

use serde_json::{Value, json};
use tiercast_chat::{Dialect, Usage};

use crate::library::Recorded;

/// Tokens as recorded; none where they were not.
pub(crate) fn recorded(recorded: &Recorded) -> Option<Usage> {
    Some(Usage {
        input: recorded.input_tokens?.into(),
        cached_input: recorded.cached_input_tokens.unwrap_or(0).into(),
        output: recorded.output_tokens?.into(),
        ..Usage::default()
    })
}

/// Usage that could be true and is not.
pub(crate) fn times(usage: Usage, factor: f64) -> Usage {
    // Tokens are u32 and factors bounded, so that nothing is cut off.
    let times = |tokens: u64| (tokens as f64 * factor).round() as u64;
    Usage {
        input: times(usage.input),
        cached_input: times(usage.cached_input),
        output: times(usage.output),
        ..usage
    }
}

/// Usage as chat tells it.
pub(crate) fn in_chat(usage: Usage) -> Value {
    let mut told = json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    });
    if usage.cached_input > 0 {
        told["prompt_tokens_details"] = json!({"cached_tokens": usage.cached_input});
    }
    told
}

/// Usage that cannot be true in the words of a dialect, in one of four ways.
pub(crate) fn wrong(usage: Usage, dialect: Dialect, way: u64) -> Value {
    let (input_name, output_name) = match dialect {
        Dialect::Chat => ("prompt_tokens", "completion_tokens"),
        Dialect::Responses | Dialect::Messages => ("input_tokens", "output_tokens"),
    };
    let (input, output) = (usage.input.max(1), usage.output.max(1));
    let mut told = json!({input_name: input, output_name: output});
    match (way % 4, dialect) {
        // Messages tells no sum, and cached tokens beside the others.
        (0, Dialect::Messages) => told["output_tokens"] = json!(-1),
        (3, Dialect::Messages) => told["cache_read_input_tokens"] = json!(-1),
        (0, _) => told["total_tokens"] = json!(0),
        (1, _) => told[input_name] = json!(-1),
        (2, _) => told[output_name] = json!(u64::MAX),
        _ => told[format!("{input_name}_details")] = json!({"cached_tokens": input + 1}),
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: Usage = Usage {
        input: 9,
        cached_input: 4,
        cache_written: 0,
        output: 2,
        reasoning: 0,
    };

    #[test]
    fn recorded_false_and_told() {
        let reply = Recorded {
            input_tokens: Some(9),
            cached_input_tokens: Some(4),
            output_tokens: Some(2),
            ..Recorded::default()
        };
        assert_eq!(recorded(&reply), Some(USAGE));
        assert_eq!(recorded(&Recorded::default()), None);
        let large = times(USAGE, 10.0);
        assert_eq!((large.input, large.cached_input, large.output), (90, 40, 20));
        assert_eq!(times(USAGE, 0.5).input, 5);
        assert_eq!(
            in_chat(USAGE),
            json!({
                "prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11,
                "prompt_tokens_details": {"cached_tokens": 4},
            })
        );
    }

    #[test]
    fn every_way_to_be_wrong() {
        let cases = [
            (
                Dialect::Chat,
                0,
                json!({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 0}),
            ),
            (Dialect::Chat, 1, json!({"prompt_tokens": -1, "completion_tokens": 2})),
            (
                Dialect::Chat,
                2,
                json!({"prompt_tokens": 9, "completion_tokens": u64::MAX}),
            ),
            (
                Dialect::Chat,
                3,
                json!({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 10}}),
            ),
            (
                Dialect::Responses,
                4,
                json!({"input_tokens": 9, "output_tokens": 2, "total_tokens": 0}),
            ),
            (
                Dialect::Responses,
                3,
                json!({"input_tokens": 9, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 10}}),
            ),
            (Dialect::Messages, 0, json!({"input_tokens": 9, "output_tokens": -1})),
            (Dialect::Messages, 1, json!({"input_tokens": -1, "output_tokens": 2})),
            (
                Dialect::Messages,
                3,
                json!({"input_tokens": 9, "output_tokens": 2, "cache_read_input_tokens": -1}),
            ),
        ];
        for (dialect, way, expected) in cases {
            assert_eq!(wrong(USAGE, dialect, way), expected, "{dialect:?} {way}");
        }
    }
}
