//! Fits the classifier of the cheapest tier that is good enough.

use rayon::prelude::*;
use tiercast_predictor::classifier::{Classifier, columns};
use tiercast_routing::catalog::Catalog;
use tiercast_statistics::logistic::{Logistic, SparseRow};

use crate::dataset::Row;

/// Quality from which an answer is enough: on 0/1 outcomes, right.
const TARGET: f64 = 0.5;

/// Penalties tried; the one with the least cross-entropy on validation is taken.
const PENALTIES: [f64; 4] = [1e-4, 1e-3, 1e-2, 1e-1];

/// Fits on rows that every tier answered; the penalty is chosen on validation rows. `None` where there is
/// one tier, or no such row.
pub fn fit_classifier(catalog: &Catalog, train: &[Row], validation: &[Row], n_columns: usize) -> Option<Classifier> {
    let order = by_cost(catalog, train);
    let (train, validation) = (labelled(train, &order), labelled(validation, &order));
    if order.len() < 2 || train.is_empty() {
        return None;
    }
    let fit = |question: usize| -> Vec<f32> {
        let targets = |rows: &[(SparseRow, usize)]| -> Vec<f64> {
            rows.iter()
                .map(|(_, rank)| f64::from(u8::from(*rank <= question)))
                .collect()
        };
        let rows: Vec<SparseRow> = train.iter().map(|(row, _)| row.clone()).collect();
        let (wanted, held_out) = (targets(&train), targets(&validation));
        let fits = PENALTIES.map(|l2| Logistic::fit(&rows, &wanted, n_columns, l2));
        let loss = |fit: &Logistic| -> f64 {
            let rows = validation.iter().zip(&held_out);
            rows.map(|((row, _), target)| cross_entropy(fit.predict(row), *target))
                .sum()
        };
        let best = fits.iter().min_by(|a, b| loss(a).total_cmp(&loss(b)));
        let best = best.expect("there are penalties to try");
        best.coefficients().iter().map(|weight| *weight as f32).collect()
    };
    let questions: Vec<Vec<f32>> = (0..order.len() - 1).into_par_iter().map(fit).collect();
    Some(Classifier {
        target: TARGET,
        order,
        n_columns,
        weights: questions.concat(),
    })
}

/// Tiers from the cheapest answers to the dearest, by mean cost on the training rows; where costs are
/// absent, by price.
fn by_cost(catalog: &Catalog, train: &[Row]) -> Vec<usize> {
    let mean = |tier: usize| {
        let costs: Vec<f64> = train.iter().filter_map(|row| row.answers[tier]?.cost_usd).collect();
        match costs.is_empty() {
            true => catalog.tiers()[tier].cost_usd(1000.0, 1000.0),
            false => costs.iter().sum::<f64>() / costs.len() as f64,
        }
    };
    let mut order: Vec<usize> = (0..catalog.tiers().len()).collect();
    order.sort_by(|a, b| mean(*a).total_cmp(&mean(*b)).then(a.cmp(b)));
    order
}

/// Inputs, and the rank in `order` of the cheapest tier that is enough; the last rank where none is.
fn labelled(rows: &[Row], order: &[usize]) -> Vec<(SparseRow, usize)> {
    let of_row = |row: &Row| {
        let answers: Option<Vec<f64>> = order.iter().map(|tier| Some(row.answers[*tier]?.score)).collect();
        let rank = answers?.iter().position(|score| *score >= TARGET);
        let inputs = columns(&row.encoded).map(|(column, value)| (column as u32, value));
        Some((inputs.collect(), rank.unwrap_or(order.len() - 1)))
    };
    rows.iter().filter_map(of_row).collect()
}

fn cross_entropy(predicted: f64, target: f64) -> f64 {
    const LEAST: f64 = 1e-9;
    -(target * predicted.max(LEAST).ln() + (1.0 - target) * (1.0 - predicted).max(LEAST).ln())
}

#[cfg(test)]
mod tests {
    use tiercast_predictor::encoding::Encoded;
    use tiercast_routing::catalog::{Capabilities, Tier};

    use super::*;
    use crate::dataset::Answer;

    fn catalog() -> Catalog {
        let tier = |name: &str, price| Tier {
            name: name.to_owned(),
            class: 2,
            input_usd_per_mtok: price,
            output_usd_per_mtok: price,
            cached_input_usd_per_mtok: None,
            context_window: None,
            capabilities: Capabilities::default(),
            latency_p95_s: None,
        };
        Catalog::new(vec![tier("dear", 3.0), tier("cheap", 1.0)]).unwrap()
    }

    /// The sign of the input says whether the cheap tier (the second) is right.
    fn rows(n: usize) -> Vec<Row> {
        let answer = |is_right: bool| {
            Some(Answer {
                score: f64::from(u8::from(is_right)),
                output_tokens: None,
                visible_tokens: None,
                input_tokens: None,
                cost_usd: None,
            })
        };
        let row = |at: usize| {
            let value = if at.is_multiple_of(2) { 1.0 } else { -1.0 };
            Row {
                encoded: Encoded {
                    dense: vec![value],
                    key: Vec::new(),
                    ngrams: Vec::new(),
                    weights: Vec::new(),
                },
                prompt: at,
                answers: vec![answer(true), answer(value > 0.0)],
                task: None,
            }
        };
        (0..n).map(row).collect()
    }

    #[test]
    fn a_plain_sign_is_learnt() {
        let rows = rows(40);
        let classifier = fit_classifier(&catalog(), &rows, &rows, 1).unwrap();
        assert_eq!(classifier.order, [1, 0]);
        let chosen: Vec<usize> = rows[..2]
            .iter()
            .map(|row| classifier.choose(&row.encoded, 0.5))
            .collect();
        assert_eq!(chosen, [1, 0]);
    }

    #[test]
    fn nothing_to_learn_from() {
        let mut rows = rows(4);
        rows.iter_mut().for_each(|row| row.answers[0] = None);
        assert_eq!(fit_classifier(&catalog(), &rows, &rows, 1), None);
    }
}
