//! What has to be kept of a request until somebody says how its answer was.

use tiercast_records::journal::{Label, Path, Role, Served};

use super::label::is_same;

/// The part of a row that later feedback is booked on. Smaller than the row: the server holds one per
/// request that may still be spoken of.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Tier that answered.
    pub tier: Option<Label>,
    /// Task, as in the row.
    pub task: Label,
    /// Cohort, as in the row.
    pub cohort: Label,
    /// How the answer was come by.
    pub path: Path,
    /// Expected quality of the tier that answered, in [0, 1].
    pub predicted: Option<f64>,
    /// Quality that was aimed at, in [0, 1].
    pub target: Option<f64>,
    /// Probability with which the tier was chosen.
    pub propensity: f64,
    /// Estimate of the answer's quality on which a cascade let it out, in [0, 1].
    pub estimate: Option<f64>,
}

impl Trace {
    /// Of a row.
    pub fn of(row: &Served) -> Self {
        let answer = row.answer();
        Self {
            tier: answer.map(|call| call.tier.clone()),
            task: row.task.clone(),
            cohort: row.cohort.clone(),
            path: row.path(),
            predicted: predicted(row),
            target: row.target.and_then(share),
            propensity: row.propensity,
            estimate: answer
                .filter(|_| !is_escalated(row))
                .and_then(|call| call.estimate.and_then(share)),
        }
    }
}

/// Whether the call after the one that answered was an escalation: then its answer was not let out, but fallen
/// back to.
fn is_escalated(row: &Served) -> bool {
    let next = row.answered_by.and_then(|at| row.call_after(at));
    next.is_some_and(|call| call.role == Role::Escalation)
}

/// Expected quality of the tier that answered.
pub(crate) fn predicted(row: &Served) -> Option<f64> {
    let tier = &row.answer()?.tier;
    share(
        row.tiers
            .iter()
            .find(|expected| is_same(&expected.tier, tier))?
            .quality_mean,
    )
}

/// A quality in [0, 1], unless it is not a number.
#[inline]
pub(crate) fn share(value: f32) -> Option<f64> {
    (!value.is_nan()).then(|| f64::from(value).clamp(0.0, 1.0))
}
