//! Keys of clients: kept as SHA-256 digests, compared in constant time.
//!
//! Keys are random and long (`tiercast config key` makes them), so a plain digest is enough: there is no
//! dictionary to try against it.

use axum::http::{HeaderMap, header};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::settings::{KeyView, Settings, SettingsError, value};

type Hash = [u8; 32];

/// `[keys.NAME]` or `[admin]`: the digest of the key, or the variable that holds the key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct KeySettings {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "not_shown")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cohort: Option<String>,
}

impl KeySettings {
    pub(crate) fn check(&self, place: &str) -> Result<(), SettingsError> {
        match (&self.sha256, &self.env) {
            (Some(written), None) => digest_of(written).map(|_| ()).ok_or_else(|| {
                let mend = "must be 64 hex digits, the SHA-256 of the key: `tiercast config key NAME` writes it";
                value(format!("{place}.sha256"), mend)
            }),
            (None, Some(name)) if is_variable(name) => Ok(()),
            // A key written where the variable's name belongs must not end up in a message.
            (None, Some(_)) => Err(value(
                format!("{place}.env"),
                "takes the name of an environment variable (letters, digits, _), never a key",
            )),
            _ => Err(value(
                place,
                "needs one of `sha256` (of the key) and `env` (a variable that holds it)",
            )),
        }
    }

    /// What may be told of it.
    pub(crate) fn view(&self, place: String) -> KeyView<'_> {
        KeyView {
            place,
            cohort: self.cohort.as_deref(),
            variable: self.env.as_deref(),
        }
    }

    fn hash(&self, place: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Hash, SettingsError> {
        if let Some(hash) = self.sha256.as_deref().and_then(digest_of) {
            return Ok(hash);
        }
        let variable = self.env.as_deref().unwrap_or_default();
        let key = env(variable).filter(|key| !key.trim().is_empty());
        let key = key.ok_or_else(|| SettingsError::MissingKey {
            key: place.to_owned(),
            variable: variable.to_owned(),
        })?;
        Ok(Sha256::digest(key.trim()).into())
    }
}

/// A digest opens no door, and still is nobody's business.
fn not_shown<S: Serializer>(_: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("(not shown)")
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn digest_of(written: &str) -> Option<Hash> {
    let digits = written.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// Who may ask.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    /// Digest of each, and whose it is.
    clients: Vec<(Hash, Caller)>,
    admin: Option<Hash>,
}

/// A client that is let in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Caller {
    /// The name of its key.
    pub(crate) name: Option<String>,
    /// The cohort of its key.
    pub(crate) cohort: Option<String>,
}

impl Keys {
    /// Those of the settings; `env` reads a variable.
    pub(crate) fn new(settings: &Settings, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let clients = settings.keys.iter().map(|(name, key)| {
            let hash = key.hash(&format!("keys.\"{name}\""), env)?;
            let caller = Caller {
                name: Some(name.clone()),
                cohort: key.cohort.clone(),
            };
            Ok::<_, SettingsError>((hash, caller))
        });
        Ok(Self {
            clients: clients.collect::<Result<_, _>>()?,
            admin: settings.admin.as_ref().map(|key| key.hash("admin", env)).transpose()?,
        })
    }

    /// Whether a request carries two keys that differ, where keys matter: it may be billed to either.
    pub(crate) fn are_at_odds(&self, headers: &HeaderMap) -> bool {
        let is_asked = !self.clients.is_empty() || self.admin.is_some();
        is_asked
            && bearer(headers)
                .zip(bare(headers))
                .is_some_and(|(one, other)| one != other)
    }

    /// The client that a request's key belongs to; without keys everybody is let in.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        if self.clients.is_empty() {
            return Some(Caller::default());
        }
        let given: Hash = Sha256::digest(given(headers)?).into();
        // Every key is compared, whichever fits, so that the time tells nothing.
        let (mut found, mut at) = (Choice::from(0), 0_u64);
        for (index, (hash, _)) in (0_u64..).zip(&self.clients) {
            let is_equal = hash.ct_eq(&given);
            at.conditional_assign(&index, is_equal);
            found |= is_equal;
        }
        let at = usize::try_from(at).unwrap_or_default();
        bool::from(found).then(|| self.clients[at].1.clone())
    }

    /// Whether a request may administer: by the admin key, or where no keys at all are set.
    pub(crate) fn is_admin(&self, headers: &HeaderMap) -> bool {
        match &self.admin {
            None => self.clients.is_empty(),
            Some(hash) => given(headers).is_some_and(|given| {
                let given: Hash = Sha256::digest(given).into();
                hash.ct_eq(&given).into()
            }),
        }
    }
}

/// The key, however it is sent.
fn given(headers: &HeaderMap) -> Option<&[u8]> {
    bearer(headers).or_else(|| bare(headers))
}

/// The key as OpenAI's clients send it.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(key.trim_ascii())
}

/// The key as Anthropic's clients send it.
fn bare(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get("x-api-key").map(|value| value.as_bytes().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Keys {
        let env = |name: &str| (name == "APP_KEY").then(|| "tc-secret\n".to_owned());
        Keys::new(&Settings::parse(text).unwrap(), &env).unwrap()
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn keys_open_and_name_the_cohort() {
        let digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"; // of "secret"
        let text = format!(
            "cohorts = [\"gold\"]\n[keys.a]\nenv = \"APP_KEY\"\ncohort = \"gold\"\n[keys.b]\nsha256 = \"{digest}\"\n"
        );
        let keys = keys(&text);
        let caller = |name: &str, cohort: Option<&str>| Caller {
            name: Some(name.to_owned()),
            cohort: cohort.map(str::to_owned),
        };
        let gold = caller("a", Some("gold"));
        for (headers, expected) in [
            (headers("authorization", "Bearer tc-secret"), Some(gold.clone())),
            (headers("authorization", "bearer  tc-secret"), Some(gold.clone())),
            (headers("x-api-key", "tc-secret"), Some(gold)),
            (headers("x-api-key", "secret"), Some(caller("b", None))),
            (headers("x-api-key", "tc-secret2"), None),
            (headers("authorization", "Basic tc-secret"), None),
            (HeaderMap::new(), None),
        ] {
            assert_eq!(keys.caller(&headers), expected, "{headers:?}");
            assert!(!keys.is_admin(&headers), "client keys do not administer");
        }
    }

    #[test]
    fn two_keys_have_to_be_the_same_where_keys_matter() {
        let two = |one: &str, other: &str| {
            let mut both = headers("authorization", one);
            both.extend(headers("x-api-key", other));
            both
        };
        let keys = keys("[keys.a]\nenv = \"APP_KEY\"\n");
        assert!(keys.are_at_odds(&two("Bearer tc-secret", "tc-other")));
        assert!(!keys.are_at_odds(&two("Bearer tc-secret", "tc-secret")));
        assert!(!keys.are_at_odds(&two("Basic dTpw", "tc-secret")));
        assert!(!Keys::default().are_at_odds(&two("Bearer tc-secret", "tc-other")));
    }

    #[test]
    fn the_admin_key_is_its_own() {
        let keys = keys("[admin]\nenv = \"APP_KEY\"\n");
        assert!(keys.is_admin(&headers("authorization", "Bearer tc-secret")));
        assert!(!keys.is_admin(&HeaderMap::new()));
        assert!(keys.caller(&HeaderMap::new()).is_some());
    }

    #[test]
    fn refusals_never_repeat_a_key() {
        for (text, part) in [
            ("[keys.a]\nenv = \"sk-12 34\"", "never a key"),
            ("[keys.a]\nsha256 = \"sk-12 34\"", "64 hex digits"),
            ("[keys.a]\n", "one of `sha256`"),
            ("[keys.a]\nenv = \"A\"\ncohort = \"x\"", "not one of `cohorts`"),
        ] {
            let message = Settings::parse(text).unwrap_err().to_string();
            assert!(message.contains(part) && !message.contains("sk-12"), "{message}");
        }
        let missing = Keys::new(&Settings::parse("[keys.a]\nenv = \"GONE\"").unwrap(), &|_| None).unwrap_err();
        assert!(missing.to_string().contains("GONE"), "{missing}");
    }
}
