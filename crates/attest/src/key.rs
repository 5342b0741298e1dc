//! Keys: Ed25519, private ones as PKCS#8 PEM, public ones as SubjectPublicKeyInfo PEM, as `openssl genpkey` and
//! `openssl pkey -pubout` write them.
//!
//! A key's id is a label that its owner chose, or the SHA-256 of its public part in DER. It says where to look for the
//! key; it proves nothing.
//!
//! Not here: where a private key is kept (whoever calls reads it), which keys are trusted (whoever verifies knows).

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};

use crate::sha256_hex;

/// How long a key's id may be, in bytes.
const ID_BYTES: usize = 128;

/// Why a text is no key that can be used. The text is never repeated: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("this is not an Ed25519 private key in PKCS#8 PEM (BEGIN PRIVATE KEY)")]
    Private,
    #[error("this is not an Ed25519 public key in PEM (BEGIN PUBLIC KEY)")]
    Public,
    #[error("a key's id is 1 to {ID_BYTES} visible ASCII characters")]
    Id,
}

/// A private key. Wiped when dropped, never printed.
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    id: String,
}

impl SigningKey {
    /// Reads a private key. Without an `id` it gets that of its public part.
    ///
    /// # Errors
    /// If `pem` is something else, or `id` is no label.
    pub fn from_pem(pem: &str, id: Option<&str>) -> Result<Self, KeyError> {
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem).map_err(|_| KeyError::Private)?;
        Self::named(key, id)
    }

    /// A new key from 32 bytes that nobody can guess.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let id = PublicKey(key.verifying_key()).fingerprint();
        Self { key, id }
    }

    fn named(key: ed25519_dalek::SigningKey, id: Option<&str>) -> Result<Self, KeyError> {
        let id = match id {
            Some(id) if is_label(id) => id.to_owned(),
            Some(_) => return Err(KeyError::Id),
            None => PublicKey(key.verifying_key()).fingerprint(),
        };
        Ok(Self { key, id })
    }

    /// The private key as PEM. Whoever asks for it keeps it from others.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let pem = self.key.to_pkcs8_pem(LineEnding::LF).expect("an Ed25519 key has a PKCS#8 form");
        pem.as_str().to_owned()
    }

    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key())
    }

    /// The secret itself, for what is derived from it.
    pub(crate) fn seed(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SigningKey({})", self.id)
    }
}

/// A public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// If `pem` is something else.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        VerifyingKey::from_public_key_pem(pem).map(Self).map_err(|_| KeyError::Public)
    }

    #[must_use]
    pub fn to_pem(&self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).expect("an Ed25519 key has a PEM form")
    }

    /// SHA-256 of the key in DER, in hex: `openssl pkey -pubin -in FILE -outform DER | sha256sum`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let der = self.0.to_public_key_der().expect("an Ed25519 key has a DER form");
        sha256_hex(der.as_bytes())
    }

    /// Whether the holder of the private key signed exactly these bytes. Strict: a weak key or a second form of the same
    /// signature does not count.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

/// Whether a text may be a key's id.
pub(crate) fn is_label(id: &str) -> bool {
    (1..=ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32])
    }

    #[test]
    fn a_key_reads_back_from_its_pem() {
        let (private, public) = (key().to_pem(), key().public().to_pem());
        let read = SigningKey::from_pem(&private, None).unwrap();
        assert_eq!(read.public(), key().public());
        assert_eq!(PublicKey::from_pem(&public).unwrap(), key().public());
        assert_eq!(read.id(), key().public().fingerprint());
    }

    #[test]
    fn a_key_can_have_a_name_that_its_owner_chose() {
        assert_eq!(SigningKey::from_pem(&key().to_pem(), Some("ops-2026")).unwrap().id(), "ops-2026");
        for bad in ["", "two words", "line\nfeed", "ü"] {
            assert_eq!(SigningKey::from_pem(&key().to_pem(), Some(bad)).unwrap_err(), KeyError::Id, "{bad:?}");
        }
    }

    #[test]
    fn a_key_is_never_printed() {
        let pem = key().to_pem();
        let body = pem.lines().nth(1).unwrap();
        assert!(!format!("{:?}", key()).contains(body));
        let error = SigningKey::from_pem(&pem.replace("PRIVATE", "PUBLIC"), None).unwrap_err();
        assert_eq!(error, KeyError::Private);
        assert!(!error.to_string().contains(body));
    }

    #[test]
    fn one_kind_of_key_is_not_the_other() {
        assert_eq!(PublicKey::from_pem(&key().to_pem()).unwrap_err(), KeyError::Public);
        assert_eq!(SigningKey::from_pem(&key().public().to_pem(), None).unwrap_err(), KeyError::Private);
    }
}
