//! The recorded replies, by prompt and model. Each text is held once, the prompts not at all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use thiserror::Error;
use tiercast_records::RecordsError;
use tiercast_records::completions::{self, Completion};

use crate::calls::{self, Call};
use crate::key::Key;
use crate::request::last_user_text;

/// A reply as it was recorded.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// None where the file has a row but no reply, or a reply that only calls tools.
    pub(crate) text: Option<Box<str>>,
    pub(crate) calls: Box<[Call]>,
    pub(crate) finish_reason: Option<Box<str>>,
    /// Log probabilities of its tokens, as JSON.
    pub(crate) logprobs: Option<Box<str>>,
    pub(crate) input_tokens: Option<u32>,
    pub(crate) cached_input_tokens: Option<u32>,
    pub(crate) output_tokens: Option<u32>,
    pub(crate) latency_s: Option<f64>,
}

impl Recorded {
    /// Whether there is something to replay.
    fn is_reply(&self) -> bool {
        self.text.is_some() || !self.calls.is_empty()
    }

    /// Length of the text and of what tools are called with.
    pub(crate) fn n_characters(&self) -> usize {
        let calls = self.calls.iter().map(|call| &*call.arguments);
        let texts = self.text.as_deref().into_iter().chain(calls);
        texts.map(|text| text.chars().count()).sum()
    }
}

/// What a model said to a prompt: once, or a few times where the file has several samples.
#[derive(Debug, Default)]
pub(crate) struct Pair {
    /// By sample.
    samples: Vec<(u32, Recorded)>,
    n_asked: AtomicU32,
    n_given: AtomicU32,
}

impl Pair {
    /// How often it was asked for before; counts this time.
    pub(crate) fn attempt(&self) -> u32 {
        self.n_asked.fetch_add(1, Ordering::Relaxed)
    }

    /// The sample whose turn it is. Only one that the client gets whole makes it the next one's turn: who asks
    /// again after a fault still gets every sample once.
    pub(crate) fn turn(&self, is_whole: bool) -> &Recorded {
        let n_given = match is_whole {
            true => self.n_given.fetch_add(1, Ordering::Relaxed),
            false => self.n_given.load(Ordering::Relaxed),
        };
        let n_replies = self.replies().count().max(1);
        let mut replies = self.replies().cycle().skip(n_given as usize % n_replies);
        replies.next().expect("pairs without a reply are not found")
    }

    fn add(&mut self, sample: u32, recorded: Recorded) -> Result<(), &'static str> {
        let at = self.samples.partition_point(|(held, _)| *held < sample);
        if self.samples.get(at).is_some_and(|(held, _)| *held == sample) {
            return Err(
                "the pair is there twice; leave one row per prompt and model, or number them in the column `sample`",
            );
        }
        self.samples.insert(at, (sample, recorded));
        Ok(())
    }

    fn replies(&self) -> impl Iterator<Item = &Recorded> + Clone {
        let all = self.samples.iter().map(|(_, recorded)| recorded);
        all.filter(|recorded| recorded.is_reply())
    }
}

/// Everything that can be replayed.
#[derive(Debug, Default)]
pub struct Library {
    models: Vec<String>,
    prompts: HashSet<Key>,
    replies: HashMap<(Key, usize), Pair>,
    /// By the text that the user says last in messages, and by model: the prompt, none where there are several.
    last_texts: HashMap<(Key, usize), Option<Key>>,
    has_messages: bool,
}

/// Why a library cannot be made.
#[derive(Debug, Error)]
pub enum LibraryError {
    /// The file cannot be read, or breaks a rule.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A prompt that should be JSON and is not, or a pair twice.
    #[error("{}: prompt {prompt_id}, model `{model}`: {what}", file.display())]
    Row {
        /// The file.
        file: PathBuf,
        /// The prompt's id.
        prompt_id: String,
        /// The model.
        model: String,
        /// What is wrong, and the mend.
        what: &'static str,
    },
    /// Models were asked for that answered nothing.
    #[error("no reply of {unknown} in {}; its models are: {known}", file.display())]
    NoSuchModel {
        /// The file.
        file: PathBuf,
        /// Those asked for.
        unknown: String,
        /// Those there are.
        known: String,
    },
}

/// Why there is nothing to replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Model,
    Prompt,
    Several,
    Pair,
    Reply,
}

impl Library {
    /// Reads an outcome file; `models` narrows it.
    pub fn read(file: &Path, models: Option<&[String]>) -> Result<Self, LibraryError> {
        let mut library = Self::default();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        let mut first_wrong = None;
        completions::for_each(file, |row| {
            let is_wanted = models.is_none_or(|models| models.iter().any(|model| model == row.model));
            let next = library.models.len();
            let model = *known
                .entry(row.model.to_owned())
                .or_insert(if is_wanted { next } else { usize::MAX });
            if !is_wanted || first_wrong.is_some() {
                return;
            }
            if model == next {
                library.models.push(row.model.to_owned());
            }
            first_wrong = library.add(&row, model).err().map(|what| LibraryError::Row {
                file: file.to_path_buf(),
                prompt_id: row.prompt_id.to_owned(),
                model: row.model.to_owned(),
                what,
            });
        })?;
        first_wrong.map_or(Ok(()), Err)?;
        check_models(file, models, &known)?;
        library.replies.shrink_to_fit();
        Ok(library)
    }

    fn add(&mut self, row: &Completion<'_>, model: usize) -> Result<(), &'static str> {
        let key = self.key_of(row, model)?;
        let calls = row.tool_calls.map(calls::read).transpose()?.unwrap_or_default();
        // A reply that says nothing has its calls for a text in the file.
        let text = row
            .response
            .filter(|text| calls.is_empty() || row.tool_calls != Some(*text));
        let recorded = Recorded {
            text: text.map(Into::into),
            calls: calls.into(),
            finish_reason: row.finish_reason.map(Into::into),
            logprobs: row.logprobs.map(Into::into),
            input_tokens: row.input_tokens,
            cached_input_tokens: row.cached_input_tokens,
            output_tokens: row.output_tokens,
            latency_s: row.latency_s,
        };
        self.prompts.insert(key);
        let pair = self.replies.entry((key, model)).or_default();
        pair.add(row.sample.unwrap_or(0), recorded)
    }

    fn key_of(&mut self, row: &Completion<'_>, model: usize) -> Result<Key, &'static str> {
        match row.prompt {
            Some(prompt) if row.is_messages_json => {
                self.has_messages = true;
                let prompt: Value = serde_json::from_str(prompt)
                    .map_err(|_| "the prompt is not JSON; write {\"messages\": [...], \"tools\": [...]} or set prompt_format to text")?;
                let key = Key::of_messages(&prompt["messages"], &prompt["tools"]);
                if let Some(text) = last_user_text(&prompt["messages"]) {
                    let last = self.last_texts.entry((Key::of_text(&text), model));
                    // Samples of one prompt are no other prompts.
                    last.and_modify(|known| *known = known.filter(|known| *known == key))
                        .or_insert(Some(key));
                }
                Ok(key)
            }
            Some(prompt) => Ok(Key::of_text(prompt)),
            None => Key::of_id(row.prompt_id)
                .ok_or("it has neither text nor an id of 16 hex digits; use a file with the column `prompt`"),
        }
    }

    /// Names of the models, in the order of the file.
    pub fn models(&self) -> &[String] {
        &self.models
    }

    /// Number of prompts.
    pub fn n_prompts(&self) -> usize {
        self.prompts.len()
    }

    /// Number of replies, every sample of a pair counted.
    pub fn n_replies(&self) -> usize {
        self.replies.values().map(|pair| pair.replies().count()).sum()
    }

    /// Pairs that were asked for, and calls beyond the first of each.
    pub(crate) fn asked(&self) -> (u64, u64) {
        let asked = self.replies.values().map(|pair| pair.n_asked.load(Ordering::Relaxed));
        asked
            .filter(|n| *n > 0)
            .fold((0, 0), |(pairs, again), n| (pairs + 1, again + u64::from(n) - 1))
    }

    /// The replies to a request, its prompt's key, and the model's index. There is one at least.
    pub(crate) fn find(
        &self,
        model: &str,
        messages: &Value,
        tools: &Value,
        last_user_text: Option<&str>,
    ) -> Result<(Key, usize, &Pair), Missing> {
        let model = self
            .models
            .iter()
            .position(|name| name == model)
            .ok_or(Missing::Model)?;
        let key = self.key(model, messages, tools, last_user_text)?;
        let pair = self.replies.get(&(key, model)).ok_or(Missing::Pair)?;
        match pair.replies().next() {
            Some(_) => Ok((key, model, pair)),
            None => Err(Missing::Reply),
        }
    }

    /// The prompt that is asked: these messages, or this text, or messages that the user ends so.
    fn key(&self, model: usize, messages: &Value, tools: &Value, last_user_text: Option<&str>) -> Result<Key, Missing> {
        let as_messages = self.has_messages.then(|| Key::of_messages(messages, tools));
        let as_text = last_user_text
            .into_iter()
            .flat_map(|text| [Key::of_text(text), Key::of_id_of(text)]);
        let mut keys = as_messages.into_iter().chain(as_text);
        match keys.find(|key| self.prompts.contains(key)) {
            Some(key) => Ok(key),
            None => self.key_of_last(model, last_user_text.ok_or(Missing::Prompt)?),
        }
    }

    /// The one prompt of messages whose last text of the user this is, of those the model answered.
    fn key_of_last(&self, model: usize, text: &str) -> Result<Key, Missing> {
        let text = Key::of_text(text);
        let of = |model| self.last_texts.get(&(text, model));
        match of(model) {
            Some(key) => key.ok_or(Missing::Several),
            None if (0..self.models.len()).any(|other| of(other).is_some()) => Err(Missing::Pair),
            None => Err(Missing::Prompt),
        }
    }
}

fn check_models(file: &Path, models: Option<&[String]>, known: &BTreeMap<String, usize>) -> Result<(), LibraryError> {
    let unknown: Vec<String> = models
        .into_iter()
        .flatten()
        .filter(|model| !known.contains_key(*model))
        .map(|model| format!("`{model}`"))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(LibraryError::NoSuchModel {
        file: file.to_path_buf(),
        unknown: unknown.join(", "),
        known: known.keys().cloned().collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A row to replay.
    pub(crate) fn row<'a>(prompt: &'a str, model: &'a str, response: Option<&'a str>) -> Completion<'a> {
        Completion {
            prompt_id: "p",
            prompt: Some(prompt),
            is_messages_json: false,
            sample: None,
            model,
            response,
            tool_calls: None,
            finish_reason: None,
            logprobs: None,
            input_tokens: Some(9),
            cached_input_tokens: None,
            output_tokens: Some(2),
            latency_s: None,
        }
    }

    /// A library of these rows.
    pub(crate) fn library(rows: &[Completion<'_>]) -> Library {
        let mut library = Library::default();
        for row in rows {
            let models = &mut library.models;
            let model = models.iter().position(|name| name == row.model).unwrap_or_else(|| {
                models.push(row.model.to_owned());
                models.len() - 1
            });
            library.add(row, model).unwrap();
        }
        library
    }

    fn find(library: &Library, model: &str, messages: &Value) -> Result<String, Missing> {
        let text = messages[0]["content"].as_str();
        let (_, _, pair) = library.find(model, messages, &Value::Null, text)?;
        Ok(pair.turn(true).text.as_deref().unwrap().to_owned())
    }

    #[test]
    fn prompts_are_found_by_text_by_messages_and_by_id() {
        let messages = Completion {
            is_messages_json: true,
            ..row(
                r#"{"tools": [], "messages": [{"content": "add", "role": "user"}]}"#,
                "m",
                Some("c"),
            )
        };
        // The first 16 digits of the SHA-256 of "abc".
        let by_id = Completion {
            prompt: None,
            prompt_id: "ba7816bf8f01cfea",
            ..row("", "m", Some("d"))
        };
        let library = library(&[
            row("hi", "m", Some("a")),
            row("ho", "n", Some("b")),
            messages,
            by_id,
            row("x", "m", None),
        ]);
        let ask = |text: &str| json!([{"role": "user", "content": text}]);
        let cases = [
            ("m", ask("hi"), Ok("a")),
            ("n", ask("ho"), Ok("b")),
            ("m", ask("add"), Ok("c")),
            ("m", ask("abc"), Ok("d")),
            ("m", ask("ho"), Err(Missing::Pair)),
            ("m", ask("x"), Err(Missing::Reply)),
            ("m", ask("hi "), Err(Missing::Prompt)),
            ("o", ask("hi"), Err(Missing::Model)),
        ];
        for (model, messages, expected) in cases {
            assert_eq!(
                find(&library, model, &messages),
                expected.map(str::to_owned),
                "{messages}"
            );
        }
        assert_eq!((library.n_prompts(), library.n_replies()), (5, 4));
    }

    #[test]
    fn messages_are_found_by_the_last_text_where_it_is_that_of_one_prompt() {
        let asked = |system: &str, text: &str| json!([{"role": "system", "content": system}, {"role": "user", "content": text}]);
        let prompt = |system: &str, text: &str| json!({"messages": asked(system, text), "tools": []}).to_string();
        let prompts = [prompt("one", "add"), prompt("two", "add"), prompt("one", "end")];
        let messages = |prompt: usize, model, response| Completion {
            is_messages_json: true,
            ..row(&prompts[prompt], model, Some(response))
        };
        let library = library(&[
            messages(0, "m", "a"),
            messages(1, "m", "b"),
            messages(0, "n", "c"),
            messages(2, "m", "d"),
            row("hi", "m", Some("e")),
        ]);
        let cases = [
            ("m", asked("two", "add"), Ok("b")),
            ("m", asked("three", "add"), Err(Missing::Several)),
            ("n", asked("three", "add"), Ok("c")),
            ("n", asked("two", "add"), Err(Missing::Pair)),
            ("m", asked("three", "end"), Ok("d")),
            ("n", asked("three", "end"), Err(Missing::Pair)),
            ("m", asked("three", "hi"), Ok("e")),
            ("m", asked("one", "go"), Err(Missing::Prompt)),
        ];
        let tools = json!([{"type": "function", "function": {"name": "add"}}]);
        for (model, messages, expected) in cases {
            let text = messages[1]["content"].as_str();
            let found = library.find(model, &messages, &Value::Null, text);
            let found = found.map(|(_, _, pair)| pair.turn(true).text.as_deref().unwrap());
            assert_eq!(found, expected, "{model} {messages}");
        }
        let messages = asked("one", "end");
        assert!(library.find("m", &messages, &tools, Some("end")).is_ok());
    }

    #[test]
    fn calls_are_a_reply_with_or_without_text() {
        let calls = r#"[{"id": "a", "function": {"name": "add", "arguments": "{}"}}]"#;
        let calling = |prompt, response| Completion {
            tool_calls: Some(calls),
            ..row(prompt, "m", response)
        };
        let library = library(&[
            calling("none", None),
            calling("same", Some(calls)),
            calling("more", Some("Adding.")),
        ]);
        for (prompt, expected) in [("none", None), ("same", None), ("more", Some("Adding."))] {
            let (_, _, pair) = library
                .find("m", &Value::Null, &Value::Null, Some(prompt))
                .expect(prompt);
            let recorded = pair.turn(true);
            assert_eq!((recorded.text.as_deref(), recorded.calls.len()), (expected, 1));
        }
        assert_eq!(library.n_replies(), 3);
    }

    #[test]
    fn samples_are_given_in_turn() {
        let sample = |number, text| Completion {
            sample: Some(number),
            ..row("hi", "m", text)
        };
        let library = library(&[sample(1, Some("b")), sample(0, Some("a")), sample(2, None)]);
        let (_, _, pair) = library.find("m", &Value::Null, &Value::Null, Some("hi")).unwrap();
        let given = [true, false, true, true].map(|is_whole| pair.turn(is_whole).text.as_deref());
        assert_eq!(given, ["a", "b", "b", "a"].map(Some));
        assert_eq!((library.n_prompts(), library.n_replies()), (1, 2));
    }

    #[test]
    fn samples_of_messages_are_of_one_prompt() {
        let body =
            r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "add"}], "tools": []}"#;
        let sample = |number| Completion {
            sample: Some(number),
            is_messages_json: true,
            ..row(body, "m", Some("a"))
        };
        let library = library(&[sample(0), sample(1)]);
        assert!(library.find("m", &Value::Null, &Value::Null, Some("add")).is_ok());
    }

    #[test]
    fn rows_that_cannot_be_replayed() {
        let mut library = library(&[row("hi", "m", Some("a"))]);
        assert!(
            library
                .add(&row("hi", "m", Some("b")), 0)
                .unwrap_err()
                .contains("twice")
        );
        let broken = Completion {
            is_messages_json: true,
            ..row("hi", "m", None)
        };
        assert!(library.add(&broken, 0).unwrap_err().contains("not JSON"));
        let miscalled = Completion {
            tool_calls: Some("add(1)"),
            ..row("ho", "m", None)
        };
        assert!(library.add(&miscalled, 0).unwrap_err().contains("`tool_calls`"));
        let nameless = Completion {
            prompt: None,
            ..row("", "m", None)
        };
        assert!(library.add(&nameless, 0).unwrap_err().contains("neither text"));
    }
}
