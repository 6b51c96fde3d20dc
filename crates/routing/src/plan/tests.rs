use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Sums of a few numbers agree to this.
const TOLERANCE: f64 = 1e-12;

fn step(id: &str, importance: f64, tiers: &[(f64, f64)]) -> Step {
    let tiers = tiers
        .iter()
        .map(|&(quality, cost_usd)| Some(Estimate { quality, cost_usd }));
    Step {
        id: id.to_owned(),
        importance,
        depends_on: Vec::new(),
        state: State::Waiting(tiers.collect()),
    }
}

fn done(id: &str, cost_usd: f64) -> Step {
    Step {
        state: State::Done { cost_usd },
        ..step(id, 1.0, &[])
    }
}

fn after(step: Step, ids: &[&str]) -> Step {
    Step {
        depends_on: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..step
    }
}

/// A budget without a reserve or a cushion.
fn terms(budget_usd: f64) -> Terms {
    Terms {
        reserve_share: 0.0,
        cushion_share: 0.0,
        ..Terms::of_budget(budget_usd)
    }
}

fn tiers_of(step: &Step) -> Vec<(usize, Estimate)> {
    match &step.state {
        State::Waiting(tiers) => tiers
            .iter()
            .enumerate()
            .filter_map(|(tier, of)| Some((tier, (*of)?)))
            .collect(),
        State::Done { .. } => Vec::new(),
    }
}

/// A task of up to five steps and four tiers, in whole microdollars, so that sums are exact for both sides.
/// Every other one has few different numbers, so that there are ties and exact fits.
fn random_task(rng: &mut ChaCha8Rng) -> Vec<Step> {
    let (n_steps, n_tiers) = (rng.random_range(1..=5), rng.random_range(1..=4));
    let is_coarse = rng.random();
    let number = |rng: &mut ChaCha8Rng| match is_coarse {
        true => f64::from(rng.random_range(0..=4)) / 4.0,
        false => f64::from(rng.random_range(0..=1_000_000)) / 1e6,
    };
    (0..n_steps)
        .map(|step_idx| {
            let mut tiers: Vec<Option<Estimate>> = (0..n_tiers)
                .map(|_| {
                    let estimate = Estimate {
                        quality: number(rng),
                        cost_usd: number(rng),
                    };
                    (rng.random::<f64>() < 0.8).then_some(estimate)
                })
                .collect();
            tiers[0].get_or_insert(Estimate {
                quality: 0.5,
                cost_usd: 0.25,
            });
            Step {
                state: State::Waiting(tiers),
                ..step(&step_idx.to_string(), 0.25 + number(rng), &[])
            }
        })
        .collect()
}

/// Cost and quality of every plan, and the cost of the steps below the top importance.
fn all_plans(steps: &[Step]) -> Vec<(f64, f64, f64)> {
    let top = steps.iter().map(|step| step.importance).fold(0.0, f64::max);
    steps.iter().fold(vec![(0.0, 0.0, 0.0)], |plans, step| {
        let tiers = tiers_of(step);
        let extended = plans.iter().flat_map(|(cost, quality, of_others)| {
            tiers.iter().map(move |(_, of)| {
                let below_top = if step.importance < top { of.cost_usd } else { 0.0 };
                (
                    cost + of.cost_usd,
                    quality + step.importance * of.quality,
                    of_others + below_top,
                )
            })
        });
        extended.collect()
    })
}

fn best_quality(steps: &[Step], budget_usd: f64, pot_of_others_usd: f64) -> Option<f64> {
    let plans = all_plans(steps).into_iter();
    let fitting = plans
        .filter(|(cost, _, of_others)| *cost <= budget_usd + TOLERANCE && *of_others <= pot_of_others_usd + TOLERANCE);
    fitting.map(|(_, quality, _)| quality).reduce(f64::max)
}

fn budgets(steps: &[Step]) -> Vec<f64> {
    let costs: Vec<f64> = all_plans(steps).iter().map(|plan| plan.0).collect();
    let (least, most) = (
        costs.iter().copied().fold(f64::INFINITY, f64::min),
        costs.iter().copied().fold(0.0, f64::max),
    );
    (-1..=11)
        .map(|tenth| (least + (most - least) * f64::from(tenth) / 10.0).max(0.0))
        .collect()
}

#[test]
fn plans_are_the_best_of_all() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for _ in 0..400 {
        let steps = random_task(&mut rng);
        let mut before = 0.0;
        for budget_usd in budgets(&steps) {
            let expected = best_quality(&steps, budget_usd, f64::INFINITY);
            match (solve(&steps, &terms(budget_usd)), expected) {
                (Ok(plan), Some(expected)) => {
                    assert!(
                        (plan.quality - expected).abs() <= TOLERANCE,
                        "{steps:?} {budget_usd} {plan:?}"
                    );
                    assert_eq!((plan.gap, plan.upper_bound), (0.0, plan.quality));
                    assert!(plan.cost_usd <= budget_usd + TOLERANCE);
                    assert!(plan.quality >= before - TOLERANCE, "more money is never worse");
                    before = plan.quality;
                }
                (Err(PlanError::BudgetTooSmall { .. }), None) => {}
                (found, expected) => panic!("{steps:?} {budget_usd}: {found:?}, not {expected:?}"),
            }
        }
    }
}

#[test]
fn a_reserve_is_kept_and_its_bound_holds() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let (mut n_plans, mut n_best) = (0, 0);
    for _ in 0..400 {
        let steps = random_task(&mut rng);
        for budget_usd in budgets(&steps) {
            let terms = Terms {
                reserve_share: rng.random(),
                ..terms(budget_usd)
            };
            let Ok(plan) = solve(&steps, &terms) else {
                continue;
            };
            let pot = budget_usd - plan.reserve_usd;
            let expected = best_quality(&steps, budget_usd, pot).unwrap();
            assert!(plan.cost_usd <= budget_usd + TOLERANCE);
            assert!(plan.quality <= expected + TOLERANCE && expected <= plan.upper_bound + TOLERANCE);
            let top = steps.iter().map(|step| step.importance).fold(0.0, f64::max);
            let of_others = plan.steps.iter().filter(|of| steps[of.step_idx].importance < top);
            assert!(of_others.map(|step| step.choice.cost_usd).sum::<f64>() <= pot + TOLERANCE);
            let reserved: f64 = plan.steps.iter().map(|step| step.reserved_usd).sum();
            assert!(reserved <= budget_usd + TOLERANCE && reserved >= plan.reserve_usd - TOLERANCE);
            n_plans += 1;
            n_best += usize::from(expected - plan.quality <= TOLERANCE);
        }
    }
    // Two pots are not always the best that both limits allow, but nearly always.
    assert!(n_best as f64 >= 0.98 * f64::from(n_plans), "{n_best} of {n_plans}");
}

/// 200 steps of eight tiers, dearer ones mostly better.
fn large_task(seed: u64, n_steps: usize) -> Vec<Step> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let tier = |tier: i32, rng: &mut ChaCha8Rng| {
        let quality = (0.3 + 0.08 * f64::from(tier) + 0.2 * rng.random::<f64>()).min(1.0);
        (quality, 0.0002 * 2_f64.powi(tier) * rng.random_range(0.2..5.0))
    };
    (0..n_steps)
        .map(|step_idx| {
            let tiers: Vec<(f64, f64)> = (0..8).map(|idx| tier(idx, &mut rng)).collect();
            step(&step_idx.to_string(), rng.random_range(0.5..2.0), &tiers)
        })
        .collect()
}

#[test]
fn two_hundred_steps_are_proven_best() {
    for seed in 0..20 {
        let steps = large_task(seed, 200);
        for budget_usd in [0.1, 0.3, 1.0, 5.0, 20.0, 1000.0] {
            if let Ok(plan) = solve(&steps, &terms(budget_usd)) {
                assert_eq!(plan.gap, 0.0, "{seed} {budget_usd}");
                assert!(plan.cost_usd <= budget_usd + TOLERANCE);
            }
        }
    }
}

#[test]
fn ten_thousand_steps_end() {
    let steps = large_task(1, 10_000);
    let plan = solve(&steps, &terms(300.0)).unwrap();
    assert!(plan.gap <= 1e-6 * plan.quality, "{}", plan.gap);
    assert!(plan.cost_usd <= 300.0 + 1e-9);
}

#[test]
fn a_search_that_is_cut_short_says_what_it_may_have_missed() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    // Quality in proportion to cost: a sum that comes as near as can be to the budget.
    let steps: Vec<Step> = (0..40)
        .map(|step_idx| {
            let mut tier = || {
                let cost = rng.random::<f64>();
                (cost, cost)
            };
            step(&step_idx.to_string(), 1.0, &[tier(), tier(), tier()])
        })
        .collect();
    let terms = Terms {
        max_states: 1000,
        ..terms(20.0)
    };
    let plan = solve(&steps, &terms).unwrap();
    assert!(plan.gap > 0.0 && plan.gap < 0.01, "{}", plan.gap);
    // Costs are rounded to picodollars, forty of them.
    assert!(plan.upper_bound <= 20.0 + 40.0 * TOLERANCE);
    assert!(plan.cost_usd <= 20.0 + TOLERANCE);
}

/// Two steps at one unit of importance, the second worth twice as much.
fn two_steps() -> [Step; 2] {
    let tiers = [(0.5, 0.1), (0.9, 0.4)];
    [step("a", 1.0, &tiers), step("b", 2.0, &tiers)]
}

fn check(steps: &[Step], terms: Terms, expected: &[(&str, usize, Why)]) -> Plan {
    let plan = solve(steps, &terms).unwrap();
    let found: Vec<(&str, usize, Why)> = plan
        .steps
        .iter()
        .map(|step| (step.id.as_str(), step.choice.tier, step.why))
        .collect();
    assert_eq!(found, expected, "{terms:?}");
    plan
}

#[test]
fn reasons() {
    check(
        &two_steps(),
        terms(0.2),
        &[("a", 0, Why::BestWithinBudget), ("b", 0, Why::BestWithinBudget)],
    );
    // 0.1 + 0.4 in picodollars is 0.5, whatever the sum of floats is.
    check(
        &two_steps(),
        terms(0.5),
        &[("a", 0, Why::LeavesRoom), ("b", 1, Why::Best)],
    );
    check(&two_steps(), terms(0.8), &[("a", 1, Why::Best), ("b", 1, Why::Best)]);
    check(&[step("a", 1.0, &[(0.5, 0.3)])], terms(0.3), &[("a", 0, Why::OnlyTier)]);
    // A dearer tier of the same quality is no better.
    check(
        &[step("a", 1.0, &[(0.5, 0.3), (0.5, 0.1)])],
        terms(1.0),
        &[("a", 1, Why::Best)],
    );
    // Of tiers alike, the first.
    check(
        &[step("a", 1.0, &[(0.5, 0.1), (0.5, 0.1)])],
        terms(1.0),
        &[("a", 0, Why::Best)],
    );
    // Nothing costs anything.
    check(
        &[step("a", 1.0, &[(0.5, 0.0), (0.7, 0.0)])],
        terms(0.0),
        &[("a", 1, Why::Best)],
    );
}

#[test]
fn what_is_held_back() {
    // Without a reserve the money goes where it adds most: to the many small gains of `a`.
    let steps = [
        step("a", 1.0, &[(0.2, 0.1), (0.9, 0.7)]),
        step("b", 1.1, &[(0.5, 0.1), (0.6, 0.4)]),
    ];
    let with = |reserve_share| Terms {
        reserve_share,
        ..terms(1.0)
    };
    check(&steps, with(0.0), &[("a", 1, Why::Best), ("b", 0, Why::LeavesRoom)]);
    // A tenth is what the cheapest tier of `b` needs anyway.
    check(&steps, with(0.1), &[("a", 1, Why::Best), ("b", 0, Why::LeavesRoom)]);
    let plan = check(&steps, with(0.4), &[("a", 0, Why::LeavesReserve), ("b", 1, Why::Best)]);
    assert_eq!((plan.reserve_usd, plan.gap), (0.4, 0.0));
    // What is not planned for `b` stays its own.
    let plan = check(&steps, with(0.6), &[("a", 0, Why::LeavesReserve), ("b", 1, Why::Best)]);
    assert!(
        (plan.steps[1].reserved_usd - 0.6).abs() < TOLERANCE && (plan.steps[0].reserved_usd - 0.1).abs() < TOLERANCE
    );
    // The others' cheapest tiers come before any reserve.
    let plan = check(&steps, with(1.0), &[("a", 0, Why::LeavesReserve), ("b", 1, Why::Best)]);
    assert!((plan.reserve_usd - 0.9).abs() < TOLERANCE);
    // With `b` done there is nobody to hold it for.
    let plan = check(&[steps[0].clone(), done("b", 0.2)], with(0.4), &[("a", 1, Why::Best)]);
    assert_eq!((plan.reserve_usd, plan.spent_usd, plan.cost_usd), (0.0, 0.2, 0.7));
}

#[test]
fn finished_steps_take_their_real_cost() {
    let [_, second] = two_steps();
    let with = |cost_usd| [done("a", cost_usd), second.clone()];
    let plan = check(&with(0.1), terms(0.5), &[("b", 1, Why::Best)]);
    assert_eq!(
        (plan.spent_usd, plan.cost_usd, plan.least_usd, plan.budget_usd),
        (0.1, 0.4, 0.1, 0.5)
    );
    check(&with(0.2), terms(0.5), &[("b", 0, Why::BestWithinBudget)]);
    check_error(
        &with(0.45),
        terms(0.5),
        "the cheapest tiers would cost 0.1 US dollars; the budget is 0.5, of which finished steps took 0.45; raise \
         the budget, or take out or shorten steps",
    );
    // When all is done there is nothing to plan, even where it cost too much.
    let plan = check(&[done("a", 0.9)], terms(0.5), &[]);
    assert_eq!((plan.quality, plan.gap, plan.reserve_usd), (0.0, 0.0, 0.0));
}

#[test]
fn the_fallback_is_the_cheapest_that_fits() {
    let mut steps = [step("a", 1.0, &[(0.4, 0.0), (0.5, 0.1), (0.9, 0.4)])];
    if let State::Waiting(tiers) = &mut steps[0].state {
        tiers[0] = None;
    }
    let plan = check(&steps, terms(1.0), &[("a", 2, Why::Best)]);
    assert_eq!(
        plan.steps[0].fallback,
        Choice {
            tier: 1,
            quality: 0.5,
            cost_usd: 0.1
        }
    );
}

#[test]
fn steps_come_after_what_they_depend_on() {
    let one = |id: &str| step(id, 1.0, &[(0.5, 0.0)]);
    let steps = [
        after(one("a"), &["d"]),
        one("b"),
        after(one("c"), &["b", "b"]),
        one("d"),
        after(one("e"), &["a"]),
    ];
    let plan = solve(&steps, &terms(1.0)).unwrap();
    let order: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(order, ["b", "c", "d", "a", "e"]);
}

fn check_error(steps: &[Step], terms: Terms, expected: &str) {
    assert_eq!(solve(steps, &terms).unwrap_err().to_string(), expected);
}

#[test]
fn refusals_of_steps_name_the_step() {
    let one = |id: &str| step(id, 1.0, &[(0.5, 0.1)]);
    let cases: [(&[Step], &str); 12] = [
        (&[], "the plan has no steps; give at least one"),
        (
            &[one("a"), one("a")],
            "step `a` is there twice; give each step an id of its own",
        ),
        (
            &[after(one("a"), &["z"])],
            "step `a` depends on `z`, which is not a step of this plan; add it or take it out of depends_on",
        ),
        (
            &[
                one("x"),
                after(one("a"), &["x", "b"]),
                after(one("b"), &["c"]),
                after(one("c"), &["a"]),
            ],
            "steps depend on one another in a ring: `a` -> `b` -> `c` -> `a`; take one of these out of depends_on",
        ),
        (
            &[after(one("q"), &["a"]), after(one("a"), &["a"])],
            "steps depend on one another in a ring: `a` -> `a`; take one of these out of depends_on",
        ),
        (
            &[step("a", 0.0, &[(0.5, 0.1)])],
            "step `a`: importance is 0; give a number above 0",
        ),
        (
            &[step("a", f64::NAN, &[(0.5, 0.1)])],
            "step `a`: importance is NaN; give a number above 0",
        ),
        (
            &[step("a", 1.0, &[(1.5, 0.1)])],
            "step `a`, tier 0 (counted from 0): the expected quality is 1.5; it lies in [0, 1]",
        ),
        (
            &[step("a", 1.0, &[(0.5, 0.1), (0.5, -1.0)])],
            "step `a`, tier 1 (counted from 0): the expected cost is -1; give US dollars, 0 or more",
        ),
        (
            &[done("a", f64::INFINITY)],
            "step `a` is done and its cost is inf; give US dollars, 0 or more",
        ),
        (
            &[step("a", 1.0, &[])],
            "step `a`: no tier can take it; make it shorter, need less of it, or add a tier that can",
        ),
        (
            &[one("a"), step("b", 1.0, &[(0.5, 0.2), (0.5, 1e30)]), one("c")],
            "the cheapest tiers would cost 0.4 US dollars; the budget is 0.3; raise the budget, or take out or shorten \
             steps",
        ),
    ];
    for (steps, expected) in cases {
        check_error(steps, terms(0.3), expected);
    }
    let ring: Vec<Step> = (0..50)
        .map(|idx| after(one(&idx.to_string()), &[&((idx + 1) % 50).to_string()]))
        .collect();
    let message = solve(&ring, &terms(1.0)).unwrap_err().to_string();
    assert!(message.contains("`9` -> (40 more) -> `0`"), "{message}");
}

#[test]
fn refusals_of_terms() {
    for (budget_usd, shown) in [
        (-1.0, "-1"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "inf"),
        (2e6, "2000000"),
    ] {
        check_error(
            &two_steps(),
            terms(budget_usd),
            &format!("the budget is {shown}; give US dollars from 0 to 1000000"),
        );
    }
    check_error(
        &two_steps(),
        Terms {
            reserve_share: 1.5,
            ..terms(1.0)
        },
        "`reserve_share` is 1.5; give a number from 0 to 1",
    );
    check_error(
        &two_steps(),
        terms(0.0),
        "the cheapest tiers would cost 0.2 US dollars; the budget is 0; raise the budget, or take out or shorten steps",
    );
}

#[test]
fn a_cushion_is_planned_for_no_step_but_the_last() {
    let tiers = [(0.5, 0.1), (0.9, 0.4)];
    let with = |cushion_share, budget_usd| Terms {
        cushion_share,
        ..terms(budget_usd)
    };
    // .8 buys the best of both; a fifth of it left alone does not.
    let best = [("a", 1, Why::Best), ("b", 1, Why::Best)];
    assert_eq!(check(&two_steps(), with(0.0, 0.8), &best).cushion_usd, 0.0);
    let some = [("a", 0, Why::LeavesRoom), ("b", 1, Why::Best)];
    assert_eq!(check(&two_steps(), with(0.2, 0.8), &some).cushion_usd, 0.16);
    let none = [("a", 0, Why::LeavesCushion), ("b", 0, Why::LeavesCushion)];
    assert_eq!(check(&two_steps(), with(0.5, 0.8), &none).cushion_usd, 0.4);
    // The cheapest tiers come first, and nothing follows the last step.
    let least = [("a", 0, Why::BestWithinBudget), ("b", 0, Why::BestWithinBudget)];
    assert_eq!(check(&two_steps(), with(0.9, 0.2), &least).cushion_usd, 0.0);
    let last = [done("a", 0.4), step("b", 2.0, &tiers)];
    assert_eq!(check(&last, with(0.9, 0.8), &[("b", 1, Why::Best)]).cushion_usd, 0.0);
    let wrong = Terms {
        cushion_share: -0.1,
        ..terms(1.0)
    };
    check_error(
        &two_steps(),
        wrong,
        "`cushion_share` is -0.1; give a number from 0 to 1",
    );
}

#[test]
fn the_largest_budget_is_counted_exactly() {
    let steps: Vec<Step> = (0..1000)
        .map(|idx| step(&idx.to_string(), 1.0, &[(0.1, 999.0), (0.9, 1000.0)]))
        .collect();
    let plan = solve(&steps, &terms(Terms::LARGEST_BUDGET_USD)).unwrap();
    assert_eq!((plan.cost_usd, plan.gap), (1e6, 0.0));
}
