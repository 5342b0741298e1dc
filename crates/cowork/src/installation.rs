//! The shared parts of every command that works on an installation: its database and its secrets.
//!
//! Without a configured database an installation has a private cluster in its data folder. The first process that needs
//! it starts it and stops it at its end; others find it running and use it.
//!
//! Not here: whether the installation is fit to serve (`serve`), and making one (`admin::init`).

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use config::Config;
use localpg::{Binaries, Cluster, DatabaseError, Options, StartError};
use objects::Objects;
use secrets::{LocalKms, LocalKmsError, NamedReference, ResolvedSecrets, SecretReader};
use sqlx::{ConnectOptions, Connection};
use store::{Generation, Store};

use crate::failure::Failure;
use crate::process::Process;

/// The database's name in a private cluster.
const DATABASE: &str = "cowork";

/// How long a server may take to answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// SQLSTATE of a database that doesn't exist.
const NO_SUCH_DATABASE: &str = "3D000";

/// An installation that can be worked on.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) database: Database,
    pub(crate) reader: SecretReader,
}

/// A database that answers.
#[derive(Debug)]
pub(crate) struct Database {
    url: String,
    /// `None`: somebody else runs it.
    cluster: Option<Cluster>,
}

impl Installation {
    /// Opens the database, starting it if it is the installation's own.
    pub(crate) async fn open(config: Config, process: &Process) -> Result<Self, Failure> {
        let database = Database::open(&config, process).await?;
        let store = Store::connect(&database.url, config.database.max_connections, process.sources.clone()).await;
        let store = store.map_err(|error| unreachable(error, &config))?;
        let reader = config.secret_reader(process.environment.clone());
        Ok(Self { config, store, database, reader })
    }

    /// The current generation, of a system whose schema is this build's.
    pub(crate) async fn generation(&self) -> Result<Generation, Failure> {
        let (found, known) = (self.store.diagnostics_schema_version().await?, Store::schema_version());
        let found = found.ok_or_else(not_initialised)?;
        if found > known {
            return Err(newer(found, known));
        }
        if found < known {
            return Err(older(found, known));
        }
        self.store.generation_current().await?.ok_or_else(not_initialised)
    }

    /// As [`Self::generation`], of a system that roles may serve: not of one that was restored and waits for its
    /// generation to be begun.
    pub(crate) async fn generation_to_serve(&self) -> Result<Generation, Failure> {
        match self.store.generation_pending().await? {
            None => self.generation().await,
            Some(backup) => Err(Failure::could_not(
                "This system was restored, and its generation has not been begun.",
                format!("the backup {backup}; until then nobody knows whether it is the system or a copy of it"),
                format!("Run `cowork admin generation start --backup {backup} --environment production`, or `drill`."),
            )),
        }
    }

    /// Every configured secret.
    pub(crate) fn secrets(&self) -> Result<ResolvedSecrets, Failure> {
        let resolved = self.config.secret_references().resolve_all(&self.reader);
        resolved.map_err(|missing| {
            Failure::could_not(
                "A secret that the configuration names has no value.",
                missing,
                "Provide each of them where its reference says, or correct the reference.",
            )
        })
    }

    pub(crate) fn objects(&self) -> Result<Objects, Failure> {
        let folder = &self.config.objects.folder;
        let made = std::fs::create_dir_all(folder).map_err(Box::<dyn Error + Send + Sync>::from);
        made.and_then(|()| Objects::open_folder(folder).map_err(Box::from)).map_err(|error| {
            Failure::could_not(
                "The object store can't be opened.",
                error,
                "Make the folder that objects.folder names writable, or correct it.",
            )
        })
    }

    /// Whether the system has everything that making it gives it.
    pub(crate) async fn is_made(&self) -> Result<bool, Failure> {
        let initialised = self.store.diagnostics_schema_version().await?.is_some();
        Ok(initialised && !self.store.org_list(None, 1).await?.is_empty())
    }

    pub(crate) fn kms(&self, secrets: &ResolvedSecrets) -> Result<LocalKms, Failure> {
        secrets.kms(self.store.sources().clone()).map_err(unusable_key)
    }

    /// As [`Self::kms`], from the adapter key alone: `None` if one of its versions has no value.
    pub(crate) fn kms_alone(&self) -> Result<Option<LocalKms>, LocalKmsError> {
        let configured = self.config.secret_references();
        let value = |named: &NamedReference| Some((named.version.clone(), self.reader.resolve(&named.reference).ok()?));
        let current = value(&configured.adapter_key);
        let previous = configured.previous_adapter_keys.iter().map(value).collect::<Option<Vec<_>>>();
        let Some((current, previous)) = current.zip(previous) else { return Ok(None) };
        LocalKms::new(current, previous, self.store.sources().clone()).map(Some)
    }

    /// Lets go of the database, and stops it if this process started it.
    pub(crate) async fn close(self) {
        self.store.close().await;
        let stopped = tokio::task::spawn_blocking(move || self.database.cluster.map(Cluster::stop)).await;
        if let Ok(Some(Err(error))) = stopped {
            tracing::error!(error = %error, "Postgres did not stop");
        }
    }
}

impl Database {
    /// For Postgres' own tools and for whoever opens a connection of their own.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is the installation's own and this process runs it.
    pub(crate) fn is_private(&self) -> bool {
        self.cluster.is_some()
    }

    async fn open(config: &Config, process: &Process) -> Result<Self, Failure> {
        let database = match &config.database.url {
            Some(url) => Self { url: url.expose().to_owned(), cluster: None },
            None => {
                let (path, folder) = (process.environment.get("PATH").cloned(), config.postgres_folder());
                let opened = tokio::task::spawn_blocking(move || Self::private(path.as_deref(), &folder)).await;
                opened.map_err(|error| cluster_failed(error.into()))??
            }
        };
        match database.answers().await {
            Ok(()) => Ok(database),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NO_SUCH_DATABASE) => {
                match database.create() {
                    Ok(()) => Ok(database),
                    Err(Some(error)) => Err(cluster_failed(error.into())),
                    Err(None) => Err(unreachable(sqlx::Error::Database(error), config)),
                }
            }
            Err(error) => Err(unreachable(error, config)),
        }
    }

    /// The installation's own cluster: started, or found running.
    fn private(path: Option<&str>, folder: &Path) -> Result<Self, Failure> {
        let binaries = Binaries::find(path.map(AsRef::as_ref)).map_err(no_binaries)?;
        std::fs::create_dir_all(folder).map_err(|error| cluster_failed(error.into()))?;
        match Cluster::start(&binaries, folder, Options::safe()) {
            Ok(cluster) => Ok(Self { url: cluster.url(DATABASE), cluster: Some(cluster) }),
            Err(error @ StartError::Owned { .. }) => match localpg::running(folder) {
                Some(endpoint) => Ok(Self { url: endpoint.url(DATABASE), cluster: None }),
                None => Err(cluster_failed(error.into())),
            },
            Err(error) => Err(cluster_failed(error.into())),
        }
    }

    /// Asks with one connection, whose error says more than a pool's, and sooner.
    async fn answers(&self) -> Result<(), sqlx::Error> {
        let options: sqlx::postgres::PgConnectOptions = self.url.parse()?;
        let connected = tokio::time::timeout(CONNECT_LIMIT, options.connect()).await;
        connected.map_err(|_| sqlx::Error::PoolTimedOut)??.close().await
    }

    /// Makes the database in the installation's own cluster; nowhere else.
    fn create(&self) -> Result<(), Option<DatabaseError>> {
        let cluster = self.cluster.as_ref().ok_or(None)?;
        tokio::task::block_in_place(|| cluster.create_database(DATABASE)).map_err(Some)
    }
}

fn unusable_key(error: LocalKmsError) -> Failure {
    Failure::could_not(
        "The adapter key can't be used.",
        error,
        "Give secrets.adapter_key 32 bytes as base64 or hex, and each version once.",
    )
}

fn no_binaries(error: localpg::MissingBinaries) -> Failure {
    Failure::could_not(
        "No Postgres server is installed here.",
        error,
        "Install it, on Debian with `apt-get install postgresql`, or set database.url to a server of your own.",
    )
}

fn cluster_failed(error: Box<dyn Error + Send + Sync>) -> Failure {
    Failure::could_not(
        "The installation's own Postgres did not start.",
        error,
        "Mend what the detail names, or set database.url to a server of your own.",
    )
}

fn unreachable(error: impl Into<Box<dyn Error + Send + Sync>>, config: &Config) -> Failure {
    let place = config.database.url.as_ref().map_or_else(|| "the private cluster".to_owned(), ToString::to_string);
    Failure::could_not(
        format!("The database at {place} can't be used."),
        error,
        "See that the server runs, that the database exists, and that database.url names both.",
    )
}

fn not_initialised() -> Failure {
    Failure::could_not(
        "This system is not initialised.",
        "its database has no generation",
        "Run `cowork admin init`, or see that database.url names the right database.",
    )
}

fn newer(found: i64, known: i64) -> Failure {
    Failure::could_not(
        "The database is of a newer version of cowork.",
        format!("its schema is {found}, this program knows {known}"),
        "Use the newer program; an older one could damage what it doesn't know.",
    )
}

fn older(found: i64, known: i64) -> Failure {
    Failure::could_not(
        "The database is of an older version of cowork.",
        format!("its schema is {found}, this program's is {known}"),
        "Take a backup, then run `cowork admin migrate`.",
    )
}
