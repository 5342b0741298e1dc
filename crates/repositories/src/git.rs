//! The program `git`, told everything and left nothing: what it may read, do and use up.
//!
//! Not here: what it is run for (`lib`), what its words mean (`said`).

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use tokio::process::Command;

use crate::pin::Pinned;
use crate::{Address, Credential, FetchError, said};

/// Where Debian and those who build git themselves put it.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Bytes of what it says that are read.
const READ_MAX: u64 = 16 << 10;
/// Of one process. An object that unpacks to more than fits is not unpacked.
const MEMORY_KIB: u64 = 2 << 20;
const PROCESSOR_S: u64 = 60;

/// Sets bounds that everything it starts inherits, and becomes git. `ulimit -f` counts in 512 bytes.
const BOUNDED: &str =
    r#"ulimit -c 0 && ulimit -t "$1" && ulimit -v "$2" && ulimit -f "$3" && shift 3 && exec git "$@""#;

/// What it is told, whatever a machine or a repository says.
const CONFIGURATION: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    // Larger ones go through without being held in memory.
    ("core.bigFileThreshold", "8m"),
    ("credential.helper", ""),
    ("fetch.fsckObjects", "true"),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.uriProtocols", ""),
    // One file, so that its size is bounded.
    ("fetch.unpackLimit", "1"),
    ("fetch.writeCommitGraph", "false"),
    ("gc.auto", "0"),
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "20"),
    ("http.proxy", ""),
    ("maintenance.auto", "false"),
    ("pack.threads", "1"),
    ("protocol.version", "2"),
    ("submodule.recurse", "false"),
    ("transfer.bundleURI", "false"),
    ("transfer.credentialsInUrl", "die"),
];

/// How large a file may become.
pub(crate) struct Limits {
    file_bytes: u64,
}

impl Limits {
    pub(crate) fn of(file_bytes: u64) -> Self {
        Self { file_bytes }
    }
}

/// A repository of our own, in a folder that is gone with it.
pub(crate) struct Git {
    folder: TempDir,
    protocols: &'static str,
    pinned: Pinned,
}

impl Git {
    pub(crate) async fn begin(below: &Path, address: &Address, pinned: Pinned) -> Result<Self, FetchError> {
        let below = below.to_owned();
        let made =
            tokio::task::spawn_blocking(move || tempfile::Builder::new().prefix("cowork-git-").tempdir_in(below));
        let made = made.await.map_err(|error| FetchError::NoGit(error.to_string()))?;
        let folder = made.map_err(|error| FetchError::NoGit(format!("no folder can be made: {}", error.kind())))?;
        let protocols = if address.encrypted() { "https" } else { "http" };
        Ok(Self { folder, protocols, pinned })
    }

    /// Beside the repository.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One older than 2.37 does not heed the addresses that it is told, and would say nothing of it.
    pub(crate) async fn must_pin(&self) -> Result<(), FetchError> {
        let said = self.run(&["version"], None, &Limits::of(READ_MAX)).await?;
        if pins(&said) {
            Ok(())
        } else {
            Err(FetchError::NoGit("it is too old, or does not say its version".to_owned()))
        }
    }

    /// Runs it to its end and gives back what it wrote.
    pub(crate) async fn run(
        &self,
        arguments: &[&str],
        credential: Option<&Credential>,
        limits: &Limits,
    ) -> Result<String, FetchError> {
        let unready = |error: std::io::Error| FetchError::NoGit(error.to_string());
        let (out, errors) = (self.file("out"), self.file("errors"));
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", BOUNDED, "git"])
            .args([PROCESSOR_S, MEMORY_KIB, limits.file_bytes / 512].map(|it| it.to_string()));
        command.args(arguments).current_dir(self.folder.path()).process_group(0).stdin(Stdio::null());
        command.stdout(std::fs::File::create(&out).map_err(unready)?);
        command.stderr(std::fs::File::create(&errors).map_err(unready)?);
        self.tell(&mut command, credential);
        let mut child = command.spawn().map_err(unready)?;
        let group = Group::of(child.id());
        let status = child.wait().await.map_err(unready)?;
        group.over();
        if status.success() {
            return beginning(&out).map_err(unready);
        }
        let written = beginning(&errors).map_err(unready)?;
        if status.code() == Some(127) {
            return Err(FetchError::NoGit("it was not found".to_owned()));
        }
        if self.filled(limits) {
            return Err(FetchError::TooLarge);
        }
        Err(said::reason(&format!("{written}{}", ended_by(status)), credential.is_some()))
    }

    /// Whether a pack has become as large as a file may: then whoever wrote it was ended, which git does not tell.
    fn filled(&self, limits: &Limits) -> bool {
        let packs = std::fs::read_dir(self.file("repository/objects/pack")).into_iter().flatten().flatten();
        packs.filter_map(|pack| pack.metadata().ok()).any(|pack| pack.len() >= limits.file_bytes)
    }

    /// Its whole environment. The credential is here, where no other user of the machine and no log sees it.
    fn tell(&self, command: &mut Command, credential: Option<&Credential>) {
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C").env("HOME", self.folder.path());
        command.env("GIT_DIR", self.file("repository")).env("GIT_ALLOW_PROTOCOL", self.protocols);
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_ATTR_NOSYSTEM", "1");
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_NO_LAZY_FETCH", "1");
        let resolve = self.pinned.resolve().map(|resolve| ("http.curloptResolve", resolve.to_owned()));
        let header = credential.map(|credential| ("http.extraHeader", authorization(credential)));
        let told = CONFIGURATION.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let told: Vec<(&str, String)> = told.chain(resolve).chain(header).collect();
        command.env("GIT_CONFIG_COUNT", told.len().to_string());
        for (place, (key, value)) in told.into_iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{place}"), key).env(format!("GIT_CONFIG_VALUE_{place}"), value);
        }
    }
}

fn pins(said: &str) -> bool {
    let mut parts = said.trim().trim_start_matches("git version ").split('.');
    let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
    number().zip(number()).is_some_and(|version| version >= (2, 37))
}

fn authorization(credential: &Credential) -> String {
    let pair = format!("{}:{}", credential.username, credential.secret.expose_secret());
    format!("Authorization: Basic {}", STANDARD.encode(pair))
}

fn ended_by(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal().map(|signal| format!("\ndied of signal {signal}")).unwrap_or_default()
}

fn beginning(file: &Path) -> std::io::Result<String> {
    let mut read = Vec::new();
    match std::fs::File::open(file) {
        Ok(file) => file.take(READ_MAX).read_to_end(&mut read)?,
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// Everything that git started. Dropped before it is over, it is killed.
struct Group(Option<Pid>);

impl Group {
    fn of(leader: Option<u32>) -> Self {
        Self(leader.and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    fn over(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0
            && let Err(error) = killpg(leader, Signal::SIGKILL)
        {
            tracing::debug!(%error, "git could not be ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit::{GitRepository, GitServer};

    use super::*;

    #[tokio::test]
    async fn it_connects_to_the_address_that_it_is_told_whatever_the_name_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let commit = GitRepository::create(folder.path()).commit();
        let server = GitServer::start(folder.path(), "").await;
        let address = Address::read(&server.address("shop.git").replace("localhost", "shop.invalid")).unwrap();
        let pinned = Pinned::to(format!("shop.invalid:{}:127.0.0.1", address.url().port().unwrap()));
        let git = Git::begin(folder.path(), &address, pinned).await.unwrap();
        let limits = Limits::of(READ_MAX);
        git.run(&["init", "--quiet", "--bare", "--template="], None, &limits).await.unwrap();
        let listed = git.run(&["ls-remote", "--", address.url().as_str(), "HEAD"], None, &limits).await.unwrap();
        assert!(listed.starts_with(&commit), "{listed}");
    }

    #[test]
    fn a_git_that_does_not_heed_addresses_is_not_used() {
        for good in ["git version 2.37.0\n", "git version 2.47.3 (Apple Git-1)", "git version 3.0.0"] {
            assert!(pins(good), "{good}");
        }
        for bad in ["git version 2.36.9", "git version 1.99.0", "git version", "", "2"] {
            assert!(!pins(bad), "{bad}");
        }
    }
}
