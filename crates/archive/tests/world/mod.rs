//! A source to back up, an archive, and targets to restore into.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::manifest::{Group, NotCompared};
use archive::{
    Archive, Backup, BackupDone, BackupError, BackupRequest, BackupSpec, ProbeSpec, Quiet, RestoreDone, RestoreError,
    RestoreRequest, TableFilter, Tools, backup, restore,
};
use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, PgConnection};
use store::{BACKUP_SPEC, Environment, Store};
use tempfile::TempDir;
use testkit::TestDatabase;

pub(crate) const ORG: &str = "0192a000-0000-7000-8000-0000000000a1";

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) folder: TempDir,
}

impl World {
    /// A system that was just initialised.
    pub(crate) async fn empty() -> Self {
        let world = Self::migrated().await;
        world.store().generation_initialise(Environment::Production).await.unwrap();
        world
    }

    /// A system with rows of every kind and `blobs` objects.
    pub(crate) async fn filled(blobs: usize) -> Self {
        let world = Self::migrated().await;
        world.run(include_str!("fill.sql")).await;
        for number in 0..blobs {
            world.add_blob(&format!("artifacts/s/{number}"), format!("content {}", number / 2).as_bytes()).await;
        }
        world
    }

    async fn migrated() -> Self {
        let world = Self { database: TestDatabase::create().await, folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(world.objects()).unwrap();
        world.store().migrate().await.unwrap();
        world
    }

    pub(crate) fn store(&self) -> Store {
        Store::from_pool(self.database.pool(), testkit::system_sources())
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.folder.path().join("objects")
    }

    pub(crate) fn archive_folder(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    pub(crate) fn archive(&self) -> Archive {
        Archive::open(&self.archive_folder()).unwrap()
    }

    pub(crate) async fn run(&self, sql: &'static str) {
        let mut connection = PgConnection::connect(&self.database.url()).await.unwrap();
        connection.execute(sql).await.unwrap();
    }

    /// Stores an object, then names it in a row.
    pub(crate) async fn add_blob(&self, name: &str, content: &[u8]) {
        let key = format!("orgs/{ORG}/g1/{name}");
        let path = self.objects().join(&key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        sqlx::query("INSERT INTO blobs VALUES ($1::uuid, $2, $3, $4, '2026-01-01')")
            .bind(ORG)
            .bind(key)
            .bind(i64::try_from(content.len()).unwrap())
            .bind(Sha256::digest(content).to_vec())
            .execute(&self.database.pool())
            .await
            .unwrap();
    }

    pub(crate) fn request(&self) -> BackupRequest {
        BackupRequest {
            database_url: self.database.url(),
            objects: self.objects(),
            archive: self.archive_folder(),
            spec: spec(),
            tools: tools(),
            secrets: Vec::new(),
            build: "test".to_owned(),
            sources: testkit::system_sources(),
        }
    }

    pub(crate) async fn back_up(&self) -> Result<BackupDone, BackupError> {
        backup(self.request(), Arc::new(Quiet)).await
    }

    /// Backs up, and reads the backup back.
    pub(crate) async fn backed_up(&self) -> Backup {
        let done = self.back_up().await.unwrap();
        let read = self.archive().read(done.manifest.backup_id).unwrap();
        assert_eq!(read.manifest, done.manifest);
        read
    }
}

/// An empty database and a folder that is not there yet.
pub(crate) struct Target {
    pub(crate) database: TestDatabase,
    pub(crate) folder: TempDir,
}

impl Target {
    pub(crate) async fn fresh() -> Self {
        Self { database: TestDatabase::create().await, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.folder.path().join("objects")
    }

    pub(crate) async fn restore(&self, backup: &Backup) -> Result<RestoreDone, RestoreError> {
        restore(self.request(backup), Arc::new(Quiet)).await
    }

    pub(crate) fn request(&self, backup: &Backup) -> RestoreRequest {
        RestoreRequest {
            backup: backup.clone(),
            database_url: self.database.url(),
            objects: self.objects(),
            tools: tools(),
        }
    }

    /// That nothing was written to it.
    pub(crate) async fn assert_untouched(&self) {
        let relations: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
                .fetch_one(&self.database.pool())
                .await
                .unwrap();
        assert_eq!(relations, 0, "relations in the target");
        assert_eq!(files(self.folder.path()), Vec::<PathBuf>::new());
        assert!(!self.objects().exists());
    }
}

pub(crate) fn tools() -> Tools {
    let path = std::process::Command::new("pg_config").arg("--bindir").output();
    let folder = path.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    match folder.trim() {
        "" => Tools { pg_dump: "pg_dump".into(), pg_restore: "pg_restore".into() },
        folder => Tools::in_folder(Path::new(folder)),
    }
}

/// What the binary makes of the store's.
pub(crate) fn spec() -> BackupSpec {
    let from = BACKUP_SPEC;
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    BackupSpec {
        system: from.system.to_owned(),
        schema_version: Store::schema_version(),
        blobs: from.blobs.to_owned(),
        key_versions: from.key_versions.to_owned(),
        watermarks: from.watermarks.to_owned(),
        probes: from
            .probes
            .iter()
            .map(|probe| ProbeSpec {
                name: probe.name.into(),
                sql: probe.sql.into(),
                recorded: probe.recorded,
                columns_of: None,
            })
            .collect(),
        groups: from
            .groups
            .iter()
            .map(|group| Group { name: group.name.to_owned(), tables: owned(group.tables) })
            .collect(),
        filters: from
            .filters
            .iter()
            .map(|filter| TableFilter {
                table: filter.table.into(),
                condition: filter.condition.into(),
                reason: filter.reason.into(),
            })
            .collect(),
        not_compared: from
            .not_compared
            .iter()
            .map(|(name, reason)| NotCompared {
                schema: "public".to_owned(),
                name: (*name).to_owned(),
                reason: (*reason).to_owned(),
            })
            .collect(),
    }
}

/// Every file below `folder`, relative to it, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    let mut paths: Vec<PathBuf> = files.map(|entry| entry.path().strip_prefix(folder).unwrap().to_owned()).collect();
    paths.sort();
    paths
}

/// An error with everything that it was caused by, as a user would see it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
