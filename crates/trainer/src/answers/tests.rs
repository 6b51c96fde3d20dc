//! Heads fitted on made-up replies.

use tiercast_predictor::surface::NAMES;
use tiercast_records::features::Features;

use super::*;

/// A made-up sum, answered with a mistake or without one.
struct Sum {
    tier: usize,
    question: String,
    text: String,
    is_right: bool,
}

fn sums(n: usize, first: usize, n_tiers: usize) -> Vec<Sum> {
    let sum = |at: usize| {
        let (a, b) = (3 + at % 17, 2 + at % 11);
        let is_right = !(at * 7919 / 13).is_multiple_of(3);
        let c = a + b + usize::from(!is_right);
        Sum {
            tier: at % n_tiers,
            question: format!("Task {at}: there are {a} cats and {b} dogs. How many animals?"),
            text: format!("We add {a} + {b} = {c}.\n#### {c}"),
            is_right,
        }
    };
    (first..first + n).map(sum).collect()
}

fn judged<'a>(sums: &'a [Sum], features: &'a Features, agreement: impl Fn(&Sum) -> Option<f64>) -> Vec<Judged<'a>> {
    let of_sum = |sum: &'a Sum| Judged {
        tier: sum.tier,
        split_key: &sum.question,
        reply: Reply {
            question: &sum.question,
            features,
            forecast: 0.66,
            text: &sum.text,
            mean_logprob: None,
            agreement: agreement(sum),
        },
        score: f64::from(u8::from(sum.is_right)),
    };
    sums.iter().map(of_sum).collect()
}

fn features() -> Features {
    Features {
        surface: vec![0.0; NAMES.len()],
        ..Features::default()
    }
}

/// Mean estimate of right and of wrong replies.
fn means(head: &AnswerHead, judged: &[Judged<'_>]) -> (f64, f64) {
    let mean = |is_right: bool| {
        let of = judged.iter().filter(|judged| (judged.score > 0.5) == is_right);
        let estimates: Vec<f64> = of.map(|judged| head.quality(judged.tier, &judged.reply)).collect();
        estimates.iter().sum::<f64>() / estimates.len() as f64
    };
    (mean(true), mean(false))
}

#[test]
fn mistakes_are_found_on_questions_never_seen() {
    let (features, train, validation, test) = (features(), sums(400, 0, 1), sums(90, 400, 1), sums(90, 490, 1));
    let fit = |n_tiers| {
        fit_answers(
            &judged(&train, &features, |_| None),
            &judged(&validation, &features, |_| None),
            n_tiers,
        )
    };
    let head = fit(1).expect("enough");
    assert_eq!(head.check(1), Ok(()));
    // A single tier is the pool.
    assert!(head.tiers == [None] && head.pooled.stacks.len() == 1);
    let (right, wrong) = means(&head, &judged(&test, &features, |_| None));
    assert!(right > 0.9 && wrong < 0.1, "{right} {wrong}");
    assert_eq!(fit(1), fit(1));
}

#[test]
fn tiers_with_enough_replies_have_their_own() {
    let features = features();
    let mut train = sums(600, 0, 2);
    train.extend(sums(60, 600, 1).into_iter().map(|sum| Sum { tier: 2, ..sum }));
    let validation = sums(90, 660, 3);
    let head = fit_answers(
        &judged(&train, &features, |_| None),
        &judged(&validation, &features, |_| None),
        4,
    );
    let head = head.expect("enough");
    assert_eq!(head.check(4), Ok(()));
    let has_own: Vec<bool> = head.tiers.iter().map(Option::is_some).collect();
    assert_eq!(has_own, [true, true, false, false]);
    let (right, wrong) = means(&head, &judged(&validation, &features, |_| None));
    assert!(right > 0.9 && wrong < 0.1, "{right} {wrong}");
}

#[test]
fn agreement_counts_where_it_was_seen() {
    let features = features();
    // Nothing but the agreement tells right from wrong.
    let mut all = sums(500, 0, 1);
    all.iter_mut().for_each(|sum| sum.text = "It is so.".to_owned());
    let (train, validation) = all.split_at(400);
    let agreement = |sum: &Sum| Some(if sum.is_right { 0.9 } else { 0.3 });
    let known = judged(validation, &features, agreement);
    let head = fit_answers(&judged(train, &features, agreement), &known, 1).expect("enough");
    assert_eq!(head.pooled.stacks.len(), 2);
    let (right, wrong) = means(&head, &known);
    assert!(right > 0.9 && wrong < 0.1, "{right} {wrong}");
    let (right, wrong) = means(&head, &judged(validation, &features, |_| None));
    assert!(
        (right - wrong).abs() < 0.2 && (0.5..0.8).contains(&right),
        "{right} {wrong}"
    );
}

#[test]
fn what_cannot_be_fitted_is_said() {
    let (features, few) = (features(), sums(LEAST_REPLIES - 1, 0, 1));
    let rows = judged(&few, &features, |_| None);
    assert_eq!(fit_answers(&rows, &[], 1), Err(AnswersError::TooFew { found: 49 }));
    let (enough, unknown) = (
        sums(60, 0, 1),
        sums(1, 0, 1).into_iter().map(|sum| Sum { tier: 3, ..sum }),
    );
    let unknown: Vec<Sum> = unknown.collect();
    let found = fit_answers(
        &judged(&enough, &features, |_| None),
        &judged(&unknown, &features, |_| None),
        2,
    );
    assert_eq!(found, Err(AnswersError::UnknownTier { tier: 3, n_tiers: 2 }));
}

#[test]
fn nothing_to_tell_apart_gives_the_mean() {
    let features = features();
    let mut all = sums(120, 0, 1);
    for sum in &mut all {
        sum.text = String::new();
        sum.is_right = true;
    }
    let rows = judged(&all, &features, |_| None);
    // Without validation rows the fit stands as it is.
    let head = fit_answers(&rows, &[], 1).expect("enough");
    assert!(head.quality(0, &rows[0].reply) > 0.9);
}
