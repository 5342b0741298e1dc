//! The backup that a plan drills: which kind, where it is, how far it is to be recovered.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clock::Timestamp;
use serde::{Deserialize, Deserializer, de};

use super::error::PlanError;
use super::words::{Name, Reference};

/// One kind of backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An archive of `cowork backup`: rows, objects and a manifest of what must be there.
    Archive(ArchiveSource),
    /// `pg_dump`'s file or folder, with a copy of the bucket.
    Dump(DumpSource),
    /// A `pg_basebackup` folder, with archived WAL.
    BaseBackup(BaseBackupSource),
    /// A repository of pgBackRest.
    PgBackRest(PgBackRestSource),
    /// A database that somebody restored already: a provider, another tool.
    Provided(ProvidedSource),
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveSource {
    pub folder: PathBuf,
    /// An id, or `latest`.
    #[serde(default = "latest")]
    pub backup: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DumpSource {
    /// A custom-format file, a directory-format folder, or plain SQL.
    pub path: PathBuf,
    /// The copied bucket.
    pub objects: PathBuf,
    /// If the dump does not say it itself.
    pub taken_at: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseBackupSource {
    /// What `pg_basebackup --pgdata` wrote, in plain format.
    pub folder: PathBuf,
    /// Where `archive_command` puts WAL.
    pub wal: PathBuf,
    pub objects: PathBuf,
    #[serde(default)]
    pub until: Until,
    #[serde(default = "cowork")]
    pub database: Name,
    /// A superuser of the source.
    #[serde(default = "postgres")]
    pub user: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PgBackRestSource {
    pub stanza: Name,
    /// pgBackRest's own configuration.
    pub config: PathBuf,
    pub objects: PathBuf,
    /// A backup's label; else pgBackRest chooses.
    pub set: Option<Name>,
    #[serde(default)]
    pub until: Until,
    #[serde(default = "cowork")]
    pub database: Name,
    #[serde(default = "postgres")]
    pub user: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvidedSource {
    /// The restored database's URL.
    pub url: Reference,
    /// What `cowork.drill_target` of that database is set to: whoever made it says with it that it may be written to.
    pub mark: Name,
    pub objects: PathBuf,
    pub taken_at: Instant,
}

/// How far a physical backup is recovered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Until {
    /// To the end of the archived WAL.
    #[default]
    Latest,
    /// To what had been committed at an instant.
    At(Timestamp),
}

/// An instant with its offset, as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant(pub Timestamp);

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        instant(&text).map(Self).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "latest" {
            return Ok(Self::Latest);
        }
        instant(&text).map(Self::At).map_err(de::Error::custom)
    }
}

fn instant(text: &str) -> Result<Timestamp, &'static str> {
    let parsed = DateTime::parse_from_rfc3339(text).map(|at| at.with_timezone(&Utc));
    parsed.map_err(|_| "an instant is written with its offset: \"2026-11-23T09:00:00Z\"")
}

fn latest() -> String {
    "latest".to_owned()
}

fn cowork() -> Name {
    Name::known("cowork")
}

fn postgres() -> Name {
    Name::known("postgres")
}

/// As it stands in the file: one table per kind, of which one must be there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sources {
    archive: Option<ArchiveSource>,
    dump: Option<DumpSource>,
    base_backup: Option<BaseBackupSource>,
    pgbackrest: Option<PgBackRestSource>,
    provided: Option<ProvidedSource>,
}

impl Sources {
    pub(super) fn one(self) -> Result<Source, PlanError> {
        let given = [
            self.archive.map(Source::Archive),
            self.dump.map(Source::Dump),
            self.base_backup.map(Source::BaseBackup),
            self.pgbackrest.map(Source::PgBackRest),
            self.provided.map(Source::Provided),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(one), None) => Ok(one),
            _ => Err(PlanError::new(
                "[source] has one table: archive, dump, base_backup, pgbackrest or provided",
                "write a plan for each backup that is to be drilled",
            )),
        }
    }
}

impl Source {
    /// The word for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Archive(_) => "archive",
            Self::Dump(_) => "pg_dump",
            Self::BaseBackup(_) => "pg_basebackup with WAL",
            Self::PgBackRest(_) => "pgBackRest",
            Self::Provided(_) => "a database restored by others",
        }
    }

    /// The instant to which it is recovered, if the plan names one.
    #[must_use]
    pub fn target_time(&self) -> Option<Timestamp> {
        match self {
            Self::BaseBackup(BaseBackupSource { until: Until::At(at), .. })
            | Self::PgBackRest(PgBackRestSource { until: Until::At(at), .. }) => Some(*at),
            _ => None,
        }
    }
}
