//! API tokens: what programs sign in with.
//!
//! Only the SHA-256 of a token is stored. A token has 256 random bits, so its hash can't be guessed back, and looking a
//! hash up in the unique index says nothing useful to somebody who measures how long that took.
//!
//! Not here: making a token's text (`web::ApiToken`), what its scopes permit (`domain::tenancy`), noting when it was used
//! (`uses`).

use clock::{Sources, Timestamp};
use domain::tenancy::Scope;
use ids::{AccountId, OrgId, TokenId};
use serde_json::json;
use sqlx::PgConnection;

use crate::identities::{Credential, Identity};
use crate::outbox::{self, Effect};
use crate::wake::Wake;
use crate::{Store, StoreError, audit, role};

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub token_id: TokenId,
    pub account_id: AccountId,
    pub name: String,
    /// What it begins with. `None`: it was made before that was kept.
    pub prefix: Option<String>,
    pub last_four: String,
    pub scopes: Vec<Scope>,
    pub created_at: Timestamp,
    /// About a minute late. `None`: never, or not since it is noted.
    pub last_used_at: Option<Timestamp>,
    /// `None`: never.
    pub expires_at: Option<Timestamp>,
    /// `None`: in force.
    pub revoked_at: Option<Timestamp>,
}

/// A token to be written down.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub account: AccountId,
    pub name: String,
    /// SHA-256 of its text.
    pub hash: [u8; 32],
    /// What it begins with.
    pub prefix: String,
    pub last_four: String,
    pub scopes: Vec<Scope>,
    /// `None`: never.
    pub expires_at: Option<Timestamp>,
}

struct Row {
    token_id: TokenId,
    account_id: AccountId,
    name: String,
    prefix: Option<String>,
    last_four: String,
    scopes: Vec<String>,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl TryFrom<Row> for Token {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let scopes = scopes(row.token_id, &row.scopes)?;
        let Row { token_id, account_id, name, prefix, last_four, created_at, last_used_at, .. } = row;
        let (expires_at, revoked_at) = (row.expires_at, row.revoked_at);
        Ok(Self {
            token_id,
            account_id,
            name,
            prefix,
            last_four,
            scopes,
            created_at,
            last_used_at,
            expires_at,
            revoked_at,
        })
    }
}

pub(crate) fn scopes(token: TokenId, texts: &[String]) -> Result<Vec<Scope>, StoreError> {
    let parsed: Result<_, _> = texts.iter().map(|text| text.parse()).collect();
    parsed.map_err(StoreError::unreadable("api_tokens", "scopes", token))
}

/// Writes the token. Its account must belong to the org.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    sources: &Sources,
    org: OrgId,
    new: &NewToken,
) -> Result<Token, sqlx::Error> {
    let (token, now) = (sources.id::<TokenId>(), sources.now());
    let scopes: Vec<String> = new.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    sqlx::query!(
        "-- token_insert
        INSERT INTO api_tokens (org_id, token_id, account_id, name, token_hash, last_four, scopes, created_at, expires_at,
            prefix)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        org as OrgId,
        token as TokenId,
        new.account as AccountId,
        new.name,
        &new.hash[..],
        new.last_four,
        &scopes,
        now,
        new.expires_at,
        new.prefix,
    )
    .execute(connection)
    .await?;
    Ok(Token {
        token_id: token,
        account_id: new.account,
        name: new.name.clone(),
        prefix: Some(new.prefix.clone()),
        last_four: new.last_four.clone(),
        scopes: new.scopes.clone(),
        created_at: now,
        last_used_at: None,
        expires_at: new.expires_at,
        revoked_at: None,
    })
}

/// Takes every token of an account in an org out of force, and leaves word for the recovery ledger. Whoever commits must tell
/// [`Wake::Identities`].
pub(crate) async fn revoke_all(
    connection: &mut PgConnection,
    sources: &Sources,
    (org, account): (OrgId, AccountId),
) -> Result<(), sqlx::Error> {
    let tokens = sqlx::query_scalar!(
        r#"-- token_revoke_all
        UPDATE api_tokens SET revoked_at = $3 WHERE org_id = $1 AND account_id = $2 AND revoked_at IS NULL
        RETURNING token_id AS "token_id: TokenId""#,
        org as OrgId,
        account as AccountId,
        sources.now(),
    )
    .fetch_all(&mut *connection)
    .await?;
    let effects: Vec<Effect> = tokens.into_iter().map(|token| Effect::TokenRevoked { org, token }).collect();
    outbox::insert(connection, sources, &effects).await
}

impl Store {
    /// Writes a token down. `None`: its account does not belong to the org.
    pub async fn token_create(&self, org: OrgId, new: &NewToken, actor: &str) -> Result<Option<Token>, StoreError> {
        if self.member_get(org, new.account).await?.is_none() {
            return Ok(None);
        }
        let during = || StoreError::during("token_create");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let token = insert(&mut tx, &self.sources, org, new).await.map_err(during())?;
        let (target, detail) = (format!("token:{}", token.token_id), json!({ "scopes": token.scopes }));
        audit::record(&mut tx, &self.sources, org, actor, "token.create", &target, detail).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(Some(token))
    }

    /// Whom the token with this SHA-256 stands for. `None`: no such token, or it is no longer in force, or its
    /// account has left the org.
    ///
    /// What was read a moment ago counts, while this process hears of changes (`identities`). Whoever is found has used
    /// the token, which is noted (`uses`).
    pub async fn token_identify(&self, hash: &[u8; 32]) -> Result<Option<Identity>, StoreError> {
        let (now, heard) = (self.sources.now(), self.wakes.identity_changes());
        if let Some(known) = heard.and_then(|changes| self.identities.get(hash, now, changes)) {
            self.uses.note(&known, now);
            return Ok(Some(known));
        }
        let row = sqlx::query!(
            r#"-- token_identify
            SELECT api_tokens.org_id AS "org: OrgId", token_id AS "token: TokenId",
                api_tokens.account_id AS "account: AccountId", role, scopes, expires_at,
                roles.permissions AS "permissions?"
            FROM api_tokens
                JOIN memberships ON memberships.org_id = api_tokens.org_id
                    AND memberships.account_id = api_tokens.account_id
                LEFT JOIN roles ON roles.org_id = memberships.org_id AND roles.name = memberships.role
            WHERE token_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)"#,
            &hash[..],
            now,
        )
        .fetch_optional(self.everywhere())
        .await
        .map_err(StoreError::during("token_identify"))?;
        let Some(row) = row else { return Ok(None) };
        let (role, permissions) = role::of_member(row.account, &row.role, row.permissions)?;
        let (scopes, credential) = (scopes(row.token, &row.scopes)?, Credential::Token(row.token));
        let identity = Identity { org: row.org, credential, account: row.account, role, permissions, scopes };
        self.uses.note(&identity, now);
        if let Some(changes) = heard {
            self.identities.keep(*hash, identity.clone(), row.expires_at, now, changes);
        }
        Ok(Some(identity))
    }

    pub async fn token_get(&self, org: OrgId, token: TokenId) -> Result<Option<Token>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"-- token_get
            SELECT token_id AS "token_id: TokenId", account_id AS "account_id: AccountId", name, prefix, last_four,
                scopes, created_at, last_used_at, expires_at, revoked_at
            FROM api_tokens WHERE org_id = $1 AND token_id = $2"#,
            org as OrgId,
            token as TokenId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("token_get"))?;
        row.map(Token::try_from).transpose()
    }

    pub async fn token_list(&self, org: OrgId, after: Option<TokenId>, limit: i64) -> Result<Vec<Token>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"-- token_list
            SELECT token_id AS "token_id: TokenId", account_id AS "account_id: AccountId", name, prefix, last_four,
                scopes, created_at, last_used_at, expires_at, revoked_at
            FROM api_tokens
            WHERE org_id = $1 AND ($2::uuid IS NULL OR token_id > $2) ORDER BY token_id LIMIT $3"#,
            org as OrgId,
            after as Option<TokenId>,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("token_list"))?;
        rows.into_iter().map(Token::try_from).collect()
    }

    /// Takes a token out of force, of `only` this account if it is given. `false`: there is no such token. Revoking
    /// twice changes nothing.
    pub async fn token_revoke(
        &self,
        org: OrgId,
        token: TokenId,
        only: Option<AccountId>,
        actor: &str,
    ) -> Result<bool, StoreError> {
        let during = || StoreError::during("token_revoke");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let row = sqlx::query!(
            r#"-- token_revoke
            WITH found AS (
                SELECT org_id, token_id, revoked_at FROM api_tokens
                WHERE org_id = $1 AND token_id = $2 AND ($4::uuid IS NULL OR account_id = $4) FOR UPDATE
            ), revoked AS (
                UPDATE api_tokens SET revoked_at = $3 FROM found
                WHERE api_tokens.org_id = found.org_id AND api_tokens.token_id = found.token_id
                    AND found.revoked_at IS NULL
            )
            SELECT revoked_at IS NULL AS "revoked_now!" FROM found"#,
            org as OrgId,
            token as TokenId,
            self.sources.now(),
            only as Option<AccountId>,
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(during())?;
        if row.as_ref().is_some_and(|row| row.revoked_now) {
            let target = format!("token:{token}");
            audit::record(&mut tx, &self.sources, org, actor, "token.revoke", &target, json!({}))
                .await
                .map_err(during())?;
            let effect = Effect::TokenRevoked { org, token };
            outbox::insert(&mut tx, &self.sources, &[effect]).await.map_err(during())?;
        }
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Identities);
        Ok(row.is_some())
    }
}

pub(crate) mod uses;

#[cfg(test)]
mod tests {
    use domain::tenancy::Role;
    use domain::version::Expected;

    use super::*;
    use crate::NewMember;
    use crate::testing::World;

    #[tokio::test]
    async fn the_tokens_of_who_leaves_are_revoked_and_stay_so_when_they_come_back() {
        let world = World::new().await;
        let joins = async || {
            let new =
                NewMember { email: "ada@example.org".into(), display_name: "Ada".into(), role: Role::Member.into() };
            world.store.member_add(world.org, &new, "role:test").await.unwrap().unwrap().account_id
        };
        let ada = joins().await;
        let new = NewToken {
            account: ada,
            name: "laptop".into(),
            hash: [7; 32],
            prefix: "cow_aaaa".into(),
            last_four: "aaaa".into(),
            scopes: vec![Scope::Read],
            expires_at: None,
        };
        let token = world.store.token_create(world.org, &new, "role:test").await.unwrap().unwrap().token_id;
        assert!(world.store.token_identify(&[7; 32]).await.unwrap().is_some());

        world.store.member_remove(world.org, ada, &Expected::Anything, "role:test").await.unwrap();
        assert_eq!(joins().await, ada);
        assert_eq!(world.store.token_identify(&[7; 32]).await.unwrap(), None);
        let told = world.store.outbox_list(world.store.sources().now(), 100).await.unwrap();
        let told: Vec<Effect> = told.into_iter().map(|row| row.effect).collect();
        assert!(told.contains(&Effect::TokenRevoked { org: world.org, token }), "{told:?}");
    }
}
