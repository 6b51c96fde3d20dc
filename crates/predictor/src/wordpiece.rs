//! WordPiece, as BERT's uncased models read text: ASCII by a short path of our own, all else by the
//! library's tokenizer, which is also the reference that the tests compare with.
//!
//! The library tracks where every character came from, which costs ten times the look-ups. Words end
//! at whitespace before anything else happens to them, so that each can take its own path.

use std::collections::HashMap;

use tokenizers::Tokenizer;

/// The library's limit; a longer word is unknown.
const LONGEST_WORD: usize = 100;
/// Goes before a piece that does not begin a word.
const CONTINUED: &str = "##";
const UNKNOWN: &str = "[UNK]";

/// A tokenizer. Shared between threads.
pub struct WordPiece {
    library: Tokenizer,
    /// Pieces that begin a word.
    first: HashMap<Box<str>, u32>,
    /// Pieces that continue one, without their prefix.
    continued: HashMap<Box<str>, u32>,
    unknown: u32,
    longest_piece: usize,
    /// Texts like `[MASK]`, which the library finds before it looks at words.
    special: Vec<String>,
}

impl WordPiece {
    /// From the JSON of a WordPiece tokenizer.
    pub fn from_bytes(json: &[u8]) -> tokenizers::Result<Self> {
        let library = Tokenizer::from_bytes(json)?;
        let (mut first, mut continued) = (HashMap::new(), HashMap::new());
        let mut pieces: Vec<(String, u32)> = library.get_vocab(false).into_iter().collect();
        pieces.sort_unstable_by_key(|(_, id)| *id);
        for (piece, id) in pieces {
            match piece.strip_prefix(CONTINUED) {
                Some(rest) => continued.insert(rest.into(), id),
                None => first.insert(piece.into(), id),
            };
        }
        let longest = |pieces: &HashMap<Box<str>, u32>| pieces.keys().map(|piece| piece.len()).max();
        let added = library.get_added_tokens_decoder();
        Ok(Self {
            unknown: library.token_to_id(UNKNOWN).ok_or("there is no [UNK]")?,
            longest_piece: longest(&first).max(longest(&continued)).unwrap_or(0),
            special: added.into_values().map(|token| token.content).collect(),
            library,
            first,
            continued,
        })
    }

    /// Pieces of a text, without special tokens.
    pub fn tokenize(&self, text: &str) -> Vec<u32> {
        let mut pieces = Vec::with_capacity(text.len() / 4);
        let mut lower = String::new();
        for word in text.split([' ', '\t', '\n', '\r']) {
            if word.is_ascii() && !self.is_special(word) {
                self.read_ascii(word, &mut lower, &mut pieces);
            } else {
                self.read_any(word, &mut pieces);
            }
        }
        pieces
    }

    fn is_special(&self, word: &str) -> bool {
        word.contains('[') && self.special.iter().any(|special| word.contains(special))
    }

    fn read_any(&self, word: &str, pieces: &mut Vec<u32>) {
        // WordPiece turns what it does not know into [UNK]; there is no text it refuses.
        if let Ok(encoding) = self.library.encode_fast(word, false) {
            pieces.extend_from_slice(encoding.get_ids());
        }
    }

    /// Without control characters and in lower case, every punctuation mark by itself.
    fn read_ascii(&self, word: &str, lower: &mut String, pieces: &mut Vec<u32>) {
        lower.clear();
        lower.extend(
            word.chars()
                .filter(|c| !c.is_ascii_control())
                .map(|c| c.to_ascii_lowercase()),
        );
        let mut rest = lower.as_str();
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_ascii_punctuation()).unwrap_or(rest.len());
            let (part, after) = rest.split_at(end.max(1));
            self.split(part, pieces);
            rest = after;
        }
    }

    /// The longest piece that a word begins with, again and again.
    fn split(&self, word: &str, pieces: &mut Vec<u32>) {
        let n_before = pieces.len();
        let (mut rest, mut known) = (word, &self.first);
        while !rest.is_empty() && word.len() <= LONGEST_WORD {
            let lengths = (1..=rest.len().min(self.longest_piece)).rev();
            let found = lengths.into_iter().find_map(|n| Some((*known.get(&rest[..n])?, n)));
            let Some((piece, n)) = found else { break };
            pieces.push(piece);
            (rest, known) = (&rest[n..], &self.continued);
        }
        if !rest.is_empty() {
            pieces.truncate(n_before);
            pieces.push(self.unknown);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static WORDPIECE: LazyLock<WordPiece> = LazyLock::new(|| {
        WordPiece::from_bytes(include_bytes!("../../../checkpoints/encoders/fast/tokenizer.json")).unwrap()
    });

    fn check(text: &str) {
        let expected = WORDPIECE.library.encode_fast(text, false).unwrap().get_ids().to_vec();
        assert_eq!(WORDPIECE.tokenize(text), expected, "{text:?}");
    }

    #[test]
    fn it_reads_as_the_library_does() {
        for text in [
            "",
            " ",
            "Hello, world",
            "unaffable antidisestablishmentarianism's f(x)=x^2",
            "a\0b\u{1}c \u{7f} d\x0be\x0cf\r\ng\th\u{1c}i",
            "[MASK] x[CLS]y [mask] [UN] a[0] [[PAD]]",
            "naïve café “quotes” e\u{301} don’t \u{301}x",
            "漢字kanji 一二三 ไทย 😀ok \u{a0}nbsp\u{a0}x \u{2028}y \u{3000}z",
            "İstanbul ΑΣ ΣΑΣ. ß ﬁ \u{feff}bom \u{202e}abc \u{fffd}",
            "##ing a## # ## \\frac{a}{b} $5 50% __init__ ~~~",
            &"x".repeat(100),
            &"x".repeat(101),
            &format!("{},{}", "ab".repeat(50), "ab".repeat(51)),
            &"1234567890".repeat(10),
        ] {
            check(text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn on_ascii(text in "[\\x00-\\x7f]{0,60}") {
            check(&text);
        }

        #[test]
        fn on_words(text in "([a-zA-Z]{1,12}[ ,.\\[\\]']{1,2}){0,12}") {
            check(&text);
        }

        #[test]
        fn on_any_text(text in "(\\PC|[ a-z]){0,30}") {
            check(&text);
        }
    }
}
