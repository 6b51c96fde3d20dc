//! An axis across, in percentages of the chart's width.

/// Room at both ends, percent: a dot or a number stands around its place.
const MARGIN: f64 = 3.0;

/// From value to place.
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    /// For shares: whole tenths around them, within 0 and 1.
    pub(super) fn of_shares(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite())
            .fold((1.0_f64, 0.0_f64), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        let (low, high) = ((10.0 * low).floor() / 10.0, (10.0 * high).ceil() / 10.0);
        let (low, high) = if high - low < 0.1 {
            (low - 0.1, high + 0.1)
        } else {
            (low, high)
        };
        let (low, high) = (low.max(0.0), high.min(1.0));
        let step = if high - low > 0.55 { 0.25 } else { 0.1 };
        Self { low, high, step }
    }

    /// From zero to a round number that is not below the value.
    pub(super) fn from_zero(most: f64) -> Self {
        let magnitude = 10_f64.powf(most.max(1e-12).log10().floor());
        let rounds = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
        let factor = rounds
            .into_iter()
            .find(|factor| factor * magnitude >= most)
            .unwrap_or(10.0);
        let high = factor * magnitude;
        Self {
            low: 0.0,
            high,
            step: high / 4.0,
        }
    }

    /// Place of a value, as an attribute; what lies outside stands at the end.
    pub(super) fn at(&self, value: f64) -> String {
        across(self.percent(value))
    }

    pub(super) fn percent(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        MARGIN + (100.0 - 2.0 * MARGIN) * share.clamp(0.0, 1.0)
    }

    /// Multiples of the step that lie on it.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step - 1e-9).ceil() as i64;
        let last = (self.high / self.step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * self.step).collect()
    }

    pub(super) fn decimals(&self) -> usize {
        if self.step < 0.2 { 1 } else { 2 }
    }
}

/// A place across, as an attribute.
pub(super) fn across(percent: f64) -> String {
    format!("{percent:.2}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_lie_between_their_tenths() {
        let axis = Axis::of_shares([0.62, 0.88].into_iter());
        assert_eq!((axis.low, axis.high, axis.ticks().len()), (0.6, 0.9, 4));
        assert_eq!((axis.at(0.6), axis.at(2.0)), ("3.00%".to_owned(), "97.00%".to_owned()));
        let one = Axis::of_shares([1.0].into_iter());
        assert!(one.low < one.high && one.at(1.0) == "97.00%");
        assert!(Axis::of_shares(std::iter::empty()).percent(0.5).is_finite());
    }

    #[test]
    fn money_ends_at_a_round_number() {
        for (most, high) in [(0.0073, 0.008), (1.0, 1.0), (3.2, 4.0), (0.0, 1e-12)] {
            assert!((Axis::from_zero(most).high / high - 1.0).abs() < 1e-9, "{most}");
        }
        assert_eq!(Axis::from_zero(3.2).ticks(), [0.0, 1.0, 2.0, 3.0, 4.0]);
    }
}
