use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;
use crate::dense::DENSE_DIM;
use crate::kernel::floats::{Memory, TILE};
use crate::weights::{HEAD_DIM, INNER_DIM, N_HEADS};

/// Uniform in [-1, 1).
fn uniform(rng: &mut ChaCha8Rng) -> f32 {
    rng.next_u32().cast_signed() as f32 / 2f32.powi(31)
}

fn uniforms(rng: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| uniform(rng)).collect()
}

/// Codes with many extremes.
fn code(rng: &mut ChaCha8Rng) -> i8 {
    match rng.next_u32() % 4 {
        0 => 127,
        1 => -127,
        _ => (uniform(rng) * 127.0) as i8,
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Runs `compute` on every kernel of this machine and compares the bits with the portable ones.
fn check(compute: impl Fn(Kernel) -> Vec<f32>) {
    let kernels = Kernel::available();
    let expected = compute(kernels[0]);
    assert!(expected.iter().all(|value| value.is_finite()));
    for kernel in &kernels[1..] {
        assert!(bits(&compute(*kernel)) == bits(&expected), "{}", kernel.name());
    }
}

/// Codes whose row is `row`, by quantising numbers that are codes already.
fn exact_codes(kernel: Kernel, rows: &[i8], width: usize) -> Codes {
    let values: Vec<f32> = rows.iter().map(|code| f32::from(*code)).collect();
    let mut codes = Codes::new(kernel, rows.len() / width, width);
    kernel.quantise(&values, &vec![1.0; width], &mut codes);
    codes
}

fn check_product(rows: &[i8], weights: &[i8], width: usize) {
    let n_rows = rows.len() / width;
    let packed = Packed::new(weights, width);
    for kernel in Kernel::available() {
        let codes = exact_codes(kernel, rows, width);
        for strip in 0..packed.n_strips() {
            let mut sums = vec![7; n_rows * STRIP];
            kernel.multiply(&codes, &packed, strip, &mut sums);
            for (idx, sum) in sums.iter().enumerate() {
                let (row, output) = (idx / STRIP, strip * STRIP + idx % STRIP);
                let pairs = rows[row * width..][..width]
                    .iter()
                    .zip(&weights[output * width..][..width]);
                let expected: i64 = pairs.map(|(left, right)| i64::from(*left) * i64::from(*right)).sum();
                assert_eq!(i64::from(*sum), expected, "{} {n_rows} {row} {output}", kernel.name());
            }
        }
    }
}

#[test]
fn products_are_exact_for_any_number_of_rows() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for n_rows in (0..=17).chain([64]) {
        // The first code fixes each row's scale at 1.
        let mut rows: Vec<i8> = (0..n_rows * DENSE_DIM).map(|_| code(&mut rng)).collect();
        rows.iter_mut().step_by(DENSE_DIM).for_each(|code| *code = 127);
        let weights: Vec<i8> = (0..2 * STRIP * DENSE_DIM).map(|_| code(&mut rng)).collect();
        check_product(&rows, &weights, DENSE_DIM);
    }
}

#[test]
fn products_do_not_saturate() {
    for (code, weight) in [(127, 127), (-127, 127), (127, -127), (-127, -127)] {
        check_product(&[code; 3 * INNER_DIM], &[weight; STRIP * INNER_DIM], INNER_DIM);
    }
}

#[test]
fn quantised_rows_are_near_and_equal() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut values = uniforms(&mut rng, 9 * DENSE_DIM);
    values[..DENSE_DIM].fill(0.0);
    values[DENSE_DIM..2 * DENSE_DIM].fill(-3.0e-30);
    let factors: Vec<f32> = uniforms(&mut rng, DENSE_DIM).iter().map(|x| 0.1 + x.abs()).collect();
    // An identity matrix shows the codes.
    let mut identity = vec![0i8; DENSE_DIM * DENSE_DIM];
    identity
        .iter_mut()
        .step_by(DENSE_DIM + 1)
        .for_each(|weight| *weight = 1);
    let identity = Packed::new(&identity, DENSE_DIM);
    check(|kernel| {
        let mut codes = Codes::new(kernel, 9, DENSE_DIM);
        kernel.quantise(&values, &factors, &mut codes);
        let mut sums = vec![0; 9 * STRIP];
        kernel.multiply(&codes, &identity, 3, &mut sums);
        for (idx, sum) in sums.iter().enumerate() {
            let (row, column) = (idx / STRIP, 3 * STRIP + idx % STRIP);
            let error = codes.scales()[row] * *sum as f32 - values[row * DENSE_DIM + column] * factors[column];
            assert!(error.abs() <= 0.5001 * codes.scales()[row], "{row} {column} {error}");
        }
        let sums = sums.iter().map(|sum| *sum as f32);
        sums.chain(codes.scales().iter().copied()).collect()
    });
}

#[test]
fn finished_sums_are_equal() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let sums: Vec<i32> = (0..70 * STRIP).map(|_| rng.next_u32().cast_signed() >> 7).collect();
    let row_scales: Vec<f32> = uniforms(&mut rng, 70).iter().map(|x| x.abs() * 1e-3).collect();
    let column_scales = std::array::from_fn(|_| uniform(&mut rng).abs() * 1e-3);
    let biases = std::array::from_fn(|_| uniform(&mut rng));
    for gelu in [false, true] {
        check(|kernel| {
            let mut output = vec![0.0; 70 * 3 * STRIP];
            let epilogue = Epilogue {
                row_scales: &row_scales,
                column_scales: &column_scales,
                biases: &biases,
                gelu,
                stride: 3 * STRIP,
            };
            kernel.finish(&sums, &epilogue, &mut output[STRIP..]);
            output
        });
    }
}

#[test]
fn norms_are_equal_and_normal() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let hidden = uniforms(&mut rng, 5 * DENSE_DIM);
    let mut addend = uniforms(&mut rng, 5 * DENSE_DIM);
    for (hidden, addend) in hidden[..DENSE_DIM].iter().zip(&mut addend) {
        *addend = -hidden;
    }
    let (weight, bias) = (vec![1.0; DENSE_DIM], vec![0.0; DENSE_DIM]);
    check(|kernel| {
        let mut hidden = hidden.clone();
        let norm = NormRows {
            weight: &weight,
            bias: &bias,
        };
        kernel.add_and_norm(&mut hidden, &addend, norm);
        let rows = hidden.chunks_exact(DENSE_DIM).skip(1);
        for row in rows {
            let mean_square = row.iter().map(|x| x * x).sum::<f32>() / DENSE_DIM as f32;
            assert!((mean_square - 1.0).abs() < 1e-5, "{mean_square}");
        }
        hidden
    });
}

/// Random keys and values of `n_tokens`, padded with zeros.
fn memory(rng: &mut ChaCha8Rng, n_tokens: usize) -> Memory {
    let n_padded = n_tokens.next_multiple_of(TILE);
    let n_head = n_padded * HEAD_DIM;
    let mut memory = Memory {
        keys: uniforms(rng, N_HEADS * n_head),
        values: uniforms(rng, N_HEADS * n_head),
        n_head,
    };
    for head in 0..N_HEADS {
        for token in n_tokens..n_padded {
            for dim in 0..HEAD_DIM {
                memory.values[head * n_head + token * HEAD_DIM + dim] = 0.0;
                let (tile, column) = (token / TILE, token % TILE);
                memory.keys[head * n_head + (tile * HEAD_DIM + dim) * TILE + column] = 0.0;
            }
        }
    }
    memory
}

/// Attention in f64, one number at a time.
fn attention_by_hand(attention: &Attention<'_>, row: usize, dim: usize) -> f64 {
    let (mut total, mut mixed, mut n_left) = (0.0, 0.0, attention.n_tokens);
    for memory in attention.memories {
        let keys = &memory.keys[attention.head * memory.n_head..];
        let values = &memory.values[attention.head * memory.n_head..];
        for token in 0..n_left.min(memory.n_head / HEAD_DIM) {
            let key = |dim: usize| keys[(token / TILE * HEAD_DIM + dim) * TILE + token % TILE];
            let product = |dim: usize| f64::from(attention.queries[row * HEAD_DIM + dim] * key(dim));
            let weight = (0..HEAD_DIM).map(product).sum::<f64>().exp();
            total += weight;
            mixed += weight * f64::from(values[token * HEAD_DIM + dim]);
        }
        n_left = n_left.saturating_sub(memory.n_head / HEAD_DIM);
    }
    mixed / total
}

#[test]
fn attention_is_equal_and_right() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for (n_rows, n_memories) in [(1, vec![1]), (7, vec![8, 7]), (16, vec![16, 16, 5]), (9, vec![9])] {
        let memories: Vec<Memory> = n_memories.iter().map(|n| memory(&mut rng, *n)).collect();
        let n_tokens = n_memories.iter().sum::<usize>();
        let mut queries = uniforms(&mut rng, n_rows * HEAD_DIM);
        queries.resize(n_rows.next_multiple_of(TILE) * HEAD_DIM, 0.0);
        check(|kernel| {
            let attention = Attention {
                queries: &queries,
                memories: &memories,
                head: 5,
                n_tokens,
            };
            let mut scores = vec![0.0; TILE * n_tokens.next_multiple_of(TILE)];
            let mut context = vec![0.0; n_rows * DENSE_DIM];
            kernel.attend(&attention, &mut scores, &mut context[5 * HEAD_DIM..]);
            for (row, dim) in [(0, 0), (n_rows - 1, 31), (n_rows / 2, 13)] {
                let error =
                    f64::from(context[row * DENSE_DIM + 5 * HEAD_DIM + dim]) - attention_by_hand(&attention, row, dim);
                assert!(error.abs() < 1e-5, "{row} {dim} {error}");
            }
            context
        });
    }
}

#[test]
fn products_of_one_row_with_many() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for width in [1, 15, 16, 50, 256, 384] {
        let mut codes = |n: usize| -> Vec<i8> { (0..n).map(|_| code(&mut rng)).collect() };
        let (row, rows) = (codes(width), codes(9 * width));
        let dot = |other: &[i8]| -> i32 { row.iter().zip(other).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum() };
        let expected: Vec<i32> = rows.chunks_exact(width).map(dot).collect();
        for kernel in Kernel::available() {
            let mut products = [7; 9];
            kernel.products(&row, &rows, &mut products);
            assert_eq!(products.as_slice(), expected, "{} at {width}", kernel.name());
        }
    }
    // The extremes: 256 products of 2^14.
    let mut product = [0];
    Kernel::best().products(&[-128; 256], &[-128; 256], &mut product);
    assert_eq!(product, [1 << 22]);
}
