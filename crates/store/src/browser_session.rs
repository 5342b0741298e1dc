//! Browser sessions: what people are signed in with.
//!
//! Only the SHA-256 of a cookie is stored, as of a token and for the same reasons (`token`). A session is in force until it is
//! revoked, has expired, was idle for too long, or its account has left the org. A request that uses one writes at most once a
//! minute, so a session that is idle may end up to [`TOUCHED_EVERY`] earlier than it was promised. It writes by itself, and not
//! later with others as uses of tokens are (`token::uses`): whether a session is in force depends on it, in every process.
//!
//! A session that is taken out of force stays so after a restore: its hash goes to the recovery ledger.
//!
//! Not here: beginning one (`sign_in`), making a cookie's text (`web::sign_in`), what the role permits (`domain::tenancy`).

use chrono::TimeDelta;
use clock::{Sources, Timestamp};
use domain::tenancy::Scope;
use ids::{AccountId, BrowserSessionId, OrgId};
use serde_json::json;
use sqlx::PgConnection;

use crate::identities::{Credential, Identity, TOUCHED_EVERY};
use crate::outbox::{self, Effect};
use crate::wake::Wake;
use crate::{Store, StoreError, audit, role};

/// How long a session that is over is still listed.
const LISTED: TimeDelta = TimeDelta::days(30);
/// Rows of one sweep.
const SWEPT: i64 = 1_000;

/// A browser session, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserSession {
    pub browser_session_id: BrowserSessionId,
    pub account_id: AccountId,
    /// What the browser calls itself, shortened.
    pub user_agent: String,
    pub created_at: Timestamp,
    /// Up to a minute old.
    pub last_used_at: Timestamp,
    pub expires_at: Timestamp,
    /// `None`: nobody took it out of force.
    pub revoked_at: Option<Timestamp>,
}

/// What a session permits: all that the role of its account does, in its org. Nothing above orgs: that takes a token.
pub(crate) const SCOPES: [Scope; 2] = [Scope::Read, Scope::Write];

/// Takes sessions of an account in an org out of force, all of them or only `these`, and leaves word for the recovery ledger.
/// Gives back how many there were. Whoever commits must tell [`Wake::Identities`].
pub(crate) async fn revoke(
    connection: &mut PgConnection,
    sources: &Sources,
    (org, account): (OrgId, AccountId),
    these: Option<&[BrowserSessionId]>,
) -> Result<usize, sqlx::Error> {
    let these: Option<Vec<uuid::Uuid>> = these.map(|ids| ids.iter().map(|id| (*id).into()).collect());
    let hashes = sqlx::query_scalar!(
        "-- browser_session_revoke_these
        UPDATE browser_sessions SET revoked_at = $3
        WHERE org_id = $1 AND account_id = $2 AND revoked_at IS NULL
            AND ($4::uuid[] IS NULL OR browser_session_id = ANY ($4))
        RETURNING session_hash",
        org as OrgId,
        account as AccountId,
        sources.now(),
        these as _,
    )
    .fetch_all(&mut *connection)
    .await?;
    let effects: Vec<Effect> = hashes
        .into_iter()
        .map(|hash| {
            let session = hash.try_into().expect("the table holds hashes of 32 bytes only");
            Effect::BrowserSessionRevoked { account, session }
        })
        .collect();
    outbox::insert(connection, sources, &effects).await?;
    Ok(effects.len())
}

impl Store {
    /// Whom the session with this SHA-256 stands for. `None`: there is none, or it is no longer in force.
    ///
    /// What was read a moment ago counts, while this process hears of changes (`identities`).
    pub async fn browser_session_identify(
        &self,
        hash: &[u8; 32],
        idle: TimeDelta,
    ) -> Result<Option<Identity>, StoreError> {
        let (now, heard) = (self.sources.now(), self.wakes.identity_changes());
        if let Some(known) = heard.and_then(|changes| self.identities.get(hash, now, changes)) {
            return Ok(Some(known));
        }
        let row = sqlx::query!(
            r#"-- browser_session_identify
            SELECT session.org_id AS "org: OrgId", browser_session_id AS "session: BrowserSessionId",
                session.account_id AS "account: AccountId", role, expires_at, last_used_at,
                roles.permissions AS "permissions?"
            FROM browser_sessions AS session
                JOIN memberships ON memberships.org_id = session.org_id AND memberships.account_id = session.account_id
                LEFT JOIN roles ON roles.org_id = memberships.org_id AND roles.name = memberships.role
            WHERE session_hash = $1 AND revoked_at IS NULL AND expires_at > $2 AND last_used_at > $3"#,
            &hash[..],
            now,
            now - idle,
        )
        .fetch_optional(self.everywhere())
        .await
        .map_err(StoreError::during("browser_session_identify"))?;
        let Some(row) = row else { return Ok(None) };
        let mut ends_at = row.expires_at.min(row.last_used_at + idle);
        if row.last_used_at <= now - TOUCHED_EVERY {
            self.browser_session_touch(row.org, row.session, now).await?;
            ends_at = row.expires_at.min(now + idle);
        }
        let (role, permissions) = role::of_member(row.account, &row.role, row.permissions)?;
        let credential = Credential::BrowserSession(row.session);
        let identity =
            Identity { org: row.org, credential, account: row.account, role, permissions, scopes: SCOPES.to_vec() };
        if let Some(changes) = heard {
            self.identities.keep(*hash, identity.clone(), Some(ends_at), now, changes);
        }
        Ok(Some(identity))
    }

    /// Of requests that come at once one writes.
    async fn browser_session_touch(
        &self,
        org: OrgId,
        session: BrowserSessionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "-- browser_session_touch
            UPDATE browser_sessions SET last_used_at = $3
            WHERE org_id = $1 AND browser_session_id = $2 AND last_used_at <= $4",
            org as OrgId,
            session as BrowserSessionId,
            now,
            now - TOUCHED_EVERY,
        )
        .execute(self.of(org))
        .await
        .map_err(StoreError::during("browser_session_touch"))?;
        Ok(())
    }

    /// Those of the org, of `only` this account if it is given; also those that ended within 30 days.
    pub async fn browser_session_list(
        &self,
        org: OrgId,
        only: Option<AccountId>,
        after: Option<BrowserSessionId>,
        limit: i64,
    ) -> Result<Vec<BrowserSession>, StoreError> {
        sqlx::query_as!(
            BrowserSession,
            r#"-- browser_session_list
            SELECT browser_session_id AS "browser_session_id: BrowserSessionId", account_id AS "account_id: AccountId",
                user_agent, created_at, last_used_at, expires_at, revoked_at
            FROM browser_sessions
            WHERE org_id = $1 AND ($2::uuid IS NULL OR account_id = $2)
                AND ($3::uuid IS NULL OR browser_session_id > $3)
            ORDER BY browser_session_id LIMIT $4"#,
            org as OrgId,
            only as Option<AccountId>,
            after as Option<BrowserSessionId>,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("browser_session_list"))
    }

    /// `None`: the org has no such session.
    pub async fn browser_session_get(
        &self,
        org: OrgId,
        session: BrowserSessionId,
    ) -> Result<Option<BrowserSession>, StoreError> {
        sqlx::query_as!(
            BrowserSession,
            r#"-- browser_session_get
            SELECT browser_session_id AS "browser_session_id: BrowserSessionId", account_id AS "account_id: AccountId",
                user_agent, created_at, last_used_at, expires_at, revoked_at
            FROM browser_sessions WHERE org_id = $1 AND browser_session_id = $2"#,
            org as OrgId,
            session as BrowserSessionId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("browser_session_get"))
    }

    /// Takes a session out of force, of `only` this account if it is given. `false`: there is no such session. Revoking
    /// twice changes nothing.
    pub async fn browser_session_revoke(
        &self,
        org: OrgId,
        session: BrowserSessionId,
        only: Option<AccountId>,
        actor: &str,
    ) -> Result<bool, StoreError> {
        let during = || StoreError::during("browser_session_revoke");
        let found = self.browser_session_get(org, session).await?;
        let Some(account) =
            found.map(|found| found.account_id).filter(|account| only.is_none_or(|only| only == *account))
        else {
            return Ok(false);
        };
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let revoked = revoke(&mut tx, &self.sources, (org, account), Some(&[session])).await.map_err(during())?;
        if revoked > 0 {
            let target = format!("browser_session:{session}");
            audit::record(&mut tx, &self.sources, org, actor, "browser_session.revoke", &target, json!({}))
                .await
                .map_err(during())?;
        }
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Identities);
        Ok(true)
    }

    /// Deletes some of the sessions that ended long ago, and gives back how many.
    pub async fn browser_session_sweep(&self) -> Result<u64, StoreError> {
        let swept = sqlx::query!(
            "-- browser_session_sweep
            DELETE FROM browser_sessions WHERE (org_id, browser_session_id) IN (
                SELECT org_id, browser_session_id FROM browser_sessions
                WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
            self.sources.now() - LISTED,
            SWEPT,
        )
        .execute(self.everywhere())
        .await
        .map_err(StoreError::during("browser_session_sweep"))?;
        Ok(swept.rows_affected())
    }
}
