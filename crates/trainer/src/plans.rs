//! What is fitted without which rows: the members on all of them, and the same parts once per fold and
//! once per group of tasks, so that every training row is seen by parts that were fitted without it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use tiercast_predictor::neighbours::{MOST_PROMPTS, Neighbours};
use tiercast_predictor::network::{NetworkConfig, QualityNetwork};
use tiercast_predictor::views::Tables;
use tiercast_records::outcomes::{Outcomes, Prompt};

use crate::dataset::Row;
use crate::fit::{Data, Epoch, fit_one};
use crate::folds::{fold_of, group_of, task_groups};
use crate::prepare::{LEAST_VALIDATION, Prepared};
use crate::stack::{Seen, Without, look};
use crate::tables::{TableViews, fit_tables};
use crate::train::TrainOptions;

/// Rows that one fit sees, and those it does not.
pub(crate) struct Plan<'a> {
    train: Vec<&'a Row>,
    validation: Vec<&'a Row>,
    /// Positions in the training rows that are left out.
    out: Vec<usize>,
    /// Whether each training row, by position, is in `train`.
    admitted: Vec<bool>,
}

/// What a fit gave.
pub(crate) struct Part {
    pub(crate) network: QualityNetwork,
    pub(crate) tables: Tables,
}

/// Folds of training rows that are left out in turn, to see what each view says of new rows.
const FOLDS: usize = 4;

/// First one plan per member, with all rows; then one per fold; then one per group of tasks, each
/// without those tasks.
pub(crate) fn plans<'a>(outcomes: &Outcomes, prepared: &'a Prepared, options: &TrainOptions) -> Vec<Plan<'a>> {
    let prompt = |row: &Row| &outcomes.prompts[row.prompt];
    let all_validation: Vec<&Row> = prepared.validation.iter().collect();
    let plan = |is_out: &dyn Fn(&Row) -> bool, validation: Vec<&'a Row>| {
        let admitted: Vec<bool> = prepared.train.iter().map(|row| !is_out(row)).collect();
        let rows = prepared.train.iter().zip(&admitted);
        Plan {
            train: rows.filter(|(_, admitted)| **admitted).map(|(row, _)| row).collect(),
            validation,
            out: (0..admitted.len()).filter(|row| !admitted[*row]).collect(),
            admitted,
        }
    };
    let members = (0..options.n_members).map(|_| plan(&|_| false, all_validation.clone()));
    let of_fold = |fold| plan(&|row| fold_of(prompt(row), FOLDS) == fold, all_validation.clone());
    let mut plans: Vec<Plan<'a>> = members.chain((0..FOLDS).map(of_fold)).collect();
    // The gate between the two sets of weights looks at neighbours.
    let groups = if options.is_off("neighbours") {
        BTreeMap::new()
    } else {
        task_groups(&prepared.train.iter().map(prompt).collect::<Vec<&Prompt>>())
    };
    for group in 0..groups.values().max().map_or(0, |last| last + 1) {
        let is_out = |row: &Row| group_of(prompt(row), &groups) == Some(group);
        // What is learnt has to stop being better on the tasks that are out.
        let stop: Vec<&Row> = all_validation.iter().copied().filter(|row| is_out(row)).collect();
        let stop = if stop.len() < LEAST_VALIDATION {
            all_validation.clone()
        } else {
            stop
        };
        plans.push(plan(&is_out, stop));
    }
    plans
}

pub(crate) fn fit_plans(
    plans: &[Plan<'_>],
    prepared: &Prepared,
    config: &NetworkConfig,
    options: &TrainOptions,
    device: &Device,
    report: &mut (dyn FnMut(Epoch) + Send),
) -> (Vec<Part>, Vec<Epoch>) {
    let report = Mutex::new(report);
    let fit = |(stream, plan): (usize, &Plan<'_>)| {
        let data = Data {
            train: &plan.train,
            validation: &plan.validation,
            lengths: &prepared.lengths,
        };
        let mut curve = Vec::new();
        let network = fit_one(config, &options.fit, data, stream, device, &mut |epoch| {
            curve.push(epoch);
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            report(epoch);
        });
        let tables = fit_tables(&plan.train, config, table_views(prepared, options));
        (Part { network, tables }, curve)
    };
    let (parts, curves): (Vec<Part>, Vec<Vec<Epoch>>) = side_by_side(plans, fit).into_iter().unzip();
    (parts, curves.concat())
}

/// Runs `work` on every item, one thread per core, results in order.
///
/// Each thread has a rayon pool of one for the tensors: in a shared pool a thread that waits for a
/// product would begin another item meanwhile, and memory would grow with the number of items.
fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn((usize, &T)) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let take_turns = || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        loop {
            let idx = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(idx) else { break };
            let result = match &pool {
                Ok(pool) => pool.install(|| work((idx, item))),
                Err(_) => work((idx, item)),
            };
            *results[idx].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    let n_threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(items.len());
    std::thread::scope(|scope| {
        for _ in 0..n_threads {
            scope.spawn(take_turns);
        }
    });
    let results = results
        .into_iter()
        .filter_map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner));
    results.collect()
}

pub(crate) fn table_views(prepared: &Prepared, options: &TrainOptions) -> TableViews {
    TableViews {
        ngrams: !prepared.encoding.ngram_hashes.is_empty(),
        n_signals: if options.is_off("surface") {
            0
        } else {
            prepared.encoding.surface_mean.len()
        },
    }
}

/// Every training prompt; of very many, an even choice.
pub(crate) fn neighbours_of(prepared: &Prepared, options: &TrainOptions, n_tiers: usize) -> Neighbours {
    let mut neighbours = Neighbours::new(prepared.encoding.d_key(), n_tiers);
    if options.is_off("neighbours") || prepared.encoding.d_key() == 0 {
        return neighbours;
    }
    for row in kept(&prepared.train) {
        let row = &prepared.train[row];
        neighbours.push(
            &row.encoded.key,
            row.answers.iter().map(|answer| answer.map(|answer| answer.score)),
        );
    }
    neighbours
}

/// Positions of the training rows that are kept as neighbours.
fn kept(train: &[Row]) -> impl Iterator<Item = usize> {
    let n = train.len().min(MOST_PROMPTS);
    let of = train.len();
    (0..n).map(move |at| at * of / n)
}

/// Every training row, seen by the parts that were fitted without it: (left out at random, left out
/// with its task).
pub(crate) fn look_at_all<'a>(
    plans: &[Plan<'a>],
    parts: &'a [Part],
    prepared: &'a Prepared,
    neighbours: &Neighbours,
    options: &TrainOptions,
) -> (Vec<Seen<'a>>, Vec<Seen<'a>>) {
    let kept: Vec<usize> = kept(&prepared.train).collect();
    let seen_by = |(plan, part): (&Plan<'a>, &'a Part)| {
        let without = Without {
            network: &part.network,
            tables: &part.tables,
        };
        let rows: Vec<&Row> = plan.out.iter().map(|row| &prepared.train[*row]).collect();
        look(&without, neighbours, &rows, |position| plan.admitted[kept[position]])
    };
    let mut all = plans.iter().zip(parts).skip(options.n_members).map(seen_by);
    let known = all.by_ref().take(FOLDS).flatten().collect();
    (known, all.flatten().collect())
}
