//! Questions that say nearly the same, found without comparing every pair: MinHash signatures
//! (Broder, "On the resemblance and containment of documents", 1997) in bands (Leskovec, Rajaraman
//! and Ullman, "Mining of Massive Datasets", section 3.4). A band only proposes a pair; whether it
//! holds is computed on the shingles themselves, so nothing is joined by chance.

use std::collections::HashMap;

/// Words in a shingle: enough for order to count, few enough for a short question to have some.
const SHINGLE_WORDS: usize = 3;

/// Shared share of shingles from which two questions count as one.
/// One word changed among twenty-five leaves three quarters.
const RESEMBLANCE: f64 = 0.7;

/// At a resemblance of 0.7 a pair shares a band with probability 1 - (1 - 0.7^4)^30 > 0.999.
const BANDS: usize = 30;
const ROWS: usize = 4;

/// Earlier questions of a band that one is compared with: bounds the work where a template makes
/// thousands of questions alike but not alike enough.
const MAX_COMPARED: usize = 16;

/// Per question, which are normalised: the index of the first of its cluster.
pub(super) fn clusters(questions: &[&str]) -> Vec<usize> {
    let shingles: Vec<Vec<u32>> = questions.iter().map(|question| shingles(question)).collect();
    let seeds: Vec<u64> = (1..=(BANDS * ROWS) as u64).map(mixed).collect();
    let mut forest = Forest::new(questions.len());
    for band in seeds.chunks(ROWS) {
        join(&shingles, &buckets(&shingles, band), &mut forest);
    }
    (0..questions.len()).map(|question| forest.root(question)).collect()
}

/// Questions whose signatures agree in every row of a band, in order.
fn buckets(shingles: &[Vec<u32>], band: &[u64]) -> Vec<Vec<usize>> {
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut buckets: Vec<Vec<usize>> = Vec::new();
    for (question, shingles) in shingles.iter().enumerate() {
        let least = |seed: &u64| shingles.iter().map(|shingle| mixed(seed ^ u64::from(*shingle))).min();
        let key = band
            .iter()
            .fold(0, |key, seed| mixed(key ^ least(seed).unwrap_or_default()));
        let place = *places.entry(key).or_insert(buckets.len());
        if place == buckets.len() {
            buckets.push(Vec::new());
        }
        buckets[place].push(question);
    }
    buckets.retain(|bucket| bucket.len() > 1);
    buckets
}

fn join(shingles: &[Vec<u32>], buckets: &[Vec<usize>], forest: &mut Forest) {
    for bucket in buckets {
        for (at, &question) in bucket.iter().enumerate() {
            for &earlier in bucket[..at].iter().rev().take(MAX_COMPARED) {
                let is_joined = forest.root(earlier) == forest.root(question);
                if !is_joined && resemblance(&shingles[earlier], &shingles[question]) >= RESEMBLANCE {
                    forest.join(earlier, question);
                }
            }
        }
    }
}

/// Hashes of the runs of words, sorted, each once. A question shorter than a run is one by itself.
fn shingles(question: &str) -> Vec<u32> {
    let words: Vec<&str> = question.split(' ').collect();
    let mut hashes: Vec<u32> = words
        .windows(SHINGLE_WORDS.min(words.len()))
        .map(|run| hash(run) as u32)
        .collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// Jaccard similarity of two sorted sets.
fn resemblance(a: &[u32], b: &[u32]) -> f64 {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        let (x, y) = (a[i], b[j]);
        shared += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    shared as f64 / (a.len() + b.len() - shared) as f64
}

/// FNV-1a over the words of a run and the gaps between them.
fn hash(run: &[&str]) -> u64 {
    let bytes = run.iter().flat_map(|word| word.bytes().chain([b' ']));
    mixed(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}

/// The finaliser of SplitMix64: every bit of the input reaches every bit of the output.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Disjoint sets; the root is the least member.
struct Forest {
    parents: Vec<usize>,
}

impl Forest {
    fn new(n: usize) -> Self {
        Self {
            parents: (0..n).collect(),
        }
    }

    fn root(&mut self, mut member: usize) -> usize {
        while self.parents[member] != member {
            self.parents[member] = self.parents[self.parents[member]];
            member = self.parents[member];
        }
        member
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(questions: &[&str], expected: &[usize]) {
        assert_eq!(clusters(questions), expected, "{questions:?}");
    }

    #[test]
    fn what_says_nearly_the_same_is_one() {
        let long = "a train leaves the station at nine and travels at sixty miles an hour to the next town where does it meet the other one if both keep the same speed all the way and neither of them ever has to stop";
        let changed = long.replace("sixty", "seventy");
        check(&[long, &changed, "what is rust"], &[0, 0, 2]);
        check(&["what is 17 x 23", "what is 17 x 24"], &[0, 1]);
        check(&["rust", "rust", "go", ""], &[0, 0, 2, 3]);
        check(&[], &[]);
    }

    #[test]
    fn resemblance_is_the_shared_share() {
        let check = |a: &[u32], b: &[u32], expected: f64| assert!((resemblance(a, b) - expected).abs() < 1e-12);
        check(&[1, 2, 3], &[2, 3, 4], 0.5);
        check(&[1], &[1], 1.0);
        check(&[1], &[2], 0.0);
    }

    #[test]
    fn a_chain_is_one_cluster() {
        let words: Vec<String> = (0..100).map(|n| format!("w{n}")).collect();
        let text = |from: usize| words[from..from + 60].join(" ");
        let texts = [text(0), text(4), text(8), text(12)];
        let questions: Vec<&str> = texts.iter().map(String::as_str).collect();
        check(&questions, &[0, 0, 0, 0]);
    }
}
