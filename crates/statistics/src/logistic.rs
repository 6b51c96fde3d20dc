//! Logistic regression with an L2 penalty on sparse rows, for baselines and for the estimate of replies.

/// A row: (column, value), each column at most once.
pub type SparseRow = Vec<(u32, f32)>;

/// Pairs of differences that the optimiser remembers.
const MEMORY: usize = 8;
const MAX_ITERATIONS: usize = 100;
/// Relative fall of the loss at which the fit ends.
const TOLERANCE: f64 = 1e-6;

/// A fitted model: P(y) = 1 / (1 + exp(-(intercept + weights x))).
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    /// One weight per column, then the intercept.
    coefficients: Vec<f64>,
}

impl Logistic {
    /// Minimises mean cross-entropy + l2 / 2 x |weights|^2 by L-BFGS; the intercept is not
    /// penalised. `targets` lie in [0, 1]: a graded outcome counts as that share of a success.
    pub fn fit(rows: &[SparseRow], targets: &[f64], n_columns: usize, l2: f64) -> Self {
        let mean = crate::summary::mean(targets).clamp(1e-3, 1.0 - 1e-3);
        let mut start = vec![0.0; n_columns + 1];
        start[n_columns] = (mean / (1.0 - mean)).ln();
        let coefficients = if rows.is_empty() {
            vec![0.0; n_columns + 1]
        } else {
            minimise(rows, targets, l2, start)
        };
        Self { coefficients }
    }

    /// One weight per column, then the intercept.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// Probability for a row.
    pub fn predict(&self, row: &[(u32, f32)]) -> f64 {
        sigmoid(logit(&self.coefficients, row))
    }
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

fn logit(coefficients: &[f64], row: &[(u32, f32)]) -> f64 {
    let intercept = coefficients[coefficients.len() - 1];
    intercept
        + row
            .iter()
            .map(|(column, value)| coefficients[*column as usize] * f64::from(*value))
            .sum::<f64>()
}

/// Loss and gradient.
fn loss(rows: &[SparseRow], targets: &[f64], l2: f64, at: &[f64]) -> (f64, Vec<f64>) {
    let (n, last) = (rows.len() as f64, at.len() - 1);
    let mut gradient: Vec<f64> = at.iter().map(|weight| l2 * weight).collect();
    gradient[last] = 0.0;
    let mut total = l2 / 2.0 * dot(&at[..last], &at[..last]);
    for (row, target) in rows.iter().zip(targets) {
        let logit = logit(at, row);
        // ln(1 + exp(z)) - y z, without overflow.
        total += (logit.max(0.0) + (-logit.abs()).exp().ln_1p() - target * logit) / n;
        let error = (sigmoid(logit) - target) / n;
        for (column, value) in row {
            gradient[*column as usize] += error * f64::from(*value);
        }
        gradient[last] += error;
    }
    (total, gradient)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn step(from: &[f64], direction: &[f64], length: f64) -> Vec<f64> {
    from.iter().zip(direction).map(|(x, d)| x + length * d).collect()
}

/// L-BFGS with a halving line search; the loss is convex, so a fall of it is enough.
fn minimise(rows: &[SparseRow], targets: &[f64], l2: f64, start: Vec<f64>) -> Vec<f64> {
    let mut at = start;
    let (mut value, mut gradient) = loss(rows, targets, l2, &at);
    let mut memory: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for _ in 0..MAX_ITERATIONS {
        let direction = descent(&memory, &gradient);
        let slope = dot(&direction, &gradient);
        let Some((next, next_value, next_gradient)) = (0..30).find_map(|halvings| {
            let next = step(&at, &direction, 0.5_f64.powi(halvings));
            let (next_value, next_gradient) = loss(rows, targets, l2, &next);
            (next_value <= value + 1e-4 * 0.5_f64.powi(halvings) * slope).then_some((next, next_value, next_gradient))
        }) else {
            break;
        };
        let (moved, turned) = (step(&next, &at, -1.0), step(&next_gradient, &gradient, -1.0));
        let fall = value - next_value;
        (at, value, gradient) = (next, next_value, next_gradient);
        if dot(&moved, &turned) > 1e-300 {
            memory.push((moved, turned));
        }
        if memory.len() > MEMORY {
            memory.remove(0);
        }
        if fall < TOLERANCE * value.abs() {
            break;
        }
    }
    at
}

/// The two-loop recursion: minus the gradient times the remembered inverse curvature.
fn descent(memory: &[(Vec<f64>, Vec<f64>)], gradient: &[f64]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for (moved, turned) in memory.iter().rev() {
        let share = dot(moved, &direction) / dot(moved, turned);
        direction = step(&direction, turned, -share);
        shares.push(share);
    }
    if let Some((moved, turned)) = memory.last() {
        let scale = dot(moved, turned) / dot(turned, turned);
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for ((moved, turned), share) in memory.iter().zip(shares.iter().rev()) {
        let other = dot(turned, &direction) / dot(moved, turned);
        direction = step(&direction, moved, share - other);
    }
    direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_binary_column_recovers_the_rates() {
        // Column absent: 1 of 4; present: 3 of 4.
        let rows: Vec<SparseRow> = (0..8).map(|i| if i < 4 { vec![] } else { vec![(0, 1.0)] }).collect();
        let targets = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0];
        let model = Logistic::fit(&rows, &targets, 1, 0.0);
        assert!((model.predict(&[]) - 0.25).abs() < 1e-3);
        assert!((model.predict(&[(0, 1.0)]) - 0.75).abs() < 1e-3);
    }

    #[test]
    fn a_heavy_penalty_leaves_the_mean() {
        let rows = vec![vec![(0, 1.0)], vec![(0, -1.0)], vec![]];
        let model = Logistic::fit(&rows, &[1.0, 0.0, 0.5], 1, 1e6);
        assert!((model.predict(&[(0, 1.0)]) - 0.5).abs() < 1e-3);
    }

    #[test]
    fn graded_targets_are_shares_of_a_success() {
        let model = Logistic::fit(&[vec![], vec![]], &[0.2, 0.6], 0, 0.0);
        assert!((model.predict(&[]) - 0.4).abs() < 1e-4);
    }

    #[test]
    fn degenerate() {
        assert_eq!(Logistic::fit(&[], &[], 3, 1.0).predict(&[]), 0.5);
        let all_right = Logistic::fit(&[vec![(0, 1.0)], vec![(0, 2.0)]], &[1.0, 1.0], 1, 1e-3);
        assert!(all_right.predict(&[(0, 1.0)]) > 0.99);
    }
}
