//! Curves of cost against quality: hull, area under it, look-ups, and the two-tier gap curve.

/// Cost and quality of one setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Mean cost.
    pub cost: f64,
    /// Mean quality.
    pub quality: f64,
}

/// Upper concave, non-decreasing hull of points that may be mixed at random (RouterBench): from the
/// cheapest point to the first with the best quality, by cost.
pub fn hull(points: &[Point]) -> Vec<Point> {
    let mut sorted: Vec<Point> = points.to_vec();
    sorted.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(b.quality.total_cmp(&a.quality)));
    let mut hull: Vec<Point> = Vec::new();
    for point in sorted {
        if hull.last().is_some_and(|last| point.quality <= last.quality) {
            continue;
        }
        while hull.len() >= 2 && !turns_down(hull[hull.len() - 2], hull[hull.len() - 1], point) {
            hull.pop();
        }
        hull.push(point);
    }
    hull
}

/// Whether `b` lies above the line from `a` to `c`.
fn turns_down(a: Point, b: Point, c: Point) -> bool {
    (b.quality - a.quality) * (c.cost - a.cost) > (c.quality - a.quality) * (b.cost - a.cost)
}

/// The axis of an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Cost.
    Linear,
    /// Logarithm of cost; the curve's lines stay straight in cost itself.
    Log,
}

/// Mean height of a curve (points by rising cost, straight lines between) on \[from, to\]: zero left
/// of its first point, flat right of its last (RouterBench AIQ with a stated range). `NaN` when the
/// range is empty, and on the log axis when it does not lie above zero.
pub fn mean_height(curve: &[Point], from: f64, to: f64, axis: Axis) -> f64 {
    if from >= to || (axis == Axis::Log && from <= 0.0) {
        return f64::NAN;
    }
    let (Some(_), Some(last)) = (curve.first(), curve.last()) else {
        return f64::NAN;
    };
    let inside = curve
        .windows(2)
        .map(|pair| area_of_segment(pair[0], pair[1], from, to, axis))
        .sum::<f64>();
    let end = Point {
        cost: to.max(last.cost),
        quality: last.quality,
    };
    (inside + area_of_segment(*last, end, from, to, axis)) / span(from, to, axis)
}

fn span(from: f64, to: f64, axis: Axis) -> f64 {
    match axis {
        Axis::Linear => to - from,
        Axis::Log => (to / from).ln(),
    }
}

fn area_of_segment(a: Point, b: Point, from: f64, to: f64, axis: Axis) -> f64 {
    let (left, right) = (a.cost.max(from), b.cost.min(to));
    if left >= right {
        return 0.0;
    }
    let slope = (b.quality - a.quality) / (b.cost - a.cost);
    let at_zero = a.quality - slope * a.cost;
    match axis {
        Axis::Linear => at_zero * (right - left) + slope * (right.powi(2) - left.powi(2)) / 2.0,
        // The integral of (at_zero + slope c) / c dc.
        Axis::Log => at_zero * (right / left).ln() + slope * (right - left),
    }
}

/// Quality of a hull at a cost; `None` left of its first point.
pub fn quality_at(hull: &[Point], cost: f64) -> Option<f64> {
    let next = hull.iter().position(|point| point.cost > cost).unwrap_or(hull.len());
    let before = hull.get(next.checked_sub(1)?)?;
    Some(hull.get(next).map_or(before.quality, |after| {
        before.quality + (after.quality - before.quality) * (cost - before.cost) / (after.cost - before.cost)
    }))
}

/// Smallest cost at which a hull reaches a quality; `None` above its last point.
pub fn cost_at(hull: &[Point], quality: f64) -> Option<f64> {
    let next = hull.iter().position(|point| point.quality >= quality)?;
    let Some(before) = next.checked_sub(1) else {
        return Some(hull[0].cost);
    };
    let (before, after) = (hull[before], hull[next]);
    let share = (quality - before.quality) / (after.quality - before.quality);
    Some(before.cost + share * (after.cost - before.cost))
}

/// The two-tier curve of RouteLLM: mean quality against the share of strong calls, when items go to
/// the strong tier in falling order of the score. Blocks of equal score are one straight line,
/// which is the expectation under random tie order.
#[derive(Debug, Clone, PartialEq)]
pub struct GapCurve {
    /// (share of strong calls, mean quality), from 0 to 1.
    points: Vec<(f64, f64)>,
}

impl GapCurve {
    /// `order` as made by [`strong_first`]; `weights` count each item.
    pub fn new(order: &[Vec<usize>], weak: &[f64], strong: &[f64], weights: &[f64]) -> Self {
        let total: f64 = order.iter().flatten().map(|item| weights[*item]).sum();
        let mut quality = order
            .iter()
            .flatten()
            .map(|item| weights[*item] * weak[*item])
            .sum::<f64>()
            / total;
        let mut share = 0.0;
        let mut points = vec![(share, quality)];
        for block in order {
            share += block.iter().map(|item| weights[*item]).sum::<f64>() / total;
            quality += block
                .iter()
                .map(|item| weights[*item] * (strong[*item] - weak[*item]))
                .sum::<f64>()
                / total;
            points.push((share, quality));
        }
        Self { points }
    }

    /// Average performance gap recovered: the integral over x in [0, 1] of (y(x) - w) / (s - w).
    /// `NaN` when weak and strong are equally good.
    pub fn apgr(&self) -> f64 {
        let area: f64 = self
            .points
            .windows(2)
            .map(|p| (p[1].0 - p[0].0) * (p[0].1 + p[1].1) / 2.0)
            .sum();
        let (weak, gap) = self.weak_and_gap();
        (area - weak) / gap
    }

    /// Smallest share of strong calls at which `recovered` of the gap is reached: first crossing.
    pub fn first_crossing(&self, recovered: f64) -> Option<f64> {
        let (weak, gap) = self.weak_and_gap();
        let of = |quality: f64| (quality - weak) / gap;
        self.points.windows(2).find(|p| of(p[1].1) >= recovered).map(|p| {
            let (from, to) = (of(p[0].1), of(p[1].1));
            let part = if to > from {
                ((recovered - from) / (to - from)).clamp(0.0, 1.0)
            } else {
                0.0
            };
            p[0].0 + part * (p[1].0 - p[0].0)
        })
    }

    /// (share, recovered gap) at `n` + 1 equally spaced shares.
    pub fn sampled(&self, n: usize) -> Vec<(f64, f64)> {
        let (weak, gap) = self.weak_and_gap();
        (0..=n)
            .map(|step| step as f64 / n as f64)
            .map(|share| (share, (self.quality_at(share) - weak) / gap))
            .collect()
    }

    fn quality_at(&self, share: f64) -> f64 {
        let next = self
            .points
            .iter()
            .position(|point| point.0 >= share)
            .unwrap_or(self.points.len() - 1);
        let (after, before) = (self.points[next], self.points[next.saturating_sub(1)]);
        if after.0 <= before.0 {
            return after.1;
        }
        before.1 + (after.1 - before.1) * ((share - before.0) / (after.0 - before.0)).clamp(0.0, 1.0)
    }

    fn weak_and_gap(&self) -> (f64, f64) {
        let (first, last) = (self.points[0].1, self.points[self.points.len() - 1].1);
        (first, last - first)
    }
}

/// Items in falling order of score, equal scores in one block.
pub fn strong_first(score: &[f64]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..score.len()).collect();
    order.sort_by(|a, b| score[*b].total_cmp(&score[*a]));
    order
        .chunk_by(|a, b| score[*a] == score[*b])
        .map(<[usize]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(pairs: &[(f64, f64)]) -> Vec<Point> {
        pairs
            .iter()
            .map(|(cost, quality)| Point {
                cost: *cost,
                quality: *quality,
            })
            .collect()
    }

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-12, "{value} is not {expected}");
    }

    #[test]
    fn hull_by_hand() {
        // (2, .5) is under the line from (1, .4) to (3, .8); (5, .7) falls; (1, .3) is dominated.
        let found = hull(&points(&[
            (3.0, 0.8),
            (1.0, 0.4),
            (5.0, 0.7),
            (2.0, 0.5),
            (1.0, 0.3),
            (4.0, 0.9),
        ]));
        assert_eq!(found, points(&[(1.0, 0.4), (3.0, 0.8), (4.0, 0.9)]));
    }

    #[test]
    fn hull_of_little() {
        assert_eq!(hull(&[]), []);
        assert_eq!(hull(&points(&[(1.0, 0.5), (2.0, 0.5)])), points(&[(1.0, 0.5)]));
    }

    #[test]
    fn area_by_hand() {
        // From 1 to 3 the mean height is .6, from 3 to 5 it is .8.
        let curve = points(&[(1.0, 0.4), (3.0, 0.8)]);
        near(mean_height(&curve, 1.0, 5.0, Axis::Linear), 0.7);
        // Left of the first point the height is zero.
        near(mean_height(&curve, -1.0, 3.0, Axis::Linear), 0.3);
        near(mean_height(&curve, 2.0, 3.0, Axis::Linear), 0.7);
        near(mean_height(&points(&[(1.0, 0.5)]), 1.0, 100.0, Axis::Log), 0.5);
        // q = c on [1, e]: the integral of c / c dc over a span of one.
        let e = std::f64::consts::E;
        near(mean_height(&points(&[(1.0, 1.0), (e, e)]), 1.0, e, Axis::Log), e - 1.0);
    }

    #[test]
    fn area_of_an_empty_range() {
        assert!(mean_height(&points(&[(1.0, 0.4)]), 2.0, 2.0, Axis::Linear).is_nan());
        assert!(mean_height(&points(&[(1.0, 0.4)]), 0.0, 2.0, Axis::Log).is_nan());
        near(mean_height(&points(&[(9.0, 0.4)]), 1.0, 2.0, Axis::Linear), 0.0);
    }

    #[test]
    fn look_ups() {
        let hull = points(&[(1.0, 0.4), (3.0, 0.8)]);
        assert_eq!(quality_at(&hull, 0.5), None);
        near(quality_at(&hull, 2.0).unwrap(), 0.6);
        near(quality_at(&hull, 9.0).unwrap(), 0.8);
        assert_eq!(cost_at(&hull, 0.9), None);
        near(cost_at(&hull, 0.6).unwrap(), 2.0);
        near(cost_at(&hull, 0.1).unwrap(), 1.0);
    }

    fn gap(score: &[f64], weak: &[f64], strong: &[f64]) -> GapCurve {
        GapCurve::new(&strong_first(score), weak, strong, &vec![1.0; weak.len()])
    }

    #[test]
    fn gap_by_hand() {
        // Strong helps on item 0 only: w = .5, s = 1; sending item 0 first recovers all at x = .5.
        let (weak, strong) = ([0.0, 1.0], [1.0, 1.0]);
        let good = gap(&[0.9, 0.1], &weak, &strong);
        near(good.apgr(), 0.75);
        near(good.first_crossing(0.5).unwrap(), 0.25);
        near(gap(&[0.1, 0.9], &weak, &strong).apgr(), 0.25);
        assert_eq!(good.sampled(2), [(0.0, 0.0), (0.5, 1.0), (1.0, 1.0)]);
    }

    #[test]
    fn ties_are_a_straight_line() {
        let tied = gap(&[0.5, 0.5], &[0.0, 1.0], &[1.0, 1.0]);
        near(tied.apgr(), 0.5);
        near(tied.first_crossing(0.8).unwrap(), 0.8);
    }

    #[test]
    fn skipping_harmful_calls_exceeds_one() {
        // Items: strong wins, strong wins, strong loses; w = 1/3, s = 2/3.
        let curve = gap(&[1.0, 1.0, -1.0], &[0.0, 0.0, 1.0], &[1.0, 1.0, 0.0]);
        // Up to (2/3, 1) and down to (1, 2/3): PGR 0, 2, 1.
        near(curve.apgr(), 2.0 / 3.0 + 0.5);
    }

    #[test]
    fn no_gap() {
        assert!(!gap(&[0.5, 0.5], &[1.0, 0.0], &[0.0, 1.0]).apgr().is_finite());
    }

    #[test]
    fn weights_repeat_items() {
        let (weak, strong) = ([0.0, 1.0], [1.0, 1.0]);
        let weighted = GapCurve::new(&strong_first(&[0.9, 0.1]), &weak, &strong, &[2.0, 1.0]);
        let repeated = gap(&[0.9, 0.9, 0.1], &[0.0, 0.0, 1.0], &[1.0, 1.0, 1.0]);
        near(weighted.apgr(), repeated.apgr());
    }
}
