//! What a configuration says about an endpoint. Values that exist are values that hold.

use std::num::NonZeroU32;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tiercast_chat::Dialect;

/// Parameters that a call fills in itself.
pub(crate) const OURS: [&str; 6] = ["model", "messages", "tools", "stream", "stream_options", "n"];

/// Longest time limit of one attempt: ten hours.
const MAX_TIMEOUT_S: f64 = 36_000.0;

/// An endpoint of a tier or of a judge: `[tiers.NAME.endpoint]` in `tiercast.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct EndpointSettings {
    base_url: Url,
    model: Option<String>,
    api_key_env: Option<String>,
    concurrency: u32,
    requests_per_minute: Option<NonZeroU32>,
    tokens_per_minute: Option<NonZeroU32>,
    timeout: Duration,
    max_retries: u32,
    breaker_failures: u32,
    breaker_pause: Duration,
    parameters: Map<String, Value>,
    dialects: Vec<Dialect>,
}

impl EndpointSettings {
    /// Where the API begins, as in `https://host/v1/`; always ends in a slash.
    pub fn base_url(&self) -> &str {
        self.base_url.as_str()
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        self.base_url.join(path).expect("a path of ours joins any base")
    }

    /// Host and port, for messages.
    pub fn host(&self) -> String {
        let host = self.base_url.host_str().unwrap_or_default();
        match self.base_url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// What the endpoint calls the model, where it is not the tier's name.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Name of the environment variable that holds the key. The binary reads it and hands the value over.
    pub fn api_key_env(&self) -> Option<&str> {
        self.api_key_env.as_deref()
    }

    /// Most calls under way at a time.
    pub fn concurrency(&self) -> usize {
        self.concurrency as usize
    }

    /// Most requests in any minute.
    pub fn requests_per_minute(&self) -> Option<NonZeroU32> {
        self.requests_per_minute
    }

    /// Most tokens in any minute, prompts and replies, as expected before the call.
    pub fn tokens_per_minute(&self) -> Option<NonZeroU32> {
        self.tokens_per_minute
    }

    /// How long one attempt may take, from sending to the last byte.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Attempts after the first.
    pub fn max_retries(&self) -> u32 {
        self.max_retries
    }

    /// Failures in a row that open the circuit.
    pub fn breaker_failures(&self) -> u32 {
        self.breaker_failures
    }

    /// How long an open circuit waits before it lets one call try.
    pub fn breaker_pause(&self) -> Duration {
        self.breaker_pause
    }

    /// The dialects it speaks, the preferred one first; at least one. Calls of `collect` are in the
    /// chat dialect whatever is here.
    pub fn dialects(&self) -> &[Dialect] {
        &self.dialects
    }

    /// Sent with every call.
    pub fn parameters(&self) -> &Map<String, Value> {
        &self.parameters
    }
}

/// As it stands in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    base_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_env: Option<String>,
    #[serde(default = "default_concurrency")]
    concurrency: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_minute: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_per_minute: Option<u32>,
    #[serde(default = "default_timeout_s")]
    timeout_s: f64,
    #[serde(default = "default_max_retries")]
    max_retries: u32,
    #[serde(default = "default_breaker_failures")]
    breaker_failures: u32,
    #[serde(default = "default_breaker_pause_s")]
    breaker_pause_s: f64,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default = "default_dialects")]
    dialects: Vec<Dialect>,
}

fn default_dialects() -> Vec<Dialect> {
    vec![Dialect::Chat]
}

fn default_concurrency() -> u32 {
    4
}

fn default_timeout_s() -> f64 {
    60.0
}

fn default_max_retries() -> u32 {
    5
}

/// More than chance makes where one call in five fails; fewer than a dead endpoint makes in a second.
fn default_breaker_failures() -> u32 {
    10
}

fn default_breaker_pause_s() -> f64 {
    10.0
}

impl TryFrom<Written> for EndpointSettings {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        within("concurrency", written.concurrency, 1, 4096)?;
        within("max_retries", written.max_retries, 0, 100)?;
        within("breaker_failures", written.breaker_failures, 1, 100_000)?;
        if let Some(name) = OURS.iter().find(|name| written.parameters.contains_key(**name)) {
            return Err(format!("`parameters.{name}` is filled in by tiercast; leave it out"));
        }
        if written.model.as_deref().is_some_and(|name| name.trim().is_empty()) {
            return Err("`model` is empty; write what the endpoint calls the model, or leave it out".to_owned());
        }
        if written.dialects.is_empty() {
            return Err("`dialects` is empty; name at least one of chat, responses, messages".to_owned());
        }
        Ok(Self {
            dialects: written.dialects,
            base_url: base_url(&written.base_url)?,
            model: written.model,
            api_key_env: written.api_key_env.map(variable).transpose()?,
            concurrency: written.concurrency,
            requests_per_minute: per_minute("requests_per_minute", written.requests_per_minute)?,
            tokens_per_minute: per_minute("tokens_per_minute", written.tokens_per_minute)?,
            timeout: seconds("timeout_s", written.timeout_s)?,
            max_retries: written.max_retries,
            breaker_failures: written.breaker_failures,
            breaker_pause: seconds("breaker_pause_s", written.breaker_pause_s)?,
            parameters: written.parameters,
        })
    }
}

/// With every default filled in.
impl From<EndpointSettings> for Written {
    fn from(settings: EndpointSettings) -> Self {
        Self {
            base_url: settings.base_url.into(),
            model: settings.model,
            api_key_env: settings.api_key_env,
            concurrency: settings.concurrency,
            requests_per_minute: settings.requests_per_minute.map(NonZeroU32::get),
            tokens_per_minute: settings.tokens_per_minute.map(NonZeroU32::get),
            timeout_s: settings.timeout.as_secs_f64(),
            max_retries: settings.max_retries,
            breaker_failures: settings.breaker_failures,
            breaker_pause_s: settings.breaker_pause.as_secs_f64(),
            parameters: settings.parameters,
            dialects: settings.dialects,
        }
    }
}

/// The URL with a slash at its end, so that paths are joined behind it and not over its last part.
fn base_url(text: &str) -> Result<Url, String> {
    let mend = "write it as in \"https://api.example.com/v1\"";
    let mut url: Url = text
        .parse()
        .map_err(|error| format!("`base_url` is no URL ({error}); {mend}"))?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(format!("`base_url` must begin with http:// or https://; {mend}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`base_url` holds a name or a password; put the key in an environment variable and name it in `api_key_env`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("`base_url` has a `?` or `#`; {mend}"));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// A key written where the variable's name belongs must not end up in a message: it is not repeated.
fn variable(name: String) -> Result<String, String> {
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name {
        Ok(name)
    } else {
        Err("`api_key_env` takes the name of an environment variable (letters, digits, _), never a key".to_owned())
    }
}

fn per_minute(key: &str, number: Option<u32>) -> Result<Option<NonZeroU32>, String> {
    number
        .map(|number| {
            NonZeroU32::new(number).ok_or_else(|| format!("`{key}` must be 1 or more; leave it out for no limit"))
        })
        .transpose()
}

fn within(key: &str, number: u32, least: u32, most: u32) -> Result<(), String> {
    if (least..=most).contains(&number) {
        Ok(())
    } else {
        Err(format!("`{key}` is {number}; it must be {least} to {most}"))
    }
}

fn seconds(key: &str, seconds: f64) -> Result<Duration, String> {
    if seconds > 0.0 && seconds <= MAX_TIMEOUT_S {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!(
            "`{key}` is {seconds}; it must be seconds, more than 0 and at most {MAX_TIMEOUT_S}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &str) -> Result<EndpointSettings, String> {
        let text = format!("[endpoint]\n{more}");
        let table: std::collections::BTreeMap<String, EndpointSettings> =
            toml::from_str(&text).map_err(|error| error.to_string())?;
        Ok(table["endpoint"].clone())
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let settings = parse("base_url = \"http://127.0.0.1:9000/v1\"").unwrap();
        assert_eq!(
            settings.url("chat/completions").as_str(),
            "http://127.0.0.1:9000/v1/chat/completions"
        );
        assert_eq!(settings.host(), "127.0.0.1:9000");
        assert_eq!((settings.concurrency(), settings.max_retries()), (4, 5));
        assert_eq!(settings.timeout(), Duration::from_secs(60));
        assert_eq!((settings.model(), settings.api_key_env()), (None, None));
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let more = "base_url = \"http://h/v1\"\nmodel = \"m\"\ntimeout_s = 2.5\ndialects = [\"messages\"]\nparameters = { a = [1, 0.5] }";
        let settings = parse(more).unwrap();
        let shown = toml::to_string(&settings).unwrap();
        assert!(shown.contains("concurrency = 4"), "{shown}");
        assert_eq!(
            parse(&shown.replace("[parameters]\n", "parameters.")).unwrap(),
            settings
        );
    }

    #[test]
    fn urls_are_joined_behind_their_path() {
        for base in ["https://h/v1", "https://h/v1/"] {
            let settings = parse(&format!("base_url = \"{base}\"")).unwrap();
            assert_eq!(
                settings.url("chat/completions").as_str(),
                "https://h/v1/chat/completions"
            );
            assert_eq!(settings.host(), "h");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_and_named() {
        let base = "base_url = \"http://h/v1\"";
        let cases = [
            ("", "base_url"),
            ("base_url = \"h/v1\"", "`base_url` is no URL"),
            ("base_url = \"ftp://h/v1\"", "http:// or https://"),
            ("base_url = \"https://user:word@h/v1\"", "`api_key_env`"),
            ("base_url = \"https://h/v1?key=1\"", "`base_url` has"),
            (
                &format!("{base}\nconcurrency = 0"),
                "`concurrency` is 0; it must be 1 to 4096",
            ),
            (&format!("{base}\nmax_retries = 101"), "`max_retries`"),
            (
                &format!("{base}\nrequests_per_minute = 0"),
                "`requests_per_minute` must be 1 or more",
            ),
            (&format!("{base}\ntimeout_s = 0"), "`timeout_s` is 0"),
            (&format!("{base}\ntimeout_s = nan"), "`timeout_s`"),
            (&format!("{base}\nmodel = \"\""), "`model` is empty"),
            (
                &format!("{base}\nparameters = {{ stream = true }}"),
                "`parameters.stream`",
            ),
            (&format!("{base}\ntimeout = 3"), "timeout"),
        ];
        for (text, part) in cases {
            let message = parse(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn a_key_in_the_wrong_place_is_not_repeated_by_us() {
        let message = EndpointSettings::try_from(Written {
            dialects: default_dialects(),
            base_url: "http://h".to_owned(),
            model: None,
            api_key_env: Some("sk-secret-1".to_owned()),
            concurrency: 1,
            requests_per_minute: None,
            tokens_per_minute: None,
            timeout_s: 1.0,
            max_retries: 0,
            breaker_failures: 1,
            breaker_pause_s: 1.0,
            parameters: Map::new(),
        });
        let message = message.unwrap_err();
        assert!(
            message.contains("never a key") && !message.contains("secret"),
            "{message}"
        );
    }
}
