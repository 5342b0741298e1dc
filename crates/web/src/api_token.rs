//! The text of an API token.
//!
//! Not here: what is kept of it (`store::token`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clock::Sources;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Marks a token, so that a scanner for leaked secrets can find one.
const PREFIX: &str = "cow_";
const RANDOM_BYTES: usize = 32;

/// A token as its owner holds it: `cow_` and 256 random bits.
#[derive(Debug)]
pub struct ApiToken(SecretString);

impl ApiToken {
    #[must_use]
    pub fn generate(sources: &Sources) -> Self {
        let random = URL_SAFE_NO_PAD.encode(sources.bytes::<RANDOM_BYTES>());
        Self(format!("{PREFIX}{random}").into())
    }

    /// `None` if `text` can't be a token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let random = text.strip_prefix(PREFIX)?;
        let bytes = URL_SAFE_NO_PAD.decode(random).ok()?;
        (bytes.len() == RANDOM_BYTES).then(|| Self(text.to_owned().into()))
    }

    /// What is stored in its place.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.expose().as_bytes()).into()
    }

    /// What people tell it apart by.
    #[must_use]
    pub fn last_four(&self) -> String {
        let text = self.expose();
        text[text.len() - 4..].to_owned()
    }

    /// The text itself. Named so that every use can be found.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_from_its_text_and_nothing_else_does() {
        let token = ApiToken::generate(&Sources::system());
        assert_eq!(token.expose().len(), 47);
        assert_eq!(ApiToken::parse(token.expose()).unwrap().hash(), token.hash());
        for text in ["", "cow_", &token.expose()[..46], &token.expose()[4..], "cow_ä"] {
            assert!(ApiToken::parse(text).is_none(), "{text}");
        }
    }
}
