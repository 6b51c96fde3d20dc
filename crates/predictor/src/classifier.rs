//! The policy `classifier`: predicts the cheapest tier that is good enough, without predicting quality.
//!
//! Ordinal classes as a chain of binary questions, "is one of the k cheapest tiers enough?", each a logistic
//! regression on the inputs of the network (Frank and Hall 2001, "A simple approach to ordinal
//! classification"). Fitted by `trainer`; the comparison that the network has to win.

use serde::{Deserialize, Serialize};

use crate::encoding::Encoded;

/// The fitted classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classifier {
    /// Quality from which a tier is enough.
    pub target: f64,
    /// Tiers, by position in the catalog, cheapest first.
    pub order: Vec<usize>,
    /// Inputs: the dense ones, then the n-grams.
    pub n_columns: usize,
    /// `[order.len() - 1, n_columns + 1]`; the last column is the intercept.
    #[serde(skip)]
    pub weights: Vec<f32>,
}

impl Classifier {
    /// P(one of the k cheapest tiers is enough) for k = 1, 2, ...; never falling, and 1 for all of them:
    /// there is no dearer one.
    pub fn enough(&self, row: &Encoded) -> Vec<f64> {
        let mut least = 0.0_f64;
        let questions = self.weights.chunks_exact(self.n_columns + 1);
        let asked = questions.map(|weights| {
            least = least.max(self.answer(weights, row));
            least
        });
        let mut enough: Vec<f64> = asked.collect();
        enough.push(1.0);
        enough
    }

    /// The cheapest tier, by position in the catalog, that is enough with this probability.
    pub fn choose(&self, row: &Encoded, confidence: f64) -> usize {
        let enough = self.enough(row);
        let place = enough.iter().position(|share| *share >= confidence);
        self.order[place.unwrap_or(self.order.len() - 1)]
    }

    fn answer(&self, weights: &[f32], row: &Encoded) -> f64 {
        let mut sum = f64::from(weights[self.n_columns]);
        for (column, value) in columns(row) {
            sum += f64::from(weights[column]) * f64::from(value);
        }
        1.0 / (1.0 + (-sum).exp())
    }

    /// As bytes, little endian.
    pub fn weights_to_bytes(&self) -> Vec<u8> {
        self.weights.iter().flat_map(|weight| weight.to_le_bytes()).collect()
    }

    /// The same with weights from bytes; says what does not fit a catalog of `n_tiers` and `n_columns` inputs.
    pub fn with_weights(mut self, bytes: &[u8], n_tiers: usize, n_columns: usize) -> Result<Self, String> {
        let mut seen = self.order.clone();
        seen.sort_unstable();
        if seen != (0..n_tiers).collect::<Vec<_>>() {
            return Err(format!("its order {:?} is not one of {n_tiers} tiers", self.order));
        }
        if self.n_columns != n_columns || bytes.len() != (n_tiers - 1) * (n_columns + 1) * size_of::<f32>() {
            return Err(format!("it is not for {n_tiers} tiers and {n_columns} inputs"));
        }
        let four = |chunk: &[u8]| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        self.weights = bytes.chunks_exact(4).map(four).collect();
        if self.weights.iter().any(|weight| !weight.is_finite()) {
            return Err("a weight is not finite".to_owned());
        }
        Ok(self)
    }
}

/// The inputs of a row that are not zero: (column, value).
pub fn columns(row: &Encoded) -> impl Iterator<Item = (usize, f32)> {
    let dense = row.dense.iter().copied().enumerate();
    let ngrams = row.ngrams.iter().map(|position| row.dense.len() + *position as usize);
    dense.chain(ngrams.zip(row.weights.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three tiers, two inputs; the second question is answered lower than the first.
    fn classifier() -> Classifier {
        Classifier {
            target: 0.5,
            order: vec![2, 0, 1],
            n_columns: 2,
            weights: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        }
    }

    fn row(dense: f32, ngram: f32) -> Encoded {
        Encoded {
            dense: vec![dense],
            key: Vec::new(),
            ngrams: vec![0],
            weights: vec![ngram],
        }
    }

    #[test]
    fn more_tiers_are_never_less_enough() {
        let enough = classifier().enough(&row(1.0, -1.0));
        assert!((enough[0] - 0.731_058_578_6).abs() < 1e-9 && enough[1] == enough[0]);
        assert_eq!(enough[2], 1.0);
    }

    #[test]
    fn the_cheapest_that_is_enough() {
        let cases = [
            ((1.0, 0.0), 0.6, 2),
            ((-1.0, 1.0), 0.6, 0),
            ((-1.0, -1.0), 0.6, 1),
            ((-9.0, -9.0), 0.0, 2),
        ];
        for ((dense, ngram), confidence, expected) in cases {
            assert_eq!(
                classifier().choose(&row(dense, ngram), confidence),
                expected,
                "{dense} {ngram}"
            );
        }
    }

    #[test]
    fn bytes_come_back_and_others_are_refused() {
        let (whole, bytes) = (classifier(), classifier().weights_to_bytes());
        let bare = || Classifier {
            weights: Vec::new(),
            ..classifier()
        };
        assert_eq!(bare().with_weights(&bytes, 3, 2).unwrap(), whole);
        assert!(bare().with_weights(&bytes, 3, 1).is_err());
        assert!(bare().with_weights(&bytes, 2, 2).is_err());
        assert!(bare().with_weights(&bytes[4..], 3, 2).is_err());
    }
}
