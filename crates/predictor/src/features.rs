//! A request to its features: the one place where text becomes figures, for training and serving.

use tiercast_encoder::dense::DenseEncoder;
use tiercast_records::features::Features;
use tiercast_routing::request::Request;

use crate::encoder::FastEncoder;
use crate::ngrams::ngrams;
use crate::surface::{cut, surface};

/// Changes whenever the features of some request change; a checkpoint serves one version.
pub const FEATURE_VERSION: u32 = 1;

/// Makes features. Holds the text encoders; share one between threads.
pub struct Featuriser {
    encoder: FastEncoder,
    dense: Option<DenseEncoder>,
}

impl Featuriser {
    /// Reads the encoder that is part of the binary; takes tens of milliseconds.
    #[expect(
        clippy::new_without_default,
        reason = "construction is slow, so it should be visible"
    )]
    pub fn new() -> Self {
        Self {
            encoder: FastEncoder::new(),
            dense: None,
        }
    }

    /// Makes the transformer's embedding too: milliseconds instead of microseconds.
    pub fn with_dense(dense: DenseEncoder) -> Self {
        Self {
            dense: Some(dense),
            ..Self::new()
        }
    }

    /// The transformer, where there is one.
    pub fn dense_encoder(&self) -> Option<&DenseEncoder> {
        self.dense.as_ref()
    }

    /// The transformer's embedding of a request alone; empty without a transformer.
    pub fn dense(&self, request: &Request) -> Vec<i8> {
        self.embed_dense(&self.encoder.tokenize(&cut(&request.ask)))
    }

    fn embed_dense(&self, tokens: &[u32]) -> Vec<i8> {
        match &self.dense {
            Some(dense) => dense.embed(tokens).to_vec(),
            None => Vec::new(),
        }
    }

    /// Features of a request. Text, embedding and n-grams are of the ask alone.
    ///
    /// Time grows with the ask up to [`crate::surface::ASK_BYTES`] and no further.
    pub fn features(&self, request: &Request) -> Features {
        let ask = cut(&request.ask);
        let tokens = self.encoder.tokenize(&ask);
        let ask_tokens = scaled(tokens.len(), request.ask.len(), ask.len());
        let ngrams = ngrams(&ask);
        Features {
            ask_tokens,
            context_tokens: saturated(request.context.bytes().div_ceil(4)),
            surface: surface(request, ask_tokens),
            embedding: self.encoder.embed(&tokens).to_vec(),
            dense: self.embed_dense(&tokens),
            word_ngrams: ngrams.words,
            char_ngrams: ngrams.chars,
        }
    }
}

/// Tokens of the whole ask, estimated from those of the part that was read: they cost money too.
fn scaled(n_tokens: usize, n_bytes: usize, n_bytes_read: usize) -> u32 {
    if n_bytes <= n_bytes_read {
        return saturated(n_tokens as u64);
    }
    saturated((n_tokens as u64).saturating_mul(n_bytes as u64) / n_bytes_read as u64)
}

fn saturated(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::time::Instant;

    use tiercast_routing::request::{Context, Needs};

    use super::*;
    use crate::encoder::EMBEDDING_DIM;
    use crate::surface::{CONTEXT_RANGE, NAMES};

    static FEATURISER: LazyLock<Featuriser> = LazyLock::new(Featuriser::new);

    fn features(ask: &str) -> Features {
        FEATURISER.features(&Request::of_text(ask))
    }

    const EASY: &str = "What is the capital of France?";
    const HARD: &str = "Prove that \\(\\sqrt{2}\\) is irrational, then write a Python function that prints\n\
        its first 50 digits as JSON. “Überprüfe” each step! 😀";

    #[test]
    fn what_is_around_the_ask_changes_only_its_own_signals() {
        let alone = features(HARD);
        let long_prompt = Context {
            system_bytes: 50_000,
            n_messages: 2,
            ..Context::default()
        };
        let many_tools = Context {
            n_tools: 32,
            tools_bytes: 40_000,
            agent_loop: true,
            ..Context::default()
        };
        for context in [long_prompt, many_tools] {
            let needs = Needs {
                tools: true,
                json_schema: true,
                vision: true,
            };
            let request = Request {
                context,
                needs,
                max_output_tokens: Some(9),
                ..Request::of_text(HARD)
            };
            let around = FEATURISER.features(&request);
            let restored = Features {
                context_tokens: 0,
                surface: alone.surface.clone(),
                ..around.clone()
            };
            assert_eq!(restored, alone);
            let bits = |features: &Features| -> Vec<u32> {
                features.surface[..CONTEXT_RANGE.start]
                    .iter()
                    .map(|value| value.to_bits())
                    .collect()
            };
            assert_eq!(bits(&around), bits(&alone));
            assert_ne!(around.surface, alone.surface);
            assert!(around.context_tokens >= 10_000);
        }
    }

    #[test]
    fn lengths_agree_with_what_they_promise() {
        let features = features(HARD);
        assert_eq!(features.surface.len(), NAMES.len());
        assert_eq!(features.embedding.len(), EMBEDDING_DIM);
        assert_eq!(features, FEATURISER.features(&Request::of_text(HARD)));
    }

    #[test]
    fn an_empty_ask_has_empty_features() {
        let features = features("");
        assert_eq!(features.ask_tokens, 0);
        assert!(features.embedding.iter().all(|x| *x == 0));
        assert!(features.word_ngrams.is_empty() && features.char_ngrams.is_empty());
    }

    #[test]
    fn odd_text_is_read() {
        for ask in [
            "😀",
            "👩‍👩‍👧",
            "\u{feff}",
            "\0\u{1}",
            "e\u{301}",
            "ﬁ",
            "İ",
            "漢字",
            "\u{202e}abc",
            &"x".repeat(40_000),
        ] {
            let features = features(ask);
            assert!(features.surface.iter().all(|value| value.is_finite()), "{ask:?}");
        }
    }

    #[test]
    fn ten_megabytes_cost_no_more_than_the_part_that_is_read() {
        let start = Instant::now();
        let long = features(&"Is the 😀 happy? ".repeat(550_000));
        assert!(start.elapsed().as_secs() < 5, "took {:?}", start.elapsed());
        assert!((2_000_000..5_000_000).contains(&long.ask_tokens), "{}", long.ask_tokens);
    }

    #[test]
    fn features_of_fixed_sentences_stay_as_they_are() {
        for (ask, expected) in [(EASY, 0x23e8_7ade_5ab5_3b92), (HARD, 0xb80b_fb66_6aa0_0cb3)] {
            let found = fingerprint(&features(ask));
            assert_eq!(
                found, expected,
                "features changed ({found:#018x}): bump FEATURE_VERSION and retrain"
            );
        }
    }

    /// FNV-1a over the bytes of all fields.
    fn fingerprint(features: &Features) -> u64 {
        let Features {
            ask_tokens,
            context_tokens,
            surface,
            embedding,
            dense: _,
            word_ngrams,
            char_ngrams,
        } = features;
        let counts = [*ask_tokens, *context_tokens]
            .into_iter()
            .chain(surface.iter().map(|value| value.to_bits()));
        let ngrams = word_ngrams
            .iter()
            .chain(char_ngrams)
            .flat_map(|(hash, count)| [*hash, u32::from(*count)]);
        let bytes = counts
            .chain(ngrams)
            .flat_map(u32::to_le_bytes)
            .chain(embedding.iter().map(|x| x.cast_unsigned()));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}
