//! Signing in: from somebody whom the provider vouches for to a browser session.
//!
//! A person is known by issuer and subject, which a provider gives to nobody else; never by an address, which it may. An address
//! counts once: the first time, it says which account the person is, and only an account that belongs to an org is found by it.
//! Nobody gets an account by signing in but who was invited to.
//!
//! Not here: finding out that it is true (`web::sign_in`), sessions that have begun (`browser_session`).

use clock::{Sources, Timestamp};
use ids::{AccountId, BrowserSessionId, OrgId};
use serde_json::json;
use sqlx::PgConnection;

use crate::wake::Wake;
use crate::{Store, StoreError, audit, browser_session, invitation};

/// Sessions that an account has in an org at the same time. With more, those that were used longest ago end.
const SESSIONS_MAX: i64 = 20;

/// What the provider said of somebody, and the session that is to begin.
#[derive(Debug, Clone)]
pub struct NewSignIn {
    pub issuer: String,
    pub subject: String,
    /// In lower case, and only if the provider says that it is the person's. `None`: only who is known already gets in.
    pub verified_email: Option<String>,
    /// Where to act. `None`: in the org that the account joined first.
    pub org: Option<OrgId>,
    /// SHA-256 of the token of an invitation that the person came with. Then they act in its org.
    pub invitation: Option<[u8; 32]>,
    /// SHA-256 of the cookie.
    pub session_hash: [u8; 32],
    /// SHA-256 of what is used once.
    pub sign_in_hash: [u8; 32],
    /// SHA-256 of the cookie that the browser had. That session ends.
    pub replaces: Option<[u8; 32]>,
    /// At most 200 characters.
    pub user_agent: String,
    pub expires_at: Timestamp,
}

/// Who is signed in now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    pub org: OrgId,
    pub account: AccountId,
    pub session: BrowserSessionId,
}

/// Why somebody is not signed in. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// No account is linked with the person or has their address, or it belongs to no org, or not to the one that was asked for.
    #[error("no member is this person")]
    NoSuchMember,
    /// The account with this address is somebody else's, as far as the provider is concerned.
    #[error("the account is linked with another person of the provider")]
    LinkedToAnother,
    /// There is no such invitation, it is over, or it is for another address.
    #[error("the invitation is not for this person, or is over")]
    NotInvited,
    /// The invitation stays open.
    #[error("the org's policy does not allow the address any more")]
    RefusedByPolicy,
    #[error("this sign-in was completed before")]
    Used,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Begins a browser session for a person.
    pub async fn sign_in(&self, new: &NewSignIn) -> Result<SignedIn, SignInError> {
        let during = || StoreError::during("sign_in");
        let mut tx = self.begin_everywhere().await.map_err(during())?;
        let known = known(&mut tx, new).await.map_err(during())?;
        let invited = match &new.invitation {
            Some(hash) => {
                let email = new.verified_email.as_deref();
                Some((invitation::open(&mut tx, &self.sources, hash, email).await?, hash))
            }
            None => None,
        };
        let found = match known {
            Some(account) => Some(account),
            None if invited.is_some() => made(&mut tx, &self.sources, new).await.map_err(during())?,
            None => addressed(&mut tx, new).await.map_err(during())?,
        };
        let account = found.ok_or(SignInError::NoSuchMember)?;
        lock(&mut tx, account).await.map_err(during())?;
        if let Some((open, hash)) = &invited {
            invitation::accept(&mut tx, &self.sources, open, hash, account).await.map_err(during())?;
        }
        let wanted = invited.as_ref().map(|(open, _)| open.org).or(new.org);
        let org = org(&mut tx, wanted, account).await.map_err(during())?.ok_or(SignInError::NoSuchMember)?;
        if known.is_none() {
            self.link(&mut tx, new, (org, account)).await?;
        }
        let session = begin(&mut tx, &self.sources, new, (org, account)).await.map_err(during())?;
        let session = session.ok_or(SignInError::Used)?;
        end_others(&mut tx, &self.sources, new, (org, account)).await.map_err(during())?;
        let (actor, target) = (format!("account:{account}"), format!("browser_session:{session}"));
        audit::record(&mut tx, &self.sources, org, &actor, "browser_session.create", &target, json!({}))
            .await
            .map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Identities);
        Ok(SignedIn { org, account, session })
    }

    async fn link(
        &self,
        tx: &mut PgConnection,
        new: &NewSignIn,
        (org, account): (OrgId, AccountId),
    ) -> Result<(), SignInError> {
        let during = || StoreError::during("sign_in_link");
        let linked = sqlx::query!(
            "-- sign_in_link
            INSERT INTO account_identities (issuer, subject, account_id, linked_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT DO NOTHING",
            new.issuer,
            new.subject,
            account as AccountId,
            self.sources.now(),
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        if linked.rows_affected() == 0 {
            // Somebody links the same person at the same time, or another person has the account.
            let same = known(tx, new).await.map_err(during())? == Some(account);
            return if same { Ok(()) } else { Err(SignInError::LinkedToAnother) };
        }
        let actor = format!("account:{account}");
        let detail = json!({ "issuer": new.issuer });
        audit::record(tx, &self.sources, org, &actor, "account.link", &actor, detail).await.map_err(during())?;
        Ok(())
    }
}

/// The account that is linked with the person.
async fn known(tx: &mut PgConnection, new: &NewSignIn) -> Result<Option<AccountId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- sign_in_known
        SELECT account_id AS "account: AccountId" FROM account_identities WHERE issuer = $1 AND subject = $2"#,
        new.issuer,
        new.subject,
    )
    .fetch_optional(tx)
    .await
}

/// The account that has the person's address.
async fn addressed(tx: &mut PgConnection, new: &NewSignIn) -> Result<Option<AccountId>, sqlx::Error> {
    let Some(email) = &new.verified_email else { return Ok(None) };
    sqlx::query_scalar!(
        r#"-- sign_in_addressed
        SELECT account_id AS "account: AccountId" FROM accounts WHERE email = $1"#,
        email,
    )
    .fetch_optional(tx)
    .await
}

/// The account that has the person's address, of somebody who was invited: made if nobody has it.
async fn made(tx: &mut PgConnection, sources: &Sources, new: &NewSignIn) -> Result<Option<AccountId>, sqlx::Error> {
    let Some(email) = &new.verified_email else { return Ok(None) };
    let account = sqlx::query_scalar!(
        r#"-- sign_in_made
        INSERT INTO accounts (account_id, email, display_name, created_at) VALUES ($1, $2, $2, $3)
        ON CONFLICT (email) DO UPDATE SET email = EXCLUDED.email
        RETURNING account_id AS "account: AccountId""#,
        sources.id::<AccountId>() as AccountId,
        email,
        sources.now(),
    )
    .fetch_one(tx)
    .await?;
    Ok(Some(account))
}

/// An erasure waits for this sign-in, or this sign-in for the erasure; then the account has no membership any more.
async fn lock(tx: &mut PgConnection, account: AccountId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- sign_in_lock
        SELECT 1 AS one FROM accounts WHERE account_id = $1 FOR KEY SHARE",
        account as AccountId,
    )
    .fetch_optional(tx)
    .await?;
    Ok(())
}

/// Where the account is signed in. Whoever takes it out of that org waits, and then finds the session.
async fn org(tx: &mut PgConnection, wanted: Option<OrgId>, account: AccountId) -> Result<Option<OrgId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- sign_in_org
        SELECT org_id AS "org: OrgId" FROM memberships
        WHERE account_id = $1 AND ($2::uuid IS NULL OR org_id = $2)
        ORDER BY created_at, org_id LIMIT 1 FOR KEY SHARE"#,
        account as AccountId,
        wanted as Option<OrgId>,
    )
    .fetch_optional(tx)
    .await
}

/// `None`: the sign-in was used before.
async fn begin(
    tx: &mut PgConnection,
    sources: &Sources,
    new: &NewSignIn,
    (org, account): (OrgId, AccountId),
) -> Result<Option<BrowserSessionId>, sqlx::Error> {
    let session: BrowserSessionId = sources.id();
    let begun = sqlx::query!(
        "-- sign_in_begin
        INSERT INTO browser_sessions (org_id, browser_session_id, account_id, session_hash, sign_in_hash, user_agent,
            created_at, last_used_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)
        ON CONFLICT (sign_in_hash) DO NOTHING",
        org as OrgId,
        session as BrowserSessionId,
        account as AccountId,
        &new.session_hash[..],
        &new.sign_in_hash[..],
        new.user_agent,
        sources.now(),
        new.expires_at,
    )
    .execute(tx)
    .await?;
    Ok((begun.rows_affected() == 1).then_some(session))
}

/// Ends the session that the browser had, and those beyond what an account may have.
async fn end_others(
    tx: &mut PgConnection,
    sources: &Sources,
    new: &NewSignIn,
    (org, account): (OrgId, AccountId),
) -> Result<(), sqlx::Error> {
    let crowded = sqlx::query_scalar!(
        r#"-- sign_in_crowded
        SELECT browser_session_id AS "session: BrowserSessionId" FROM browser_sessions
        WHERE org_id = $1 AND account_id = $2 AND revoked_at IS NULL AND expires_at > $3
        ORDER BY last_used_at DESC, browser_session_id DESC OFFSET $4"#,
        org as OrgId,
        account as AccountId,
        sources.now(),
        SESSIONS_MAX,
    )
    .fetch_all(&mut *tx)
    .await?;
    if !crowded.is_empty() {
        browser_session::revoke(tx, sources, (org, account), Some(&crowded)).await?;
    }
    let Some(former) = new.replaces else { return Ok(()) };
    let former = sqlx::query!(
        r#"-- sign_in_former
        SELECT org_id AS "org: OrgId", account_id AS "account: AccountId",
            browser_session_id AS "session: BrowserSessionId"
        FROM browser_sessions WHERE session_hash = $1 AND revoked_at IS NULL"#,
        &former[..],
    )
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(former) = former {
        browser_session::revoke(tx, sources, (former.org, former.account), Some(&[former.session])).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
