//! Everything fitted that turns an encoded row into quality distributions: the networks, the
//! other views, their pool.

use burn::tensor::{Device, TensorData};
use tiercast_routing::distribution::{GRID, GRID_POINTS};
use tiercast_routing::evidence::Evidence;

use crate::encoding::{Batch, Encoded};
use crate::neighbours::{self, Neighbour, Neighbours};
use crate::network::QualityNetwork;
use crate::pool::Pool;
use crate::views::{N_POOLED, Pmf, Tables, mean};

/// The fitted parts.
#[derive(Debug)]
pub struct Model {
    /// Networks whose distributions are averaged.
    pub members: Vec<QualityNetwork>,
    /// The views that are tables and linear models.
    pub tables: Tables,
    /// Training prompts.
    pub neighbours: Neighbours,
    /// How the views are pooled.
    pub pool: Pool,
    /// Where the networks run.
    pub device: Device,
}

/// What a model says of one row, per tier, before calibration.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw {
    /// Mass over the grid, per tier.
    pub quality: Vec<Pmf>,
    /// Mean of the standardised log output length, per tier.
    pub length_mean: Vec<f64>,
    /// Its standard deviation, per tier.
    pub length_std: Vec<f64>,
    /// What the row rests on.
    pub evidence: Evidence,
    /// Probability that the row is of a task never seen.
    pub unknown: f64,
}

/// What the networks say of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkSays {
    /// Mean over members, per tier.
    pub quality: Vec<Pmf>,
    /// See [`Raw::length_mean`].
    pub length_mean: Vec<f64>,
    /// See [`Raw::length_std`].
    pub length_std: Vec<f64>,
    /// Probability of each task, mean over members.
    pub tasks: Vec<f64>,
    /// Standard deviation over members of the expected quality, mean over tiers.
    pub spread: f64,
}

impl Model {
    /// What the model says of a row. Rows run one at a time, so that a row gives the same bits
    /// alone in the server and among thousands offline.
    pub fn raw(&self, row: &Encoded) -> Raw {
        let nearest = self.neighbours.nearest(&row.key, |_| true);
        let says = ask(&self.members, row, &self.device);
        let views = views(&self.tables, &self.neighbours, &self.pool, row, &nearest, &says);
        let similarity = neighbours::similarity(&nearest);
        let quality = self.pool.mix(&views, similarity);
        let evidence = self.pool.doubt.of(similarity, says.spread, &quality);
        Raw {
            quality,
            length_mean: says.length_mean,
            length_std: says.length_std,
            evidence,
            unknown: self.pool.gate.unknown(similarity),
        }
    }
}

/// What every view says, in the order of [`crate::views::POOLED`].
pub fn views(
    tables: &Tables,
    neighbours: &Neighbours,
    pool: &Pool,
    row: &Encoded,
    nearest: &[Neighbour],
    says: &NetworkSays,
) -> [Option<Vec<Pmf>>; N_POOLED] {
    let of_neighbours = || neighbours.distributions(nearest, &pool.neighbours, &tables.base);
    [
        Some(says.quality.clone()),
        (!neighbours.is_empty()).then(of_neighbours),
        tables.of_tasks(&says.tasks),
        tables.of_ngrams(row),
        tables.of_surface(row),
        Some(tables.base.clone()),
    ]
}

/// Variance of the predicted quality, mean over tiers.
pub fn mean_variance(quality: &[Pmf]) -> f64 {
    let variance = |pmf: &Pmf| {
        let square: f64 = pmf
            .iter()
            .zip(GRID)
            .map(|(mass, quality)| mass * quality * quality)
            .sum();
        square - mean(pmf).powi(2)
    };
    quality.iter().map(variance).sum::<f64>() / quality.len().max(1) as f64
}

/// Runs the networks on one row and averages what they say; `members` is not empty.
pub fn ask(members: &[QualityNetwork], row: &Encoded, device: &Device) -> NetworkSays {
    let all: Vec<NetworkSays> = members
        .iter()
        .map(|member| ask_one(member, Batch::new(&[row], device)))
        .collect();
    let average = |of: fn(&NetworkSays) -> &[f64]| -> Vec<f64> {
        let n = of(&all[0]).len();
        let mean = |at: usize| all.iter().map(|says| of(says)[at]).sum::<f64>() / all.len() as f64;
        (0..n).map(mean).collect()
    };
    let quality: Vec<Pmf> = (0..all[0].quality.len())
        .map(|tier| {
            std::array::from_fn(|point| {
                all.iter().map(|says| says.quality[tier][point]).sum::<f64>() / all.len() as f64
            })
        })
        .collect();
    NetworkSays {
        spread: spread(&all, &quality),
        quality,
        length_mean: average(|says| &says.length_mean),
        length_std: average(|says| &says.length_std),
        tasks: average(|says| &says.tasks),
    }
}

fn spread(all: &[NetworkSays], average: &[Pmf]) -> f64 {
    let of_tier = |(tier, average): (usize, &Pmf)| {
        let centre = mean(average);
        let squares: f64 = all
            .iter()
            .map(|says| (mean(&says.quality[tier]) - centre).powi(2))
            .sum();
        (squares / all.len() as f64).sqrt()
    };
    average.iter().enumerate().map(of_tier).sum::<f64>() / average.len().max(1) as f64
}

fn ask_one(member: &QualityNetwork, batch: Batch) -> NetworkSays {
    let output = member.forward(batch, None);
    let pmf = floats(&output.quality.into_data());
    let quality = pmf
        .chunks_exact(GRID_POINTS)
        .map(|tier| std::array::from_fn(|point| tier[point]))
        .collect();
    NetworkSays {
        quality,
        length_mean: floats(&output.length_mean.into_data()),
        length_std: floats(&output.length_log_std.exp().into_data()),
        tasks: floats(&burn::tensor::activation::softmax(output.task, 1).into_data()),
        spread: 0.0,
    }
}

fn floats(data: &TensorData) -> Vec<f64> {
    data.iter::<f32>().map(f64::from).collect()
}
