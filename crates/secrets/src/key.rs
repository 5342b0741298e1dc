//! Keys of 256 bits: the data keys that encrypt records, and how a key is written in a secret.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use clock::Sources;
use zeroize::{Zeroize, Zeroizing};

use crate::value::SecretBytes;

/// A key that encrypts one record, or one org's data. Wiped when dropped.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; 32]>);

/// Why a secret's value is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key is 32 bytes, written as base64 or as 64 hexadecimal digits, and this value is neither")]
pub struct KeyError;

impl DataKey {
    #[must_use]
    pub fn generate(sources: &Sources) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        sources.fill(&mut *key);
        Self(key)
    }

    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads a key as secrets hold them: base64, or hexadecimal.
    ///
    /// # Errors
    /// If the value is not 32 bytes in one of the two.
    pub fn parse(value: &SecretBytes) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        if hex::decode_to_slice(value.expose(), &mut *bytes).is_ok() {
            return Ok(Self(bytes));
        }
        let decoded = STANDARD.decode(value.expose()).or_else(|_| STANDARD_NO_PAD.decode(value.expose()));
        Self::try_from(decoded.map_err(|_| KeyError)?)
    }

    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for DataKey {
    type Error = KeyError;

    fn try_from(mut bytes: Vec<u8>) -> Result<Self, KeyError> {
        let key = bytes.as_slice().try_into().map(Self::new).map_err(|_| KeyError);
        bytes.zeroize();
        key
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("DataKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_base64_and_from_hex() {
        let key = DataKey::generate(&Sources::system());
        let texts = [STANDARD.encode(key.expose()), STANDARD_NO_PAD.encode(key.expose()), hex::encode(key.expose())];
        for text in texts {
            assert_eq!(DataKey::parse(&text.into_bytes().into()).unwrap().expose(), key.expose());
        }
    }

    #[test]
    fn a_short_key_and_a_passphrase_are_no_keys() {
        for text in ["", "correct horse battery staple", "c2hvcnQ=", &"0".repeat(62)] {
            assert_eq!(DataKey::parse(&text.as_bytes().to_vec().into()).unwrap_err(), KeyError);
        }
    }
}
