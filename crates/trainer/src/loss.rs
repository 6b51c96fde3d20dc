//! The losses: CRPS, a proper scoring rule for the quality distribution, with the length's
//! likelihood beside it; cross-entropy for the task.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use tiercast_predictor::network::Output;
use tiercast_routing::distribution::{GRID, GRID_POINTS};

/// Cells of the grid.
pub const N_CELLS: usize = GRID_POINTS - 1;

/// What a batch of `n` prompts should have given.
#[derive(Debug, Clone)]
pub struct Targets {
    /// Share of each grid cell that lies above the outcome, `[n, n_tiers, N_CELLS]`
    pub above: Tensor<3>,
    /// 1 where the tier answered, else 0, `[n, n_tiers]`
    pub answered: Tensor<2>,
    /// Standardised log output length, `[n, n_tiers]`
    pub length: Tensor<2>,
    /// 1 where the length is known, else 0, `[n, n_tiers]`
    pub length_known: Tensor<2>,
    /// Task, `[n, 1]`
    pub task: Tensor<2, Int>,
    /// 1 where the task is known, else 0, `[n, 1]`
    pub task_known: Tensor<2>,
}

/// CRPS + `length_weight` x the length's negative log-likelihood, each a mean over what is known, `[1]`.
pub fn quality_loss(output: &Output, targets: &Targets, length_weight: f32) -> Tensor<1> {
    crps(output.quality.clone(), targets) + length_loss(output, targets).mul_scalar(length_weight)
}

/// Continuous ranked probability score over the grid, mean over the tiers that answered, `[1]`.
///
/// Sum over cells of F^2 x (part below the outcome) + (1 - F)^2 x (part above it): the integral
/// of (F(x) - 1\[x >= y\])^2, exact for outcomes off the grid (Gneiting and Raftery 2007, eq. 20).
pub fn crps(quality: Tensor<3>, targets: &Targets) -> Tensor<1> {
    let [n, n_tiers, _] = quality.dims();
    let device = quality.device();
    let cdf = quality
        .reshape([n * n_tiers, GRID_POINTS])
        .matmul(cumulative(&device))
        .reshape([n, n_tiers, N_CELLS]);
    let above = targets.above.clone();
    let below = above.clone().neg().add_scalar(1.0);
    let cells = cdf.clone().powi_scalar(2) * below + cdf.neg().add_scalar(1.0).powi_scalar(2) * above;
    let score = cells.sum_dim(2).squeeze_dim::<2>(2).mul_scalar(1.0 / N_CELLS as f32); // [n, n_tiers]
    masked_mean(score, targets.answered.clone())
}

/// Cross-entropy of the task, mean over the rows whose task is known, `[1]`.
pub fn task_loss(output: &Output, targets: &Targets) -> Tensor<1> {
    let log_likelihood = log_softmax(output.task.clone(), 1).gather(1, targets.task.clone()); // [n, 1]
    masked_mean(log_likelihood.neg(), targets.task_known.clone())
}

/// Normal negative log-likelihood of the standardised log length, without its constant.
fn length_loss(output: &Output, targets: &Targets) -> Tensor<1> {
    let log_std = output.length_log_std.clone();
    let error = (targets.length.clone() - output.length_mean.clone()) / log_std.clone().exp();
    masked_mean(
        error.powi_scalar(2).mul_scalar(0.5) + log_std,
        targets.length_known.clone(),
    )
}

fn masked_mean(values: Tensor<2>, mask: Tensor<2>) -> Tensor<1> {
    let count = mask.clone().sum().clamp_min(1.0);
    (values * mask).sum() / count
}

/// Sums mass up to each cell, `[GRID_POINTS, N_CELLS]`
fn cumulative(device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..GRID_POINTS)
        .flat_map(|point| (0..N_CELLS).map(move |cell| if point <= cell { 1.0 } else { 0.0 }))
        .collect();
    Tensor::from_data(TensorData::new(values, [GRID_POINTS, N_CELLS]), device)
}

/// Share of each cell that lies above an outcome.
pub fn share_above(score: f64) -> [f32; N_CELLS] {
    std::array::from_fn(|cell| {
        let (start, end) = (GRID[cell], GRID[cell + 1]);
        ((end - score) / (end - start)).clamp(0.0, 1.0) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CRPS of a mass function against an outcome, through the tensors.
    fn check(mass: &[(usize, f32)], score: f64, expected: f32) {
        let device = Device::flex();
        let mut pmf = [0.0_f32; GRID_POINTS];
        mass.iter().for_each(|(point, value)| pmf[*point] = *value);
        let one = |value: f32| Tensor::<2>::from_data([[value]], &device);
        let targets = Targets {
            above: Tensor::from_data(TensorData::new(share_above(score).to_vec(), [1, 1, N_CELLS]), &device),
            answered: one(1.0),
            length: one(0.0),
            length_known: one(0.0),
            task: Tensor::from_data([[0]], &device),
            task_known: one(0.0),
        };
        let quality = Tensor::from_data(TensorData::new(pmf.to_vec(), [1, 1, GRID_POINTS]), &device);
        let found: f32 = crps(quality, &targets).into_scalar();
        assert!((found - expected).abs() < 1e-6, "{found} against {expected}");
    }

    #[test]
    fn crps_by_hand() {
        check(&[(20, 1.0)], 1.0, 0.0);
        check(&[(0, 1.0)], 1.0, 1.0);
        // A two-point forecast of a 0/1 outcome: the Brier score.
        check(&[(0, 0.3), (20, 0.7)], 1.0, 0.09);
        check(&[(0, 0.3), (20, 0.7)], 0.0, 0.49);
        // A point forecast: the absolute error, off the grid too.
        check(&[(10, 1.0)], 0.72, 0.22);
    }
}
