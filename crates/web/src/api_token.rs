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
/// Characters of its random part that are shown at its beginning, and as many at its end: with both, 46 bits of 256.
const SHOWN: usize = 4;

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

    /// What it begins with, by which people find it in a configuration.
    #[must_use]
    pub fn prefix(&self) -> String {
        self.expose()[..PREFIX.len() + SHOWN].to_owned()
    }

    /// What people tell it apart by.
    #[must_use]
    pub fn last_four(&self) -> String {
        let text = self.expose();
        text[text.len() - SHOWN..].to_owned()
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
    fn what_is_shown_of_a_token_leaves_most_of_it_unknown() {
        let token = ApiToken::generate(&Sources::system());
        let (prefix, last_four) = (token.prefix(), token.last_four());
        assert!(prefix.starts_with(PREFIX) && token.expose().starts_with(&prefix));
        assert!(token.expose().ends_with(&last_four));
        let shown_bits = 6 * (prefix.len() - PREFIX.len() + last_four.len());
        assert!(8 * RANDOM_BYTES - shown_bits >= 200, "{shown_bits} bits of it are shown");
        assert!(ApiToken::parse(&prefix).is_none());
    }

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
