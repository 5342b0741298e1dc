//! What is decided after the backup, and must not be undone by a restore: a token is revoked, a member removed, a request
//! answered, a person erased, a workflow resumed.
//!
//! The backup has all of it as it was before. What somebody outside remembers of it is [`Standing`].
//!
//! Not here: whether the restored system knows (`checks::standing`), messages and deliveries (`life`).

use anyhow::Context as _;
use client::{Client, Wish};
use clock::Sources;
use ids::{AccountId, OrgId, SessionId, TokenId};
use secrecy::SecretString;

use crate::api::persist;

/// What has to stand after a restore.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) org: OrgId,
    /// Was revoked.
    pub(crate) revoked: SecretString,
    /// Was removed, and had this token.
    pub(crate) removed: (AccountId, SecretString),
    /// A request that somebody spoke to.
    pub(crate) answered: (SessionId, String),
    pub(crate) erased: Subject,
}

/// A person who was erased.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) account: AccountId,
    pub(crate) token: SecretString,
    /// Stands in everything that the person was called, said and made.
    pub(crate) word: String,
    pub(crate) session: SessionId,
}

/// Those whose fate is still open when the backup is taken.
#[derive(Debug)]
pub(crate) struct Later {
    revoked: TokenId,
    standing: Standing,
}

impl Later {
    /// Makes the people, in the org of `operator`. The request that is to be answered stands in the session `asking`.
    pub(crate) async fn prepare(
        operator: &Client,
        web: &str,
        org: OrgId,
        asking: (SessionId, String),
        sources: &Sources,
    ) -> anyhow::Result<Self> {
        let (word, others) = (hex::encode(sources.bytes::<12>()), hex::encode(sources.bytes::<12>()));
        let person = async |email: &str, name: &str| -> anyhow::Result<(AccountId, TokenId, SecretString)> {
            let member = persist(async || operator.member_create(email, name, "member").await).await;
            let account = member.context("a member can't be added")?.account_id;
            let token =
                persist(async || operator.token_create("laptop", &["read", "write"], Some(account)).await).await?;
            Ok((account, token.token_id, token.token))
        };
        let (_, revoked, revoked_token) = person(&format!("revoked-{others}@people.invalid"), "Grace").await?;
        let (removed, _, removed_token) = person(&format!("removed-{others}@people.invalid"), "Edsger").await?;
        let (account, _, token) = person(&format!("{word}@people.invalid"), &format!("Barbara {word}")).await?;
        let session = speak(&Client::new(web, token.clone()), &word).await?;
        let standing = Standing {
            org,
            revoked: revoked_token,
            removed: (removed, removed_token),
            answered: asking,
            erased: Subject { account, token, word, session },
        };
        Ok(Self { revoked, standing })
    }

    /// Decides all of it. The system has acknowledged everything when this returns.
    pub(crate) async fn decide(&self, operator: &Client, sources: &Sources) -> anyhow::Result<()> {
        let Standing { removed, answered, erased, .. } = &self.standing;
        let key = hex::encode(sources.bytes::<12>());
        let wish = Wish::Approve { request_id: answered.1.clone() };
        tokio::try_join!(
            done(async || operator.token_revoke(self.revoked).await),
            done(async || operator.member_remove(removed.0, None).await),
            done(async || operator.subject_erase(erased.account).await.map(drop)),
            done(async || operator.command_submit(answered.0, &key, &wish).await.map(drop)),
        )?;
        Ok(())
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing.clone()
    }
}

/// A session in which the person's word is said and written into a file.
async fn speak(person: &Client, word: &str) -> anyhow::Result<SessionId> {
    let session = persist(async || person.session_create(&format!("Notes of {word}"), "scripted").await).await?;
    let (session, text) = (session.session_id, format!("say {word}\nwrite {word}.txt 512"));
    let wish = Wish::Prompt { text };
    let taken = persist(async || person.command_submit(session, word, &wish).await).await?;
    super::life::until("the person's prompt is carried out", async || {
        let command = persist(async || person.command_get(session, taken.command_id).await).await;
        command.is_ok_and(|command| command.state != "pending")
    })
    .await?;
    Ok(session)
}

/// Calls until it is done. Somebody whose answer was lost hears that there is nothing left to do.
async fn done(call: impl AsyncFnMut() -> Result<(), client::Error>) -> anyhow::Result<()> {
    match persist(call).await {
        Err(error) if error.status() == Some(404) => Ok(()),
        other => other.context("a decision was not taken"),
    }
}
