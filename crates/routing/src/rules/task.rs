//! What kind of task an ask is, where it says so in plain words.
//!
//! Only the beginning and the end of the ask are read, where instructions stand; what is between is mostly
//! the material. An ask that wants something written or explained is left without a label, even where it
//! speaks of classes: the label sends it to a small model, so a miss is cheaper than a false hit. Fields of
//! a JSON schema are not looked at, since a [`Request`] does not carry them.

use crate::request::Request;

/// Values of the signal `asks_for`.
pub(super) const ASKED_FOR: [&str; 3] = ["json", "code", "text"];

/// Characters that are read at either end.
const END_CHARS: usize = 400;

const SLOT_FILLING: [&str; 8] = [
    "extract the following",
    "extract these fields",
    "extract the fields",
    "fill in the fields",
    "fill in the following fields",
    "fill in the slots",
    "fill the slots",
    "slot filling",
];

const CLASSIFICATION: [&str; 14] = [
    "classify",
    "categorize",
    "categorise",
    "which category",
    "which class",
    "which label",
    "which intent",
    "label the",
    "label each",
    "assign a label",
    "assign a category",
    "what is the sentiment",
    "spam or not",
    "positive or negative",
];

/// Signs that something is to be written or explained.
const WRITING: [&str; 8] = [
    "write a",
    "write an",
    "implement",
    "explain how",
    "how do",
    "how can",
    "how to",
    "program",
];

const CODE: [&str; 10] = [
    "code",
    "python",
    "javascript",
    "typescript",
    "java",
    "rust",
    "sql",
    "script",
    "html",
    "regex",
];

/// `classification`, `slot_filling` or nothing.
pub(super) fn infer(ask: &str) -> Option<&'static str> {
    let ends = ends(ask);
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| has_words(&ends, phrase));
    match () {
        () if says(&WRITING) => None,
        () if says(&SLOT_FILLING) => Some("slot_filling"),
        () if says(&CLASSIFICATION) => Some("classification"),
        () => None,
    }
}

/// `json` where a schema is required or the ask names it, `code` where it names a language or has a code
/// block, else `text`.
pub(super) fn asked_for(request: &Request) -> &'static str {
    let ends = ends(&request.ask);
    let [json, code, text] = ASKED_FOR;
    if request.needs.json_schema || has_words(&ends, json) {
        json
    } else if request.ask.contains("```") || CODE.iter().any(|word| has_words(&ends, word)) {
        code
    } else {
        text
    }
}

/// Beginning and end in lower case, words parted by one space.
fn ends(ask: &str) -> String {
    let begin = ask.char_indices().nth(END_CHARS).map_or(ask.len(), |(byte, _)| byte);
    let end = ask.char_indices().nth_back(END_CHARS - 1).map_or(0, |(byte, _)| byte);
    let mut text = ask[..begin].to_lowercase();
    if end > 0 {
        text.push_str(" \u{2026} ");
        text.push_str(&ask[end.max(begin)..].to_lowercase());
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the phrase is there as whole words.
fn has_words(text: &str, phrase: &str) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(phrase).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + phrase.len()..]);
        !is_word(before.chars().next_back()) && !is_word(after.chars().next())
    })
}
