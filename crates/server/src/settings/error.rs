//! Why settings are refused: the place, what is wrong there, and the mend. Never a key.

use std::net::SocketAddr;

use thiserror::Error;
use tiercast_upstream::error::UpstreamError;

use crate::place::line_of;

/// Why settings are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// Not TOML, an unknown key or a value of another type; has line and column.
    #[error("tiercast.toml: {0}")]
    Toml(String),
    /// A value that cannot be.
    #[error("tiercast.toml: {}`{key}` {mend}", at_line(*.line))]
    Value {
        /// The key, with its table.
        key: String,
        /// What it has to be.
        mend: String,
        /// Where the key is, from 1; none where it is missing or was not looked for.
        line: Option<usize>,
    },
    /// A tier that the checkpoint does not have.
    #[error(
        "tiercast.toml: {}`{key}` names tier `{tier}`, which the checkpoint does not have; its tiers are {known}. \
         To serve a tier that it was not trained on, write predict_as = \"TIER\", one of these, in its table", at_line(*.line)
    )]
    UnknownTier {
        /// Where it is named.
        key: String,
        /// The name.
        tier: String,
        /// The names there are.
        known: String,
        /// Where, from 1.
        line: Option<usize>,
    },
    /// An endpoint that cannot be set up.
    #[error("tiercast.toml: {0}")]
    Endpoint(#[from] UpstreamError),
    /// A key's environment variable that is not there.
    #[error(
        "tiercast.toml: `{key}`: the environment variable {variable} is not set or empty; set it to the key, or write the key's `sha256` instead"
    )]
    MissingKey {
        /// The key's table.
        key: String,
        /// The variable.
        variable: String,
    },
    /// An address that others can reach, without keys.
    #[error(
        "refusing to listen on {0}: others can reach it and no keys are set. Listen on 127.0.0.1, add \
         [keys.NAME] tables to tiercast.toml (`tiercast config key NAME` makes one), or set \
         `allow_without_key = true` if a proxy guards it"
    )]
    NoKeys(SocketAddr),
    /// A reload after which nothing could be forwarded, or everybody would be let in.
    #[error(
        "tiercast.toml: no {0} is left, which takes a restart, since a file that is half written looks like this; \
         the settings before it stay in force"
    )]
    Lost(&'static str),
    /// A reload that would need a restart.
    #[error("tiercast.toml: {}`{key}` has changed, which takes a restart; the settings before it stay in force", at_line(*.line))]
    NeedsRestart {
        /// The key.
        key: &'static str,
        /// Where, from 1.
        line: Option<usize>,
    },
}

fn at_line(line: Option<usize>) -> String {
    line.map(|line| format!("line {line}: ")).unwrap_or_default()
}

impl SettingsError {
    /// The same, with the line of its key in `text` where it can be found.
    #[must_use]
    pub fn located(mut self, text: &str) -> Self {
        match &mut self {
            Self::Value { key, line, .. } | Self::UnknownTier { key, line, .. } => *line = line_of(text, key),
            Self::NeedsRestart { key, line } => *line = line_of(text, key),
            _ => {}
        }
        self
    }
}
