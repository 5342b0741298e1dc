//! Canaries: secrets of the seven classes that the seed's last row names, planted where real ones would be, which
//! must never be seen in any output.
//!
//! Not here: looking for them (`checks::redaction`, with crate `redact`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clock::Sources;
use redact::{CanaryClass, Needle};

/// The planted values. Tokens and channel credentials join when the system has given them out.
#[derive(Debug, Default, Clone)]
pub(crate) struct Canaries {
    needles: Vec<Needle>,
}

impl Canaries {
    pub(crate) fn add(&mut self, class: CanaryClass, label: &str, value: &str) {
        self.needles.push(Needle::new(class, label, value));
    }

    pub(crate) fn needles(&self) -> &[Needle] {
        &self.needles
    }
}

/// The values that a rehearsal makes up itself.
#[derive(Debug, Clone)]
pub(crate) struct Planted {
    pub(crate) byok_key: String,
    /// The first and the second secret of keys that are rotated.
    pub(crate) rotated_keys: [String; 2],
    pub(crate) oauth_token: String,
    pub(crate) signed_url_query: String,
    pub(crate) email: String,
    pub(crate) host_path: String,
}

impl Planted {
    pub(crate) fn generate(sources: &Sources) -> Self {
        let text = || URL_SAFE_NO_PAD.encode(sources.bytes::<24>());
        let hex = || hex::encode(sources.bytes::<8>());
        Self {
            byok_key: format!("sk-canary-{}", text()),
            rotated_keys: [format!("sk-canary-{}", text()), format!("sk-canary-{}", text())],
            oauth_token: format!("ya29.{}", text()),
            signed_url_query: hex::encode(sources.bytes::<32>()),
            email: format!("canary-{}@people.invalid", hex()),
            host_path: format!("/home/canary-{}/projects/ledger.txt", hex()),
        }
    }

    pub(crate) fn register(&self, canaries: &mut Canaries) {
        canaries.add(CanaryClass::ByokPlaintext, "BYOK key", &self.byok_key);
        for key in &self.rotated_keys {
            canaries.add(CanaryClass::ByokPlaintext, "a BYOK key that is rotated", key);
        }
        canaries.add(CanaryClass::OauthToken, "OAuth token in a prompt", &self.oauth_token);
        canaries.add(CanaryClass::SignedUrlQuery, "signature in a destination's query", &self.signed_url_query);
        canaries.add(CanaryClass::Email, "a member's email", &self.email);
        canaries.add(CanaryClass::HostPath, "host path in a prompt", &self.host_path);
    }

    /// A failing prompt that says all of it: what an agent's error message might.
    pub(crate) fn failing_prompt(&self) -> String {
        format!("fail cannot read {} for {} with {}", self.host_path, self.email, self.oauth_token)
    }
}
