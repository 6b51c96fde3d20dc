//! How the equations of an answer hang together with the question and with one another.

use std::collections::{BTreeMap, BTreeSet};

use super::arithmetic::{Check, Equation, N_OPERATIONS};
use super::numbers::{Given, Key, key};

/// Numbers that a calculation brings in without the question saying so.
const COMMON: [f64; 9] = [1.0, 2.0, 100.0, 0.5, 10.0, 60.0, 24.0, 7.0, 12.0];

/// Counts over all equations of an answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Work {
    /// Equations.
    pub(super) n: u32,
    /// Left sides that were computed.
    pub(super) read: u32,
    /// Results that are rounded.
    pub(super) rounded: u32,
    /// Results that are wrong.
    pub(super) wrong: u32,
    /// Operands that the question gives.
    pub(super) from_question: u32,
    /// Operands that are results of earlier equations.
    pub(super) from_results: u32,
    /// Operands that come from nowhere.
    pub(super) unsupported: u32,
    /// All operands.
    pub(super) operands: u32,
    /// Longest chain of results made from results.
    pub(super) depth: u32,
    /// Results that were a result before.
    pub(super) repeated: u32,
    /// Results that are no integers.
    pub(super) fractional: u32,
    /// Negative results.
    pub(super) negative: u32,
    /// Different results that are neither used later nor concluded.
    pub(super) dangling: u32,
    /// Numbers of the question that are no operand.
    pub(super) not_used: u32,
    /// Times that a number of the question is used again.
    pub(super) used_again: u32,
    /// Additions, subtractions, multiplications, divisions.
    pub(super) operations: [u32; N_OPERATIONS],
    /// Results in order.
    pub(super) results: Vec<f64>,
    /// Different results.
    pub(super) distinct: BTreeSet<Key>,
}

impl Work {
    /// Of an answer's equations and of what it concludes.
    pub(super) fn read(equations: &[Equation], given: &Given, conclusion: Option<f64>) -> Self {
        let mut work = Self::default();
        let mut seen = Seen::default();
        for equation in equations {
            work.add(equation, given, &mut seen);
        }
        let concluded = conclusion.map(key);
        let is_loose = |result: &&Key| !seen.used.contains(*result) && Some(**result) != concluded;
        work.dangling = work.distinct.iter().filter(is_loose).count() as u32;
        let is_operand = |said: &Key| {
            [*said, said / 100, said.saturating_mul(100)]
                .iter()
                .any(|k| seen.operands.contains_key(k))
        };
        work.not_used = given.said.iter().filter(|said| !is_operand(said)).count() as u32;
        let again = seen.operands.iter().filter(|(operand, _)| given.said.contains(operand));
        work.used_again = again.map(|(_, count)| count - 1).sum();
        work
    }

    fn add(&mut self, equation: &Equation, given: &Given, seen: &mut Seen) {
        let result = key(equation.result);
        self.n += 1;
        self.rounded += u32::from(equation.check == Check::Rounded);
        self.wrong += u32::from(equation.check == Check::Wrong);
        if equation.check != Check::Unread {
            self.read += 1;
            let depth = 1 + self.add_operands(equation, given, seen);
            self.depth = self.depth.max(depth);
            seen.depths.insert(result, depth);
        }
        for (total, count) in self.operations.iter_mut().zip(equation.operations) {
            *total += count;
        }
        self.repeated += u32::from(!self.distinct.insert(result));
        self.results.push(equation.result);
        self.fractional += u32::from(equation.result.fract() != 0.0);
        self.negative += u32::from(equation.result < 0.0);
    }

    /// Where the operands come from; returns the longest chain behind them.
    fn add_operands(&mut self, equation: &Equation, given: &Given, seen: &mut Seen) -> u32 {
        let mut depth = 0;
        for operand in &equation.operands {
            let of_operand = key(*operand);
            self.operands += 1;
            *seen.operands.entry(of_operand).or_default() += 1;
            if self.distinct.contains(&of_operand) {
                self.from_results += 1;
                seen.used.insert(of_operand);
                depth = depth.max(seen.depths.get(&of_operand).copied().unwrap_or(0));
            } else if given.explains(*operand) {
                self.from_question += 1;
            } else if !COMMON.contains(operand) {
                self.unsupported += 1;
            }
        }
        depth
    }
}

#[derive(Default)]
struct Seen {
    /// How often each operand occurs.
    operands: BTreeMap<Key, u32>,
    /// Results that became operands.
    used: BTreeSet<Key>,
    /// Chain behind each result.
    depths: BTreeMap<Key, u32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::arithmetic::equations;

    fn read(question: &str, answer: &str, conclusion: f64) -> Work {
        let given = Given::read(question, &question.to_lowercase());
        Work::read(&equations(answer), &given, Some(conclusion))
    }

    #[test]
    fn a_sound_chain() {
        let work = read("3 boxes of 4 pens, 5 are lost.", "3 * 4 = 12; 12 - 5 = 7", 7.0);
        let expected = Work {
            n: 2,
            read: 2,
            from_question: 3,
            from_results: 1,
            operands: 4,
            depth: 2,
            operations: [0, 1, 1, 0],
            results: vec![12.0, 7.0],
            distinct: [12.0, 7.0].map(key).into(),
            ..Work::default()
        };
        assert_eq!(work, expected);
    }

    #[test]
    fn an_unsound_one() {
        let work = read(
            "3 boxes of 4 pens, 9 are lost.",
            "3 + 4 = 8; 3 * 17 = 51; 7 / 2 = 3.5; 2 - 4 = -2; 2 - 4 = -2",
            5.0,
        );
        assert_eq!((work.wrong, work.unsupported, work.not_used), (1, 1, 1));
        assert_eq!((work.fractional, work.negative, work.repeated), (1, 2, 1));
        assert_eq!((work.dangling, work.used_again), (4, 3));
    }

    #[test]
    fn nothing() {
        assert_eq!(read("", "", 0.0), Work::default());
    }
}
