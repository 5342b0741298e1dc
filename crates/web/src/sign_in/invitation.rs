//! The text of an invitation's token.
//!
//! Not here: what is kept of it (`store::invitation`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clock::Sources;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Marks a token, so that a scanner for leaked secrets can find one.
const PREFIX: &str = "coi_";
const RANDOM_BYTES: usize = 32;

/// `coi_` and 256 random bits.
#[derive(Debug)]
pub(crate) struct InvitationSecret(SecretString);

impl InvitationSecret {
    pub(crate) fn generate(sources: &Sources) -> Self {
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sources.bytes::<RANDOM_BYTES>())).into())
    }

    /// `None` if `text` can't be one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        (bytes.len() == RANDOM_BYTES).then(|| Self(text.to_owned().into()))
    }

    /// What is stored in its place.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.expose().as_bytes()).into()
    }

    /// The text itself. Named so that every use can be found.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}
