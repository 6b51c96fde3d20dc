//! Vector instructions of x86-64: lanes of AVX2, and int8 products by AVX2 and AVX512-VNNI.

use core::arch::x86_64::*;

use super::integers::{self, Codes, GROUP, PANEL, Packed, STRIP};
use super::lanes::Lanes;
use crate::dense::DENSE_DIM;
use crate::weights::INNER_DIM;

/// Eight floats in a register. Named only in functions that are compiled for AVX2.
#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256);

// SAFETY of every block below: `kernel` reaches these methods only through functions compiled for
// AVX2, which it calls only where AVX2 was detected; memory is a reference to as much as is read or
// written, and the instructions do not ask for alignment.
impl Lanes for Avx2 {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    fn load(values: &[f32; 8]) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_loadu_ps(values.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, values: &mut [f32; 8]) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn from_integers(values: &[i32; 8]) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_cvtepi32_ps(_mm256_loadu_si256(values.as_ptr().cast())) })
    }

    #[inline(always)]
    fn round(self) -> [i32; 8] {
        let mut integers = [0; 8];
        // SAFETY: see above. Rust keeps the rounding mode at its default, ties to even.
        unsafe { _mm256_storeu_si256(integers.as_mut_ptr().cast(), _mm256_cvtps_epi32(self.0)) };
        integers
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0) })
    }

    #[inline(always)]
    fn mantissa_to_exponent(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(self.0))) })
    }
}

/// Where a tile reads and writes.
#[derive(Clone, Copy)]
struct Tile<C> {
    /// First code of its first row; rows are `WIDTH` apart.
    codes: *const C,
    /// First weight; groups are `PANEL * GROUP` apart.
    weights: *const i8,
    /// First sum; rows are `STRIP` apart.
    sums: *mut i32,
}

/// `$function::<WIDTH>` for the width at hand.
macro_rules! by_width {
    ($function:ident, $width:expr, $arguments:tt) => {
        match $width {
            DENSE_DIM => $function::<DENSE_DIM> $arguments,
            INNER_DIM => $function::<INNER_DIM> $arguments,
            _ => unreachable!("`Packed::new` takes no other width than those of `WIDTHS`"),
        }
    };
}

/// `$tile::<WIDTH, $most>` for as many rows as possible at once, and one smaller tile for those left
/// over.
macro_rules! tiles {
    ($tile:ident, $most:literal [$($fewer:literal)*], $n_rows:expr, |$row:ident| $arguments:tt) => {
        for $row in (0..$n_rows).step_by($most) {
            match $n_rows - $row {
                $($fewer => $tile::<WIDTH, $fewer> $arguments,)*
                _ => $tile::<WIDTH, $most> $arguments,
            }
        }
    };
}

/// `Kernel::multiply`. Codes and weights are widened to 16 bits, and `vpmaddwd` adds pairs of exact
/// products in 32 bits: nothing saturates, as the 16-bit sums of `vpmaddubsw` would.
///
/// # Safety
/// The machine has AVX2; `codes.wide()` has `codes.n_rows()` rows of `weights.n_inputs()`, `sums` as
/// many of `STRIP`.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn multiply_avx2(codes: &Codes, weights: &Packed, strip: usize, sums: &mut [i32]) {
    // SAFETY: passed on to the caller.
    unsafe { by_width!(strip_avx2, codes.width(), (codes, weights.strip(strip), sums)) }
}

/// Outputs of a tile.
const AVX2_COLUMNS: usize = 8;

/// # Safety
/// As at `multiply_avx2`, with rows of `WIDTH`.
#[target_feature(enable = "avx2")]
unsafe fn strip_avx2<const WIDTH: usize>(codes: &Codes, panels: &[i8], sums: &mut [i32]) {
    for column in (0..STRIP).step_by(AVX2_COLUMNS) {
        let first = column / PANEL * PANEL * WIDTH + column % PANEL * GROUP;
        let tile = |row: usize, sums: &mut [i32]| Tile {
            codes: codes.wide()[row * WIDTH..].as_ptr(),
            weights: panels[first..].as_ptr(),
            sums: sums[row * STRIP + column..].as_mut_ptr(),
        };
        // SAFETY: each tile has the rows that are left, and its columns lie within one panel.
        unsafe { tiles!(tile_avx2, 6 [1 2 3 4 5], codes.n_rows(), |row| (tile(row, sums))) };
    }
}

/// Sums of `ROWS` rows and 8 outputs. Six rows are twelve accumulators, which with two registers of
/// weights and two of codes and products fill the sixteen of AVX2.
///
/// # Safety
/// As at `multiply_avx2`, from the first elements of the tile on.
#[target_feature(enable = "avx2")]
unsafe fn tile_avx2<const WIDTH: usize, const ROWS: usize>(tile: Tile<i16>) {
    // [row][half]: four outputs in two partial sums each.
    let mut partial = [[_mm256_setzero_si256(); 2]; ROWS];
    for group in 0..WIDTH / GROUP {
        // SAFETY: 8 outputs of a group are 32 bytes, a row's group four codes of two bytes.
        unsafe {
            let weights = tile.weights.add(group * PANEL * GROUP).cast::<__m128i>();
            let left = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights));
            let right = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.add(1)));
            for (row, partial) in partial.iter_mut().enumerate() {
                let codes = tile.codes.add(row * WIDTH + group * GROUP).cast::<i64>();
                let codes = _mm256_set1_epi64x(codes.read_unaligned());
                partial[0] = _mm256_add_epi32(partial[0], _mm256_madd_epi16(codes, left));
                partial[1] = _mm256_add_epi32(partial[1], _mm256_madd_epi16(codes, right));
            }
        }
    }
    for (row, partial) in partial.iter().enumerate() {
        // Outputs 0 1 4 5 2 3 6 7, and then in order.
        let sums = _mm256_hadd_epi32(partial[0], partial[1]);
        let sums = _mm256_permute4x64_epi64::<0b11_01_10_00>(sums);
        // SAFETY: 8 sums of a row.
        unsafe { _mm256_storeu_si256(tile.sums.add(row * STRIP).cast(), sums) };
    }
}

/// Codes in a register of 16 bits each.
const WIDE: usize = 16;

/// `Kernel::products`, four rows at a time: they share the codes of `row`, and one addition across
/// lanes serves all four. Rows left over, and lengths that are no whole registers, go the portable way.
///
/// # Safety
/// The machine has AVX2; `rows` has `products.len()` rows of `row.len()`.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn products_avx2(row: &[i8], rows: &[i8], products: &mut [i32]) {
    let n_fast = match row.len() % WIDE {
        0 => products.len() / 4 * 4,
        _ => 0,
    };
    let (fast, rest) = products.split_at_mut(n_fast);
    for (block, products) in fast.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let first = rows[4 * block * row.len()..].as_ptr();
        let mut sums = [_mm256_setzero_si256(); 4];
        for (at, codes) in row.as_chunks::<WIDE>().0.iter().enumerate() {
            // SAFETY: 16 codes, and 16 of each of the four rows from `first` on.
            unsafe {
                let codes = _mm256_cvtepi8_epi16(_mm_loadu_si128(codes.as_ptr().cast()));
                for (other, sum) in sums.iter_mut().enumerate() {
                    let other = first.add(other * row.len() + at * WIDE);
                    let other = _mm256_cvtepi8_epi16(_mm_loadu_si128(other.cast()));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(codes, other));
                }
            }
        }
        let [a, b, c, d] = sums;
        let sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        // SAFETY: four products.
        unsafe { _mm_storeu_si128(products.as_mut_ptr().cast(), sums) };
    }
    integers::products(row, &rows[n_fast * row.len()..], rest);
}

/// `Kernel::multiply`. `vpdpbusd` adds four products of an unsigned and a signed byte to 32 bits and
/// does not saturate; codes are offset by 128, which the compensation takes away again.
///
/// # Safety
/// The machine has AVX512F and AVX512-VNNI; `codes.offset()` has `codes.n_rows()` rows of
/// `weights.n_inputs()`, `sums` as many of `STRIP`.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn multiply_vnni(codes: &Codes, weights: &Packed, strip: usize, sums: &mut [i32]) {
    // SAFETY: passed on to the caller.
    unsafe { by_width!(strip_vnni, codes.width(), (codes, weights, strip, sums)) }
}

/// # Safety
/// As at `multiply_vnni`, with rows of `WIDTH`.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn strip_vnni<const WIDTH: usize>(codes: &Codes, weights: &Packed, strip: usize, sums: &mut [i32]) {
    let compensations = weights.compensations(strip);
    let weights = weights.strip(strip);
    let tile = |row: usize, sums: &mut [i32]| Tile {
        codes: codes.offset()[row * WIDTH..].as_ptr(),
        weights: weights.as_ptr(),
        sums: sums[row * STRIP..].as_mut_ptr(),
    };
    // SAFETY: each tile has the rows that are left and both panels of the strip.
    unsafe { tiles!(tile_vnni, 8 [1 2 3 4 5 6 7], codes.n_rows(), |row| (tile(row, sums), compensations)) };
}

/// Sums of `ROWS` rows and `STRIP` outputs, in 2 * `ROWS` of the 32 registers of AVX512.
///
/// # Safety
/// As at `multiply_vnni`, from the first elements of the tile on.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn tile_vnni<const WIDTH: usize, const ROWS: usize>(tile: Tile<u8>, compensations: &[i32; STRIP]) {
    let mut sums = [[_mm512_setzero_si512(); 2]; ROWS];
    for group in 0..WIDTH / GROUP {
        // SAFETY: a group of a panel is 64 bytes, a row's group four bytes.
        unsafe {
            let weights = tile.weights.add(group * PANEL * GROUP);
            let left = _mm512_loadu_si512(weights.cast());
            let right = _mm512_loadu_si512(weights.add(PANEL * WIDTH).cast());
            for (row, sums) in sums.iter_mut().enumerate() {
                let codes = tile.codes.add(row * WIDTH + group * GROUP).cast::<i32>();
                let codes = _mm512_set1_epi32(codes.read_unaligned());
                sums[0] = _mm512_dpbusd_epi32(sums[0], codes, left);
                sums[1] = _mm512_dpbusd_epi32(sums[1], codes, right);
            }
        }
    }
    let (compensations, _) = compensations.as_chunks::<PANEL>();
    for (row, sums) in sums.iter().enumerate() {
        for (half, (sums, compensation)) in sums.iter().zip(compensations).enumerate() {
            // SAFETY: 16 compensations, and 16 sums of a row.
            unsafe {
                let compensation = _mm512_loadu_si512(compensation.as_ptr().cast());
                let output = tile.sums.add(row * STRIP + half * PANEL);
                _mm512_storeu_si512(output.cast(), _mm512_sub_epi32(*sums, compensation));
            }
        }
    }
}
