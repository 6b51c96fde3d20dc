//! A bounded number of names, whatever comes.

use std::collections::{BTreeMap, BTreeSet};

use tiercast_records::journal::Label;
use tiercast_records::reference::OTHER;

/// The names that came first; all later ones are one.
#[derive(Debug)]
pub(super) struct Labels {
    known: BTreeSet<Label>,
    limit: usize,
    other: Label,
}

impl Labels {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            known: BTreeSet::new(),
            limit,
            other: OTHER.into(),
        }
    }

    /// The name itself, or that of the rest.
    pub(super) fn known(&mut self, label: &Label) -> Label {
        if self.known.contains(label) {
            return label.clone();
        }
        if self.known.len() >= self.limit {
            return self.other.clone();
        }
        self.known.insert(label.clone());
        label.clone()
    }
}

/// Counts by name.
pub(super) type Counts = BTreeMap<Label, f64>;

/// Two lists of counts over the names of both, in the order of the names.
pub(super) fn aligned(before: &Counts, after: &Counts) -> (Vec<Label>, Vec<f64>, Vec<f64>) {
    let names: BTreeSet<&Label> = before.keys().chain(after.keys()).collect();
    let of = |counts: &Counts| {
        names
            .iter()
            .map(|name| counts.get(*name).copied().unwrap_or(0.0))
            .collect()
    };
    let (before, after) = (of(before), of(after));
    (names.into_iter().cloned().collect(), before, after)
}

/// The name whose share grew most, with its shares before and after. `None` where one of the lists is empty.
pub(super) fn most_grown(before: &Counts, after: &Counts) -> Option<(Label, f64, f64)> {
    let (n_before, n_after): (f64, f64) = (before.values().sum(), after.values().sum());
    if n_before <= 0.0 || n_after <= 0.0 {
        return None;
    }
    let (names, before, after) = aligned(before, after);
    let shares = before.iter().zip(&after).map(|(b, a)| (b / n_before, a / n_after));
    (names.into_iter().zip(shares))
        .map(|(name, (before, after))| (name, before, after))
        .max_by(|x, y| (x.2 - x.1).total_cmp(&(y.2 - y.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_names_are_one() {
        let mut labels = Labels::new(2);
        let names = ["b", "a", "c", "b", "d"].map(Label::from);
        let known = names.map(|name| labels.known(&name).to_string());
        assert_eq!(known, ["b", "a", OTHER, "b", OTHER]);
    }

    #[test]
    fn growth_by_hand() {
        let counts = |pairs: &[(&str, f64)]| -> Counts { pairs.iter().map(|(name, n)| ((*name).into(), *n)).collect() };
        let (before, after) = (
            counts(&[("a", 8.0), ("b", 2.0)]),
            counts(&[("b", 3.0), ("c", 2.0), ("a", 5.0)]),
        );
        assert_eq!(most_grown(&before, &after), Some(("c".into(), 0.0, 0.2)));
        assert_eq!(most_grown(&Counts::new(), &after), None);
    }
}
