//! The endpoint of a model that judges: waited for while its circuit is open, and left alone for good
//! when nothing comes of that. All verdicts of a judge share one, so that they wait once and not each.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tiercast_upstream::call::{ChatCall, Reply};
use tiercast_upstream::error::{CallError, ErrorKind};
use tiercast_upstream::upstream::Upstream;
use tokio::sync::watch;

use crate::run::{Stop, later, reached};

/// Times in a row that the circuit may open without a reply in between, as for tiers.
const MAX_OPENINGS: u32 = 3;

/// Calls in a row that may fail, each after its retries.
const MAX_FAILURES: u32 = 20;

/// The same for an endpoint that has not replied yet in this run: most often it is set up wrongly.
const MAX_FIRST_FAILURES: u32 = 5;

/// Longest wait for a call of somebody else that tries whether the endpoint is back.
const MAX_PROBE_WAIT: Duration = Duration::from_secs(1);

/// An endpoint and what is known of it.
#[derive(Debug)]
pub(super) struct Endpoint {
    upstream: Upstream,
    /// Held by the one that waits for the circuit and tries again.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    stop: watch::Receiver<Stop>,
}

#[derive(Debug, Default)]
struct State {
    has_replied: bool,
    n_openings: u32,
    n_failures: u32,
    left_alone: Option<String>,
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum NoReply {
    /// This call failed; the next may not.
    Failed(CallError),
    /// Nothing more is sent to this endpoint.
    LeftAlone(String),
    /// The run was told to stop while the circuit was waited for.
    Stopped,
}

impl Endpoint {
    pub(super) fn new(upstream: Upstream, stop: watch::Receiver<Stop>) -> Self {
        Self {
            upstream,
            turn: tokio::sync::Mutex::new(()),
            state: Mutex::default(),
            stop,
        }
    }

    /// The reply to `call`, after whatever waiting that takes.
    pub(super) async fn chat(&self, call: &ChatCall) -> Result<Reply, NoReply> {
        self.check()?;
        match self.said(call).await {
            Err(error) if error.kind == ErrorKind::CircuitOpen => self.ask_again(call, error).await,
            said => self.note(said),
        }
    }

    /// The upstream's word. Once the run is told to stop, a call that waits for its turn ends at once.
    async fn said(&self, call: &ChatCall) -> Result<Reply, CallError> {
        let asking = self.upstream.chat(call);
        tokio::pin!(asking);
        let mut stop = self.stop.clone();
        tokio::select! {
            said = &mut asking => return said,
            () = reached(&mut stop, Stop::Finish) => self.upstream.stop_waiting(),
        }
        asking.await
    }

    /// Waits for the circuit and tries, until there is a word or enough.
    async fn ask_again(&self, call: &ChatCall, mut error: CallError) -> Result<Reply, NoReply> {
        let _turn = self.turn.lock().await;
        loop {
            self.check()?;
            let wait = match self.upstream.circuit_open_for() {
                Some(wait) => {
                    self.note_opening(&error)?;
                    wait
                }
                // A call that is under way tries whether it is back.
                None => error.retry_after.unwrap_or_default().min(MAX_PROBE_WAIT),
            };
            let mut stop = self.stop.clone();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = reached(&mut stop, Stop::Finish) => return Err(NoReply::Stopped),
            }
            match self.said(call).await {
                Err(again) if again.kind == ErrorKind::CircuitOpen => error = again,
                said => return self.note(said),
            }
        }
    }

    fn check(&self) -> Result<(), NoReply> {
        match &self.state().left_alone {
            Some(why) => Err(NoReply::LeftAlone(why.clone())),
            None => Ok(()),
        }
    }

    fn note_opening(&self, error: &CallError) -> Result<(), NoReply> {
        let mut state = self.state();
        state.n_openings += 1;
        match state.n_openings >= MAX_OPENINGS {
            true => Err(state.leave(error.message.clone())),
            false => Ok(()),
        }
    }

    fn note(&self, said: Result<Reply, CallError>) -> Result<Reply, NoReply> {
        let mut state = self.state();
        let error = match said {
            Ok(reply) => {
                *state = State {
                    has_replied: true,
                    ..State::default()
                };
                return Ok(reply);
            }
            Err(error) => error,
        };
        if error.kind == ErrorKind::Stopped {
            return Err(NoReply::Stopped);
        }
        if error.kind.is_configuration() {
            return Err(state.leave(error.message));
        }
        if let Some(wait) = error.long_wait() {
            return Err(state.leave(later(&error.message, wait)));
        }
        if !is_of_one_reply(error.kind) {
            state.n_failures += 1;
        }
        let most = if state.has_replied {
            MAX_FAILURES
        } else {
            MAX_FIRST_FAILURES
        };
        if state.n_failures >= most {
            let why = format!("{most} calls in a row failed, the last so: {}", error.message);
            return Err(state.leave(why));
        }
        Err(NoReply::Failed(error))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counts stay counts, whatever panicked beside them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The first reason counts.
    fn leave(&mut self, why: String) -> NoReply {
        NoReply::LeftAlone(self.left_alone.get_or_insert(why).clone())
    }
}

/// Whether a failure says something about what was asked, and nothing about the endpoint.
fn is_of_one_reply(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ContextTooLong | ErrorKind::ContentFiltered | ErrorKind::TooLarge
    )
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tiercast_upstream::client::Client;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn endpoint(url: &str, more: &str) -> (Endpoint, watch::Sender<Stop>) {
        let settings = format!("base_url = \"{url}\"\nmodel = \"m\"\n{more}");
        let settings = toml::from_str(&settings).unwrap();
        let upstream = Upstream::new("judge", &settings, None, &Client::new().unwrap()).unwrap();
        let (stop, stopped) = watch::channel(Stop::No);
        (Endpoint::new(upstream, stopped), stop)
    }

    /// An address at which nobody listens.
    async fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/v1", listener.local_addr().unwrap())
    }

    /// Many at once, as judging has it; every reason that was given.
    async fn ask_many(endpoint: &std::sync::Arc<Endpoint>) -> Vec<NoReply> {
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..30 {
            let endpoint = std::sync::Arc::clone(endpoint);
            asking.spawn(async move { endpoint.chat(&ChatCall::default()).await.unwrap_err() });
        }
        asking.join_all().await
    }

    fn left_alone(reasons: &[NoReply], part: &str) {
        let of_part = |reason: &&NoReply| matches!(reason, NoReply::LeftAlone(why) if why.contains(part));
        let n = reasons.iter().filter(of_part).count();
        assert!(n >= 20, "{part}: {reasons:?}");
    }

    #[tokio::test]
    async fn an_endpoint_that_is_down_is_left_alone_with_the_cause() {
        let settings = "max_retries = 0\nbreaker_failures = 2\nbreaker_pause_s = 0.05";
        let (endpoint, _stop) = endpoint(&nobody().await, settings);
        let started = Instant::now();
        let reasons = ask_many(&std::sync::Arc::new(endpoint)).await;
        left_alone(&reasons, "check `base_url`");
        // 0.05 s and 0.1 s, and not for every call.
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn an_endpoint_that_never_replies_is_left_alone_with_the_cause() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut asked = [0; 4096];
                    let _ = stream.read(&mut asked).await;
                    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
                    let _ = stream.write_all(page.as_bytes()).await;
                });
            }
        });
        let (endpoint, _stop) = endpoint(&url, "max_retries = 0");
        let reasons = ask_many(&std::sync::Arc::new(endpoint)).await;
        left_alone(&reasons, "5 calls in a row failed, the last so: ");
        left_alone(&reasons, "check that `base_url`");
    }

    #[tokio::test]
    async fn the_word_to_stop_ends_the_waiting() {
        let settings = "max_retries = 0\nbreaker_failures = 1\nbreaker_pause_s = 600";
        let (endpoint, stop) = endpoint(&nobody().await, settings);
        let first = endpoint.chat(&ChatCall::default()).await;
        assert!(matches!(first, Err(NoReply::Failed(_))), "{first:?}");
        let call = ChatCall::default();
        let (second, ()) = tokio::join!(endpoint.chat(&call), async {
            tokio::task::yield_now().await;
            stop.send(Stop::Finish).unwrap();
        });
        assert!(matches!(second, Err(NoReply::Stopped)), "{second:?}");
    }
}
