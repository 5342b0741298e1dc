//! Keys that users bring: what people may see of them, and the sealed key itself.
//!
//! A rotation puts another secret under the same id, and the one before is gone from the row. Backups from before have it; so
//! the recovery ledger is told, and a restore takes such a row out of force (decision 0084).
//!
//! Not here: sealing and opening (`secrets`), asking a provider (`providers`). This file never holds a key in clear.

use clock::Timestamp;
use domain::byok::Validation;
use domain::version::{Expected, RowVersion};
use ids::{ByokKeyId, OrgId, SessionId};
use serde_json::json;
use sqlx::PgConnection;

use crate::outbox::{self, Effect};
use crate::{ChangeError, Store, StoreError, audit};

/// What people may see of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByokKey {
    pub byok_key_id: ByokKeyId,
    pub provider: String,
    pub label: String,
    pub last_four: String,
    /// Version of the KMS key that wraps it.
    pub key_version: String,
    pub created_at: Timestamp,
    /// `None`: in force.
    pub revoked_at: Option<Timestamp>,
    /// Which of the secrets that were brought under this id it has, from 1.
    pub secret_number: i32,
    /// `None`: it has its first.
    pub rotated_at: Option<Timestamp>,
    /// What the provider said of this secret when it was asked last, and when. `None`: it was not asked.
    pub validation: Option<(Validation, Timestamp)>,
    pub version: RowVersion,
}

/// A sealed key to be written down. Its id is part of what the seal is bound to, so the caller makes it.
#[derive(Debug, Clone)]
pub struct NewByokKey {
    pub byok_key_id: ByokKeyId,
    pub provider: String,
    pub label: String,
    pub secret: NewByokSecret,
}

/// A key's secret, sealed for its row.
#[derive(Debug, Clone)]
pub struct NewByokSecret {
    pub last_four: String,
    pub ciphertext: Vec<u8>,
    pub wrapped_key: Vec<u8>,
    pub key_version: String,
}

/// A key as it is stored, to be opened.
#[derive(Debug, Clone)]
pub struct SealedByokKey {
    pub org_id: OrgId,
    pub byok_key_id: ByokKeyId,
    pub ciphertext: Vec<u8>,
    pub wrapped_key: Vec<u8>,
    pub key_version: String,
}

/// Why a key stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum ByokError {
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error("the key is revoked")]
    Revoked,
    /// Somebody gave it another secret, or revoked it, while its provider was asked.
    #[error("the key is another one by now")]
    Overtaken,
}

impl From<StoreError> for ByokError {
    fn from(error: StoreError) -> Self {
        Self::Change(error.into())
    }
}

struct Row {
    byok_key_id: ByokKeyId,
    provider: String,
    label: String,
    last_four: String,
    key_version: String,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
    secret_number: i32,
    rotated_at: Option<Timestamp>,
    validation: Option<String>,
    validated_at: Option<Timestamp>,
    version: i64,
}

impl TryFrom<Row> for ByokKey {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let Row { byok_key_id, provider, label, last_four, key_version, created_at, revoked_at, .. } = row;
        let validation = row.validation.map(|text| text.parse()).transpose();
        let validation = validation.map_err(StoreError::unreadable("byok_keys", "validation", byok_key_id))?;
        Ok(Self {
            byok_key_id,
            provider,
            label,
            last_four,
            key_version,
            created_at,
            revoked_at,
            secret_number: row.secret_number,
            rotated_at: row.rotated_at,
            validation: validation.zip(row.validated_at),
            version: RowVersion { since: created_at, version: row.version },
        })
    }
}

/// What a key's seal is bound to: an envelope that was moved to another row does not open.
#[must_use]
pub fn byok_aad(org: OrgId, key: ByokKeyId) -> Vec<u8> {
    format!("byok_keys/{org}/{key}").into_bytes()
}

impl Store {
    pub async fn byok_create(&self, org: OrgId, new: &NewByokKey, actor: &str) -> Result<ByokKey, StoreError> {
        let during = || StoreError::during("byok_create");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let row = sqlx::query_as!(
            Row,
            r#"-- byok_create
            INSERT INTO byok_keys (org_id, byok_key_id, provider, label, last_four, ciphertext, wrapped_key, key_version,
                created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            RETURNING byok_key_id AS "byok_key_id: ByokKeyId", provider, label, last_four, key_version, created_at,
                revoked_at, secret_number, rotated_at, validation, validated_at, version"#,
            org as OrgId,
            new.byok_key_id as ByokKeyId,
            new.provider,
            new.label,
            new.secret.last_four,
            new.secret.ciphertext,
            new.secret.wrapped_key,
            new.secret.key_version,
            self.sources.now(),
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(during())?;
        let key = ByokKey::try_from(row)?;
        let (target, detail) = (format!("byok_key:{}", key.byok_key_id), json!({ "provider": key.provider }));
        audit::record(&mut tx, &self.sources, org, actor, "byok_key.create", &target, detail).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(key)
    }

    pub async fn byok_list(
        &self,
        org: OrgId,
        after: Option<ByokKeyId>,
        limit: i64,
    ) -> Result<Vec<ByokKey>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"-- byok_list
            SELECT byok_key_id AS "byok_key_id: ByokKeyId", provider, label, last_four, key_version, created_at,
                revoked_at, secret_number, rotated_at, validation, validated_at, version
            FROM byok_keys
            WHERE org_id = $1 AND ($2::uuid IS NULL OR byok_key_id > $2) ORDER BY byok_key_id LIMIT $3"#,
            org as OrgId,
            after as Option<ByokKeyId>,
            limit,
        )
        .fetch_all(self.of(org))
        .await
        .map_err(StoreError::during("byok_list"))?;
        rows.into_iter().map(ByokKey::try_from).collect()
    }

    /// `None`: the org has no such key.
    pub async fn byok_get(&self, org: OrgId, key: ByokKeyId) -> Result<Option<ByokKey>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"-- byok_get
            SELECT byok_key_id AS "byok_key_id: ByokKeyId", provider, label, last_four, key_version, created_at,
                revoked_at, secret_number, rotated_at, validation, validated_at, version
            FROM byok_keys WHERE org_id = $1 AND byok_key_id = $2"#,
            org as OrgId,
            key as ByokKeyId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("byok_get"))?;
        row.map(ByokKey::try_from).transpose()
    }

    /// A key in force as it is stored, with what people may see of it. `None`: the org has no such key, or it is revoked.
    async fn byok_sealed_get(&self, org: OrgId, key: ByokKeyId) -> Result<Option<(SealedByokKey, i32)>, StoreError> {
        let row = sqlx::query!(
            r#"-- byok_sealed_get
            SELECT ciphertext, wrapped_key, key_version, secret_number FROM byok_keys
            WHERE org_id = $1 AND byok_key_id = $2 AND revoked_at IS NULL"#,
            org as OrgId,
            key as ByokKeyId,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("byok_sealed_get"))?;
        Ok(row.map(|row| {
            let sealed = SealedByokKey {
                org_id: org,
                byok_key_id: key,
                ciphertext: row.ciphertext,
                wrapped_key: row.wrapped_key,
                key_version: row.key_version,
            };
            (sealed, row.secret_number)
        }))
    }

    /// The key that an org's agents use with `provider`, written in small letters: the newest that is in force, with the number of its
    /// secret. `None`: it has none.
    pub async fn byok_in_force(&self, org: OrgId, provider: &str) -> Result<Option<(ByokKeyId, i32)>, StoreError> {
        let row = sqlx::query!(
            r#"-- byok_in_force
            SELECT byok_key_id AS "byok_key_id: ByokKeyId", secret_number FROM byok_keys
            WHERE org_id = $1 AND lower(btrim(provider)) = $2 AND revoked_at IS NULL
            ORDER BY byok_key_id DESC LIMIT 1"#,
            org as OrgId,
            provider,
        )
        .fetch_optional(self.of(org))
        .await
        .map_err(StoreError::during("byok_in_force"))?;
        Ok(row.map(|row| (row.byok_key_id, row.secret_number)))
    }

    /// A key in force as it is stored, for the agent of a session, or to ask its provider whether it takes it (no session). That it was
    /// given out is audited, whatever comes of it. `None`: the org has no such key by now.
    pub async fn byok_reveal(
        &self,
        org: OrgId,
        key: ByokKeyId,
        session: Option<SessionId>,
        actor: &str,
    ) -> Result<Option<(SealedByokKey, i32)>, StoreError> {
        let Some((sealed, number)) = self.byok_sealed_get(org, key).await? else { return Ok(None) };
        let during = || StoreError::during("byok_reveal");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let (target, detail) = (format!("byok_key:{key}"), json!({ "session_id": session, "secret_number": number }));
        audit::record(&mut tx, &self.sources, org, actor, "byok_key.reveal", &target, detail).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(Some((sealed, number)))
    }

    /// Puts another secret in the place of a key's, if the key is in the state that the rotation was made for. The one before is
    /// gone from here, and the ledger is told that it is not to come back.
    pub async fn byok_rotate(
        &self,
        org: OrgId,
        key: ByokKeyId,
        new: &NewByokSecret,
        expected: &Expected,
        actor: &str,
    ) -> Result<ByokKey, ByokError> {
        let during = || StoreError::during("byok_rotate");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let row = lock(&mut tx, org, key).await.map_err(during())?.ok_or(ChangeError::NoSuch("key"))?;
        let found = ByokKey::try_from(row)?;
        if !expected.met_by(Some(found.version)) {
            return Err(ChangeError::Stale("key").into());
        }
        if found.revoked_at.is_some() {
            return Err(ByokError::Revoked);
        }
        let rotated = rotated(found, new, self.sources.now());
        write(&mut tx, org, &rotated, new).await.map_err(during())?;
        let number = rotated.secret_number;
        let (target, detail) = (format!("byok_key:{key}"), json!({ "secret_number": number }));
        audit::record(&mut tx, &self.sources, org, actor, "byok_key.rotate", &target, detail).await.map_err(during())?;
        let effect = Effect::ByokKeyRotated { org, key, number };
        outbox::insert(&mut tx, &self.sources, &[effect]).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(rotated)
    }

    /// Writes down what the provider said of the secret `number` of a key.
    pub async fn byok_validated(
        &self,
        org: OrgId,
        key: ByokKeyId,
        number: i32,
        validation: Validation,
        actor: &str,
    ) -> Result<ByokKey, ByokError> {
        let during = || StoreError::during("byok_validated");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let row = sqlx::query_as!(
            Row,
            r#"-- byok_validated
            UPDATE byok_keys SET validation = $4, validated_at = $5, version = version + 1
            WHERE org_id = $1 AND byok_key_id = $2 AND secret_number = $3 AND revoked_at IS NULL
            RETURNING byok_key_id AS "byok_key_id: ByokKeyId", provider, label, last_four, key_version, created_at,
                revoked_at, secret_number, rotated_at, validation, validated_at, version"#,
            org as OrgId,
            key as ByokKeyId,
            number,
            validation.as_str(),
            self.sources.now(),
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(during())?
        .ok_or(ByokError::Overtaken)?;
        let (target, detail) = (format!("byok_key:{key}"), json!({ "validation": validation }));
        audit::record(&mut tx, &self.sources, org, actor, "byok_key.validate", &target, detail)
            .await
            .map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(row.try_into()?)
    }

    /// Takes a key out of force and forgets it: only what people may see of it stays. `false`: there is no such key.
    pub async fn byok_revoke(&self, org: OrgId, key: ByokKeyId, actor: &str) -> Result<bool, StoreError> {
        let during = || StoreError::during("byok_revoke");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let row = sqlx::query!(
            r#"-- byok_revoke
            WITH found AS (
                SELECT org_id, byok_key_id, revoked_at FROM byok_keys
                WHERE org_id = $1 AND byok_key_id = $2 FOR UPDATE
            ), revoked AS (
                UPDATE byok_keys SET revoked_at = $3, ciphertext = '', wrapped_key = '', version = version + 1 FROM found
                WHERE byok_keys.org_id = found.org_id AND byok_keys.byok_key_id = found.byok_key_id
                    AND found.revoked_at IS NULL
            )
            SELECT revoked_at IS NULL AS "revoked_now!" FROM found"#,
            org as OrgId,
            key as ByokKeyId,
            self.sources.now(),
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(during())?;
        if row.as_ref().is_some_and(|row| row.revoked_now) {
            let target = format!("byok_key:{key}");
            audit::record(&mut tx, &self.sources, org, actor, "byok_key.revoke", &target, json!({}))
                .await
                .map_err(during())?;
            let effect = Effect::KeyRevoked { org, key };
            outbox::insert(&mut tx, &self.sources, &[effect]).await.map_err(during())?;
        }
        tx.commit().await.map_err(during())?;
        Ok(row.is_some())
    }

    /// The keys in force of all orgs, as they are stored, to see whether each opens.
    pub async fn byok_sealed_list(
        &self,
        after: Option<ByokKeyId>,
        limit: i64,
    ) -> Result<Vec<SealedByokKey>, StoreError> {
        sqlx::query_as!(
            SealedByokKey,
            r#"-- byok_sealed_list
            SELECT org_id AS "org_id: OrgId", byok_key_id AS "byok_key_id: ByokKeyId", ciphertext, wrapped_key, key_version
            FROM byok_keys
            WHERE revoked_at IS NULL AND ($1::uuid IS NULL OR byok_key_id > $1) ORDER BY byok_key_id LIMIT $2"#,
            after as Option<ByokKeyId>,
            limit,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("byok_sealed_list"))
    }
}

async fn lock(connection: &mut PgConnection, org: OrgId, key: ByokKeyId) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"-- byok_lock
        SELECT byok_key_id AS "byok_key_id: ByokKeyId", provider, label, last_four, key_version, created_at,
            revoked_at, secret_number, rotated_at, validation, validated_at, version
        FROM byok_keys WHERE org_id = $1 AND byok_key_id = $2 FOR NO KEY UPDATE"#,
        org as OrgId,
        key as ByokKeyId,
    )
    .fetch_optional(connection)
    .await
}

/// What the provider said was of the secret before.
fn rotated(found: ByokKey, new: &NewByokSecret, now: Timestamp) -> ByokKey {
    ByokKey {
        last_four: new.last_four.clone(),
        key_version: new.key_version.clone(),
        secret_number: found.secret_number + 1,
        rotated_at: Some(now),
        validation: None,
        version: RowVersion { version: found.version.version + 1, ..found.version },
        ..found
    }
}

async fn write(
    connection: &mut PgConnection,
    org: OrgId,
    rotated: &ByokKey,
    new: &NewByokSecret,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- byok_rotate
        UPDATE byok_keys SET last_four = $3, ciphertext = $4, wrapped_key = $5, key_version = $6, secret_number = $7,
            rotated_at = $8, validation = NULL, validated_at = NULL, version = $9
        WHERE org_id = $1 AND byok_key_id = $2",
        org as OrgId,
        rotated.byok_key_id as ByokKeyId,
        new.last_four,
        new.ciphertext,
        new.wrapped_key,
        new.key_version,
        rotated.secret_number,
        rotated.rotated_at,
        rotated.version.version,
    )
    .execute(connection)
    .await?;
    Ok(())
}
