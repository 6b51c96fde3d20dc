//! The encoder that serves: WordPieces to one vector of unit length, with int8 products.
//!
//! Tokens are split into blocks, one per thread of the rayon pool. A layer is one parallel step: each
//! block attends to the keys and values of all tokens and then needs only its own rows, up to the keys
//! and values of the next layer. No sum runs over more than one row except in attention and in the
//! final mean, and there in the order of the tokens, so the blocks do not show in the result.

use std::path::Path;

use rayon::prelude::*;

use crate::kernel::Kernel;
use crate::kernel::floats::{Attention, Epilogue, Memory, NormRows, TILE};
use crate::kernel::integers::{Codes, Packed, STRIP};
use crate::weights::{DenseWeights, EncoderError, HEAD_DIM, INNER_DIM, Layer, Linear, N_HEADS, Norm};

/// Length of an embedding.
pub const DENSE_DIM: usize = 384;
/// Tokens that are read, with `[CLS]` and `[SEP]`.
pub const DENSE_MAX_TOKENS: usize = 256;

/// Tokens of BERT's vocabulary that stand for what is unknown, the beginning and the end.
const UNK: u32 = 100;
const CLS: u32 = 101;
const SEP: u32 = 102;

/// Fewer rows than this per block, and starting a thread's work costs more than it saves.
const LEAST_ROWS: usize = 8;

/// MiniLM-L6 with int8 weights. Shared between threads.
#[derive(Debug, Clone)]
pub struct DenseEncoder {
    kernel: Kernel,
    word_scales: Vec<f32>,
    word_codes: Vec<i8>,
    positions: Vec<f32>,
    embedding_norm: Norm,
    layers: Vec<PackedLayer>,
}

#[derive(Debug, Clone)]
struct PackedLayer {
    qkv: PackedLinear,
    attention_output: PackedLinear,
    attention_norm: Norm,
    inner: PackedLinear,
    output: PackedLinear,
    output_norm: Norm,
}

#[derive(Debug, Clone)]
struct PackedLinear {
    factors: Vec<f32>,
    /// One entry per strip, as of `biases`.
    scales: Vec<[f32; STRIP]>,
    biases: Vec<[f32; STRIP]>,
    weights: Packed,
}

impl DenseEncoder {
    /// Reads `checkpoints/encoders/dense/model.bin`, whose size and SHA-256 are checked first.
    pub fn open(path: &Path) -> Result<Self, EncoderError> {
        DenseWeights::open(path).map(Self::new)
    }

    /// From the content of that file.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "23 MB that nobody needs afterwards should not be kept"
    )]
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, EncoderError> {
        DenseWeights::from_bytes(&bytes).map(Self::new)
    }

    /// Lays the weights out for the fastest kernel of this machine.
    pub fn new(weights: DenseWeights) -> Self {
        Self {
            kernel: Kernel::best(),
            word_scales: weights.word_scales,
            word_codes: weights.word_codes,
            positions: weights.positions,
            embedding_norm: weights.embedding_norm,
            layers: weights.layers.into_iter().map(PackedLayer::new).collect(),
        }
    }

    /// The same encoder on another kernel; the embeddings stay the same.
    pub fn with_kernel(self, kernel: Kernel) -> Self {
        Self { kernel, ..self }
    }

    /// What [`Self::embed_f32`] gives, in steps of 1/256.
    pub fn embed(&self, tokens: &[u32]) -> [i8; DENSE_DIM] {
        // A cast from float to integer saturates.
        self.embed_f32(tokens).map(|x| (x * 256.0).round() as i8)
    }

    /// Mean of the tokens' last hidden vectors, at unit length. `tokens` are WordPieces without
    /// special tokens; those beyond the first `DENSE_MAX_TOKENS - 2` are not read.
    ///
    /// Runs on the rayon pool it is called in. Every machine and every pool gives the same bits.
    pub fn embed_f32(&self, tokens: &[u32]) -> [f32; DENSE_DIM] {
        let tokens = with_specials(tokens);
        // From outside, this enters the pool once instead of once per layer.
        rayon::scope(|_| self.run(&tokens))
    }

    fn run(&self, tokens: &[u32]) -> [f32; DENSE_DIM] {
        let mut blocks = Block::split(tokens.len(), rayon::current_num_threads(), self.kernel);
        let mut memories: Vec<Memory> = blocks.iter().map(Block::memory).collect();
        let mut next_memories = memories.clone();
        each_block(&mut blocks, &mut memories, |block, memory| {
            self.embed_words(block, tokens);
            self.remember(block, &self.layers[0], memory);
        });
        for (idx, layer) in self.layers.iter().enumerate() {
            each_block(&mut blocks, &mut next_memories, |block, memory| {
                self.attend(block, &memories, tokens.len());
                self.transform(block, layer);
                if let Some(next) = self.layers.get(idx + 1) {
                    self.remember(block, next, memory);
                }
            });
            std::mem::swap(&mut memories, &mut next_memories);
        }
        mean_at_unit_length(&blocks)
    }

    /// `hidden` = norm of the embeddings of word and position.
    fn embed_words(&self, block: &mut Block, tokens: &[u32]) {
        let tokens = &tokens[block.first..][..block.n_rows];
        let rows = block.hidden.chunks_exact_mut(DENSE_DIM).zip(tokens);
        for (hidden, token) in rows {
            let token = *token as usize;
            let scale = self.word_scales[token];
            let codes = &self.word_codes[token * DENSE_DIM..][..DENSE_DIM];
            for (hidden, code) in hidden.iter_mut().zip(codes) {
                *hidden = f32::from(*code) * scale;
            }
        }
        let positions = &self.positions[block.first * DENSE_DIM..][..block.hidden.len()];
        self.kernel
            .add_and_norm(&mut block.hidden, positions, self.embedding_norm.rows());
    }

    /// Queries, keys and values of a layer from `hidden`.
    fn remember(&self, block: &mut Block, layer: &PackedLayer, memory: &mut Memory) {
        self.kernel
            .quantise(&block.hidden, &layer.qkv.factors, &mut block.codes);
        for strip in 0..3 * N_HEADS {
            let (kind, head) = (strip / N_HEADS, strip % N_HEADS);
            let part = head * memory.n_head..(head + 1) * memory.n_head;
            let output = match kind {
                0 => &mut block.queries[part.clone()],
                1 => &mut block.strip[..],
                _ => &mut memory.values[part.clone()],
            };
            self.kernel
                .multiply(&block.codes, &layer.qkv.weights, strip, &mut block.sums);
            let epilogue = layer.qkv.epilogue(strip, &block.codes, HEAD_DIM);
            self.kernel.finish(&block.sums, &epilogue, output);
            if kind == 1 {
                transpose(&block.strip[..block.n_rows * HEAD_DIM], &mut memory.keys[part]);
            }
        }
    }

    /// `context` = attention of the block's rows to all tokens.
    fn attend(&self, block: &mut Block, memories: &[Memory], n_tokens: usize) {
        let n_head = block.queries.len() / N_HEADS;
        for head in 0..N_HEADS {
            let attention = Attention {
                queries: &block.queries[head * n_head..][..n_head],
                memories,
                head,
                n_tokens,
            };
            let context = &mut block.context[head * HEAD_DIM..];
            self.kernel.attend(&attention, &mut block.scores, context);
        }
    }

    /// The rest of a layer, from `context` to `hidden`.
    fn transform(&self, block: &mut Block, layer: &PackedLayer) {
        let kernel = self.kernel;
        kernel.quantise(&block.context, &layer.attention_output.factors, &mut block.codes);
        layer
            .attention_output
            .apply(kernel, &block.codes, &mut block.sums, false, &mut block.context);
        kernel.add_and_norm(&mut block.hidden, &block.context, layer.attention_norm.rows());
        kernel.quantise(&block.hidden, &layer.inner.factors, &mut block.codes);
        layer
            .inner
            .apply(kernel, &block.codes, &mut block.sums, true, &mut block.inner);
        kernel.quantise(&block.inner, &layer.output.factors, &mut block.inner_codes);
        layer
            .output
            .apply(kernel, &block.inner_codes, &mut block.sums, false, &mut block.context);
        kernel.add_and_norm(&mut block.hidden, &block.context, layer.output_norm.rows());
    }
}

impl PackedLayer {
    fn new(layer: Layer) -> Self {
        let mut qkv = PackedLinear::new(&layer.qkv);
        // Attention divides queries by the root of their length.
        let shrink = 1.0 / (HEAD_DIM as f32).sqrt();
        let queries = qkv.scales[..N_HEADS].iter_mut().chain(&mut qkv.biases[..N_HEADS]);
        queries.flatten().for_each(|value| *value *= shrink);
        Self {
            qkv,
            attention_output: PackedLinear::new(&layer.attention_output),
            attention_norm: layer.attention_norm,
            inner: PackedLinear::new(&layer.inner),
            output: PackedLinear::new(&layer.output),
            output_norm: layer.output_norm,
        }
    }
}

impl PackedLinear {
    fn new(linear: &Linear) -> Self {
        let strips = |values: &[f32]| values.as_chunks::<STRIP>().0.to_vec();
        Self {
            weights: Packed::new(&linear.codes, linear.factors.len()),
            factors: linear.factors.clone(),
            scales: strips(&linear.scales),
            biases: strips(&linear.biases),
        }
    }

    fn epilogue<'a>(&'a self, strip: usize, codes: &'a Codes, stride: usize) -> Epilogue<'a> {
        Epilogue {
            row_scales: codes.scales(),
            column_scales: &self.scales[strip],
            biases: &self.biases[strip],
            gelu: false,
            stride,
        }
    }

    /// `output` = the layer of all rows, `[n_rows, n_outputs]`.
    fn apply(&self, kernel: Kernel, codes: &Codes, sums: &mut [i32], gelu: bool, output: &mut [f32]) {
        let stride = self.weights.n_strips() * STRIP;
        for strip in 0..self.weights.n_strips() {
            kernel.multiply(codes, &self.weights, strip, sums);
            let epilogue = self.epilogue(strip, codes, stride);
            kernel.finish(sums, &Epilogue { gelu, ..epilogue }, &mut output[strip * STRIP..]);
        }
    }
}

impl Norm {
    fn rows(&self) -> NormRows<'_> {
        NormRows {
            weight: &self.weight,
            bias: &self.bias,
        }
    }
}

/// Consecutive tokens, and room for what one thread computes of them.
struct Block {
    first: usize,
    n_rows: usize,
    /// `[n_rows, DENSE_DIM]`
    hidden: Vec<f32>,
    /// `[N_HEADS, n_rows padded to TILE, HEAD_DIM]`
    queries: Vec<f32>,
    /// `[n_rows, DENSE_DIM]`
    context: Vec<f32>,
    /// `[n_rows, INNER_DIM]`
    inner: Vec<f32>,
    codes: Codes,
    inner_codes: Codes,
    /// `[n_rows, STRIP]`
    sums: Vec<i32>,
    /// `[n_rows, STRIP]`
    strip: Vec<f32>,
    /// `[TILE, all tokens padded]`
    scores: Vec<f32>,
}

impl Block {
    /// As even blocks as tiles allow: all but the last begin and end with a tile.
    fn split(n_tokens: usize, n_threads: usize, kernel: Kernel) -> Vec<Self> {
        let n_blocks = (n_tokens / LEAST_ROWS).clamp(1, n_threads.max(1));
        let n_rows = n_tokens.div_ceil(TILE).div_ceil(n_blocks) * TILE;
        (0..n_tokens)
            .step_by(n_rows)
            .map(|first| Self::new(first, n_rows.min(n_tokens - first), n_tokens, kernel))
            .collect()
    }

    fn new(first: usize, n_rows: usize, n_tokens: usize, kernel: Kernel) -> Self {
        Self {
            first,
            n_rows,
            hidden: vec![0.0; n_rows * DENSE_DIM],
            queries: vec![0.0; n_rows.next_multiple_of(TILE) * DENSE_DIM],
            context: vec![0.0; n_rows * DENSE_DIM],
            inner: vec![0.0; n_rows * INNER_DIM],
            codes: Codes::new(kernel, n_rows, DENSE_DIM),
            inner_codes: Codes::new(kernel, n_rows, INNER_DIM),
            sums: vec![0; n_rows * STRIP],
            strip: vec![0.0; n_rows * STRIP],
            scores: vec![0.0; TILE * n_tokens.next_multiple_of(TILE)],
        }
    }

    /// Room for the keys and values of this block.
    fn memory(&self) -> Memory {
        Memory {
            keys: vec![0.0; self.queries.len()],
            values: vec![0.0; self.queries.len()],
            n_head: self.queries.len() / N_HEADS,
        }
    }
}

/// A step for each block, on as many threads as there are.
fn each_block(blocks: &mut [Block], memories: &mut [Memory], step: impl Fn(&mut Block, &mut Memory) + Sync) {
    if let ([block], [memory]) = (&mut *blocks, &mut *memories) {
        return step(block, memory);
    }
    blocks
        .par_iter_mut()
        .zip(memories)
        .with_max_len(1)
        .for_each(|(block, memory)| step(block, memory));
}

/// Rows of `HEAD_DIM` to tiles of `[HEAD_DIM, TILE]`.
fn transpose(rows: &[f32], tiles: &mut [f32]) {
    let rows = rows.as_chunks::<HEAD_DIM>().0;
    let tiles = tiles.as_chunks_mut::<TILE>().0.as_chunks_mut::<HEAD_DIM>().0;
    for (rows, tile) in rows.chunks(TILE).zip(tiles) {
        for (column, row) in rows.iter().enumerate() {
            for (dim, value) in row.iter().enumerate() {
                tile[dim][column] = *value;
            }
        }
    }
}

pub(crate) fn with_specials(tokens: &[u32]) -> Vec<u32> {
    let known = |token: &u32| {
        if (*token as usize) < crate::weights::N_TOKENS {
            *token
        } else {
            UNK
        }
    };
    let words = tokens.iter().take(DENSE_MAX_TOKENS - 2).map(known);
    std::iter::once(CLS).chain(words).chain(std::iter::once(SEP)).collect()
}

/// Only the direction of the mean is wanted, so the sum serves.
fn mean_at_unit_length(blocks: &[Block]) -> [f32; DENSE_DIM] {
    let mut sums = [0.0f32; DENSE_DIM];
    for hidden in blocks.iter().flat_map(|block| block.hidden.as_chunks::<DENSE_DIM>().0) {
        for (sum, value) in sums.iter_mut().zip(hidden) {
            *sum += value;
        }
    }
    let square: f64 = sums.iter().map(|sum| f64::from(*sum) * f64::from(*sum)).sum();
    let scale = 1.0 / square.sqrt();
    sums.map(|sum| (f64::from(sum) * scale) as f32)
}

#[cfg(test)]
mod tests;
