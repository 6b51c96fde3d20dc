//! Fits a cascade on outcomes with replies: the estimate of answers, which tiers to ask in which order, and the
//! estimate from which an answer is taken.

use std::collections::BTreeMap;

use rayon::prelude::*;
use tiercast_predictor::answers::{AnswerHead, Reply};
use tiercast_predictor::cascade::{CascadeFit, Taken};
use tiercast_records::features::Features;
use tiercast_records::outcomes::Outcomes;
use tiercast_routing::catalog::Catalog;

use crate::answers::{AnswersError, Judged, fit_answers};
use crate::dataset::{Answer, Row};

/// Settings of the threshold that are tried: 0, .02, ..., 1.
const N_THRESHOLDS: usize = 51;

/// Stages of the longest cascade that is tried: each costs time, and every answer that is not taken is paid.
const MOST_STAGES: usize = 3;

/// What was asked and answered, in words.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Replies {
    /// The ask of each prompt, where there is text.
    pub asks: Vec<Option<String>>,
    /// What each tier replied to each prompt: (prompt, tier).
    pub said: BTreeMap<(usize, usize), Said>,
    /// Replies that every stage but the last is asked for.
    pub samples: usize,
    /// Share of the best single tier's quality that the cascade has to keep on validation.
    pub kept: f64,
}

/// The reply that counts, and what is known of it besides.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Said {
    /// Its text.
    pub text: String,
    /// Mean log-probability of its tokens, in nats, where given.
    pub mean_logprob: Option<f64>,
    /// Share of the other samples that conclude the same, where there are others.
    pub agreement: Option<f64>,
}

/// Rows with what was expected of each tier by parts that were not fitted on them.
pub struct Forecast<'a> {
    /// The rows.
    pub rows: Vec<&'a Row>,
    /// Expected quality per row and tier.
    pub quality: Vec<Vec<f64>>,
}

/// Fits on `train`, chooses on `validation`. `features` is parallel to the prompts. Two tiers at least.
pub fn fit_cascade(
    replies: &Replies,
    catalog: &Catalog,
    outcomes: &Outcomes,
    features: &[Features],
    [train, validation]: [&Forecast<'_>; 2],
) -> Result<Option<CascadeFit>, AnswersError> {
    let n_tiers = catalog.tiers().len();
    let [of_train, of_validation] = [train, validation].map(|of| judged(replies, outcomes, features, of));
    let [plain_train, plain_validation]: [Vec<Judged<'_>>; 2] =
        [&of_train, &of_validation].map(|all| all.iter().map(|(_, judged)| *judged).collect());
    let answers = fit_answers(&plain_train, &plain_validation, n_tiers)?;
    let rows = estimated(&answers, &of_validation, validation, n_tiers);
    let samples = replies.samples.max(1);
    Ok(choose(catalog, &rows, replies.kept, samples).map(|chosen| CascadeFit {
        samples,
        dependence: dependence(&rows, &chosen.stages),
        stages: chosen
            .stages
            .iter()
            .map(|tier| catalog.tiers()[*tier].name.clone())
            .collect(),
        thresholds: vec![chosen.threshold; chosen.stages.len() - 1],
        acceptance: chosen.run.taken,
        kept: replies.kept,
        quality: chosen.run.quality,
        cost_usd: chosen.run.cost_usd,
        answers,
    }))
}

/// Every reply with text, beside the position of its row.
fn judged<'a>(
    replies: &'a Replies,
    outcomes: &'a Outcomes,
    features: &'a [Features],
    of: &Forecast<'a>,
) -> Vec<(usize, Judged<'a>)> {
    let mut all = Vec::new();
    for (place, (row, quality)) in of.rows.iter().zip(&of.quality).enumerate() {
        let Some(question) = &replies.asks[row.prompt] else {
            continue;
        };
        for (tier, answer) in row.answers.iter().enumerate() {
            let (Some(answer), Some(said)) = (answer, replies.said.get(&(row.prompt, tier))) else {
                continue;
            };
            let reply = Reply {
                question,
                features: &features[row.prompt],
                forecast: quality[tier],
                text: &said.text,
                mean_logprob: said.mean_logprob,
                agreement: said.agreement,
            };
            let split_key = outcomes.prompts[row.prompt].split_key.as_str();
            let score = answer.score;
            all.push((
                place,
                Judged {
                    tier,
                    split_key,
                    reply,
                    score,
                },
            ));
        }
    }
    all
}

/// A row with every tier's outcome and the estimate of its answer.
#[derive(Debug, Clone, PartialEq)]
struct Estimated {
    score: Vec<f64>,
    cost_usd: Vec<f64>,
    estimate: Vec<f64>,
    forecast: Vec<f64>,
}

/// The rows whose answers are all there.
fn estimated(head: &AnswerHead, judged: &[(usize, Judged<'_>)], of: &Forecast<'_>, n_tiers: usize) -> Vec<Estimated> {
    let estimates: Vec<(usize, usize, f64)> = judged
        .par_iter()
        .map(|(place, judged)| (*place, judged.tier, head.quality(judged.tier, &judged.reply)))
        .collect();
    let mut by_row: BTreeMap<usize, Vec<Option<f64>>> = BTreeMap::new();
    for (place, tier, estimate) in estimates {
        by_row.entry(place).or_insert_with(|| vec![None; n_tiers])[tier] = Some(estimate);
    }
    let whole = by_row.into_iter().filter_map(|(place, estimates)| {
        let answers: Vec<Answer> = of.rows[place].answers.iter().copied().collect::<Option<_>>()?;
        Some(Estimated {
            score: answers.iter().map(|answer| answer.score).collect(),
            cost_usd: answers.iter().map(|answer| answer.cost_usd).collect::<Option<_>>()?,
            estimate: estimates.into_iter().collect::<Option<_>>()?,
            forecast: of.quality[place].clone(),
        })
    });
    whole.collect()
}

/// A cascade that was tried.
#[derive(Debug, Clone, PartialEq)]
struct Tried {
    stages: Vec<usize>,
    threshold: f64,
    run: Outcome,
}

#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    quality: f64,
    cost_usd: f64,
    taken: Vec<Taken>,
}

/// The cascade that costs least of those that keep the share; of highest quality where none does. `None`
/// without rows or with one tier.
fn choose(catalog: &Catalog, rows: &[Estimated], kept: f64, samples: usize) -> Option<Tried> {
    let first = rows.first()?;
    let mean = |of: &dyn Fn(&Estimated) -> f64| rows.iter().map(of).sum::<f64>() / rows.len() as f64;
    let mut order: Vec<usize> = (0..first.score.len()).collect();
    let costs: Vec<f64> = order.iter().map(|tier| mean(&|row| row.cost_usd[*tier])).collect();
    order.sort_by(|a, b| costs[*a].total_cmp(&costs[*b]).then(a.cmp(b)));
    let best = order
        .iter()
        .map(|tier| mean(&|row| row.score[*tier]))
        .fold(0.0, f64::max);
    let tries: Vec<Tried> = combinations(&order)
        .into_par_iter()
        .filter(|stages| are_in_order(catalog, stages))
        .flat_map_iter(|stages| {
            (0..N_THRESHOLDS).map(move |step| {
                let threshold = step as f64 / (N_THRESHOLDS - 1) as f64;
                Tried {
                    run: run(rows, &stages, threshold, samples),
                    threshold,
                    stages: stages.clone(),
                }
            })
        })
        .collect();
    let keeping = tries.iter().filter(|tried| tried.run.quality >= kept * best);
    let cheapest = keeping.min_by(|a, b| a.run.cost_usd.total_cmp(&b.run.cost_usd));
    let highest = || tries.iter().max_by(|a, b| a.run.quality.total_cmp(&b.run.quality));
    cheapest.or_else(highest).cloned()
}

/// Every choice of two to [`MOST_STAGES`] tiers, in their order.
fn combinations(order: &[usize]) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for tier in order {
        let longer: Vec<Vec<usize>> = all
            .iter()
            .filter(|stages| stages.len() < MOST_STAGES)
            .map(|stages| [stages.as_slice(), &[*tier]].concat())
            .collect();
        all.extend(longer);
    }
    all.retain(|stages| stages.len() >= 2);
    all
}

/// Whether no stage has lower prices than one before it: mean costs may say otherwise, and a cascade is not
/// begun with the dearer price.
fn are_in_order(catalog: &Catalog, stages: &[usize]) -> bool {
    let price = |tier: usize| {
        let tier = &catalog.tiers()[tier];
        (tier.input_usd_per_mtok, tier.output_usd_per_mtok)
    };
    stages.windows(2).all(|pair| {
        let (earlier, later) = (price(pair[0]), price(pair[1]));
        earlier == later || later.0 > earlier.0 || later.1 > earlier.1
    })
}

/// What a cascade comes to on these rows: the first answer whose estimate reaches the threshold is taken, else
/// the one of highest estimate, as `routing::cascade` does it; the last stage's answer is taken unread.
fn run(rows: &[Estimated], stages: &[usize], threshold: f64, samples: usize) -> Outcome {
    let (mut quality, mut cost_usd) = (0.0, 0.0);
    let mut counts = vec![(0.0, 0.0, 0.0); stages.len()];
    for row in rows {
        for (stage, tier) in stages.iter().enumerate() {
            let is_last = stage + 1 == stages.len();
            // The last stage's answer is taken whatever it says: it is asked for once.
            cost_usd += row.cost_usd[*tier] * if is_last { 1.0 } else { samples as f64 };
            counts[stage].0 += 1.0;
            if row.estimate[*tier] >= threshold || is_last {
                quality += row.score[*tier];
                counts[stage].1 += 1.0;
                counts[stage].2 += row.score[*tier];
                break;
            }
        }
    }
    let n = rows.len().max(1) as f64;
    let taken = |(stage, (reached, taken, sum)): (usize, &(f64, f64, f64))| Taken {
        share: taken / f64::max(*reached, 1.0),
        quality: sum / f64::max(*taken, 1.0),
        spread: spread(rows, stages[stage]),
    };
    Outcome {
        quality: quality / n,
        cost_usd: cost_usd / n,
        taken: counts.iter().enumerate().map(taken).collect(),
    }
}

/// Standard deviation of the estimates of a tier's answers.
fn spread(rows: &[Estimated], tier: usize) -> f64 {
    let n = rows.len().max(1) as f64;
    let mean = rows.iter().map(|row| row.estimate[tier]).sum::<f64>() / n;
    let square = |row: &Estimated| (row.estimate[tier] - mean).powi(2);
    (rows.iter().map(square).sum::<f64>() / n).sqrt()
}

/// Least squares slope, through zero, of what the next stage's answers score beyond their forecast on what
/// the estimate of an answer lies above its own; in [0, 1].
fn dependence(rows: &[Estimated], stages: &[usize]) -> f64 {
    let (mut product, mut square) = (0.0, 0.0);
    for row in rows {
        for pair in stages.windows(2) {
            let surprise = row.estimate[pair[0]] - row.forecast[pair[0]];
            product += surprise * (row.score[pair[1]] - row.forecast[pair[1]]);
            square += surprise * surprise;
        }
    }
    if square > 0.0 {
        (product / square).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use tiercast_routing::catalog::{Capabilities, Tier};

    use super::*;

    fn catalog() -> Catalog {
        let tier = |name: &str, price| Tier {
            name: name.to_owned(),
            class: 2,
            input_usd_per_mtok: price,
            output_usd_per_mtok: price,
            cached_input_usd_per_mtok: None,
            context_window: None,
            capabilities: Capabilities::default(),
            latency_p95_s: None,
        };
        Catalog::new(vec![tier("dear", 9.0), tier("cheap", 1.0)]).unwrap()
    }

    /// The cheap tier is right on every other row, and its answers show it.
    fn rows() -> Vec<Estimated> {
        let row = |at: usize| {
            let is_right = f64::from(u8::from(at.is_multiple_of(2)));
            Estimated {
                score: vec![1.0, is_right],
                cost_usd: vec![9.0, 1.0],
                estimate: vec![0.9, 0.3 + 0.4 * is_right],
                forecast: vec![0.9, 0.5],
            }
        };
        (0..40).map(row).collect()
    }

    #[test]
    fn wrong_answers_that_show_are_asked_again() {
        let found = choose(&catalog(), &rows(), 1.0, 1).unwrap();
        assert_eq!(found.stages, [1, 0]);
        assert!((0.3..=0.7).contains(&found.threshold), "{}", found.threshold);
        // Every prompt costs 1, half of them 9 more.
        assert!((found.run.cost_usd - 5.5).abs() < 1e-9 && (found.run.quality - 1.0).abs() < 1e-9);
        let taken = found.run.taken[0];
        assert_eq!((taken.share, taken.quality), (0.5, 1.0));
        assert!((taken.spread - 0.2).abs() < 1e-9, "{taken:?}");
        assert_eq!(choose(&catalog(), &[], 1.0, 1), None);
    }

    #[test]
    fn samples_are_paid_for() {
        let found = choose(&catalog(), &rows(), 1.0, 3).unwrap();
        assert!((found.run.cost_usd - 7.5).abs() < 1e-9, "{}", found.run.cost_usd);
        // From five samples on the dear tier alone would cost less, but a cascade has two stages.
        assert_eq!(choose(&catalog(), &rows(), 1.0, 5).unwrap().stages, [1, 0]);
    }

    #[test]
    fn what_is_hard_for_one_is_hard_for_the_other() {
        let mut rows = rows();
        assert_eq!(dependence(&rows, &[1, 0]), 0.0);
        for row in &mut rows {
            row.score[0] = row.forecast[0] + row.estimate[1] - row.forecast[1];
        }
        assert!((dependence(&rows, &[1, 0]) - 1.0).abs() < 1e-9);
        assert_eq!(dependence(&[], &[1, 0]), 0.0);
    }

    #[test]
    fn every_choice_of_stages_once() {
        let all = combinations(&[3, 1, 2, 0]);
        assert_eq!(all.len(), 6 + 4);
        assert!(all.contains(&vec![3, 0]) && all.contains(&vec![1, 2, 0]) && !all.contains(&vec![0, 3]));
    }
}
