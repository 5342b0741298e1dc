//! What the configured cookie secret is for: sealing what a browser carries for us, and tokens that belong to one session.
//!
//! Nothing that is made with it is stored, so another cookie secret ends sign-ins that are under way and nothing else.
//!
//! Not here: the session's own cookie, which is random and known by its hash (`store::browser_session`).

use std::fmt;

use clock::Sources;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::aead;
use crate::key::DataKey;
use crate::value::SecretBytes;

/// Keys that are computed from the cookie secret, one for each use.
#[derive(Clone)]
pub struct CookieKeys {
    seal: DataKey,
    tag: DataKey,
}

impl CookieKeys {
    #[must_use]
    pub fn derive(cookie_secret: &SecretBytes) -> Self {
        let key = |purpose: &[u8]| DataKey::new(mac(cookie_secret.expose(), &[purpose]));
        Self { seal: key(b"cowork cookie v1 seal"), tag: key(b"cowork cookie v1 tag") }
    }

    /// `purpose` is what it is for: it doesn't open for anything else.
    #[must_use]
    pub fn seal(&self, sources: &Sources, plaintext: &[u8], purpose: &[u8]) -> Vec<u8> {
        aead::seal(&self.seal, sources, plaintext, purpose)
    }

    /// `None`: it was changed, is for something else, or was made with another secret.
    #[must_use]
    pub fn open(&self, sealed: &[u8], purpose: &[u8]) -> Option<SecretBytes> {
        aead::open(&self.seal, sealed, purpose).ok()
    }

    /// What nobody who has not the secret can compute of `content`.
    #[must_use]
    pub fn tag(&self, purpose: &[u8], content: &[u8]) -> [u8; 32] {
        mac(self.tag.expose(), &[purpose, content])
    }
}

impl fmt::Debug for CookieKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("CookieKeys(..)")
    }
}

/// Each part is preceded by its length, so that no two lists of parts are one text.
fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_purpose_and_under_its_secret_only() {
        let keys = |byte| CookieKeys::derive(&vec![byte; 32].into());
        let sealed = keys(1).seal(&Sources::system(), b"state", b"sign-in");
        assert_eq!(keys(1).open(&sealed, b"sign-in").unwrap().expose(), b"state");
        assert!(keys(1).open(&sealed, b"other").is_none());
        assert!(keys(2).open(&sealed, b"sign-in").is_none());
        assert!(keys(1).open(&sealed[..sealed.len() - 1], b"sign-in").is_none());
        assert!(keys(1).open(b"", b"sign-in").is_none());
    }

    #[test]
    fn a_tag_belongs_to_its_purpose_content_and_secret() {
        let keys = |byte| CookieKeys::derive(&vec![byte; 32].into());
        let tag = keys(1).tag(b"ab", b"c");
        assert_eq!(tag, keys(1).tag(b"ab", b"c"));
        for other in [keys(1).tag(b"a", b"bc"), keys(1).tag(b"ab", b"d"), keys(2).tag(b"ab", b"c")] {
            assert_ne!(tag, other);
        }
    }
}
