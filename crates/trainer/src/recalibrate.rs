//! Calibrates a checkpoint anew on other validation rows, such as newer traffic, without training it again.

use rayon::prelude::*;
use tiercast_predictor::checkpoint::Contents;
use tiercast_predictor::model::Raw;
use tiercast_predictor::predictor::{Predictor, assessment_of, extend};
use tiercast_records::features::Features;
use tiercast_records::outcomes::{Outcomes, Split};
use tiercast_routing::evidence::Assessment;

use crate::calibrate::{Scored, fit_service_levels, refit_quality};
use crate::certify::{Promise, certify};
use crate::dataset::{self, Row};
use crate::folds::is_kept_apart;
use crate::prepare::{LEAST_VALIDATION, find_models};
use crate::train::TrainError;

/// `contents` with quality corrections and service levels fitted on the validation rows of `outcomes`, and a
/// certificate where `promise` asks for one: then on half of the rows, which nothing is fitted on. `features`
/// is parallel to the prompts; `predictor` is of the same contents.
pub fn recalibrate(
    mut contents: Contents,
    predictor: &Predictor,
    outcomes: &Outcomes,
    features: &[Features],
    promise: Option<Promise>,
) -> Result<Contents, TrainError> {
    let catalog = predictor.catalog();
    let names: Vec<String> = catalog.tiers().iter().map(|tier| tier.name.clone()).collect();
    let models = find_models(outcomes, &names)?;
    let rows = dataset::rows(outcomes, features, &models, Split::Validation, &contents.encoding, &[]);
    let is_certifying = |row: &Row| promise.is_some() && is_kept_apart(&outcomes.prompts[row.prompt]);
    let (certifying, rows): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(is_certifying);
    if rows.len() < LEAST_VALIDATION {
        return Err(TrainError::TooFewRows {
            split: "validation",
            found: rows.len(),
            least: LEAST_VALIDATION,
        });
    }
    let raw_of = |rows: &[Row]| -> Vec<Raw> {
        rows.par_iter()
            .map(|row| predictor.raw(&features[row.prompt]))
            .collect()
    };
    let raw = raw_of(&rows);
    for (tier, fit) in contents.calibration.tiers.iter_mut().enumerate() {
        let scored = raw.iter().zip(&rows);
        let scored: Vec<Scored<'_>> = scored
            .filter_map(|(raw, row)| Some((&raw.quality[tier], row.answers[tier]?.score)))
            .collect();
        *fit = refit_quality(&scored, *fit);
    }
    let assess = |rows: &[Row], raw: &[Raw]| -> Vec<Assessment> {
        let of_row = |(row, raw): (&Row, &Raw)| {
            let features = &features[row.prompt];
            let mut assessment = assessment_of(&contents.catalog, &contents.calibration.tiers, raw, features);
            extend(&mut assessment, &contents.added, features);
            assessment
        };
        rows.iter().zip(raw).map(of_row).collect()
    };
    let service_levels = fit_service_levels(catalog, &assess(&rows, &raw), &rows);
    let certificate = promise.map(|promise| {
        let assessments = assess(&certifying, &raw_of(&certifying));
        certify(promise, catalog, &assessments, &certifying)
    });
    contents.calibration.service_levels = service_levels;
    contents.calibration.certificate = certificate;
    Ok(contents)
}
