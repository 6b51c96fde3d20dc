//! The policy `cascade`: a cheap tier is asked, its answer is read, and a dearer one is asked where it is not
//! good enough. Nothing reaches the client before an answer is accepted; that of the last stage is, so it is
//! passed on as it comes.

use std::time::Instant;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::response::Parts;
use axum::response::Response;
use futures_util::future::join;
use tiercast_chat::{Failure, Said};
use tiercast_predictor::answers::agreement;
use tiercast_routing::cascade::{Allowance, Call, Cascade, Expected, Step};
use tiercast_upstream::error::CallError;

use super::evidence::LONGEST_ANSWER;
use super::{Failed, Run, Sent, Why, leads_on, respond};
use crate::error::Error;

/// An answer that waits for its judgement.
struct Held {
    tier: usize,
    /// Its place among the request's calls.
    at: usize,
    parts: Parts,
    body: Bytes,
}

impl Run<'_> {
    /// Asks stage after stage, until an answer is accepted.
    pub(super) async fn cascade(&self, cascade: &Cascade, failed: &mut Vec<Failed>) -> Result<Response, Error> {
        let start = Instant::now();
        let mut expected = self.decided.expected.clone();
        let (mut calls, mut held): (Vec<Call>, Vec<Held>) = (Vec::new(), Vec::new());
        let (mut n_told, mut n_sent) = (0, 0);
        let n_samples = self.serving.deployment.cascade().map_or(1, |of| of.samples);
        let mut last: Option<(String, CallError, Option<Failure>)> = None;
        loop {
            let allowance = Allowance {
                max_cost_usd: self.decided.dials.constraints.max_cost_usd,
                left_s: self.left_s(start),
            };
            let step = cascade.step(&expected, &calls, &allowance);
            let tier = match step {
                Some(Step::Call(tier)) => tier,
                Some(Step::Accept(at)) => {
                    let (quality, of) = (calls[at].quality, held.swap_remove(at));
                    let text = self.decided.record.keeps_text().then(|| self.said(&of.body).text);
                    self.decided.record.answered_by(of.at, text);
                    return Ok(self.accepted(
                        Response::from_parts(of.parts, Body::from(of.body)),
                        of.tier,
                        quality,
                        &calls,
                        failed,
                    ));
                }
                None => {
                    let Some((tier, error, said)) = last else {
                        return Err(Error::NoEndpoints);
                    };
                    return Err(Error::upstream(&tier, &error, said.as_ref(), failed.len()));
                }
            };
            // A call follows either a failure or an answer that was not good enough.
            let why = match (failed.last().filter(|_| failed.len() > n_told), calls.last()) {
                (Some(before), _) => Why::After(before),
                (None, Some(before)) => {
                    self.state.escalated(self.name(before.tier), self.name(tier));
                    Why::Escalation
                }
                (None, None) => Why::Chosen,
            };
            // Whatever a last stage says is accepted: it need not wait, and nothing more need be known of it.
            let is_last = is_last(cascade.stages(), &expected, tier, &calls);
            let n_more = if is_last { 0 } else { n_samples - 1 };
            let (sent, samples) = join(
                Box::pin(self.send(tier, n_sent, why)),
                self.samples(tier, n_more, n_sent + 1),
            )
            .await;
            let sent = sent?;
            n_sent += 1 + n_more;
            n_told = failed.len();
            let (response, at) = match sent {
                Sent::Begun(response, at) => (response, at),
                Sent::Skipped(spent) if calls.is_empty() && failed.is_empty() => return Err(spent),
                Sent::Skipped(_) => {
                    expected[tier] = None;
                    continue;
                }
                Sent::Failed(error, said) => {
                    expected[tier] = None;
                    failed.push(self.failed(tier, &error));
                    let goes_on = leads_on(error.kind) || !calls.is_empty();
                    last = Some((self.name(tier).to_owned(), error, said));
                    if !goes_on {
                        expected.fill(None);
                    }
                    continue;
                }
            };
            if is_last {
                self.decided.record.answered_by(at, None);
                let quality = self.decided.forecasts[tier].quality.mean();
                return Ok(self.accepted(response, tier, quality, &calls, failed));
            }
            let (parts, body) = response.into_parts();
            let Ok(body) = to_bytes(body, LONGEST_ANSWER).await else {
                // It broke off, or is too long to be read: as if it had failed.
                expected[tier] = None;
                continue;
            };
            let quality = self.judge(tier, &self.said(&body), &samples, &mut n_sent).await;
            self.decided.record.estimated(at, quality);
            calls.push(Call {
                tier,
                quality,
                cost_usd: expected[tier].map_or(0.0, |of| of.cost_usd),
            });
            held.push(Held { tier, at, parts, body });
        }
    }

    /// The estimate of an answer's quality. One that did not come to its end is worth nothing.
    async fn judge(&self, tier: usize, said: &Said, samples: &[Said], n_sent: &mut usize) -> f64 {
        if said.finish.is_none() {
            return 0.0;
        }
        let others = samples.iter().map(|sample| sample.text.as_str());
        let estimate = self.state.answer_quality(
            self.serving,
            tier,
            &self.asked.request,
            &self.decided.forecasts[tier],
            (said, agreement(&said.text, others)),
        );
        let Some(weight) = self.serving.deployment.cascade().and_then(|of| of.self_report) else {
            return estimate;
        };
        let told = self.self_report(tier, said, *n_sent).await;
        *n_sent += 1;
        // A linear opinion pool: nothing was fitted to what tiers say of themselves.
        told.map_or(estimate, |told| (1.0 - weight) * estimate + weight * told)
    }

    /// Seconds until the deadline, or until the latency target of a sync request.
    fn left_s(&self, start: Instant) -> Option<f64> {
        let to_deadline = self.deadline.saturating_duration_since(Instant::now()).as_secs_f64();
        let target = self.decided.dials.constraints.max_latency_s;
        let to_target = target.map(|target| (target - start.elapsed().as_secs_f64()).max(0.0));
        Some(to_target.map_or(to_deadline, |left| left.min(to_deadline)))
    }

    fn accepted(&self, response: Response, tier: usize, quality: f64, calls: &[Call], failed: &[Failed]) -> Response {
        let mut response = respond(response, &self.decided.answer, tier, failed);
        let headers = response.headers_mut();
        let from: Vec<&str> = calls
            .iter()
            .filter(|call| call.tier != tier)
            .map(|call| self.name(call.tier))
            .collect();
        if !from.is_empty()
            && let Ok(value) = from.join(", ").parse()
        {
            headers.insert("x-tiercast-escalated-from", value);
        }
        if let Ok(value) = format!("{quality:.4}").parse() {
            headers.insert("x-tiercast-quality", value);
        }
        // Of every call, as it was expected before: what the last one costs is known when its reply has ended.
        let expected_usd = |tier: usize| self.decided.expected[tier].map_or(0.0, |of| of.cost_usd);
        let last = calls.iter().all(|call| call.tier != tier).then(|| expected_usd(tier));
        let cost_usd = calls.iter().map(|call| call.cost_usd).sum::<f64>() + last.unwrap_or(0.0);
        if let Ok(value) = format!("{cost_usd:.8}").parse() {
            headers.insert("x-tiercast-cost-usd", value);
        }
        response
    }
}

/// Whether no stage is left after this one.
fn is_last(stages: &[usize], expected: &[Option<Expected>], tier: usize, calls: &[Call]) -> bool {
    let after = stages.iter().skip_while(|stage| **stage != tier).skip(1);
    let is_open = |stage: &usize| expected[*stage].is_some() && calls.iter().all(|call| call.tier != *stage);
    !after.copied().any(|stage| is_open(&stage))
}
