use super::*;
use crate::catalog::Capabilities;

/// `small`, `mid` and `large` at 1, 2 and 4 dollars.
fn catalog() -> Catalog {
    let tier = |(name, price): (&str, f64)| Tier {
        name: name.to_owned(),
        class: 2,
        input_usd_per_mtok: price,
        output_usd_per_mtok: price,
        cached_input_usd_per_mtok: None,
        context_window: None,
        capabilities: Capabilities::default(),
        latency_p95_s: None,
    };
    Catalog::new([("small", 1.0), ("mid", 2.0), ("large", 4.0)].map(tier).to_vec()).unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn cascade(stop: Stop) -> Cascade {
    Cascade::new(&names(&["small", "mid", "large"]), stop, &catalog()).unwrap()
}

/// Quality .5/.7/.9, cost .01/.02/.1, latency 1/2/4 s.
fn expected() -> Vec<Option<Expected>> {
    [(0.5, 0.01, 1.0), (0.7, 0.02, 2.0), (0.9, 0.1, 4.0)]
        .map(|(quality, cost_usd, seconds)| {
            Some(Expected {
                quality,
                spread: 0.0,
                cost_usd,
                latency_s: Some(seconds),
            })
        })
        .to_vec()
}

fn without(tier: usize) -> Vec<Option<Expected>> {
    let mut expected = expected();
    expected[tier] = None;
    expected
}

fn calls(estimates: &[(usize, f64)]) -> Vec<Call> {
    let call = |&(tier, quality): &(usize, f64)| Call {
        tier,
        quality,
        cost_usd: expected()[tier].map_or(0.0, |of| of.cost_usd),
    };
    estimates.iter().map(call).collect()
}

const FREE: Allowance = Allowance {
    max_cost_usd: None,
    left_s: None,
};

fn thresholds() -> Cascade {
    cascade(Stop::Thresholds(vec![0.8, 0.6]))
}

fn check(
    cascade: &Cascade,
    expected: &[Option<Expected>],
    answers: &[(usize, f64)],
    left: Allowance,
    then: Option<Step>,
) {
    assert_eq!(
        cascade.step(expected, &calls(answers), &left),
        then,
        "{cascade:?} {answers:?} {left:?}"
    );
}

#[test]
fn thresholds_stop_or_escalate() {
    let check = |answers: &[(usize, f64)], then| check(&thresholds(), &expected(), answers, FREE, Some(then));
    check(&[], Step::Call(0));
    check(&[(0, 0.8)], Step::Accept(0));
    check(&[(0, 0.79)], Step::Call(1));
    check(&[(0, 0.5), (1, 0.6)], Step::Accept(1));
    check(&[(0, 0.5), (1, 0.59)], Step::Call(2));
    // The second is enough for its stage, but the first is better.
    check(&[(0, 0.7), (1, 0.6)], Step::Accept(0));
    // The last stage has no threshold; the best answer wins, of equals the dearer.
    check(&[(0, 0.5), (1, 0.55), (2, 0.3)], Step::Accept(1));
    check(&[(0, 0.5), (1, 0.4), (2, 0.5)], Step::Accept(2));
    // Two samples of one tier.
    check(&[(0, 0.3), (0, 0.4)], Step::Call(1));
}

#[test]
fn tiers_that_cannot_be_asked_are_passed_over() {
    check(&thresholds(), &without(0), &[], FREE, Some(Step::Call(1)));
    check(&thresholds(), &without(1), &[(0, 0.5)], FREE, Some(Step::Call(2)));
    check(
        &thresholds(),
        &without(2),
        &[(0, 0.5), (1, 0.3)],
        FREE,
        Some(Step::Accept(0)),
    );
    check(&thresholds(), &[None; 3], &[(0, 0.1)], FREE, Some(Step::Accept(0)));
    check(&thresholds(), &[None; 3], &[], FREE, None);
    check(&thresholds(), &[], &[], FREE, None);
}

#[test]
fn time_and_money_end_it() {
    let check = |answers: &[(usize, f64)], left, then| check(&thresholds(), &expected(), answers, left, then);
    let seconds = |left_s| Allowance {
        left_s: Some(left_s),
        ..FREE
    };
    let dollars = |most| Allowance {
        max_cost_usd: Some(most),
        ..FREE
    };
    check(&[(0, 0.5)], seconds(2.0), Some(Step::Call(1)));
    check(&[(0, 0.5)], seconds(1.9), Some(Step::Accept(0)));
    check(&[(0, 0.5)], seconds(-1.0), Some(Step::Accept(0)));
    check(&[], seconds(0.5), None);
    check(&[(0, 0.5)], dollars(0.03), Some(Step::Call(1)));
    check(&[(0, 0.5)], dollars(0.029), Some(Step::Accept(0)));
    check(&[], dollars(0.0), None);
    let unknown: Vec<Option<Expected>> = expected()
        .into_iter()
        .map(|of| of.map(|of| Expected { latency_s: None, ..of }))
        .collect();
    for (left_s, then) in [(0.1, Step::Call(1)), (0.0, Step::Accept(0))] {
        assert_eq!(
            thresholds().step(&unknown, &calls(&[(0, 0.5)]), &seconds(left_s)),
            Some(then)
        );
    }
}

fn value(lambda_per_usd: f64, dependence: f64) -> Cascade {
    cascade(Stop::Value {
        lambda_per_usd,
        dependence,
    })
}

#[test]
fn value_of_information() {
    let check =
        |cascade: &Cascade, answers: &[(usize, f64)], then| check(cascade, &expected(), answers, FREE, Some(then));
    // Mid adds .2 - .02, large .4 - .1.
    check(&value(1.0, 0.0), &[(0, 0.5)], Step::Call(2));
    // Mid adds .2 - .1, large .4 - .5.
    check(&value(5.0, 0.0), &[(0, 0.5)], Step::Call(1));
    check(&value(11.0, 0.0), &[(0, 0.5)], Step::Accept(0));
    check(&value(1.0, 0.0), &[(0, 0.9)], Step::Accept(0));
    // What failed here is expected to do worse there: mid .4, large .6.
    check(&value(5.0, 1.0), &[(0, 0.2)], Step::Call(1));
    check(&value(11.0, 1.0), &[(0, 0.2)], Step::Accept(0));
    check(&value(11.0, 0.0), &[(0, 0.2)], Step::Call(1));
    // Mid was passed over and stays so.
    check(&value(11.0, 0.0), &[(0, 0.2), (2, 0.1)], Step::Accept(0));
}

#[test]
fn a_spread_makes_a_call_worth_more() {
    let with = |spread| {
        expected()
            .into_iter()
            .map(|of| of.map(|of| Expected { spread, ..of }))
            .collect::<Vec<_>>()
    };
    let step = |spread| value(5.0, 0.0).step(&with(spread), &calls(&[(0, 0.7)]), &FREE);
    assert_eq!(step(0.0), Some(Step::Accept(0)));
    // Half of .3 is more than .02 at 5 a dollar.
    assert_eq!(step(0.3), Some(Step::Call(1)));
}

#[test]
fn a_better_answer_is_never_a_reason_to_go_on() {
    for dependence in [0.0, 0.3, 0.7, 1.0] {
        for lambda in [0.5, 1.0, 3.0, 8.0, 20.0] {
            for cascade in [
                value(lambda, dependence),
                cascade(Stop::Thresholds(vec![dependence, 0.5])),
            ] {
                let steps = (0..=100).map(|percent| {
                    let answer = calls(&[(0, f64::from(percent) / 100.0)]);
                    matches!(cascade.step(&expected(), &answer, &FREE), Some(Step::Accept(_)))
                });
                assert!(steps.is_sorted(), "{cascade:?}");
            }
        }
    }
}

#[test]
fn outlooks() {
    let taken = |share, quality| Acceptance { share, quality };
    let check = |expected: &[Option<Expected>], acceptance: &[Acceptance], then: Option<[f64; 4]>| {
        let found = thresholds().outlook(expected, acceptance);
        let found = found.map(|of| [of.quality, of.cost_usd, of.latency_s.unwrap(), of.longest_s.unwrap()]);
        match (found, then) {
            (Some(found), Some(then)) => {
                assert!(
                    found.iter().zip(then).all(|(a, b)| (a - b).abs() < 1e-12),
                    "{found:?}, not {then:?}"
                );
            }
            (found, then) => assert_eq!(found, then),
        }
    };
    let acceptance = [taken(0.6, 0.8), taken(0.5, 0.7), taken(0.1, 0.85)];
    // .6 stop at once, .2 at mid, .2 at large, which takes all.
    let quality = 0.6 * 0.8 + 0.2 * 0.7 + 0.2 * 0.85;
    check(
        &expected(),
        &acceptance,
        Some([quality, 0.01 + 0.4 * 0.02 + 0.2 * 0.1, 1.0 + 0.4 * 2.0 + 0.2 * 4.0, 7.0]),
    );
    // Without large, mid takes all that is left, at its mean.
    check(
        &without(2),
        &acceptance,
        Some([0.6 * 0.8 + 0.4 * 0.7, 0.01 + 0.4 * 0.02, 1.0 + 0.4 * 2.0, 3.0]),
    );
    // Without mid.
    check(
        &without(1),
        &acceptance,
        Some([0.6 * 0.8 + 0.4 * 0.85, 0.01 + 0.4 * 0.1, 1.0 + 0.4 * 4.0, 5.0]),
    );
    // Nothing known of the answers: every stage is asked.
    check(&expected(), &[], Some([0.9, 0.13, 7.0, 7.0]));
    check(&expected(), &[taken(1.0, 0.8)], Some([0.8, 0.01, 1.0, 7.0]));
    check(&[None; 3], &acceptance, None);
    let mut unknown = expected();
    unknown[1] = unknown[1].map(|of| Expected { latency_s: None, ..of });
    let outlook = thresholds().outlook(&unknown, &acceptance).unwrap();
    assert_eq!((outlook.latency_s, outlook.longest_s), (None, None));
}

fn check_error(tiers: &[&str], stop: Stop, expected: &str) {
    assert_eq!(
        Cascade::new(&names(tiers), stop, &catalog()).unwrap_err().to_string(),
        expected
    );
}

#[test]
fn refusals() {
    let thresholds = |thresholds: &[f64]| Stop::Thresholds(thresholds.to_vec());
    let value = |lambda_per_usd, dependence| Stop::Value {
        lambda_per_usd,
        dependence,
    };
    let (one, two) = (thresholds(&[0.5]), ["small", "large"]);
    check_error(
        &[],
        thresholds(&[]),
        "a cascade needs two tiers at least and has none; add a dearer one to escalate to, or use fixed:TIER",
    );
    check_error(
        &["small"],
        thresholds(&[]),
        "a cascade needs two tiers at least and has `small` alone; add a dearer one to escalate to, or use fixed:TIER",
    );
    check_error(
        &["small", "mid", "small"],
        one.clone(),
        "the cascade comes back to `small`, a cycle; name each tier once, cheapest first",
    );
    check_error(
        &["small", "huge"],
        one.clone(),
        "the cascade names `huge`, which is no tier; the tiers are small, mid, large",
    );
    check_error(
        &["large", "mid"],
        one,
        "the cascade goes from `large` to `mid`, which is cheaper; order its tiers cheapest first",
    );
    check_error(
        &two,
        thresholds(&[0.5, 0.5]),
        "the cascade has 2 tiers and 2 thresholds; give 1, one per tier but the last",
    );
    for (threshold, shown) in [(1.5, "1.5"), (-0.1, "-0.1"), (f64::NAN, "NaN")] {
        check_error(
            &two,
            thresholds(&[threshold]),
            &format!("a threshold of the cascade is {shown}; give a quality from 0 to 1"),
        );
    }
    for (lambda, shown) in [(0.0, "0"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        check_error(
            &two,
            value(lambda, 0.5),
            &format!("lambda_per_usd of the cascade is {shown}; give the quality that a US dollar is worth, above 0"),
        );
    }
    check_error(
        &two,
        value(1.0, 2.0),
        "the dependence of the cascade is 2; give a number from 0 to 1",
    );
}
