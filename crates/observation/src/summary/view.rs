//! Figures of a summary.

use tiercast_records::journal::{Label, Path};

use super::bounded::Bounded;
use super::cost::Best;
use super::figures::{
    CostFigures, CostSection, Count, Escalations, Exclusion, FailureCount, Failures, Fallback, Figures,
    FrontierSection, Latency, Move, Period, QualityFigures, QualitySection, TierLatency, TierPoint, TimelineFigures,
    Totals,
};
use super::tier::Tier;
use super::{Group, Summary};

/// Name of what has no place of its own.
const REST: &str = "other";

/// In the order of [`Path`].
const PATHS: [(Path, &str); 4] = [
    (Path::Direct, "direct"),
    (Path::Escalated, "escalated"),
    (Path::Fallback, "fallback"),
    (Path::Unanswered, "unanswered"),
];

impl Summary {
    /// Everything that is shown.
    pub fn figures(&self) -> Figures {
        let best = self.best();
        Figures {
            period: Period {
                from_ms: self.from_ms,
                to_ms: self.to_ms,
            },
            totals: self.totals(),
            cost: self.cost(best.as_ref()),
            quality: self.quality(),
            escalations: self.escalated(),
            failures: self.failures(),
            latency: self.latency(),
            frontier: self.frontier(),
            timelines: self.timelines(None),
        }
    }

    /// The series over time, up to now: also where nothing has come for a while. One per resolution, in the order in
    /// which they were asked for.
    pub fn timelines_until(&self, now_ms: i64) -> Vec<TimelineFigures> {
        self.timelines(Some(now_ms))
    }

    fn timelines(&self, until_ms: Option<i64>) -> Vec<TimelineFigures> {
        let best = self.best();
        let all = self.timelines.iter();
        all.map(|timeline| timeline.figures(best.as_ref(), until_ms)).collect()
    }

    fn best(&self) -> Option<Best> {
        // By name, so that the order in which tiers were seen decides nothing.
        let tiers = self.tiers.sorted();
        let candidates: Vec<_> = tiers
            .iter()
            .filter_map(|(_, place, tier)| tier.candidate(*place))
            .collect();
        Best::among(&candidates)
    }

    fn totals(&self) -> Totals {
        let counts = &self.counts;
        Totals {
            requests: self.all.cost.requests,
            answered: self.all.cost.answered,
            failed: counts.failed,
            refused: counts.refused,
            decided_only: counts.decided_only,
            insufficient_evidence: counts.insufficient_evidence,
            spent_usd: self.all.cost.spent.value(),
            calls: counts.calls,
            calls_with_estimated_tokens: counts.calls_with_estimated_tokens,
            input_tokens: counts.input_tokens.value(),
            cached_tokens: counts.cached_tokens.value(),
            output_tokens: counts.output_tokens.value(),
            unusable_figures: counts.unusable_figures,
            by_endpoint: named_counts(&counts.endpoints),
            by_policy: named_counts(&counts.policies),
            by_reason: named_counts(&counts.reasons),
            by_rule: named_counts(&counts.rules),
            by_checkpoint: named_counts(&counts.checkpoints),
        }
    }

    fn cost(&self, best: Option<&Best>) -> CostSection {
        let always_best = best.and_then(|best| {
            let name = self.tiers.name(best.slot());
            let (_, place, tier) = self
                .tiers
                .sorted()
                .into_iter()
                .find(|(_, place, _)| *place == best.slot())?;
            Some(best.figures(name, &tier.candidate(place)?, self.answered.quality_mean()))
        });
        CostSection {
            always_best,
            all: self.all.cost.figures("all", best),
            by_tier: self.cost_by_tier(best),
            by_task: cost_by_label(&self.tasks, best),
            by_cohort: cost_by_label(&self.cohorts, best),
        }
    }

    fn cost_by_tier(&self, best: Option<&Best>) -> Vec<CostFigures> {
        let named = self
            .tiers
            .sorted()
            .into_iter()
            .map(|(name, _, tier)| (name, false, tier));
        let all = named.chain(self.tiers.rest().map(|rest| (REST, true, rest)));
        all.map(|(name, is_rest, tier)| CostFigures {
            is_rest,
            predicted_as: tier.predicted_as.as_deref().map(str::to_owned),
            calls: Some(tier.calls),
            spent_usd: tier.spent.value(),
            ..tier.answered.cost.figures(name, best)
        })
        .collect()
    }

    fn quality(&self) -> QualitySection {
        let by_path = PATHS.map(|(path, name)| {
            let (n, quality) = &self.by_path[path as usize];
            quality.figures(name, *n)
        });
        let tiers = self.tiers.sorted();
        let rest = self.tiers.rest().map(|rest| rest_of(&rest.answered));
        let by_tier = tiers.iter().map(|(name, _, tier)| QualityFigures {
            predicted_as: tier.predicted_as.as_deref().map(str::to_owned),
            ..quality_of(name, &tier.answered)
        });
        QualitySection {
            all: quality_of("all", &self.all),
            by_path: by_path.into(),
            by_tier: by_tier.chain(rest).collect(),
            by_task: quality_by_label(&self.tasks),
            by_cohort: quality_by_label(&self.cohorts),
            judged_at_rates: self.rates,
            reliability: self.reliability.figures(),
            weighted_by_tier: (tiers.iter())
                .filter_map(|(name, _, tier)| tier.by_propensity.figures(name))
                .collect(),
        }
    }

    fn escalated(&self) -> Escalations {
        let (n_escalated, _) = &self.by_path[Path::Escalated as usize];
        let answered = self.all.cost.answered;
        let tiers = self.tiers.sorted();
        let read = tiers.iter().filter(|(_, _, tier)| tier.stage.read > 0);
        Escalations {
            rate: (answered > 0).then(|| *n_escalated as f64 / answered as f64),
            stages: read.map(|(name, _, tier)| tier.stage.figures(name)).collect(),
            moves: each(&self.escalations, |[from, to], calls| Move { from, to, calls }),
        }
    }

    fn failures(&self) -> Failures {
        Failures {
            fallbacks: each(&self.fallbacks, |[from, to, error], calls| Fallback {
                from,
                to,
                error,
                calls,
            }),
            by_tier: each(&self.errors, |[tier, error], calls| FailureCount { tier, error, calls }),
            exclusions: each(&self.exclusions, |[tier, why], requests| Exclusion {
                tier,
                why,
                requests,
            }),
        }
    }

    fn latency(&self) -> Latency {
        let called = self.tiers.sorted().into_iter().filter(|(_, _, tier)| tier.calls > 0);
        let of = |(name, _, tier): (&str, usize, &Tier)| TierLatency {
            tier: name.to_owned(),
            first_token_ms: tier.first_token.figures(),
            total_ms: tier.total.figures(),
        };
        Latency {
            overhead_ms: self.overhead.figures(),
            by_tier: called.map(of).collect(),
        }
    }

    fn frontier(&self) -> FrontierSection {
        let point = |(name, _, tier): (&str, usize, &Tier)| {
            Some(TierPoint {
                tier: name.to_owned(),
                point: tier.forecast.figures()?,
            })
        };
        FrontierSection {
            floors: self.frontier.figures(),
            tiers: self.tiers.sorted().into_iter().filter_map(point).collect(),
            decided: self.decided.figures(),
            answered: self.answered.figures(),
        }
    }
}

fn named_counts(table: &Bounded<Label, u64>) -> Vec<Count> {
    let count = |name: &str, is_rest: bool, requests: u64| Count {
        name: name.to_owned(),
        is_rest,
        requests,
    };
    let named = table.sorted().into_iter().map(|row| count(&row.key, false, row.value));
    named.chain(table.rest().map(|rest| count(REST, true, *rest))).collect()
}

fn cost_by_label(table: &Bounded<Label, Group>, best: Option<&Best>) -> Vec<CostFigures> {
    let named = table.sorted().into_iter().map(|row| CostFigures {
        missed_at_most: row.missed,
        ..row.value.cost.figures(&row.key, best)
    });
    let rest = table.rest().map(|rest| CostFigures {
        is_rest: true,
        ..rest.cost.figures(REST, best)
    });
    named.chain(rest).collect()
}

fn quality_by_label(table: &Bounded<Label, Group>) -> Vec<QualityFigures> {
    let named = table.sorted().into_iter().map(|row| quality_of(&row.key, &row.value));
    named.chain(table.rest().map(rest_of)).collect()
}

fn quality_of(name: &str, group: &Group) -> QualityFigures {
    group.quality.figures(name, group.cost.requests)
}

fn rest_of(group: &Group) -> QualityFigures {
    QualityFigures {
        is_rest: true,
        ..quality_of(REST, group)
    }
}

/// Counts by labels that belong together.
fn each<T, const N: usize>(table: &Bounded<[Label; N], u64>, make: impl Fn([String; N], u64) -> T) -> Vec<T> {
    let names = |key: &[Label; N]| std::array::from_fn(|i| key[i].to_string());
    let named = table.sorted().into_iter().map(|row| make(names(&row.key), row.value));
    let rest = table
        .rest()
        .map(|rest| make(std::array::from_fn(|_| REST.to_owned()), *rest));
    named.chain(rest).collect()
}
