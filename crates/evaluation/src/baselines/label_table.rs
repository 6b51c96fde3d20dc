//! Task-label tables: the mean of each tier on the training rows of the same label. They are told
//! the label, which no router in service is.

use std::collections::BTreeMap;

use tiercast_records::outcomes::Prompt;

use super::{Predicted, predict, shuffled};
use crate::report::MethodKind;
use crate::study::{Study, Table};

/// Rows of the tier's overall mean added to each label.
const PRIOR_ROWS: f64 = 10.0;

type Label = fn(&Prompt) -> String;

fn domain(prompt: &Prompt) -> String {
    prompt.domain.clone()
}

fn subset(prompt: &Prompt) -> String {
    format!("{}/{}", prompt.dataset, prompt.subset)
}

pub(super) fn fit(study: &Study<'_>) -> [Predicted; 2] {
    let table = |name: &str, label: &str, of: Label| Predicted {
        name: name.to_owned(),
        label: label.to_owned(),
        kind: MethodKind::KnowsLabel,
        ..fit_one(study, &study.train.quality, of)
    };
    [
        table("domain_table", "Domain table (knows the label)", domain),
        table("subset_table", "Subset table (knows the label)", subset),
    ]
}

/// The subset table of permuted training outcomes.
pub(super) fn fit_shuffled(study: &Study<'_>) -> Predicted {
    fit_one(study, &shuffled(&study.train.quality, study.inputs.seed), subset)
}

fn fit_one(study: &Study<'_>, quality: &Table, label: Label) -> Predicted {
    let prompts = &study.inputs.outcomes.prompts;
    let overall = quality.tier_means();
    let mut sums: BTreeMap<String, (f64, Vec<f64>)> = BTreeMap::new();
    for (item, prompt) in study.train.prompts.iter().enumerate() {
        let (n, sum) = sums
            .entry(label(&prompts[*prompt]))
            .or_insert_with(|| (0.0, vec![0.0; study.n_tiers]));
        *n += 1.0;
        sum.iter_mut()
            .zip(quality.row(item))
            .for_each(|(sum, value)| *sum += value);
    }
    let predict_one = |prompt: usize| match sums.get(&label(&prompts[prompt])) {
        Some((n, sum)) => sum
            .iter()
            .zip(&overall)
            .map(|(s, m)| (s + PRIOR_ROWS * m) / (n + PRIOR_ROWS))
            .collect(),
        None => overall.clone(),
    };
    Predicted {
        name: "shuffled".to_owned(),
        label: "Shuffled labels (subset table)".to_owned(),
        kind: MethodKind::Control,
        setting: "shrunk by 10 rows of the tier's mean".to_owned(),
        validation: predict(study, &study.validation, predict_one),
        items: predict(study, &study.items, predict_one),
    }
}
