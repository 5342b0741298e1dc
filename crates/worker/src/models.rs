//! The orgs' keys, on their way to the models that agents ask: revealed here, put into requests by a door, and never given to an
//! agent (decision 0096).
//!
//! A key is revealed when an agent's process starts, once for each, and audited then. A process that was kept is not gone on with
//! after its key was revoked or replaced.
//!
//! What is left of the org's quotas of tokens is read once, when a turn begins.
//!
//! Not here: doors (`providers`), keys at rest (`store`, `secrets`), what a turn may spend (`domain::spend`).

use std::sync::Arc;
use std::time::Duration;

use agents::{ModelAccess, ModelDoor};
use async_trait::async_trait;
use domain::quota::UsageKind;
use domain::spend::{Bounds, Exceeded, ModelSpend, QuotaLeft, Spent, TurnLimits};
use ids::{ByokKeyId, OrgId, SessionId};
use providers::{Door, Doors};
use redact::Redactor;
use secrecy::{ExposeSecret as _, SecretString};
use secrets::{Envelope, Kms};
use store::{Store, byok_aad};

use crate::halt::chain;

/// Who is told in the audit trail to have read a key.
const ACTOR: &str = "role:worker";
/// How long a turn that is over waits for answers that are still on their way. What comes later is counted with the next one.
const SETTLE: Duration = Duration::from_secs(1);

/// Opens doors with the keys that orgs have.
#[derive(Debug, Clone)]
pub struct Models {
    pub store: Store,
    pub kms: Arc<dyn Kms>,
    pub doors: Doors,
    /// Of everything that this process says. It is told of each key.
    pub redactor: Redactor,
}

#[derive(Debug)]
struct Opened {
    door: Door,
    store: Store,
    org: OrgId,
    provider: String,
    /// What it was opened with, and the number of its secret.
    key: (ByokKeyId, i32),
}

#[async_trait]
impl ModelAccess for Models {
    async fn open(&self, org: OrgId, session: SessionId, provider: &str) -> Result<Arc<dyn ModelDoor>, String> {
        let found = self.store.byok_in_force(org, provider).await.map_err(|error| unread(&error))?;
        let missing =
            || format!("the org has no key for {provider}; add one (POST /api/byok-keys) and send the prompt again");
        let (key, _) = found.ok_or_else(missing)?;
        if !self.doors.lead_to(provider) {
            return Err(format!("{provider} is not asked from here: a copy for a drill asks nobody"));
        }
        let revealed = self.store.byok_reveal(org, key, Some(session), ACTOR).await.map_err(|error| unread(&error))?;
        let (sealed, number) = revealed.ok_or_else(missing)?;
        let aad = byok_aad(org, key);
        let envelope = Envelope {
            ciphertext: sealed.ciphertext,
            wrapped_key: sealed.wrapped_key,
            key_version: sealed.key_version,
        };
        let secret = secrets::open(&*self.kms, &envelope, &aad).await;
        let secret =
            secret.map_err(|error| format!("the org's key for {provider} can't be opened: {}", chain(&error)))?;
        let secret = secret.expose_str().map(SecretString::from);
        let secret = secret.ok_or_else(|| format!("the org's key for {provider} is no text; replace it"))?;
        let _ = self.redactor.register(secret.expose_secret().as_bytes());
        let token = hex::encode(self.store.sources().bytes::<32>());
        let door = self.doors.open(provider, secret, &token).await;
        let door = door.map_err(|error| format!("this worker has no port for a door to {provider}: {error}"))?;
        let door = door.ok_or_else(|| format!("{provider} is not asked from here"))?;
        Ok(Arc::new(Opened { door, store: self.store.clone(), org, provider: provider.to_owned(), key: (key, number) }))
    }
}

#[async_trait]
impl ModelDoor for Opened {
    fn base_url(&self) -> &str {
        self.door.base_url()
    }

    fn port(&self) -> u16 {
        self.door.port()
    }

    /// `false` as well if it can't be asked: then it is opened anew, which says why it can't be.
    async fn stands(&self) -> bool {
        self.store.byok_in_force(self.org, &self.provider).await.is_ok_and(|now| now == Some(self.key))
    }

    async fn begin(&self, limits: TurnLimits, before: Spent) -> Result<(), String> {
        let unread = |error| format!("the org's quotas can't be read just now: {}", chain(&error));
        let quotas = self.store.quota_list(self.org).await.map_err(unread)?;
        let of_tokens = |kind| matches!(kind, UsageKind::InputTokens | UsageKind::OutputTokens);
        let quotas = quotas.into_iter().filter(|it| of_tokens(it.quota.kind)).map(|it| QuotaLeft {
            kind: it.quota.kind,
            period: it.quota.period,
            left: it.quota.quantity_max.saturating_sub(it.used),
            ends_at: it.ends_at,
        });
        self.door.meter().begin(Bounds { limits, quotas: quotas.collect() }, before);
        Ok(())
    }

    async fn changed(&self) {
        self.door.meter().changed().await;
    }

    fn take(&self) -> Vec<ModelSpend> {
        self.door.meter().take()
    }

    fn exceeded(&self) -> Option<Exceeded> {
        self.door.meter().exceeded()
    }

    async fn settle(&self) {
        let _ = tokio::time::timeout(SETTLE, self.door.meter().quiet()).await;
    }

    fn end(&self) {
        self.door.meter().end();
    }
}

fn unread(error: &store::StoreError) -> String {
    format!("the org's keys can't be read just now: {}", chain(error))
}
