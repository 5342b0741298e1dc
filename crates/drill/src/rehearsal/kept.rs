//! What people set before the backup and set otherwise after it: the org's plan, its policy, the secrets of keys and of triggers,
//! whether a channel is open; and what waits meanwhile: a session that is to begin with files, a word to an agent.
//!
//! The backup has all of it as it was before. What a restore has to bring back otherwise, since somebody took it out of force, is for
//! the recovery ledger to say (decisions 0084 and 0092).
//!
//! Not here: whether the restored system knows (`checks::kept`), people and requests (`later`), making the triggers (`life`).

use std::sync::OnceLock;

use anyhow::{Context as _, ensure};
use client::{Client, Policy};
use ids::{ByokKeyId, CommandId, OrgId, SessionId, TriggerId};
use secrecy::SecretString;

use super::canaries::Planted;
use super::{Call, KnownChannel, KnownTrigger};
use crate::api::persist;
use crate::settings::PLANS;

/// How long a secret of before is taken beside the one in force: longer than any drill.
pub(crate) const OVERLAP_S: u32 = 7 * 86_400;

/// What has to stand after a restore.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) org: OrgId,
    pub(crate) terms: Terms,
    pub(crate) keys: Keys,
    /// `None`: they were not called.
    pub(crate) triggers: Option<Triggers>,
    /// Were closed for good: before the backup, and after it.
    pub(crate) closed: [KnownChannel; 2],
    /// Wait for their first turn: with files that were uploaded, and with those of a commit, if the source could fetch any.
    pub(crate) begins: Vec<Beginning>,
    pub(crate) steered: Steered,
}

/// What the org is held to.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// The plan that it is on: before the backup, and after it.
    pub(crate) plans: [&'static str; 2],
    /// Of before the backup.
    pub(crate) policy: Policy,
    /// An address that this policy lets nobody come in with.
    pub(crate) refused: String,
}

/// Keys that were rotated.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// Before the backup, as it was seen then.
    pub(crate) before: RotatedKey,
    /// After it.
    pub(crate) after: ByokKeyId,
}

/// A key with the secret that it was given last. A rotation whose answer gets lost is made again, so its number may be any.
#[derive(Debug, Clone)]
pub(crate) struct RotatedKey {
    pub(crate) key: ByokKeyId,
    pub(crate) secret_number: i32,
    pub(crate) last_four: String,
}

/// Webhook triggers whose secret was rotated.
#[derive(Debug, Clone)]
pub(crate) struct Triggers {
    /// Before the backup, with an overlap.
    pub(crate) before: Rotated,
    /// After it.
    pub(crate) after: Rotated,
}

/// A trigger with the secret in force, the one before it, and a call that was accepted before the backup.
#[derive(Debug, Clone)]
pub(crate) struct Rotated {
    pub(crate) trigger: KnownTrigger,
    pub(crate) older: SecretString,
    pub(crate) call: Call,
}

/// A session that was given files to begin with.
#[derive(Debug, Clone)]
pub(crate) struct Beginning {
    pub(crate) session: SessionId,
    /// Its name, and the SHA-256 of its content in hex.
    pub(crate) file: (&'static str, String),
}

/// Prompts that steered.
#[derive(Debug, Clone)]
pub(crate) struct Steered {
    /// Was heard before the backup.
    pub(crate) heard: Steering,
    /// Waits, with the turn that it is for, until somebody answers this request.
    pub(crate) waits: Steering,
    pub(crate) request_id: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Steering {
    pub(crate) session: SessionId,
    pub(crate) command: CommandId,
    /// Stands in its text, and nowhere else.
    pub(crate) word: String,
}

/// A webhook trigger that is rotated after the backup.
#[derive(Debug)]
pub(crate) struct ToRotate {
    pub(crate) known: KnownTrigger,
    pub(crate) trigger: TriggerId,
}

/// The org's terms and keys, with their fate still open.
#[derive(Debug)]
pub(crate) struct Open {
    terms: Terms,
    keys: Keys,
    second_secret: String,
    /// The secret that the trigger has got after the backup.
    rotated: OnceLock<SecretString>,
}

impl Open {
    /// Puts the org on a plan, looks that its policy keeps somebody out, and brings keys, one of which is rotated.
    pub(crate) async fn prepare(client: &Client, policy: &Policy, planted: &Planted) -> anyhow::Result<Self> {
        let plans = PLANS;
        let put = persist(async || client.subscription_put(plans[0], "active", None, None).await).await;
        put.context("the org can't be put on a plan")?;
        let refused = "nobody@elsewhere.invalid".to_owned();
        let let_in = persist(async || client.member_create(&refused, "Nobody", "member").await).await;
        let status = let_in.err().and_then(|error| error.status());
        ensure!(status == Some(403), "the org's policy lets somebody in whom it does not allow");
        let [first, second] = &planted.rotated_keys;
        let bring = async |label: &str| {
            let key = persist(async || client.byok_key_create("anthropic", label, first).await).await;
            anyhow::Ok(key.context("a key can't be brought")?.byok_key_id)
        };
        let (before, after) = (bring("rotated").await?, bring("to be rotated").await?);
        let rotated = persist(async || client.byok_key_rotate(before, second, None).await).await;
        let rotated = rotated.context("a key can't be rotated")?.value;
        let before = RotatedKey { key: before, secret_number: rotated.secret_number, last_four: rotated.last_four };
        let terms = Terms { plans, policy: policy.clone(), refused };
        let keys = Keys { before, after };
        Ok(Self { terms, keys, second_secret: second.clone(), rotated: OnceLock::new() })
    }

    /// Changes all of it, after the backup. The system has acknowledged everything when this returns.
    pub(crate) async fn change(&self, client: &Client, trigger: &ToRotate) -> anyhow::Result<()> {
        let loosened = Policy { member_domains: None, ..self.terms.policy.clone() };
        let workflow = trigger.known.workflow;
        let (_, _, _, rotated) = tokio::try_join!(
            persist(async || client.subscription_put(self.terms.plans[1], "active", None, None).await),
            persist(async || client.policy_put(&loosened, None).await),
            persist(async || client.byok_key_rotate(self.keys.after, &self.second_secret, None).await),
            persist(async || client.trigger_rotate_secret(workflow, trigger.trigger, OVERLAP_S).await),
        )?;
        let secret = rotated.signing_secret.context("a trigger was rotated and came without its secret")?;
        let _ = self.rotated.set(secret);
        Ok(())
    }

    /// As it has to be known after a restore. `after`: the trigger that was rotated, as it was before.
    pub(crate) fn kept(
        &self,
        org: OrgId,
        before: Option<Rotated>,
        after: Option<(KnownTrigger, Call)>,
        (begins, steered): (Vec<Beginning>, Steered),
        closed: [KnownChannel; 2],
    ) -> Kept {
        let after = after.zip(self.rotated.get()).map(|((known, call), secret)| Rotated {
            older: known.signing_secret.clone(),
            trigger: KnownTrigger { signing_secret: secret.clone(), ..known },
            call,
        });
        let triggers = before.zip(after).map(|(before, after)| Triggers { before, after });
        Kept { org, terms: self.terms.clone(), keys: self.keys.clone(), triggers, closed, begins, steered }
    }
}
