//! What a request gets, as a value: head, pieces, when each comes, and how it ends.

use std::time::Duration;

use bytes::Bytes;
use tiercast_chat::{BadReply, Dialect, ReplyOptions, SseEvent, Usage, error_body};

use crate::completion::Completion;
use crate::faults::{FaultKind, Faults};
use crate::library::Recorded;
use crate::pace::Pace;
use crate::usage;
use crate::wording::Wording;

/// Pieces of a slow drip.
const DRIPS: usize = 20;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const HTML: &str = "text/html; charset=utf-8";

/// What an event has before its JSON.
const DATA: &[u8] = b"data: ";

/// A page as a proxy would write it.
const PAGE: &str =
    "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><h1>Sign in to continue</h1></body></html>\n";

/// An answer to be played.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Script {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) retry_after_s: Option<u32>,
    /// Before the head.
    pub(crate) wait: Duration,
    /// Each comes so long after the one before it.
    pub(crate) pieces: Vec<(Duration, Bytes)>,
    /// The connection breaks after the last piece.
    pub(crate) is_cut: bool,
    /// Tokens as a whole reply tells them, if they can be.
    pub(crate) told: Option<Usage>,
}

/// What decides about an answer, beside the reply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) options: &'a ReplyOptions,
    pub(crate) is_streamed: bool,
    pub(crate) wants_usage: bool,
    pub(crate) pace: Pace,
    pub(crate) fault: Option<FaultKind>,
    pub(crate) faults: &'a Faults,
    /// Chooses among the ways of a fault.
    pub(crate) way: u64,
}

impl Terms<'_> {
    /// Tokens to tell, where they are told at all.
    fn usage(&self, recorded: &Recorded) -> Option<Usage> {
        let usage = usage::recorded(recorded);
        let usage = match self.fault {
            Some(FaultKind::FalseUsage) => usage.map(|usage| usage::times(usage, self.faults.usage_factor)),
            Some(FaultKind::WrongUsage) => usage.or(Some(Usage::default())),
            _ => usage,
        };
        usage.filter(|_| self.wants_usage)
    }

    /// The wording of a reply with this usage.
    fn wording(&self, usage: Option<Usage>) -> Wording<'_> {
        let is_wrong = self.fault == Some(FaultKind::WrongUsage);
        let wrong = || usage::wrong(usage.unwrap_or_default(), self.dialect, self.way);
        Wording {
            dialect: self.dialect,
            options: self.options,
            wrong_usage: is_wrong.then(wrong),
        }
    }
}

impl Script {
    /// The answer with `completion` under `terms`. A reply that its dialect cannot say has none.
    pub(crate) fn of(completion: &Completion<'_>, terms: &Terms<'_>) -> Result<Self, BadReply> {
        let refusal = |status, code, message| Self::refusal(terms.dialect, status, code, message);
        let reply = || Self::reply(completion, terms);
        let script = match terms.fault {
            Some(FaultKind::RateLimit) => refusal(429, "rate_limit_exceeded", "too many requests"),
            Some(FaultKind::RetryAfter) => Self {
                retry_after_s: Some(terms.faults.retry_after_s),
                ..refusal(429, "rate_limit_exceeded", "too many requests")
            },
            Some(FaultKind::ServerError) => refusal(500, "internal_error", "the model failed"),
            Some(FaultKind::Timeout) => Self {
                wait: terms.faults.hang(),
                ..refusal(504, "timeout", "the model took too long")
            },
            Some(FaultKind::Html) => Self::whole(HTML, Bytes::from_static(PAGE.as_bytes())),
            None | Some(FaultKind::WrongUsage | FaultKind::FalseUsage) => reply()?,
            Some(FaultKind::CutStream) => reply()?.cut(),
            Some(FaultKind::MalformedJson) => reply()?.malformed(),
            Some(FaultKind::SlowDrip) => reply()?.dripping(terms.faults.drip()),
        };
        Ok(script.merged())
    }

    fn refusal(dialect: Dialect, status: u16, code: &str, message: &str) -> Self {
        let message = format!("{message} (a fault that was asked for)");
        let error = serde_json::Value::from(error_body(dialect, status, code, &message));
        Self {
            status,
            ..Self::whole(JSON, error.to_string().into())
        }
    }

    fn whole(content_type: &'static str, body: Bytes) -> Self {
        Self {
            status: 200,
            content_type,
            retry_after_s: None,
            wait: Duration::ZERO,
            pieces: vec![(Duration::ZERO, body)],
            is_cut: false,
            told: None,
        }
    }

    fn reply(completion: &Completion<'_>, terms: &Terms<'_>) -> Result<Self, BadReply> {
        let (recorded, usage) = (completion.recorded, terms.usage(completion.recorded));
        let wording = terms.wording(usage);
        let in_chat = usage.map(usage::in_chat);
        let script = if terms.is_streamed {
            Self::stream(wording.events(&completion.chunks(in_chat)), |n| {
                terms.pace.pieces(recorded, n)
            })
        } else {
            let reply = wording.object(completion.object(in_chat))?;
            Self {
                wait: terms.pace.whole(recorded),
                ..Self::whole(JSON, reply.to_string().into())
            }
        };
        Ok(Self {
            told: usage.filter(|_| wording.wrong_usage.is_none()),
            ..script
        })
    }

    /// The events of the first chunk (the role) come at once, as they do from real servers, and the
    /// end comes with the last chunk. A chunk without events only takes its time.
    fn stream(chunks: Vec<Vec<SseEvent>>, pace: impl FnOnce(usize) -> (Duration, Duration)) -> Self {
        let end = chunks.len() - 1;
        let (first, gap) = pace(end - 1);
        let mut after = Duration::ZERO;
        let mut pieces = Vec::new();
        for (i, events) in chunks.into_iter().enumerate() {
            after += match i {
                0 => Duration::ZERO,
                i if i == end => Duration::ZERO,
                1 => first,
                _ => gap,
            };
            let events = events.into_iter();
            pieces.extend(events.map(|event| (std::mem::take(&mut after), Bytes::from(event.to_bytes()))));
        }
        Self {
            pieces,
            ..Self::whole(EVENTS, Bytes::new())
        }
    }

    /// Half of it, and no end.
    fn cut(mut self) -> Self {
        self.keep_half();
        self.is_cut = true;
        self
    }

    /// Half of it; the last event ends in the middle, as does the JSON of a plain reply.
    fn malformed(mut self) -> Self {
        self.keep_half();
        if self.content_type == EVENTS {
            let (_, last) = self
                .pieces
                .last_mut()
                .expect("a stream has its role and [DONE] at least");
            *last = half_event(last);
        }
        self
    }

    fn keep_half(&mut self) {
        self.told = None;
        match self.pieces.len() {
            1 => {
                let (_, body) = &mut self.pieces[0];
                body.truncate(body.len() / 2);
            }
            n => self.pieces.truncate(n / 2),
        }
    }

    fn dripping(self, time: Duration) -> Self {
        let body: Vec<u8> = self
            .pieces
            .iter()
            .flat_map(|(_, bytes)| bytes.iter().copied())
            .collect();
        let length = body.len().div_ceil(DRIPS).max(1);
        let gap = time / u32::try_from(DRIPS).expect("twenty is a number");
        let pieces = body.chunks(length).map(|piece| (gap, Bytes::copy_from_slice(piece)));
        Self {
            pieces: pieces.collect(),
            ..self
        }
    }

    /// What comes at once comes in one piece.
    fn merged(mut self) -> Self {
        let mut merged: Vec<(Duration, Vec<u8>)> = Vec::new();
        for (after, bytes) in self.pieces {
            match merged.last_mut() {
                Some((_, last)) if after.is_zero() => last.extend_from_slice(&bytes),
                _ => merged.push((after, bytes.into())),
            }
        }
        self.pieces = merged.into_iter().map(|(after, bytes)| (after, bytes.into())).collect();
        self
    }
}

/// An event whose JSON ends in the middle.
fn half_event(event: &[u8]) -> Bytes {
    let data = event.windows(DATA.len()).position(|bytes| bytes == DATA);
    let start = data.map_or(0, |at| at + DATA.len());
    let end = start + (event.len() - start) / 2;
    [&event[..end], b"\n\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn recorded() -> Recorded {
        Recorded {
            text: Some("The answer is forty-two, as it always was.".into()),
            input_tokens: Some(9),
            output_tokens: Some(11),
            latency_s: Some(10.0),
            ..Recorded::default()
        }
    }

    fn script(is_streamed: bool, wants_usage: bool, pace: Pace, fault: Option<FaultKind>) -> Script {
        script_in(Dialect::Chat, is_streamed, wants_usage, pace, fault)
    }

    fn script_in(
        dialect: Dialect,
        is_streamed: bool,
        wants_usage: bool,
        pace: Pace,
        fault: Option<FaultKind>,
    ) -> Script {
        let completion = Completion {
            id: "replay-1",
            model: "m",
            recorded: &recorded(),
            with_logprobs: false,
        };
        let terms = Terms {
            dialect,
            options: &ReplyOptions::default(),
            is_streamed,
            wants_usage,
            pace,
            fault,
            faults: &Faults::default(),
            way: 0,
        };
        Script::of(&completion, &terms).unwrap()
    }

    fn text(script: &Script) -> String {
        let bytes: Vec<u8> = script.pieces.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
        String::from_utf8(bytes).unwrap()
    }

    fn seconds(script: &Script) -> f64 {
        let pieces: Duration = script.pieces.iter().map(|(after, _)| *after).sum();
        (script.wait + pieces).as_secs_f64()
    }

    #[test]
    fn plain_and_streamed_at_every_pace() {
        let plain = script(false, true, Pace::Instant, None);
        let body: Value = serde_json::from_str(&text(&plain)).unwrap();
        assert_eq!(
            body["choices"][0]["message"]["content"],
            "The answer is forty-two, as it always was."
        );
        assert_eq!(
            body["usage"],
            json!({"prompt_tokens": 9, "completion_tokens": 11, "total_tokens": 20})
        );
        assert_eq!((plain.pieces.len(), seconds(&plain)), (1, 0.0));

        let streamed = script(true, true, Pace::Instant, None);
        assert_eq!((streamed.pieces.len(), seconds(&streamed)), (1, 0.0));
        let events: Vec<String> = text(&streamed).split("\n\n").map(str::to_owned).collect();
        assert_eq!(events.len(), 1 + 3 + 1 + 1 + 1 + 1);
        assert!(events[0].contains("\"role\":\"assistant\"") && events[4].contains("\"finish_reason\":\"stop\""));
        assert!(events[5].contains("\"total_tokens\":20") && events[6] == "data: [DONE]");
        assert!(!text(&script(true, false, Pace::Instant, None)).contains("usage"));

        for is_streamed in [false, true] {
            let slow = script(is_streamed, true, Pace::Recorded { speed: 2.0 }, None);
            assert!((seconds(&slow) - 5.0).abs() < 1e-6);
            assert_eq!(slow.pieces.len(), if is_streamed { 6 } else { 1 });
        }
    }

    #[test]
    fn streams_take_their_time_in_every_dialect() {
        for dialect in Dialect::ALL {
            let pace = Pace::Recorded { speed: 2.0 };
            let slow = script_in(dialect, true, true, pace, None);
            assert!((seconds(&slow) - 5.0).abs() < 1e-6, "{dialect:?}: {slow:?}");
            assert!(slow.pieces.len() >= 4, "{dialect:?}: {slow:?}");
        }
    }

    /// Whether the last event, or the whole body, is JSON.
    fn ends_in_json(said: &str) -> bool {
        let last = said.rsplit("data: ").next().unwrap();
        serde_json::from_str::<Value>(last).is_ok()
    }

    #[test]
    fn every_fault_in_every_dialect() {
        for (dialect, is_streamed) in Dialect::ALL
            .into_iter()
            .flat_map(|dialect| [(dialect, false), (dialect, true)])
        {
            let faulty = |kind| script_in(dialect, is_streamed, true, Pace::Instant, kind);
            let sound = faulty(None);
            let whole = text(&sound);
            assert_eq!(sound.told.map(|usage| (usage.input, usage.output)), Some((9, 11)));
            for kind in FaultKind::ALL {
                let script = faulty(Some(kind));
                let said = text(&script);
                let is_refusal = said.contains("a fault that was asked for") && said.contains("\"error\":{");
                let is_half = said.len() < whole.len();
                let is_right = match kind {
                    FaultKind::RateLimit => script.status == 429 && script.retry_after_s.is_none() && is_refusal,
                    FaultKind::RetryAfter => script.status == 429 && script.retry_after_s == Some(1) && is_refusal,
                    FaultKind::ServerError => script.status == 500 && is_refusal,
                    FaultKind::Timeout => script.wait == Duration::from_mins(10) && is_refusal,
                    FaultKind::CutStream => script.is_cut && whole.starts_with(&said) && is_half,
                    FaultKind::MalformedJson => !script.is_cut && !ends_in_json(&said) && is_half,
                    FaultKind::Html => script.content_type == HTML,
                    FaultKind::WrongUsage if dialect == Dialect::Messages => said.contains("\"output_tokens\":-1"),
                    FaultKind::WrongUsage => said.contains("\"total_tokens\":0"),
                    FaultKind::FalseUsage => {
                        said.contains("_tokens\":90,") && script.told.is_some_and(|told| told.output == 110)
                    }
                    FaultKind::SlowDrip => {
                        said == whole && script.pieces.len() == 20 && (seconds(&script) - 2.0).abs() < 0.01
                    }
                };
                assert!(is_right, "{dialect:?} {kind:?}: {script:?}");
                let is_told = matches!(kind, FaultKind::FalseUsage | FaultKind::SlowDrip);
                assert_eq!(script.told.is_some(), is_told, "{dialect:?} {kind:?}");
            }
        }
    }
}
