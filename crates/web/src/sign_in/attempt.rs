//! A sign-in under way, as the browser carries it: sealed, in a cookie of its own.
//!
//! It ties three things to the browser that began: the state that has to come back, the nonce that has to be in the ID token, and
//! the verifier that the code is worth nothing without. So a code that is brought to another browser signs nobody in, and a
//! request of nobody in particular writes no row. That it is used once is for the row of the session that it
//! becomes (`store::sign_in`).
//!
//! Not here: the cookie around it (`cookie`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use clock::{Sources, Timestamp};
use ids::OrgId;
use secrets::CookieKeys;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::sign_in::provider::Secrets;

/// How long somebody may take at the provider.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// Characters of a sealed attempt that are looked at. The longest that is made has about 1,400.
const SEALED_MAX: usize = 4_000;
const PURPOSE: &[u8] = b"sign-in v1";

#[derive(Serialize, Deserialize)]
pub(crate) struct Attempt {
    state: String,
    nonce: String,
    verifier: String,
    pub(crate) return_to: String,
    pub(crate) org: Option<OrgId>,
    /// SHA-256 of an invitation's token.
    pub(crate) invitation: Option<[u8; 32]>,
    expires_at: Timestamp,
}

impl Attempt {
    pub(crate) fn new(sources: &Sources, return_to: String, org: Option<OrgId>, invitation: Option<[u8; 32]>) -> Self {
        let random = || URL_SAFE_NO_PAD.encode(sources.bytes::<32>());
        let expires_at = sources.now() + LIFETIME;
        Self { state: random(), nonce: random(), verifier: random(), return_to, org, invitation, expires_at }
    }

    pub(crate) fn secrets(&self) -> Secrets<'_> {
        Secrets { state: &self.state, nonce: &self.nonce, verifier: &self.verifier }
    }

    pub(crate) fn seal(&self, keys: &CookieKeys, sources: &Sources) -> String {
        let plain = serde_json::to_vec(self).expect("it is plain data");
        URL_SAFE_NO_PAD.encode(keys.seal(sources, &plain, PURPOSE))
    }

    /// The attempt that a browser began and that `state` belongs to. `None`: there is no such, or not any more.
    pub(crate) fn open(sealed: &str, state: &str, keys: &CookieKeys, now: Timestamp) -> Option<Self> {
        let bounded = (sealed.len() <= SEALED_MAX).then_some(sealed)?;
        let opened = keys.open(&URL_SAFE_NO_PAD.decode(bounded).ok()?, PURPOSE)?;
        let attempt: Self = serde_json::from_slice(opened.expose()).ok()?;
        let same: bool = attempt.state.as_bytes().ct_eq(state.as_bytes()).into();
        (same && now < attempt.expires_at).then_some(attempt)
    }

    /// What this sign-in is known by once it is used.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.state.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_opens_for_its_state_and_for_ten_minutes() {
        let (clock, sources) = testkit::sources(1);
        let keys = CookieKeys::derive(&vec![1; 32].into());
        let attempt = Attempt::new(&sources, "/".into(), None, None);
        let sealed = attempt.seal(&keys, &sources);
        let open = |state: &str, now| Attempt::open(&sealed, state, &keys, now).is_some();
        assert!(open(&attempt.state, sources.now()));
        assert!(
            !open("", sources.now()) && !open(&Attempt::new(&sources, "/".into(), None, None).state, sources.now())
        );
        assert!(Attempt::open(&sealed[1..], &attempt.state, &keys, sources.now()).is_none());
        clock.advance(LIFETIME);
        assert!(!open(&attempt.state, sources.now()));
    }
}
