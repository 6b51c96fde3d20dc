//! Any reply, in any pieces.

use proptest::prelude::*;

use super::*;
use crate::neutral::Output;
use crate::reply::Finish;

#[derive(Debug, Clone)]
struct Told {
    outputs: Vec<Output>,
    finish: Finish,
    usage: Option<Usage>,
}

fn told() -> impl Strategy<Value = Told> {
    let text = "[ -~é😀\n\"\\\\]{1,12}";
    let call = ("[a-z]{1,5}", prop::option::of("[a-zé\"]{0,9}")).prop_map(|(name, value)| Output::Call {
        id: format!("call_{name}"),
        name,
        arguments: value.map_or_else(|| "{}".to_owned(), |value| json!({"a": value}).to_string()),
    });
    let outputs = (
        prop::collection::vec(text, 0..3),
        prop::option::of(text),
        prop::collection::vec(call, 0..3),
    );
    let outputs = outputs.prop_map(|(texts, refusal, calls)| {
        let texts = texts.into_iter().map(Output::Text);
        texts.chain(refusal.map(Output::Refusal)).chain(calls).collect()
    });
    let finish = prop::sample::select(vec![Finish::Stop, Finish::Length, Finish::Filtered, Finish::ToolCalls]);
    let usage =
        (0..1000_u64, 0..1000_u64, 0..1000_u64, 0..1000_u64).prop_map(|(uncached, cached, output, reasoning)| Usage {
            input: uncached + cached,
            cached_input: cached,
            cache_written: 0,
            output,
            reasoning,
        });
    (outputs, finish, prop::option::of(usage)).prop_map(|(outputs, finish, usage)| Told { outputs, finish, usage })
}

/// The reply as a stream of a dialect, by our own writer: [`check_same`] holds it against the collectors.
fn tell(told: &Told, dialect: Dialect) -> Vec<SseEvent> {
    let mut writer = writer(dialect, options());
    let mut events = Vec::new();
    let mut write = |delta| writer.write(delta, &mut events);
    write(Delta::Start {
        id: Some("7f".to_owned()),
    });
    for output in &told.outputs {
        match output {
            Output::Text(text) => write(Delta::Text(text.clone())),
            Output::Refusal(text) => write(Delta::Refusal(text.clone())),
            Output::Call { id, name, arguments } => {
                write(Delta::Call {
                    id: id.clone(),
                    name: name.clone(),
                });
                let half = arguments
                    .char_indices()
                    .nth(arguments.chars().count() / 2)
                    .map_or(0, |(at, _)| at);
                write(Delta::Arguments(arguments[..half].to_owned()));
                write(Delta::Arguments(arguments[half..].to_owned()));
            }
        }
    }
    write(Delta::Finish(told.finish.clone()));
    if let Some(usage) = told.usage {
        write(Delta::Usage(usage));
    }
    writer.end(&mut events);
    events
}

proptest! {
    #[test]
    fn streaming_and_translating_commute(told in told()) {
        for from in Dialect::ALL {
            for to in Dialect::ALL {
                if from != to {
                    check_same(from, to, &tell(&told, from));
                }
            }
        }
    }

    #[test]
    fn any_split_of_the_bytes_gives_the_same_stream(told in told(), size in 1_usize..50) {
        for from in Dialect::ALL {
            let bytes: Vec<u8> = tell(&told, from).iter().flat_map(SseEvent::to_bytes).collect();
            for to in Dialect::ALL {
                let mut whole = StreamTranslator::new(from, to, options());
                let mut split = StreamTranslator::new(from, to, options());
                let mut expected = whole.push_bytes(&bytes);
                expected.extend(whole.finish_bytes());
                let mut got: Vec<u8> = bytes.chunks(size).flat_map(|piece| split.push_bytes(piece)).collect();
                got.extend(split.finish_bytes());
                prop_assert_eq!(&got, &expected);
                prop_assert_eq!(split.summary(), whole.summary());
                prop_assert!(split.summary().is_complete);
                if from == to {
                    prop_assert_eq!(&got, &bytes);
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_a_translator_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..30) {
        for from in Dialect::ALL {
            for to in Dialect::ALL {
                let mut translator = StreamTranslator::new(from, to, options());
                let start: Vec<u8> = stream(from).iter().take(cut).flat_map(SseEvent::to_bytes).collect();
                translator.push_bytes(&start);
                translator.push_bytes(&bytes);
                translator.finish_bytes();
                prop_assert!(translator.is_over());
            }
        }
    }
}
