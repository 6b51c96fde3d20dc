//! Sums and moments of many rows, without losing digits.

/// A sum that carries what rounding takes away (Neumaier 1974; the error of each step by Knuth's TwoSum,
/// which needs no branch). Ten million small costs keep all the digits that are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sum {
    total: f64,
    lost: f64,
}

impl Sum {
    /// One more value, which must be finite.
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        let total = self.total + value;
        let taken = total - self.total;
        self.lost += (self.total - (total - taken)) + (value - taken);
        self.total = total;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.add(other.total);
        self.lost += other.lost;
    }

    pub(crate) fn value(self) -> f64 {
        self.total + self.lost
    }

    /// The mean of `n` values that have this sum.
    pub(crate) fn mean(self, n: u64) -> Option<f64> {
        (n > 0).then(|| self.value() / n as f64)
    }
}

/// Count, mean and variance.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Moments {
    pub(crate) n: u64,
    sum: Sum,
    squares: Sum,
}

impl Moments {
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        self.n += 1;
        self.sum.add(value);
        self.squares.add(value * value);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.sum.merge(other.sum);
        self.squares.merge(other.squares);
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        self.sum.mean(self.n)
    }

    /// Sample variance, of two values or more. Values here are of the order of 1, so the difference of sums
    /// keeps enough digits.
    pub(crate) fn variance(&self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.n > 1)?;
        let about_mean = self.squares.value() - mean * self.sum.value();
        Some((about_mean / (self.n - 1) as f64).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_beside_a_large_one_are_not_lost() {
        let mut sum = Sum::default();
        sum.add(1e9);
        (0..1_000_000).for_each(|_| sum.add(1e-9));
        sum.add(-1e9);
        assert!((sum.value() - 1e-3).abs() < 1e-12, "{}", sum.value());
    }

    #[test]
    fn moments_of_a_hand_case() {
        let mut moments = Moments::default();
        assert_eq!((moments.mean(), moments.variance()), (None, None));
        [1.0, 2.0, 3.0, 4.0].into_iter().for_each(|value| moments.add(value));
        assert_eq!(moments.mean(), Some(2.5));
        assert!((moments.variance().unwrap() - 5.0 / 3.0).abs() < 1e-12);
    }
}
