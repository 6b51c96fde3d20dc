//! A table of labels that cannot grow: whoever sends a million of them finds no room for the rest.
//!
//! Space-Saving (Metwally, Agrawal, El Abbadi 2005): a new label takes the place of the rarest, whose figures go
//! to the rest. Of `n` rows in a table of `most` labels, a label with more than `n / most` rows is always in
//! it at the end; how many of its rows may lie in the rest is known.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// What can be put together: the order in which parts are merged does not matter, up to rounding.
pub(crate) trait Fold: Clone + Default {
    fn merge(&mut self, other: &Self);
}

impl Fold for u64 {
    fn merge(&mut self, other: &Self) {
        *self += other;
    }
}

/// Figures by label.
#[derive(Debug, Clone)]
pub(crate) struct Bounded<K, V> {
    most: usize,
    rows: Vec<Row<K, V>>,
    index: HashMap<K, usize>,
    /// Where the last label was: neighbours often have the same one.
    last: usize,
    rest: V,
    has_rest: bool,
}

/// A label and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Row<K, V> {
    pub(crate) key: K,
    /// At least as many rows as there were of it.
    rank: u64,
    /// At most so many rows of it are in the rest.
    pub(crate) missed: u64,
    pub(crate) value: V,
}

impl<K: Clone + Eq + Hash + Ord, V: Fold> Bounded<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            rows: Vec::new(),
            index: HashMap::new(),
            last: 0,
            rest: V::default(),
            has_rest: false,
        }
    }

    /// The figures of a label, for one more row.
    #[inline]
    pub(crate) fn count(&mut self, key: &K) -> &mut V {
        let at = self.place(key);
        self.rows[at].rank += 1;
        self.last = at;
        &mut self.rows[at].value
    }

    /// The figures of a label for what came later than its row; those of the rest where it has no place.
    pub(crate) fn later(&mut self, key: &K) -> &mut V {
        match self.index.get(key) {
            Some(at) => &mut self.rows[*at].value,
            None => {
                self.has_rest = true;
                &mut self.rest
            }
        }
    }

    fn place(&mut self, key: &K) -> usize {
        if self.rows.get(self.last).is_some_and(|row| row.key == *key) {
            return self.last;
        }
        match self.index.get(key) {
            Some(at) => *at,
            None => self.admit(key),
        }
    }

    fn admit(&mut self, key: &K) -> usize {
        let at = if self.rows.len() < self.most {
            self.rows.push(Row::new(key.clone(), 0, V::default()));
            self.rows.len() - 1
        } else {
            self.replace_rarest(key)
        };
        self.index.insert(key.clone(), at);
        at
    }

    fn replace_rarest(&mut self, key: &K) -> usize {
        let rarest = self.rows.iter().enumerate().min_by_key(|(_, row)| row.rank);
        let (at, rank) = rarest.map_or((0, 0), |(at, row)| (at, row.rank));
        let old = std::mem::replace(&mut self.rows[at], Row::new(key.clone(), rank, V::default()));
        self.index.remove(&old.key);
        self.rest.merge(&old.value);
        self.has_rest = true;
        at
    }

    /// So many rows a label without a place may have had.
    fn unseen(&self) -> u64 {
        let least = self.rows.iter().map(|row| row.rank).min();
        least.filter(|_| self.has_rest).unwrap_or(0)
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let (ours, theirs) = (self.unseen(), other.unseen());
        let mut rows: BTreeMap<K, Row<K, V>> = BTreeMap::new();
        for mut row in std::mem::take(&mut self.rows) {
            if !other.index.contains_key(&row.key) {
                row.may_have_missed(theirs);
            }
            rows.insert(row.key.clone(), row);
        }
        for row in &other.rows {
            match rows.get_mut(&row.key) {
                Some(same) => same.merge(row),
                None => {
                    let mut row = row.clone();
                    row.may_have_missed(ours);
                    rows.insert(row.key.clone(), row);
                }
            }
        }
        self.rest.merge(&other.rest);
        self.has_rest |= other.has_rest;
        self.keep_most(rows.into_values().collect());
    }

    fn keep_most(&mut self, mut rows: Vec<Row<K, V>>) {
        rows.sort_by(|a, b| b.rank.cmp(&a.rank).then_with(|| a.key.cmp(&b.key)));
        for row in rows.drain(self.most.min(rows.len())..) {
            self.rest.merge(&row.value);
            self.has_rest = true;
        }
        self.index = (rows.iter().enumerate())
            .map(|(at, row)| (row.key.clone(), at))
            .collect();
        self.rows = rows;
        self.last = 0;
    }

    /// Rows by label.
    pub(crate) fn sorted(&self) -> Vec<&Row<K, V>> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }

    /// Figures of the labels without a place, where there were some.
    pub(crate) fn rest(&self) -> Option<&V> {
        self.has_rest.then_some(&self.rest)
    }

    /// Every value, also that of the rest.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.rows
            .iter_mut()
            .map(|row| &mut row.value)
            .chain(Some(&mut self.rest))
    }
}

impl<K, V: Fold> Row<K, V> {
    fn new(key: K, rank: u64, value: V) -> Self {
        Self {
            key,
            rank,
            missed: rank,
            value,
        }
    }

    fn may_have_missed(&mut self, n: u64) {
        self.rank += n;
        self.missed += n;
    }

    fn merge(&mut self, other: &Self) {
        self.rank += other.rank;
        self.missed += other.missed;
        self.value.merge(&other.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frequent_label_stays_among_a_million_others() {
        let mut table: Bounded<u64, u64> = Bounded::new(100);
        for i in 0..1_000_000_u64 {
            // One row in twenty is of label 7; every other row has a label of its own.
            *table.count(&if i % 20 == 0 { 7 } else { 1000 + i }) += 1;
        }
        assert_eq!((table.rows.len(), table.index.len()), (100, 100));
        let kept = table.rows.iter().find(|row| row.key == 7).unwrap();
        assert!(kept.value + kept.missed >= 50_000 && kept.value <= 50_000, "{kept:?}");
        let all: u64 = table.rows.iter().map(|row| row.value).sum::<u64>() + table.rest().unwrap();
        assert_eq!(all, 1_000_000);
    }

    #[test]
    fn merging_keeps_every_row_and_the_bound() {
        let fold = |range: std::ops::Range<u64>| {
            let mut table: Bounded<u64, u64> = Bounded::new(10);
            range.for_each(|i| *table.count(&(if i % 3 == 0 { 1 } else { i })) += 1);
            table
        };
        let mut table = fold(0..300);
        table.merge(&fold(300..900));
        assert_eq!(table.rows.len(), 10);
        let frequent = table.rows.iter().find(|row| row.key == 1).unwrap();
        assert!(
            frequent.value <= 301 && frequent.value + frequent.missed >= 301,
            "{frequent:?}"
        );
        assert_eq!(
            table.rows.iter().map(|row| row.value).sum::<u64>() + table.rest().unwrap(),
            900
        );
    }

    #[test]
    fn nothing_is_missed_where_all_labels_have_room() {
        let mut table: Bounded<u64, u64> = Bounded::new(3);
        [3, 1, 3, 2].iter().for_each(|key| *table.count(key) += 1);
        let found: Vec<_> = table
            .sorted()
            .iter()
            .map(|row| (row.key, row.value, row.missed))
            .collect();
        assert_eq!(found, [(1, 1, 0), (2, 1, 0), (3, 2, 0)]);
        assert_eq!(table.rest(), None);
    }
}
