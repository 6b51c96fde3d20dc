//! Fits the views that are not networks: histograms per tier and task, linear models.

use tiercast_predictor::network::NetworkConfig;
use tiercast_predictor::views::{Linear, Pmf, Tables, add_outcome, add_scaled};
use tiercast_routing::distribution::GRID_POINTS;
use tiercast_statistics::ridge::Ridge;

use crate::dataset::Row;

/// Pseudo-count per grid point.
const SMOOTHING: f64 = 0.05;
/// Rows of the histogram of all tiers that are added to that of each.
const TIER_PRIOR_ROWS: f64 = 5.0;
/// Rows of the tier's overall histogram that are added to that of each task.
const TASK_PRIOR_ROWS: f64 = 10.0;
/// Penalty on the weights of n-grams, whose rows have unit length.
const NGRAMS_L2: f64 = 4.0;
/// Penalty on the weights of surface signals (unit variance), per training row.
const SURFACE_L2_PER_ROW: f64 = 0.05;

/// Which views are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableViews {
    /// Linear model of the n-grams.
    pub ngrams: bool,
    /// Linear model of so many surface signals; 0 for none.
    pub n_signals: usize,
}

/// Fits all tables on these rows.
pub fn fit_tables(rows: &[&Row], config: &NetworkConfig, on: TableViews) -> Tables {
    let base = histograms(rows, config.n_tiers);
    let targets: Vec<Option<f64>> = rows
        .iter()
        .flat_map(|row| row.answers.iter().map(|answer| answer.map(|answer| answer.score)))
        .collect();
    let fit = |columns: &[Vec<(u32, f32)>], n_columns: usize, l2: f64| {
        let columns: Vec<&[(u32, f32)]> = columns.iter().map(Vec::as_slice).collect();
        let Ridge { weights, intercept } = Ridge::fit(&columns, &targets, config.n_tiers, n_columns, l2);
        Linear { weights, intercept }
    };
    let ngrams = || {
        let columns: Vec<Vec<(u32, f32)>> = rows
            .iter()
            .map(|row| {
                row.encoded
                    .ngrams
                    .iter()
                    .copied()
                    .zip(row.encoded.weights.iter().copied())
                    .collect()
            })
            .collect();
        fit(&columns, config.n_ngrams, NGRAMS_L2)
    };
    let surface = || {
        let columns: Vec<Vec<(u32, f32)>> = rows
            .iter()
            .map(|row| (0..).zip(row.encoded.dense[..on.n_signals].iter().copied()).collect())
            .collect();
        fit(&columns, on.n_signals, SURFACE_L2_PER_ROW * rows.len() as f64)
    };
    Tables {
        tasks: task_histograms(rows, config, &base),
        ngrams: on.ngrams.then(ngrams),
        surface: (on.n_signals > 0).then(surface),
        base,
    }
}

/// Each tier's histogram, smoothed and drawn towards that of all tiers: a tier with hardly any
/// outcome is expected to be as the others are.
pub fn histograms(rows: &[&Row], n_tiers: usize) -> Vec<Pmf> {
    let mut counts = vec![[SMOOTHING; GRID_POINTS]; n_tiers];
    for row in rows {
        add_answers(&mut counts, row);
    }
    let mut all = [0.0; GRID_POINTS];
    counts.iter().for_each(|counts| add_scaled(&mut all, counts, 1.0));
    let all = normalised(all);
    let of_tier = |mut counts: Pmf| {
        add_scaled(&mut counts, &all, TIER_PRIOR_ROWS);
        normalised(counts)
    };
    counts.into_iter().map(of_tier).collect()
}

/// Each tier's histogram on each task, drawn towards its overall one; empty where there is one task.
pub fn task_histograms(rows: &[&Row], config: &NetworkConfig, base: &[Pmf]) -> Vec<Vec<Pmf>> {
    if config.n_tasks < 2 {
        return Vec::new();
    }
    let prior: Vec<Pmf> = base.iter().map(|pmf| pmf.map(|mass| mass * TASK_PRIOR_ROWS)).collect();
    let mut counts = vec![prior; config.n_tasks];
    for row in rows {
        if let Some(task) = row.task {
            add_answers(&mut counts[task], row);
        }
    }
    let of_task = |tiers: Vec<Pmf>| tiers.into_iter().map(normalised).collect();
    counts.into_iter().map(of_task).collect()
}

fn add_answers(counts: &mut [Pmf], row: &Row) {
    for (answer, counts) in row.answers.iter().zip(counts) {
        if let Some(answer) = answer {
            add_outcome(counts, answer.score, 1.0);
        }
    }
}

fn normalised(counts: Pmf) -> Pmf {
    let total: f64 = counts.iter().sum();
    counts.map(|count| count / total)
}
