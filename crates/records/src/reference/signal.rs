//! A surface signal in bins of about equal size.

use serde::{Deserialize, Serialize};

/// Share that a bin has at least, so that a window of some hundred rows has enough of each.
const BIN_SHARE: f64 = 0.1;
/// Share below which the last bin goes to the one before it.
const LEAST_SHARE: f64 = 0.04;

/// Bins of a surface signal with the number of rows in each.
///
/// The first bin is below all that was seen and the last above it; both are empty. They show a signal that
/// leaves its range, even one that never varied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Its name.
    pub name: String,
    /// Upper edges of all bins but the last, ascending. The first bin ends before its edge, the others at theirs.
    pub edges: Vec<f32>,
    /// Rows in each bin; one bin more than there are edges.
    pub counts: Vec<u64>,
}

impl Signal {
    /// From one finite value at least. Equal values stay in one bin.
    pub(super) fn fit(name: &str, mut values: Vec<f32>) -> Self {
        values.sort_by(f32::total_cmp);
        let (n, mut edges, mut counts) = (values.len() as f64, vec![values[0]], vec![0]);
        let mut in_bin = 0_u64;
        for (at, value) in values.iter().enumerate() {
            in_bin += 1;
            let is_last_of_equals = values.get(at + 1) != Some(value);
            if is_last_of_equals && in_bin as f64 >= BIN_SHARE * n {
                edges.push(*value);
                counts.push(in_bin);
                in_bin = 0;
            }
        }
        let highest = values[values.len() - 1];
        if in_bin > 0 && (counts.len() == 1 || in_bin as f64 >= LEAST_SHARE * n) {
            edges.push(highest);
            counts.push(in_bin);
        } else if let (Some(edge), Some(count)) = (edges.last_mut(), counts.last_mut()) {
            *edge = highest;
            *count += in_bin;
        }
        counts.push(0);
        Self {
            name: name.to_owned(),
            edges,
            counts,
        }
    }

    /// Bin of a value; that of a value that is no number is the last.
    pub fn bin(&self, value: f32) -> usize {
        match self.edges.first() {
            Some(lowest) if value < *lowest => 0,
            _ => 1 + self.edges[1..].partition_point(|edge| *edge < value || value.is_nan()),
        }
    }

    /// Whether edges ascend and all rows are counted.
    pub(super) fn is_valid(&self, n_rows: u64) -> bool {
        self.edges.len() >= 2
            && self.counts.len() == self.edges.len() + 1
            && self.edges.iter().all(|edge| edge.is_finite())
            && self.edges.is_sorted()
            && self.counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count)) == Some(n_rows)
    }
}
