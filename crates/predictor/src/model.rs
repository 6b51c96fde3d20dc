//! Everything fitted that turns an encoded row into quality distributions: the networks, the
//! other views, their pool.

use tiercast_routing::distribution::{GRID, GRID_POINTS};
use tiercast_routing::evidence::Evidence;

use crate::encoding::Encoded;
use crate::member::{Member, Says};
use crate::neighbours::{self, Neighbour, Neighbours};
use crate::pool::Pool;
use crate::views::{N_POOLED, Pmf, Tables, add_scaled, mean};

/// The fitted parts.
#[derive(Debug)]
pub struct Model {
    /// Networks whose distributions are averaged.
    pub members: Vec<Member>,
    /// The views that are tables and linear models.
    pub tables: Tables,
    /// Training prompts.
    pub neighbours: Neighbours,
    /// How the views are pooled.
    pub pool: Pool,
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
    /// The task that the row most looks like, by position; `None` where it is likelier one never seen.
    pub task: Option<usize>,
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
        let says = ask(&self.members, row);
        let wanted = self.pool.used();
        let views = views(&self.tables, &self.neighbours, &self.pool, row, &nearest, &says, wanted);
        let similarity = neighbours::similarity(&nearest);
        let quality = self.pool.mix(&views, similarity);
        let evidence = self.pool.doubt.of(similarity, says.spread, &quality);
        let unknown = self.pool.gate.unknown(similarity);
        let likeliest = (0..says.tasks.len()).max_by(|a, b| says.tasks[*a].total_cmp(&says.tasks[*b]));
        Raw {
            task: likeliest.filter(|_| unknown <= 0.5),
            quality,
            length_mean: says.length_mean,
            length_std: says.length_std,
            evidence,
            unknown,
        }
    }
}

/// What the `wanted` views say, in the order of [`crate::views::POOLED`].
pub fn views(
    tables: &Tables,
    neighbours: &Neighbours,
    pool: &Pool,
    row: &Encoded,
    nearest: &[Neighbour],
    says: &NetworkSays,
    wanted: [bool; N_POOLED],
) -> [Option<Vec<Pmf>>; N_POOLED] {
    let of_neighbours = || neighbours.distributions(nearest, &pool.neighbours, &tables.base);
    let views: [&dyn Fn() -> Option<Vec<Pmf>>; N_POOLED] = [
        &|| Some(says.quality.clone()),
        &|| (!neighbours.is_empty()).then(of_neighbours),
        &|| tables.of_tasks(&says.tasks),
        &|| tables.of_ngrams(row),
        &|| tables.of_surface(row),
        &|| Some(tables.base.clone()),
    ];
    std::array::from_fn(|view| if wanted[view] { views[view]() } else { None })
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
pub fn ask(members: &[Member], row: &Encoded) -> NetworkSays {
    let all: Vec<Says> = members.iter().map(|member| member.says(row)).collect();
    let share = 1.0 / all.len() as f64;
    let average = |of: fn(&Says) -> &[f32]| -> Vec<f64> {
        let mean = |at: usize| all.iter().map(|says| f64::from(of(says)[at])).sum::<f64>() * share;
        (0..of(&all[0]).len()).map(mean).collect()
    };
    let mut quality = vec![[0.0; GRID_POINTS]; all[0].quality.len()];
    for says in &all {
        for (sum, pmf) in quality.iter_mut().zip(&says.quality) {
            add_scaled(sum, pmf, share);
        }
    }
    NetworkSays {
        spread: spread(&all, &quality),
        quality,
        length_mean: average(|says| &says.length_mean),
        length_std: average(|says| &says.length_std),
        tasks: average(|says| &says.tasks),
    }
}

fn spread(all: &[Says], average: &[Pmf]) -> f64 {
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
