//! `tiercast replay`: recorded completions on a socket, until Ctrl-C or SIGTERM.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tiercast_replay::faults::{FaultKind, Faults};
use tiercast_replay::library::{Library, LibraryError};
use tiercast_replay::pace::Pace;
use tiercast_replay::state::State;
use tokio::net::TcpListener;

use crate::arguments::{ReplayArguments, UsageError};
use crate::serve::stop_signal;

/// Hanging faults are abandoned after this long.
const ABANDON_AFTER: Duration = Duration::from_secs(1);

/// Serves until told to stop, then prints what was asked.
pub(crate) fn replay(arguments: &ReplayArguments) -> anyhow::Result<()> {
    let faults = faults(arguments)?;
    let pace = match (arguments.instant, arguments.speed) {
        (true, _) => Pace::Instant,
        (false, speed) => Pace::Recorded { speed },
    };
    let library = Library::read(&arguments.outcomes, arguments.models.as_deref()).map_err(|error| match error {
        LibraryError::NoSuchModel { .. } => anyhow::Error::new(UsageError(error.to_string())),
        error => error.into(),
    })?;
    let state = State::new(library, pace, faults);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let served = runtime.block_on(serve_on(arguments.listen, Arc::clone(&state), arguments.json));
    runtime.shutdown_timeout(ABANDON_AFTER);
    served?;
    // Nobody may be reading any more.
    drop(say(&state.stats().to_string()));
    Ok(())
}

fn faults(arguments: &ReplayArguments) -> anyhow::Result<Faults> {
    let faults = Faults {
        seed: arguments.fault_seed,
        shares: arguments.fault.iter().copied().collect(),
        ..Faults::default()
    };
    faults
        .checked()
        .map_err(|error| anyhow::Error::new(UsageError(format!("--fault: {error}"))))
}

async fn serve_on(address: SocketAddr, state: Arc<State>, json: bool) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("listening on {address}; if something else has the port, choose another with --listen 127.0.0.1:PORT")
    })?;
    let address = listener.local_addr().context("reading the address of the socket")?;
    let stop = stop_signal()?;
    // Serving does not end because nobody reads what we print.
    drop(announce(address, &state, json));
    tiercast_replay::server::run(listener, state, stop).await;
    Ok(())
}

fn announce(address: SocketAddr, state: &State, json: bool) -> std::io::Result<()> {
    let library = state.library();
    let (models, n_prompts, n_replies) = (library.models(), library.n_prompts(), library.n_replies());
    if json {
        let base_url = format!("http://{address}/v1");
        let line = json!({"base_url": base_url, "models": models, "prompts": n_prompts, "replies": n_replies});
        return say(&line.to_string());
    }
    say(&format!("listening on http://{address}"))?;
    say(&format!(
        "{n_replies} replies to {n_prompts} prompts; base_url = \"http://{address}/v1\", models: {}",
        models.join(", ")
    ))
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// `KIND=SHARE`.
pub(crate) fn parse_fault(text: &str) -> Result<(FaultKind, f64), String> {
    let known = || FaultKind::ALL.map(FaultKind::name).join(", ");
    let (kind, share) = text
        .split_once('=')
        .ok_or_else(|| format!("write KIND=SHARE, as in html=0.05; kinds: {}", known()))?;
    let kind = FaultKind::from_name(kind).ok_or_else(|| format!("`{kind}` is no fault; kinds: {}", known()))?;
    match share.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok((kind, share)),
        _ => Err(format!("`{share}` is no share of calls; write a number from 0 to 1")),
    }
}
