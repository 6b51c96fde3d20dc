//! The exporter's thread: batches in, requests out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use prost::Message;

use super::collector::{Collector, Failure, Rejected};
use super::{Pace, Shared, Waiting};
use crate::names::{self, resource};
use crate::otlp::{KeyValue, Request, Resource, ResourceSpans, Scope, ScopeSpans, Span, Value};
use crate::settings::Settings;
use crate::spans::spans;

pub(super) struct Worker {
    shared: Arc<Shared>,
    collector: Collector,
    resource: Resource,
    timeout: Duration,
    pace: Pace,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, collector: Collector, settings: &Settings, pace: Pace) -> Self {
        let text = |key, value: &str| KeyValue::new(key, Value::Text(value.to_owned()));
        let attributes = vec![
            text(resource::SERVICE_NAME, settings.service_name()),
            text(resource::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
            KeyValue::new(resource::NAMES_VERSION, Value::Count(names::ROUTER_VERSION)),
        ];
        Self {
            shared,
            collector,
            resource: Resource { attributes },
            timeout: settings.timeout(),
            pace,
        }
    }

    /// Until the queue is closed and empty, or out of time.
    pub(super) fn run(self) {
        while let Some(rows) = self.shared.queue.take(self.pace.gather) {
            self.export(&rows);
        }
        self.shared.queue.end();
    }

    fn export(&self, rows: &[Waiting]) {
        let made = rows
            .iter()
            .flat_map(|waiting| spans(&waiting.row, &waiting.trace, &waiting.targets));
        let made: Vec<Span> = made.collect();
        let n_spans = made.len() as u64;
        let n_lost = match self.send(&self.request(made).encode_to_vec()) {
            Some(rejected) => {
                let n_lost = rejected.n_spans.min(n_spans);
                self.shared.tell(problem(&rejected));
                n_lost
            }
            None => n_spans,
        };
        self.shared.exported.fetch_add(n_spans - n_lost, Ordering::Release);
        self.shared.drop_spans(n_lost);
    }

    /// Sends until the batch is taken; nothing where it is given up.
    fn send(&self, body: &[u8]) -> Option<Rejected> {
        for n_failed in 1.. {
            let closing = self.shared.queue.closing();
            let left = closing.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            let limit = left.map_or(self.timeout, |left| left.min(self.timeout));
            let failure = match self.collector.post(body, limit) {
                Ok(rejected) => return Some(rejected),
                Err(failure) => failure,
            };
            let pause = self.pause(&failure, n_failed);
            let may_go_on = failure.may_pass && n_failed < self.pace.n_attempts && closing.is_none();
            self.shared.tell(Some(failure.message));
            if !may_go_on {
                break;
            }
            // Closing ends it, and there is one more attempt.
            self.shared.queue.pause(pause);
        }
        None
    }

    fn pause(&self, failure: &Failure, n_failed: u32) -> Duration {
        let doubled = self.pace.first_pause * (1 << (n_failed - 1).min(16));
        failure.retry_after.unwrap_or(doubled).min(self.pace.longest_pause)
    }

    fn request(&self, spans: Vec<Span>) -> Request {
        let scope = Scope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let scope_spans = ScopeSpans {
            scope: Some(scope),
            spans,
            schema_url: names::SCHEMA_URL.to_owned(),
        };
        let resource_spans = ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![scope_spans],
        };
        Request {
            resource_spans: vec![resource_spans],
        }
    }
}

/// Spans that were rejected are a problem; a warning about spans that were taken is not one.
fn problem(rejected: &Rejected) -> Option<String> {
    let message = rejected.message.as_deref().unwrap_or("no reason was given");
    (rejected.n_spans > 0).then(|| format!("the collector rejected {} spans: {message}", rejected.n_spans))
}
