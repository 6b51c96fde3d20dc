//! Bounds that hold with a stated probability.

use statrs::distribution::{Beta, ContinuousCDF};

/// Clopper-Pearson upper bound: the rate that `n_events` of `n_trials` stays below with probability
/// of at least 1 - `delta`. One when there is no trial.
pub fn clopper_pearson_upper(n_events: usize, n_trials: usize, delta: f64) -> f64 {
    if n_events >= n_trials {
        return 1.0;
    }
    match Beta::new(n_events as f64 + 1.0, (n_trials - n_events) as f64) {
        Ok(beta) => beta.inverse_cdf(1.0 - delta),
        Err(_) => 1.0,
    }
}

/// Of `n` items, `losses` were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Items.
    pub n: usize,
    /// Those of them that were lost.
    pub losses: usize,
}

/// Items over the tolerated rate that the first hypothesis of a sequence needs: with fewer, chance alone
/// would end the test at its beginning.
const START: f64 = 30.0;

/// The steps that are certified to have a loss rate of at most `alpha`, all of them together with probability
/// 1 - `delta`: from the first that is tested to the last. `None` where not even that one is.
///
/// Fixed-sequence testing (Angelopoulos et al. 2021, "Learn then Test", section 4; Maurer, Hothorn and
/// Lehmacher 1995) of Clopper-Pearson bounds: steps are tested in order, each at the full `delta`, until the
/// first that fails, so that no correction for their number is due. The order must not depend on the losses;
/// `steps` have to come from the safest to the boldest, and testing begins at the first with enough items.
pub fn fixed_sequence(steps: &[Tally], alpha: f64, delta: f64) -> Option<std::ops::RangeInclusive<usize>> {
    let is_large = |step: &Tally| step.n as f64 >= START / alpha;
    let largest = || (0..steps.len()).max_by_key(|at| (steps[*at].n, std::cmp::Reverse(*at)));
    let first = steps.iter().position(is_large).or_else(largest)?;
    let holds = |step: &Tally| clopper_pearson_upper(step.losses, step.n, delta) <= alpha;
    let n_certified = steps[first..].iter().take_while(|step| holds(step)).count();
    (n_certified > 0).then(|| first..=first + n_certified - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn testing_ends_at_the_first_failure() {
        let step = |n, losses| Tally { n, losses };
        // .1 tolerated: 300 items to begin with.
        let steps = [step(10, 9), step(400, 20), step(500, 30), step(600, 70), step(700, 10)];
        assert_eq!(fixed_sequence(&steps, 0.1, 0.1), Some(1..=2));
        assert_eq!(fixed_sequence(&steps[3..], 0.1, 0.1), None);
        assert_eq!(fixed_sequence(&[], 0.1, 0.1), None);
        // With few items the largest step is what there is to test.
        assert_eq!(fixed_sequence(&[step(10, 0), step(40, 0)], 0.1, 0.1), Some(1..=1));
    }

    /// 200 worlds with a loss rate of exactly alpha at every step: not more than delta of them may be certified.
    #[test]
    fn the_guarantee_holds() {
        let (alpha, delta, mut seed) = (0.15, 0.1, 7_u64);
        let mut draw = || {
            // SplitMix64: enough for a coin.
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let uniform = ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
            uniform < alpha
        };
        let mut n_wrong = 0;
        for _ in 0..200 {
            let mut tally = Tally { n: 0, losses: 0 };
            let steps: Vec<Tally> = (0..20)
                .map(|_| {
                    tally.n += 50;
                    tally.losses += (0..50).filter(|_| draw()).count();
                    tally
                })
                .collect();
            n_wrong += usize::from(fixed_sequence(&steps, alpha, delta).is_some());
        }
        // 20 expected at most; 32 would be three standard deviations over it.
        assert!(n_wrong <= 32, "{n_wrong} of 200");
    }

    #[test]
    fn no_event_is_the_rule_of_three() {
        // Zero of n: 1 - delta^(1/n).
        let expected = 1.0 - 0.05_f64.powf(1.0 / 100.0);
        assert!((clopper_pearson_upper(0, 100, 0.05) - expected).abs() < 1e-6);
    }

    #[test]
    fn one_of_ten() {
        // Textbook: one-sided 97.5 % bound of 1/10 is .4450.
        assert!((clopper_pearson_upper(1, 10, 0.025) - 0.4450).abs() < 1e-4);
    }

    #[test]
    fn degenerate() {
        assert_eq!(clopper_pearson_upper(0, 0, 0.05), 1.0);
        assert_eq!(clopper_pearson_upper(5, 5, 0.05), 1.0);
    }
}
