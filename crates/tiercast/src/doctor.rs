//! `tiercast doctor`: looks at everything that serving needs, and says what to mend.

use std::fmt;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tiercast_predictor::predictor::Predictor;
use tiercast_server::deployment::Deployment;
use tiercast_server::settings::Settings;
use tiercast_server::settings::budgets::StoreKind;
use tiercast_telemetry::exporter::Exporter;
use tiercast_upstream::client::Client;
use tiercast_upstream::error::{CallError, ErrorKind as CallKind};
use tiercast_upstream::settings::EndpointSettings;
use tiercast_upstream::upstream::Upstream;

use crate::arguments::{CONFIG, DoctorArguments};
use crate::collect::key_in;
use crate::config::{Config, listed, open};
use crate::output::print;
use crate::serve::variable;

/// How long an endpoint has to list its models.
const LIMIT: Duration = Duration::from_secs(5);

/// Most names of models that are printed.
const MAX_NAMES: usize = 5;

/// Where every command writes what it makes, unless told otherwise.
const RUNS: &str = "runs";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Problem,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}

/// What was looked at and what was found, the mend included.
#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    about: &'static str,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What TOML says of a mistake has several lines.
        let what = self.what.replace('\n', "\n                     ");
        write!(f, "{:<7}  {:<10}  {what}", self.verdict, self.about)
    }
}

/// An endpoint of the file: of a tier, which is needed to serve, or of a judge.
struct Asked {
    name: String,
    endpoint: EndpointSettings,
    is_tier: bool,
}

/// Prints a line per finding; exit code 1 where one is a problem.
pub(crate) fn run(arguments: &DoctorArguments) -> anyhow::Result<ExitCode> {
    let path = arguments.config.clone().or_else(|| {
        let default = PathBuf::from(CONFIG);
        default.is_file().then_some(default)
    });
    let (mut findings, config) = read(path.as_deref());
    let (opened, predictor) = opened(&arguments.checkpoint);
    findings.push(opened);
    let settings = config.as_ref().map(|config| &config.settings);
    if let Some(config) = &config {
        findings.extend(predictor.iter().flat_map(|predictor| tiers(config, predictor)));
        let asked = asked(config);
        findings.extend(keys(&config.settings, &asked));
        findings.extend(endpoints(asked)?);
    }
    findings.extend(settings.map(address));
    findings.extend(folders(path.as_deref()));
    if let Some(settings) = settings {
        findings.extend(journal(settings));
        findings.extend(budgets(settings)?);
        findings.extend(traces(settings));
    }
    findings.extend(settings.map(door));
    findings.iter().for_each(|finding| print(&finding.to_string()));
    Ok(concluded(&findings))
}

fn concluded(findings: &[Finding]) -> ExitCode {
    let count = |verdict: Verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (n_problems, n_warnings) = (count(Verdict::Problem), count(Verdict::Warning));
    print(&format!("problems: {n_problems}, warnings: {n_warnings}"));
    ExitCode::from(u8::from(n_problems > 0))
}

fn finding(verdict: Verdict, about: &'static str, what: impl Into<String>) -> Finding {
    let what = what.into();
    Finding { verdict, about, what }
}

/// Without a file the defaults are looked at, as `serve` would take them.
fn read(path: Option<&Path>) -> (Vec<Finding>, Option<Config>) {
    let Some(path) = path else {
        let what = "there is no tiercast.toml: the defaults are served; `tiercast config init` writes one";
        return (
            vec![finding(Verdict::Warning, "config", what)],
            Config::default().into(),
        );
    };
    match Config::read(path) {
        Ok(config) => {
            let ok = finding(Verdict::Ok, "config", path.display().to_string());
            let refusal = config.collect_refuses();
            let refusal = refusal.map(|what| {
                finding(
                    Verdict::Warning,
                    "config",
                    format!("`tiercast collect` would refuse it: {what}"),
                )
            });
            ([ok].into_iter().chain(refusal).collect(), Some(config))
        }
        Err(error) => {
            let what = format!("{error:#}\n(tiers, keys, endpoints and address are not checked before it holds)");
            (vec![finding(Verdict::Problem, "config", what)], None)
        }
    }
}

fn opened(folder: &Path) -> (Finding, Option<Predictor>) {
    match open(folder) {
        Ok(predictor) => {
            let what = format!("{} ({})", folder.display(), predictor.id());
            (finding(Verdict::Ok, "checkpoint", what), Some(predictor))
        }
        Err(error) => {
            let mend = "name a folder with --checkpoint, or make one with `tiercast train`";
            let what = format!("{error:#}; {mend}");
            (finding(Verdict::Problem, "checkpoint", what), None)
        }
    }
}

/// The tiers against the checkpoint.
fn tiers(config: &Config, predictor: &Predictor) -> Vec<Finding> {
    let deployment = match config.deploy(predictor) {
        Ok(deployment) => deployment,
        Err(error) => return vec![finding(Verdict::Problem, "tiers", format!("{error:#}"))],
    };
    let names = deployment.catalog().tiers().iter().map(|tier| tier.name.clone());
    let names: Vec<String> = names.collect();
    let mut findings = vec![finding(Verdict::Ok, "tiers", format!("served: {}", names.join(", ")))];
    findings.extend(borrowed(&deployment, &names));
    let settings = &config.settings;
    if !settings.has_endpoints() {
        let what = "none has an endpoint: decisions only, nothing can be forwarded; add [tiers.NAME.endpoint] tables";
        findings.push(finding(Verdict::Warning, "tiers", what));
        return findings;
    }
    let can_be_asked = |name: &str| settings.endpoints().any(|(tier, _)| tier == name);
    let dumb: Vec<String> = names.iter().filter(|name| !can_be_asked(name)).cloned().collect();
    if !dumb.is_empty() {
        let what = format!(
            "never chosen, for want of an endpoint: {}; add [tiers.NAME.endpoint] or take them out",
            dumb.join(", ")
        );
        findings.push(finding(Verdict::Warning, "tiers", what));
    }
    let trained = predictor.catalog().tiers().iter().map(|tier| &tier.name);
    let idle: Vec<String> = trained.filter(|name| !names.contains(name)).cloned().collect();
    if !idle.is_empty() {
        let what = format!("trained, not in the file and so not served: {}", idle.join(", "));
        findings.push(finding(Verdict::Ok, "tiers", what));
    }
    findings
}

fn borrowed(deployment: &Deployment, names: &[String]) -> Option<Finding> {
    let pairs = names.iter().enumerate().filter_map(|(tier_idx, name)| {
        let from = deployment.borrowed_from(tier_idx)?;
        Some(format!("{name} has the evidence of {from}"))
    });
    let pairs: Vec<String> = pairs.collect();
    let what = format!(
        "borrowed: {}; a guess until it is trained on answers of its own (`tiercast collect`)",
        pairs.join(", ")
    );
    (!pairs.is_empty()).then(|| finding(Verdict::Ok, "tiers", what))
}

/// Every endpoint: tiers' first, then judges'.
fn asked(config: &Config) -> Vec<Asked> {
    let tiers = config.settings.endpoints().map(|(name, endpoint)| Asked {
        name: name.to_owned(),
        endpoint: endpoint.clone(),
        is_tier: true,
    });
    let judges = config.judges.all().iter().filter_map(|judge| {
        let endpoint = judge.model()?.endpoint.clone();
        Some(Asked {
            name: judge.name.clone(),
            endpoint,
            is_tier: false,
        })
    });
    tiers.chain(judges).collect()
}

fn is_set(name: &str) -> bool {
    variable(name).is_some_and(|value| !value.trim().is_empty())
}

/// The variables that hold keys: their names, never what they hold.
fn keys(settings: &Settings, asked: &[Asked]) -> Vec<Finding> {
    let clients = settings.client_keys();
    let admin = settings.admin_key();
    let of_clients = clients.iter().chain(&admin).filter_map(|key| {
        let mend = "or write the key's `sha256` (`tiercast config key NAME` makes one)";
        Some((key.variable?, key.place.clone(), mend, true))
    });
    let of_endpoints = asked.iter().filter_map(|asked| {
        let place = if asked.is_tier { "tier" } else { "judge" };
        let variable = asked.endpoint.api_key_env()?;
        Some((
            variable,
            format!("{place} {}", asked.name),
            "as the provider gave it",
            asked.is_tier,
        ))
    });
    let looked_at = of_clients
        .chain(of_endpoints)
        .map(|(variable, place, mend, is_needed)| {
            if is_set(variable) {
                return finding(Verdict::Ok, "keys", format!("{variable} is set ({place})"));
            }
            let what = format!("{variable} is not set or empty ({place}): set it to the key, {mend}");
            finding(unless_needed(is_needed), "keys", what)
        });
    let looked_at: Vec<Finding> = looked_at.collect();
    if looked_at.is_empty() {
        return vec![finding(Verdict::Ok, "keys", "no variables are needed")];
    }
    looked_at
}

/// What only `judge` needs does not stand in the way of serving.
fn unless_needed(is_needed: bool) -> Verdict {
    if is_needed { Verdict::Problem } else { Verdict::Warning }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
}

/// Asks all endpoints at once; findings are in the order of the file.
fn endpoints(asked: Vec<Asked>) -> anyhow::Result<Vec<Finding>> {
    let client = Client::new()?;
    Ok(runtime()?.block_on(async {
        let asked = asked
            .into_iter()
            .map(|asked| tokio::spawn(endpoint(asked, client.clone())));
        let asked: Vec<_> = asked.collect();
        let mut findings = Vec::new();
        for found in asked {
            findings.push(found.await.expect("looking at an endpoint does not panic"));
        }
        findings
    }))
}

async fn endpoint(asked: Asked, client: Client) -> Finding {
    let Asked {
        name,
        endpoint,
        is_tier,
    } = asked;
    let about = if is_tier { "endpoint" } else { "judge" };
    let key = endpoint.api_key_env().and_then(key_in);
    let (verdict, what) = match Upstream::new(&name, &endpoint, key, &client) {
        Ok(upstream) => match upstream.models(LIMIT).await {
            Ok(models) => listing(&name, &endpoint, upstream.model(), models),
            Err(error) => refused(&endpoint, &error),
        },
        Err(error) => (Verdict::Problem, format!("not asked: {error}")),
    };
    let verdict = match verdict {
        Verdict::Problem => unless_needed(is_tier),
        verdict => verdict,
    };
    finding(verdict, about, what)
}

fn listing(name: &str, endpoint: &EndpointSettings, model: &str, models: Option<Vec<String>>) -> (Verdict, String) {
    let answers = format!("tier `{name}` at {} answers", endpoint.host());
    let Some(models) = models else {
        return (
            Verdict::Warning,
            format!("{answers}, and its list of models cannot be read: check `model` by hand"),
        );
    };
    // Google's begin with "models/".
    let is_listed =
        |listed: &String| listed == model || listed.strip_suffix(model).is_some_and(|rest| rest.ends_with('/'));
    if models.iter().any(is_listed) {
        return (Verdict::Ok, format!("{answers} and lists `{model}`"));
    }
    let more = if models.len() > MAX_NAMES { ", ..." } else { "" };
    let first = listed(&models[..models.len().min(MAX_NAMES)], "none");
    let what =
        format!("{answers} and does not list `{model}`: set `model` to what it calls it; it lists {first}{more}");
    (Verdict::Warning, what)
}

fn refused(endpoint: &EndpointSettings, error: &CallError) -> (Verdict, String) {
    match (error.kind, endpoint.api_key_env()) {
        (CallKind::Unauthorized, Some(_)) => (Verdict::Problem, format!("wrong key: {error}")),
        (CallKind::Unauthorized, None) => (Verdict::Problem, format!("it asks for a key: {error}")),
        // Not everyone has a list of models.
        (CallKind::NotFound | CallKind::BadRequest | CallKind::NotJson | CallKind::RateLimited, _) => {
            (Verdict::Warning, format!("its models cannot be listed: {error}"))
        }
        _ => (Verdict::Problem, error.to_string()),
    }
}

fn address(settings: &Settings) -> Finding {
    let address = settings.listen();
    let (verdict, what) = match TcpListener::bind(address) {
        Ok(_) => (Verdict::Ok, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => (
            Verdict::Warning,
            format!(
                "{address} is in use: by a tiercast that runs already, or choose another in `listen` or with --listen"
            ),
        ),
        Err(error) => (
            Verdict::Problem,
            format!("{address}: {error}; choose another in `listen` or with --listen"),
        ),
    };
    finding(verdict, "listen", what)
}

/// Where the stages write, and the folder of the file.
fn folders(config: Option<&Path>) -> Vec<Finding> {
    let beside = config
        .and_then(Path::parent)
        .filter(|folder| !folder.as_os_str().is_empty());
    let beside = beside.unwrap_or(Path::new("."));
    vec![
        folder(Path::new(RUNS), Verdict::Problem),
        folder(beside, Verdict::Warning),
    ]
}

/// Where the journal is kept, if there is one.
fn journal(settings: &Settings) -> Option<Finding> {
    let opening = settings.journal().opening()?;
    let found = folder(&opening.folder, Verdict::Problem);
    Some(finding(found.verdict, "journal", found.what))
}

/// The store of the budgets, where there are any: a file that can be written, or a server that answers.
fn budgets(settings: &Settings) -> anyhow::Result<Option<Finding>> {
    let budgets = settings.budgets();
    if !budgets.has_limits() {
        return Ok(None);
    }
    let (verdict, what) = match budgets.store() {
        StoreKind::Memory => (Verdict::Ok, "in memory: sums end with the process".to_owned()),
        StoreKind::Sqlite => budget_file(budgets.path()),
        StoreKind::Valkey => match runtime()?.block_on(crate::serve::budgets(budgets)) {
            Ok(_) => (Verdict::Ok, "Valkey answers".to_owned()),
            Err(error) => {
                let mend = "start it, or correct the URL in the variable that `budgets.url_env` names";
                (Verdict::Problem, format!("{error:#}; {mend}"))
            }
        },
    };
    Ok(Some(finding(verdict, "budgets", what)))
}

/// A file of SQLite, which makes others beside it.
fn budget_file(path: &Path) -> (Verdict, String) {
    let beside = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let own = match path.exists() {
        true => std::fs::OpenOptions::new().append(true).open(path).map(|_| ()),
        false => Ok(()),
    };
    let path = path.display();
    match own.and_then(|()| try_to_write(beside.unwrap_or(Path::new(".")))) {
        Ok(()) => (Verdict::Ok, format!("{path} can be written")),
        Err(error) => {
            let mend = "make its folder, or name another file in `budgets.path`";
            (Verdict::Problem, format!("{path} cannot be written ({error}): {mend}"))
        }
    }
}

/// The collector of traces. Serving goes on without it, but not without the variables of its headers.
fn traces(settings: &Settings) -> Option<Finding> {
    let traces = settings.traces()?;
    if let Err(error) = Exporter::start(traces, variable) {
        return Some(finding(Verdict::Problem, "traces", format!("{error:#}")));
    }
    let (host, port) = traces.address()?;
    let (verdict, what) = match reach(&host, port) {
        Ok(()) => (Verdict::Ok, format!("{host}:{port} takes connections")),
        Err(error) => (
            Verdict::Warning,
            format!("{host}:{port} cannot be reached ({error}): traces are dropped until `traces.endpoint` is up"),
        ),
    };
    Some(finding(verdict, "traces", what))
}

fn reach(host: &str, port: u16) -> std::io::Result<()> {
    let mut last = std::io::Error::from(ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, LIMIT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether files can be made in a folder, or the folder itself can be.
fn folder(path: &Path, otherwise: Verdict) -> Finding {
    let (tried, is) = match path.exists() {
        true => (path, "is writable"),
        false => (nearest(path), "is not there yet and can be made"),
    };
    match try_to_write(tried) {
        Ok(()) => finding(Verdict::Ok, "folder", format!("{} {is}", path.display())),
        Err(error) => {
            let what = format!(
                "{} cannot be written to ({error}): make it a folder of yours, or run as its owner",
                path.display()
            );
            finding(otherwise, "folder", what)
        }
    }
}

/// The folder in which the first missing one would be made.
fn nearest(path: &Path) -> &Path {
    let above = path.ancestors().skip(1).find(|above| above.exists());
    above.unwrap_or(Path::new("."))
}

fn try_to_write(folder: &Path) -> std::io::Result<()> {
    let file = folder.join(format!(".tiercast-doctor-{}.tmp", std::process::id()));
    std::fs::File::create_new(&file)?;
    std::fs::remove_file(file)
}

/// Who is let in.
fn door(settings: &Settings) -> Finding {
    let (address, n_keys) = (settings.listen(), settings.client_keys().len());
    let is_open = n_keys == 0;
    if is_open && !address.ip().is_loopback() {
        let what = format!(
            "others can reach {address} and no key is asked for (`allow_without_key`): only behind a proxy that does"
        );
        return finding(Verdict::Warning, "door", what);
    }
    let what = match is_open {
        true => format!("no keys are needed on {address}: only this machine can reach it"),
        false => format!("clients need one of the keys: {n_keys}"),
    };
    finding(Verdict::Ok, "door", what)
}
