//! An installation of the embedded default, in a folder of its own, and a `cowork serve` of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use client::Client;
use nix::sys::signal::Signal;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::binary::cowork;
use crate::running::Running;
use crate::told::{Told, told};
use crate::wait::wait_for;

/// A folder with a `cowork.toml` that takes free ports and lets channels lead to this machine, where stories have their
/// sinks, and nothing else configured.
#[derive(Debug, Clone)]
pub struct Installation {
    folder: PathBuf,
}

/// A process that serves all roles.
#[derive(Debug)]
pub struct Served {
    pub running: Running,
    addresses: BTreeMap<String, String>,
    token: String,
}

/// The secrets of a system that names its own, as every plan of it names them.
pub(crate) const SECRETS: [&str; 5] = ["adapter_key", "oidc_client", "cookie", "gateway", "channel"];

const LOCAL: &str = "[web]\nlisten = \"127.0.0.1:0\"\n[gateway]\nlisten = \"127.0.0.1:0\"\n\
                     allowed_networks = [\"127.0.0.0/8\"]\n";

impl Installation {
    /// In `folder`, with `more` below the ports in its configuration.
    ///
    /// # Panics
    /// If the configuration can't be written.
    #[must_use]
    pub fn new(folder: &Path, more: &str) -> Self {
        std::fs::write(folder.join("cowork.toml"), format!("{LOCAL}{more}")).expect("a file can be written");
        Self { folder: folder.to_owned() }
    }

    /// As [`Self::new`], with secrets of its own in files below `folder`, each of the version 1.
    ///
    /// # Panics
    /// If something can't be written.
    #[must_use]
    pub fn with_own_secrets(folder: &Path, more: &str) -> Self {
        let secrets = folder.join("secrets");
        std::fs::create_dir(&secrets).expect("a folder can be made");
        let mut more = more.to_owned();
        for name in SECRETS {
            let value = hex::encode(Sha256::digest(format!("{name} of {}", folder.display())));
            std::fs::write(secrets.join(name), value).expect("a file can be written");
            more += &format!("\n[secrets.{name}]\nreference = \"file:secrets/{name}\"\nversion = \"1\"\n");
        }
        Self::new(folder, &more)
    }

    /// As [`Self::new`], where somebody has to know the address of the web role before it is served.
    ///
    /// # Panics
    /// If the configuration can't be written.
    #[must_use]
    pub fn with_web_at(folder: &Path, port: u16, more: &str) -> Self {
        let ports = LOCAL.replacen(":0", &format!(":{port}"), 1);
        std::fs::write(folder.join("cowork.toml"), format!("{ports}{more}")).expect("a file can be written");
        Self { folder: folder.to_owned() }
    }

    /// One that was made before.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("cowork-data")
    }

    /// Starts all roles and waits until they are ready.
    ///
    /// # Panics
    /// If they don't come up.
    #[must_use]
    #[track_caller]
    pub fn serve(&self) -> Served {
        let mut served = self.serve_as(String::new());
        let token =
            std::fs::read_to_string(self.data().join("operator-token")).expect("the first start leaves a token");
        token.trim().clone_into(&mut served.token);
        served
    }

    /// As [`Self::serve`], of a system that was made on purpose, whose operator has `token`.
    ///
    /// # Panics
    /// If they don't come up.
    #[must_use]
    #[track_caller]
    pub fn serve_as(&self, token: String) -> Served {
        self.serve_with("serve", &[], token)
    }

    /// Starts a process with `roles`, separated by commas, and waits until they are ready. Its operator is the one that
    /// was kept ([`Self::init`], [`Self::bring`]).
    ///
    /// # Panics
    /// If they don't come up.
    #[must_use]
    #[track_caller]
    pub fn serve_roles(&self, roles: &str) -> Served {
        let token = std::fs::read_to_string(self.data().join("operator-token")).expect("a token was kept");
        self.serve_with(&roles.replace(',', "-"), &["--roles", roles], token.trim().to_owned())
    }

    #[track_caller]
    fn serve_with(&self, name: &str, more: &[&str], token: String) -> Served {
        let ready = self.folder.join(format!("{name}.ready.json"));
        // What a killed one left would be taken for the new one's.
        let _ = std::fs::remove_file(&ready);
        let mut command = cowork(&["serve", "--ready-file"]);
        command.arg(&ready).args(more).current_dir(&self.folder);
        let mut running = Running::start(command, &self.folder, name);
        let file: Value = wait_for("the roles come up", || {
            let ended = running.ended();
            assert!(ended.is_none(), "serve ended with {ended:?}:\n{}", running.said());
            serde_json::from_slice(&std::fs::read(&ready).ok()?).ok()
        });
        assert_eq!(file["pid"], running.pid());
        let address =
            |(role, address): (&String, &Value)| (role.clone(), address.as_str().unwrap_or_default().to_owned());
        let addresses =
            file["roles"].as_object().expect("the ready file names the roles").iter().map(address).collect();
        Served { running, addresses, token }
    }

    /// Makes the system on the database that is configured, and gives back its operator's token.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    #[track_caller]
    pub fn init(&self) -> String {
        let made = self.done(&["admin", "init", "--org", "Acme", "--email", "ada@example.org", "--json"]);
        let made: Value = serde_json::from_str(&made).expect("it answers in JSON");
        let token = made["token"].as_str().expect("the operator's token is told").to_owned();
        self.keep(&token);
        token
    }

    /// Takes what an operator brings to a system that is to be restored: the secrets of the lost one, and a token of it.
    ///
    /// # Panics
    /// If they can't be copied.
    pub fn bring(&self, lost: &Self, token: &str) {
        let (from, to) = (lost.data().join("secrets"), self.data().join("secrets"));
        std::fs::create_dir_all(&to).expect("a folder can be made");
        for file in std::fs::read_dir(from).expect("the lost system's secrets are there") {
            let file = file.expect("a folder can be listed");
            std::fs::copy(file.path(), to.join(file.file_name())).expect("a secret can be copied");
        }
        self.keep(token);
    }

    /// Where [`Self::serve`] looks for it.
    fn keep(&self, token: &str) {
        std::fs::create_dir_all(self.data()).expect("a folder can be made");
        std::fs::write(self.data().join("operator-token"), token).expect("a file can be written");
    }

    /// As [`Self::tell`], of a call that has to go well; what it said.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> String {
        let told = self.tell(arguments);
        assert_eq!(told.code, 0, "{arguments:?}: {}", told.stderr);
        told.stdout
    }

    /// Calls the binary in this installation's folder.
    #[must_use]
    pub fn tell(&self, arguments: &[&str]) -> Told {
        let mut command = cowork(arguments);
        command.current_dir(&self.folder);
        told(command)
    }
}

impl Served {
    #[must_use]
    pub fn url(&self, role: &str) -> String {
        format!("http://{}", self.addresses[role])
    }

    #[must_use]
    pub fn roles(&self) -> Vec<&str> {
        self.addresses.keys().map(String::as_str).collect()
    }

    /// The operator, as the token file lets one be.
    #[must_use]
    pub fn operator(&self) -> Client {
        Client::new(self.url("web"), self.token.clone().into())
    }

    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// `kill -9`, and its end.
    pub fn kill(mut self) {
        self.running.signal(Signal::SIGKILL);
        self.running.wait();
    }

    /// SIGTERM; the exit code.
    #[must_use]
    pub fn stop(mut self) -> i32 {
        self.running.signal(Signal::SIGTERM);
        self.running.wait()
    }
}
