//! `tiercast config`: writes, checks, shows and describes a `tiercast.toml`, and makes keys for it.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tiercast_collect::CollectError;
use tiercast_collect::config::{CollectConfig, CollectSettings};
use tiercast_collect::judge::judges::Judges;
use tiercast_collect::judge::settings::JudgeSettings;
use tiercast_predictor::device::DeviceKind;
use tiercast_predictor::predictor::Predictor;
use tiercast_records::disk::hex;
use tiercast_server::deployment::Deployment;
use tiercast_server::place::line_of;
use tiercast_server::settings::{KeyView, Settings};
use toml::Table;

use crate::arguments::{ConfigCommand, UsageError};
use crate::output::print;
use crate::progress::say;

/// The shipped example; its comments are the documentation.
const EXAMPLE: &str = include_str!("../../../tiercast.example.toml");

/// Kept in step with the settings by a test of the journeys.
const SCHEMA: &str = include_str!("config.schema.json");

/// Random bytes of a key: nobody guesses 256 bits.
const KEY_BYTES: usize = 32;

/// Runs one of them.
pub(crate) fn run(command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Init { out } => init(out),
        ConfigCommand::Validate { file, checkpoint } => validate(file, checkpoint.as_deref()),
        ConfigCommand::Show { file } => show(file),
        ConfigCommand::Schema => {
            print(SCHEMA.trim_end());
            Ok(())
        }
        ConfigCommand::Key { name, cohort } => key(name, cohort.as_deref()),
    }
}

/// A file of which every table holds; without one, the defaults.
#[derive(Default)]
pub(crate) struct Config {
    pub(crate) text: String,
    pub(crate) settings: Settings,
    pub(crate) collect: CollectSettings,
    pub(crate) judge: JudgeSettings,
    pub(crate) judges: Judges,
}

impl Config {
    /// Reads what `serve`, `collect` and `judge` read.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let mend = match error.kind() {
                ErrorKind::NotFound => "; `tiercast config init` writes an example",
                _ => "",
            };
            UsageError(format!("reading {}: {error}{mend}", path.display()))
        })?;
        let settings = Settings::parse(&text).with_context(|| format!("in {}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let (collect, judge, judges) = collected(&text, folder).map_err(|error| match error {
            CollectError::Config(what) => UsageError(format!("{}: {}", path.display(), at_line(what, &text))).into(),
            error => anyhow::Error::from(error),
        })?;
        Ok(Self {
            text,
            settings,
            collect,
            judge,
            judges,
        })
    }

    /// What is served with a checkpoint, or why these tiers do not go with it.
    pub(crate) fn deploy(&self, predictor: &Predictor) -> anyhow::Result<Deployment> {
        let levels = predictor.service_levels();
        let deployment = Deployment::new(predictor.catalog(), predictor.id(), levels, &self.settings)
            .and_then(|deployment| deployment.with_cascade(&self.settings, predictor.cascade().map(AsRef::as_ref)));
        Ok(deployment.map_err(|error| error.located(&self.text))?)
    }

    /// Why `collect` would refuse what `serve` takes: prices have to be said there.
    pub(crate) fn collect_refuses(&self) -> Option<String> {
        let refused = CollectConfig::parse(&self.text, None).err();
        refused
            .filter(|_| self.settings.has_endpoints())
            .map(|error| error.to_string())
    }
}

fn collected(text: &str, folder: &Path) -> Result<(CollectSettings, JudgeSettings, Judges), CollectError> {
    let collect = CollectSettings::parse(text)?;
    let is_there = text.parse::<Table>().is_ok_and(|table| table.contains_key("judge"));
    let judge = match is_there {
        true => JudgeSettings::parse(text)?,
        false => JudgeSettings::default(),
    };
    let judges = Judges::new(&judge, folder)?;
    Ok((collect, judge, judges))
}

/// A message with the line of the key that it names, unless it has one.
fn at_line(what: String, text: &str) -> String {
    let line = what.split('`').nth(1).and_then(|key| line_of(text, key));
    match line.filter(|_| !what.contains("line ")) {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    }
}

/// Opens a checkpoint for what it says of itself.
pub(crate) fn open(folder: &Path) -> anyhow::Result<Predictor> {
    Predictor::open(folder, DeviceKind::Flex).with_context(|| format!("opening checkpoint {}", folder.display()))
}

fn init(out: &Path) -> anyhow::Result<()> {
    let mut file = std::fs::File::create_new(out).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => UsageError(format!(
            "{} is there already and stays as it is: name another file with --out, or move it away",
            out.display()
        ))
        .into(),
        _ => anyhow::Error::from(error).context(format!("writing {}", out.display())),
    })?;
    std::io::Write::write_all(&mut file, EXAMPLE.as_bytes()).with_context(|| format!("writing {}", out.display()))?;
    say(&format!(
        "{} written; next: set the endpoints in it, then `tiercast doctor --config {}`",
        out.display(),
        out.display()
    ));
    Ok(())
}

fn validate(file: &Path, checkpoint: Option<&Path>) -> anyhow::Result<()> {
    let config = Config::read(file)?;
    let predictor = checkpoint.map(open).transpose()?;
    let deployment = predictor.as_ref().map(|predictor| config.deploy(predictor)).transpose();
    let deployment = deployment.with_context(|| format!("in {}", file.display()))?;
    print(&format!("{}: valid", file.display()));
    print(summary(&config, deployment.as_ref()).trim_end());
    if let Some(refusal) = config.collect_refuses() {
        say(&format!("note: `serve` takes it, `collect` does not: {refusal}"));
    }
    Ok(())
}

/// Tiers, who borrows, who can be asked, keys and cohorts, a line each.
fn summary(config: &Config, deployment: Option<&Deployment>) -> String {
    let settings = &config.settings;
    let tiers = settings.tiers().map(|(name, source)| match source {
        Some(source) => format!("{name} (borrows the evidence of {source})"),
        None => name.to_owned(),
    });
    let endpoints = settings
        .endpoints()
        .map(|(name, endpoint)| format!("{name} at {}", endpoint.host()));
    let keys = settings.client_keys();
    let keys: Vec<String> = keys.iter().chain(settings.admin_key().as_ref()).map(key_text).collect();
    let (tiers, endpoints): (Vec<String>, Vec<String>) = (tiers.collect(), endpoints.collect());
    let mut lines = vec![
        ("listen", settings.listen().to_string()),
        ("tiers", listed(&tiers, "those of the checkpoint")),
        ("endpoints", listed(&endpoints, "none: decisions only")),
        ("keys", listed(&keys, "none")),
        ("cohorts", listed(settings.cohorts(), "none")),
    ];
    if let Some(deployment) = deployment {
        lines.push((
            "checkpoint",
            format!("{}: the tiers go with it", deployment.checkpoint()),
        ));
    }
    lines
        .into_iter()
        .map(|(what, is)| format!("  {what:<10}  {is}\n"))
        .collect()
}

/// Where a key is and what it is for; not the key.
fn key_text(key: &KeyView<'_>) -> String {
    let by = match key.variable {
        Some(variable) => format!("by variable {variable}"),
        None => "by sha256".to_owned(),
    };
    let cohort = key
        .cohort
        .map(|cohort| format!(", cohort {cohort}"))
        .unwrap_or_default();
    format!("{} ({by}{cohort})", key.place)
}

/// `a, b, c`, or what none of them means.
pub(crate) fn listed(names: &[String], none: &str) -> String {
    if names.is_empty() {
        none.to_owned()
    } else {
        names.join(", ")
    }
}

fn show(file: &Path) -> anyhow::Result<()> {
    let config = Config::read(file)?;
    let shown = config.settings.shown(table(&config.collect)?, table(&config.judge)?)?;
    print(&format!(
        "# {} as it is in force. What a tier does not say is as in the checkpoint; digests of keys are not shown.",
        file.display()
    ));
    print(shown.trim_end());
    Ok(())
}

fn table(settings: &impl Serialize) -> anyhow::Result<Table> {
    Ok(Table::try_from(settings)?)
}

/// `[keys.NAME]`.
#[derive(Serialize)]
struct KeyTable<'a> {
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cohort: Option<&'a str>,
}

fn key(name: &str, cohort: Option<&str>) -> anyhow::Result<()> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).context("asking the system for random bytes")?;
    let key = format!("tc-{}", hex(&bytes));
    let sha256 = hex(&Sha256::digest(&key));
    let keys = Table::from_iter([("keys".to_owned(), {
        Table::from_iter([(name.to_owned(), table(&KeyTable { sha256, cohort })?.into())]).into()
    })]);
    say("The key, for the client; it is not shown again:");
    print(&key);
    say("For tiercast.toml:");
    print(toml::to_string(&keys)?.trim_end());
    if let Some(cohort) = cohort {
        say(&format!("`cohorts` has to name \"{cohort}\"."));
    }
    Ok(())
}
