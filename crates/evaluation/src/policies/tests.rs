//! Two tiers, $1 and $3, four prompts over and over: only the cheap one is right, only the dear one
//! (twice), both.

use super::*;
use crate::evaluate::tests::{SPLITS, truth, with_inputs};

/// Asks the cheap tier, and the dear one after it where the dial lies under the prompt's number in four.
fn cascade(cheap: usize, dear: usize) -> Policy<'static> {
    Policy {
        name: "cascade".to_owned(),
        label: "Cheap first".to_owned(),
        dial: Dial::Share("made up"),
        decide: Box::new(move |at, prompt| {
            if (prompt % 4) as f64 / 4.0 > at || at == 0.0 {
                Path {
                    calls: vec![cheap, dear],
                    accepted: dear,
                }
            } else {
                Path::straight(cheap)
            }
        }),
    }
}

#[test]
fn every_call_is_paid_and_one_answer_counts() {
    let (dear, cheap) = (0, 1);
    let report = with_inputs(&SPLITS, truth, None, |inputs| {
        evaluate_policies(inputs, &[Policy::meta(inputs), cascade(cheap, dear)]).unwrap()
    });
    let names: Vec<&str> = report.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["meta", "cascade", "fixed:dear", "fixed:cheap"]);
    let cascade = &report.policies[1];
    // At 0 everything is asked of both: $4 for what the dear one is worth, .75.
    let first = cascade.sweep[0];
    assert!(
        (first.cost_usd - 4.0).abs() < 1e-9 && (first.quality - 0.75).abs() < 1e-9,
        "{first:?}"
    );
    // At 1 nothing escalates: $1 for .5.
    let last = cascade.sweep[cascade.sweep.len() - 1];
    assert!(
        (last.cost_usd - 1.0).abs() < 1e-9 && (last.quality - 0.5).abs() < 1e-9,
        "{last:?}"
    );
    assert_eq!(cascade.points.len(), KEPT.len());
    assert!(cascade.aiq_minus_first.is_some() && report.policies[0].aiq_minus_first.is_none());
}

#[test]
fn a_fixed_tier_is_a_point() {
    let report = with_inputs(&SPLITS, truth, None, |inputs| evaluate_policies(inputs, &[]).unwrap());
    let [dear, cheap] = &report.policies[..] else {
        panic!("two tiers")
    };
    assert!(dear.aiq.is_none() && dear.points.len() == 1);
    let point = &cheap.points[0];
    assert!((point.saved_of_dearest.value - 2.0 / 3.0).abs() < 1e-9);
    assert!((point.kept_of_dearest.value - 0.5 / 0.75).abs() < 1e-9);
    assert_eq!(point.cheapest_captured.unwrap().value, 1.0);
    assert_eq!(dear.points[0].cheapest_captured.unwrap().value, 0.0);
    assert_eq!((point.calls, point.escalated, point.latency_s), (1.0, 0.0, None));
}
