//! The source system: its cluster, its folder, its roles as processes; its beginning and its end.
//!
//! Not here: what happens in it (`life`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use client::Client;
use clock::{Sources, Timestamp};
use localpg::{Binaries, Cluster};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redact::CanaryClass;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::canaries::{Canaries, Planted};
use super::life::{self, Life};
use super::people::People;
use super::repository::Repository;
use super::supervise::Supervised;
use super::{Aftermath, Elsewhere, Size};
use crate::origin::{Origin, OurArchive};
use crate::processes::{Launcher, Role};
use crate::rigging::Pace;
use crate::settings::{SecretValues, Settings};
use crate::sink::Sink;
use crate::work::WorkFolder;

/// A live source system.
#[derive(Debug)]
pub(crate) struct Source {
    cluster: Cluster,
    settings: Settings,
    launcher: Launcher,
    secrets: SecretValues,
    roles: Vec<Supervised>,
    sink: Sink,
    /// `None`: this machine has no git.
    _repository: Option<Repository>,
    operator_token: SecretString,
    canaries: Canaries,
    life: Arc<Life>,
    archive: PathBuf,
    sources: Sources,
    /// When gateways were killed whose supervisors are gone.
    interruptions: Vec<Timestamp>,
}

/// What the drill runs with.
#[derive(Debug)]
pub(crate) struct Means<'a> {
    pub(crate) binaries: &'a Binaries,
    pub(crate) executable: &'a Path,
    pub(crate) search_path: &'a str,
    pub(crate) work: &'a WorkFolder,
    pub(crate) sources: &'a Sources,
    pub(crate) pace: Pace,
    /// What its clusters keep when the machine loses power.
    pub(crate) clusters: localpg::Options,
    /// The folder of a stopped cluster with nothing in it: a new one begins as its copy, if there is one.
    pub(crate) empty_cluster: Option<&'a Path>,
}

/// What `cowork admin init --json` prints, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Initialised {
    token: SecretString,
}

/// What `cowork backup --json` prints, as far as it matters here.
#[derive(Debug, Deserialize)]
struct BackedUp {
    backup_id: String,
}

/// The two of each role that claim work from queues are there to be rivals.
const ROLES: [(&str, Role); 6] = [
    ("source-web", Role::Web),
    ("source-worker-1", Role::Worker),
    ("source-worker-2", Role::Worker),
    ("source-scheduler-1", Role::Scheduler),
    ("source-scheduler-2", Role::Scheduler),
    ("source-gateway", Role::Gateway),
];

/// Builds a source system and starts its roles.
pub(crate) async fn build(means: &Means<'_>, size: Size) -> anyhow::Result<Source> {
    let cluster = start_cluster(means).await?;
    cluster.create_database("cowork").context("the source's database can't be created")?;
    let settings = Settings {
        folder: means.work.folder("source")?,
        database_url: cluster.url("cowork"),
        workspaces: means.work.folder("workspaces")?,
        redirect_to: None,
        lease: means.pace.lease,
        work_folder: means.work.path().to_owned(),
        search_path: means.search_path.to_owned(),
    };
    let secrets = SecretValues::generate(means.sources);
    let environment = settings.write(&secrets).context("the source's folder can't be written")?;
    let launcher = Launcher {
        executable: means.executable.to_owned(),
        config: settings.config_path(),
        logs: settings.logs(),
        environment,
    };
    let planted = Planted::generate(means.sources);
    let operator_token = initialise(&launcher, &planted).await?;
    let mut canaries = Canaries::default();
    planted.register(&mut canaries);
    canaries.add(CanaryClass::ApiToken, "the operator's token", operator_token.expose_secret());
    let roles = start_roles(&launcher, means.sources).await?;
    let sink = Sink::start(means.sources.clone()).await.context("the recording sink can't listen")?;
    let repository = Repository::serve(means.work.folder("repository")?, means.search_path).await?;
    let urls = life::Urls {
        web: url_of(&roles, Role::Web),
        gateway: url_of(&roles, Role::Gateway),
        repository: repository.as_ref().map(Repository::url),
    };
    let operator = Client::new(&urls.web, operator_token.clone());
    let life = Life::begin(operator, urls, &sink, &planted, &mut canaries, size, means.sources).await?;
    let archive = means.work.path().join("archive");
    let sources = means.sources.clone();
    Ok(Source {
        cluster,
        settings,
        launcher,
        secrets,
        roles,
        sink,
        _repository: repository,
        operator_token,
        canaries,
        life: Arc::new(life),
        archive,
        sources,
        interruptions: Vec::new(),
    })
}

/// A cluster beside the work folder, which is gone with it. Starting one blocks, so it has a thread of its own.
async fn start_cluster(means: &Means<'_>) -> anyhow::Result<Cluster> {
    let (binaries, work, options) = (means.binaries.clone(), means.work.path().to_owned(), means.clusters);
    let empty = means.empty_cluster.map(Path::to_owned);
    let start = move || {
        let parent = work.parent().unwrap_or(&work);
        match empty {
            Some(empty) => Cluster::temporary_copy(&binaries, &empty, parent, options),
            None => Cluster::temporary_with(&binaries, parent, options),
        }
    };
    tokio::task::spawn_blocking(start).await?.context("a private Postgres cluster can't be started")
}

/// The target's cluster. One that is to be kept lives in the work folder, where no sweep looks.
pub(crate) async fn start_target_cluster(means: &Means<'_>, keep: bool) -> anyhow::Result<Cluster> {
    if !keep {
        return start_cluster(means).await;
    }
    let (binaries, folder) = (means.binaries.clone(), means.work.path().join("postgres"));
    let options = means.clusters;
    let start = move || Cluster::start(&binaries, &folder, options);
    tokio::task::spawn_blocking(start).await?.context("a private Postgres cluster can't be started")
}

async fn initialise(launcher: &Launcher, planted: &Planted) -> anyhow::Result<SecretString> {
    let arguments = ["admin", "init", "--org", "Northwind", "--email", &planted.email, "--json"];
    let done = launcher.run(&arguments).await?;
    if done.exit_code != Some(0) {
        bail!("`cowork admin init` failed: {}", done.last_words());
    }
    let initialised: Initialised = serde_json::from_str(&done.stdout).context("`cowork admin init` gave no JSON")?;
    Ok(initialised.token)
}

async fn start_roles(launcher: &Launcher, sources: &Sources) -> anyhow::Result<Vec<Supervised>> {
    let mut roles = Vec::new();
    for (name, role) in ROLES {
        roles.push(Supervised::start(launcher, name, role, sources).await?);
    }
    Ok(roles)
}

fn url_of(roles: &[Supervised], wanted: Role) -> String {
    roles.iter().find(|supervised| supervised.role == wanted).map(Supervised::url).unwrap_or_default()
}

impl Source {
    pub(crate) fn life(&self) -> &Arc<Life> {
        &self.life
    }

    /// Name and pid of every role's process, for the journal.
    pub(crate) fn processes(&self) -> Vec<(String, u32)> {
        self.roles.iter().map(|role| (role.name.clone(), role.pid())).collect()
    }

    /// `kill -9` of every role, one after the other; each is started again. Nothing that was acknowledged may be lost.
    pub(crate) fn kill_each_role_once(&self) {
        self.roles.iter().for_each(Supervised::kill_process);
    }

    /// Waits until the world has everything that a drill wants to see in a backup.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        self.life.settle(&self.sink).await
    }

    /// Lets happen what a restore must not forget, and waits until life has visibly gone on since `since`.
    pub(crate) async fn live_on(&self, since: Timestamp) -> anyhow::Result<()> {
        self.sink.release();
        self.life.live_on(&self.sink, since).await
    }

    /// Backs the system up, busy as it is.
    pub(crate) async fn back_up(&self) -> anyhow::Result<(String, String)> {
        let archive = self.archive.display().to_string();
        let done = self.launcher.run(&["backup", "--archive", &archive, "--json"]).await?;
        if done.exit_code != Some(0) {
            bail!("`cowork backup` failed: {}", done.stderr.trim());
        }
        let backed_up: BackedUp = serde_json::from_str(&done.stdout).context("`cowork backup` gave no JSON")?;
        Ok((backed_up.backup_id, done.stdout + &done.stderr))
    }

    /// Kills every role, copies the database at rest and the objects to `folder`, and goes on.
    pub(crate) async fn photograph(mut self, means: &Means<'_>, folder: &Path) -> anyhow::Result<Self> {
        let mut places = Vec::new();
        for role in std::mem::take(&mut self.roles) {
            places.push((role.name.clone(), role.role, role.address));
            self.interruptions.extend(ends(&role));
            if role.role == Role::Gateway {
                self.interruptions.push(self.sources.now());
            }
            role.destroy().await;
        }
        let (to, objects, options) = (folder.to_owned(), self.settings.objects(), means.clusters);
        let mut cluster = self.cluster;
        let cluster = tokio::task::spawn_blocking(move || {
            cluster.copy_at_rest(&to.join("postgres"), options)?;
            crate::copying::copy(&objects, &to.join("objects"))?;
            anyhow::Ok(cluster)
        });
        let cluster = cluster.await?.context("the source can't be photographed")?;
        let mut roles = Vec::new();
        for (name, role, address) in places {
            roles.push(Supervised::start_at(&self.launcher, &name, role, address, &self.sources).await?);
        }
        Ok(Self { cluster, roles, ..self })
    }

    /// The disaster: every process of the system is killed at once, its database and its objects are gone.
    pub(crate) async fn destroy(mut self, backup: (String, String)) -> anyhow::Result<Aftermath> {
        let fired = self.life.fired().await?;
        let restarts = self.roles.iter().map(|role| role.ends().len() as u64).sum();
        let mut interruptions = std::mem::take(&mut self.interruptions);
        interruptions.extend(self.roles.iter().flat_map(ends));
        self.roles.iter().for_each(Supervised::doom);
        kill(Pid::from_raw(self.cluster.pid()), Signal::SIGKILL).context("the source's Postgres can't be killed")?;
        let disaster_at = self.sources.now();
        interruptions.push(disaster_at);
        for role in std::mem::take(&mut self.roles) {
            role.destroy().await;
        }
        interruptions.push(self.sources.now());
        let arrived = self.sink.mark();
        tokio::task::spawn_blocking(move || drop(self.cluster)).await?;
        for folder in [self.settings.objects(), self.settings.workspaces.clone()] {
            std::fs::remove_dir_all(&folder).context("the source's files can't be removed")?;
        }
        let known = self.life.conclude();
        let mut canaries = self.canaries;
        for token in known.people.iter().flat_map(People::tokens) {
            canaries.add(CanaryClass::ChannelCredential, "a question's token", token.expose_secret());
        }
        Ok(Aftermath {
            origin: Origin::Archive(OurArchive { folder: self.archive, backup_id: backup.0 }),
            backup_output: backup.1,
            elsewhere: vec![Elsewhere::Database(self.settings.database_url.clone())],
            operator_token: self.operator_token,
            secrets: self.secrets,
            sink: self.sink,
            arrived,
            witness: true,
            canaries,
            workspaces: self.settings.workspaces.clone(),
            logs: Some(self.settings.logs()),
            ledger: Some(self.settings.ledger()),
            acknowledged: known.acknowledged,
            inbound: known.inbound,
            inbound_channel: Some(known.inbound_channel),
            called: Some(known.called),
            smoke: Some(known.smoke),
            held: known.held,
            standing: known.standing,
            kept: known.kept,
            people: known.people,
            fired,
            restarts,
            disaster_at,
            interruptions,
        })
    }
}

/// When processes of a role ended, if it is one that sends.
fn ends(role: &Supervised) -> Vec<Timestamp> {
    if role.role == Role::Gateway { role.ends() } else { Vec::new() }
}
