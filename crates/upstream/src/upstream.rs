//! One tier's endpoint: its key, its limits, its circuit breaker, and calls with retries.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tiercast_chat::Dialect;
use tokio::sync::{Semaphore, watch};

use crate::answer::{Answer, cause};
use crate::attempt::{self, Fault};
use crate::body::{Delivery, body, has_logprobs};
use crate::breaker::{Admission, Breaker, Health};
use crate::call::{AttemptError, ChatCall, OnCut, Reply};
use crate::classify;
use crate::client::Client;
use crate::conceal::{self, Concealer};
use crate::error::{CallError, ErrorKind, UpstreamError};
use crate::limits::{Pause, Rate};
use crate::retry::{self, LONGEST_WAIT};
use crate::settings::EndpointSettings;

#[cfg(test)]
mod tests;

/// A second's worth of requests may go at once.
const REQUEST_SHARE: u32 = 60;

/// Ten seconds' worth of tokens may go at once: one call takes thousands.
const TOKEN_SHARE: u32 = 6;

/// Anthropic's API refuses calls that name no version.
const ANTHROPIC_VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// A key. Never printed; wiped from memory when dropped.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

impl From<String> for Secret {
    fn from(key: String) -> Self {
        Self(SecretString::from(key))
    }
}

/// One tier's endpoint. Share it between tasks behind an `Arc`.
pub struct Upstream {
    tier: String,
    model: String,
    host: String,
    settings: EndpointSettings,
    key: Option<Secret>,
    client: Client,
    permits: Semaphore,
    requests: Option<Rate>,
    tokens: Option<Rate>,
    pause: Pause,
    breaker: Arc<Breaker>,
    /// What last counted against the endpoint: whoever finds the circuit open is told.
    last_failure: Mutex<Option<(ErrorKind, String)>>,
    delivery: AtomicU8,
    refuses_logprobs: AtomicBool,
    has_replied: AtomicBool,
    /// Set once nothing more is to be sent.
    stop: watch::Sender<bool>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({} at {})", self.tier, self.host)
    }
}

impl Upstream {
    /// The endpoint of tier `name`. `key` is the value of the variable that the settings name.
    pub fn new(
        name: &str,
        settings: &EndpointSettings,
        key: Option<Secret>,
        client: &Client,
    ) -> Result<Self, UpstreamError> {
        let key = checked_key(name, settings, key)?;
        Ok(Self {
            tier: name.to_owned(),
            model: settings.model().unwrap_or(name).to_owned(),
            host: settings.host(),
            settings: settings.clone(),
            key,
            client: client.clone(),
            permits: Semaphore::new(settings.concurrency()),
            requests: settings
                .requests_per_minute()
                .map(|limit| Rate::per_minute(limit, REQUEST_SHARE)),
            tokens: settings
                .tokens_per_minute()
                .map(|limit| Rate::per_minute(limit, TOKEN_SHARE)),
            pause: Pause::default(),
            breaker: Arc::new(Breaker::new(settings.breaker_failures(), settings.breaker_pause())),
            last_failure: Mutex::new(None),
            delivery: AtomicU8::new(0),
            refuses_logprobs: AtomicBool::new(false),
            has_replied: AtomicBool::new(false),
            stop: watch::Sender::new(false),
        })
    }

    /// Asks and reads the whole reply. Failures that may pass are retried, no earlier than the
    /// endpoint allows. Waits its turn first: for a permit, the rates, and a pause that an answer to
    /// another call asked for.
    ///
    /// Where the circuit is open it fails at once: see [`Self::circuit_open_for`].
    pub async fn chat(&self, call: &ChatCall) -> Result<Reply, CallError> {
        let permit = tokio::select! {
            permit = self.permits.acquire() => permit,
            () = self.stopping() => return Err(self.stopped()),
        };
        let _permit = permit.expect("this semaphore is never closed");
        let mut failed: Vec<AttemptError> = Vec::new();
        let mut last: Option<Fault> = None;
        loop {
            tokio::select! {
                () = self.turn(call) => {}
                () = self.stopping() => return Err(match last {
                    Some(fault) => self.error(&fault, failed),
                    None => self.stopped(),
                }),
            }
            let start = Instant::now();
            let fault = match self.attempt(call).await {
                Ok(reply) => {
                    self.has_replied.store(true, Ordering::Relaxed);
                    return Ok(Reply {
                        attempts: failed,
                        ..reply
                    });
                }
                Err(Refused::Open(wait)) => return Err(self.open_circuit(wait, failed)),
                Err(Refused::Failed(fault)) => fault,
            };
            tracing::debug!(
                tier = self.tier,
                kind = fault.kind.name(),
                status = fault.status,
                "attempt failed"
            );
            failed.push(AttemptError {
                kind: fault.kind,
                status: fault.status,
                after_s: start.elapsed().as_secs_f64(),
            });
            if self.falls_back(&fault) {
                continue;
            }
            match self.wait_before_next(call, &fault, failed.len()) {
                Some(wait) => tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.stopping() => return Err(self.error(&fault, failed)),
                },
                None => return Err(self.error(&fault, failed)),
            }
            last = Some(fault);
        }
    }

    /// Sends nothing more: calls that wait for their turn end at once, those under way go on to their end.
    pub fn stop_waiting(&self) {
        self.stop.send_replace(true);
    }

    /// Whether the endpoint has refused to give log probabilities: calls are made without from then on.
    pub fn refuses_logprobs(&self) -> bool {
        self.refuses_logprobs.load(Ordering::Relaxed)
    }

    async fn stopping(&self) {
        let mut stop = self.stop.subscribe();
        // The sender is ours: it cannot be gone.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    fn stopped(&self) -> CallError {
        let fault = Fault::new(
            ErrorKind::Stopped,
            "not sent, since the run was stopped before its turn",
        );
        self.error(&fault, Vec::new())
    }

    /// How long the circuit breaker stays open, if it is: wait this long before asking again.
    pub fn circuit_open_for(&self) -> Option<Duration> {
        self.breaker.open_for()
    }

    /// Asks the breaker for one call, or says how long to wait. Tell it how the call went.
    pub fn admit(&self) -> Result<Admission, Duration> {
        self.breaker.admit()
    }

    /// The text without the key: for whatever the endpoint says that is no reply.
    pub fn conceal(&self, text: &str) -> String {
        conceal::without(self.bare_key().unwrap_or_default(), text)
    }

    /// Takes the key out of replies as they come.
    pub fn concealer(&self) -> Concealer {
        Concealer::new(self.bare_key())
    }

    fn bare_key(&self) -> Option<&str> {
        self.key.as_ref().map(|key| key.0.expose_secret().trim())
    }

    /// What the endpoint calls the model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What the configuration says of the endpoint.
    pub fn settings(&self) -> &EndpointSettings {
        &self.settings
    }

    /// Sends `body` once, whatever limits and the breaker say, and returns when the head of the
    /// answer has come, of whatever status. `headers` go with it; the key is ours.
    pub async fn send(&self, dialect: Dialect, body: Bytes, headers: &[(&str, &str)]) -> Result<Answer, CallError> {
        let sent = self.send_once(dialect, body, headers).await;
        sent.map_err(|fault| self.error(&fault, Vec::new()))
    }

    /// Names of the models that the endpoint lists, in the dialect that it prefers; None where the list
    /// cannot be read. For looking whether it is there at all: asked once, whatever limits and the
    /// breaker say, and given up after `limit`.
    pub async fn models(&self, limit: Duration) -> Result<Option<Vec<String>>, CallError> {
        let listed = tokio::time::timeout(limit, self.list()).await.unwrap_or_else(|_| {
            let what = format!("no answer within {} s", limit.as_secs_f64());
            Err(Fault::new(ErrorKind::Unreachable, what))
        });
        listed.map_err(|fault| self.error(&fault, Vec::new()))
    }

    async fn list(&self) -> Result<Option<Vec<String>>, Fault> {
        let dialect = self.settings.dialects()[0];
        let mut request = self.client.0.get(self.settings.url("models"));
        if dialect == Dialect::Messages {
            request = request.header(ANTHROPIC_VERSION.0, ANTHROPIC_VERSION.1);
        }
        let answer = self
            .deliver(request.header(ACCEPT, "application/json"), dialect)
            .await?;
        if !(200..300).contains(&answer.status()) {
            return Err(attempt::refused(answer).await.0);
        }
        let body = answer.whole().await?;
        let list: Value = serde_json::from_slice(&body).map_err(|_| classify::not_json(&body))?;
        let names = |models: &Vec<Value>| -> Option<Vec<String>> {
            let name = |model: &Value| model["id"].as_str().map(str::to_owned);
            models.iter().map(name).collect()
        };
        Ok(list["data"].as_array().and_then(names))
    }

    /// What a refusal means, and the most of its body that was read.
    pub async fn refused(&self, answer: Answer) -> (CallError, Vec<u8>) {
        let (fault, body) = attempt::refused(answer).await;
        (self.error(&fault, Vec::new()), body)
    }

    /// A failure that the caller has seen, with the mend that goes with it. `what` quotes nothing.
    pub fn failure(&self, kind: ErrorKind, what: impl Into<String>) -> CallError {
        self.error(&Fault::new(kind, what), Vec::new())
    }

    async fn send_once(&self, dialect: Dialect, body: Bytes, headers: &[(&str, &str)]) -> Result<Answer, Fault> {
        let mut request = self
            .client
            .0
            .post(self.settings.url(path(dialect)))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.deliver(request, dialect).await
    }

    /// Sends a request with the key, as `dialect` carries it.
    async fn deliver(&self, mut request: RequestBuilder, dialect: Dialect) -> Result<Answer, Fault> {
        if let Some((name, key)) = self.key.as_ref().and_then(|key| authorization(dialect, key)) {
            request = request.header(name, key);
        }
        let sent = request.send().await;
        sent.map(Answer::new).map_err(|error| {
            let kind = if error.is_timeout() && !error.is_connect() {
                ErrorKind::Timeout
            } else {
                ErrorKind::Unreachable
            };
            let what = if error.is_connect() {
                "no connection"
            } else {
                "the connection broke before an answer came"
            };
            Fault::new(kind, format!("{what} ({})", cause(error)))
        })
    }

    /// Waits until the endpoint may be asked.
    async fn turn(&self, call: &ChatCall) {
        self.pause.over().await;
        if let Some(rate) = &self.requests {
            rate.wait(1).await;
        }
        if let Some(rate) = &self.tokens {
            rate.wait(call.expected_tokens).await;
        }
    }

    async fn attempt(&self, call: &ChatCall) -> Result<Reply, Refused> {
        let admission = self.breaker.admit().map_err(Refused::Open)?;
        let limit = self.settings.timeout();
        let reply = tokio::time::timeout(limit, self.ask(call)).await.unwrap_or_else(|_| {
            let what = format!("no whole reply within {} s", limit.as_secs_f64());
            Err(Fault::new(ErrorKind::Timeout, what))
        });
        admission.finish(
            reply
                .as_ref()
                .map_or_else(|fault| fault.kind.health(), |_| Health::Alive),
        );
        if let Err(fault) = &reply {
            self.note(fault);
        }
        reply.map_err(Refused::Failed)
    }

    fn note(&self, fault: &Fault) {
        if let Some(wait) = fault.retry_after {
            self.pause.at_least(wait.min(LONGEST_WAIT));
        }
        if fault.kind.health() == Health::Failing {
            let mut last = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some((fault.kind, fault.what.clone()));
        }
    }

    async fn ask(&self, call: &ChatCall) -> Result<Reply, Fault> {
        let delivery = if call.stream { self.delivery() } else { Delivery::Plain };
        let with_logprobs = !self.refuses_logprobs();
        let body = body(call, &self.model, &self.settings, delivery, with_logprobs);
        let start = Instant::now();
        let answer = self.send_once(Dialect::Chat, body, &[]).await?;
        let had_logprobs = with_logprobs && has_logprobs(call, &self.settings);
        attempt::read(answer, start).await.map_err(|fault| Fault {
            // Only what this attempt asked for can be asked for in another way.
            instead: fault.instead.filter(|instead| *instead > delivery),
            is_about_logprobs: fault.is_about_logprobs && had_logprobs,
            ..fault
        })
    }

    /// The best that the endpoint has not refused.
    fn delivery(&self) -> Delivery {
        match self.delivery.load(Ordering::Relaxed) {
            0 => Delivery::StreamWithUsage,
            1 => Delivery::Stream,
            _ => Delivery::Plain,
        }
    }

    /// Whether to ask again at once, in a way that the endpoint has not refused, as do all calls from now on.
    fn falls_back(&self, fault: &Fault) -> bool {
        if fault.is_about_logprobs {
            self.refuses_logprobs.store(true, Ordering::Relaxed);
            return true;
        }
        let Some(instead) = fault.instead else { return false };
        self.delivery.fetch_max(instead as u8, Ordering::Relaxed);
        true
    }

    /// The wait before the next attempt, or None if there is to be none.
    fn wait_before_next(&self, call: &ChatCall, fault: &Fault, failures: usize) -> Option<Duration> {
        let is_cut = fault.has_output && call.on_cut == OnCut::GiveUp;
        let asked = fault.retry_after.unwrap_or_default();
        // A page instead of a reply, from an endpoint that has never given one: most often a wrong address.
        let is_elsewhere = fault.kind == ErrorKind::Html && !self.has_replied.load(Ordering::Relaxed);
        let most_retries = (self.settings.max_retries() as usize).min(if is_elsewhere { 1 } else { usize::MAX });
        let is_last = failures > most_retries;
        if !fault.kind.is_transient() || is_cut || is_last || asked > LONGEST_WAIT {
            return None;
        }
        // Those who were told the same moment come one after the other.
        let chance = retry::chance();
        Some(retry::backoff(failures, chance).max(asked.mul_f64(1.0 + chance / 20.0)))
    }

    /// The mend is that of the failure that opened the circuit.
    fn open_circuit(&self, wait: Duration, failed: Vec<AttemptError>) -> CallError {
        let last = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut what = "not asked, since it failed too often in a row".to_owned();
        let mut cause = ErrorKind::CircuitOpen;
        if let Some((kind, said)) = last {
            what += &format!(", the last time with {}: {said}", kind.name());
            cause = kind;
        }
        let fault = Fault {
            retry_after: Some(wait),
            ..Fault::new(ErrorKind::CircuitOpen, what)
        };
        self.error_with(&fault, cause, failed)
    }

    fn error(&self, fault: &Fault, attempts: Vec<AttemptError>) -> CallError {
        self.error_with(fault, fault.kind, attempts)
    }

    /// `cause` is what the mend is for.
    fn error_with(&self, fault: &Fault, cause: ErrorKind, attempts: Vec<AttemptError>) -> CallError {
        let tries = match attempts.len() {
            0 | 1 => String::new(),
            n => format!(" ({n} attempts)"),
        };
        CallError {
            kind: fault.kind,
            message: format!(
                "tier `{}` at {}: {}{tries}; {}",
                self.tier,
                self.host,
                self.conceal(&fault.what),
                self.mend(cause)
            ),
            status: fault.status,
            attempts,
            retry_after: fault.retry_after,
        }
    }

    fn mend(&self, kind: ErrorKind) -> String {
        match kind {
            ErrorKind::Unreachable => "check `base_url` and that the endpoint is up".to_owned(),
            ErrorKind::Timeout => "raise `timeout_s` or lower `concurrency`".to_owned(),
            ErrorKind::RateLimited => {
                "lower `concurrency`, or set `requests_per_minute` and `tokens_per_minute`".to_owned()
            }
            ErrorKind::QuotaExceeded => "the account has no quota left: raise it, then run again".to_owned(),
            ErrorKind::Server | ErrorKind::CircuitOpen => "the endpoint is in trouble: run again later".to_owned(),
            ErrorKind::Stopped => "run again to go on".to_owned(),
            ErrorKind::Unauthorized => match self.settings.api_key_env() {
                Some(variable) => format!("check the key in {variable}"),
                None => "name the key's environment variable in `api_key_env`".to_owned(),
            },
            ErrorKind::ModelNotFound => format!("it has no model `{}`: set `model` to one that it lists", self.model),
            ErrorKind::NotFound | ErrorKind::Html | ErrorKind::NotJson => {
                "check that `base_url` is that of an OpenAI-compatible API, as in \"https://host/v1\"".to_owned()
            }
            ErrorKind::Redirected => "write the final address in `base_url`".to_owned(),
            ErrorKind::ContextTooLong => {
                "the prompt and `max_tokens` do not fit the model's window: this tier cannot answer it".to_owned()
            }
            ErrorKind::ContentFiltered => "the endpoint's filter refuses this prompt".to_owned(),
            ErrorKind::BadRequest | ErrorKind::StreamRefused => {
                "check `parameters` against what the endpoint takes".to_owned()
            }
            ErrorKind::CutJson
            | ErrorKind::CutStream
            | ErrorKind::Malformed
            | ErrorKind::EmptyChoices
            | ErrorKind::TooLarge => "run again; if it stays, the endpoint or a proxy before it is at fault".to_owned(),
        }
    }
}

/// Why an attempt gave no reply.
#[derive(Debug)]
enum Refused {
    /// The circuit is open for so long.
    Open(Duration),
    /// It was sent and failed.
    Failed(Fault),
}

fn checked_key(tier: &str, settings: &EndpointSettings, key: Option<Secret>) -> Result<Option<Secret>, UpstreamError> {
    let key = key.filter(|key| !key.0.expose_secret().trim().is_empty());
    match (settings.api_key_env(), &key) {
        (Some(variable), None) => Err(UpstreamError::MissingKey {
            tier: tier.to_owned(),
            variable: variable.to_owned(),
            host: settings.host(),
        }),
        (variable, Some(key)) if authorization(Dialect::Chat, key).is_none() => Err(UpstreamError::BadKey {
            tier: tier.to_owned(),
            variable: variable.map(str::to_owned),
        }),
        _ => Ok(key),
    }
}

/// Where a dialect is spoken, below the base URL.
fn path(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Chat => "chat/completions",
        Dialect::Responses => "responses",
        Dialect::Messages => "messages",
    }
}

/// The header that carries the key. Files with keys end in a line break, which does not belong to it.
fn authorization(dialect: Dialect, key: &Secret) -> Option<(HeaderName, HeaderValue)> {
    let key = key.0.expose_secret().trim();
    let (name, value) = match dialect {
        Dialect::Chat | Dialect::Responses => (AUTHORIZATION, format!("Bearer {key}")),
        Dialect::Messages => (HeaderName::from_static("x-api-key"), key.to_owned()),
    };
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}
