//! Which training rows are left out together, so that every view is also seen on rows it was not
//! fitted on.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tiercast_records::outcomes::Prompt;

/// Groups of tasks that are left out whole.
const TASK_GROUPS: usize = 4;

/// The fold of a prompt, by the key of its bare question: duplicates stay together.
pub fn fold_of(prompt: &Prompt, n_folds: usize) -> usize {
    fold_of_key(&prompt.split_key, n_folds)
}

/// The fold of a question's key.
pub fn fold_of_key(split_key: &str, n_folds: usize) -> usize {
    // FNV-1a: keys may be of any form.
    let hash = split_key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    ((hash >> 32) % n_folds as u64) as usize
}

/// Whether a prompt is kept apart for a certificate: half of them, by the key of the bare question.
pub fn is_kept_apart(prompt: &Prompt) -> bool {
    Sha256::digest(&prompt.split_key)[0] & 1 == 1
}

/// Groups of whole data sets, or of whole tasks where there is one data set. Balanced by number of
/// prompts. Empty where there is only one of them: then nothing can be left out whole.
pub fn task_groups(prompts: &[&Prompt]) -> BTreeMap<String, usize> {
    let count = |label: fn(&Prompt) -> String| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for prompt in prompts {
            *counts.entry(label(prompt)).or_default() += 1;
        }
        counts
    };
    let mut counts = count(|prompt| prompt.dataset.clone());
    if counts.len() < 2 {
        counts = count(label_inside);
    }
    if counts.len() < 2 {
        return BTreeMap::new();
    }
    let mut labels: Vec<(String, usize)> = counts.into_iter().collect();
    labels.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut sizes = vec![0; TASK_GROUPS.min(labels.len())];
    let mut groups = BTreeMap::new();
    for (label, count) in labels {
        let smallest = (0..sizes.len()).min_by_key(|group| sizes[*group]).unwrap_or(0);
        sizes[smallest] += count;
        groups.insert(label, smallest);
    }
    groups
}

/// The group of a prompt, if its data set or task has one.
pub fn group_of(prompt: &Prompt, groups: &BTreeMap<String, usize>) -> Option<usize> {
    groups
        .get(&prompt.dataset)
        .or_else(|| groups.get(&label_inside(prompt)))
        .copied()
}

fn label_inside(prompt: &Prompt) -> String {
    let label = if prompt.subset.is_empty() {
        &prompt.domain
    } else {
        &prompt.subset
    };
    format!("{}/{label}", prompt.dataset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiercast_records::outcomes::Split;

    fn prompt(dataset: &str, subset: &str, key: &str) -> Prompt {
        Prompt {
            prompt_id: String::new(),
            split_key: key.to_owned(),
            split: Split::Train,
            dataset: dataset.to_owned(),
            subset: subset.to_owned(),
            domain: String::new(),
            text: None,
        }
    }

    #[test]
    fn duplicates_share_a_fold_and_folds_are_of_like_size() {
        let mut sizes = [0; 5];
        for key in 0..5000 {
            let key = format!("{key:016x}");
            let fold = fold_of(&prompt("a", "b", &key), 5);
            assert_eq!(fold, fold_of(&prompt("c", "d", &key), 5));
            sizes[fold] += 1;
        }
        assert!(sizes.iter().all(|size| (800..1200).contains(size)), "{sizes:?}");
    }

    #[test]
    fn data_sets_before_tasks_and_none_where_there_is_one() {
        let two = [prompt("a", "x", ""), prompt("a", "y", ""), prompt("b", "x", "")];
        let groups = task_groups(&two.iter().collect::<Vec<_>>());
        assert_eq!(group_of(&two[0], &groups), group_of(&two[1], &groups));
        assert_ne!(group_of(&two[0], &groups), group_of(&two[2], &groups));
        let one = [prompt("a", "x", ""), prompt("a", "y", ""), prompt("a", "y", "")];
        let groups = task_groups(&one.iter().collect::<Vec<_>>());
        assert_eq!(
            (group_of(&one[0], &groups), group_of(&one[1], &groups)),
            (Some(1), Some(0))
        );
        assert!(task_groups(&[&one[0]]).is_empty());
    }
}
