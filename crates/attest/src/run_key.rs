//! The key of one drill, under which values are named that could be guessed.
//!
//! A plain digest of a small value is the value: whoever has it tries all of them. So what a bundle names without
//! telling it stands there as an HMAC, and every piece of evidence carries a salt, so that its own digest, which
//! travels in the journal and in the signed statement, can't be inverted by somebody who has not the file. Both come
//! from this key. It follows from the signing key and the drill's id, so there is nothing else to keep, and it can be
//! handed to an auditor without the signing key (FORMAT.md, "Keyed values").
//!
//! Not guaranteed: that a value stays hidden from whoever holds the key, or the evidence that tells it.
//!
//! Not here: which values are named and not told (whoever writes the evidence decides).

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::key::SigningKey;

/// How much of an HMAC stands for a value: enough to tell the values of one drill apart.
const VALUE_BYTES: usize = 8;
/// How much of one is a salt: more than can be tried.
const SALT_BYTES: usize = 16;

/// A drill's key. Never printed, but by whoever asks for it.
#[derive(Clone)]
pub struct RunKey([u8; 32]);

impl RunKey {
    /// The key of the drill `drill_id`, for the holder of its signing key.
    #[must_use]
    pub fn of(key: &SigningKey, drill_id: &str) -> Self {
        Self(hmac(&key.seed(), "drill", drill_id.as_bytes()))
    }

    /// For a drill that nobody signs, from bytes that nobody can guess: then nobody can check its values either.
    #[must_use]
    pub fn unknown(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What stands in the place of `value`: 16 hex digits.
    #[must_use]
    pub fn name(&self, value: &str) -> String {
        hex::encode(&hmac(&self.0, "value", value.as_bytes())[..VALUE_BYTES])
    }

    /// The salt of the piece of evidence at `path`: 32 hex digits.
    #[must_use]
    pub fn salt(&self, path: &str) -> String {
        hex::encode(&hmac(&self.0, "salt", path.as_bytes())[..SALT_BYTES])
    }

    /// In hex, for an auditor. Whoever asks for it keeps it from others.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Debug for RunKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("RunKey(..)")
    }
}

/// HMAC-SHA256 over what it is for, a zero byte, and the text: one key serves several purposes.
fn hmac(key: &[u8; 32], purpose: &str, text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(purpose.as_bytes());
    mac.update(&[0]);
    mac.update(text);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8, drill: &str) -> RunKey {
        RunKey::of(&SigningKey::from_seed(&[seed; 32]), drill)
    }

    #[test]
    fn a_value_has_one_name_in_one_drill_and_others_elsewhere() {
        let name = key(7, "one").name("4711");
        assert_eq!(name, key(7, "one").name("4711"));
        for other in [key(7, "two").name("4711"), key(8, "one").name("4711"), key(7, "one").name("4712")] {
            assert_ne!(name, other);
        }
        assert_eq!(name.len(), 2 * VALUE_BYTES);
    }

    #[test]
    fn a_value_is_not_named_by_its_plain_digest() {
        assert!(!crate::sha256_hex(b"4711").starts_with(&key(7, "one").name("4711")));
    }

    #[test]
    fn what_format_md_says_about_checking_a_value_is_true() {
        // `printf 'value\0%s' 4711 | openssl dgst -sha256 -mac HMAC -macopt hexkey:0101...`
        let key = RunKey::unknown([1; 32]);
        assert_eq!(key.to_hex(), "01".repeat(32));
        assert_eq!(key.name("4711"), "0be9b45295fe313e");
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = RunKey::unknown([0xab; 32]);
        assert!(!format!("{key:?}").contains("ab"));
    }
}
