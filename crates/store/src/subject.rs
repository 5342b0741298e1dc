//! Erasing a subject: an account, with everything that tells of the person behind it.
//!
//! Asked for, the account is emptied at once: no name, no address, no membership, no token in force. What the person said
//! and made takes longer, and goes session by session, each in a transaction of its own: whoever calls
//! [`Store::subject_erasure_step`] until it is finished may die in between, and anybody may go on.
//!
//! What goes, and what stays for the org, is told in `docs/decisions/0019-what-an-erasure-takes.md`. An erasure is remembered by
//! the recovery ledger, so that a restore carries it out again on the rows that come back.
//!
//! Not here: one session (`session`), taking objects away (`blob_deletion`). Not reached at all: archives with older backups,
//! and files that workers keep on their own disks until the session's next turn.

mod session;

use clock::Timestamp;
use domain::erasure::ERASED;
use ids::{AccountId, OrgId, SessionId};
use serde_json::json;
use sqlx::PgConnection;

use crate::outbox::{self, Effect};
use crate::wake::Wake;
use crate::wall::Reach;
use crate::{Store, StoreError, audit, project_source};

/// An erasure, finished or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub account_id: AccountId,
    /// The orgs that the account belonged to.
    pub org_ids: Vec<OrgId>,
    pub sessions: i64,
    pub commands: i64,
    pub events: i64,
    pub artifacts: i64,
    pub deliveries: i64,
    /// Objects that wait for their deletion, or that are deleted by now.
    pub blobs: i64,
    pub requested_at: Timestamp,
    /// `None`: it is going on.
    pub finished_at: Option<Timestamp>,
}

/// Who wants an erasure, which says how far it may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasedFor {
    /// An owner of this org: an account that belongs to no other.
    Owner(OrgId),
    /// An operator who acts in this org: any account that belongs to it.
    Operator(OrgId),
    /// The operator of the installation, or a restore: any account.
    Installation,
}

#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    #[error("there is no such account")]
    NoSuchSubject,
    #[error("the account belongs to other orgs, too")]
    InOtherOrgs,
    #[error("the account is the last owner of its org")]
    LastOwner,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What one step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasureStep {
    /// There is more to do.
    More,
    /// Others are at what is left.
    Elsewhere,
    Finished,
}

struct Row {
    account_id: AccountId,
    org_ids: Vec<uuid::Uuid>,
    sessions: i64,
    commands: i64,
    events: i64,
    artifacts: i64,
    deliveries: i64,
    blobs: i64,
    requested_at: Timestamp,
    finished_at: Option<Timestamp>,
}

impl From<Row> for Erasure {
    fn from(row: Row) -> Self {
        Self {
            account_id: row.account_id,
            org_ids: row.org_ids.into_iter().map(OrgId::from).collect(),
            sessions: row.sessions,
            commands: row.commands,
            events: row.events,
            artifacts: row.artifacts,
            deliveries: row.deliveries,
            blobs: row.blobs,
            requested_at: row.requested_at,
            finished_at: row.finished_at,
        }
    }
}

impl Erasure {
    fn known_to(&self, wanted: ErasedFor) -> bool {
        match wanted {
            ErasedFor::Owner(org) | ErasedFor::Operator(org) => self.org_ids.contains(&org),
            ErasedFor::Installation => true,
        }
    }
}

impl Store {
    /// Empties the account and begins its erasure. One that was erased before is left as it is.
    pub async fn subject_erase(
        &self,
        account: AccountId,
        wanted: ErasedFor,
        actor: &str,
    ) -> Result<Erasure, EraseError> {
        let during = || StoreError::during("subject_erase");
        let mut tx = self.begin_everywhere().await.map_err(during())?;
        if !lock(&mut tx, account).await.map_err(during())? {
            return Err(EraseError::NoSuchSubject);
        }
        if let Some(erasure) = find(&mut tx, account).await.map_err(during())? {
            return if erasure.known_to(wanted) { Ok(erasure) } else { Err(EraseError::NoSuchSubject) };
        }
        let orgs = orgs(&mut tx, account).await.map_err(during())?;
        permit(&mut tx, account, &orgs, wanted).await?;
        self.empty_account(&mut tx, account, &orgs, actor).await.map_err(during())?;
        let erasure = find(&mut tx, account).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Identities);
        Ok(erasure.expect("it was just written"))
    }

    /// `None`: the account was never erased, or `wanted` may not know.
    pub async fn subject_erasure(&self, account: AccountId, wanted: ErasedFor) -> Result<Option<Erasure>, StoreError> {
        let during = || StoreError::during("subject_erasure");
        let mut lent = self.connections.lend(Reach::Everywhere).await.map_err(during())?;
        let found = find(&mut lent, account).await.map_err(during())?;
        lent.done();
        Ok(found.filter(|erasure| erasure.known_to(wanted)))
    }

    /// Accounts whose erasure is going on, the longest waiting first.
    pub async fn subjects_unfinished(&self, limit: i64) -> Result<Vec<AccountId>, StoreError> {
        sqlx::query_scalar!(
            r#"-- subjects_unfinished
            SELECT account_id AS "account_id: AccountId" FROM subject_erasures
            WHERE state <> 'erased' ORDER BY requested_at LIMIT $1"#,
            limit,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("subjects_unfinished"))
    }

    /// Takes all steps of an erasure, or waits for whoever takes them.
    pub async fn subject_erasure_carry_out(&self, account: AccountId) -> Result<(), StoreError> {
        loop {
            match self.subject_erasure_step(account).await? {
                ErasureStep::Finished => return Ok(()),
                ErasureStep::More => {}
                ErasureStep::Elsewhere => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    }

    /// One step of an erasure: lists its sessions, goes through one of them, or finishes. Any number of processes may take
    /// steps at once.
    pub async fn subject_erasure_step(&self, account: AccountId) -> Result<ErasureStep, StoreError> {
        let during = || StoreError::during("subject_erasure_step");
        let mut tx = self.begin_everywhere().await.map_err(during())?;
        let step = match state(&mut tx, account).await.map_err(during())?.as_deref() {
            None | Some("erased") => return Ok(ErasureStep::Finished),
            Some("listing") => {
                list(&mut tx, account).await.map_err(during())?;
                ErasureStep::More
            }
            Some(_) => self.one_session(&mut tx, account).await?,
        };
        tx.commit().await.map_err(during())?;
        Ok(step)
    }

    async fn one_session(&self, tx: &mut PgConnection, account: AccountId) -> Result<ErasureStep, StoreError> {
        let during = || StoreError::during("subject_erasure_step");
        let Some((org, session, whole)) = take(tx, account).await.map_err(during())? else {
            return self.finish(tx, account).await.map_err(during());
        };
        let taken = session::erase(tx, &self.sources, account, (org, session), whole).await?;
        count(tx, account, &taken).await.map_err(during())?;
        Ok(ErasureStep::More)
    }

    async fn finish(&self, tx: &mut PgConnection, account: AccountId) -> Result<ErasureStep, sqlx::Error> {
        let left = sqlx::query_scalar!(
            r#"-- subject_sessions_left
            SELECT EXISTS (SELECT FROM subject_erasure_sessions WHERE account_id = $1) AS "left!""#,
            account as AccountId,
        )
        .fetch_one(&mut *tx)
        .await?;
        if left {
            return Ok(ErasureStep::Elsewhere);
        }
        // A request that was let in just before the tokens were revoked may have written since.
        if list_late(tx, account).await? > 0 {
            return Ok(ErasureStep::More);
        }
        forget_in_audit(tx, account).await?;
        let blobs = project_source::erase(tx, account, self.sources.now()).await?;
        sqlx::query!(
            "-- subject_erasure_finish
            WITH answers AS (DELETE FROM idempotency_keys WHERE account_id = $1)
            UPDATE subject_erasures SET state = 'erased', finished_at = $2, blobs = blobs + $3 WHERE account_id = $1",
            account as AccountId,
            self.sources.now(),
            i64::try_from(blobs).unwrap_or(i64::MAX),
        )
        .execute(tx)
        .await?;
        Ok(ErasureStep::Finished)
    }

    /// What is about the account itself. From here on nobody signs in as it.
    async fn empty_account(
        &self,
        tx: &mut PgConnection,
        account: AccountId,
        orgs: &[OrgId],
        actor: &str,
    ) -> Result<(), sqlx::Error> {
        let now = self.sources.now();
        let org_ids: Vec<uuid::Uuid> = orgs.iter().map(|org| (*org).into()).collect();
        sqlx::query!(
            "-- subject_empty
            WITH emptied AS (
                UPDATE accounts SET email = 'erased-' || account_id || '@erased.invalid', display_name = $4
                WHERE account_id = $1
            ), left_orgs AS (
                DELETE FROM memberships WHERE account_id = $1
            ), revoked AS (
                UPDATE api_tokens SET revoked_at = coalesce(revoked_at, $3), name = $4, last_four = '', prefix = NULL,
                    last_used_at = NULL
                WHERE account_id = $1
            ), sessions AS (
                DELETE FROM browser_sessions WHERE account_id = $1
            ), identities AS (
                DELETE FROM account_identities WHERE account_id = $1
            ), in_chats AS (
                DELETE FROM channel_identities WHERE account_id = $1
            ), invitations AS (
                DELETE FROM invitations USING accounts
                WHERE accounts.account_id = $1 AND invitations.email = accounts.email
            )
            INSERT INTO subject_erasures (account_id, org_ids, state, requested_at) VALUES ($1, $2, 'listing', $3)",
            account as AccountId,
            &org_ids,
            now,
            ERASED,
        )
        .execute(&mut *tx)
        .await?;
        for org in orgs {
            let target = format!("account:{account}");
            audit::record(tx, &self.sources, *org, actor, "subject.erase", &target, json!({})).await?;
        }
        // No restore may bring the person back.
        outbox::insert(tx, &self.sources, &[Effect::SubjectErased { org: None, account }]).await
    }
}

/// Makes others who erase the same account wait. `false`: there is no such account.
async fn lock(tx: &mut PgConnection, account: AccountId) -> Result<bool, sqlx::Error> {
    let found = sqlx::query!(
        "-- subject_lock
        SELECT 1 AS one FROM accounts WHERE account_id = $1 FOR UPDATE",
        account as AccountId,
    )
    .fetch_optional(tx)
    .await?;
    Ok(found.is_some())
}

async fn find(connection: &mut PgConnection, account: AccountId) -> Result<Option<Erasure>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"-- subject_erasure_find
        SELECT account_id AS "account_id: AccountId", org_ids, sessions, commands, events, artifacts, deliveries, blobs,
            requested_at, finished_at
        FROM subject_erasures WHERE account_id = $1"#,
        account as AccountId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Erasure::from))
}

/// The orgs that the account belongs to, or once had a token in.
async fn orgs(tx: &mut PgConnection, account: AccountId) -> Result<Vec<OrgId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- subject_orgs
        SELECT org_id AS "org_id!: OrgId" FROM (
            SELECT org_id FROM memberships WHERE account_id = $1
            UNION SELECT org_id FROM api_tokens WHERE account_id = $1
        ) AS orgs ORDER BY org_id"#,
        account as AccountId,
    )
    .fetch_all(tx)
    .await
}

async fn permit(
    tx: &mut PgConnection,
    account: AccountId,
    orgs: &[OrgId],
    wanted: ErasedFor,
) -> Result<(), EraseError> {
    let (org, owner) = match wanted {
        ErasedFor::Installation => return Ok(()),
        ErasedFor::Operator(org) => (org, false),
        ErasedFor::Owner(org) => (org, true),
    };
    if !orgs.contains(&org) {
        return Err(EraseError::NoSuchSubject);
    }
    if !owner {
        return Ok(());
    }
    if orgs.len() > 1 {
        return Err(EraseError::InOtherOrgs);
    }
    let last_owner = sqlx::query_scalar!(
        r#"-- subject_last_owner
        SELECT NOT EXISTS (
            SELECT FROM memberships WHERE org_id = $1 AND account_id <> $2 AND role = 'owner') AS "last_owner!""#,
        org as OrgId,
        account as AccountId,
    )
    .fetch_one(tx)
    .await
    .map_err(StoreError::during("subject_last_owner"))?;
    if last_owner { Err(EraseError::LastOwner) } else { Ok(()) }
}

async fn state(tx: &mut PgConnection, account: AccountId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "-- subject_erasure_state
        SELECT state FROM subject_erasures WHERE account_id = $1 FOR KEY SHARE",
        account as AccountId,
    )
    .fetch_optional(tx)
    .await
}

/// Writes down which sessions the account began or spoke in. Reads all commands once.
async fn list(tx: &mut PgConnection, account: AccountId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- subject_list_sessions
        WITH listed AS (
            INSERT INTO subject_erasure_sessions (account_id, org_id, session_id, whole)
            SELECT $1, org_id, session_id, true FROM sessions WHERE created_by = $1
            UNION ALL
            SELECT DISTINCT $1, commands.org_id, commands.session_id, false
            FROM commands JOIN sessions USING (org_id, session_id)
            WHERE commands.created_by = $1 AND sessions.created_by IS DISTINCT FROM $1
            ON CONFLICT DO NOTHING
        )
        UPDATE subject_erasures SET state = 'erasing' WHERE account_id = $1",
        account as AccountId,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// As [`list`], of what came in after the erasure was asked for. Gives back how many.
async fn list_late(tx: &mut PgConnection, account: AccountId) -> Result<u64, sqlx::Error> {
    let listed = sqlx::query!(
        "-- subject_list_late_sessions
        INSERT INTO subject_erasure_sessions (account_id, org_id, session_id, whole)
        SELECT $1, org_id, session_id, true FROM sessions, subject_erasures AS erasure
        WHERE erasure.account_id = $1 AND created_by = $1 AND created_at >= requested_at AND title <> $2
        UNION
        SELECT $1, commands.org_id, commands.session_id, sessions.created_by IS NOT DISTINCT FROM $1
        FROM subject_erasures AS erasure, commands JOIN sessions USING (org_id, session_id)
        WHERE erasure.account_id = $1 AND commands.created_by = $1 AND commands.created_at >= requested_at
            AND commands.idempotency_key <> 'erased:' || commands.command_id",
        account as AccountId,
        ERASED,
    )
    .execute(tx)
    .await?;
    Ok(listed.rows_affected())
}

/// The next session, which nobody else is at; its row of the list is gone when the transaction is committed.
async fn take(tx: &mut PgConnection, account: AccountId) -> Result<Option<(OrgId, SessionId, bool)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"-- subject_take_session
        DELETE FROM subject_erasure_sessions AS list USING (
            SELECT account_id, org_id, session_id FROM subject_erasure_sessions
            WHERE account_id = $1 ORDER BY org_id, session_id LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS next
        WHERE list.account_id = next.account_id AND list.org_id = next.org_id AND list.session_id = next.session_id
        RETURNING list.org_id AS "org_id: OrgId", list.session_id AS "session_id: SessionId", whole"#,
        account as AccountId,
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| (row.org_id, row.session_id, row.whole)))
}

async fn count(tx: &mut PgConnection, account: AccountId, taken: &session::Taken) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- subject_erasure_count
        UPDATE subject_erasures SET sessions = sessions + 1, commands = commands + $2, events = events + $3,
            artifacts = artifacts + $4, deliveries = deliveries + $5, blobs = blobs + $6
        WHERE account_id = $1",
        account as AccountId,
        taken.commands,
        taken.events,
        taken.artifacts,
        taken.deliveries,
        taken.blobs,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The trail stays whole. Of what the person did it keeps who (an id that stands for nobody any more), what and when; the
/// words that it quotes go, and the salt of their seal, without which nobody finds them out by trying.
async fn forget_in_audit(tx: &mut PgConnection, account: AccountId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- subject_forget_in_audit
        UPDATE audit_records SET detail = jsonb_set(detail, '{title}', to_jsonb($3::text)), seal_salt = NULL
        WHERE actor = $2 AND detail ? 'title' AND org_id IN (
            SELECT unnest(org_ids) FROM subject_erasures WHERE account_id = $1)",
        account as AccountId,
        format!("account:{account}"),
        ERASED,
    )
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
