//! Eight floats side by side, and their version in plain Rust.

/// Operations whose result IEEE 754 fixes for each lane.
///
/// The methods of an implementation are inlined into a function that is compiled for its
/// instructions, and must not be called elsewhere.
pub(crate) trait Lanes: Copy {
    fn splat(value: f32) -> Self;
    fn load(values: &[f32; 8]) -> Self;
    fn store(self, values: &mut [f32; 8]);
    /// The nearest floats, ties to even.
    fn from_integers(values: &[i32; 8]) -> Self;
    /// The nearest integers, ties to even, of numbers within +-2^22.
    fn round(self) -> [i32; 8];
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// `other` where the two are equal or one is not a number.
    fn max(self, other: Self) -> Self;
    /// `other` where the two are equal or one is not a number.
    fn min(self, other: Self) -> Self;
    fn abs(self) -> Self;
    /// Shifts the bits of each lane by 23 to the left: from the low bits of a mantissa to an exponent.
    fn mantissa_to_exponent(self) -> Self;
}

/// 1.5 * 2^23: a sum with it has no binary places left and holds the rounded number in its low bits.
pub(crate) const ROUNDING: f32 = 12_582_912.0;

/// Lanes of plain Rust.
#[derive(Clone, Copy)]
pub(crate) struct Eight([f32; 8]);

impl Eight {
    #[inline(always)]
    fn zip(self, other: Self, operation: impl Fn(f32, f32) -> f32) -> Self {
        let mut result = self.0;
        for (left, right) in result.iter_mut().zip(other.0) {
            *left = operation(*left, right);
        }
        Self(result)
    }
}

impl Lanes for Eight {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    fn load(values: &[f32; 8]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    fn store(self, values: &mut [f32; 8]) {
        *values = self.0;
    }

    #[inline(always)]
    fn from_integers(values: &[i32; 8]) -> Self {
        Self(values.map(|value| value as f32))
    }

    #[inline(always)]
    fn round(self) -> [i32; 8] {
        self.0
            .map(|value| (value + ROUNDING).to_bits().cast_signed() - ROUNDING.to_bits().cast_signed())
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |left, right| left + right)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |left, right| left - right)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |left, right| left * right)
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |left, right| left / right)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |left, right| if left > right { left } else { right })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |left, right| if left < right { left } else { right })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.map(f32::abs))
    }

    #[inline(always)]
    fn mantissa_to_exponent(self) -> Self {
        Self(self.0.map(|value| f32::from_bits(value.to_bits() << 23)))
    }
}
