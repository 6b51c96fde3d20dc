//! Takes an endpoint's key out of what the endpoint says. Some quote the key that they refuse, or log it into a
//! header; it is nothing for a client.

use secrecy::{ExposeSecret, SecretString};

/// What stands in the place of a key.
pub(crate) const CONCEALED: &str = "[key]";

/// Shorter ones are taken out of errors alone: what local servers take for a key ("ollama", "EMPTY") is a word that
/// a reply may hold.
const SHORTEST_IN_REPLIES: usize = 16;

/// The text without the key.
pub(crate) fn without(key: &str, text: &str) -> String {
    if key.is_empty() {
        return text.to_owned();
    }
    text.replace(key, CONCEALED)
}

/// Takes a key out of bytes that come in any pieces. Holds back what may be the beginning of the key, and nothing
/// else.
#[derive(Debug, Default)]
pub struct Concealer {
    key: Option<SecretString>,
    held: Vec<u8>,
}

impl Concealer {
    pub(crate) fn new(key: Option<&str>) -> Self {
        let key = key.filter(|key| key.len() >= SHORTEST_IN_REPLIES);
        Self {
            key: key.map(SecretString::from),
            held: Vec::new(),
        }
    }

    /// Bytes in, the same bytes without the key out.
    pub fn push(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let Some(key) = self.key.as_ref().map(|key| key.expose_secret().as_bytes()) else {
            return bytes;
        };
        let mut rest = std::mem::take(&mut self.held);
        rest.extend(bytes);
        let mut passed = Vec::with_capacity(rest.len());
        let mut at = 0;
        while let Some(found) = find(&rest[at..], key) {
            passed.extend_from_slice(&rest[at..at + found]);
            passed.extend_from_slice(CONCEALED.as_bytes());
            at += found + key.len();
        }
        let keep = beginning_at_end(&rest[at..], key);
        passed.extend_from_slice(&rest[at..rest.len() - keep]);
        self.held = rest.split_off(rest.len() - keep);
        passed
    }

    /// What is still held back, at the end.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

fn find(bytes: &[u8], key: &[u8]) -> Option<usize> {
    let first = *key.first()?;
    let mut from = 0;
    // A byte first: this is asked of every piece of every stream.
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        from += at;
        if bytes[from..].starts_with(key) {
            return Some(from);
        }
        from += 1;
    }
    None
}

/// How many of the last bytes are the beginning of the key.
fn beginning_at_end(bytes: &[u8], key: &[u8]) -> usize {
    let most = bytes.len().min(key.len() - 1);
    (1..=most).rev().find(|n| bytes.ends_with(&key[..*n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "sk-sk-0123456789";

    fn passed(text: &str, cuts: &[usize]) -> String {
        let mut concealer = Concealer::new(Some(KEY));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.min(&text.len()).to_owned()).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let mut bytes: Vec<u8> = cuts
            .windows(2)
            .flat_map(|cut| concealer.push(text.as_bytes()[cut[0]..cut[1]].to_vec()))
            .collect();
        bytes.extend(concealer.finish());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn only_what_may_be_the_key_is_held_back() {
        let mut concealer = Concealer::new(Some(KEY));
        assert_eq!(concealer.push(b"hello sk".to_vec()), b"hello ");
        assert_eq!(concealer.push(b"y".to_vec()), b"sky");
        assert_eq!(concealer.push(b"sk-sk-01234".to_vec()), b"");
        assert_eq!(concealer.push(b"56789!".to_vec()), b"[key]!");
        assert_eq!(Concealer::new(Some("EMPTY")).push(b"EMPTY".to_vec()), b"EMPTY");
        assert_eq!(without("EMPTY", "key EMPTY is wrong"), "key [key] is wrong");
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_key_goes_and_nothing_else(
            pieces in prop::collection::vec(prop_oneof![Just(KEY), Just("sk-"), Just("0123456789"), Just("a")], 0..12),
            cuts in prop::collection::vec(0_usize..120, 0..12),
        ) {
            let text = pieces.concat();
            prop_assert_eq!(passed(&text, &cuts), without(KEY, &text));
        }
    }
}
