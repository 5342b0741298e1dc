//! A system to be measured: a private Postgres that keeps what was committed, and roles as processes of their own.
//!
//! Its processes are gone when it is dropped, its files when all worlds are over.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use localpg::{Binaries, Cluster, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::http::Api;
use crate::psql::Psql;

const START_LIMIT: Duration = Duration::from_secs(30);

/// What stands for a disk whose commits cost a millisecond.
const SLOW_COMMITS: &str =
    "ALTER DATABASE cowork SET commit_delay = 1000; ALTER DATABASE cowork SET commit_siblings = 0";

/// How a system is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// Sessions that the worker advances at the same time.
    pub(crate) concurrency: usize,
    /// Each commit takes as long as on a real disk.
    pub(crate) slow_commits: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { concurrency: 32, slow_commits: false }
    }
}

/// A system without roles. Roles are started from it and end before it.
#[derive(Debug)]
pub(crate) struct World {
    binaries: Binaries,
    program: PathBuf,
    token: String,
    pub(crate) org: String,
    pub(crate) cluster: Cluster,
    scratch: Arc<TempDir>,
}

/// Folders of worlds that are over. They stay until all is measured ([`clear`]): for minutes after files were removed, ext4 makes
/// new ones slowly, and the next world would pay for the last one's end.
static OVER: Mutex<Vec<Arc<TempDir>>> = Mutex::new(Vec::new());

/// Removes what all worlds have left.
pub(crate) fn clear() {
    OVER.lock().expect("no holder of this lock can panic").clear();
}

/// A role's process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Role {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl World {
    pub(crate) async fn make(setup: Setup) -> anyhow::Result<Self> {
        let scratch = Arc::new(tempfile::Builder::new().prefix("cowork-control-plane-").tempdir()?);
        OVER.lock().expect("no holder of this lock can panic").push(scratch.clone());
        open_to_postgres(scratch.path())?;
        let binaries = binaries()?;
        let cluster = Cluster::temporary_with(&binaries, scratch.path(), Options::safe())?;
        cluster.create_database("cowork")?;
        if setup.slow_commits {
            Psql::new(&binaries, cluster.url("cowork")).run(SLOW_COMMITS).await?;
        }
        let url = cluster.url("cowork");
        let config = format!(
            "[database]\nurl = \"{url}\"\nmax_connections = 20\n[log]\nlevel = \"warn\"\n[web]\nlisten = \"127.0.0.1:0\"\n\
             connections_per_address = 0\nrequests_per_minute = 0\nstreams_per_caller = 0\n\
             [gateway]\nlisten = \"127.0.0.1:0\"\n[worker]\nconcurrency = {}\n",
            setup.concurrency
        );
        std::fs::write(scratch.path().join("cowork.toml"), config)?;
        let program = sibling("cowork")?;
        let init = ["admin", "init", "--org", "Bench", "--email", "bench@example.org", "--json"];
        let made = carry_out(&program, scratch.path(), &init)?;
        let text = |key: &str| made[key].as_str().map(str::to_owned).with_context(|| format!("init tells its {key}"));
        Ok(Self { token: text("token")?, org: text("org_id")?, binaries, program, cluster, scratch })
    }

    /// Starts a role and waits until it is ready.
    pub(crate) async fn start(&self, role: &str) -> anyhow::Result<Role> {
        let numbered = (1..).map(|number| self.scratch.path().join(format!("{role}-{number}")));
        let place = numbered.into_iter().find(|place| !place.exists()).context("there are numbers enough")?;
        std::fs::create_dir(&place)?;
        let ready = place.join("ready.json");
        let mut command = Command::new(&self.program);
        command.args(["serve", "--roles", role, "--config"]).arg(self.scratch.path().join("cowork.toml"));
        command.arg("--ready-file").arg(&ready).current_dir(self.scratch.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(place.join("log"))?);
        let mut child = command.spawn().context("cowork can't be started")?;
        let begun = Instant::now();
        loop {
            let said = std::fs::read(&ready).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
            if let Some(address) = said.and_then(|said| said["roles"][role].as_str()?.parse().ok()) {
                return Ok(Role { child, address });
            }
            if child.try_wait()?.is_some() || begun.elapsed() > START_LIMIT {
                let _ = child.kill();
                bail!("{role} did not come up: {}", std::fs::read_to_string(place.join("log")).unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What a command of the program said, which is told to answer in JSON.
    pub(crate) fn cowork(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        carry_out(&self.program, self.scratch.path(), arguments)
    }

    /// Waits until no command is pending, in one session of the database, so that looking costs little.
    pub(crate) async fn until_idle(&self) -> anyhow::Result<()> {
        let wait = "DO $$ BEGIN WHILE EXISTS (SELECT FROM commands WHERE state = 'pending') LOOP
                      COMMIT; PERFORM pg_sleep(0.005); END LOOP; END $$";
        self.psql().run(wait).await.map(drop)
    }

    pub(crate) fn api(&self, web: &Role) -> Api {
        Api { address: web.address, token: self.token.clone() }
    }

    pub(crate) fn psql(&self) -> Psql {
        Psql::new(&self.binaries, self.cluster.url("cowork"))
    }

    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.binaries.tool(name)
    }

    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn postgres_pid(&self) -> u32 {
        self.cluster.pid().unsigned_abs()
    }
}

impl Role {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.pid())?), signal)?)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn carry_out(program: &Path, folder: &Path, arguments: &[&str]) -> anyhow::Result<Value> {
    let mut command = Command::new(program);
    command.args(arguments).arg("--config").arg(folder.join("cowork.toml"));
    let output = command.current_dir(folder).output()?;
    ensure!(output.status.success(), "cowork {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The program that was built beside this one.
fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{name} is not built: `cargo build --release --package cowork`");
    Ok(path)
}

/// Postgres runs as somebody else if we are root, and has to get in.
fn open_to_postgres(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

#[expect(clippy::disallowed_methods, reason = "a program of its own finds Postgres' programs as a shell would")]
fn binaries() -> anyhow::Result<Binaries> {
    Ok(Binaries::find(std::env::var_os("PATH").as_deref())?)
}
