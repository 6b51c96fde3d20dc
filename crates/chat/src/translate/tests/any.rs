//! Any conversation, there and back.

use proptest::prelude::*;

use super::*;

fn conversation() -> impl Strategy<Value = Value> {
    let text = "[ -~é😀\n\"]{1,9}";
    let turn = (0..4_usize, text, text).prop_map(|(kind, first, second)| match kind {
        0 => json!([{"role": "user", "content": first}]),
        1 => json!([{"role": "user", "content": [{"type": "text", "text": first}, {"type": "text", "text": second}]}]),
        2 => json!([{"role": "user", "content": first}, {"role": "assistant", "content": second}]),
        _ => json!([
            {"role": "user", "content": first},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": json!({"a": second}).to_string()}},
            ]},
            {"role": "tool", "tool_call_id": "c", "content": second},
        ]),
    });
    let last = text.prop_map(|text| json!([{"role": "user", "content": text}]));
    let system = prop::option::of(text.prop_map(|text| json!([{"role": "system", "content": text}])));
    (system, prop::collection::vec(turn, 0..5), last).prop_map(|(system, turns, last)| {
        let turns = system.into_iter().chain(turns).chain([last]);
        let messages: Vec<Value> = turns
            .flat_map(|turn| turn.as_array().cloned().expect("a list"))
            .collect();
        json!({"messages": messages, "max_completion_tokens": 9})
    })
}

proptest! {
    #[test]
    fn a_conversation_comes_back_as_it_went_and_routes_alike(chat in conversation()) {
        let expected = routing_request(&map(chat.clone()), Chat).expect("valid");
        for dialect in [Responses, Messages] {
            let there = translate(&chat, Chat, dialect);
            prop_assert_eq!(&routing_request(&map(there.clone()), dialect).expect("valid"), &expected);
            let mut back = translate(&there, dialect, Chat);
            back.as_object_mut().expect("an object").remove("store");
            prop_assert_eq!(&back, &chat);
        }
    }
}
