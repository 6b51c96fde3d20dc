//! An opened checkpoint: request in, one forecast per tier out.

use std::path::Path;

use burn::tensor::Device;
use rayon::prelude::*;
use tiercast_records::features::Features;
use tiercast_routing::catalog::{Catalog, Tier};
use tiercast_routing::decide::Forecast;
use tiercast_routing::distribution::GRID_POINTS;
use tiercast_routing::request::Request;

use crate::calibration::TierCalibration;
use crate::checkpoint::{self, CheckpointError, Contents, Manifest, ServiceLevels};
use crate::device::DeviceKind;
use crate::encoding::{Batch, Encoded, Encoding};
use crate::features::Featuriser;
use crate::network::{Ensemble, QualityNetwork};
use crate::weights;

/// An opened checkpoint.
pub struct Predictor {
    manifest: Manifest,
    catalog: Catalog,
    calibration: checkpoint::Calibration,
    encoding: Encoding,
    network: Ensemble,
    featuriser: Featuriser,
    device: Device,
}

/// Raw network output for one row, per tier, averaged over the members.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw {
    /// Mass over the grid, per tier.
    pub quality: Vec<[f64; GRID_POINTS]>,
    /// Mean of the standardised log output length, per tier.
    pub length_mean: Vec<f64>,
    /// Its standard deviation, per tier.
    pub length_std: Vec<f64>,
}

impl Predictor {
    /// Opens a checkpoint folder; refuses what does not fit, naming the mismatch.
    pub fn open(folder: &Path, device: DeviceKind) -> Result<Self, CheckpointError> {
        let (manifest, contents) = checkpoint::open(folder)?;
        Self::new(manifest, contents, device)
    }

    /// A predictor from the parts of a checkpoint.
    pub fn new(manifest: Manifest, contents: Contents, device: DeviceKind) -> Result<Self, CheckpointError> {
        let device = device.device()?;
        let network = weights::from_bytes(contents.weights, &contents.network, &device).map_err(|what| {
            CheckpointError::Invalid {
                file: "network.bpk".to_owned(),
                what,
            }
        })?;
        Ok(Self {
            manifest,
            catalog: contents.catalog,
            calibration: contents.calibration,
            encoding: contents.encoding,
            network,
            featuriser: Featuriser::new(),
            device,
        })
    }

    /// The same predictor with other prices or capabilities for its tiers. The tiers must be
    /// those it was trained on, in their order; `false` if they are not.
    #[must_use]
    pub fn set_catalog(&mut self, catalog: Catalog) -> bool {
        let same = catalog
            .tiers()
            .iter()
            .map(|tier| &tier.name)
            .eq(self.catalog.tiers().iter().map(|tier| &tier.name));
        if same {
            self.catalog = catalog;
        }
        same
    }

    /// The tiers, in the order of every forecast.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What the checkpoint is and how it came about.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Name of this checkpoint: changes with its content.
    pub fn id(&self) -> &str {
        &self.manifest.id
    }

    /// Floors behind `auto` and `auto:cheap`.
    pub fn service_levels(&self) -> ServiceLevels {
        self.calibration.service_levels
    }

    /// Trainable parameters of the network.
    pub fn n_params(&self) -> usize {
        burn::module::Module::num_params(&self.network)
    }

    /// Features of a request.
    pub fn features(&self, request: &Request) -> Features {
        self.featuriser.features(request)
    }

    /// Forecasts, one per tier in catalog order, for each of the inputs.
    ///
    /// Rows run one at a time, spread over threads: a row then gives the same bits alone in the
    /// server and among thousands offline.
    pub fn forecast(&self, inputs: &[Features]) -> Vec<Vec<Forecast>> {
        inputs.par_iter().map(|features| self.forecast_one(features)).collect()
    }

    /// Forecasts of one request, one per tier in catalog order.
    pub fn forecast_one(&self, features: &Features) -> Vec<Forecast> {
        let raw = raw(&self.network.members, &self.encoding.encode(features), &self.device);
        let tiers = self.catalog.tiers().iter().zip(&self.calibration.tiers).enumerate();
        tiers
            .map(|(tier_idx, (tier, fit))| forecast_of(tier, tier_idx, fit, &raw, features))
            .collect()
    }
}

/// The forecast of one tier (at `tier_idx` of the catalog) from what the network says of a row.
pub fn forecast_of(tier: &Tier, tier_idx: usize, fit: &TierCalibration, raw: &Raw, features: &Features) -> Forecast {
    let ask = f64::from(features.ask_tokens);
    let input_tokens = fit.input_tokens(ask + f64::from(features.context_tokens));
    let output_tokens = fit.output_tokens(raw.length_mean[tier_idx], raw.length_std[tier_idx]);
    Forecast {
        quality: fit.quality(&raw.quality[tier_idx]),
        input_tokens,
        output_tokens,
        cost_usd: tier.cost_usd(input_tokens, output_tokens),
        ask_cost_usd: tier.cost_usd(fit.input_tokens(ask), output_tokens),
        latency_p95_s: tier.latency_p95_s,
    }
}

/// Runs the members on one row and averages what they say.
pub fn raw(members: &[QualityNetwork], row: &Encoded, device: &Device) -> Raw {
    let mut total: Option<Raw> = None;
    for member in members {
        let one = raw_of_member(member, Batch::new(&[row], device));
        total = Some(match total {
            None => one,
            Some(sum) => add(sum, &one),
        });
    }
    let share = 1.0 / members.len() as f64;
    let mut raw = total.expect("an ensemble has at least one member: NetworkConfig::check");
    raw.quality
        .iter_mut()
        .flatten()
        .chain(&mut raw.length_mean)
        .chain(&mut raw.length_std)
        .for_each(|value| *value *= share);
    raw
}

fn raw_of_member(member: &QualityNetwork, batch: Batch) -> Raw {
    let output = member.forward(batch, None);
    let pmf = floats(&output.quality.into_data());
    let quality = pmf
        .chunks_exact(GRID_POINTS)
        .map(|tier| std::array::from_fn(|point| tier[point]))
        .collect();
    Raw {
        quality,
        length_mean: floats(&output.length_mean.into_data()),
        length_std: floats(&output.length_log_std.exp().into_data()),
    }
}

fn add(mut sum: Raw, one: &Raw) -> Raw {
    let add_all = |sum: &mut [f64], one: &[f64]| sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
    for (sum, one) in sum.quality.iter_mut().zip(&one.quality) {
        add_all(sum, one);
    }
    add_all(&mut sum.length_mean, &one.length_mean);
    add_all(&mut sum.length_std, &one.length_std);
    sum
}

fn floats(data: &burn::tensor::TensorData) -> Vec<f64> {
    data.iter::<f32>().map(f64::from).collect()
}
