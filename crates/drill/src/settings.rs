//! The configuration of a system that a drill runs: the file, the secrets that it refers to, the environment.
//!
//! The rehearsal's source and every target have the same secret references (the seed's third row, and a billing provider's), some
//! in files and some in the environment. A target gets the secrets' values from where an operator would: from outside
//! of the backup.
//!
//! Not here: starting anything (`processes`).

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use archive::manifest::SecretVersion;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clock::Sources;

use crate::processes::WORK_FOLDER_VARIABLE;

/// How often a gateway of a drill tries a delivery.
pub(crate) const MAX_ATTEMPTS: usize = 4;
/// How long an attempt may take. A receiver that never answers is under way for so long.
const SEND_TIMEOUT_MS: u64 = 60_000;

/// Where the sink is, so that channels may lead there, and a rehearsal's repository. Nothing else in the network is called, whatever a restored row says.
const SINK_NETWORK: &str = "127.0.0.0/8";

/// The values of a system's secrets, as text. Never written anywhere but where [`Settings::write`] says.
#[derive(Clone)]
pub(crate) struct SecretValues(Vec<SecretValue>);

#[derive(Clone)]
struct SecretValue {
    /// In the configuration.
    name: String,
    version: String,
    value: String,
    /// Older versions and values, which still open what they sealed; the newest last.
    previous: Vec<(String, String)>,
    /// Whether a drill keeps it in a file (else in the environment).
    in_file: bool,
}

/// The only one that has older versions.
const ROTATED: &str = "adapter_key";

/// Those of a rehearsal.
const SECRETS: [(&str, bool); 7] = [
    ("adapter_key", true),
    ("oidc_client", false),
    ("cookie", false),
    ("gateway", false),
    ("channel", true),
    ("billing_api_key", false),
    ("billing_webhook", true),
];

/// The plans of a rehearsal, with no quota that it could use up. An org is on the first, then on the second.
pub(crate) const PLANS: [&str; 2] = ["drill-team", "drill-company"];

/// Those that stand with the billing provider's settings, and the key that each has there.
const OF_BILLING: [(&str, &str); 2] = [("billing_api_key", "api_key"), ("billing_webhook", "webhook_secret")];

impl SecretValues {
    /// Fresh ones: 32 random bytes each, as base64.
    pub(crate) fn generate(sources: &Sources) -> Self {
        let fresh = |(name, in_file): &(&str, bool)| SecretValue {
            name: (*name).to_owned(),
            version: "1".to_owned(),
            value: STANDARD.encode(sources.bytes::<32>()),
            previous: Vec::new(),
            in_file: *in_file,
        };
        Self(SECRETS.iter().map(fresh).collect())
    }

    /// Those of a system that exists: name, version, value.
    pub(crate) fn given(secrets: impl Iterator<Item = (String, String, String)>) -> Self {
        let secret = |(name, version, value)| SecretValue { name, version, value, previous: Vec::new(), in_file: true };
        Self(secrets.map(secret).collect())
    }

    /// Replaces the key that everything is sealed with by a fresh one, and keeps the old one beside it.
    pub(crate) fn rotate_key(&mut self, sources: &Sources) {
        for key in self.0.iter_mut().filter(|secret| secret.name == ROTATED) {
            let version = (key.previous.len() + 2).to_string();
            let fresh = STANDARD.encode(sources.bytes::<32>());
            let old = (std::mem::replace(&mut key.version, version), std::mem::replace(&mut key.value, fresh));
            key.previous.push(old);
        }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|secret| {
            let values = std::iter::once(&secret.value).chain(secret.previous.iter().map(|(_, value)| value));
            values.map(|value| (secret.name.as_str(), value.as_str()))
        })
    }

    /// Names and versions, for whoever compares them.
    pub(crate) fn versions(&self) -> Vec<SecretVersion> {
        let version =
            |secret: &SecretValue| SecretVersion { name: secret.name.clone(), version: secret.version.clone() };
        self.0.iter().map(version).collect()
    }
}

impl std::fmt::Debug for SecretValues {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SecretValues")
    }
}

/// What a system is configured to.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where its files are: objects, secrets, logs.
    pub(crate) folder: PathBuf,
    pub(crate) database_url: String,
    /// The same on the source and on a target: an agent's state is bound to paths.
    pub(crate) workspaces: PathBuf,
    /// Where a drill copy sends every delivery; `None` on a source.
    pub(crate) redirect_to: Option<String>,
    /// Of a worker, on a session.
    pub(crate) lease: Duration,
    /// The work folder that marks its processes.
    pub(crate) work_folder: PathBuf,
    /// `PATH` of its processes, for Postgres' tools.
    pub(crate) search_path: String,
}

impl Settings {
    pub(crate) fn config_path(&self) -> PathBuf {
        self.folder.join("cowork.toml")
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.folder.join("objects")
    }

    /// Beside the system's folder and not in it: a disaster that takes the system's files leaves the ledger.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.folder.with_extension("ledger")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Writes the folder: configuration, secret files, an empty object store. Gives back the environment that the
    /// processes need.
    pub(crate) fn write(&self, secrets: &SecretValues) -> io::Result<BTreeMap<String, String>> {
        for folder in [self.objects(), self.logs(), self.folder.join("secrets"), self.workspaces.clone()] {
            std::fs::create_dir_all(folder)?;
        }
        let mut environment = BTreeMap::from([
            ("PATH".to_owned(), self.search_path.clone()),
            (WORK_FOLDER_VARIABLE.to_owned(), self.work_folder.display().to_string()),
        ]);
        for secret in &secrets.0 {
            if secret.in_file {
                let folder = self.folder.join("secrets");
                write_private(&folder.join(&secret.name), &secret.value)?;
                for (version, value) in &secret.previous {
                    write_private(&folder.join(format!("{}.{version}", secret.name)), value)?;
                }
            } else {
                environment.insert(variable_of(&secret.name), secret.value.clone());
            }
        }
        std::fs::write(self.config_path(), self.toml(secrets))?;
        Ok(environment)
    }

    fn toml(&self, secrets: &SecretValues) -> String {
        let mut text = format!(
            "data_dir = {:?}\n\n[database]\nurl = {:?}\n\n[objects]\nfolder = {:?}\n\n[ledger]\nfolder = {:?}\n",
            self.folder,
            self.database_url,
            self.objects(),
            self.ledger()
        );
        for (plan, turns) in PLANS.iter().zip([1_000_000_000, 2_000_000_000_i64]) {
            text += &format!("\n[plans.{plan}]\nquotas.turns = {{ period = \"month\", quantity_max = {turns} }}\n");
        }
        text += &billing(secrets);
        let of_billing = |secret: &&SecretValue| OF_BILLING.iter().any(|(name, _)| *name == secret.name);
        for secret in secrets.0.iter().filter(|secret| !of_billing(secret)) {
            let (SecretValue { name, version, previous, .. }, reference) = (secret, secret.reference());
            text += &format!("\n[secrets.{name}]\nreference = {reference:?}\nversion = {version:?}\n");
            let older = previous.iter().map(|(version, _)| {
                format!("{{ reference = \"file:secrets/{name}.{version}\", version = {version:?} }}")
            });
            let older: Vec<String> = older.collect();
            if !older.is_empty() {
                text += &format!("previous = [{}]\n", older.join(", "));
            }
        }
        // Short periods: a drill waits for leases and retries, and its machine does nothing else.
        text += &format!(
            "\n[web]\nlisten = \"127.0.0.1:0\"\nrepository_networks = [{SINK_NETWORK:?}]\n\n[worker]\nlisten = \"127.0.0.1:0\"\nworkspace_root = {:?}\n\
             lease_ms = {}\npoll_ms = 20\n\n[scheduler]\nlisten = \"127.0.0.1:0\"\npoll_ms = 50\n\n\
             [gateway]\nlisten = \"127.0.0.1:0\"\npoll_ms = 20\nmax_attempts = {MAX_ATTEMPTS}\n\
             timeout_ms = {SEND_TIMEOUT_MS}\nbackoff_ms = 40\nbackoff_max_ms = 200\n\
             allowed_networks = [{SINK_NETWORK:?}]\n",
            self.workspaces,
            self.lease.as_millis()
        );
        if let Some(redirect_to) = &self.redirect_to {
            text += &format!("redirect_to = {redirect_to:?}\n");
        }
        text
    }
}

/// The billing provider's settings, if it has a secret. A copy for a drill calls nobody, and is asked for its secrets all the same.
fn billing(secrets: &SecretValues) -> String {
    let given = |name: &str| secrets.0.iter().find(|secret| secret.name == name).map(SecretValue::reference);
    if OF_BILLING.iter().all(|(name, _)| given(name).is_none()) {
        return String::new();
    }
    let line = |(name, key): &(&str, &str)| {
        // One that nobody has given is told as one that does not resolve.
        let reference = given(name).unwrap_or_else(|| format!("env:{}", variable_of(name)));
        format!("{key} = {reference:?}\n")
    };
    let keys: String = OF_BILLING.iter().map(line).collect();
    format!("\n[billing.stripe]\nreturn_url = \"http://localhost/\"\n{keys}")
}

impl SecretValue {
    /// As configuration has it.
    fn reference(&self) -> String {
        if self.in_file { format!("file:secrets/{}", self.name) } else { format!("env:{}", variable_of(&self.name)) }
    }
}

/// The environment variable of a secret that is not in a file.
fn variable_of(name: &str) -> String {
    format!("SECRET_{}", name.to_uppercase())
}

fn write_private(path: &Path, value: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(value.as_bytes())
}
