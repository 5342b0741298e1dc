//! Invitations: who may become a member by signing in.
//!
//! An invitation is for one address, works once, and expires. Only the SHA-256 of its token is stored. One that was accepted or
//! revoked stays so after a restore: its hash goes to the recovery ledger as something that works once and was used.
//!
//! Not promised: that whoever invited still may. An invitation stands until it is revoked, accepted, or expires.
//!
//! Not here: finding out whose address it is (`web::sign_in`), sending the token to anybody.

use chrono::TimeDelta;
use clock::{Sources, Timestamp};
use domain::tenancy::RoleName;
use ids::{AccountId, InvitationId, OrgId};
use serde_json::json;
use sqlx::PgConnection;

use crate::outbox::{self, Effect};
use crate::sign_in::SignInError;
use crate::{Store, StoreError, audit, policy, remembered};

/// How long one that is over is still listed.
const LISTED: TimeDelta = TimeDelta::days(30);
/// Rows of one sweep.
const SWEPT: i64 = 1_000;

/// An invitation, without its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    pub invitation_id: InvitationId,
    pub email: String,
    pub role: RoleName,
    /// `open`, `accepted` or `revoked`. One that has expired is still called open.
    pub state: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// `None`: it is open.
    pub settled_at: Option<Timestamp>,
}

/// An invitation to be written down.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    /// In lower case, 3 to 320 characters.
    pub email: String,
    pub role: RoleName,
    /// SHA-256 of its token.
    pub token_hash: [u8; 32],
    pub expires_at: Timestamp,
}

/// What somebody is invited to.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) org: OrgId,
    pub(crate) invitation: InvitationId,
    pub(crate) role: String,
}

struct Row {
    invitation_id: InvitationId,
    email: String,
    role: String,
    state: String,
    created_at: Timestamp,
    expires_at: Timestamp,
    settled_at: Option<Timestamp>,
}

impl TryFrom<Row> for Invitation {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let role = row.role.parse().map_err(StoreError::unreadable("invitations", "role", row.invitation_id))?;
        let Row { invitation_id, email, state, created_at, expires_at, settled_at, .. } = row;
        Ok(Self { invitation_id, email, role, state, created_at, expires_at, settled_at })
    }
}

/// The invitation with this token, for somebody with this address. It stays locked.
pub(crate) async fn open(
    tx: &mut PgConnection,
    sources: &Sources,
    hash: &[u8; 32],
    verified_email: Option<&str>,
) -> Result<Open, SignInError> {
    let during = || StoreError::during("invitation_open");
    let row = sqlx::query!(
        r#"-- invitation_open
        SELECT org_id AS "org: OrgId", invitation_id AS "invitation: InvitationId", email, role FROM invitations
        WHERE token_hash = $1 AND state = 'open' AND expires_at > $2 FOR UPDATE"#,
        &hash[..],
        sources.now(),
    )
    .fetch_optional(&mut *tx)
    .await
    .map_err(during())?;
    let row = row.filter(|row| verified_email == Some(row.email.as_str())).ok_or(SignInError::NotInvited)?;
    // It was settled in the life before a restore.
    if remembered::interaction(tx, row.org, hash).await.map_err(during())? {
        return Err(SignInError::NotInvited);
    }
    if policy::get(&mut *tx, row.org).await?.policy.judge_email(&row.email).is_err() {
        return Err(SignInError::RefusedByPolicy);
    }
    Ok(Open { org: row.org, invitation: row.invitation, role: row.role })
}

/// Makes the account a member, and the invitation a used one. Whoever locked the account sees an erasure that came before.
pub(crate) async fn accept(
    tx: &mut PgConnection,
    sources: &Sources,
    open: &Open,
    hash: &[u8; 32],
    account: AccountId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- invitation_accept
        WITH accepted AS (
            UPDATE invitations SET state = 'accepted', settled_at = $5 WHERE org_id = $1 AND invitation_id = $2
        )
        INSERT INTO memberships (org_id, account_id, role, created_at) SELECT $1, $3, $4, $5
        WHERE NOT EXISTS (SELECT FROM subject_erasures WHERE account_id = $3) ON CONFLICT DO NOTHING",
        open.org as OrgId,
        open.invitation as InvitationId,
        account as AccountId,
        open.role,
        sources.now(),
    )
    .execute(&mut *tx)
    .await?;
    outbox::insert(tx, sources, &[Effect::InteractionUsed { org: open.org, interaction: *hash }]).await?;
    let (actor, target) = (format!("account:{account}"), format!("invitation:{}", open.invitation));
    audit::record(tx, sources, open.org, &actor, "invitation.accept", &target, json!({ "role": open.role })).await
}

impl Store {
    /// Writes an invitation down. An open one for the same address is revoked. `None`: somebody else invites it at this moment.
    pub async fn invitation_create(
        &self,
        org: OrgId,
        new: &NewInvitation,
        actor: &str,
    ) -> Result<Option<Invitation>, StoreError> {
        let during = || StoreError::during("invitation_create");
        let (invitation, now): (InvitationId, _) = (self.sources.id(), self.sources.now());
        let mut tx = self.begin_of(org).await.map_err(during())?;
        revoke(&mut tx, &self.sources, org, None, Some(&new.email)).await.map_err(during())?;
        let created = sqlx::query!(
            "-- invitation_create
            INSERT INTO invitations (org_id, invitation_id, email, role, token_hash, state, created_at, expires_at)
            VALUES ($1, $2, $3, $4, $5, 'open', $6, $7)
            ON CONFLICT (org_id, email) WHERE state = 'open' DO NOTHING",
            org as OrgId,
            invitation as InvitationId,
            new.email,
            new.role.as_str(),
            &new.token_hash[..],
            now,
            new.expires_at,
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        if created.rows_affected() == 0 {
            return Ok(None);
        }
        let (target, detail) = (format!("invitation:{invitation}"), json!({ "role": new.role }));
        audit::record(&mut tx, &self.sources, org, actor, "invitation.create", &target, detail)
            .await
            .map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(Some(Invitation {
            invitation_id: invitation,
            email: new.email.clone(),
            role: new.role.clone(),
            state: "open".to_owned(),
            created_at: now,
            expires_at: new.expires_at,
            settled_at: None,
        }))
    }

    /// Also one that is over, for a month.
    pub async fn invitation_get(&self, org: OrgId, invitation: InvitationId) -> Result<Option<Invitation>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"-- invitation_get
            SELECT invitation_id AS "invitation_id: InvitationId", email, role, state, created_at, expires_at, settled_at
            FROM invitations WHERE org_id = $1 AND invitation_id = $2"#,
            org as OrgId,
            invitation as InvitationId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("invitation_get"))?;
        row.map(Invitation::try_from).transpose()
    }

    /// Also those that are over, for a month.
    pub async fn invitation_list(
        &self,
        org: OrgId,
        after: Option<InvitationId>,
        limit: i64,
    ) -> Result<Vec<Invitation>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"-- invitation_list
            SELECT invitation_id AS "invitation_id: InvitationId", email, role, state, created_at, expires_at, settled_at
            FROM invitations
            WHERE org_id = $1 AND ($2::uuid IS NULL OR invitation_id > $2) ORDER BY invitation_id LIMIT $3"#,
            org as OrgId,
            after as Option<InvitationId>,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("invitation_list"))?;
        rows.into_iter().map(Invitation::try_from).collect()
    }

    /// Takes an invitation back. `false`: there is no such. One that was settled before stays as it is.
    pub async fn invitation_revoke(
        &self,
        org: OrgId,
        invitation: InvitationId,
        actor: &str,
    ) -> Result<bool, StoreError> {
        let during = || StoreError::during("invitation_revoke");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        if revoke(&mut tx, &self.sources, org, Some(invitation), None).await.map_err(during())? {
            let target = format!("invitation:{invitation}");
            audit::record(&mut tx, &self.sources, org, actor, "invitation.revoke", &target, json!({}))
                .await
                .map_err(during())?;
            tx.commit().await.map_err(during())?;
            return Ok(true);
        }
        sqlx::query_scalar!(
            r#"-- invitation_is_there
            SELECT EXISTS (SELECT FROM invitations WHERE org_id = $1 AND invitation_id = $2) AS "there!""#,
            org as OrgId,
            invitation as InvitationId,
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(during())
    }

    /// Deletes some of the invitations that expired long ago, and gives back how many.
    pub async fn invitation_sweep(&self) -> Result<u64, StoreError> {
        let swept = sqlx::query!(
            "-- invitation_sweep
            DELETE FROM invitations WHERE (org_id, invitation_id) IN (
                SELECT org_id, invitation_id FROM invitations
                WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
            self.sources.now() - LISTED,
            SWEPT,
        )
        .execute(self.everywhere())
        .await
        .map_err(StoreError::during("invitation_sweep"))?;
        Ok(swept.rows_affected())
    }
}

/// Revokes an open invitation, by its id or its address, and leaves word for the recovery ledger. Whether there was one.
async fn revoke(
    tx: &mut PgConnection,
    sources: &Sources,
    org: OrgId,
    invitation: Option<InvitationId>,
    email: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let hash = sqlx::query_scalar!(
        "-- invitation_revoke
        UPDATE invitations SET state = 'revoked', settled_at = $4
        WHERE org_id = $1 AND state = 'open' AND (invitation_id = $2 OR email = $3)
        RETURNING token_hash",
        org as OrgId,
        invitation as Option<InvitationId>,
        email,
        sources.now(),
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(hash) = hash else { return Ok(false) };
    let interaction = hash.try_into().expect("the table holds hashes of 32 bytes only");
    outbox::insert(tx, sources, &[Effect::InteractionUsed { org, interaction }]).await?;
    Ok(true)
}

#[cfg(test)]
mod tests;
