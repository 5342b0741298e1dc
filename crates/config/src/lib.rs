//! Configuration: a struct per concern.
//!
//! A value comes from, each layer over the one before: the defaults here, the file (`cowork.toml`), the variables
//! `COWORK_<SECTION>__<KEY>` (`COWORK_WEB__LISTEN`; two underscores go one level down) and `COWORK_DATA_DIR`, then
//! `DATABASE_URL`. Between file and variables is `OTEL_EXPORTER_OTLP_ENDPOINT`, which is meant for every program of a machine. Flags come last: the binary sets the fields they name. An unknown key is an error, in the file and in
//! the environment; a variable without two underscores is somebody else's.
//!
//! Relative paths start at the file's folder, or at the working directory if there is no file, wherever they were set.
//! After [`Config::load`] every path is absolute if that folder is.
//!
//! Configuration holds no secrets, it names them (crate `secrets`). The one exception is a database URL with a password,
//! which therefore has a type that doesn't print it.
//!
//! Not here: reading the environment (the binary does, once), resolving secrets, making folders.

mod agents;
mod billing;
mod database_url;
mod environment;
mod error;
mod keys;
mod lists;
mod load;
mod networks;
mod roles;
mod secret_settings;
mod sign_in;
mod validate;

use std::path::PathBuf;

use domain::plan::Plans;
use serde::Deserialize;

pub use agents::{AgentSetting, NetworkSetting, PROVIDERS, SandboxSetting};
pub use billing::{Billing, Stripe};
pub use database_url::DatabaseUrl;
pub use error::ConfigError;
pub use keys::KEYS;
pub use roles::{Gateway, Scheduler, Web, Worker};
pub use secret_settings::{KeySetting, SecretSetting, Secrets};
pub use sign_in::{CALLBACK_PATH, SignIn};

/// The name of the configuration file.
pub const FILE_NAME: &str = "cowork.toml";

/// Everything an installation can be told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where an installation keeps what has no place of its own configured.
    pub data_dir: PathBuf,
    pub database: Database,
    pub objects: Objects,
    pub ledger: Ledger,
    pub retention: Retention,
    pub drills: Drills,
    /// `None`: the installation generates its own ([`Config::secret_references`]).
    pub secrets: Option<Secrets>,
    /// `None`: nobody signs in with a browser.
    pub sign_in: Option<SignIn>,
    /// By name. There is always one called `self-hosted`.
    pub plans: Plans,
    pub billing: Billing,
    pub web: Web,
    pub worker: Worker,
    pub scheduler: Scheduler,
    pub gateway: Gateway,
    pub log: Log,
    pub telemetry: Telemetry,
    /// Where relative paths and relative secret references start. Not a key of the file.
    #[serde(skip)]
    pub base: PathBuf,
}

/// The Postgres database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `None`: a private cluster in [`Config::postgres_folder`].
    pub url: Option<DatabaseUrl>,
    /// Of one process.
    pub max_connections: u32,
}

/// The object store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Objects {
    /// Default: `objects` in the data folder.
    pub folder: PathBuf,
}

/// The recovery ledger: what a restore must not forget.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ledger {
    /// Default: `ledger` in the data folder. Best on a disk that is not lost with the database: no backup copies it, and
    /// no restore winds it back.
    pub folder: PathBuf,
    /// How long records wait for others, so that they share an object; less while many are at work.
    pub flush_ms: u64,
    /// Longer than the oldest backup that may ever be restored: a restore forgets what was dropped.
    pub retention_days: u32,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { folder: PathBuf::new(), flush_ms: 40, retention_days: 400 }
    }
}

/// How long history is kept in the database. What the recovery ledger keeps is its own ([`Ledger::retention_days`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Turns that ended longer ago are compacted: their events make room for one that holds what they added up to. `None`: events
    /// are kept for ever.
    pub session_events_days: Option<u32>,
    /// Deliveries that were sent or set aside longer ago are deleted. `None`: they are kept for ever.
    pub deliveries_days: Option<u32>,
}

/// Where drills of this system leave their records, for those who read them through the API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drills {
    /// Of their reports. `None`: the API shows none.
    pub folder: Option<PathBuf>,
    /// What `cowork drill run --findings` writes. `None`: the API shows no findings.
    pub findings_file: Option<PathBuf>,
    /// The Ed25519 public key, in PEM, of whoever signs drills. `None`: seals are not checked.
    pub public_key: Option<PathBuf>,
}

/// Where log lines go and which.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A level, or directives: `info,sqlx=warn`.
    pub level: String,
    /// Lines are appended. `None`: to standard error.
    pub file: Option<PathBuf>,
}

/// Where spans go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// A collector's base address (OTLP over HTTP). `None`: spans stay in the process.
    pub otlp_endpoint: Option<String>,
    /// Of traces that begin here, so many in a hundred.
    pub sample_percent: u8,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { otlp_endpoint: None, sample_percent: 100 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "cowork-data".into(),
            database: Database::default(),
            objects: Objects::default(),
            ledger: Ledger::default(),
            retention: Retention::default(),
            drills: Drills::default(),
            secrets: None,
            sign_in: None,
            plans: Plans::default(),
            billing: Billing::default(),
            web: Web::default(),
            worker: Worker::default(),
            scheduler: Scheduler::default(),
            gateway: Gateway::default(),
            log: Log::default(),
            telemetry: Telemetry::default(),
            base: PathBuf::new(),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self { url: None, max_connections: 10 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), file: None }
    }
}

impl Config {
    /// The private cluster of an installation without a database URL.
    #[must_use]
    pub fn postgres_folder(&self) -> PathBuf {
        self.data_dir.join("postgres")
    }
}
