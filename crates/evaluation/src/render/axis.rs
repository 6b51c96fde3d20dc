//! Scales, ticks and paths: where a value lies in a drawing.

/// A range of values laid along a length, on a linear or a logarithmic scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    /// Where `low` and `high` lie in the drawing.
    from: f64,
    to: f64,
}

impl Axis {
    /// Holds all finite `values` with a little room; logarithmic when asked for and all are positive.
    pub(super) fn around(values: &[f64], wants_log: bool, from: f64, to: f64) -> Self {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let is_log = wants_log && finite().all(|value| value > 0.0);
        let scaled = |value: f64| if is_log { value.log10() } else { value };
        let low = finite().map(scaled).fold(f64::INFINITY, f64::min);
        let high = finite().map(scaled).fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let room = if high > low { 0.05 * (high - low) } else { 0.1 };
        Self {
            low: low - room,
            high: high + room,
            is_log,
            from,
            to,
        }
    }

    /// From `low` to `high` exactly, linear.
    pub(super) fn exact(low: f64, high: f64, from: f64, to: f64) -> Self {
        Self {
            low,
            high,
            is_log: false,
            from,
            to,
        }
    }

    pub(super) fn is_log(&self) -> bool {
        self.is_log
    }

    /// Where `value` lies; `None` when it has no place.
    pub(super) fn at(&self, value: f64) -> Option<f64> {
        let scaled = if self.is_log { value.log10() } else { value };
        let share = (scaled - self.low) / (self.high - self.low);
        share.is_finite().then_some(self.from + share * (self.to - self.from))
    }

    /// Round values inside the range, about `wanted` of them.
    pub(super) fn ticks(&self, wanted: usize) -> Vec<f64> {
        let span = self.high - self.low;
        if !self.is_log || span < 0.6 {
            let unscaled = |value: f64| if self.is_log { 10f64.powf(value) } else { value };
            return linear_ticks(unscaled(self.low), unscaled(self.high), wanted);
        }
        let digits: &[f64] = match span {
            span if span < 2.0 => &[1.0, 2.0, 5.0],
            span if span < 3.5 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let decades = self.low.floor() as i32..=self.high.floor() as i32;
        decades
            .flat_map(|decade| digits.iter().map(move |digit| digit * 10f64.powi(decade)))
            .filter(|value| (self.low..=self.high).contains(&value.log10()))
            .collect()
    }
}

fn linear_ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let rough = (high - low) / wanted.max(1) as f64;
    if !(rough.is_finite() && rough > 0.0) {
        return Vec::new();
    }
    let magnitude = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|digit| digit * magnitude);
    let step = steps
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * magnitude);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last).map(|multiple| multiple as f64 * step).collect()
}

/// The `d` of an SVG path through points, in their order.
pub(super) fn path(points: &[(f64, f64)]) -> String {
    let step = |(i, (x, y)): (usize, &(f64, f64))| format!("{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
    points.iter().enumerate().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], wants_log: bool, expected: &[f64]) {
        let ticks = Axis::around(values, wants_log, 0.0, 100.0).ticks(5);
        let is_near = |(found, expected): (&f64, &f64)| (found - expected).abs() < 1e-9;
        let agrees = ticks.len() == expected.len() && ticks.iter().zip(expected).all(is_near);
        assert!(agrees, "{values:?}: {ticks:?}");
    }

    #[test]
    fn ticks_are_round() {
        check(&[0.0, 1.0], false, &[0.0, 0.25, 0.5, 0.75, 1.0]);
        check(&[0.1, 10.0], true, &[0.1, 0.3, 1.0, 3.0, 10.0]);
        check(&[0.6, 0.7], false, &[0.6, 0.625, 0.65, 0.675, 0.7]);
        check(&[0.0, 10.0], true, &[0.0, 2.5, 5.0, 7.5, 10.0]);
    }

    #[test]
    fn degenerate_ranges_have_a_place_for_their_value() {
        for values in [vec![], vec![f64::NAN], vec![0.5], vec![0.5, 0.5]] {
            let axis = Axis::around(&values, true, 0.0, 100.0);
            assert!(axis.at(0.5).is_some(), "{values:?}");
        }
        let half = Axis::around(&[0.5], true, 0.0, 100.0);
        assert!((half.at(0.5).unwrap() - 50.0).abs() < 1e-9);
        assert_eq!(half.at(0.0), None);
    }
}
