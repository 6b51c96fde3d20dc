//! Weights of a linear opinion pool: non-negative, summing to one.

/// Steps over all pairs; each solves its pair exactly, so a few dozen are plenty.
const MAX_SWEEPS: usize = 500;
/// Largest change of a weight in a sweep at which the weights count as found.
const TOLERANCE: f64 = 1e-9;

/// Minimises w'Hw - 2 w'b over the simplex, for symmetric positive semidefinite `h` (rows), by exact
/// steps along pairs of weights (as in sequential minimal optimisation, Platt 1998).
///
/// Stacking with non-negative weights: Breiman 1996, "Stacked regressions"; with CRPS as the
/// score of the pooled distribution the problem has this form. Starts at equal weights.
pub fn minimise(h: &[Vec<f64>], b: &[f64]) -> Vec<f64> {
    let n = b.len();
    let mut w = vec![1.0 / n.max(1) as f64; n];
    for _ in 0..MAX_SWEEPS {
        let mut change = 0.0_f64;
        for from in 0..n {
            for to in 0..from {
                let gradient = |i: usize| h[i].iter().zip(&w).map(|(h, w)| h * w).sum::<f64>() - b[i];
                let slope = gradient(to) - gradient(from);
                let curvature = h[from][from] + h[to][to] - 2.0 * h[from][to];
                if curvature <= 0.0 {
                    continue;
                }
                let moved = (-slope / curvature).clamp(-w[to], w[from]);
                w[to] += moved;
                w[from] -= moved;
                change = change.max(moved.abs());
            }
        }
        if change < TOLERANCE {
            break;
        }
    }
    w
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(h: &[[f64; 2]; 2], b: [f64; 2], expected: [f64; 2]) {
        let found = minimise(&h.map(|row| row.to_vec()), &b);
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(found, wanted)| (found - wanted).abs() < 1e-6),
            "{found:?}"
        );
    }

    #[test]
    fn inside_and_at_the_corner() {
        check(&[[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5], [0.5, 0.5]);
        // Minimum of w1^2 + w2^2 - 2 (0.9 w1 + 0.5 w2) on the line: w1 - w2 = 0.4.
        check(&[[1.0, 0.0], [0.0, 1.0]], [0.9, 0.5], [0.7, 0.3]);
        check(&[[1.0, 0.0], [0.0, 1.0]], [3.0, 0.0], [1.0, 0.0]);
    }

    #[test]
    fn views_that_say_the_same_share_their_weight() {
        check(&[[1.0, 1.0], [1.0, 1.0]], [1.0, 1.0], [0.5, 0.5]);
        assert!(minimise(&[], &[]).is_empty());
    }
}
