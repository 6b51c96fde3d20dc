//! The file of weights, checked and read: `checkpoints/encoders/dense/model.bin`, written by
//! `pipelines/encoder/quantise_dense.py`, whose `write_model` describes the layout.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::dense::{DENSE_DIM, DENSE_MAX_TOKENS};

/// SHA-256 of `model.bin`.
pub const DENSE_SHA256: &str = "4f06a31bded2b376aa5d3e464dae0a062470395fe03141be6470018bb8ade3dd";
/// Length of `model.bin` in bytes.
pub const DENSE_BYTES: u64 = 23_122_952;

/// WordPieces in the vocabulary.
pub const N_TOKENS: usize = 30_522;
/// Transformer layers.
pub const N_LAYERS: usize = 6;
/// Attention heads.
pub const N_HEADS: usize = 12;
/// Width of a head.
pub const HEAD_DIM: usize = DENSE_DIM / N_HEADS;
/// Width of the feed-forward part.
pub const INNER_DIM: usize = 1536;

/// Magic and six sizes of 4 bytes.
const N_HEADER: usize = 32;

/// Why there is no encoder.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// The file is absent or unreadable.
    #[error(
        "cannot read the dense encoder's weights at {path} (SHA-256 {DENSE_SHA256}): restore the file from the repository"
    )]
    Read {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file has another length.
    #[error("{name} has {found} bytes instead of {expected}: restore it from the repository")]
    Size {
        /// Of the file.
        name: String,
        /// Bytes of the true file.
        expected: u64,
        /// Bytes of this one.
        found: u64,
    },
    /// The file has another content.
    #[error("{name} has SHA-256 {found} instead of {expected}: restore it from the repository")]
    Hash {
        /// Of the file.
        name: String,
        /// SHA-256 of the true file.
        expected: &'static str,
        /// SHA-256 of this one.
        found: String,
    },
}

/// The quantised network. A value of this type comes from the one true file.
#[derive(Debug, Clone)]
pub struct DenseWeights {
    /// Factor of each row of `word_codes`, `[N_TOKENS]`
    pub(crate) word_scales: Vec<f32>,
    /// `[N_TOKENS, DENSE_DIM]`
    pub(crate) word_codes: Vec<i8>,
    /// Embedding of the position and of token type 0, `[DENSE_MAX_TOKENS, DENSE_DIM]`
    pub(crate) positions: Vec<f32>,
    pub(crate) embedding_norm: Norm,
    pub(crate) layers: Vec<Layer>,
}

/// Layer normalisation over `DENSE_DIM`.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// A linear layer: `output[n] = bias[n] + scales[n] * sum over k of codes[n, k] * factors[k] * input[k]`.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// What evens out the input channels before they are quantised, `[n_inputs]`
    pub(crate) factors: Vec<f32>,
    /// `[n_outputs]`
    pub(crate) scales: Vec<f32>,
    /// `[n_outputs]`
    pub(crate) biases: Vec<f32>,
    /// `[n_outputs, n_inputs]`, within -127..=127
    pub(crate) codes: Vec<i8>,
}

#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// Query, key and value, one above the other.
    pub(crate) qkv: Linear,
    pub(crate) attention_output: Linear,
    pub(crate) attention_norm: Norm,
    pub(crate) inner: Linear,
    pub(crate) output: Linear,
    pub(crate) output_norm: Norm,
}

impl DenseWeights {
    /// Reads the file at `path`, which must have the known size and SHA-256.
    pub fn open(path: &Path) -> Result<Self, EncoderError> {
        let read_error = |source| EncoderError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(read_error)?;
        // The size comes first: a wrong path may lead to something without end.
        let found = file.metadata().map_err(read_error)?.len();
        let name = path.display().to_string();
        check_size(&name, found)?;
        let mut bytes = Vec::with_capacity(found as usize);
        file.take(DENSE_BYTES + 1).read_to_end(&mut bytes).map_err(read_error)?;
        Self::checked(&name, &bytes)
    }

    /// Reads the content of the file, which must have the known size and SHA-256.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EncoderError> {
        Self::checked("the dense encoder's weights", bytes)
    }

    fn checked(name: &str, bytes: &[u8]) -> Result<Self, EncoderError> {
        check_size(name, bytes.len() as u64)?;
        check_hash(name, bytes)?;
        Ok(Self::parse(bytes))
    }

    /// The checksum holds the sizes of the header and that every number is finite.
    fn parse(bytes: &[u8]) -> Self {
        let mut reader = Reader(&bytes[N_HEADER..]);
        let weights = Self {
            word_scales: reader.floats(N_TOKENS),
            word_codes: reader.codes(N_TOKENS * DENSE_DIM),
            positions: reader.floats(DENSE_MAX_TOKENS * DENSE_DIM),
            embedding_norm: reader.norm(),
            layers: (0..N_LAYERS).map(|_| reader.layer()).collect(),
        };
        assert!(reader.0.is_empty(), "a file of the known checksum ends here");
        weights
    }
}

fn check_size(name: &str, found: u64) -> Result<(), EncoderError> {
    if found == DENSE_BYTES {
        return Ok(());
    }
    Err(EncoderError::Size {
        name: name.to_owned(),
        expected: DENSE_BYTES,
        found,
    })
}

fn check_hash(name: &str, bytes: &[u8]) -> Result<(), EncoderError> {
    let digest = Sha256::digest(bytes);
    let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if found == DENSE_SHA256 {
        return Ok(());
    }
    Err(EncoderError::Hash {
        name: name.to_owned(),
        expected: DENSE_SHA256,
        found,
    })
}

/// What of the file is not yet read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, n_bytes: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(n_bytes);
        self.0 = rest;
        head
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        let (floats, _) = self.bytes(4 * n).as_chunks::<4>();
        floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    fn codes(&mut self, n: usize) -> Vec<i8> {
        self.bytes(n).iter().map(|byte| byte.cast_signed()).collect()
    }

    fn norm(&mut self) -> Norm {
        Norm {
            weight: self.floats(DENSE_DIM),
            bias: self.floats(DENSE_DIM),
        }
    }

    fn linear(&mut self, n_inputs: usize, n_outputs: usize) -> Linear {
        Linear {
            factors: self.floats(n_inputs),
            scales: self.floats(n_outputs),
            biases: self.floats(n_outputs),
            codes: self.codes(n_outputs * n_inputs),
        }
    }

    fn layer(&mut self) -> Layer {
        Layer {
            qkv: self.linear(DENSE_DIM, 3 * DENSE_DIM),
            attention_output: self.linear(DENSE_DIM, DENSE_DIM),
            attention_norm: self.norm(),
            inner: self.linear(DENSE_DIM, INNER_DIM),
            output: self.linear(INNER_DIM, DENSE_DIM),
            output_norm: self.norm(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::model_path;

    fn check(bytes: &[u8], expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bin");
        std::fs::write(&path, bytes).unwrap();
        let message = DenseWeights::open(&path).unwrap_err().to_string();
        assert!(message.starts_with(&path.display().to_string()), "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(message.ends_with("restore it from the repository"), "{message}");
        assert!(DenseWeights::from_bytes(bytes).is_err());
    }

    #[test]
    fn a_file_that_is_not_the_true_one_is_refused() {
        check(b"", "has 0 bytes instead of 23122952");
        check(b"version https://git-lfs.github.com/spec/v1", "has 42 bytes");
        let mut bytes = std::fs::read(model_path()).unwrap();
        bytes[12_345_678] ^= 1;
        check(&bytes, &format!("instead of {DENSE_SHA256}"));
        bytes.push(0);
        check(&bytes, "has 23122953 bytes");
    }

    #[test]
    fn an_absent_file_is_named() {
        let error = DenseWeights::open(Path::new("/nowhere/model.bin")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/model.bin"), "{error}");
    }

    #[test]
    fn the_header_says_what_the_constants_say() {
        let bytes = std::fs::read(model_path()).unwrap();
        assert_eq!(&bytes[..8], b"TIERCDE1");
        let sizes = Reader(&bytes[8..N_HEADER]).0.as_chunks::<4>().0.to_vec();
        let sizes: Vec<usize> = sizes
            .into_iter()
            .map(|size| u32::from_le_bytes(size) as usize)
            .collect();
        let expected = [N_TOKENS, DENSE_MAX_TOKENS, DENSE_DIM, N_HEADS, INNER_DIM, N_LAYERS];
        assert_eq!(sizes, expected);
    }

    /// What the kernels rely on: see `kernel::integers`.
    #[test]
    fn codes_are_symmetric_and_numbers_finite() {
        let weights = DenseWeights::open(&model_path()).unwrap();
        let linear = |layer: &Layer| {
            [&layer.qkv, &layer.attention_output, &layer.inner, &layer.output].map(|linear| linear.to_owned())
        };
        for linear in weights.layers.iter().flat_map(linear) {
            assert!(linear.codes.iter().all(|code| *code != i8::MIN));
            let floats = linear.factors.iter().chain(&linear.scales).chain(&linear.biases);
            assert!(floats.copied().all(f32::is_finite));
        }
        assert!(
            weights
                .positions
                .iter()
                .chain(&weights.word_scales)
                .copied()
                .all(f32::is_finite)
        );
    }
}
