//! `tiercast serve`: a checkpoint on a socket, until Ctrl-C or SIGTERM.

use std::future::Future;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tiercast_budgets::error::BudgetError;
use tiercast_budgets::sqlite::SqliteStore;
use tiercast_budgets::store::Store;
use tiercast_budgets::valkey::ValkeyStore;
use tiercast_journal::Journal;
use tiercast_observation::drift::Monitor;
use tiercast_predictor::answers::Reply;
use tiercast_predictor::device::DeviceKind;
use tiercast_predictor::features::FEATURE_VERSION;
use tiercast_predictor::predictor::Predictor;
use tiercast_records::reference::Reference;
use tiercast_server::observer::Watch;
use tiercast_server::serving::Checkpoint;
use tiercast_server::settings::Settings;
use tiercast_server::settings::budgets::{BudgetSettings, StoreKind};
use tiercast_server::state::{AnswerJudge, Parts, Source, State};
use tiercast_server::worker::{Forecasted, Forecaster};
use tiercast_telemetry::exporter::Exporter;
use tiercast_telemetry::targets::{Target, Targets};
use tiercast_upstream::client::Client;
use tiercast_upstream::settings::EndpointSettings;
use tokio::net::TcpListener;

/// How often the settings' file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is left running after the drain gave up is abandoned after this long.
const ABANDON_AFTER: Duration = Duration::from_secs(1);

/// Serves until told to stop, then answers what is under way.
///
/// `config` is a `tiercast.toml`; `listen` outranks its address.
pub(crate) fn serve(
    checkpoint: &Path,
    config: Option<&Path>,
    listen: Option<SocketAddr>,
    device: DeviceKind,
) -> anyhow::Result<()> {
    let settings = settings(config, listen)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let budgets = runtime.block_on(budgets(settings.budgets()))?;
    let state = open(checkpoint, settings.clone(), budgets, config, device)?;
    let served = runtime.block_on(async {
        if let Some(config) = config {
            tokio::spawn(watch(config.to_owned(), Arc::clone(&state)));
        }
        serve_on(settings.listen(), state).await
    });
    runtime.shutdown_timeout(ABANDON_AFTER);
    served
}

fn settings(config: Option<&Path>, listen: Option<SocketAddr>) -> anyhow::Result<Settings> {
    let settings = match config {
        None => Settings::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            Settings::parse(&text).with_context(|| format!("in {}", path.display()))?
        }
    };
    Ok(match listen {
        None => settings,
        Some(address) => settings.listening_on(address)?,
    })
}

/// Judges answers by what the checkpoint learnt of them.
fn answers(predictor: &Arc<Predictor>) -> Option<AnswerJudge> {
    let (cascade, predictor) = (Arc::clone(predictor.cascade()?), Arc::clone(predictor));
    Some(Arc::new(move |tier, request, forecast, said, agreement| {
        let reply = Reply {
            question: &request.ask,
            features: &predictor.features(request),
            forecast,
            text: &said.text,
            mean_logprob: said.mean_logprob,
            agreement,
        };
        cascade.answers.quality(tier, &reply)
    }))
}

/// What the server is observed by.
fn watch_of(settings: &Settings, reference: Option<Reference>) -> anyhow::Result<Watch> {
    let mut watch = Watch::without_journal(Monitor::new(reference, settings.drift().clone())?)?;
    if let Some(opening) = settings.journal().opening() {
        let opening_it = || format!("opening the journal in {}", opening.folder.display());
        let journal = Journal::open(&opening).with_context(opening_it)?;
        watch = watch.with_journal(journal, settings.journal().keep());
    }
    if let Some(traces) = settings.traces() {
        let exporter = Exporter::start(traces, variable).context("setting up [traces]")?;
        watch = watch.with_traces(exporter, targets(settings));
    }
    Ok(watch)
}

/// What traces say of the tiers' endpoints.
fn targets(settings: &Settings) -> Targets {
    let of = |(tier, endpoint): (&str, &EndpointSettings)| (tier.to_owned(), target(tier, endpoint));
    settings.endpoints().map(of).collect()
}

fn target(tier: &str, endpoint: &EndpointSettings) -> Target {
    let authority = endpoint.host();
    let (address, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, port.parse().ok()),
        _ => (authority.as_str(), None),
    };
    Target {
        provider: None,
        model: Some(endpoint.model().unwrap_or(tier).to_owned()),
        address: (!address.is_empty()).then(|| address.to_owned()),
        port,
    }
}

/// Opens the store of the budgets, where there are any.
pub(crate) async fn budgets(settings: &BudgetSettings) -> anyhow::Result<Option<Arc<dyn Store>>> {
    if !settings.has_limits() {
        return Ok(None);
    }
    Ok(Some(match settings.store() {
        StoreKind::Memory => Arc::new(SqliteStore::in_memory()?),
        StoreKind::Sqlite => Arc::new(SqliteStore::open(settings.path())?),
        StoreKind::Valkey => {
            let name = settings.url_env().unwrap_or_default();
            let missing = || format!("`budgets.url_env`: the environment variable {name} is not set or empty");
            let url = variable(name)
                .filter(|url| !url.trim().is_empty())
                .with_context(missing)?;
            Arc::new(valkey(&url, settings).await?)
        }
    }))
}

/// One that is away is waited for, where requests go on meanwhile.
async fn valkey(url: &str, settings: &BudgetSettings) -> Result<ValkeyStore, BudgetError> {
    match ValkeyStore::connect(url, settings.deployment(), settings.timeout()).await {
        Err(error @ BudgetError::Unavailable { .. }) if settings.goes_on_without() => {
            tracing::warn!(%error, "the budget store is away; requests go on and are counted (`when_unavailable`)");
            ValkeyStore::connect_later(url, settings.deployment(), settings.timeout())
        }
        connected => connected,
    }
}

/// Opens the checkpoint and starts its inference threads, which share it.
fn open(
    checkpoint: &Path,
    settings: Settings,
    budgets: Option<Arc<dyn Store>>,
    config: Option<&Path>,
    device: DeviceKind,
) -> anyhow::Result<Arc<State>> {
    let opening = || format!("opening checkpoint {}", checkpoint.display());
    let predictor = Arc::new(Predictor::open(checkpoint, device).with_context(opening)?);
    let forecaster = || -> Forecaster {
        let predictor = Arc::clone(&predictor);
        Box::new(move |request| {
            let features = predictor.features(request);
            Forecasted {
                assessment: predictor.assess_one(&features),
                features,
            }
        })
    };
    let source = config.map(|path| -> Source {
        let path = path.to_owned();
        Box::new(move || look(&path))
    });
    let observed = watch_of(&settings, predictor.reference().cloned())?;
    let parts = Parts {
        checkpoint: Checkpoint {
            id: predictor.id().to_owned(),
            catalog: predictor.catalog().clone(),
            service_levels: predictor.service_levels(),
            cascade: predictor.cascade().cloned(),
            certificate: predictor.certificate().cloned(),
            tasks: predictor.tasks().to_vec(),
            feature_version: FEATURE_VERSION,
        },
        forecasters: (0..settings.workers()).map(|_| forecaster()).collect(),
        settings,
        client: Client::new()?,
        answers: answers(&predictor),
        budgets,
        env: Box::new(variable),
        source,
        watch: observed,
    };
    State::new(parts).with_context(|| match config {
        Some(path) => format!("setting up what {} says", path.display()),
        None => "setting up the server".to_owned(),
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "keys are read here, where the settings name their variables"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The text of the settings, or why there is none.
fn look(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))
}

/// Puts the settings in force whenever the file changes. Looking at its text is slower than being told
/// by the system, and works wherever files do, also where an editor puts a new file in its place. A file that
/// is still being written changes from look to look: only what is the same on two of them counts.
async fn watch(config: PathBuf, state: Arc<State>) {
    let mut known = look(&config);
    let mut before = known.clone();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = look(&config);
        let is_at_rest = now == before;
        before.clone_from(&now);
        if !is_at_rest || now == known {
            continue;
        }
        known.clone_from(&now);
        match now.and_then(|text| state.put_in_force(&text)) {
            Ok(()) => tracing::info!(config = %config.display(), "settings reloaded"),
            Err(error) => tracing::error!(
                config = %config.display(),
                %error,
                "settings not reloaded; those before stay in force"
            ),
        }
    }
}

async fn serve_on(address: SocketAddr, state: Arc<State>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("listening on {address}; if something else has the port, choose another with --listen 127.0.0.1:PORT")
    })?;
    let address = listener.local_addr().context("reading the address of the socket")?;
    let stop = stop_signal()?;
    // Serving does not end because nobody reads what we print.
    drop(announce(address));
    tiercast_server::server::run(listener, state, stop).await;
    Ok(())
}

fn announce(address: SocketAddr) -> std::io::Result<()> {
    let reachable = match address.ip().is_unspecified() {
        true => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        false => address,
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on http://{address}")?;
    writeln!(
        out,
        "try: curl -s http://{reachable}/v1/route -d '{{\"messages\":[{{\"role\":\"user\",\"content\":\"What is 17 x 23?\"}}]}}'"
    )?;
    out.flush()
}

/// Resolves on Ctrl-C, and on SIGTERM where there is one.
#[cfg(unix)]
pub(crate) fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
pub(crate) fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(async {
        // Without a handler there is nothing to wait for but the end of the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
