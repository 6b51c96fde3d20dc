//! Everything in floats, over any lanes, in one fixed order. `kernel` compiles each public function
//! for each kind of lanes.

use super::integers::{Codes, STRIP};
use super::lanes::{Lanes, ROUNDING};
use crate::dense::DENSE_DIM;
use crate::weights::HEAD_DIM;

/// Rows that are worked on together in attention; buffers of tokens are padded to a multiple.
pub(crate) const TILE: usize = 8;

/// How sums of products become floats: `sum * row_scale * column_scale + bias`, then maybe GELU.
pub(crate) struct Epilogue<'a> {
    /// Of the quantised inputs, `[n_rows]`
    pub(crate) row_scales: &'a [f32],
    /// `[STRIP]`
    pub(crate) column_scales: &'a [f32; STRIP],
    /// `[STRIP]`
    pub(crate) biases: &'a [f32; STRIP],
    pub(crate) gelu: bool,
    /// From one row of the output to the next.
    pub(crate) stride: usize,
}

/// What is added before a normalisation, `[n_rows, DENSE_DIM]`.
pub(crate) type Addend<'a> = &'a [f32];

/// Weights of a layer normalisation, `[DENSE_DIM]` each.
#[derive(Clone, Copy)]
pub(crate) struct NormRows<'a> {
    pub(crate) weight: &'a [f32],
    pub(crate) bias: &'a [f32],
}

/// Keys and values of a run of tokens, whose number is padded with zeros to a multiple of `TILE`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    /// `[N_HEADS, tiles, HEAD_DIM, TILE]`
    pub(crate) keys: Vec<f32>,
    /// `[N_HEADS, tiles, TILE, HEAD_DIM]`
    pub(crate) values: Vec<f32>,
    /// Floats of one head in either.
    pub(crate) n_head: usize,
}

impl Memory {
    #[inline(always)]
    fn keys(&self, head: usize) -> &[[[f32; TILE]; HEAD_DIM]] {
        self.keys[head * self.n_head..][..self.n_head]
            .as_chunks::<TILE>()
            .0
            .as_chunks::<HEAD_DIM>()
            .0
    }

    #[inline(always)]
    fn values(&self, head: usize) -> &[[f32; HEAD_DIM]] {
        self.values[head * self.n_head..][..self.n_head]
            .as_chunks::<HEAD_DIM>()
            .0
    }
}

/// Attention of some rows in one head.
pub(crate) struct Attention<'a> {
    /// Divided by the root of `HEAD_DIM`, `[n_rows padded to TILE, HEAD_DIM]`
    pub(crate) queries: &'a [f32],
    /// All tokens, in order.
    pub(crate) memories: &'a [Memory],
    pub(crate) head: usize,
    /// Without padding.
    pub(crate) n_tokens: usize,
}

/// Rows to codes within -127..=127 with one scale per row: `value * factor = code * scale`.
#[inline(always)]
pub(crate) fn quantise<L: Lanes>(values: &[f32], factors: &[f32], codes: &mut Codes) {
    let width = codes.width();
    let factors = factors.as_chunks::<8>().0;
    for (row, values) in values.chunks_exact(width).enumerate() {
        let values = values.as_chunks::<8>().0;
        let mut largest = L::splat(0.0);
        for (values, factors) in values.iter().zip(factors) {
            largest = L::load(values).mul(L::load(factors)).abs().max(largest);
        }
        let largest = largest_of(largest);
        let steps = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        codes.begin_row(row, largest / 127.0);
        for (group, (values, factors)) in values.iter().zip(factors).enumerate() {
            let scaled = L::load(values).mul(L::load(factors)).mul(L::splat(steps));
            codes.write(row, group, scaled.round());
        }
    }
}

/// See [`Epilogue`]. `sums` is `[n_rows, STRIP]`; a row of the output begins `stride` after the last.
#[inline(always)]
pub(crate) fn finish<L: Lanes>(sums: &[i32], epilogue: &Epilogue<'_>, output: &mut [f32]) {
    let scales = epilogue.column_scales.as_chunks::<8>().0;
    let biases = epilogue.biases.as_chunks::<8>().0;
    let rows = sums.as_chunks::<STRIP>().0.iter().zip(epilogue.row_scales);
    for ((sums, row_scale), output) in rows.zip(output.chunks_mut(epilogue.stride)) {
        let output = output[..STRIP].as_chunks_mut::<8>().0;
        let columns = sums.as_chunks::<8>().0.iter().zip(scales).zip(biases);
        for (((sums, scales), biases), output) in columns.zip(output) {
            let scale = L::splat(*row_scale).mul(L::load(scales));
            let value = L::from_integers(sums).mul(scale).add(L::load(biases));
            let value = if epilogue.gelu { gelu(value) } else { value };
            value.store(output);
        }
    }
}

/// `hidden = norm(hidden + addend)`, row by row; epsilon is BERT's 1e-12.
#[inline(always)]
pub(crate) fn add_and_norm<L: Lanes>(hidden: &mut [f32], addend: Addend<'_>, norm: NormRows<'_>) {
    let rows = hidden.chunks_exact_mut(DENSE_DIM).zip(addend.chunks_exact(DENSE_DIM));
    for (hidden, addend) in rows {
        let hidden = hidden.as_chunks_mut::<8>().0;
        for (hidden, addend) in hidden.iter_mut().zip(addend.as_chunks::<8>().0) {
            L::load(hidden).add(L::load(addend)).store(hidden);
        }
        let mean = L::splat(mean::<L>(hidden, |value| value));
        let variance = mean_of_squares(hidden, mean);
        let scale = L::splat(1.0 / (variance + 1e-12).sqrt());
        let weights = norm.weight.as_chunks::<8>().0.iter().zip(norm.bias.as_chunks::<8>().0);
        for (hidden, (weight, bias)) in hidden.iter_mut().zip(weights) {
            let centred = L::load(hidden).sub(mean).mul(scale);
            centred.mul(L::load(weight)).add(L::load(bias)).store(hidden);
        }
    }
}

#[inline(always)]
fn mean_of_squares<L: Lanes>(values: &[[f32; 8]], mean_value: L) -> f32 {
    mean::<L>(values, |value| {
        let centred = value.sub(mean_value);
        centred.mul(centred)
    })
}

/// Mean of `DENSE_DIM` values. Four running sums, so that one addition need not wait for the last.
#[inline(always)]
fn mean<L: Lanes>(values: &[[f32; 8]], map: impl Fn(L) -> L) -> f32 {
    let mut sums = [L::splat(0.0); 4];
    for values in values.as_chunks::<4>().0 {
        for (sum, values) in sums.iter_mut().zip(values) {
            *sum = sum.add(map(L::load(values)));
        }
    }
    let [a, b, c, d] = sums;
    sum_of(a.add(b).add(c.add(d))) / DENSE_DIM as f32
}

/// Softmax of queries times keys, times values: rows of `context` begin `DENSE_DIM` apart, and there
/// are as many as queries that are no padding. `scores` is room for `[TILE, all tokens padded]`.
#[inline(always)]
pub(crate) fn attend<L: Lanes>(attention: &Attention<'_>, scores: &mut [f32], context: &mut [f32]) {
    let n_padded = scores.len() / TILE;
    let queries = attention.queries.as_chunks::<HEAD_DIM>().0.as_chunks::<TILE>().0;
    for (queries, context) in queries.iter().zip(context.chunks_mut(TILE * DENSE_DIM)) {
        score::<L>(queries, attention, scores);
        let mut totals = [0.0; TILE];
        for (scores, total) in scores.chunks_exact_mut(n_padded).zip(&mut totals) {
            *total = exponentials::<L>(scores, attention.n_tokens);
        }
        let pairs = scores.chunks_exact(2 * n_padded).zip(totals.as_chunks::<2>().0);
        for ((scores, totals), context) in pairs.zip(context.chunks_mut(2 * DENSE_DIM)) {
            mix::<L>(attention, scores.split_at(n_padded), totals, context);
        }
    }
}

/// Products of `TILE` queries with all keys.
#[inline(always)]
fn score<L: Lanes>(queries: &[[f32; HEAD_DIM]; TILE], attention: &Attention<'_>, scores: &mut [f32]) {
    let n_tiles = scores.len() / TILE / TILE;
    let scores = scores.as_chunks_mut::<TILE>().0;
    let tiles = attention.memories.iter().flat_map(|memory| memory.keys(attention.head));
    for (tile, keys) in tiles.enumerate() {
        let mut sums = [L::splat(0.0); TILE];
        for (dim, keys) in keys.iter().enumerate() {
            let keys = L::load(keys);
            for (sum, query) in sums.iter_mut().zip(queries) {
                *sum = sum.add(L::splat(query[dim]).mul(keys));
            }
        }
        for (row, sum) in sums.into_iter().enumerate() {
            sum.store(&mut scores[row * n_tiles + tile]);
        }
    }
}

/// Replaces scores by their exponentials relative to the largest, padding by 0; returns the sum.
#[inline(always)]
fn exponentials<L: Lanes>(scores: &mut [f32], n_tokens: usize) -> f32 {
    scores[n_tokens..].fill(f32::MIN);
    let scores_in_lanes = scores.as_chunks_mut::<8>().0;
    let mut largest = L::splat(f32::MIN);
    for scores in scores_in_lanes.iter() {
        largest = L::load(scores).max(largest);
    }
    let largest = L::splat(largest_of(largest));
    for scores in scores_in_lanes.iter_mut() {
        exp(L::load(scores).sub(largest)).store(scores);
    }
    scores[n_tokens..].fill(0.0);
    let mut sum = L::splat(0.0);
    for scores in scores.as_chunks::<8>().0 {
        sum = sum.add(L::load(scores));
    }
    sum_of(sum)
}

/// Values weighted by the probabilities of two rows; a second row that is padding has no `context`.
#[inline(always)]
fn mix<L: Lanes>(attention: &Attention<'_>, weights: (&[f32], &[f32]), totals: &[f32; 2], context: &mut [f32]) {
    let mut sums = [[L::splat(0.0); HEAD_DIM / 8]; 2];
    let mut weights = weights.0.iter().zip(weights.1);
    for memory in attention.memories {
        for (values, (first, second)) in memory.values(attention.head).iter().zip(&mut weights) {
            let (first, second) = (L::splat(*first), L::splat(*second));
            for (part, values) in values.as_chunks::<8>().0.iter().enumerate() {
                let values = L::load(values);
                sums[0][part] = sums[0][part].add(first.mul(values));
                sums[1][part] = sums[1][part].add(second.mul(values));
            }
        }
    }
    for ((sums, total), context) in sums.iter().zip(totals).zip(context.chunks_mut(DENSE_DIM)) {
        let scale = L::splat(1.0 / total);
        for (sum, context) in sums.iter().zip(context[..HEAD_DIM].as_chunks_mut::<8>().0) {
            sum.mul(scale).store(context);
        }
    }
}

/// `x / 2 * (1 + erf(x / sqrt(2)))`
#[inline(always)]
fn gelu<L: Lanes>(x: L) -> L {
    let cumulative = erf(x.mul(L::splat(std::f32::consts::FRAC_1_SQRT_2))).add(L::splat(1.0));
    x.mul(L::splat(0.5)).mul(cumulative)
}

/// Eigen's rational approximation, exact to a few units in the last place; beyond 4 erf is 1 in f32.
#[inline(always)]
fn erf<L: Lanes>(x: L) -> L {
    let x = x.min(L::splat(4.0)).max(L::splat(-4.0));
    let square = x.mul(x);
    let numerator = [
        -2.726_142_3e-10,
        2.770_681_6e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_5e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    let denominator = [
        -1.456_607_2e-5,
        -2.133_740_5e-4,
        -1.682_827e-3,
        -7.373_329e-3,
        -1.426_473_9e-2,
    ];
    x.mul(polynomial(square, &numerator))
        .div(polynomial(square, &denominator))
}

/// `e^x` for `x <= 0` as in Cephes' `expf`, to 2 units in the last place; below -87 it stays at e^-87.
#[inline(always)]
fn exp<L: Lanes>(x: L) -> L {
    // The bits of the exponent are offset by 127.
    const SHIFT: f32 = ROUNDING + 127.0;
    let x = x.max(L::splat(-87.0));
    let shifted = x.mul(L::splat(std::f32::consts::LOG2_E)).add(L::splat(SHIFT));
    let whole = shifted.sub(L::splat(SHIFT));
    // ln(2) in two parts, the first of few bits, so that its product is exact.
    let rest = x
        .sub(whole.mul(L::splat(0.693_359_4)))
        .sub(whole.mul(L::splat(-2.121_944_4e-4)));
    let terms = [
        1.987_569_1e-4,
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        5e-1,
    ];
    let tail = polynomial(rest, &terms).mul(rest.mul(rest));
    tail.add(rest).add(L::splat(1.0)).mul(shifted.mantissa_to_exponent())
}

/// Horner's scheme, the highest power first.
#[inline(always)]
fn polynomial<L: Lanes, const N: usize>(x: L, coefficients: &[f32; N]) -> L {
    let mut total = L::splat(coefficients[0]);
    for coefficient in &coefficients[1..] {
        total = total.mul(x).add(L::splat(*coefficient));
    }
    total
}

#[inline(always)]
fn sum_of<L: Lanes>(lanes: L) -> f32 {
    let [a, b, c, d, e, f, g, h] = stored(lanes);
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[inline(always)]
fn largest_of<L: Lanes>(lanes: L) -> f32 {
    stored(lanes).into_iter().fold(f32::MIN, f32::max)
}

#[inline(always)]
fn stored<L: Lanes>(lanes: L) -> [f32; 8] {
    let mut values = [0.0; 8];
    lanes.store(&mut values);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::lanes::Eight;

    fn each(function: impl Fn(Eight) -> Eight, x: f32) -> f32 {
        stored(function(Eight::splat(x)))[3]
    }

    #[test]
    fn exp_is_near_the_exponential() {
        for step in 0..87_000 {
            let x = -(step as f32) / 1000.0;
            let (found, expected) = (f64::from(each(exp, x)), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 2.5e-7, "{x} {found} {expected}");
        }
        assert_eq!(each(exp, 0.0), 1.0);
        assert_eq!(each(exp, f32::MIN), each(exp, -87.0));
    }

    /// By the series of erf, which converges everywhere.
    fn gelu_by_hand(x: f64) -> f64 {
        let z = x / 2f64.sqrt();
        let (mut term, mut sum) = (z, z);
        for n in 1..200 {
            term *= -z * z / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        x / 2.0 * (1.0 + sum * 2.0 / std::f64::consts::PI.sqrt())
    }

    #[test]
    fn gelu_is_near_the_erf_form() {
        for step in -5000..=5000 {
            let x = step as f32 / 1000.0;
            let error = f64::from(each(gelu, x)) - gelu_by_hand(f64::from(x));
            assert!(error.abs() < 1e-6, "{x} {error}");
        }
        assert!((each(gelu, 30.0) - 30.0).abs() < 1e-5);
        assert!(each(gelu, -30.0).abs() < 1e-5);
    }
}
