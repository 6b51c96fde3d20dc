//! The rows of a suite: read, narrowed, renamed and pooled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tiercast_predictor::checkpoint::DataFile;
use tiercast_records::features::{self, Features};
use tiercast_records::outcomes::{self, Model, Outcome, Outcomes, ReadOptions, Split};

use super::definition::Set;
use crate::commands::features_with;
use crate::encoders;

/// Where reference figures lie when the data folder has no such file.
const REFERENCE: &str = "datasets/reference";

/// Outcomes and, per encoder, features parallel to their prompts.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    pub(crate) outcomes: Outcomes,
    pub(crate) features: BTreeMap<String, Vec<Features>>,
}

/// Where `file` is: in the data folder, else among the reference data.
pub(crate) fn locate(folder: &Path, file: &str) -> Option<PathBuf> {
    let places = [folder.join(file), Path::new(REFERENCE).join(file)];
    places.into_iter().find(|path| path.is_file())
}

/// Name and hash for the result.
pub(crate) fn data_file(path: &Path) -> anyhow::Result<DataFile> {
    Ok(DataFile {
        file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        sha256: tiercast_records::disk::sha256_of_file(path)?,
    })
}

/// Reads a set's rows of `splits`; rows of other splits are not held.
pub(crate) fn read(path: &Path, set: &Set, splits: &[Split], names: &[String], cache: &Path) -> anyhow::Result<Data> {
    let options = ReadOptions {
        with_text: true,
        models: Some(set.tiers.clone()),
        splits: Some(splits.to_vec()),
    };
    let all = outcomes::read(&[path.to_owned()], &options)?;
    let outcomes = all.filter(|outcome| set.has_subset(&all.prompts[outcome.prompt].subset));
    let features = names.iter().map(|encoder| {
        let features = features_for(&outcomes, path, encoder, cache)?;
        Ok((encoder.clone(), features))
    });
    let features = features.collect::<anyhow::Result<_>>()?;
    // The text is not needed again; for large files it is most of the memory.
    let outcomes = outcomes.without_text();
    Ok(Data {
        outcomes: renamed(outcomes, set),
        features,
    })
}

/// Features of every prompt for one encoder: from its text, or else from the file beside the rows.
fn features_for(outcomes: &Outcomes, path: &Path, encoder: &str, cache: &Path) -> anyhow::Result<Vec<Features>> {
    let beside = path.with_file_name("features.parquet");
    let has_all_text = outcomes.prompts.iter().all(|prompt| prompt.text.is_some());
    let file = (!has_all_text && beside.is_file())
        .then(|| features::read(&beside))
        .transpose()?;
    let dense = encoders::load(encoder, None)?;
    let dense = dense.as_ref().map(|dense| &dense.encoder);
    features_with(outcomes, file.as_ref(), dense, cache)
}

/// With the common names of its tiers. Models are no longer in order of their names.
fn renamed(mut outcomes: Outcomes, set: &Set) -> Outcomes {
    for model in &mut outcomes.models {
        let position = set.tiers.iter().position(|tier| *tier == model.name);
        if let Some(name) = position.and_then(|position| set.stand_for.get(position)) {
            model.name.clone_from(name);
        }
    }
    outcomes.in_order()
}

/// Sets put together, the first one whole. Of the later ones, questions of the first take no part,
/// so that a set that is left out is nowhere trained on.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) data: Data,
    /// Per prompt: whether it is of the first set.
    pub(crate) is_first: Vec<bool>,
    /// Answers dropped because an earlier set has one of the same tier on the same prompt.
    pub(crate) n_dropped: usize,
}

/// Pools sets; prompts that several have are held once, under the first.
pub(crate) fn pool(sets: &[&Data]) -> Pool {
    let first_keys: BTreeSet<&str> = sets[0]
        .outcomes
        .prompts
        .iter()
        .map(|prompt| prompt.split_key.as_str())
        .collect();
    let first_ids: BTreeSet<&str> = sets[0]
        .outcomes
        .prompts
        .iter()
        .map(|prompt| prompt.prompt_id.as_str())
        .collect();
    let mut tables = Tables::default();
    for (index, set) in sets.iter().enumerate() {
        tables.add(&set.outcomes, |key| index == 0 || !first_keys.contains(key));
    }
    let outcomes = tables.outcomes.in_order();
    let features = sets[0]
        .features
        .keys()
        .map(|encoder| (encoder.clone(), pooled_features(sets, encoder, &outcomes)));
    Pool {
        is_first: outcomes
            .prompts
            .iter()
            .map(|prompt| first_ids.contains(prompt.prompt_id.as_str()))
            .collect(),
        n_dropped: tables.n_dropped,
        data: Data {
            features: features.collect(),
            outcomes,
        },
    }
}

fn pooled_features(sets: &[&Data], encoder: &str, outcomes: &Outcomes) -> Vec<Features> {
    let all = sets
        .iter()
        .flat_map(|set| set.outcomes.prompts.iter().zip(&set.features[encoder]));
    let by_id: BTreeMap<&str, &Features> = all
        .map(|(prompt, features)| (prompt.prompt_id.as_str(), features))
        .collect();
    outcomes
        .prompts
        .iter()
        .map(|prompt| by_id[prompt.prompt_id.as_str()].clone())
        .collect()
}

/// Tables being put together, and where everything is in them.
#[derive(Default)]
struct Tables {
    outcomes: Outcomes,
    prompts: BTreeMap<String, usize>,
    answered: BTreeSet<(usize, usize)>,
    n_dropped: usize,
}

impl Tables {
    fn add(&mut self, set: &Outcomes, takes_key: impl Fn(&str) -> bool) {
        let models: Vec<usize> = set.models.iter().map(|model| self.model(model)).collect();
        let kinds: Vec<usize> = set.score_kinds.iter().map(|kind| self.score_kind(kind)).collect();
        for outcome in set
            .outcomes
            .iter()
            .filter(|outcome| takes_key(&set.prompts[outcome.prompt].split_key))
        {
            let (prompt, model) = (self.prompt(set, outcome.prompt), models[outcome.model]);
            if !self.answered.insert((prompt, model)) {
                self.n_dropped += 1;
                continue;
            }
            let score_kind = kinds[outcome.score_kind];
            self.outcomes.outcomes.push(Outcome {
                prompt,
                model,
                score_kind,
                ..*outcome
            });
        }
    }

    fn prompt(&mut self, set: &Outcomes, prompt: usize) -> usize {
        let prompt = &set.prompts[prompt];
        if let Some(known) = self.prompts.get(&prompt.prompt_id) {
            return *known;
        }
        self.prompts
            .insert(prompt.prompt_id.clone(), self.outcomes.prompts.len());
        self.outcomes.prompts.push(prompt.clone());
        self.outcomes.prompts.len() - 1
    }

    fn model(&mut self, model: &Model) -> usize {
        let models = &mut self.outcomes.models;
        models
            .iter()
            .position(|known| known.name == model.name)
            .unwrap_or_else(|| {
                models.push(model.clone());
                models.len() - 1
            })
    }

    fn score_kind(&mut self, kind: &String) -> usize {
        let kinds = &mut self.outcomes.score_kinds;
        kinds.iter().position(|known| known == kind).unwrap_or_else(|| {
            kinds.push(kind.clone());
            kinds.len() - 1
        })
    }
}

/// The outcomes with the splits of a fold.
pub(crate) fn in_fold(outcomes: &Outcomes, fold: &[Split]) -> Outcomes {
    let mut outcomes = outcomes.clone();
    outcomes
        .prompts
        .iter_mut()
        .zip(fold)
        .for_each(|(prompt, split)| prompt.split = *split);
    outcomes
}

/// Only train and validation rows, with their features: all that training is given.
pub(crate) fn learnable(outcomes: &Outcomes, features: &[Features]) -> (Outcomes, Vec<Features>) {
    let is_in = |split| matches!(split, Split::Train | Split::Validation);
    let kept = outcomes.filter(|outcome| is_in(outcomes.prompts[outcome.prompt].split));
    let by_id: BTreeMap<&str, &Features> = outcomes
        .prompts
        .iter()
        .zip(features)
        .map(|(prompt, features)| (prompt.prompt_id.as_str(), features))
        .collect();
    let features = kept
        .prompts
        .iter()
        .map(|prompt| by_id[prompt.prompt_id.as_str()].clone())
        .collect();
    (kept, features)
}

/// Scores permuted between the prompts of one split that the same models answered; tokens and costs
/// stay. What is learned from it is noise.
pub(crate) fn shuffled(mut outcomes: Outcomes, seed: u64) -> Outcomes {
    let mut answers: Vec<Vec<usize>> = vec![Vec::new(); outcomes.prompts.len()];
    for (index, outcome) in outcomes.outcomes.iter().enumerate() {
        answers[outcome.prompt].push(index);
    }
    let mut alike: BTreeMap<(Split, Vec<usize>), Vec<&Vec<usize>>> = BTreeMap::new();
    for (prompt, answers) in answers.iter().enumerate() {
        let models = answers.iter().map(|index| outcomes.outcomes[*index].model).collect();
        alike
            .entry((outcomes.prompts[prompt].split, models))
            .or_default()
            .push(answers);
    }
    let mut random = SplitMix(seed);
    let mut scores: Vec<(usize, f64)> = Vec::new();
    for group in alike.values() {
        let order = random.order(group.len());
        for (to, from) in group.iter().zip(order) {
            scores.extend(
                to.iter()
                    .zip(group[from])
                    .map(|(to, from)| (*to, outcomes.outcomes[*from].score)),
            );
        }
    }
    scores
        .into_iter()
        .for_each(|(index, score)| outcomes.outcomes[index].score = score);
    outcomes
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to permute, and no dependency.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            order.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use tiercast_records::outcomes::{CostKind, Prompt};

    use super::*;

    /// Prompts by (id, key, split); answers by (prompt, model, score).
    fn outcomes(
        dataset: &str,
        prompts: &[(&str, &str, Split)],
        models: &[&str],
        answers: &[(usize, usize, f64)],
    ) -> Outcomes {
        let prompt = |(id, key, split): &(&str, &str, Split)| Prompt {
            prompt_id: (*id).to_owned(),
            split_key: (*key).to_owned(),
            split: *split,
            dataset: dataset.to_owned(),
            subset: String::new(),
            domain: String::new(),
            text: None,
        };
        let answer = |(prompt, model, score): &(usize, usize, f64)| Outcome {
            prompt: *prompt,
            model: *model,
            score: *score,
            score_kind: 0,
            n_samples: 1,
            input_tokens: Some(1),
            output_tokens: None,
            cost_usd: Some(*prompt as f64),
            cost_kind: CostKind::Reported,
            latency_s: None,
        };
        let model = |name: &&str| Model {
            name: (*name).to_owned(),
            class: 1,
        };
        Outcomes {
            prompts: prompts.iter().map(prompt).collect(),
            models: models.iter().map(model).collect(),
            score_kinds: vec!["exact".to_owned()],
            outcomes: answers.iter().map(answer).collect(),
        }
    }

    fn data(outcomes: Outcomes) -> Data {
        // Features that name their prompt.
        let features = |prompt: &Prompt| Features {
            ask_tokens: prompt.prompt_id.len() as u32,
            ..Features::default()
        };
        let features = outcomes.prompts.iter().map(features).collect();
        Data {
            outcomes,
            features: BTreeMap::from([("fast".to_owned(), features)]),
        }
    }

    fn ids(outcomes: &Outcomes) -> Vec<&str> {
        outcomes
            .prompts
            .iter()
            .map(|prompt| prompt.prompt_id.as_str())
            .collect()
    }

    #[test]
    fn questions_of_the_first_set_are_in_no_other() {
        let first = data(outcomes("z", &[("a", "k1", Split::Test)], &["one"], &[(0, 0, 1.0)]));
        // The same question, another template.
        let prompts = [("bb", "k1", Split::Test), ("ccc", "k2", Split::Train)];
        let second = data(outcomes(
            "y",
            &prompts,
            &["one", "two"],
            &[(0, 0, 0.0), (1, 0, 0.0), (1, 1, 0.5)],
        ));
        let third = data(outcomes("x", &[("ccc", "k2", Split::Train)], &["two"], &[(0, 0, 1.0)]));
        let pool = pool(&[&first, &second, &third]);
        assert_eq!(ids(&pool.data.outcomes), ["ccc", "a"]);
        assert_eq!((pool.is_first, pool.n_dropped), (vec![false, true], 1));
        let lengths: Vec<u32> = pool.data.features["fast"]
            .iter()
            .map(|features| features.ask_tokens)
            .collect();
        assert_eq!(lengths, [3, 1]);
        // The second set was there before the third.
        let scores: Vec<f64> = pool
            .data
            .outcomes
            .outcomes
            .iter()
            .map(|outcome| outcome.score)
            .collect();
        assert_eq!(scores, [0.0, 0.5, 1.0]);
    }

    #[test]
    fn training_is_given_no_other_rows() {
        let prompts = [
            ("a", "k1", Split::Test),
            ("bb", "k2", Split::Train),
            ("ccc", "k3", Split::Holdout),
            ("dddd", "k4", Split::Validation),
        ];
        let data = data(outcomes(
            "d",
            &prompts,
            &["one"],
            &[(0, 0, 1.0), (1, 0, 1.0), (2, 0, 1.0), (3, 0, 1.0)],
        ));
        let (rows, features) = learnable(&data.outcomes, &data.features["fast"]);
        assert_eq!(ids(&rows), ["bb", "dddd"]);
        assert_eq!([features[0].ask_tokens, features[1].ask_tokens], [2, 4]);
    }

    #[test]
    fn shuffling_moves_scores_alone_and_inside_a_split() {
        let names: Vec<String> = (0..40).map(|i| format!("{i:02}")).collect();
        let split = |i: usize| if i < 30 { Split::Train } else { Split::Validation };
        let prompts: Vec<(&str, &str, Split)> = names
            .iter()
            .enumerate()
            .map(|(i, name)| (name.as_str(), name.as_str(), split(i)))
            .collect();
        // Both models are given the prompt's number; the last prompt has one answer.
        let answers: Vec<(usize, usize, f64)> = (0..79).map(|i| (i / 2, i % 2, (i / 2) as f64 / 40.0)).collect();
        let before = outcomes("d", &prompts, &["one", "two"], &answers);
        let after = shuffled(before.clone(), 7);
        assert_eq!(after, shuffled(before.clone(), 7));
        assert_ne!(after, before);
        let number = |outcome: &Outcome| (outcome.score * 40.0).round() as usize;
        for (old, new) in before.outcomes.iter().zip(&after.outcomes) {
            assert_eq!(
                (old.cost_usd, old.prompt, split(old.prompt)),
                (new.cost_usd, new.prompt, split(number(new)))
            );
        }
        // The scores of one prompt move together.
        assert!(
            after
                .outcomes
                .chunks_exact(2)
                .all(|pair| pair[0].score == pair[1].score)
        );
        assert_eq!(number(&after.outcomes[78]), 39);
    }
}
