//! Channel identities: who people in chats are, and what they may do from there.
//!
//! Whoever writes at a channel for the first time gets a row that allows nothing (`pending`). Somebody who manages members says
//! what the person may do, and which member the person is. At most [`PENDING_MAX`] people of a channel are pending: with one more,
//! the oldest of them is forgotten, and is new again with the next message.
//!
//! Whatever takes something from a person is told to the recovery ledger, so that no restore gives it back: the row that
//! comes back from before is disabled, and a person who has no row then is disabled from the first message on.
//!
//! Not here: what somebody may do (`domain::chat`), messages (`inbound`), decisions (`interaction`).

use clock::{Sources, Timestamp};
use domain::chat::{IdentityState, Link, PENDING_MAX, Standing};
use domain::version::{Expected, RowVersion};
use ids::{AccountId, ChannelId, ChannelIdentityId, OrgId};
use serde_json::json;
use sqlx::PgConnection;

use crate::outbox::{self, Effect};
use crate::{ChangeError, Channel, Store, StoreError, audit, remembered, role};

/// Whom a message names as its sender. Whoever signed it vouches for that.
#[derive(Debug, Clone)]
pub struct Sender {
    /// What the chat calls the person; 1 to 200 characters.
    pub external_id: String,
    /// At most 200 characters.
    pub name: String,
    /// What the recovery ledger calls the person.
    pub digest: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelIdentity {
    pub channel_identity_id: ChannelIdentityId,
    pub channel_id: ChannelId,
    pub external_id: String,
    pub name: String,
    /// The member that the person is. `None`: nobody said.
    pub account_id: Option<AccountId>,
    pub may_prompt: bool,
    pub may_decide: bool,
    pub state: IdentityState,
    pub created_at: Timestamp,
    pub version: RowVersion,
}

/// What is said of a person, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentityChange {
    pub account: Option<AccountId>,
    pub may_prompt: bool,
    /// Takes an account.
    pub may_decide: bool,
    /// Nobody is made pending again.
    pub state: IdentityState,
}

/// Why a person stays as before.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("the account is no member of the org")]
    NoMember,
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl From<StoreError> for IdentityError {
    fn from(error: StoreError) -> Self {
        Self::Change(error.into())
    }
}

/// A person as a message finds them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Met {
    pub(crate) identity: ChannelIdentityId,
    pub(crate) account: Option<AccountId>,
    pub(crate) standing: Standing,
}

struct Row {
    channel_identity_id: ChannelIdentityId,
    channel_id: ChannelId,
    external_id: String,
    name: String,
    digest: Vec<u8>,
    account_id: Option<AccountId>,
    may_prompt: bool,
    may_decide: bool,
    state: String,
    created_at: Timestamp,
    version: i64,
}

impl TryFrom<Row> for ChannelIdentity {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let id = row.channel_identity_id;
        let state = row.state.parse().map_err(StoreError::unreadable("channel_identities", "state", id))?;
        let version = RowVersion { since: row.created_at, version: row.version };
        let Row { channel_id, external_id, name, account_id, may_prompt, may_decide, created_at, .. } = row;
        Ok(Self {
            channel_identity_id: id,
            channel_id,
            external_id,
            name,
            account_id,
            may_prompt,
            may_decide,
            state,
            created_at,
            version,
        })
    }
}

impl Store {
    /// Those of the org, of one channel and in one state if they are given, in the order that they wrote first.
    pub async fn channel_identity_list(
        &self,
        org: OrgId,
        channel: Option<ChannelId>,
        state: Option<IdentityState>,
        after: Option<ChannelIdentityId>,
        limit: i64,
    ) -> Result<Vec<ChannelIdentity>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"-- channel_identity_list
            SELECT channel_identity_id AS "channel_identity_id: ChannelIdentityId",
                channel_id AS "channel_id: ChannelId", external_id, name, digest,
                account_id AS "account_id: AccountId", may_prompt, may_decide, state, created_at, version
            FROM channel_identities
            WHERE org_id = $1 AND ($2::uuid IS NULL OR channel_id = $2) AND ($3::text IS NULL OR state = $3)
                AND ($4::uuid IS NULL OR channel_identity_id > $4)
            ORDER BY channel_identity_id LIMIT $5"#,
            org as OrgId,
            channel as Option<ChannelId>,
            state.map(IdentityState::as_str),
            after as Option<ChannelIdentityId>,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("channel_identity_list"))?;
        rows.into_iter().map(ChannelIdentity::try_from).collect()
    }

    /// `None`: the org has no such identity.
    pub async fn channel_identity_get(
        &self,
        org: OrgId,
        identity: ChannelIdentityId,
    ) -> Result<Option<ChannelIdentity>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"-- channel_identity_get
            SELECT channel_identity_id AS "channel_identity_id: ChannelIdentityId",
                channel_id AS "channel_id: ChannelId", external_id, name, digest,
                account_id AS "account_id: AccountId", may_prompt, may_decide, state, created_at, version
            FROM channel_identities WHERE org_id = $1 AND channel_identity_id = $2"#,
            org as OrgId,
            identity as ChannelIdentityId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("channel_identity_get"))?;
        row.map(ChannelIdentity::try_from).transpose()
    }

    /// Says what a person may do by chat and which member the person is, if nobody else has said it since `expected`.
    pub async fn channel_identity_change(
        &self,
        org: OrgId,
        identity: ChannelIdentityId,
        change: &IdentityChange,
        expected: &Expected,
        actor: &str,
    ) -> Result<ChannelIdentity, IdentityError> {
        let during = || StoreError::during("channel_identity_change");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let row = lock(&mut tx, org, identity).await.map_err(during())?;
        let row = row.ok_or(ChangeError::NoSuch("channel identity"))?;
        let digest = row.digest.clone().try_into().expect("the table holds digests of 32 bytes only");
        let found = ChannelIdentity::try_from(row)?;
        if !expected.met_by(Some(found.version)) {
            return Err(ChangeError::Stale("channel identity").into());
        }
        if let Some(account) = change.account
            && !is_member(&mut tx, org, account).await.map_err(during())?
        {
            return Err(IdentityError::NoMember);
        }
        let changed = changed(&found, change);
        if changed == found {
            return Ok(found);
        }
        write(&mut tx, org, &changed, self.sources.now()).await.map_err(during())?;
        if takes_something(&found, &changed) {
            let effect = Effect::IdentityRestricted { org, identity: digest };
            outbox::insert(&mut tx, &self.sources, &[effect]).await.map_err(during())?;
        }
        let detail = json!({
            "channel_id": changed.channel_id, "account_id": changed.account_id, "may_prompt": changed.may_prompt,
            "may_decide": changed.may_decide, "state": changed.state,
        });
        let target = format!("channel_identity:{identity}");
        audit::record(&mut tx, &self.sources, org, actor, "channel_identity.change", &target, detail)
            .await
            .map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(changed)
    }
}

/// The same value, version and all, if nothing changes.
fn changed(found: &ChannelIdentity, change: &IdentityChange) -> ChannelIdentity {
    let IdentityChange { account, may_prompt, may_decide, state } = *change;
    let mut changed = ChannelIdentity { account_id: account, may_prompt, may_decide, state, ..found.clone() };
    if changed != *found {
        changed.version.version += 1;
    }
    changed
}

/// Whether a restore to a backup from before would give the person something back.
fn takes_something(found: &ChannelIdentity, changed: &ChannelIdentity) -> bool {
    let lost = |had: bool, has: bool| had && !has;
    changed.state == IdentityState::Disabled
        || lost(found.may_prompt, changed.may_prompt)
        || lost(found.may_decide, changed.may_decide)
        || lost(found.account_id.is_some(), found.account_id == changed.account_id)
}

async fn lock(
    connection: &mut PgConnection,
    org: OrgId,
    identity: ChannelIdentityId,
) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"-- channel_identity_lock
        SELECT channel_identity_id AS "channel_identity_id: ChannelIdentityId",
            channel_id AS "channel_id: ChannelId", external_id, name, digest,
            account_id AS "account_id: AccountId", may_prompt, may_decide, state, created_at, version
        FROM channel_identities WHERE org_id = $1 AND channel_identity_id = $2 FOR NO KEY UPDATE"#,
        org as OrgId,
        identity as ChannelIdentityId,
    )
    .fetch_optional(connection)
    .await
}

async fn write(
    connection: &mut PgConnection,
    org: OrgId,
    changed: &ChannelIdentity,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- channel_identity_change
        UPDATE channel_identities SET account_id = $3, may_prompt = $4, may_decide = $5, state = $6, changed_at = $7,
            version = $8
        WHERE org_id = $1 AND channel_identity_id = $2",
        org as OrgId,
        changed.channel_identity_id as ChannelIdentityId,
        changed.account_id as Option<AccountId>,
        changed.may_prompt,
        changed.may_decide,
        changed.state.as_str(),
        now,
        changed.version.version,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn is_member(connection: &mut PgConnection, org: OrgId, account: AccountId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- channel_identity_is_member
        SELECT EXISTS (SELECT FROM memberships WHERE org_id = $1 AND account_id = $2) AS "member!""#,
        org as OrgId,
        account as AccountId,
    )
    .fetch_one(connection)
    .await
}

/// Whom the sender is here, with a row from now on. Whoever changes what the person may do waits until the transaction ends, or
/// was before it.
pub(crate) async fn meet(
    connection: &mut PgConnection,
    sources: &Sources,
    channel: &Channel,
    sender: &Sender,
) -> Result<Met, StoreError> {
    let during = || StoreError::during("channel_identity_meet");
    if let Some(met) = known(connection, channel, sender).await? {
        return Ok(met);
    }
    let restricted = remembered::identity(connection, channel.org, &sender.digest).await.map_err(during())?;
    let state = if restricted { IdentityState::Disabled } else { IdentityState::Pending };
    let identity: ChannelIdentityId = sources.id();
    make_room(connection, channel).await.map_err(during())?;
    sqlx::query!(
        "-- channel_identity_insert
        INSERT INTO channel_identities (org_id, channel_identity_id, channel_id, external_id, name, digest, may_prompt,
            may_decide, state, created_at, changed_at)
        VALUES ($1, $2, $3, $4, $5, $6, false, false, $7, $8, $8) ON CONFLICT DO NOTHING",
        channel.org as OrgId,
        identity as ChannelIdentityId,
        channel.channel_id as ChannelId,
        sender.external_id,
        sender.name,
        &sender.digest[..],
        state.as_str(),
        sources.now(),
    )
    .execute(connection)
    .await
    .map_err(during())?;
    let standing = Standing { state, may_prompt: false, may_decide: false, member: Link::None };
    Ok(Met { identity, account: None, standing })
}

async fn known(connection: &mut PgConnection, channel: &Channel, sender: &Sender) -> Result<Option<Met>, StoreError> {
    let row = sqlx::query!(
        r#"-- channel_identity_known
        SELECT channel_identity_id AS "identity: ChannelIdentityId", state, may_prompt, may_decide,
            known.account_id AS "account: AccountId", memberships.role AS "role?", roles.permissions AS "permissions?"
        FROM channel_identities AS known
            LEFT JOIN memberships
                ON memberships.org_id = known.org_id AND memberships.account_id = known.account_id
            LEFT JOIN roles ON roles.org_id = memberships.org_id AND roles.name = memberships.role
        WHERE known.org_id = $1 AND channel_id = $2 AND external_id = $3 FOR SHARE OF known"#,
        channel.org as OrgId,
        channel.channel_id as ChannelId,
        sender.external_id,
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::during("channel_identity_known"))?;
    let Some(row) = row else { return Ok(None) };
    let state = row.state.parse().map_err(StoreError::unreadable("channel_identities", "state", row.identity))?;
    let member = match (row.account, row.role) {
        (None, _) => Link::None,
        (Some(_), None) => Link::Gone,
        (Some(account), Some(role)) => Link::Member(role::of_member(account, &role, row.permissions)?.1),
    };
    let standing = Standing { state, may_prompt: row.may_prompt, may_decide: row.may_decide, member };
    Ok(Some(Met { identity: row.identity, account: row.account, standing }))
}

/// Forgets the oldest of those who are pending if there are as many as may be. Of messages that come at once several may find room.
async fn make_room(connection: &mut PgConnection, channel: &Channel) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- channel_identity_make_room
        DELETE FROM channel_identities WHERE org_id = $1 AND channel_identity_id IN (
            SELECT channel_identity_id FROM channel_identities
            WHERE org_id = $1 AND channel_id = $2 AND state = 'pending'
            ORDER BY channel_identity_id DESC OFFSET $3 FOR UPDATE SKIP LOCKED)",
        channel.org as OrgId,
        channel.channel_id as ChannelId,
        PENDING_MAX - 1,
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
