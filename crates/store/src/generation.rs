//! The generation: which life of the system this is.
//!
//! Not here: what a new generation makes void. Each statement that compares a token does that itself.

use clock::Timestamp;
use ids::{BackupId, SystemId};
use sqlx::Executor as _;

use crate::{Store, StoreError};

const UNMARK: &str = "-- generation_unmark
    DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET cowork.generation_pending', current_database()); END $$";

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

impl Store {
    /// The current generation, or `None` if the system was never initialised.
    pub async fn generation_current(&self) -> Result<Option<Generation>, StoreError> {
        sqlx::query_as!(
            Generation,
            r#"-- generation_current
            SELECT generation, system_id AS "system_id: SystemId", environment AS "environment: Environment", started_at
            FROM generations ORDER BY generation DESC LIMIT 1"#
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::during("generation_current"))
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

    /// Begins the generation of a system that was just restored from `backup`, and voids every lease and claim of
    /// the one before.
    pub async fn generation_start(&self, backup: BackupId, environment: Environment) -> Result<Generation, StoreError> {
        let during = || StoreError::during("generation_start");
        let mut tx = self.pool.begin().await.map_err(during())?;
        sqlx::query!(
            "-- generation_start
            INSERT INTO generations (generation, system_id, environment, reason, backup_id, started_at)
            SELECT generation + 1, system_id, $1, 'restored', $2, $3
            FROM generations ORDER BY generation DESC LIMIT 1",
            environment.as_str(),
            backup as BackupId,
            self.sources.now(),
        )
        .execute(&mut *tx)
        .await
        .map_err(during())?;
        // `cowork restore` marks the database, so that it is not served without this step.
        tx.execute(UNMARK).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(self.generation_current().await?.expect("a generation was just inserted"))
    }
}
