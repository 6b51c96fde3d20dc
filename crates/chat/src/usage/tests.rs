use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::reply::{Finish, Usage};

const DELTA: &str =
    r#"data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}],"usage":null}"#;
const END: &str = r#"data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#;
const USAGE: &str = r#"data: {"id":"c","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":3}}}"#;
const DONE: &str = "data: [DONE]";

fn stream(lines: &[&str], end: &str) -> String {
    lines.iter().flat_map(|line| [line, end, end]).collect()
}

fn run(reader: &mut UsageReader, bytes: &[u8], size: usize) -> String {
    let mut passed: Vec<u8> = bytes.chunks(size).flat_map(|piece| reader.push(piece)).collect();
    passed.extend(reader.finish());
    String::from_utf8(passed).expect("text")
}

fn usage() -> Usage {
    Usage {
        input: 9,
        cached_input: 3,
        output: 4,
        ..Usage::default()
    }
}

#[test]
fn the_chunk_of_usage_is_taken_out_and_nothing_else() {
    for end in ["\n", "\r\n"] {
        let whole = stream(&[": hello", DELTA, END, USAGE, DONE], end);
        let expected = stream(&[": hello", DELTA, END, DONE], end);
        for size in 1..whole.len() {
            let mut reader = UsageReader::cutting_usage();
            assert_eq!(run(&mut reader, whole.as_bytes(), size), expected);
            let cut = reader.cut().expect("a cut");
            let cut = usize::try_from(cut.start).expect("small")..usize::try_from(cut.end).expect("small");
            assert_eq!(whole[cut], format!("{USAGE}{end}{end}"));
            let summary = reader.summary();
            assert_eq!(
                (summary.usage, summary.finish.clone()),
                (Some(usage()), Some(Finish::Stop))
            );
            assert!(summary.is_complete && summary.failure.is_none());
        }
    }
}

#[test]
fn a_stream_that_asked_for_usage_keeps_it() {
    let whole = stream(&[DELTA, END, USAGE, DONE], "\n");
    let mut reader = UsageReader::new(Dialect::Chat);
    assert_eq!(run(&mut reader, whole.as_bytes(), 7), whole);
    assert_eq!((reader.summary().usage, reader.cut()), (Some(usage()), None));
}

#[test]
fn bytes_pass_at_once_where_nothing_is_taken_out() {
    let mut reader = UsageReader::new(Dialect::Chat);
    assert_eq!(reader.push(b"data: {\"ch"), b"data: {\"ch");
    let mut reader = UsageReader::cutting_usage();
    assert_eq!(reader.push(b"data: {\"ch"), b"");
    assert_eq!(reader.finish(), b"data: {\"ch");
}

#[test]
fn usage_at_the_very_end_and_usage_beside_a_choice() {
    let mut reader = UsageReader::cutting_usage();
    assert_eq!(
        run(&mut reader, format!("{END}\n\n{USAGE}").as_bytes(), 10),
        format!("{END}\n\n")
    );
    assert_eq!(reader.summary().usage, Some(usage()));
    let beside = END.replace("null}", "{\"prompt_tokens\":9,\"completion_tokens\":4}}");
    let whole = stream(&[&beside, DONE], "\n");
    let mut reader = UsageReader::cutting_usage();
    assert_eq!(run(&mut reader, whole.as_bytes(), 10), whole);
    assert_eq!(reader.summary().usage.map(|usage| usage.output), Some(4));
}

#[test]
fn garbage_passes_and_is_noted() {
    let mut reader = UsageReader::cutting_usage();
    let whole = stream(&[DELTA, "data: garbage", DELTA], "\n");
    assert_eq!(run(&mut reader, whole.as_bytes(), 9), whole);
    let summary = reader.summary();
    assert!(
        summary
            .failure
            .as_ref()
            .is_some_and(|failure| failure.message.contains("not JSON"))
    );
    assert!(!summary.is_complete);
    let mut reader = UsageReader::cutting_usage();
    let long = vec![b'x'; MAX_EVENT_BYTES + 1];
    assert_eq!(reader.push(&long).len(), long.len());
    assert!(reader.summary().failure.is_some());
}

#[test]
fn the_other_dialects_tell_their_usage_too() {
    let events = [
        json!({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 6, "cache_read_input_tokens": 3, "output_tokens": 1}}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 4}}),
        json!({"type": "message_stop"}),
    ];
    let mut reader = UsageReader::new(Dialect::Messages);
    for event in events {
        reader.push(format!("event: x\ndata: {event}\n\n").as_bytes());
    }
    let summary = reader.summary();
    assert_eq!(
        (summary.usage, summary.finish.clone()),
        (Some(usage()), Some(Finish::Length))
    );
    let event = json!({"type": "response.completed", "response": {"status": "completed", "usage": {
        "input_tokens": 9, "input_tokens_details": {"cached_tokens": 3}, "output_tokens": 4,
    }}});
    let mut reader = UsageReader::new(Dialect::Responses);
    reader.push(format!("event: response.completed\ndata: {event}\n\n").as_bytes());
    assert_eq!(reader.summary().usage, Some(usage()));
    assert!(reader.summary().is_complete);
}

/// The usage of a whole chat reply with these counts.
fn told(prompt: &Value, completion: &Value) -> Option<(u64, u64)> {
    let body = json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "four"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": 7},
    });
    let summary = crate::summarise(body.as_object().expect("an object"), Dialect::Chat).expect("a whole reply");
    summary.usage.map(|usage| (usage.input, usage.output))
}

#[test]
fn counts_that_are_none_leave_the_reply_whole_and_its_usage_untold() {
    assert_eq!(told(&json!(9), &json!(4)), Some((9, 4)));
    assert_eq!(told(&json!(9.0), &json!(4.0)), Some((9, 4)));
    assert_eq!(told(&json!(0), &json!(0)), Some((0, 0)));
    for odd in [
        json!(null),
        json!("12"),
        json!(-5),
        json!(1.5),
        json!(1e30),
        json!(u64::MAX),
        json!([4]),
    ] {
        assert_eq!(told(&odd, &json!(4)), None, "{odd}");
        assert_eq!(told(&json!(9), &odd), None, "{odd}");
    }
}

#[test]
fn half_of_a_usage_is_none_in_every_dialect() {
    let message = |usage: &Value| json!({"content": [{"type": "text", "text": "four"}], "stop_reason": "end_turn", "usage": usage});
    let response = |usage: &Value| json!({"status": "completed", "output": [], "usage": usage});
    for usage in [
        json!({"input_tokens": 9}),
        json!({"output_tokens": 4}),
        json!({}),
        json!("?"),
        json!(null),
    ] {
        for (dialect, body) in [
            (Dialect::Messages, message(&usage)),
            (Dialect::Responses, response(&usage)),
        ] {
            let summary = crate::summarise(body.as_object().expect("an object"), dialect).expect("a whole reply");
            assert_eq!(summary.usage, None, "{dialect:?} {usage}");
        }
    }
    // A stream of messages may tell the input at its start and the output at its end, or only one of them.
    for (input, expected) in [(json!({"input_tokens": 9}), Some(4)), (json!({}), None)] {
        let mut reader = UsageReader::new(Dialect::Messages);
        for event in [
            json!({"type": "message_start", "message": {"id": "m", "usage": input}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}),
            json!({"type": "message_stop"}),
        ] {
            reader.push(format!("event: x\ndata: {event}\n\n").as_bytes());
        }
        assert_eq!(reader.summary().usage.map(|usage| usage.output), expected);
    }
}

proptest! {
    #[test]
    fn whatever_the_bytes_a_reader_that_cuts_nothing_changes_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..20) {
        for dialect in Dialect::ALL {
            let mut reader = UsageReader::new(dialect);
            let mut passed: Vec<u8> = bytes.chunks(size).flat_map(|piece| reader.push(piece)).collect();
            passed.extend(reader.finish());
            prop_assert_eq!(&passed, &bytes);
        }
    }
}
