//! The arithmetic of the encoder, in three versions of equal bits. The only module with `unsafe` code.
//!
//! `integers` multiplies int8 matrices: sums of integers are exact in any order. Everything in floats
//! is written once, in `floats`, over eight lanes; a lane type brings addition, multiplication,
//! division and square root, which IEEE 754 rounds exactly, so that a lane of AVX2 holds the same
//! bits as plain Rust. No fused multiply-add and no function of a mathematical library is used.

#![expect(
    unsafe_code,
    reason = "vector instructions: int8 products are four to ten times slower without"
)]

pub(crate) mod floats;
pub(crate) mod integers;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod x86;

use self::floats::{Addend, Attention, Epilogue, NormRows};
use self::integers::{Codes, Packed, STRIP};
use self::lanes::Eight;

/// Which instructions are used. A value says that this machine has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Level);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Its floats are AVX2's.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Kernel {
    /// The fastest one of this machine.
    pub fn best() -> Self {
        *Self::available().last().expect("the portable kernel is always there")
    }

    /// All that this machine can run, the slowest first.
    pub fn available() -> Vec<Self> {
        let mut kernels = vec![Self(Level::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2");
            if avx2 {
                kernels.push(Self(Level::Avx2));
            }
            let vnni = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
            if avx2 && vnni {
                kernels.push(Self(Level::Avx512Vnni));
            }
        }
        kernels
    }

    /// Of the instructions.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => "avx512-vnni",
        }
    }

    /// Sums of products of all rows of `codes` and outputs `strip * STRIP..` of `weights`:
    /// `sums[row, column]`, `[codes.n_rows(), STRIP]`.
    pub(crate) fn multiply(self, codes: &Codes, weights: &Packed, strip: usize, sums: &mut [i32]) {
        assert_eq!(codes.width(), weights.n_inputs(), "rows of the same length");
        assert_eq!(sums.len(), codes.n_rows() * STRIP, "one strip of sums");
        assert!(codes.is_for(self), "the codes are laid out for this kernel");
        match self.0 {
            Level::Portable => integers::multiply_portable(codes, weights, strip, sums),
            // SAFETY: a `Kernel` of this level exists only where the instructions were detected; the
            // sizes were compared above, and `strip` is checked by the slices of `weights`.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { x86::multiply_avx2(codes, weights, strip, sums) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => unsafe { x86::multiply_vnni(codes, weights, strip, sums) },
        }
    }

    /// Inner products of `row` with each of `rows`, `[products.len(), row.len()]`. Rows of up to 2^16
    /// codes: 32 bits never overflow.
    pub fn products(self, row: &[i8], rows: &[i8], products: &mut [i32]) {
        assert_eq!(rows.len(), row.len() * products.len(), "one product per row");
        match self.0 {
            Level::Portable => integers::products(row, rows, products),
            // SAFETY: a `Kernel` of these levels exists only where AVX2 was detected; the lengths were
            // compared above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512Vnni => unsafe { x86::products_avx2(row, rows, products) },
        }
    }

    /// Whether codes are bytes with an offset of 128, which is what VNNI multiplies.
    fn wants_offset(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => true,
            _ => false,
        }
    }
}

/// One method of `Kernel` per function of `floats`, compiled for each kind of lanes.
macro_rules! in_lanes {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),*);)*) => {
        impl Kernel {
            $(
                $(#[$doc])*
                pub(crate) fn $name(self, $($argument: $kind),*) {
                    match self.0 {
                        Level::Portable => floats::$name::<Eight>($($argument),*),
                        #[cfg(target_arch = "x86_64")]
                        Level::Avx2 | Level::Avx512Vnni => {
                            #[target_feature(enable = "avx2")]
                            fn wide($($argument: $kind),*) {
                                floats::$name::<x86::Avx2>($($argument),*);
                            }
                            // SAFETY: a `Kernel` of these levels exists only where AVX2 was detected.
                            unsafe { wide($($argument),*) }
                        }
                    }
                }
            )*
        }
    };
}

in_lanes! {
    /// Quantises the rows of `values`, `[n_rows, width]`, after multiplying by `factors`, `[width]`.
    fn quantise(values: &[f32], factors: &[f32], codes: &mut Codes);
    /// Sums of products to floats.
    fn finish(sums: &[i32], epilogue: &Epilogue<'_>, output: &mut [f32]);
    /// Adds `addend` to `hidden` and normalises each row, `[n_rows, DENSE_DIM]`.
    fn add_and_norm(hidden: &mut [f32], addend: Addend<'_>, norm: NormRows<'_>);
    /// Attention of some rows in one head.
    fn attend(attention: &Attention<'_>, scores: &mut [f32], context: &mut [f32]);
}

#[cfg(test)]
mod tests;
