//! Digests that only this installation can compute.
//!
//! An id that a provider gave to an event may be guessable, and so would be its plain hash. Not here: where the key
//! comes from; the binary derives it from a secret that a restore has, too.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::record::Digest;

/// The key of the ledger's digests. Must be the same after a restore, or nothing is recognised.
#[derive(Clone)]
pub struct DigestKey(Hmac<Sha256>);

impl DigestKey {
    /// A subkey of `secret`, for this purpose only: the digests tell nothing about other uses of the secret.
    #[must_use]
    pub fn derive(secret: &[u8]) -> Self {
        let mut subkey = keyed(secret);
        subkey.update(b"cowork recovery ledger v1 digests");
        Self(keyed(&subkey.finalize().into_bytes()))
    }

    /// `purpose` keeps equal values of different kinds apart. `parts` are not run together: `["ab", "c"]` and
    /// `["a", "bc"]` have different digests.
    #[must_use]
    pub fn digest(&self, purpose: &str, parts: &[&[u8]]) -> Digest {
        let mut mac = self.0.clone();
        for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for DigestKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("DigestKey")
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a MAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_depends_on_key_purpose_and_every_part() {
        let key = DigestKey::derive(b"one");
        let digest = key.digest("inbound", &[b"ab", b"c"]);
        assert_eq!(digest, DigestKey::derive(b"one").digest("inbound", &[b"ab", b"c"]));
        assert_ne!(digest, DigestKey::derive(b"two").digest("inbound", &[b"ab", b"c"]));
        assert_ne!(digest, key.digest("interaction", &[b"ab", b"c"]));
        assert_ne!(digest, key.digest("inbound", &[b"a", b"bc"]));
    }
}
