//! What a set of outcomes holds, and whether there is anything to route in it. Pure; printed by
//! `tiercast data describe`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::outcomes::{Outcome, Outcomes, Split};

/// Figures about a set of outcomes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    /// Results.
    pub n_outcomes: usize,
    /// Prompts with at least one result.
    pub n_prompts: usize,
    /// Prompts by split.
    pub prompts_by_split: BTreeMap<Split, usize>,
    /// Prompts by domain.
    pub prompts_by_domain: BTreeMap<String, usize>,
    /// Results by score kind. Scores compare only inside one.
    pub outcomes_by_score_kind: BTreeMap<String, usize>,
    /// Per model, best score first.
    pub tiers: Vec<TierFigures>,
    /// What routing could win; absent where no prompt was answered by every model.
    pub headroom: Option<Headroom>,
}

/// Figures about one model over all prompts it answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TierFigures {
    /// Model.
    pub name: String,
    /// Tier class 1 to 4.
    pub class: u8,
    /// Prompts it answered.
    pub n_prompts: usize,
    /// Mean quality.
    pub mean_score: f64,
    /// Mean tokens of the prompt, where known.
    pub mean_input_tokens: Option<f64>,
    /// Mean tokens of the reply, where known.
    pub mean_output_tokens: Option<f64>,
    /// Mean cost of a thousand prompts in US dollars, where known.
    pub usd_per_1000: Option<f64>,
    /// Share of results in which either token count is missing.
    pub share_without_tokens: f64,
    /// Results by what their cost covers.
    pub cost_kinds: BTreeMap<String, usize>,
}

/// Best single model against the oracle that knows every score, on the prompts all models answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Headroom {
    /// Prompts that every model answered.
    pub n_prompts: usize,
    /// Model of the highest mean score; of equals the cheaper.
    pub best_single: String,
    /// Its mean score.
    pub best_single_score: f64,
    /// Its cost in US dollars per thousand prompts, where known.
    pub best_single_usd_per_1000: Option<f64>,
    /// Mean of each prompt's best score. Partly luck: no router reaches it.
    pub oracle_score: f64,
    /// Cost of the cheapest among each prompt's best models, where known.
    pub oracle_usd_per_1000: Option<f64>,
    /// Share of prompts on which every model has a score of 1.
    pub share_all_right: f64,
    /// Share of prompts on which every model has a score of 0.
    pub share_none_right: f64,
    /// Mean absolute difference of score over pairs of models; absent with one model.
    pub mean_pairwise_disagreement: Option<f64>,
}

/// Describes `outcomes`; the headroom is that among all its models.
pub fn describe(outcomes: &Outcomes) -> Description {
    let prompts = &outcomes.prompts;
    let kinds = outcomes
        .outcomes
        .iter()
        .map(|row| outcomes.score_kinds[row.score_kind].clone());
    Description {
        n_outcomes: outcomes.outcomes.len(),
        n_prompts: prompts.len(),
        prompts_by_split: counts(prompts.iter().map(|prompt| prompt.split)),
        prompts_by_domain: counts(prompts.iter().map(|prompt| prompt.domain.clone())),
        outcomes_by_score_kind: counts(kinds),
        tiers: tiers(outcomes),
        headroom: headroom(outcomes),
    }
}

fn tiers(outcomes: &Outcomes) -> Vec<TierFigures> {
    let mut rows_of_model = vec![Vec::new(); outcomes.models.len()];
    outcomes
        .outcomes
        .iter()
        .for_each(|row| rows_of_model[row.model].push(row));
    let with_rows = outcomes
        .models
        .iter()
        .zip(&rows_of_model)
        .filter(|(_, rows)| !rows.is_empty());
    let mut tiers: Vec<TierFigures> = with_rows
        .map(|(model, rows)| tier(&model.name, model.class, rows))
        .collect();
    tiers.sort_by(|a, b| b.mean_score.total_cmp(&a.mean_score));
    tiers
}

fn tier(name: &str, class: u8, rows: &[&Outcome]) -> TierFigures {
    let unknown = rows
        .iter()
        .filter(|row| row.input_tokens.is_none() || row.output_tokens.is_none())
        .count();
    TierFigures {
        name: name.to_owned(),
        class,
        n_prompts: rows.len(),
        mean_score: mean(rows.iter().map(|row| row.score)).unwrap_or_default(),
        mean_input_tokens: mean(rows.iter().filter_map(|row| row.input_tokens).map(f64::from)),
        mean_output_tokens: mean(rows.iter().filter_map(|row| row.output_tokens).map(f64::from)),
        usd_per_1000: usd_per_1000(rows.iter().copied()),
        share_without_tokens: unknown as f64 / rows.len() as f64,
        cost_kinds: counts(rows.iter().map(|row| row.cost_kind.name().to_owned())),
    }
}

fn headroom(outcomes: &Outcomes) -> Option<Headroom> {
    let shared = shared_rows(outcomes);
    let best = best_single(outcomes, &shared)?;
    let best_rows = || shared.iter().map(|rows| rows[best]);
    let oracle: Vec<&Outcome> = shared.iter().filter_map(|rows| oracle(rows)).collect();
    let share = |right: f64| {
        let count = shared
            .iter()
            .filter(|rows| rows.iter().all(|row| row.score == right))
            .count();
        count as f64 / shared.len() as f64
    };
    Some(Headroom {
        n_prompts: shared.len(),
        best_single: outcomes.models[best].name.clone(),
        best_single_score: mean(best_rows().map(|row| row.score))?,
        best_single_usd_per_1000: usd_per_1000(best_rows()),
        oracle_score: mean(oracle.iter().map(|row| row.score))?,
        oracle_usd_per_1000: usd_per_1000(oracle.iter().copied()),
        share_all_right: share(1.0),
        share_none_right: share(0.0),
        mean_pairwise_disagreement: mean(shared.iter().flat_map(|rows| disagreements(rows))),
    })
}

/// Per prompt that every model answered: its results in order of the models.
fn shared_rows(outcomes: &Outcomes) -> Vec<Vec<&Outcome>> {
    let models: Vec<usize> = (0..outcomes.models.len()).collect();
    let row = |cell: Option<usize>| cell.map(|index| &outcomes.outcomes[index]);
    let matrix = outcomes.matrix(&models);
    matrix
        .into_iter()
        .filter_map(|cells| cells.into_iter().map(row).collect())
        .collect()
}

fn best_single(outcomes: &Outcomes, shared: &[Vec<&Outcome>]) -> Option<usize> {
    let rank = |model: usize| {
        let score = mean(shared.iter().map(|rows| rows[model].score));
        let cost = usd_per_1000(shared.iter().map(|rows| rows[model])).unwrap_or(f64::INFINITY);
        Some((model, score?, cost))
    };
    let ranked = (0..outcomes.models.len()).filter_map(rank);
    ranked
        .min_by(|a, b| b.1.total_cmp(&a.1).then(a.2.total_cmp(&b.2)))
        .map(|(model, ..)| model)
}

/// The cheapest of the best; a result without a cost is dearer than any with.
fn oracle<'a>(rows: &[&'a Outcome]) -> Option<&'a Outcome> {
    let cost = |row: &Outcome| row.cost_usd.unwrap_or(f64::INFINITY);
    rows.iter()
        .copied()
        .min_by(|a, b| b.score.total_cmp(&a.score).then(cost(a).total_cmp(&cost(b))))
}

fn disagreements(rows: &[&Outcome]) -> Vec<f64> {
    let pairs = rows
        .iter()
        .enumerate()
        .flat_map(|(i, a)| rows[i + 1..].iter().map(move |b| (a, b)));
    pairs.map(|(a, b)| (a.score - b.score).abs()).collect()
}

fn usd_per_1000<'a>(rows: impl Iterator<Item = &'a Outcome>) -> Option<f64> {
    mean(rows.filter_map(|row| row.cost_usd)).map(|cost| 1000.0 * cost)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0_u64), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}

fn counts<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcomes::{CostKind, Model, Prompt};

    fn outcomes(n_prompts: usize, cells: &[(usize, usize, f64, f64)]) -> Outcomes {
        let prompt = |i: usize| Prompt {
            prompt_id: format!("p{i}"),
            split_key: format!("p{i}"),
            split: Split::Train,
            dataset: "d".to_owned(),
            subset: String::new(),
            domain: "maths".to_owned(),
            text: None,
        };
        let row = |&(prompt, model, score, cost): &(usize, usize, f64, f64)| Outcome {
            prompt,
            model,
            score,
            score_kind: 0,
            n_samples: 1,
            input_tokens: Some(10),
            output_tokens: None,
            cost_usd: Some(cost),
            cost_kind: CostKind::Computed,
            latency_s: None,
        };
        Outcomes {
            prompts: (0..n_prompts).map(prompt).collect(),
            models: ["dear", "light"]
                .map(|name| Model {
                    name: name.to_owned(),
                    class: 2,
                })
                .into(),
            score_kinds: vec!["exact".to_owned()],
            outcomes: cells.iter().map(row).collect(),
        }
    }

    #[test]
    fn headroom_of_a_case_done_by_hand() {
        // Prompt 0: both right, the light one serves. 1: only the dear one. 2: nobody, still the
        // light one. 3: answered by one model alone and left out.
        let rows = [
            (0, 0, 1.0, 0.010),
            (0, 1, 1.0, 0.001),
            (1, 0, 1.0, 0.010),
            (1, 1, 0.0, 0.001),
            (2, 0, 0.0, 0.010),
            (2, 1, 0.0, 0.001),
            (3, 1, 1.0, 0.001),
        ];
        let headroom = describe(&outcomes(4, &rows)).headroom.unwrap();
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        assert_eq!((headroom.n_prompts, headroom.best_single.as_str()), (3, "dear"));
        close(headroom.best_single_score, 2.0 / 3.0);
        close(headroom.best_single_usd_per_1000.unwrap(), 10.0);
        close(headroom.oracle_score, 2.0 / 3.0);
        close(headroom.oracle_usd_per_1000.unwrap(), 4.0);
        close(headroom.share_all_right, 1.0 / 3.0);
        close(headroom.share_none_right, 1.0 / 3.0);
        close(headroom.mean_pairwise_disagreement.unwrap(), 1.0 / 3.0);
    }

    #[test]
    fn no_outcomes_no_headroom() {
        assert_eq!(describe(&Outcomes::default()).headroom, None);
    }

    #[test]
    fn tiers_are_counted_each_over_its_own_prompts() {
        let tiers = describe(&outcomes(2, &[(0, 0, 0.5, 0.01), (0, 1, 1.0, 0.01), (1, 1, 0.5, 0.01)])).tiers;
        assert_eq!(
            (tiers[0].name.as_str(), tiers[0].n_prompts, tiers[0].mean_score),
            ("light", 2, 0.75)
        );
        assert_eq!(
            (tiers[0].mean_input_tokens, tiers[0].mean_output_tokens),
            (Some(10.0), None)
        );
        assert!((tiers[0].share_without_tokens - 1.0).abs() < 1e-9);
    }
}
