//! The `fast` text encoder: one vector per WordPiece, summed over the text. Distilled from
//! MiniLM-L6 by `pipelines/encoder/distil_fast.py`; the weights are part of the binary.

use crate::wordpiece::WordPiece;

/// Length of an embedding.
pub const EMBEDDING_DIM: usize = 256;
/// Tokens that are read; an embedding of more would hardly change.
pub const MAX_TOKENS: usize = 2048;

/// Rows whose sum fits 32 bits: 256 * (2^16 - 1) * 2^7 < 2^31.
const MOST_NARROW: usize = 256;

static TABLE: &[u8] = include_bytes!("../../../checkpoints/encoders/fast/embedding.bin");
static TOKENIZER: &[u8] = include_bytes!("../../../checkpoints/encoders/fast/tokenizer.json");
const MAGIC: &[u8] = b"TIERCEM1";
const N_HEADER: usize = 16;

/// Tokenizer and table. Shared between threads.
pub struct FastEncoder {
    tokenizer: WordPiece,
    /// Factor of each row.
    scales: Vec<u16>,
    /// `[rows, EMBEDDING_DIM]`, each byte an `i8`.
    table: &'static [u8],
}

impl FastEncoder {
    /// Reads the weights that were compiled in; takes some tens of milliseconds for the tokenizer.
    #[expect(
        clippy::new_without_default,
        reason = "construction is slow, so it should be visible"
    )]
    pub fn new() -> Self {
        let tokenizer = WordPiece::from_bytes(TOKENIZER).expect("the committed tokenizer is valid");
        let (header, rows) = TABLE.split_at(N_HEADER);
        assert_eq!(&header[..8], MAGIC, "the committed table begins with its magic");
        assert_eq!(
            u32_at(header, 12),
            EMBEDDING_DIM,
            "the committed table has rows of this length"
        );
        let (scales, table) = rows.split_at(2 * u32_at(header, 8));
        let scales: Vec<u16> = scales
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        assert_eq!(
            table.len(),
            scales.len() * EMBEDDING_DIM,
            "the committed table is whole"
        );
        Self {
            tokenizer,
            scales,
            table,
        }
    }

    /// WordPieces of a text, without special tokens. Takes some tens of microseconds per KiB of
    /// ASCII and up to 0.4 ms of other text, so cut first.
    pub fn tokenize(&self, text: &str) -> Vec<u32> {
        self.tokenizer.tokenize(text)
    }

    /// Sum of the rows of the first [`MAX_TOKENS`] tokens at unit length, in steps of 1/256. Zeros
    /// where no token weighs anything.
    ///
    /// Sums are of integers, and root and quotient are exactly rounded by IEEE 754: every machine
    /// gets the same bits.
    pub fn embed(&self, tokens: &[u32]) -> [i8; EMBEDDING_DIM] {
        let mut sums = [0i64; EMBEDDING_DIM];
        for tokens in tokens[..tokens.len().min(MAX_TOKENS)].chunks(MOST_NARROW) {
            let mut narrow = [0i32; EMBEDDING_DIM];
            for token in tokens {
                let (scale, row) = self.row(*token);
                for (sum, component) in narrow.iter_mut().zip(row) {
                    *sum += i32::from(scale) * i32::from(component.cast_signed());
                }
            }
            for (sum, narrow) in sums.iter_mut().zip(narrow) {
                *sum += i64::from(narrow);
            }
        }
        let norm = sums.iter().map(|sum| (*sum as f64).powi(2)).sum::<f64>().sqrt();
        if norm == 0.0 {
            return [0; EMBEDDING_DIM];
        }
        // A cast from float to integer saturates.
        sums.map(|sum| (sum as f64 / norm * 256.0).round() as i8)
    }

    /// A token outside the table weighs nothing.
    fn row(&self, token: u32) -> (u16, &[u8]) {
        let idx = token as usize;
        match self.scales.get(idx) {
            Some(scale) => (*scale, &self.table[idx * EMBEDDING_DIM..][..EMBEDDING_DIM]),
            None => (0, &[]),
        }
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> usize {
    let bytes = bytes[offset..][..4].try_into().expect("four bytes");
    u32::from_le_bytes(bytes) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(left: &[i8], right: &[i8]) -> f64 {
        let dot = |a: &[i8], b: &[i8]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
        dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
    }

    #[test]
    fn what_means_the_same_lies_closer() {
        let encoder = FastEncoder::new();
        let embed = |text: &str| encoder.embed(&encoder.tokenize(text));
        for (text, near, far) in [
            ("How do I bake bread?", "bread baking recipe", "quantum field theory"),
            (
                "Write a Python function that sorts a list",
                "implement quicksort in code",
                "the history of Rome",
            ),
            ("Solve the integral of x squared", "calculus exercise", "my dog is ill"),
            (
                "What does this contract clause mean?",
                "legal agreement",
                "a poem about the sea",
            ),
        ] {
            let (near, far) = (cosine(&embed(text), &embed(near)), cosine(&embed(text), &embed(far)));
            assert!(near > far + 0.1, "{text}: {near} {far}");
        }
    }

    #[test]
    fn embeddings_have_unit_length() {
        let encoder = FastEncoder::new();
        let embedding = encoder.embed(&encoder.tokenize("The quick brown fox."));
        let norm = embedding
            .iter()
            .map(|x| (f64::from(*x) / 256.0).powi(2))
            .sum::<f64>()
            .sqrt();
        assert!((norm - 1.0).abs() < 0.02, "{norm}");
    }

    #[test]
    fn no_token_and_special_or_foreign_tokens_weigh_nothing() {
        let encoder = FastEncoder::new();
        for tokens in [&[][..], &[0, 100, 101, 102], &[u32::MAX], &[30_522]] {
            assert_eq!(encoder.embed(tokens), [0; EMBEDDING_DIM], "{tokens:?}");
        }
    }

    #[test]
    fn tokens_carry_no_specials_and_are_not_cut() {
        let encoder = FastEncoder::new();
        assert_eq!(encoder.tokenize("Hello, world"), [7592, 1010, 2088]);
        assert!(encoder.tokenize("").is_empty());
        assert_eq!(encoder.tokenize(&"word ".repeat(3000)).len(), 3000);
    }

    #[test]
    fn tokens_past_the_limit_are_not_read() {
        let encoder = FastEncoder::new();
        let mut tokens = vec![2000; MAX_TOKENS];
        let short = encoder.embed(&tokens);
        tokens.extend([9999; 100]);
        assert_eq!(encoder.embed(&tokens), short);
    }
}
