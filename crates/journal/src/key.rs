//! The key of a journal: hashes of asks that nobody can look up, and tags by which our ids are known.
//!
//! HMAC-SHA-256 (RFC 2104). What is hashed begins with its purpose, so that a hash of one kind says nothing
//! of the other.

use std::fmt;
use std::fs;
use std::io::Write;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tiercast_records::disk::{hex, write_atomically};

use crate::error::JournalError;
use crate::folder::Folder;

const N_BYTES: usize = 32;

/// Bytes of a hash that are kept: 128 bits, so equal hashes mean equal asks.
const HASH_BYTES: usize = 16;

/// Bytes of a tag: a guess is right once in 2^48.
const TAG_BYTES: usize = 6;

/// What our ids begin with.
const PREFIX: &str = "dec_";

/// 32 random bytes.
#[derive(Clone)]
pub struct Key([u8; N_BYTES]);

impl Key {
    /// A key that ends with the process, for servers that keep no journal.
    pub fn ephemeral() -> Result<Self, JournalError> {
        let mut bytes = [0; N_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| JournalError::NoRandomness {
            reason: error.to_string(),
        })?;
        Ok(Self(bytes))
    }

    /// The key of the journal, made where it is missing, readable for its owner alone.
    pub(crate) fn open(folder: &Folder) -> Result<Self, JournalError> {
        if let Some(key) = Self::read(folder)? {
            return Ok(key);
        }
        let _lock = folder.lock()?;
        // Another process may have made it meanwhile.
        if let Some(key) = Self::read(folder)? {
            return Ok(key);
        }
        let key = Self::ephemeral()?;
        write_atomically(&folder.key(), |file| {
            #[cfg(unix)]
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            file.write_all(&key.0)
        })?;
        Ok(key)
    }

    fn read(folder: &Folder) -> Result<Option<Self>, JournalError> {
        let path = folder.key();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(JournalError::io(&path, "read"))?,
        };
        let n_bytes = bytes.len();
        let bytes = bytes.try_into().map_err(|_| JournalError::BadKey { path, n_bytes })?;
        Ok(Some(Self(bytes)))
    }

    /// Hash of an ask, 32 hex digits: equal asks have equal hashes under one key.
    pub fn prompt_hash(&self, ask: &str) -> String {
        hex(&self.mac("prompt", ask).finalize().into_bytes()[..HASH_BYTES])
    }

    /// Tag of an id's body, 12 hex digits.
    pub fn tag(&self, body: &str) -> String {
        hex(&self.mac("decision", body).finalize().into_bytes()[..TAG_BYTES])
    }

    /// The id of a decision with that body: `dec_`, body, tag.
    pub fn decision_id(&self, body: &str) -> String {
        format!("{PREFIX}{body}{}", self.tag(body))
    }

    /// Whether `id` was made by [`Key::decision_id`] with this key; takes the same time for every wrong tag.
    pub fn is_ours(&self, id: &str) -> bool {
        let Some((body, tag)) = id
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_at_checked(rest.len().checked_sub(2 * TAG_BYTES)?))
        else {
            return false;
        };
        let Some(tag) = bytes_of(tag) else {
            return false;
        };
        self.mac("decision", body).verify_truncated_left(&tag).is_ok()
    }

    /// Where a decision stands in the order in which judges draw, in [0, 1): a sample at a rate has those below it, so a
    /// larger sample holds the smaller ones. Without the key nobody can tell who is drawn.
    pub fn draw(&self, seed: u64, id: &str) -> f64 {
        let mac = self.mac("sample", &format!("{seed}:{id}")).finalize().into_bytes();
        let bits = mac[..7].iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte)) >> 3;
        bits as f64 / (1_u64 << 53) as f64
    }

    fn mac(&self, purpose: &str, text: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        mac.update(b":");
        mac.update(text.as_bytes());
        mac
    }
}

/// Bytes of lower-case hex digits; of nothing else, so that an id has one spelling.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let bytes: Option<Vec<u8>> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok())
        .collect();
    bytes.filter(|bytes| hex(bytes) == digits)
}

/// Says nothing of the bytes.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by Python: `hmac.new(bytes(32), b"prompt:What?", "sha256").hexdigest()`.
    #[test]
    fn hashes_are_those_of_another_program() {
        let key = Key([0; N_BYTES]);
        assert_eq!(key.prompt_hash("What?"), "56611c7ccfad38d4a6d5783c2af0d153");
        assert_eq!(key.tag("What?"), "582f4ca6c34a");
    }

    /// The same in Python, `int.from_bytes(digest[:7]) / 2**56` for "sample:0:dec_1", but for the last bits.
    #[test]
    fn draws_are_even_and_repeat() {
        let key = Key([0; N_BYTES]);
        assert!(
            (key.draw(0, "dec_1") - 0.126690268087692).abs() < 1e-12,
            "{}",
            key.draw(0, "dec_1")
        );
        let n = (0..10_000).filter(|i| key.draw(0, &format!("dec_{i}")) < 0.1).count();
        assert!((900..1_100).contains(&n), "{n}");
        assert_ne!(key.draw(0, "dec_1"), key.draw(1, "dec_1"));
    }

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        let made = Key::open(&folder).unwrap();
        assert_eq!(Key::open(&folder).unwrap().tag("a"), made.tag("a"));
        assert_ne!(Key::ephemeral().unwrap().tag("a"), made.tag("a"));
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(folder.key()).unwrap().permissions()) & 0o777,
            0o600
        );
        fs::write(folder.key(), "short").unwrap();
        let error = Key::open(&folder).unwrap_err().to_string();
        assert!(error.contains("5 bytes instead of 32"), "{error}");
    }

    #[test]
    fn ids_of_others_are_refused() {
        let key = Key([1; N_BYTES]);
        let id = key.decision_id("0a1b");
        assert!(key.is_ours(&id));
        assert!(!Key([2; N_BYTES]).is_ours(&id));
        for id in [
            "",
            "dec_",
            "dec_é",
            "0a1b",
            "dec_0a1b",
            &id[4..],
            &id[..id.len() - 1],
            &id.to_uppercase(),
        ] {
            assert!(!key.is_ours(id), "{id}");
        }
    }

    proptest! {
        #[test]
        fn ours_are_known_and_a_changed_letter_is_seen(body in "[0-9a-f]{1,40}", at: prop::sample::Index) {
            let key = Key([3; N_BYTES]);
            let id = key.decision_id(&body);
            prop_assert!(key.is_ours(&id));
            let at = PREFIX.len() + at.index(id.len() - PREFIX.len());
            let other = if &id[at..=at] == "0" { "1" } else { "0" };
            let changed = format!("{}{other}{}", &id[..at], &id[at + 1..]);
            prop_assert!(!key.is_ours(&changed));
        }

        #[test]
        fn any_text_is_looked_at_without_panic(id in "(dec_)?.*") {
            Key([4; N_BYTES]).is_ours(&id);
        }
    }
}
