//! The world that all faults share: built once, photographed when its backup would be taken, and then lost.
//!
//! Every trial begins with copies: of the cluster at rest, of the objects (links to files that nobody writes into), of
//! what the world outside remembers. So a trial costs a recovery, and no rehearsal.
//!
//! Not here: what is broken in the copies (`trial`).

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clock::{Sources, Timestamp};
use localpg::{Binaries, Cluster};
use secrecy::SecretString;
use serde::Deserialize;

use super::making::Made;
use crate::copying;
use crate::origin::{Origin, OurArchive};
use crate::processes::Launcher;
use crate::rehearsal::{self, Aftermath, Elsewhere, KnownChannel, Means, Size};
use crate::rigging::Pace;
use crate::run;
use crate::settings::{SecretValues, Settings};
use crate::work::WorkFolder;

/// What a corpus works with.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) binaries: Binaries,
    pub(crate) executable: PathBuf,
    pub(crate) search_path: String,
    pub(crate) sources: Sources,
    pub(crate) work: WorkFolder,
}

/// What `cowork backup --json` prints, as far as it matters here.
#[derive(Debug, Deserialize)]
struct BackedUp {
    backup_id: String,
}

/// A photographed world.
#[derive(Debug)]
pub(crate) struct Template {
    /// Below it, `postgres` (a cluster at rest) and `objects`.
    photograph: PathBuf,
    /// What the world outside knows at the end. Its origin is a backup of the photograph.
    aftermath: Aftermath,
    archive: OurArchive,
    photographed_at: Timestamp,
}

impl Tools {
    /// For drills below `work`.
    pub(crate) fn means<'a>(
        &'a self,
        work: &'a WorkFolder,
        sources: &'a Sources,
        executable: &'a Path,
        empty_cluster: Option<&'a Path>,
    ) -> Means<'a> {
        Means {
            binaries: &self.binaries,
            executable,
            search_path: &self.search_path,
            work,
            sources,
            pace: Pace::BRISK,
            clusters: localpg::Options::fast(),
            empty_cluster,
        }
    }

    /// A cluster at rest with nothing in it.
    pub(crate) async fn empty_cluster(&self) -> anyhow::Result<PathBuf> {
        let (binaries, folder) = (self.binaries.clone(), self.work.path().join("empty"));
        let started = folder.clone();
        let start = move || -> anyhow::Result<()> {
            let cluster = Cluster::start(&binaries, &started, localpg::Options::fast())?;
            Ok(cluster.stop()?)
        };
        tokio::task::spawn_blocking(start).await?.context("an empty cluster can't be made")?;
        Ok(folder)
    }
}

impl Template {
    /// Builds a world of `size`, photographs it, lets life go on, and destroys it.
    pub(crate) async fn build(tools: &Tools, name: &str, size: Size, seed: u64) -> anyhow::Result<Self> {
        let work = WorkFolder::create(tools.work.path(), name)?;
        let sources = run::world_sources(seed);
        let means = tools.means(&work, &sources, &tools.executable, None);
        let source = rehearsal::build(&means, size).await.context("the shared world can't be built")?;
        source.life().populate(|_| ()).await?;
        source.settle().await?;
        let photograph = tools.work.path().join(format!("photograph-{name}"));
        let source = source.photograph(&means, &photograph).await?;
        let photographed_at = tools.sources.now();
        source.live_on(photographed_at).await?;
        // Nothing of it is in the photograph, so no backup is made here: the aftermath's origin is put in below.
        let aftermath = source.destroy((String::new(), String::new())).await?;
        let archive =
            OurArchive { folder: tools.work.path().join(format!("archive-{name}")), backup_id: String::new() };
        let mut template = Self { photograph, aftermath, archive, photographed_at };
        let copy = template.clone_source(tools, &work).await?;
        let (backup_id, said) = copy.back_up(&template.archive.folder).await?;
        template.archive.backup_id = backup_id;
        template.aftermath.backup_output = said;
        // The ledger stays for the replay, and the logs for row 10; the rest of the folder goes with it.
        let ledger = tools.work.path().join(format!("ledger-{name}"));
        if let Some(from) = template.aftermath.ledger.replace(ledger.clone()) {
            copying::copy(&from, &ledger)?;
        }
        let logs = tools.work.path().join(format!("logs-{name}"));
        if let Some(from) = template.aftermath.logs.replace(logs.clone()) {
            copying::copy(&from, &logs)?;
        }
        Ok(template)
    }

    /// The source as it was when it was photographed, without its roles.
    pub(crate) async fn clone_source(&self, tools: &Tools, work: &WorkFolder) -> anyhow::Result<SourceCopy> {
        let (binaries, from) = (tools.binaries.clone(), self.photograph.join("postgres"));
        let parent = work.path().parent().unwrap_or(work.path()).to_owned();
        let start = move || Cluster::temporary_copy(&binaries, &from, &parent, localpg::Options::fast());
        let cluster = tokio::task::spawn_blocking(start).await?.context("the source can't be copied")?;
        let settings = Settings {
            folder: work.folder("source-copy")?,
            database_url: cluster.url("cowork"),
            workspaces: work.folder("source-workspaces")?,
            redirect_to: None,
            lease: Pace::BRISK.lease,
            work_folder: work.path().to_owned(),
            search_path: tools.search_path.clone(),
        };
        let environment = settings.write(&self.aftermath.secrets)?;
        copying::link(&self.photograph.join("objects"), &settings.objects())?;
        let launcher = Launcher {
            executable: tools.executable.clone(),
            config: settings.config_path(),
            logs: settings.logs(),
            environment,
        };
        Ok(SourceCopy { settings, launcher, _cluster: cluster })
    }

    /// The archive with the backup of the photograph, as a copy of one's own.
    pub(crate) fn clone_archive(&self, work: &WorkFolder) -> anyhow::Result<OurArchive> {
        let folder = work.path().join("archive");
        copying::link(&self.archive.folder, &folder)?;
        Ok(OurArchive { folder, backup_id: self.archive.backup_id.clone() })
    }

    pub(crate) fn secrets(&self) -> &SecretValues {
        &self.aftermath.secrets
    }

    /// The operator's token, and a channel that takes messages.
    pub(crate) fn known(&self) -> (&SecretString, Option<&KnownChannel>) {
        (&self.aftermath.operator_token, self.aftermath.inbound_channel.as_ref())
    }

    /// Of the receiver that the source had.
    pub(crate) fn sink_url(&self, behaviour: &str, channel: &str) -> String {
        self.aftermath.sink.url(behaviour, channel)
    }

    /// What the world outside knows, for a recovery from what was `made`. What was acknowledged after the photograph is
    /// left out: a backup that was made of it later does not have to hold that.
    pub(crate) async fn aftermath(&self, tools: &Tools, made: Made, work: &WorkFolder) -> anyhow::Result<Aftermath> {
        let known = &self.aftermath;
        let before = |at: &Timestamp| *at < self.photographed_at;
        Ok(Aftermath {
            origin: Origin::Archive(made.archive),
            elsewhere: known.elsewhere.clone(),
            operator_token: known.operator_token.clone(),
            secrets: made.secrets,
            sink: known.sink.replica(tools.sources.clone()).await?,
            canaries: known.canaries.clone(),
            workspaces: work.folder("workspaces")?,
            logs: known.logs.clone(),
            ledger: known.ledger.clone(),
            backup_output: made.said.unwrap_or_else(|| known.backup_output.clone()),
            acknowledged: known.acknowledged.iter().filter(|one| before(&one.at)).copied().collect(),
            inbound: known.inbound.iter().filter(|one| before(&one.at)).cloned().collect(),
            arrived: known.arrived,
            witness: known.witness,
            inbound_channel: known.inbound_channel.clone(),
            called: known.called.clone(),
            smoke: known.smoke.clone(),
            held: known.held.clone(),
            standing: known.standing.clone(),
            kept: known.kept.clone(),
            people: known.people.clone(),
            fired: known.fired.clone(),
            restarts: known.restarts,
            disaster_at: known.disaster_at,
            interruptions: known.interruptions.clone(),
        })
    }

    pub(crate) fn canaries(&self) -> &[redact::Needle] {
        self.aftermath.canaries.needles()
    }
}

/// A source at rest: its database runs, its roles don't. Gone when dropped.
#[derive(Debug)]
pub(crate) struct SourceCopy {
    pub(crate) settings: Settings,
    pub(crate) launcher: Launcher,
    _cluster: Cluster,
}

impl SourceCopy {
    /// Where its server answers.
    pub(crate) fn place(&self) -> Elsewhere {
        Elsewhere::Database(self.settings.database_url.clone())
    }

    /// Gives back the backup's id, and what was printed.
    pub(crate) async fn back_up(&self, archive: &Path) -> anyhow::Result<(String, String)> {
        let archive = archive.display().to_string();
        let done = self.launcher.run(&["backup", "--archive", &archive, "--json"]).await?;
        if done.exit_code != Some(0) {
            bail!("`cowork backup` failed: {}", done.stderr.trim());
        }
        let backed_up: BackedUp = serde_json::from_str(&done.stdout).context("`cowork backup` gave no JSON")?;
        Ok((backed_up.backup_id, done.stdout + &done.stderr))
    }
}
