//! One row into a summary.

use tiercast_records::journal::{Call, Path, Role, Served};

use super::cost::Forecast;
use super::timeline::Moment;
use super::trace::share;
use super::{Counts, Group, Summary, label, tier, trace};

/// Most that a call can be believed to have cost, US dollars.
const DEAREST_USD: f64 = 1e6;

impl Summary {
    /// A row, of which nobody has said anything yet.
    pub fn serve(&mut self, row: &Served) {
        self.from_ms = Some(self.from_ms.map_or(row.time_ms, |first| first.min(row.time_ms)));
        self.to_ms = self.to_ms.max(Some(row.time_ms));
        self.counts.row(row);
        self.overhead.add(row.overhead_ms);
        self.exclude(row);
        let mut forecasts = std::mem::take(&mut self.forecasts);
        self.forecast(row, &mut forecasts);
        let spent = self.calls(row, &mut forecasts);
        self.stages(row);
        self.groups(row, &forecasts, spent);
        self.forecasts = forecasts;
    }

    /// What was expected, as far as it can be used.
    fn forecast(&mut self, row: &Served, forecasts: &mut Vec<Forecast>) {
        forecasts.clear();
        for (position, expected) in row.tiers.iter().enumerate() {
            let Some((quality, cost)) = share(expected.quality_mean).zip(usd(expected.cost_usd)) else {
                self.counts.unusable_figures += 1;
                continue;
            };
            let Some(slot) = self.tiers.place_at(position, &expected.tier) else {
                continue;
            };
            let tier = self.tiers.at(Some(slot));
            tier.forecast.add(cost, quality);
            if tier.predicted_as != expected.predicted_as {
                tier.predicted_as.clone_from(&expected.predicted_as);
            }
            if position == row.chosen {
                self.decided.add(cost, quality);
            }
            forecasts.push(Forecast {
                slot,
                quality,
                cost,
                is_open: expected.excluded.is_none(),
                real: None,
            });
        }
        self.frontier.add(forecasts);
    }

    /// The calls, and what they cost together.
    fn calls(&mut self, row: &Served, forecasts: &mut [Forecast]) -> f64 {
        let mut spent = 0.0;
        for (k, call) in row.calls.iter().enumerate() {
            let cost = usd(call.cost_usd).unwrap_or_else(|| {
                self.counts.unusable_figures += 1;
                0.0
            });
            spent += cost;
            self.counts.call(call);
            let place = self.place_of(row, call);
            self.tiers.at(place).call(call, cost);
            if tier::is_complete(call)
                && let Some(forecast) = forecasts.iter_mut().find(|forecast| Some(forecast.slot) == place)
                && forecast.real.replace(cost).is_none()
            {
                self.tiers.at(place).ratio.add(forecast.cost, cost);
            }
            self.follow(call, row.call_before(k));
        }
        spent
    }

    /// A call's error, and why it was made.
    fn follow(&mut self, call: &Call, before: Option<&Call>) {
        if let Some(error) = &call.error {
            *self.errors.count(&[call.tier.clone(), error.clone()]) += 1;
        }
        let Some(before) = before else { return };
        let (from, to) = (before.tier.clone(), call.tier.clone());
        match call.role {
            Role::Chosen | Role::Evidence => {}
            Role::Escalation => *self.escalations.count(&[from, to]) += 1,
            Role::Fallback => {
                let why = before.error.as_ref().unwrap_or(&before.outcome);
                *self.fallbacks.count(&[from, to, why.clone()]) += 1;
            }
        }
    }

    fn place_of(&mut self, row: &Served, call: &Call) -> Option<usize> {
        match row
            .tiers
            .iter()
            .position(|expected| label::is_same(&expected.tier, &call.tier))
        {
            Some(position) => self.tiers.place_at(position, &call.tier),
            None => self.tiers.place(&call.tier),
        }
    }

    /// Answers that a cascade read: passed on or let out.
    fn stages(&mut self, row: &Served) {
        for (k, call) in row.calls.iter().enumerate() {
            let is_passed_on = row.call_after(k).is_some_and(|next| next.role == Role::Escalation);
            let (estimate, goes_out) = (call.estimate.and_then(share), row.answered_by == Some(k));
            if is_passed_on {
                let unused = usd(call.cost_usd).filter(|_| !goes_out);
                let place = self.place_of(row, call);
                self.tiers.at(place).stage.pass_on(estimate, unused);
            } else if estimate.is_some() && goes_out {
                let place = self.place_of(row, call);
                self.tiers.at(place).stage.let_out(estimate);
            }
        }
    }

    /// Money and prediction of every group that the request belongs to.
    fn groups(&mut self, row: &Served, forecasts: &[Forecast], spent: f64) {
        let (path, predicted) = (row.path(), trace::predicted(row));
        let is_answered = path != Path::Unanswered;
        let add = |group: &mut Group| {
            group.cost.add(forecasts, spent, is_answered);
            group.quality.predict(predicted);
        };
        add(&mut self.all);
        add(self.tasks.count(&label::short(&row.task)));
        add(self.cohorts.count(&label::short(&row.cohort)));
        if let Some(call) = row.answer() {
            let place = self.place_of(row, call);
            add(&mut self.tiers.at(place).answered);
        }
        let (n, quality) = &mut self.by_path[path as usize];
        *n += 1;
        quality.predict(predicted);
        if let Some(predicted) = predicted {
            self.answered.add(spent, predicted);
        }
        let moment = Moment {
            time_ms: row.time_ms,
            forecasts,
            spent,
            predicted,
            path,
            errors: row.calls.iter().filter(|call| call.error.is_some()).count() as u64,
        };
        self.timelines.iter_mut().for_each(|timeline| timeline.add(&moment));
    }

    fn exclude(&mut self, row: &Served) {
        for expected in &row.tiers {
            if let Some(why) = &expected.excluded {
                *self.exclusions.count(&[expected.tier.clone(), why.clone()]) += 1;
            }
        }
    }
}

impl Counts {
    fn row(&mut self, row: &Served) {
        let of = |condition: bool| u64::from(condition);
        let (is_answered, is_route) = (row.answer().is_some(), &*row.endpoint == "route");
        self.failed += of(!is_answered && !row.calls.is_empty());
        self.decided_only += of(row.calls.is_empty() && is_route);
        self.refused += of(row.calls.is_empty() && !is_route);
        self.insufficient_evidence += of(!row.evidence);
        *self.endpoints.count(&label::short(&row.endpoint)) += 1;
        *self.policies.count(&label::short(&row.policy)) += 1;
        *self.reasons.count(&label::short(&row.reason)) += 1;
        *self.checkpoints.count(&label::short(&row.checkpoint)) += 1;
        if let Some(rule) = &row.rule {
            *self.rules.count(&label::short(rule)) += 1;
        }
    }

    fn call(&mut self, call: &Call) {
        self.calls += 1;
        self.calls_with_estimated_tokens += u64::from(call.is_estimated);
        let sums = [&mut self.input_tokens, &mut self.cached_tokens, &mut self.output_tokens];
        for (sum, tokens) in sums
            .into_iter()
            .zip([call.input_tokens, call.cached_tokens, call.output_tokens])
        {
            if (0.0..1e12).contains(&tokens) {
                sum.add(tokens);
            } else {
                self.unusable_figures += 1;
            }
        }
    }
}

/// A cost that can be one.
#[inline]
fn usd(value: f64) -> Option<f64> {
    (0.0..=DEAREST_USD).contains(&value).then_some(value)
}
