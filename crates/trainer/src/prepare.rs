//! Outcomes and features to the rows that networks are fitted on.

use tiercast_predictor::encoding::Encoding;
use tiercast_records::features::Features;
use tiercast_records::outcomes::{Outcome, Outcomes, Prompt, Split};
use tiercast_routing::catalog::Catalog;

use crate::dataset::{self, LengthScale, Row, length_scale};
use crate::folds::is_kept_apart;
use crate::prices::fit_catalog;
use crate::train::{TrainError, TrainOptions};
use crate::vocabulary::fit_encoding;

/// Least prompts in `train` and in `validation`.
const LEAST_TRAIN: usize = 32;
pub(crate) const LEAST_VALIDATION: usize = 8;

/// Rows of the splits that are learnt from, and what was fitted before any network.
pub(crate) struct Prepared {
    pub(crate) catalog: Catalog,
    pub(crate) encoding: Encoding,
    pub(crate) tasks: Vec<String>,
    pub(crate) train: Vec<Row>,
    pub(crate) validation: Vec<Row>,
    /// Validation rows kept apart for a certificate; none where none is asked for.
    pub(crate) certifying: Vec<Row>,
    pub(crate) lengths: Vec<LengthScale>,
}

/// Positions of the tiers among the models.
pub(crate) fn find_models(outcomes: &Outcomes, tiers: &[String]) -> Result<Vec<usize>, TrainError> {
    let find = |name: &String| {
        outcomes
            .models
            .iter()
            .position(|model| model.name == *name)
            .ok_or_else(|| TrainError::UnknownTier {
                name: name.clone(),
                known: outcomes
                    .models
                    .iter()
                    .map(|model| model.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    };
    tiers.iter().map(find).collect()
}

/// Catalog, encoding, tasks and rows; refuses what nothing can be learnt from.
pub(crate) fn prepare(
    outcomes: &Outcomes,
    features: &[Features],
    models: &[usize],
    options: &TrainOptions,
) -> Result<Prepared, TrainError> {
    let is_train =
        |outcome: &&Outcome| outcomes.prompts[outcome.prompt].split == Split::Train && models.contains(&outcome.model);
    let train_outcomes: Vec<&Outcome> = outcomes.outcomes.iter().filter(is_train).collect();
    for (model, name) in models.iter().zip(&options.tiers) {
        if !train_outcomes.iter().any(|outcome| outcome.model == *model) {
            return Err(TrainError::NoRows(name.clone()));
        }
    }
    let catalog = fit_catalog(outcomes, models, &train_outcomes)?;
    // Every training prompt once, in order.
    let mut prompts: Vec<usize> = train_outcomes.iter().map(|outcome| outcome.prompt).collect();
    prompts.sort_unstable();
    prompts.dedup();
    let encoding = fit_encoding(
        &prompts
            .iter()
            .map(|prompt| &features[*prompt])
            .collect::<Vec<&Features>>(),
        options,
    );
    let tasks = if options.is_off("tasks") {
        Vec::new()
    } else {
        tasks_of(outcomes, &prompts)
    };
    let rows = |split| dataset::rows(outcomes, features, models, split, &encoding, &tasks);
    let (train, mut validation) = (rows(Split::Train), rows(Split::Validation));
    let certifying = match options.promise {
        Some(_) => validation
            .extract_if(.., |row: &mut Row| is_kept_apart(&outcomes.prompts[row.prompt]))
            .collect(),
        None => Vec::new(),
    };
    for (split, found, least) in [
        ("train", train.len(), LEAST_TRAIN),
        ("validation", validation.len(), LEAST_VALIDATION),
    ] {
        if found < least {
            return Err(TrainError::TooFewRows { split, found, least });
        }
    }
    let lengths = (0..models.len()).map(|tier| length_scale(&train, tier)).collect();
    Ok(Prepared {
        catalog,
        encoding,
        tasks,
        train,
        validation,
        certifying,
        lengths,
    })
}

fn tasks_of(outcomes: &Outcomes, prompts: &[usize]) -> Vec<String> {
    let prompts: Vec<&Prompt> = prompts.iter().map(|prompt| &outcomes.prompts[*prompt]).collect();
    dataset::tasks(&prompts)
}
