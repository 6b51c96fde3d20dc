//! What a configuration says about the collector. Settings that exist are settings that hold.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::http::uri::PathAndQuery;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::error::TelemetryError;

/// Headers that the exporter sets itself.
const OURS: [&str; 4] = ["content-length", "content-type", "host", "transfer-encoding"];

const TIMEOUTS_MS: RangeInclusive<u64> = 10..=60_000;
const QUEUES: RangeInclusive<usize> = 1..=1_000_000;

/// Where traces go, and how many: `[traces]` in `tiercast.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Settings(Written);

/// As it stands in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    endpoint: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers_env: BTreeMap<String, String>,
    #[serde(default = "default_timeout_ms")]
    timeout_ms: u64,
    #[serde(default = "default_queue")]
    queue: usize,
    #[serde(default = "default_sample_ratio")]
    sample_ratio: f64,
    #[serde(default = "default_service_name")]
    service_name: String,
}

fn default_timeout_ms() -> u64 {
    5_000
}

fn default_queue() -> usize {
    4_096
}

fn default_sample_ratio() -> f64 {
    1.0
}

fn default_service_name() -> String {
    "tiercast".to_owned()
}

impl Settings {
    /// Everything at its default but the collector's base address, as in `http://host:4318`.
    pub fn new(endpoint: &str) -> Result<Self, TelemetryError> {
        Self::try_from(Written {
            endpoint: endpoint.to_owned(),
            headers_env: BTreeMap::new(),
            timeout_ms: default_timeout_ms(),
            queue: default_queue(),
            sample_ratio: default_sample_ratio(),
            service_name: default_service_name(),
        })
    }

    /// Where requests are posted to: OTLP's path for traces below the endpoint.
    pub fn url(&self) -> String {
        format!("{}/v1/traces", self.0.endpoint.trim_end_matches('/'))
    }

    /// Host and port of the collector.
    pub fn address(&self) -> Option<(String, u16)> {
        let uri: Uri = self.url().parse().ok()?;
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        // An IPv6 host stands in brackets, which a look-up does not take.
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
        Some((host.to_owned(), uri.port_u16().unwrap_or(default)))
    }

    /// How long one request may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.0.timeout_ms)
    }

    /// Most requests of clients that wait to be sent.
    pub fn queue(&self) -> usize {
        self.0.queue
    }

    /// Share of the traces that begin here that is kept.
    pub fn sample_ratio(&self) -> f64 {
        self.0.sample_ratio
    }

    /// What this program is called in traces.
    pub fn service_name(&self) -> &str {
        &self.0.service_name
    }

    /// Headers of every request, with the values that `variable` reads. Marked as sensitive: they are not
    /// printed.
    pub(crate) fn headers(&self, variable: impl Fn(&str) -> Option<String>) -> Result<HeaderMap, TelemetryError> {
        let mut headers = HeaderMap::new();
        for (header, name) in &self.0.headers_env {
            let missing = || TelemetryError::MissingVariable {
                header: header.clone(),
                variable: name.clone(),
            };
            let value = variable(name).filter(|value| !value.is_empty()).ok_or_else(missing)?;
            let bad = |_| TelemetryError::BadValue { variable: name.clone() };
            let mut value = HeaderValue::from_str(&value).map_err(bad)?;
            value.set_sensitive(true);
            headers.insert(header_name(header)?, value);
        }
        Ok(headers)
    }
}

impl TryFrom<Written> for Settings {
    type Error = TelemetryError;

    fn try_from(written: Written) -> Result<Self, TelemetryError> {
        check_endpoint(&written.endpoint)?;
        for (header, variable) in &written.headers_env {
            header_name(header)?;
            check_variable(header, variable)?;
        }
        check_range("timeout_ms", written.timeout_ms, TIMEOUTS_MS)?;
        check_range("queue", written.queue, QUEUES)?;
        if !(0.0..=1.0).contains(&written.sample_ratio) {
            let message = format!(
                "`sample_ratio` is {}; it takes a number from 0 to 1",
                written.sample_ratio
            );
            return Err(TelemetryError::Setting(message));
        }
        if written.service_name.trim().is_empty() {
            return setting("`service_name` is empty; leave it out, or name this program as traces should show it");
        }
        Ok(Self(written))
    }
}

impl From<Settings> for Written {
    fn from(settings: Settings) -> Self {
        settings.0
    }
}

fn setting<T>(message: &str) -> Result<T, TelemetryError> {
    Err(TelemetryError::Setting(message.to_owned()))
}

/// What does not hold is not repeated: it may contain a password.
fn check_endpoint(endpoint: &str) -> Result<(), TelemetryError> {
    let uri = endpoint.parse::<Uri>().unwrap_or_default();
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let (true, Some(authority)) = (is_http, uri.authority()) else {
        return setting("`endpoint` takes the collector's address, as in `http://host:4318`");
    };
    if authority.as_str().contains('@') {
        return setting(
            "`endpoint` holds a name or a password; put it in an environment variable and name that in `headers_env`",
        );
    }
    if uri.path_and_query().and_then(PathAndQuery::query).is_some() || endpoint.contains('#') {
        return setting("`endpoint` holds a query or a fragment; it takes an address and a path alone");
    }
    if uri.path().trim_end_matches('/').ends_with("/v1/traces") {
        return setting("`endpoint` ends in /v1/traces; leave that out, it is added");
    }
    Ok(())
}

fn header_name(header: &str) -> Result<HeaderName, TelemetryError> {
    match HeaderName::try_from(header) {
        Ok(name) if OURS.contains(&name.as_str()) => {
            setting(&format!("`headers_env`: `{name}` is set by tiercast; leave it out"))
        }
        Ok(name) => Ok(name),
        Err(_) => setting(&format!("`headers_env`: {header:?} is not the name of a header")),
    }
}

/// A value written where its variable's name belongs must not end up in a message: it is not repeated.
fn check_variable(header: &str, variable: &str) -> Result<(), TelemetryError> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = variable.bytes().all(is_word) && !variable.starts_with(|first: char| first.is_ascii_digit());
    if variable.is_empty() || !is_name {
        return setting(&format!(
            "`headers_env.{header}` takes the name of an environment variable (letters, digits, _), never the value"
        ));
    }
    Ok(())
}

fn check_range<T: Copy + PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), TelemetryError> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    setting(&format!("`{key}` is {value}; it takes a number from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    fn refused(text: &str, words: &[&str]) {
        let said = parse(text).unwrap_err();
        for word in words {
            assert!(said.contains(word), "{text}: {said}");
        }
        assert!(!said.contains("hush"), "{said}");
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let settings = parse("endpoint = 'http://host:4318'").unwrap();
        assert_eq!(Ok(&settings), Settings::new("http://host:4318").as_ref());
        assert_eq!(settings.timeout(), Duration::from_secs(5));
        assert_eq!((settings.queue(), settings.sample_ratio()), (4_096, 1.0));
        assert_eq!(settings.service_name(), "tiercast");
        let written = toml::to_string(&settings).unwrap();
        assert_eq!(parse(&written), Ok(settings));
    }

    #[test]
    fn otlps_path_is_added() {
        let url = |endpoint| Settings::new(endpoint).unwrap().url();
        assert_eq!(url("http://host:4318"), "http://host:4318/v1/traces");
        assert_eq!(url("https://host/"), "https://host/v1/traces");
        assert_eq!(url("https://host/api/otel/"), "https://host/api/otel/v1/traces");
    }

    #[test]
    fn what_does_not_hold_is_refused_with_the_mend() {
        let at = |endpoint: &str| format!("endpoint = '{endpoint}'");
        refused("", &["endpoint"]);
        refused(&at(""), &["`endpoint`", "http://host:4318"]);
        refused(&at("host:4318"), &["`endpoint`", "http://host:4318"]);
        refused(&at("grpc://host:4317"), &["`endpoint`", "http://host:4318"]);
        refused(&at("http://me:hush@host"), &["`endpoint`", "`headers_env`"]);
        refused(&at("http://host/?key=hush"), &["`endpoint`", "query"]);
        refused(&at("http://host/v1/traces/"), &["`endpoint`", "leave that out"]);
        let with = |line: &str| format!("endpoint = 'http://host'\n{line}");
        refused(&with("timeout_ms = 0"), &["`timeout_ms` is 0", "10 to 60000"]);
        refused(&with("queue = 0"), &["`queue` is 0", "1 to"]);
        refused(&with("sample_ratio = 1.5"), &["`sample_ratio` is 1.5", "0 to 1"]);
        refused(&with("sample_ratio = nan"), &["`sample_ratio` is NaN"]);
        refused(&with("service_name = ' '"), &["`service_name`"]);
        refused(&with("headers = {}"), &["headers"]);
        refused(&with("headers_env = { 'a b' = 'NAME' }"), &["`headers_env`", "a b"]);
        refused(&with("headers_env = { Host = 'NAME' }"), &["`host`", "leave it out"]);
        refused(
            &with("headers_env = { auth = 'Bearer hush' }"),
            &["`headers_env.auth`", "never the value"],
        );
        refused(
            &with("headers_env = { auth = '' }"),
            &["`headers_env.auth`", "never the value"],
        );
    }

    #[test]
    fn headers_are_read_from_the_variables_that_are_named() {
        let settings = parse("endpoint = 'http://host'\nheaders_env = { Authorization = 'OTLP_KEY' }").unwrap();
        let holding =
            |value: &'static str| settings.headers(move |name| (name == "OTLP_KEY").then(|| value.to_owned()));
        let headers = holding("Bearer hush").unwrap();
        assert_eq!(headers["authorization"], "Bearer hush");
        assert!(!format!("{headers:?}").contains("hush"));
        let missing = TelemetryError::MissingVariable {
            header: "Authorization".to_owned(),
            variable: "OTLP_KEY".to_owned(),
        };
        assert_eq!(settings.headers(|_| None).unwrap_err(), missing);
        assert_eq!(holding("").unwrap_err(), missing);
        let said = holding("hush\n").unwrap_err().to_string();
        assert!(said.contains("OTLP_KEY") && !said.contains("hush"), "{said}");
    }
}
