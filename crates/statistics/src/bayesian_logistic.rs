//! Logistic regression on few dense columns with a Gaussian prior, for when rows are dear: the fit, and the
//! choice of the rows that tell most.

/// A Gaussian prior, independent per column.
#[derive(Debug, Clone, PartialEq)]
pub struct Prior {
    /// Mean of each coefficient.
    pub mean: Vec<f64>,
    /// One over the variance of each coefficient; positive.
    pub precision: Vec<f64>,
}

const MAX_ITERATIONS: usize = 50;
/// Length of a Newton step at which the fit ends.
const TOLERANCE: f64 = 1e-9;

/// The coefficients of highest posterior density, by Newton's method. `rows` have one value per coefficient;
/// `targets` lie in \[0, 1\]: a graded outcome counts as that share of a success.
pub fn fit(rows: &[Vec<f64>], targets: &[f64], prior: &Prior) -> Vec<f64> {
    let mut at = prior.mean.clone();
    for _ in 0..MAX_ITERATIONS {
        let mut gradient: Vec<f64> = (0..at.len())
            .map(|k| prior.precision[k] * (at[k] - prior.mean[k]))
            .collect();
        let mut curvature = diagonal(&prior.precision);
        for (row, target) in rows.iter().zip(targets) {
            let predicted = predict(&at, row);
            add_scaled(&mut gradient, row, predicted - target);
            add_outer(&mut curvature, row, predicted * (1.0 - predicted));
        }
        let mut step = solve(curvature, gradient);
        // Far from the mode the quadratic is a bad guide: no coefficient moves by more than this at once.
        let longest = step.iter().fold(0.0_f64, |longest, part| longest.max(part.abs()));
        let shrink = (2.0 / longest.max(2.0)).min(1.0);
        step.iter_mut().for_each(|part| *part *= shrink);
        add_scaled(&mut at, &step, -1.0);
        if longest < TOLERANCE {
            break;
        }
    }
    at
}

/// Probability of a success.
pub fn predict(coefficients: &[f64], row: &[f64]) -> f64 {
    1.0 / (1.0 + (-dot(coefficients, row)).exp())
}

/// Positions of `n` rows whose outcomes narrow the posterior most, in the order of choice: greedily the row
/// that raises the determinant of the information most, its weight p (1 - p) at the prior mean (Bayesian
/// D-optimality: Chaloner and Verdinelli 1995). Ties go to the earlier row.
pub fn choose(rows: &[Vec<f64>], prior: &Prior, n: usize) -> Vec<usize> {
    let mut covariance = diagonal(
        &prior
            .precision
            .iter()
            .map(|precision| 1.0 / precision)
            .collect::<Vec<_>>(),
    );
    let weight = |row: &[f64]| {
        let predicted = predict(&prior.mean, row);
        predicted * (1.0 - predicted)
    };
    let weights: Vec<f64> = rows.iter().map(|row| weight(row)).collect();
    let mut left: Vec<usize> = (0..rows.len()).collect();
    let mut chosen = Vec::with_capacity(n.min(rows.len()));
    while chosen.len() < n && !left.is_empty() {
        let gain = |row: usize| weights[row] * dot(&rows[row], &times(&covariance, &rows[row]));
        let gains: Vec<f64> = left.iter().map(|row| gain(*row)).collect();
        let best = (0..left.len()).fold(0, |best, at| if gains[at] > gains[best] { at } else { best });
        let row = left.remove(best);
        // Sherman and Morrison: the inverse after one row more.
        let direction = times(&covariance, &rows[row]);
        let shrink = weights[row] / (1.0 + gains[best]);
        add_outer(&mut covariance, &direction, -shrink);
        chosen.push(row);
    }
    chosen
}

fn diagonal(values: &[f64]) -> Vec<Vec<f64>> {
    let row = |k: usize| {
        (0..values.len())
            .map(|j| if j == k { values[k] } else { 0.0 })
            .collect()
    };
    (0..values.len()).map(row).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn times(matrix: &[Vec<f64>], vector: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| dot(row, vector)).collect()
}

fn add_scaled(sum: &mut [f64], vector: &[f64], factor: f64) {
    sum.iter_mut()
        .zip(vector)
        .for_each(|(sum, value)| *sum += factor * value);
}

fn add_outer(matrix: &mut [Vec<f64>], vector: &[f64], factor: f64) {
    for (row, value) in matrix.iter_mut().zip(vector) {
        add_scaled(row, vector, factor * value);
    }
}

/// Gauss elimination; the matrix is positive definite, so no pivot is lost.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let n = right.len();
    for pivot in 0..n {
        let (row, value) = (matrix[pivot].clone(), right[pivot]);
        for other in (0..n).filter(|other| *other != pivot) {
            let factor = matrix[other][pivot] / row[pivot];
            add_scaled(&mut matrix[other], &row, -factor);
            right[other] -= factor * value;
        }
    }
    (0..n).map(|k| right[k] / matrix[k][k]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prior(precision: f64) -> Prior {
        Prior {
            mean: vec![0.0, 1.0],
            precision: vec![precision; 2],
        }
    }

    #[test]
    fn the_mode_by_hand() {
        // A constant alone, 3 of 4, almost no prior: logit .75.
        let flat = Prior {
            mean: vec![0.0],
            precision: vec![1e-9],
        };
        let rows = vec![vec![1.0]; 4];
        let found = fit(&rows, &[1.0, 1.0, 1.0, 0.0], &flat);
        assert!((found[0] - 3.0_f64.ln()).abs() < 1e-6, "{found:?}");
        // Graded outcomes are shares of a success.
        let graded = fit(&rows, &[0.75; 4], &flat);
        assert!((graded[0] - 3.0_f64.ln()).abs() < 1e-6, "{graded:?}");
    }

    #[test]
    fn without_rows_the_prior_stands_and_with_few_it_holds() {
        assert_eq!(fit(&[], &[], &prior(4.0)), [0.0, 1.0]);
        let one = fit(&[vec![1.0, 50.0]], &[0.0], &prior(1e6));
        assert!((one[1] - 1.0).abs() < 1e-3, "{one:?}");
        // Data that a line separates stays finite.
        let separated = fit(&[vec![1.0, -3.0], vec![1.0, 3.0]], &[0.0, 1.0], &prior(0.1));
        assert!(separated.iter().all(|value| value.is_finite()), "{separated:?}");
    }

    #[test]
    fn rows_that_tell_most_come_first() {
        // The same row over and over, one in another direction, and one whose outcome is known beforehand.
        let mut rows = vec![vec![1.0, 0.0]; 5];
        rows.push(vec![0.0, 1.5]);
        rows.push(vec![0.0, 60.0]);
        let chosen = choose(&rows, &prior(1.0), 3);
        assert!(chosen[..2].contains(&5), "{chosen:?}");
        assert!(!chosen.contains(&6), "{chosen:?}");
        assert_eq!(choose(&rows, &prior(1.0), 99).len(), 7);
        assert!(choose(&[], &prior(1.0), 3).is_empty());
    }
}
