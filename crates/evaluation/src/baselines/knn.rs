//! Nearest neighbours by cosine of the embedding, and the same with permuted outcomes as a control.

use rayon::prelude::*;

use super::{Predicted, choose, shuffled};
use crate::report::MethodKind;
use crate::study::{Rows, Study, Table};

/// Neighbours tried.
const NEIGHBOURS: [usize; 7] = [10, 20, 50, 100, 150, 200, 400];
const MOST: usize = 400;

/// The baseline and its control; `None` when a training prompt has no embedding.
pub(super) fn fit(study: &Study<'_>) -> Option<(Predicted, Predicted)> {
    let embedding = |prompt: &usize| study.inputs.features[*prompt].embedding.as_slice();
    if study.train.prompts.iter().any(|prompt| embedding(prompt).is_empty()) {
        return None;
    }
    let known: Vec<&[i8]> = study.train.prompts.iter().map(embedding).collect();
    let lengths: Vec<f32> = known.iter().map(|known| length(known)).collect();
    let of = |rows: &Rows| -> Vec<Vec<u32>> {
        rows.prompts
            .par_iter()
            .map(|prompt| nearest(embedding(prompt), &known, &lengths))
            .collect()
    };
    let (validation, items) = (of(&study.validation), of(&study.items));
    let quality = &study.train.quality;
    let candidates = NEIGHBOURS.map(|k| average(quality, &validation, k));
    let k = NEIGHBOURS[choose(study, &candidates)];
    let predicted = |quality: &Table| Predicted {
        name: "knn".to_owned(),
        label: "kNN on embeddings".to_owned(),
        kind: MethodKind::Learned,
        setting: format!("k = {k} of {NEIGHBOURS:?}"),
        validation: average(quality, &validation, k),
        items: average(quality, &items, k),
    };
    let control = Predicted {
        name: "shuffled".to_owned(),
        label: "Shuffled labels (kNN)".to_owned(),
        kind: MethodKind::Control,
        ..predicted(&shuffled(quality, study.inputs.seed))
    };
    Some((predicted(quality), control))
}

/// Training items by falling cosine, at most [`MOST`]; ties go to the earlier.
fn nearest(query: &[i8], known: &[&[i8]], lengths: &[f32]) -> Vec<u32> {
    let cosine = |item: usize| dot(query, known[item]) as f32 / lengths[item];
    let mut order: Vec<(f32, u32)> = (0..known.len())
        .zip(0..)
        .map(|(item, index)| (cosine(item), index))
        .collect();
    let by_cosine = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if order.len() > MOST {
        order.select_nth_unstable_by(MOST, by_cosine);
        order.truncate(MOST);
    }
    order.sort_by(by_cosine);
    order.into_iter().map(|(_, index)| index).collect()
}

fn dot(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

/// At least one, so that an embedding of zeros is far from all.
fn length(embedding: &[i8]) -> f32 {
    (dot(embedding, embedding) as f32).sqrt().max(1.0)
}

fn average(quality: &Table, neighbours: &[Vec<u32>], k: usize) -> Table {
    let n_tiers = quality.row(0).len();
    let mean = |nearest: &Vec<u32>| {
        let nearest = &nearest[..k.min(nearest.len())];
        let total = |tier| nearest.iter().map(|item| quality.at(*item as usize, tier)).sum::<f64>();
        (0..n_tiers).map(|tier| total(tier) / nearest.len() as f64).collect()
    };
    Table::from_rows(n_tiers, &neighbours.iter().map(mean).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_by_angle_not_by_length() {
        let known: [&[i8]; 3] = [&[100, 100], &[0, 10], &[100, 0]];
        let lengths = known.map(length);
        assert_eq!(nearest(&[0, 50], &known, &lengths), [1, 0, 2]);
    }

    #[test]
    fn average_over_fewer_than_k() {
        let quality = Table::from_rows(1, &[vec![1.0], vec![0.0]]);
        assert_eq!(average(&quality, &[vec![0, 1], vec![1, 0]], 1).values(), [1.0, 0.0]);
        assert_eq!(average(&quality, &[vec![0, 1]], 10).values(), [0.5]);
    }
}
