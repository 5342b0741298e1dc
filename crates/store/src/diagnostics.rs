//! What an operator asks about the whole installation, over all orgs: counts, backlog, keys, the state of the schema.
//!
//! Not here: which processes are alive (`instance`), anything of one tenant.

use std::collections::BTreeMap;

use clock::Timestamp;

use crate::{Store, StoreError};

/// Work that waits, and work in hand. An age is `None` where there is nothing that could have one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backlog {
    pub commands_pending: i64,
    /// `None`: no command is pending.
    pub oldest_command_age_ms: Option<i64>,
    pub leases_held: i64,
    /// Leases that ran out, and whose sessions nobody has taken over.
    pub leases_lapsed: i64,
    /// Since the first of those ran out.
    pub oldest_lapsed_lease_age_ms: Option<i64>,
    pub deliveries_pending: i64,
    /// Since the first of those that are the oldest of their threads and held by nobody might have been sent. Not counted: what
    /// waits for its next attempt, and what waits behind another one.
    pub oldest_due_delivery_age_ms: Option<i64>,
    pub deliveries_dead: i64,
    /// They may have arrived, and wait for a person.
    pub deliveries_unknown: i64,
    /// Since the first of those became unknown, or was heard of last in the system that was lost.
    pub oldest_unknown_delivery_age_ms: Option<i64>,
    /// Effects that the recovery ledger does not know yet.
    pub effects_untold: i64,
    /// Since the first of those happened.
    pub oldest_untold_effect_age_ms: Option<i64>,
    /// Triggers of active workflows whose slot has come and that nobody has claimed.
    pub triggers_due: i64,
    /// Since the slot of the first of those has come: how far schedulers are behind.
    pub oldest_due_trigger_age_ms: Option<i64>,
}

/// How much is sealed under one version of the KMS key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyVersion {
    pub version: String,
    pub ciphertexts: i64,
}

impl Store {
    /// Rows of every table. Reads all of them: for a person who asks, not for a loop.
    pub async fn diagnostics_counts(&self) -> Result<BTreeMap<String, i64>, StoreError> {
        let rows = sqlx::query_file!("src/diagnostics/counts.sql")
            .fetch_all(self.everywhere())
            .await
            .map_err(StoreError::during("diagnostics_counts"))?;
        Ok(rows.into_iter().map(|row| (row.table_name, row.rows)).collect())
    }

    /// Work that waits, and how long. For whoever asks again and again: what is over is not read.
    pub async fn diagnostics_backlog(&self) -> Result<Backlog, StoreError> {
        let now = self.sources.now();
        let row = sqlx::query_file!("src/diagnostics/backlog.sql", now)
            .fetch_one(self.everywhere())
            .await
            .map_err(StoreError::during("diagnostics_backlog"))?;
        let age_ms = |since: Option<Timestamp>| since.map(|since| (now - since).num_milliseconds().max(0));
        Ok(Backlog {
            commands_pending: row.commands_pending,
            oldest_command_age_ms: age_ms(row.oldest_command_at),
            leases_held: row.leases_held,
            leases_lapsed: row.leases_lapsed,
            oldest_lapsed_lease_age_ms: age_ms(row.lease_lapsed_at),
            deliveries_pending: row.deliveries_pending,
            oldest_due_delivery_age_ms: age_ms(row.delivery_due_at),
            deliveries_dead: row.deliveries_dead,
            deliveries_unknown: row.deliveries_unknown,
            oldest_unknown_delivery_age_ms: age_ms(row.delivery_unknown_since),
            effects_untold: row.effects_untold,
            oldest_untold_effect_age_ms: age_ms(row.effect_untold_since),
            triggers_due: row.triggers_due,
            oldest_due_trigger_age_ms: age_ms(row.trigger_due_at),
        })
    }

    /// What time it is for the database.
    pub async fn diagnostics_clock(&self) -> Result<Timestamp, StoreError> {
        sqlx::query_scalar!(
            r#"-- diagnostics_clock
            SELECT clock_timestamp() AS "now!""#
        )
        .fetch_one(self.everywhere())
        .await
        .map_err(StoreError::during("diagnostics_clock"))
    }

    pub async fn diagnostics_sessions(&self) -> Result<i64, StoreError> {
        sqlx::query_scalar!(
            r#"-- diagnostics_sessions
            SELECT count(*) AS "sessions!" FROM sessions"#
        )
        .fetch_one(self.everywhere())
        .await
        .map_err(StoreError::during("diagnostics_sessions"))
    }

    /// What is sealed, by the version of the KMS key that wraps it.
    pub async fn diagnostics_key_versions(&self) -> Result<Vec<KeyVersion>, StoreError> {
        sqlx::query_as!(
            KeyVersion,
            r#"-- diagnostics_key_versions
            SELECT key_version AS "version!", count(*) AS "ciphertexts!" FROM (
                SELECT key_version FROM byok_keys WHERE revoked_at IS NULL
                UNION ALL SELECT key_version FROM org_keys
                UNION ALL SELECT key_version FROM idempotency_keys WHERE state = 'answered'
            ) AS sealed GROUP BY key_version ORDER BY key_version"#
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("diagnostics_key_versions"))
    }

    /// The newest migration that the database has. `None`: none, it is not ours or was never initialised.
    ///
    /// Not a checked statement: the table belongs to the migrator and is absent where statements are checked.
    pub async fn diagnostics_schema_version(&self) -> Result<Option<i64>, StoreError> {
        let during = || StoreError::during("diagnostics_schema_version");
        let exists: bool = sqlx::query_scalar(
            "-- diagnostics_schema_exists
            SELECT to_regclass('_sqlx_migrations') IS NOT NULL",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(during())?;
        if !exists {
            return Ok(None);
        }
        sqlx::query_scalar(
            "-- diagnostics_schema_version
            SELECT max(version) FROM _sqlx_migrations WHERE success",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(during())
    }
}

#[cfg(test)]
mod tests;
