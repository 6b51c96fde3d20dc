//! Hashed n-grams of the ask: sparse content signals from which the text cannot be read back.

/// Word n-grams (one and two words) kept per ask.
pub const MAX_WORD_NGRAMS: usize = 160;
/// Character n-grams kept per ask.
pub const MAX_CHAR_NGRAMS: usize = 64;
/// Length of a character n-gram, word boundaries included.
const CHARS: usize = 4;
/// Stands between the words of a pair; no word contains it.
const BETWEEN: &[u8] = b" ";
/// Goes before a character n-gram, so that "tree" as a word and as characters differ.
const CHARS_MARK: &[u8] = b"#";

/// Hashed n-grams with their counts, strongest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ngrams {
    /// Single words and pairs of neighbours: at most [`MAX_WORD_NGRAMS`].
    pub words: Vec<(u32, u16)>,
    /// Four characters within `<word>`: at most [`MAX_CHAR_NGRAMS`].
    pub chars: Vec<(u32, u16)>,
}

/// N-grams of a text, which the caller has cut to a bounded length.
///
/// A word is a longest run of letters and digits, in lower case; character n-grams are taken from
/// words of letters only.
pub fn ngrams(text: &str) -> Ngrams {
    let lower = text.to_lowercase();
    let mut words = Counts::default();
    let mut chars = Counts::default();
    let mut before: Option<&str> = None;
    for word in lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        words.add(hash([word.as_bytes()]));
        if let Some(before) = before {
            words.add(hash([before.as_bytes(), BETWEEN, word.as_bytes()]));
        }
        before = Some(word);
        if word.chars().all(char::is_alphabetic) {
            add_chars(word, &mut chars);
        }
    }
    Ngrams {
        words: words.strongest(MAX_WORD_NGRAMS),
        chars: chars.strongest(MAX_CHAR_NGRAMS),
    }
}

fn add_chars(word: &str, counts: &mut Counts) {
    // A ring of the last four characters: the buffer never grows, whatever the word's length.
    let mut window = ['\0'; CHARS];
    for (n_seen, c) in std::iter::once('<')
        .chain(word.chars())
        .chain(std::iter::once('>'))
        .enumerate()
    {
        window.rotate_left(1);
        window[CHARS - 1] = c;
        if n_seen + 1 >= CHARS {
            let mut bytes = [0; 4 * CHARS];
            let mut n_bytes = 0;
            for c in window {
                n_bytes += c.encode_utf8(&mut bytes[n_bytes..]).len();
            }
            counts.add(hash([CHARS_MARK, &bytes[..n_bytes]]));
        }
    }
}

/// 64-bit FNV-1a over the parts, folded to 32 bits. The same on every platform.
fn hash<'text>(parts: impl IntoIterator<Item = &'text [u8]>) -> u32 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = parts.into_iter().flatten();
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    u32::try_from((hash >> 32) ^ (hash & 0xffff_ffff)).expect("both halves have 32 bits")
}

/// Hashes as they come; sorting them together is several times faster than a map.
#[derive(Default)]
struct Counts(Vec<u32>);

impl Counts {
    fn add(&mut self, hash: u32) {
        self.0.push(hash);
    }

    /// By count, ties by hash. Keeping the smallest hashes is a bottom-k sketch (Broder 1997, "On
    /// the resemblance and containment of documents"): two prompts that share n-grams keep the same.
    fn strongest(mut self, limit: usize) -> Vec<(u32, u16)> {
        self.0.sort_unstable();
        let count = |same: &[u32]| (same[0], u16::try_from(same.len()).unwrap_or(u16::MAX));
        let mut all: Vec<_> = self.0.chunk_by(|left, right| left == right).map(count).collect();
        all.sort_by(|(_, left), (_, right)| right.cmp(left));
        all.truncate(limit);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_agrees_with_the_published_vectors() {
        // http://www.isthe.com/chongo/tech/comp/fnv/: "" and "foobar", folded.
        assert_eq!(hash([b"".as_slice()]), 0xcbf2_9ce4 ^ 0x8422_2325);
        assert_eq!(hash([b"foobar".as_slice()]), 0x8594_4171 ^ 0xf739_67e8);
        assert_eq!(hash([b"foo".as_slice(), b"bar"]), hash([b"foobar".as_slice()]));
    }

    fn count(found: &[(u32, u16)], parts: &[&str]) -> u16 {
        let wanted = hash(parts.iter().map(|part| part.as_bytes()));
        found
            .iter()
            .find(|(hash, _)| *hash == wanted)
            .map_or(0, |(_, count)| *count)
    }

    #[test]
    fn words_and_pairs_are_counted() {
        let found = ngrams("The cat; the CAT sat.").words;
        assert_eq!(count(&found, &["the"]), 2);
        assert_eq!(count(&found, &["the cat"]), 2);
        assert_eq!(count(&found, &["cat", " ", "the"]), 1);
        assert_eq!(count(&found, &["dog"]), 0);
        assert_eq!(found.len(), 6);
    }

    #[test]
    fn characters_come_from_padded_words_of_letters() {
        let found = ngrams("an ab1 tree").chars;
        let expected = ["<an>", "<tre", "tree", "ree>"];
        assert_eq!(found.len(), expected.len());
        for ngram in expected {
            assert_eq!(count(&found, &["#", ngram]), 1, "{ngram}");
        }
    }

    #[test]
    fn the_strongest_come_first_and_are_bounded() {
        let text: String = (0..5000).map(|n| format!("w{n} common word ")).collect();
        let found = ngrams(&text);
        assert_eq!(found.words.len(), MAX_WORD_NGRAMS);
        let key = |(hash, count): &(u32, u16)| (u16::MAX - count, *hash);
        assert!(found.words.is_sorted_by_key(key));
        assert_eq!(count(&found.words, &["common"]), 5000);
        assert!(found.chars.len() <= MAX_CHAR_NGRAMS);
    }

    #[test]
    fn counts_stop_at_the_largest() {
        let found = ngrams(&"a ".repeat(70_000)).words;
        assert_eq!(count(&found, &["a"]), u16::MAX);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        for text in ["", " \n", "?!", "😀😀"] {
            assert_eq!(ngrams(text), Ngrams::default(), "{text:?}");
        }
    }
}
