//! An opened checkpoint: request in, one forecast per tier out.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use tiercast_encoder::dense::DenseEncoder;
use tiercast_records::features::Features;
use tiercast_records::reference::Reference;
use tiercast_routing::catalog::{Catalog, Tier};
use tiercast_routing::decide::Forecast;
use tiercast_routing::evidence::{Assessment, Evidence};
use tiercast_routing::request::Request;

use crate::added::AddedTier;
use crate::calibration::TierCalibration;
use crate::cascade::CascadeFit;
use crate::checkpoint::{self, Certificate, CheckpointError, Contents, Manifest, ServiceLevels};
use crate::classifier::Classifier;
use crate::device::DeviceKind;
use crate::encoding::{Encoded, Encoding};
use crate::features::Featuriser;
use crate::member::Member;
use crate::model::{Model, Raw};
use crate::weights;

/// An opened checkpoint.
pub struct Predictor {
    manifest: Manifest,
    n_params: usize,
    /// The trained tiers, then the added ones.
    catalog: Catalog,
    added: Vec<AddedTier>,
    calibration: checkpoint::Calibration,
    encoding: Encoding,
    model: Model,
    classifier: Option<Classifier>,
    cascade: Option<Arc<CascadeFit>>,
    tasks: Vec<String>,
    reference: Option<Reference>,
    featuriser: Featuriser,
}

impl Predictor {
    /// Opens a checkpoint folder; refuses what does not fit, naming the mismatch. The weights are read
    /// on `device`; predictions run in plain Rust.
    pub fn open(folder: &Path, device: DeviceKind) -> Result<Self, CheckpointError> {
        let (manifest, contents) = checkpoint::open(folder)?;
        Self::new(manifest, contents, device)
    }

    /// A predictor from the parts of a checkpoint.
    pub fn new(manifest: Manifest, contents: Contents, device: DeviceKind) -> Result<Self, CheckpointError> {
        let catalog = contents.whole_catalog()?;
        let device = device.device()?;
        let network = weights::from_bytes(contents.weights, &contents.network, &device).map_err(|what| {
            CheckpointError::Invalid {
                file: "network.bpk".to_owned(),
                what,
            }
        })?;
        let featuriser = match contents.encoder {
            Some(weights) => Featuriser::with_dense(DenseEncoder::from_bytes(weights)?),
            None => Featuriser::new(),
        };
        let model = Model {
            members: network.members.iter().map(Member::new).collect(),
            tables: contents.tables,
            neighbours: contents.neighbours,
            pool: contents.pool,
        };
        Ok(Self {
            n_params: contents.network.n_params(),
            manifest,
            catalog,
            added: contents.added,
            calibration: contents.calibration,
            encoding: contents.encoding,
            model,
            classifier: contents.classifier,
            cascade: contents.cascade.map(Arc::new),
            tasks: contents.provenance.tasks,
            reference: contents.reference,
            featuriser,
        })
    }

    /// The tiers, in the order of every forecast.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What the training prompts were like; checkpoints of before drift was watched do not say.
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    /// Names of the tasks that an assessment may take a request for.
    pub fn tasks(&self) -> &[String] {
        &self.tasks
    }

    /// Tiers that the network was trained on; they lead the catalog.
    pub fn n_trained(&self) -> usize {
        self.catalog.tiers().len() - self.added.len()
    }

    /// Forecasts of the trained tiers alone, for each of the inputs.
    pub fn trained(&self, inputs: &[Features]) -> Vec<Vec<Forecast>> {
        let mut all = self.forecast(inputs);
        all.iter_mut()
            .for_each(|forecasts| forecasts.truncate(self.n_trained()));
        all
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

    /// What the policy `cascade` rests on, where the checkpoint has it.
    pub fn cascade(&self) -> Option<&Arc<CascadeFit>> {
        self.cascade.as_ref()
    }

    /// What is guaranteed, where that was asked for in training.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.calibration.certificate.as_ref()
    }

    /// What predicts the cheapest tier that is good enough directly, where the checkpoint has it.
    pub fn classifier(&self) -> Option<&Classifier> {
        self.classifier.as_ref()
    }

    /// Trainable parameters of the network.
    pub fn n_params(&self) -> usize {
        self.n_params
    }

    /// The transformer behind the features, where there is one.
    pub fn dense_encoder(&self) -> Option<&DenseEncoder> {
        self.featuriser.dense_encoder()
    }

    /// Features of a request.
    pub fn features(&self, request: &Request) -> Features {
        self.featuriser.features(request)
    }

    /// What the model says of a request before calibration.
    pub fn raw(&self, features: &Features) -> Raw {
        self.model.raw(&self.encoding.encode(features))
    }

    /// Forecasts, one per tier in catalog order, for each of the inputs.
    pub fn forecast(&self, inputs: &[Features]) -> Vec<Vec<Forecast>> {
        self.assess(inputs)
            .into_iter()
            .map(|assessment| assessment.forecasts)
            .collect()
    }

    /// Forecasts and what they rest on, for each of the inputs.
    ///
    /// Rows run one at a time, spread over threads: a row then gives the same bits alone in the
    /// server and among thousands offline.
    pub fn assess(&self, inputs: &[Features]) -> Vec<Assessment> {
        inputs.par_iter().map(|features| self.assess_one(features)).collect()
    }

    /// The same for one request.
    pub fn assess_one(&self, features: &Features) -> Assessment {
        let row = self.encoding.encode(features);
        let raw = self.model.raw(&row);
        let mut assessment = assessment_of(&self.catalog, &self.calibration.tiers, &raw, features);
        assessment.enough = self.classifier.as_ref().map(|classifier| per_tier(classifier, &row));
        extend(&mut assessment, &self.added, features);
        assessment
    }
}

/// Adds what is expected of the added tiers. The classifier knows nothing of them: to it, one is enough where
/// a trained tier that costs no more is.
pub fn extend(assessment: &mut Assessment, added: &[AddedTier], features: &Features) {
    let n_trained = assessment.forecasts.len();
    for tier in added {
        let trained = &assessment.forecasts[..n_trained];
        let forecast = tier.forecast(trained, features);
        let cheaper = trained.iter().map(|other| other.ask_cost_usd <= forecast.ask_cost_usd);
        if let Some(enough) = &mut assessment.enough {
            let known = cheaper.zip(enough.iter()).filter(|(is_cheaper, _)| *is_cheaper);
            let most = known.map(|(_, share)| *share).fold(0.0, f64::max);
            enough.push(most);
        }
        assessment.forecasts.push(forecast);
    }
}

fn per_tier(classifier: &Classifier, row: &Encoded) -> Vec<f64> {
    let mut enough = vec![0.0; classifier.order.len()];
    for (tier, share) in classifier.order.iter().zip(classifier.enough(row)) {
        enough[*tier] = share;
    }
    enough
}

/// Forecasts of all tiers from what the model says of a row.
pub fn assessment_of(catalog: &Catalog, fits: &[TierCalibration], raw: &Raw, features: &Features) -> Assessment {
    let tiers = catalog.tiers().iter().zip(fits).enumerate();
    // What has no words is like nothing that was trained on.
    let is_empty = features.ask_tokens == 0;
    Assessment {
        forecasts: tiers
            .map(|(tier_idx, (tier, fit))| forecast_of(tier, tier_idx, fit, raw, features))
            .collect(),
        evidence: if is_empty { Evidence::NONE } else { raw.evidence },
        enough: None,
        task: raw.task.filter(|_| !is_empty),
    }
}

/// That of one tier (at `tier_idx` of the catalog).
fn forecast_of(tier: &Tier, tier_idx: usize, fit: &TierCalibration, raw: &Raw, features: &Features) -> Forecast {
    let ask = f64::from(features.ask_tokens);
    let input_tokens = fit.input_tokens(ask + f64::from(features.context_tokens));
    let ask_input_tokens = fit.input_tokens(ask);
    let output_tokens = fit.output_tokens(raw.length_mean[tier_idx], raw.length_std[tier_idx]);
    Forecast {
        quality: fit.quality(&raw.quality[tier_idx], raw.unknown),
        input_tokens,
        ask_input_tokens,
        output_tokens,
        cost_usd: tier.cost_usd(input_tokens, output_tokens),
        ask_cost_usd: tier.cost_usd(ask_input_tokens, output_tokens),
        latency_p95_s: tier.latency_p95_s,
    }
}
