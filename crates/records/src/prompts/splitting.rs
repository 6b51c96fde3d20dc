//! Which split each prompt gets: as given, else that of the cluster of near-duplicates it is in.

use std::collections::BTreeMap;

use super::fields::Candidate;
use super::near_duplicates;
use crate::outcomes::Split;
use crate::split::split_of_key;

/// Crossing clusters shown in a warning.
const MAX_SHOWN: usize = 3;

/// Gives every candidate its split. Returns warnings and how many prompts have a near-duplicate.
pub(super) fn assign(candidates: &mut [Candidate]) -> (Vec<String>, usize) {
    let clusters = clusters(candidates);
    let n_near = clusters.iter().filter(|members| members.len() > 1).map(Vec::len).sum();
    let crossing: Vec<&Vec<usize>> = clusters.iter().filter(|members| settle(members, candidates)).collect();
    (warning(&crossing, candidates).into_iter().collect(), n_near)
}

/// Members of each cluster, by split key, whatever the order of the file.
fn clusters(candidates: &[Candidate]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&i| (&candidates[i].prompt.split_key, &candidates[i].prompt.prompt_id));
    let questions: Vec<&str> = order.iter().map(|&i| candidates[i].question.as_str()).collect();
    let roots = near_duplicates::clusters(&questions);
    // Those of one given key belong together, whatever their questions say.
    let mut of_key: BTreeMap<&str, usize> = BTreeMap::new();
    let mut merged: Vec<usize> = (0..candidates.len()).collect();
    for (at, &i) in order.iter().enumerate() {
        let first = *of_key.entry(&candidates[i].prompt.split_key).or_insert(roots[at]);
        let (a, b) = (resolve(&merged, first), resolve(&merged, roots[at]));
        merged[a.max(b)] = a.min(b);
    }
    let mut clusters: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, &i) in order.iter().enumerate() {
        clusters.entry(resolve(&merged, roots[at])).or_default().push(i);
    }
    clusters.into_values().collect()
}

fn resolve(merged: &[usize], mut at: usize) -> usize {
    while merged[at] != at {
        at = merged[at];
    }
    at
}

/// Settles the splits of one cluster. True if those given cross it.
fn settle(members: &[usize], candidates: &mut [Candidate]) -> bool {
    let given: Vec<Split> = members.iter().filter_map(|&i| candidates[i].given).collect();
    // A given split outranks the key: what has none joins those that have one.
    let smallest = split_of_key(&candidates[members[0]].prompt.split_key);
    let joined = given.first().copied().or(smallest);
    for &i in members {
        let candidate = &mut candidates[i];
        candidate.prompt.split = candidate.given.or(joined).unwrap_or(candidate.prompt.split);
    }
    given.iter().any(|split| *split != given[0])
}

fn warning(crossing: &[&Vec<usize>], candidates: &[Candidate]) -> Option<String> {
    let example = |members: &&Vec<usize>| {
        let first = &candidates[members[0]];
        let other = members.iter().map(|&i| &candidates[i]);
        let other = other
            .clone()
            .find(|other| other.given.is_some() && other.prompt.split != first.prompt.split)?;
        let (a, b) = (first.prompt.split.name(), other.prompt.split.name());
        Some(format!("{} in {a} and {} in {b}", first.spot, other.spot))
    };
    let examples: Vec<String> = crossing.iter().take(MAX_SHOWN).filter_map(example).collect();
    (!crossing.is_empty()).then(|| {
        format!(
            "{} groups of near-duplicate questions cross the splits that the file gives, such as {}. They are kept as \
             given; leave `split` out and each group gets one split",
            crossing.len(),
            examples.join("; ")
        )
    })
}
