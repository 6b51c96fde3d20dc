//! Selective prediction: how the risk falls as the doubtful are set aside.
//!
//! El-Yaniv and Wiener 2010; Geifman and El-Yaniv, "Selective Classification for Deep Neural
//! Networks", 2017; Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation", 2019.

use crate::curve::strong_first;

/// Items by rising doubt; items of equal doubt are one block, since nothing sets them apart. A
/// doubt that is not a number comes last.
pub fn trusted_first(doubt: &[f64]) -> Vec<Vec<usize>> {
    strong_first(&doubt.iter().map(|doubt| -doubt).collect::<Vec<_>>())
}

/// The risk-coverage curve of one order. Within a block of equal doubt it is the expectation under
/// random order of the block, so that it does not depend on the order of the rows.
#[derive(Debug, Clone, PartialEq)]
pub struct RiskCoverage {
    /// (items covered, their summed loss) after each block, from (0, 0).
    knots: Vec<(f64, f64)>,
}

impl RiskCoverage {
    /// `order` as made by [`trusted_first`]; `loss` per item; `weights` say how often each item
    /// counts: whole numbers, as a bootstrap draws them.
    pub fn new(order: &[Vec<usize>], loss: &[f64], weights: &[f64]) -> Self {
        let (mut covered, mut lost) = (0.0, 0.0);
        let mut knots = vec![(covered, lost)];
        for block in order {
            let weight: f64 = block.iter().map(|item| weights[*item]).sum();
            if weight > 0.0 {
                covered += weight;
                lost += block.iter().map(|item| weights[*item] * loss[*item]).sum::<f64>();
                knots.push((covered, lost));
            }
        }
        Self { knots }
    }

    fn total(&self) -> (f64, f64) {
        *self.knots.last().expect("the curve starts with a knot")
    }

    /// Risk of covering everything: the mean loss, which is also the [`RiskCoverage::area`] of a
    /// random order. `NaN` of nothing.
    pub fn overall(&self) -> f64 {
        let (n, lost) = self.total();
        lost / n
    }

    /// Selective risk: mean loss over the share `coverage` in (0, 1\] of least doubt, with straight
    /// lines of the summed loss between items. `NaN` of nothing.
    pub fn risk_at(&self, coverage: f64) -> f64 {
        let covered = coverage * self.total().0;
        let mut segments = self.knots.windows(2);
        let segment = segments.find(|pair| covered <= pair[1].0);
        match segment.or_else(|| self.knots.windows(2).next_back()) {
            Some(pair) => lost_at(pair, covered) / covered,
            None => f64::NAN,
        }
    }

    /// AURC, the area under the risk-coverage curve: (1 / n) sum over k = 1..n of the mean loss of
    /// the k items of least doubt (Geifman et al. 2019). Lower is better. Less the area of the order by
    /// the loss itself, the best there is, it is their E-AURC. `NaN` of nothing.
    pub fn area(&self) -> f64 {
        let of_segment = |pair: &[(f64, f64)]| {
            let ranks = pair[0].0.round() as u64 + 1..=pair[1].0.round() as u64;
            ranks.map(|rank| lost_at(pair, rank as f64) / rank as f64).sum::<f64>()
        };
        self.knots.windows(2).map(of_segment).sum::<f64>() / self.total().0
    }
}

/// Summed loss on the line through two knots.
fn lost_at(pair: &[(f64, f64)], covered: f64) -> f64 {
    let ((from, lost), (to, lost_after)) = (pair[0], pair[1]);
    lost + (lost_after - lost) * (covered - from) / (to - from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(doubt: &[f64], loss: &[f64], weights: &[f64]) -> RiskCoverage {
        RiskCoverage::new(&trusted_first(doubt), loss, weights)
    }

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-12, "{value} is not {expected}");
    }

    #[test]
    fn order_keeps_ties_together_and_the_unknown_last() {
        assert_eq!(
            trusted_first(&[0.5, f64::NAN, 0.1, 0.5]),
            [vec![2], vec![0, 3], vec![1]]
        );
        assert!(trusted_first(&[]).is_empty());
    }

    #[test]
    fn area_by_hand() {
        // Losses by rising doubt 0, 0, 1, 1: risks 0, 0, 1/3, 1/2.
        let good = curve(&[0.1, 0.2, 0.3, 0.4], &[0.0, 0.0, 1.0, 1.0], &[1.0; 4]);
        near(good.area(), (1.0 / 3.0 + 0.5) / 4.0);
        // The other way round: 1, 1, 2/3, 1/2.
        let bad = curve(&[0.4, 0.3, 0.2, 0.1], &[0.0, 0.0, 1.0, 1.0], &[1.0; 4]);
        near(bad.area(), (1.0 + 1.0 + 2.0 / 3.0 + 0.5) / 4.0);
        near(good.overall(), 0.5);
    }

    #[test]
    fn risk_at_a_coverage() {
        let curve = curve(&[0.1, 0.2, 0.3, 0.4], &[0.0, 1.0, 0.0, 1.0], &[1.0; 4]);
        near(curve.risk_at(0.25), 0.0);
        near(curve.risk_at(0.5), 0.5);
        near(curve.risk_at(0.75), 1.0 / 3.0);
        near(curve.risk_at(1.0), 0.5);
        // Three eighths: one item and half of the second.
        near(curve.risk_at(0.375), 0.5 / 1.5);
    }

    #[test]
    fn equal_doubt_is_a_random_order() {
        let tied = curve(&[0.5; 3], &[1.0, 0.0, 0.5], &[1.0; 3]);
        near(tied.area(), 0.5);
        near(tied.risk_at(0.05), 0.5);
        // The trusted item first, then a tie of two: risks 0, 1/4, 1/3.
        let part = curve(&[0.1, 0.5, 0.5], &[0.0, 1.0, 0.0], &[1.0; 3]);
        near(part.area(), (0.25 + 1.0 / 3.0) / 3.0);
    }

    #[test]
    fn a_weight_is_so_many_copies() {
        let weighted = curve(&[0.1, 0.2, 0.3], &[0.2, 1.0, 0.4], &[2.0, 0.0, 1.0]);
        let copied = curve(&[0.1, 0.1, 0.3], &[0.2, 0.2, 0.4], &[1.0; 3]);
        near(weighted.area(), copied.area());
        near(weighted.area(), (0.2 + 0.2 + 0.8 / 3.0) / 3.0);
        near(weighted.risk_at(1.0), 0.8 / 3.0);
    }

    #[test]
    fn the_order_of_the_loss_is_the_best() {
        let loss = [0.3, 0.9, 0.1, 0.5, 0.0];
        let best = curve(&loss, &loss, &[1.0; 5]).area();
        for doubt in [[0.1, 0.2, 0.3, 0.4, 0.5], [0.9, 0.1, 0.5, 0.3, 0.7]] {
            assert!(best < curve(&doubt, &loss, &[1.0; 5]).area());
        }
    }

    #[test]
    fn degenerate() {
        let nothing = curve(&[], &[], &[]);
        assert!(nothing.area().is_nan() && nothing.overall().is_nan() && nothing.risk_at(0.5).is_nan());
        near(curve(&[0.2], &[0.7], &[1.0]).area(), 0.7);
    }
}
