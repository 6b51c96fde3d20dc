//! A sentence on a cascade's threshold, where the figures carry one.
//!
//! What they cannot carry: whether an answer that was passed on would have done. The client never saw it, so
//! nobody said anything of it. Only the estimate can be judged, on the answers that were let out.

use super::figures::StageFigures;

/// Answers with a known quality below which nothing is said.
const ENOUGH_OBSERVED: u64 = 30;
/// Answers below which a rate near 0 or 1 may be chance.
const ENOUGH_READ: u64 = 200;
/// Quality by which an estimate may be off without a word: two points.
const NEGLIGIBLE: f64 = 0.02;

/// The most pressing one.
pub(crate) fn of(stage: &StageFigures) -> Option<String> {
    below_target(stage)
        .or_else(|| too_kind(stage))
        .or_else(|| too_strict(stage))
        .or_else(|| useless(stage))
        .or_else(|| unknown(stage))
}

fn below_target(stage: &StageFigures) -> Option<String> {
    let (observed, target, interval) = (stage.observed?, stage.target?, stage.above_target_interval?);
    (is_judged(stage) && interval.high < 0.0).then(|| {
        format!(
            "Answers of {} that were let out were observed at {observed:.2}, below the target of {target:.2} by more than \
             chance: raise the threshold, or refit the cascade (tiercast train --cascade).",
            stage.tier
        )
    })
}

fn too_kind(stage: &StageFigures) -> Option<String> {
    let (gap, interval) = (stage.above_estimate?, stage.above_estimate_interval?);
    (is_judged(stage) && interval.high < -NEGLIGIBLE).then(|| {
        format!(
            "Estimates of {} are too kind: answers that were let out turned out {:.2} worse than estimated. Refit the cascade \
             (tiercast train --cascade), or raise the threshold by as much.",
            stage.tier, -gap
        )
    })
}

fn too_strict(stage: &StageFigures) -> Option<String> {
    let (gap, interval) = (stage.above_estimate?, stage.above_estimate_interval?);
    (is_judged(stage) && interval.low > NEGLIGIBLE && stage.escalated > 0).then(|| {
        format!(
            "Estimates of {} are too strict: answers that were let out turned out {gap:.2} better than estimated, so answers \
             that would have done are probably passed on. Refit the cascade, or judge a sample of its answers.",
            stage.tier
        )
    })
}

fn useless(stage: &StageFigures) -> Option<String> {
    let rate = stage.escalation_rate.filter(|_| stage.answers_read >= ENOUGH_READ)?;
    if rate > 0.9 {
        return Some(format!(
            "Nine of ten answers of {} are passed on: asking it first mostly adds cost and delay.",
            stage.tier
        ));
    }
    (rate < 0.005).then(|| {
        format!(
            "Answers of {} are hardly ever passed on: reading them changes nothing.",
            stage.tier
        )
    })
}

fn unknown(stage: &StageFigures) -> Option<String> {
    (!is_judged(stage) && stage.answers_read >= ENOUGH_READ).then(|| {
        format!(
            "Of {} only {} answers that were let out have a known quality: too few to judge its threshold. Send feedback, or \
             judge a sample.",
            stage.tier, stage.n_observed
        )
    })
}

fn is_judged(stage: &StageFigures) -> bool {
    stage.n_observed >= ENOUGH_OBSERVED
}

#[cfg(test)]
mod tests {
    use super::super::stage::Stage;

    /// A tier of which every answer was estimated at 0.8 for a target of 0.75, `escalated` of 1000 passed on, and of
    /// `observed` that were let out this share was good.
    fn check(escalated: u64, observed: u32, good_share: f64, expected: Option<&str>) {
        let mut stage = Stage::default();
        (0..escalated).for_each(|_| stage.pass_on(Some(0.3), Some(0.001)));
        (escalated..1000).for_each(|_| stage.let_out(Some(0.8)));
        let n_good = (f64::from(observed) * good_share).round() as u32;
        (0..observed).for_each(|i| stage.observe(0.8, Some(0.75), f64::from(u8::from(i < n_good))));
        let hint = stage.figures("small").hint;
        match expected {
            Some(words) => assert!(hint.as_deref().is_some_and(|hint| hint.contains(words)), "{hint:?}"),
            None => assert_eq!(hint, None),
        }
    }

    #[test]
    fn a_hint_says_what_the_figures_carry() {
        check(200, 400, 0.80, None);
        check(200, 400, 0.60, Some("below the target of 0.75"));
        check(200, 4000, 0.77, None);
        check(200, 400, 0.95, Some("too strict"));
        check(200, 10, 0.10, Some("only 10 answers"));
        check(950, 40, 0.80, Some("adds cost and delay"));
        check(0, 400, 0.80, Some("changes nothing"));
    }

    #[test]
    fn without_a_target_the_estimate_is_judged() {
        let mut stage = Stage::default();
        (0..400_u32).for_each(|i| {
            stage.let_out(Some(0.8));
            stage.observe(0.8, None, f64::from(u8::from(i % 10 < 7)));
        });
        let hint = stage.figures("small").hint.unwrap();
        assert!(hint.contains("too kind") && hint.contains("0.10 worse"), "{hint}");
    }
}
