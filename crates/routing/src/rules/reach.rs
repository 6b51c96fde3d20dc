//! Whether every rule can fire: is there a request that meets its condition and none of those before it?
//!
//! The limits that the rules compare a signal with cut its values into a few ranges, in each of which no
//! comparison changes. One value stands for each range, and the search sets one signal after the other to
//! these, leaving a branch as soon as it is settled. Signals are taken to be independent of one another:
//! that `n_tools` above 0 means `needs_tools` is not known here.

use super::condition::{Condition, Test};
use super::error::RuleError;
use super::signal::{Domain, Signal, Value};
use super::{Rule, label};

/// Settings looked at for one question; beyond it a rule counts as one that can fire.
const MAX_LOOKS: usize = 20_000;

/// A condition (none: always), and whether it has to hold.
type Demand<'a> = (Option<&'a Condition>, bool);

/// The values to try for each signal that a rule looks at.
type Ranges<'a> = Vec<(Signal, Vec<Value<'a>>)>;

/// Errors at the first rule that can never fire.
pub(super) fn check(rules: &[Rule]) -> Result<(), RuleError> {
    let ranges = ranges(rules);
    for (rule_idx, rule) in rules.iter().enumerate() {
        check_comparisons(rule_idx, rule, &ranges)?;
        let fires = (rule.when.as_ref(), true);
        if !can_be(&[fires], &ranges) {
            return Err(RuleError::Contradiction {
                rule: label(rule_idx, rule),
            });
        }
        let earlier = || rules[..rule_idx].iter().enumerate();
        let alone = earlier().find(|(_, earlier)| !can_be(&[fires, (earlier.when.as_ref(), false)], &ranges));
        if let Some((earlier_idx, earlier)) = alone {
            return Err(RuleError::Shadowed {
                rule: label(rule_idx, rule),
                by: label(earlier_idx, earlier),
            });
        }
        let mut demands: Vec<Demand<'_>> = earlier().map(|(_, earlier)| (earlier.when.as_ref(), false)).collect();
        demands.push(fires);
        if !can_be(&demands, &ranges) {
            return Err(RuleError::Shadowed {
                rule: label(rule_idx, rule),
                by: "the rules before it together".to_owned(),
            });
        }
    }
    Ok(())
}

/// Errors at a comparison that no value of its signal meets: a part of the rule that is idle.
fn check_comparisons(rule_idx: usize, rule: &Rule, ranges: &Ranges<'_>) -> Result<(), RuleError> {
    let mut idle = None;
    let mut visit = |signal: Signal, tests: &[Test]| {
        let values = ranges
            .iter()
            .find(|(ranged, _)| *ranged == signal)
            .map(|(_, values)| values);
        let is_met =
            values.is_some_and(|values| values.iter().any(|value| tests.iter().all(|test| test.holds(*value))));
        if !is_met {
            idle.get_or_insert(signal);
        }
    };
    if let Some(when) = &rule.when {
        when.each_signal(&mut visit);
    }
    idle.map_or(Ok(()), |signal| {
        Err(RuleError::NeverMet {
            rule: label(rule_idx, rule),
            signal,
        })
    })
}

fn ranges(rules: &[Rule]) -> Ranges<'_> {
    let mut tests: Vec<(Signal, &Test)> = Vec::new();
    for when in rules.iter().filter_map(|rule| rule.when.as_ref()) {
        when.each_signal(&mut |signal, found| tests.extend(found.iter().map(|test| (signal, test))));
    }
    let is_used = |signal: &Signal| tests.iter().any(|(tested, _)| tested == signal);
    let used = Signal::NAMES.iter().map(|(signal, _)| *signal).filter(is_used);
    used.map(|signal| {
        let of_signal: Vec<&Test> = tests
            .iter()
            .filter(|(tested, _)| *tested == signal)
            .map(|(_, test)| *test)
            .collect();
        (signal, values(signal.domain(), &of_signal))
    })
    .collect()
}

/// One value of each range.
fn values<'a>(domain: Domain, tests: &[&'a Test]) -> Vec<Value<'a>> {
    let numbers = |largest: f64| {
        // A comparison changes at the first whole number that is not below the limit, and at the next.
        let changes = tests
            .iter()
            .filter_map(|test| test.limit())
            .flat_map(|limit| [limit.ceil(), limit.floor() + 1.0]);
        let mut numbers: Vec<f64> = changes.chain([0.0]).filter(|number| *number <= largest).collect();
        numbers.sort_by(f64::total_cmp);
        numbers.dedup();
        numbers.into_iter().map(Value::Number)
    };
    let labels = || {
        tests.iter().flat_map(|test| match test {
            Test::Is(labels) => labels.as_slice(),
            _ => &[],
        })
    };
    match domain {
        Domain::Count => numbers(f64::INFINITY).collect(),
        Domain::OptionalCount => numbers(f64::INFINITY).chain([Value::Absent]).collect(),
        Domain::Flag => numbers(1.0).collect(),
        Domain::FreeLabel => labels()
            .map(|label| Value::Label(label))
            .chain([Value::OtherLabel, Value::Absent])
            .collect(),
        Domain::Labels(known) => known.iter().map(|label| Value::Label(label)).collect(),
    }
}

/// Whether some setting of the signals meets all demands.
fn can_be(demands: &[Demand<'_>], ranges: &Ranges<'_>) -> bool {
    let mut looks = MAX_LOOKS;
    search(demands, ranges, &mut Vec::with_capacity(ranges.len()), &mut looks)
}

/// `set` has the values of the first signals.
fn search<'a>(demands: &[Demand<'_>], ranges: &Ranges<'a>, set: &mut Vec<Value<'a>>, looks: &mut usize) -> bool {
    if *looks == 0 {
        return true;
    }
    *looks -= 1;
    let value = |signal: Signal| {
        let position = ranges.iter().position(|(ranged, _)| *ranged == signal)?;
        set.get(position).copied()
    };
    let mut is_open = false;
    for (condition, wanted) in demands {
        match condition.map_or(Some(true), |condition| condition.holds(&value)) {
            Some(holds) if holds != *wanted => return false,
            Some(_) => {}
            None => is_open = true,
        }
    }
    if !is_open {
        return true;
    }
    // What is open hangs on a signal that is not set, so there is one.
    let Some((_, values)) = ranges.get(set.len()) else {
        return false;
    };
    values.iter().any(|value| {
        set.push(*value);
        let is_met = search(demands, ranges, set, looks);
        set.pop();
        is_met
    })
}
