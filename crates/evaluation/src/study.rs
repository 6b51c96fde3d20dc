//! The rows of an evaluation, laid out by item and tier.

use std::collections::{BTreeMap, BTreeSet};

use tiercast_records::features::Features;
use tiercast_records::outcomes::{Outcome, Outcomes, Split};
use tiercast_routing::catalog::Catalog;
use tiercast_routing::decide::Forecast;
use tiercast_routing::evidence::Evidence;
use tiercast_statistics::summary::mean;

use crate::interval::Replicates;
use crate::report::{CheckpointInfo, References};

/// All that an evaluation needs.
#[derive(Debug, Clone)]
pub struct Inputs<'a> {
    /// The tiers.
    pub catalog: &'a Catalog,
    /// Outcomes of all splits; the models are the catalog's tiers, in any order.
    pub outcomes: &'a Outcomes,
    /// One entry per prompt of `outcomes`.
    pub features: &'a [Features],
    /// One entry per prompt of `outcomes`: the checkpoint's forecast per tier, catalog order.
    pub forecasts: &'a [Vec<Forecast>],
    /// What each forecast rests on, one entry per prompt of `outcomes`; `None` where nothing knows.
    pub evidence: Option<&'a [Evidence]>,
    /// The split to report on.
    pub split: Split,
    /// Seed of all chance.
    pub seed: u64,
    /// Bootstrap replicates; 1,000 in reports.
    pub n_bootstrap: usize,
    /// What made the forecasts.
    pub checkpoint: CheckpointInfo,
    /// Floor on expected quality of `auto`.
    pub auto_floor: f64,
    /// Floor on expected quality of `auto:cheap`.
    pub cheap_floor: f64,
    /// Named parts of the data (prompt indices) for two-tier figures; see [`slices_of`].
    pub slices: Vec<(String, Vec<usize>)>,
}

/// The parts that published figures are given for: `mmlu` and `gsm8k` of data set `routellm`,
/// whose subsets are gsm8k and 57 subjects of MMLU. Empty for other data.
pub fn slices_of(outcomes: &Outcomes) -> Vec<(String, Vec<usize>)> {
    let part = |is_gsm8k: bool| -> Vec<usize> {
        let prompts = outcomes.prompts.iter().enumerate();
        prompts
            .filter(|(_, p)| p.dataset == "routellm" && (p.subset == "gsm8k") == is_gsm8k)
            .map(|(i, _)| i)
            .collect()
    };
    let slices = [("mmlu".to_owned(), part(false)), ("gsm8k".to_owned(), part(true))];
    slices.into_iter().filter(|(_, prompts)| !prompts.is_empty()).collect()
}

/// Why an evaluation is impossible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// A tier of the catalog answered nothing.
    #[error("tier `{0}` of the catalog is not among the models of the outcomes")]
    MissingTier(String),
    /// Parallel inputs differ in length.
    #[error("{what}: expected {expected}, found {found}")]
    Length {
        /// Which input.
        what: String,
        /// Its length should be this.
        expected: usize,
        /// It is this.
        found: usize,
    },
    /// Nothing to evaluate.
    #[error("no prompt of split `{0}` was answered by every tier")]
    NoItems(String),
}

/// A value per item and tier.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    n_tiers: usize,
    values: Vec<f64>,
}

impl Table {
    pub(crate) fn from_rows(n_tiers: usize, rows: &[Vec<f64>]) -> Self {
        Self {
            n_tiers,
            values: rows.concat(),
        }
    }

    pub(crate) fn row(&self, item: usize) -> &[f64] {
        &self.values[item * self.n_tiers..(item + 1) * self.n_tiers]
    }

    pub(crate) fn at(&self, item: usize, tier: usize) -> f64 {
        self.values[item * self.n_tiers + tier]
    }

    pub(crate) fn column(&self, tier: usize) -> Vec<f64> {
        self.values.iter().skip(tier).step_by(self.n_tiers).copied().collect()
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    pub(crate) fn n_items(&self) -> usize {
        self.values.len() / self.n_tiers
    }

    pub(crate) fn tier_means(&self) -> Vec<f64> {
        (0..self.n_tiers).map(|tier| mean(&self.column(tier))).collect()
    }
}

/// The prompts of one split that every tier answered.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    /// Prompt index per item.
    pub(crate) prompts: Vec<usize>,
    /// Outcome per item and tier, item by item.
    pub(crate) outcomes: Vec<Outcome>,
    /// Quality.
    pub(crate) quality: Table,
    /// Actual cost; the forecast where none is recorded.
    pub(crate) cost: Table,
    /// Prompts of the split that some tier did not answer.
    pub(crate) n_left_out: usize,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.prompts.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    fn of(inputs: &Inputs<'_>, slots: &[Option<usize>], split: Split) -> Self {
        let n_tiers = inputs.catalog.tiers().len();
        let in_split = (0..inputs.outcomes.prompts.len()).filter(|p| inputs.outcomes.prompts[*p].split == split);
        let (dense, sparse): (Vec<usize>, Vec<usize>) =
            in_split.partition(|p| slots[p * n_tiers..(p + 1) * n_tiers].iter().all(Option::is_some));
        let outcomes: Vec<Outcome> = dense
            .iter()
            .flat_map(|prompt| slots[prompt * n_tiers..(prompt + 1) * n_tiers].iter().flatten())
            .map(|outcome| inputs.outcomes.outcomes[*outcome])
            .collect();
        let cost = |(cell, outcome): (usize, &Outcome)| {
            let forecast = &inputs.forecasts[outcome.prompt][cell % n_tiers];
            outcome.cost_usd.unwrap_or(forecast.cost_usd)
        };
        Self {
            quality: Table {
                n_tiers,
                values: outcomes.iter().map(|outcome| outcome.score).collect(),
            },
            cost: Table {
                n_tiers,
                values: outcomes.iter().enumerate().map(cost).collect(),
            },
            prompts: dense,
            outcomes,
            n_left_out: sparse.len(),
        }
    }
}

/// Sums of cost and quality per bootstrap group for one way of choosing tiers.
#[derive(Debug, Clone)]
pub(crate) struct GroupSums {
    pub(crate) cost: Vec<f64>,
    pub(crate) quality: Vec<f64>,
}

/// Everything that the parts of an evaluation share.
pub(crate) struct Study<'a> {
    pub(crate) inputs: &'a Inputs<'a>,
    pub(crate) n_tiers: usize,
    pub(crate) train: Rows,
    pub(crate) validation: Rows,
    /// The rows that are reported on.
    pub(crate) items: Rows,
    /// Domain per item, with the data set where there are several.
    pub(crate) domains: Vec<String>,
    /// Bootstrap group per item.
    pub(crate) groups: Vec<usize>,
    /// Items per group.
    pub(crate) group_sizes: Vec<f64>,
    pub(crate) references: References,
    /// Group sums of each tier for every item.
    pub(crate) singles: Vec<GroupSums>,
    pub(crate) replicates: Replicates,
}

impl<'a> Study<'a> {
    pub(crate) fn new(inputs: &'a Inputs<'a>) -> Result<Self, EvaluationError> {
        check_lengths(inputs)?;
        let n_tiers = inputs.catalog.tiers().len();
        let slots = slots(inputs)?;
        let [train, validation, items] =
            [Split::Train, Split::Validation, inputs.split].map(|split| Rows::of(inputs, &slots, split));
        if items.is_empty() {
            return Err(EvaluationError::NoItems(inputs.split.name().to_owned()));
        }
        let groups = groups(inputs.outcomes, &items);
        let n_groups = groups.iter().max().map_or(0, |last| last + 1);
        let mut group_sizes = vec![0.0; n_groups];
        groups.iter().for_each(|group| group_sizes[*group] += 1.0);
        let mut study = Self {
            references: references(inputs, &validation, &items),
            domains: domains(inputs.outcomes, &items),
            replicates: Replicates::new(n_groups, inputs.n_bootstrap, inputs.seed),
            singles: Vec::new(),
            inputs,
            n_tiers,
            train,
            validation,
            items,
            groups,
            group_sizes,
        };
        study.singles = (0..n_tiers)
            .map(|tier| study.sums(&vec![tier; study.items.len()], None))
            .collect();
        Ok(study)
    }

    pub(crate) fn tier_name(&self, tier: usize) -> &str {
        &self.inputs.catalog.tiers()[tier].name
    }

    /// Group sums when item i goes to tier `choices[i]`. `credit` replaces the recorded quality.
    pub(crate) fn sums(&self, choices: &[usize], credit: Option<&Table>) -> GroupSums {
        let quality = credit.unwrap_or(&self.items.quality);
        let zeros = vec![0.0; self.group_sizes.len()];
        let mut sums = GroupSums {
            cost: zeros.clone(),
            quality: zeros,
        };
        for (item, (tier, group)) in choices.iter().zip(&self.groups).enumerate() {
            sums.cost[*group] += self.items.cost.at(item, *tier);
            sums.quality[*group] += quality.at(item, *tier);
        }
        sums
    }

    /// Evidence per item, where the caller gave any.
    pub(crate) fn evidence(&self) -> Option<Vec<Evidence>> {
        let evidence = self.inputs.evidence?;
        Some(self.items.prompts.iter().map(|prompt| evidence[*prompt]).collect())
    }

    /// The weight of each item's group.
    pub(crate) fn item_weights(&self, group_weights: &[f64]) -> Vec<f64> {
        self.groups.iter().map(|group| group_weights[*group]).collect()
    }

    /// Items per domain, by name.
    pub(crate) fn items_by_domain(&self) -> BTreeMap<&str, Vec<usize>> {
        let mut found: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (item, domain) in self.domains.iter().enumerate() {
            found.entry(domain).or_default().push(item);
        }
        found
    }
}

fn check_lengths(inputs: &Inputs<'_>) -> Result<(), EvaluationError> {
    let (n, n_tiers) = (inputs.outcomes.prompts.len(), inputs.catalog.tiers().len());
    let mut lengths = vec![
        ("features per prompt", n, inputs.features.len()),
        ("forecasts per prompt", n, inputs.forecasts.len()),
    ];
    lengths.extend(
        inputs
            .evidence
            .map(|evidence| ("evidence per prompt", n, evidence.len())),
    );
    lengths.extend(
        inputs
            .forecasts
            .iter()
            .map(|row| ("forecasts of a prompt per tier", n_tiers, row.len())),
    );
    match lengths.into_iter().find(|(_, expected, found)| expected != found) {
        Some((what, expected, found)) => Err(EvaluationError::Length {
            what: what.to_owned(),
            expected,
            found,
        }),
        None => Ok(()),
    }
}

/// Index of the outcome per prompt and tier.
fn slots(inputs: &Inputs<'_>) -> Result<Vec<Option<usize>>, EvaluationError> {
    let (models, tiers) = (&inputs.outcomes.models, inputs.catalog.tiers());
    if let Some(missing) = tiers
        .iter()
        .find(|tier| !models.iter().any(|model| model.name == tier.name))
    {
        return Err(EvaluationError::MissingTier(missing.name.clone()));
    }
    let tier_of: Vec<Option<usize>> = models
        .iter()
        .map(|model| inputs.catalog.position(&model.name))
        .collect();
    let mut slots = vec![None; inputs.outcomes.prompts.len() * tiers.len()];
    for (index, outcome) in inputs.outcomes.outcomes.iter().enumerate() {
        if let Some(tier) = tier_of[outcome.model] {
            slots[outcome.prompt * tiers.len() + tier] = Some(index);
        }
    }
    Ok(slots)
}

/// Numbers the distinct split keys of the items in their order.
fn groups(outcomes: &Outcomes, items: &Rows) -> Vec<usize> {
    let key = |prompt: &usize| outcomes.prompts[*prompt].split_key.as_str();
    let keys: BTreeSet<&str> = items.prompts.iter().map(key).collect();
    let number: BTreeMap<&str, usize> = keys.into_iter().enumerate().map(|(index, key)| (key, index)).collect();
    items.prompts.iter().map(|prompt| number[key(prompt)]).collect()
}

fn domains(outcomes: &Outcomes, items: &Rows) -> Vec<String> {
    let datasets: BTreeSet<&str> = items
        .prompts
        .iter()
        .map(|p| outcomes.prompts[*p].dataset.as_str())
        .collect();
    let prompts = items.prompts.iter().map(|prompt| &outcomes.prompts[*prompt]);
    prompts
        .map(|p| {
            if datasets.len() > 1 {
                format!("{}/{}", p.dataset, p.domain)
            } else {
                p.domain.clone()
            }
        })
        .collect()
}

fn references(inputs: &Inputs<'_>, validation: &Rows, items: &Rows) -> References {
    let chosen_on = if validation.is_empty() { items } else { validation };
    let (quality, cost) = (chosen_on.quality.tier_means(), items.cost.tier_means());
    let tiers = || 0..quality.len();
    let by_cost = |a: &usize, b: &usize| cost[*a].total_cmp(&cost[*b]);
    // Ties go to the cheaper tier.
    let best = tiers().max_by(|a, b| quality[*a].total_cmp(&quality[*b]).then(by_cost(b, a)));
    let (cheapest, dearest) = (
        tiers().min_by(by_cost).unwrap_or(0),
        tiers().max_by(by_cost).unwrap_or(0),
    );
    References {
        best_single: best.unwrap_or(0),
        cheapest,
        dearest,
        cost_min_usd: cost[cheapest],
        cost_max_usd: cost[dearest],
        auto_floor: inputs.auto_floor,
        cheap_floor: inputs.cheap_floor,
    }
}
