//! Ridge regression of several targets on sparse rows, by conjugate gradients.

/// A row: (column, value), each column at most once.
pub type SparseRow = Vec<(u32, f32)>;

/// Fall of the residual at which a target counts as solved, relative to the start.
const TOLERANCE: f64 = 1e-4;
const MAX_ITERATIONS: usize = 60;

/// A fitted model: `intercept[t] + sum over columns of weights[column * n_targets + t] * value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Ridge {
    /// `[n_columns, n_targets]`
    pub weights: Vec<f32>,
    /// `[n_targets]`
    pub intercept: Vec<f32>,
}

impl Ridge {
    /// Minimises, per target, the sum of squared errors over the rows where it is known plus
    /// `l2` x |weights|^2. The intercept is the mean of the known targets and is not penalised.
    ///
    /// `targets` is `[rows.len(), n_targets]`, `None` where unknown.
    pub fn fit(rows: &[&[(u32, f32)]], targets: &[Option<f64>], n_targets: usize, n_columns: usize, l2: f64) -> Self {
        let mut fit = Self {
            weights: vec![0.0; n_columns * n_targets],
            intercept: vec![0.0; n_targets],
        };
        for target in 0..n_targets {
            let known: Vec<(&[(u32, f32)], f64)> = rows
                .iter()
                .enumerate()
                .filter_map(|(row, columns)| Some((*columns, targets[row * n_targets + target]?)))
                .collect();
            let mean = known.iter().map(|(_, y)| y).sum::<f64>() / known.len().max(1) as f64;
            fit.intercept[target] = mean as f32;
            for (column, weight) in solve(&known, mean, n_columns, l2).into_iter().enumerate() {
                fit.weights[column * n_targets + target] = weight as f32;
            }
        }
        fit
    }

    /// Predictions for a row, one per target.
    pub fn predict(&self, row: &[(u32, f32)]) -> Vec<f64> {
        let n_targets = self.intercept.len();
        let mut sums: Vec<f64> = self.intercept.iter().map(|value| f64::from(*value)).collect();
        for (column, value) in row {
            let weights = &self.weights[*column as usize * n_targets..][..n_targets];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += f64::from(*weight) * f64::from(*value);
            }
        }
        sums
    }
}

/// Conjugate gradients on (X'X + l2 I) w = X'(y - mean) (Hestenes and Stiefel 1952).
fn solve(rows: &[(&[(u32, f32)], f64)], mean: f64, n_columns: usize, l2: f64) -> Vec<f64> {
    let mut weights = vec![0.0; n_columns];
    let mut residual = vec![0.0; n_columns];
    for (row, y) in rows {
        for (column, value) in *row {
            residual[*column as usize] += f64::from(*value) * (y - mean);
        }
    }
    let mut direction = residual.clone();
    let start = dot(&residual, &residual);
    let mut squared = start;
    for _ in 0..MAX_ITERATIONS {
        if squared <= TOLERANCE * TOLERANCE * start {
            break;
        }
        let product = normal_product(rows, &direction, l2);
        let step = squared / dot(&direction, &product);
        for idx in 0..n_columns {
            weights[idx] += step * direction[idx];
            residual[idx] -= step * product[idx];
        }
        let next = dot(&residual, &residual);
        for (along, rest) in direction.iter_mut().zip(&residual) {
            *along = rest + next / squared * *along;
        }
        squared = next;
    }
    weights
}

/// (X'X + l2 I) v
fn normal_product(rows: &[(&[(u32, f32)], f64)], v: &[f64], l2: f64) -> Vec<f64> {
    let mut product: Vec<f64> = v.iter().map(|value| l2 * value).collect();
    for (row, _) in rows {
        let at: f64 = row
            .iter()
            .map(|(column, value)| v[*column as usize] * f64::from(*value))
            .sum();
        for (column, value) in *row {
            product[*column as usize] += f64::from(*value) * at;
        }
    }
    product
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_form_in_one_column() {
        let rows: Vec<SparseRow> = vec![vec![(0, 1.0)], vec![(0, -1.0)], vec![(0, 2.0)], vec![(0, -2.0)]];
        let rows: Vec<&[(u32, f32)]> = rows.iter().map(Vec::as_slice).collect();
        // Centred x and y: w = sum xy / (sum xx + l2) = 10 / (10 + 10).
        let targets: Vec<Option<f64>> = [1.0, -1.0, 2.0, -2.0].map(Some).to_vec();
        let fit = Ridge::fit(&rows, &targets, 1, 1, 10.0);
        assert!((fit.predict(&[(0, 4.0)])[0] - 2.0).abs() < 1e-6);
    }

    #[test]
    fn unknown_targets_are_left_out() {
        let rows: Vec<SparseRow> = vec![vec![(0, 1.0)], vec![(1, 1.0)], vec![]];
        let rows: Vec<&[(u32, f32)]> = rows.iter().map(Vec::as_slice).collect();
        let targets = [Some(1.0), None, None, Some(0.5), Some(0.0), None];
        let fit = Ridge::fit(&rows, &targets, 2, 2, 1e-9);
        let found = fit.predict(&[(0, 1.0)]);
        assert!(
            (found[0] - 1.0).abs() < 1e-3 && (found[1] - 0.5).abs() < 1e-6,
            "{found:?}"
        );
        assert!(
            Ridge::fit(&[], &[], 2, 2, 1.0)
                .predict(&[])
                .iter()
                .all(|value| *value == 0.0)
        );
    }
}
