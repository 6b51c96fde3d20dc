//! The router on a socket: connections, their limits, and a shutdown that loses nothing.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_io_timeout::TimeoutStream;

use crate::app::app;
use crate::state::{Ending, State};

/// How long a connection may take over a request's head, or stay idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take nothing of what is there for it.
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);

/// How often histograms are folded.
const UPKEEP: Duration = Duration::from_secs(5);

/// How often holds that expired and sums that are old are forgotten.
const SWEEP: Duration = Duration::from_mins(10);

/// Pause after the system refuses a connection (out of file handles, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long clients have to read why their reply is not whole.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How much longer than one request's time limit a shutdown waits.
const DRAIN_SLACK: Duration = Duration::from_secs(1);

/// Serves until `shutdown` resolves, then answers what is under way and returns.
///
/// Waits no longer than `drain_ms` (or a decision's time limit): then replies under way end in an error, are settled and
/// are written to the journal. A client that stalls cannot hold the process.
pub async fn run(listener: TcpListener, state: Arc<State>, shutdown: impl Future<Output = ()>) {
    let service = TowerToHyperService::new(app(Arc::clone(&state)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connections = GracefulShutdown::new();
    let mut upkeep = tokio::time::interval(UPKEEP);
    let mut sweep = tokio::time::interval(SWEEP);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Answers are small and whole: waiting to fill a packet only adds latency.
                    drop(stream.set_nodelay(true));
                    let mut stream = TimeoutStream::new(stream);
                    stream.set_write_timeout(Some(WRITE_TIMEOUT));
                    let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service.clone());
                    let connection = connections.watch(connection);
                    let state = Arc::clone(&state);
                    tokio::spawn(async move {
                        tokio::select! {
                            ended = connection => if let Err(error) = ended {
                                tracing::debug!(%error, "connection ended");
                            },
                            () = state.ends(Ending::Abandoned) => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = upkeep.tick() => state.metrics.upkeep(),
            _ = sweep.tick() => {
                let state = Arc::clone(&state);
                tokio::spawn(async move { state.sweep_budgets().await });
            }
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    drain(state, connections).await;
}

async fn drain(state: Arc<State>, connections: GracefulShutdown) {
    tracing::info!(connections = connections.count(), "draining");
    state.start_draining();
    let limit = {
        let settings = &state.serving().settings;
        settings.request_timeout().max(Duration::from_millis(settings.drain_ms)) + DRAIN_SLACK
    };
    let mut ended = pin!(connections.shutdown());
    if tokio::time::timeout(limit, &mut ended).await.is_err() {
        tracing::warn!("what is under way took longer than `drain_ms`: it ends in an error, and is accounted for");
        state.go_to(Ending::GivingUp);
        if tokio::time::timeout(LAST_WORDS, &mut ended).await.is_err() {
            // Clients that do not read: what is owed for them is booked as their connections are dropped.
            tracing::warn!("gave up on connections that did not end in time");
            state.go_to(Ending::Abandoned);
            drop(tokio::time::timeout(DRAIN_SLACK, &mut ended).await);
        }
    }
    let settled = async {
        while !state.is_settled() {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    };
    if tokio::time::timeout(DRAIN_SLACK, settled).await.is_err() {
        tracing::warn!("gave up on budgets that could not be settled in time; their holds will expire");
    }
    // Nobody waits for an answer any more; only a forecast that never returns could hold this up.
    let threads = tokio::task::spawn_blocking(move || state.drain());
    if tokio::time::timeout(DRAIN_SLACK, threads).await.is_err() {
        tracing::warn!("gave up on an inference thread that did not end in time");
    }
}
