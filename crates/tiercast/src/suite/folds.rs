//! Which rows are trained on, chosen on and tested in each fold. Pure.
//!
//! A fold is a split per prompt. What takes no part in it is `holdout`, which nothing reads.

use std::collections::{BTreeMap, BTreeSet};

use tiercast_records::outcomes::{Outcomes, Prompt, Split};

/// Folds of every protocol that has them.
pub(crate) const N_FOLDS: u64 = 5;

/// One in so many of the prompts that are not tested is for validation.
const VALIDATION_SHARE: u64 = 10;

/// One in so many of few labels is for validation: a tenth of 1,500 is too little to calibrate on.
const VALIDATION_SHARE_OF_LABELS: usize = 6;

/// A split per prompt.
pub(crate) type Fold = Vec<Split>;

/// Folds by question: equal questions have equal keys, so duplicates stay together.
pub(crate) fn by_question(outcomes: &Outcomes) -> Vec<Fold> {
    let split = |fold: u64, prompt: &Prompt| {
        let number = number(&prompt.split_key);
        if number % N_FOLDS == fold {
            Split::Test
        } else if (number / N_FOLDS).is_multiple_of(VALIDATION_SHARE) {
            Split::Validation
        } else {
            Split::Train
        }
    };
    let fold = |fold| outcomes.prompts.iter().map(|prompt| split(fold, prompt)).collect();
    (0..N_FOLDS).map(fold).collect()
}

/// Folds by subset: whole subsets are tested, and others are for validation, so that training stops
/// and calibrates on subsets it has not seen either. Questions of tested subsets are nowhere else.
pub(crate) fn by_subset(outcomes: &Outcomes) -> Vec<Fold> {
    let fold_of = balanced(&subset_sizes(outcomes), N_FOLDS as usize);
    (0..N_FOLDS as usize)
        .map(|fold| subset_fold(outcomes, &fold_of, fold))
        .collect()
}

fn subset_fold(outcomes: &Outcomes, fold_of: &BTreeMap<&str, usize>, fold: usize) -> Fold {
    let is_tested = |prompt: &Prompt| fold_of[prompt.subset.as_str()] == fold;
    let tested: BTreeSet<&str> = keys(outcomes, is_tested);
    let mut rest = subset_sizes(outcomes);
    rest.retain(|subset, _| fold_of[subset] != fold);
    // Of the other subsets a tenth of the prompts, but one subset at least.
    let validation_of = balanced(&rest, (VALIDATION_SHARE as usize).min(rest.len()));
    let is_validation = |prompt: &Prompt| validation_of.get(prompt.subset.as_str()) == Some(&0);
    let validation: BTreeSet<&str> = keys(outcomes, is_validation);
    let split = |prompt: &Prompt| match prompt.split_key.as_str() {
        _ if is_tested(prompt) => Split::Test,
        key if tested.contains(key) => Split::Holdout,
        _ if is_validation(prompt) => Split::Validation,
        key if validation.contains(key) => Split::Holdout,
        _ => Split::Train,
    };
    outcomes.prompts.iter().map(split).collect()
}

fn keys(outcomes: &Outcomes, is_in: impl Fn(&Prompt) -> bool) -> BTreeSet<&str> {
    let inside = outcomes.prompts.iter().filter(|prompt| is_in(prompt));
    inside.map(|prompt| prompt.split_key.as_str()).collect()
}

fn subset_sizes(outcomes: &Outcomes) -> BTreeMap<&str, usize> {
    let mut sizes = BTreeMap::new();
    for prompt in &outcomes.prompts {
        *sizes.entry(prompt.subset.as_str()).or_default() += 1;
    }
    sizes
}

/// Groups of nearly equal size: the largest first, each to the smallest group so far.
fn balanced<'a>(sizes: &BTreeMap<&'a str, usize>, n_groups: usize) -> BTreeMap<&'a str, usize> {
    let mut order: Vec<(&str, usize)> = sizes.iter().map(|(name, size)| (*name, *size)).collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let mut filled = vec![0; n_groups];
    let place = |(name, size)| {
        let group = (0..n_groups).min_by_key(|group| filled[*group]).unwrap_or(0);
        filled[group] += size;
        (name, group)
    };
    order.into_iter().map(place).collect()
}

/// The fold with `labels` prompts in train and validation together, a sixth of them validation; the
/// others are left out.
pub(crate) fn with_labels(outcomes: &Outcomes, fold: Fold, labels: usize) -> Fold {
    let n_validation = labels / VALIDATION_SHARE_OF_LABELS;
    let fold = thinned(outcomes, fold, Split::Validation, n_validation);
    thinned(outcomes, fold, Split::Train, labels - n_validation)
}

fn thinned(outcomes: &Outcomes, mut fold: Fold, split: Split, n: usize) -> Fold {
    let mut inside: Vec<usize> = (0..fold.len()).filter(|prompt| fold[*prompt] == split).collect();
    // In an order that has nothing to do with the folds or the subsets.
    inside.sort_by_key(|prompt| fnv(&format!("labels {}", outcomes.prompts[*prompt].prompt_id)));
    inside
        .into_iter()
        .skip(n)
        .for_each(|prompt| fold[prompt] = Split::Holdout);
    fold
}

/// For transfer: `tested` rows of the set left out are test, its other rows take no part, and the
/// other sets are divided by question as `divided` says.
pub(crate) fn leaving_out(divided: &[Split], is_left_out: &[bool], tested: Split) -> Fold {
    let split = |(split, is_left_out): (&Split, &bool)| match (is_left_out, *split) {
        (true, split) if split == tested => Split::Test,
        (true, _) => Split::Holdout,
        (false, split @ (Split::Train | Split::Validation)) => split,
        (false, _) => Split::Holdout,
    };
    divided.iter().zip(is_left_out).map(split).collect()
}

/// The same inside the train split: every row of the set left out is test, and of the others a tenth
/// is for validation.
pub(crate) fn leaving_out_inside(outcomes: &Outcomes, is_left_out: &[bool]) -> Fold {
    let split = |(prompt, is_left_out): (&Prompt, &bool)| {
        let is_validation = (number(&prompt.split_key) / N_FOLDS).is_multiple_of(VALIDATION_SHARE);
        match (is_left_out, is_validation) {
            (true, _) => Split::Test,
            (false, true) => Split::Validation,
            (false, false) => Split::Train,
        }
    };
    outcomes.prompts.iter().zip(is_left_out).map(split).collect()
}

/// The second eight hex digits of the key, which the file's split does not depend on; a hash of keys
/// that are not made that way.
pub(crate) fn number(key: &str) -> u64 {
    let digits = key.get(8..16).filter(|_| key.len() == 16);
    digits
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .unwrap_or_else(|| fnv(key))
}

/// 64-bit FNV-1a: the same order on every platform.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prompt i has the number `key(i)` in its key, and subset i % 7.
    fn outcomes(n: usize, key: fn(usize) -> usize) -> Outcomes {
        let prompt = |i: usize| Prompt {
            prompt_id: format!("{i:016x}"),
            split_key: format!("00000000{:08x}", key(i)),
            split: Split::Train,
            dataset: "d".to_owned(),
            subset: format!("s{}", i % 7),
            domain: "d".to_owned(),
            text: None,
        };
        Outcomes {
            prompts: (0..n).map(prompt).collect(),
            ..Outcomes::default()
        }
    }

    fn count(fold: &Fold, split: Split) -> usize {
        fold.iter().filter(|found| **found == split).count()
    }

    fn check_tested_once(folds: &[Fold], n: usize) {
        for prompt in 0..n {
            assert_eq!(folds.iter().filter(|fold| fold[prompt] == Split::Test).count(), 1);
        }
    }

    /// No key is in two of train, validation and test.
    fn check_keys_stay_together(outcomes: &Outcomes, folds: &[Fold]) {
        for fold in folds {
            let mut split_of = BTreeMap::new();
            for (prompt, split) in outcomes
                .prompts
                .iter()
                .zip(fold)
                .filter(|(_, split)| **split != Split::Holdout)
            {
                assert_eq!(split_of.entry(&prompt.split_key).or_insert(*split), split);
            }
        }
    }

    #[test]
    fn every_question_is_tested_once_and_stays_together() {
        let outcomes = outcomes(1000, |i| i / 2);
        let folds = by_question(&outcomes);
        check_tested_once(&folds, 1000);
        check_keys_stay_together(&outcomes, &folds);
        for fold in &folds {
            assert_eq!(
                [Split::Test, Split::Validation].map(|split| count(fold, split)),
                [200, 80]
            );
        }
    }

    #[test]
    fn whole_subsets_are_held_out() {
        // One in ten has the question of its neighbour, which is in another subset.
        let outcomes = outcomes(700, |i| if i % 10 == 1 { i - 1 } else { i });
        let folds = by_subset(&outcomes);
        check_tested_once(&folds, 700);
        check_keys_stay_together(&outcomes, &folds);
        for fold in &folds {
            let subsets = |split| -> BTreeSet<&str> {
                let inside = outcomes.prompts.iter().zip(fold).filter(|(_, found)| **found == split);
                inside.map(|(prompt, _)| prompt.subset.as_str()).collect()
            };
            let [test, validation, train] = [Split::Test, Split::Validation, Split::Train].map(subsets);
            assert!(test.is_disjoint(&train) && test.is_disjoint(&validation) && validation.is_disjoint(&train));
            assert!(!test.is_empty() && !validation.is_empty() && !train.is_empty());
        }
    }

    #[test]
    fn few_labels_are_the_same_few() {
        let outcomes = outcomes(1000, |i| i / 2);
        let fold = || with_labels(&outcomes, by_question(&outcomes).remove(0), 120);
        assert_eq!(fold(), fold());
        assert_eq!(
            [Split::Train, Split::Validation, Split::Test].map(|split| count(&fold(), split)),
            [100, 20, 200]
        );
    }

    #[test]
    fn nothing_of_the_set_left_out_is_trained_on() {
        let divided = [Split::Train, Split::Validation, Split::Test, Split::Train, Split::Test];
        let fold = leaving_out(&divided, &[true, true, true, false, false], Split::Test);
        assert_eq!(
            fold,
            [
                Split::Holdout,
                Split::Holdout,
                Split::Test,
                Split::Train,
                Split::Holdout
            ]
        );
    }

    #[test]
    fn numbers_of_keys() {
        assert_eq!(number("ffffffff00000010"), 16);
        assert_eq!(number("not a key"), fnv("not a key"));
    }
}
