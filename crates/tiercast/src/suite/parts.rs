//! The parts of a suite as cases: rows, folds, and what is measured on them.

use std::path::PathBuf;

use tiercast_evaluation::suite::result::{EncoderResult, PartResult};
use tiercast_evaluation::suite::{Headline, Measured};
use tiercast_records::outcomes::{Outcomes, Split};

use super::Rows;
use super::data::{self, Data};
use super::definition::{Part, Protocol, Suite};
use super::folds::{self, Fold};
use super::runner::{Case, Settings, run_case};
use crate::arguments::EvaluateArguments;
use crate::progress::say;

/// Runs a part: one result, or for transfer one per set and their mean.
pub(crate) fn run(
    suite: &Suite,
    part: &Part,
    rows: Rows,
    arguments: &EvaluateArguments,
    locate: &dyn Fn(&str) -> anyhow::Result<PathBuf>,
) -> anyhow::Result<Vec<PartResult>> {
    if rows == Rows::Validation && matches!(part.protocol, Protocol::Folds | Protocol::Unseen) {
        say(&format!(
            "part {} is skipped: folds do not look at the split; choose with --inner",
            part.name
        ));
        return Ok(Vec::new());
    }
    let read = |set: &String| {
        let set = suite.set(set);
        data::read(
            &locate(&set.file)?,
            set,
            rows.splits(),
            &arguments.suite.encoders,
            &arguments.cache,
        )
    };
    let settings = Settings::of(arguments);
    if part.protocol == Protocol::Transfer {
        let sets = part.sets.iter().map(|name| Ok((name.as_str(), read(name)?)));
        return transfer(part, rows, &sets.collect::<anyhow::Result<Vec<_>>>()?, &settings);
    }
    let set = suite.set(&part.sets[0]);
    let data = read(&part.sets[0])?;
    let (folds, protocol) = divide(part, rows, &data.outcomes);
    let case = Case {
        name: part.name.clone(),
        data: &data,
        tiers: if set.stand_for.is_empty() {
            set.tiers.clone()
        } else {
            set.stand_for.clone()
        },
        pair: None,
        is_pooled: folds.len() > 1,
        tested: if rows == Rows::Validation {
            Split::Validation
        } else {
            Split::Test
        },
        folds,
    };
    Ok(vec![result(&case, protocol, Vec::new(), &settings)?.0])
}

/// The folds of a part and how they came about, in words.
fn divide(part: &Part, rows: Rows, outcomes: &Outcomes) -> (Vec<Fold>, String) {
    let as_is = || vec![outcomes.prompts.iter().map(|prompt| prompt.split).collect()];
    let (folds, protocol): (Vec<Fold>, String) = match (part.protocol, rows) {
        (Protocol::Unseen, _) => (
            folds::by_subset(outcomes),
            "five folds by subset, whole subsets held out".to_owned(),
        ),
        (Protocol::Split | Protocol::Transfer, Rows::Test | Rows::Validation) => {
            (as_is(), format!("{} split", rows.name()))
        }
        _ => (folds::by_question(outcomes), "five folds by question".to_owned()),
    };
    let protocol = if rows == Rows::Inner {
        format!("{protocol}, inside the train split")
    } else {
        protocol
    };
    match part.labels {
        None => (folds, protocol),
        Some(labels) => (
            folds
                .into_iter()
                .map(|fold| folds::with_labels(outcomes, fold, labels))
                .collect(),
            format!("{protocol}, {labels} labelled prompts per fold"),
        ),
    }
}

/// A set that was left out of training, measured.
struct LeftOut<'a> {
    name: &'a str,
    result: PartResult,
    /// Per encoder.
    measured: Vec<Measured>,
}

/// Leaves each set out in turn.
fn transfer(part: &Part, rows: Rows, sets: &[(&str, Data)], settings: &Settings) -> anyhow::Result<Vec<PartResult>> {
    let mut all: Vec<LeftOut<'_>> = Vec::new();
    for name in &part.test_on {
        let (left_out, others): (Vec<_>, Vec<_>) = sets.iter().partition(|(set, _)| set == name);
        let order: Vec<&Data> = left_out.into_iter().chain(others).map(|(_, data)| data).collect();
        let (result, measured) = leave_out(part, name, rows, &data::pool(&order), settings)?;
        all.push(LeftOut { name, result, measured });
    }
    let is_in_mean = |set: &&LeftOut<'_>| part.mean_over.iter().any(|name| name == set.name);
    let in_mean: Vec<&LeftOut<'_>> = all.iter().filter(is_in_mean).collect();
    let mean = (!in_mean.is_empty()).then(|| mean(part, &in_mean, &settings.encoders));
    Ok(all.into_iter().map(|set| set.result).chain(mean).collect())
}

fn leave_out(
    part: &Part,
    name: &str,
    rows: Rows,
    pool: &data::Pool,
    settings: &Settings,
) -> anyhow::Result<(PartResult, Vec<Measured>)> {
    let outcomes = &pool.data.outcomes;
    let case = Case {
        name: format!("{} to {name}", part.name),
        data: &pool.data,
        tiers: tiers_of(outcomes),
        pair: Some([part.pair[0].clone(), part.pair[1].clone()]),
        folds: vec![transfer_fold(rows, outcomes, &pool.is_first)],
        is_pooled: false,
        tested: Split::Test,
    };
    let protocol = format!(
        "trained on the other sets, {} of this one",
        if rows == Rows::Inner {
            "train split"
        } else {
            rows.name()
        }
    );
    let dropped = (pool.n_dropped > 0).then(|| {
        let n = pool.n_dropped;
        format!("{n} answers were left out of training: an earlier set has one of the same tier on the same prompt.")
    });
    result(&case, protocol, dropped.into_iter().collect(), settings)
}

fn transfer_fold(rows: Rows, outcomes: &Outcomes, is_left_out: &[bool]) -> Fold {
    let files: Fold = outcomes.prompts.iter().map(|prompt| prompt.split).collect();
    match rows {
        Rows::Test => folds::leaving_out(&files, is_left_out, Split::Test),
        Rows::Validation => folds::leaving_out(&files, is_left_out, Split::Validation),
        Rows::Inner => folds::leaving_out_inside(outcomes, is_left_out),
    }
}

/// In the order of their names: `class1`, `class2`, ...
fn tiers_of(outcomes: &Outcomes) -> Vec<String> {
    outcomes.models.iter().map(|model| model.name.clone()).collect()
}

/// The mean over sets, for every encoder.
fn mean(part: &Part, sets: &[&LeftOut<'_>], encoders: &[String]) -> PartResult {
    let of_encoder = |(index, encoder): (usize, &String)| {
        let measured: Vec<&Measured> = sets.iter().map(|set| &set.measured[index]).collect();
        EncoderResult::mean(encoder, &measured)
    };
    let total = |of: fn(&PartResult) -> usize| sets.iter().map(|set| of(&set.result)).sum::<usize>();
    PartResult {
        name: format!("{} mean", part.name),
        protocol: format!("mean over {}", part.mean_over.join(", ")),
        headline: Headline::Apgr,
        n_prompts: total(|set| set.n_prompts),
        n_train: total(|set| set.n_train) / sets.len(),
        tiers: part.pair.clone(),
        encoders: encoders.iter().enumerate().map(of_encoder).collect(),
        notes: vec!["Sets are resampled independently of each other.".to_owned()],
    }
}

/// Runs a case with every encoder.
fn result(
    case: &Case<'_>,
    protocol: String,
    notes: Vec<String>,
    settings: &Settings,
) -> anyhow::Result<(PartResult, Vec<Measured>)> {
    let (mut encoders, mut all) = (Vec::new(), Vec::new());
    for encoder in &settings.encoders {
        let (result, measured) = run_case(case, encoder, settings)?;
        encoders.push(result);
        all.push(measured);
    }
    // There is at least one encoder: the command line says so.
    let first = &all[0];
    let mut notes = notes;
    notes.extend(first.report.notes.iter().cloned());
    let result = PartResult {
        name: case.name.clone(),
        protocol,
        headline: first.headline,
        n_prompts: first.report.data.n_items,
        n_train: case.n_train(),
        tiers: first.report.tiers.iter().map(|tier| tier.name.clone()).collect(),
        encoders,
        notes,
    };
    Ok((result, all))
}
