//! Accounts and their memberships. An account is one person or program, in as many orgs as it belongs to.
//!
//! Not here: what a role permits (`domain::tenancy`), signing in (`token`, `sign_in`).

use clock::{Sources, Timestamp};
use domain::tenancy::{Role, RoleName};
use domain::version::{Expected, RowVersion};
use ids::{AccountId, OrgId};
use serde_json::json;
use sqlx::PgConnection;

use crate::outbox::{self, Effect};
use crate::wake::Wake;
use crate::{Store, StoreError, audit, browser_session, token};

/// An account in an org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub account_id: AccountId,
    pub email: String,
    pub display_name: String,
    pub role: RoleName,
    /// When it joined the org.
    pub created_at: Timestamp,
    pub version: RowVersion,
}

/// Who joins.
#[derive(Debug, Clone)]
pub struct NewMember {
    /// In lower case, 3 to 320 characters: it is what an account is found by.
    pub email: String,
    /// Used if the account is new; one that exists keeps its own.
    pub display_name: String,
    pub role: RoleName,
}

/// What the wish to take an account out of an org, or to give it another role, did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    Done,
    NoSuchMember,
    /// Nobody could manage the org any more.
    LastOwner,
    /// The membership is in another state than the wish was for.
    Stale,
}

struct Row {
    account_id: AccountId,
    email: String,
    display_name: String,
    role: String,
    created_at: Timestamp,
    version: i64,
}

impl TryFrom<Row> for Member {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let role = row.role.parse().map_err(StoreError::unreadable("memberships", "role", row.account_id))?;
        let Row { account_id, email, display_name, created_at, version, .. } = row;
        let version = RowVersion { since: created_at, version };
        Ok(Self { account_id, email, display_name, role, created_at, version })
    }
}

/// Adds the account to the org, creating it if nobody has its email. `None`: it belongs to the org already.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    sources: &Sources,
    org: OrgId,
    new: &NewMember,
) -> Result<Option<Member>, sqlx::Error> {
    let (account, now) = (sources.id::<AccountId>(), sources.now());
    let row = sqlx::query!(
        r#"-- member_insert
        WITH account AS (
            INSERT INTO accounts (account_id, email, display_name, created_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (email) DO UPDATE SET email = EXCLUDED.email
            RETURNING account_id, display_name
        ), membership AS (
            INSERT INTO memberships (org_id, account_id, role, created_at) SELECT $5, account_id, $6, $4 FROM account
            ON CONFLICT DO NOTHING RETURNING account_id
        )
        SELECT account_id AS "account_id: AccountId", display_name FROM account JOIN membership USING (account_id)"#,
        account as AccountId,
        new.email,
        new.display_name,
        now,
        org as OrgId,
        new.role.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Member {
        account_id: row.account_id,
        email: new.email.clone(),
        display_name: row.display_name,
        role: new.role.clone(),
        created_at: now,
        version: RowVersion { since: now, version: 1 },
    }))
}

/// In one order, so that of two owners who remove each other one stays.
async fn lock_owners(connection: &mut PgConnection, org: OrgId) -> Result<Vec<AccountId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"-- member_lock_owners
        SELECT account_id AS "account_id: AccountId" FROM memberships
        WHERE org_id = $1 AND role = 'owner' ORDER BY account_id FOR UPDATE"#,
        org as OrgId,
    )
    .fetch_all(connection)
    .await
}

/// Whether the membership is what the change was made for, and stays so. Also if there is none: then nothing is changed.
async fn is_as_expected(
    connection: &mut PgConnection,
    org: OrgId,
    account: AccountId,
    expected: &Expected,
) -> Result<bool, sqlx::Error> {
    let row = sqlx::query!(
        "-- member_lock
        SELECT created_at, version FROM memberships WHERE org_id = $1 AND account_id = $2 FOR UPDATE",
        org as OrgId,
        account as AccountId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.is_none_or(|row| expected.met_by(Some(RowVersion { since: row.created_at, version: row.version }))))
}

impl Store {
    /// Adds an account to an org. `None`: it belongs to it already.
    pub async fn member_add(&self, org: OrgId, new: &NewMember, actor: &str) -> Result<Option<Member>, StoreError> {
        let during = || StoreError::during("member_add");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let Some(member) = insert(&mut tx, &self.sources, org, new).await.map_err(during())? else {
            return Ok(None);
        };
        let (target, detail) = (format!("account:{}", member.account_id), json!({ "role": member.role }));
        audit::record(&mut tx, &self.sources, org, actor, "member.add", &target, detail).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(Some(member))
    }

    /// Takes an account out of an org. Its tokens and browser sessions there are revoked for good: who is added again, begins
    /// anew. An org keeps at least one owner.
    pub async fn member_remove(
        &self,
        org: OrgId,
        account: AccountId,
        expected: &Expected,
        actor: &str,
    ) -> Result<Removal, StoreError> {
        let during = || StoreError::during("member_remove");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let owners = lock_owners(&mut tx, org).await.map_err(during())?;
        if owners == [account] {
            return Ok(Removal::LastOwner);
        }
        if !is_as_expected(&mut tx, org, account, expected).await.map_err(during())? {
            return Ok(Removal::Stale);
        }
        let removed = sqlx::query!(
            "-- member_remove
            DELETE FROM memberships WHERE org_id = $1 AND account_id = $2",
            org as OrgId,
            account as AccountId,
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        if removed.rows_affected() == 0 {
            return Ok(Removal::NoSuchMember);
        }
        token::revoke_all(&mut tx, &self.sources, (org, account)).await.map_err(during())?;
        browser_session::revoke(&mut tx, &self.sources, (org, account), None).await.map_err(during())?;
        let target = format!("account:{account}");
        audit::record(&mut tx, &self.sources, org, actor, "member.remove", &target, json!({}))
            .await
            .map_err(during())?;
        let effect = Effect::MemberRemoved { org, account };
        outbox::insert(&mut tx, &self.sources, &[effect]).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Identities);
        Ok(Removal::Done)
    }

    /// Gives a member another role. An org keeps at least one owner.
    pub async fn member_change(
        &self,
        org: OrgId,
        account: AccountId,
        role: &RoleName,
        expected: &Expected,
        actor: &str,
    ) -> Result<Removal, StoreError> {
        let during = || StoreError::during("member_change");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let owners = lock_owners(&mut tx, org).await.map_err(during())?;
        if owners == [account] && *role != Role::Owner.into() {
            return Ok(Removal::LastOwner);
        }
        if !is_as_expected(&mut tx, org, account, expected).await.map_err(during())? {
            return Ok(Removal::Stale);
        }
        let changed = sqlx::query!(
            "-- member_change
            UPDATE memberships SET role = $3, version = version + 1 WHERE org_id = $1 AND account_id = $2",
            org as OrgId,
            account as AccountId,
            role.as_str(),
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        if changed.rows_affected() == 0 {
            return Ok(Removal::NoSuchMember);
        }
        let (target, detail) = (format!("account:{account}"), json!({ "role": role }));
        audit::record(&mut tx, &self.sources, org, actor, "member.change", &target, detail).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Identities);
        Ok(Removal::Done)
    }

    pub async fn member_get(&self, org: OrgId, account: AccountId) -> Result<Option<Member>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"-- member_get
            SELECT account_id AS "account_id: AccountId", email, display_name, role, memberships.created_at,
                memberships.version
            FROM memberships JOIN accounts USING (account_id) WHERE org_id = $1 AND account_id = $2"#,
            org as OrgId,
            account as AccountId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("member_get"))?;
        row.map(Member::try_from).transpose()
    }

    pub async fn member_list(
        &self,
        org: OrgId,
        after: Option<AccountId>,
        limit: i64,
    ) -> Result<Vec<Member>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"-- member_list
            SELECT account_id AS "account_id: AccountId", email, display_name, role, memberships.created_at,
                memberships.version
            FROM memberships JOIN accounts USING (account_id)
            WHERE org_id = $1 AND ($2::uuid IS NULL OR account_id > $2) ORDER BY account_id LIMIT $3"#,
            org as OrgId,
            after as Option<AccountId>,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("member_list"))?;
        rows.into_iter().map(Member::try_from).collect()
    }

    /// The name that an account gave itself, in whichever org it is.
    pub async fn account_display_name(&self, account: AccountId) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar!(
            "-- account_display_name
            SELECT display_name FROM accounts WHERE account_id = $1",
            account as AccountId,
        )
        .fetch_optional(self.everywhere())
        .await
        .map_err(StoreError::during("account_display_name"))
    }
}
