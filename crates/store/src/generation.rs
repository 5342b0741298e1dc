//! The generation: which life of the system this is.
//!
//! Not here: what a new generation makes void. Each statement that compares a token does that itself.

use chrono::DateTime;
use clock::{Sources, Timestamp};
use ids::{BackupId, SystemId};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use uuid::Uuid;

use crate::{Store, StoreError};

const UNMARK: &str = "-- generation_unmark
    DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I RESET cowork.generation_pending', current_database());
        EXECUTE format('ALTER DATABASE %I RESET cowork.restored_as_of', current_database());
        EXECUTE format('ALTER DATABASE %I RESET cowork.restore_id', current_database());
    END $$";

/// Settings of this database, as a session that begins now would find them.
const SETTINGS: &str = "-- generation_settings
    SELECT unnest(setconfig) FROM pg_db_role_setting
    WHERE setrole = 0 AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// One life of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// From 1; one more for each restore.
    pub generation: i64,
    pub system_id: SystemId,
    pub environment: Environment,
    pub started_at: Timestamp,
}

/// Whether the outside world may be touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Environment {
    Production,
    /// A copy: its gateway may reach nobody but the recorder that the drill names.
    Drill,
}

impl Environment {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Drill => "drill",
        }
    }
}

/// What a restored database says of itself until its generation is begun.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreMark {
    /// The instant of the backup's snapshot. `None`: the rows came in another way than by `cowork restore`.
    pub as_of: Option<Timestamp>,
    /// Names this restore, and no other of the same backup. `None`: nobody has asked for the name yet.
    pub restore: Option<Uuid>,
}

pub(crate) async fn current(connection: &mut PgConnection) -> Result<Option<Generation>, sqlx::Error> {
    sqlx::query_as!(
        Generation,
        r#"-- generation_current
        SELECT generation, system_id AS "system_id: SystemId", environment AS "environment: Environment", started_at
        FROM generations ORDER BY generation DESC LIMIT 1"#
    )
    .fetch_optional(connection)
    .await
}

/// Writes the row of a generation that a restore begins, and takes the mark of the restored database away.
pub(crate) async fn begin(
    tx: &mut PgConnection,
    sources: &Sources,
    generation: i64,
    backup: BackupId,
    environment: Environment,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- generation_begin
        INSERT INTO generations (generation, system_id, environment, reason, backup_id, started_at)
        SELECT $4, system_id, $1, 'restored', $2, $3
        FROM generations ORDER BY generation DESC LIMIT 1",
        environment.as_str(),
        backup as BackupId,
        sources.now(),
        generation,
    )
    .execute(&mut *tx)
    .await?;
    // What gateways of the lost life had claimed is due now.
    sqlx::query!(
        "-- generation_due_threads
        WITH heads AS (
            SELECT DISTINCT ON (org_id, binding_id) org_id, binding_id, next_attempt_at FROM deliveries
            WHERE state = 'pending' ORDER BY org_id, binding_id, sequence
        )
        INSERT INTO due_threads (org_id, binding_id, due_at) SELECT org_id, binding_id, next_attempt_at FROM heads
        ON CONFLICT (org_id, binding_id) DO UPDATE SET due_at = excluded.due_at"
    )
    .execute(&mut *tx)
    .await?;
    // `cowork restore` marks the database, so that it is not served without this step.
    tx.execute(UNMARK).await?;
    Ok(())
}

impl Store {
    /// The current generation, or `None` if the system was never initialised.
    pub async fn generation_current(&self) -> Result<Option<Generation>, StoreError> {
        let during = || StoreError::during("generation_current");
        let mut connection = self.pool.acquire().await.map_err(during())?;
        current(&mut connection).await.map_err(during())
    }

    /// The backup that this database was restored from, if no generation has been begun since: no role may serve it.
    pub async fn generation_pending(&self) -> Result<Option<String>, StoreError> {
        let sql = "-- generation_pending\nSELECT current_setting('cowork.generation_pending', true)";
        let pending: Option<String> =
            sqlx::query_scalar(sql).fetch_one(&self.pool).await.map_err(StoreError::during("generation_pending"))?;
        Ok(pending.filter(|backup| !backup.is_empty()))
    }

    /// Begins the first generation. Gives back the one that is current afterwards, whoever began it.
    pub async fn generation_initialise(&self, environment: Environment) -> Result<Generation, StoreError> {
        sqlx::query!(
            "-- generation_initialise
            INSERT INTO generations (generation, system_id, environment, reason, started_at)
            VALUES (1, $1, $2, 'initialised', $3) ON CONFLICT DO NOTHING",
            self.sources.id::<SystemId>() as SystemId,
            environment.as_str(),
            self.sources.now(),
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::during("generation_initialise"))?;
        // A restore that failed may have left its mark on a database that then becomes a system of its own.
        self.pool.execute(UNMARK).await.map_err(StoreError::during("generation_unmark"))?;
        Ok(self.generation_current().await?.expect("a generation was just inserted"))
    }

    /// Begins the next generation of a system that was just restored from `backup`, and voids every lease and claim of the
    /// one before. Remembers nothing of what the lost system did: see [`Store::replay`].
    pub async fn generation_start(&self, backup: BackupId, environment: Environment) -> Result<Generation, StoreError> {
        let during = || StoreError::during("generation_start");
        let next = self.generation_current().await?.map_or(1, |current| current.generation + 1);
        let mut tx = self.pool.begin().await.map_err(during())?;
        begin(&mut tx, &self.sources, next, backup, environment).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(self.generation_current().await?.expect("a generation was just inserted"))
    }

    pub async fn restore_mark(&self) -> Result<RestoreMark, StoreError> {
        let settings: Vec<String> =
            sqlx::query_scalar(SETTINGS).fetch_all(&self.pool).await.map_err(StoreError::during("restore_mark"))?;
        let value = |name: &str| settings.iter().find_map(|setting| setting.strip_prefix(name)?.strip_prefix('='));
        let as_of = value("cowork.restored_as_of").map(DateTime::parse_from_rfc3339).transpose();
        let restore = value("cowork.restore_id").map(str::parse).transpose();
        Ok(RestoreMark {
            as_of: as_of.map_err(StoreError::unreadable("pg_db_role_setting", "setconfig", "as_of"))?.map(Into::into),
            restore: restore.map_err(StoreError::unreadable("pg_db_role_setting", "setconfig", "restore_id"))?,
        })
    }

    /// The name of this restore: the same however often it is asked for until the generation begins.
    pub async fn restore_name(&self) -> Result<Uuid, StoreError> {
        if let Some(restore) = self.restore_mark().await?.restore {
            return Ok(restore);
        }
        let restore: Uuid = self.sources.id::<BackupId>().into();
        let sql = format!(
            "-- restore_name\nDO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET cowork.restore_id = %L', \
             current_database(), '{restore}'); END $$"
        );
        self.pool.execute(AssertSqlSafe(sql)).await.map_err(StoreError::during("restore_name"))?;
        Ok(restore)
    }

    /// What the restore that began a generation remembered. `None`: no restore began it, or one of a release that kept no
    /// report.
    pub async fn restore_report(&self, generation: i64) -> Result<Option<serde_json::Value>, StoreError> {
        sqlx::query_scalar!(
            "-- restore_report
            SELECT report FROM restore_reports WHERE generation = $1",
            generation,
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::during("restore_report"))
    }
}
