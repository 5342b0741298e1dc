//! The making of a trial's backup: of the photograph as it is, or of a source in which something was broken or happened
//! before.
//!
//! Not here: the drill of it (`trial`).

use anyhow::{Context as _, ensure};
use ids::BackupId;
use tokio_util::sync::CancellationToken;

use super::act::{Act, Scene as Stage};
use super::fault::Step;
use super::harm::Patient;
use super::live::Awake;
use super::live::scenes::{Scene, go_on};
use super::template::{SourceCopy, Template, Tools};
use crate::origin::OurArchive;
use crate::processes::Role;
use crate::settings::SecretValues;
use crate::work::WorkFolder;

/// Who is there while a source is backed up that is busy.
const BUSY: [Role; 3] = [Role::Web, Role::Worker, Role::Scheduler];

/// What a trial's backup is made from, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Making<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) template: &'a Template,
    pub(crate) work: &'a WorkFolder,
}

/// A backup, and what the world outside knows of it.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) archive: OurArchive,
    /// What `cowork backup` printed, if there was a backup of this trial's own.
    pub(crate) said: Option<String>,
    pub(crate) secrets: SecretValues,
    /// The source, if its server outlives the disaster.
    pub(crate) survivor: Option<SourceCopy>,
}

impl Making<'_> {
    /// The backup that is to be restored.
    pub(crate) async fn backup(&self, steps: &[Step]) -> anyhow::Result<Made> {
        let of_backup = |step: &Step| {
            use Step::{After, Backup, CanaryAsOwner, DeafScanner, Wrapper};
            matches!(step, Backup(_) | After(..) | Wrapper(_) | CanaryAsOwner | DeafScanner)
        };
        let mut made = Made {
            archive: self.template.clone_archive(self.work)?,
            said: None,
            secrets: self.template.secrets().clone(),
            survivor: None,
        };
        let mut earlier = None;
        if !steps.iter().all(of_backup) {
            let mut copy = self.template.clone_source(self.tools, self.work).await?;
            for step in steps {
                match step {
                    Step::EarlierBackup => earlier = Some(copy.back_up(&made.archive.folder).await?.0),
                    step => self.prepare(&mut copy, &mut made, step).await?,
                }
            }
            let busy = steps.iter().any(|step| matches!(step, Step::BusyBackup));
            let (backup_id, printed) =
                if busy { self.busy_backup(&copy, &made).await? } else { copy.back_up(&made.archive.folder).await? };
            (made.archive.backup_id, made.said) = (backup_id, Some(printed));
            made.survivor = steps.iter().any(|step| matches!(step, Step::Survivor)).then_some(copy);
        }
        let (folder, backup_id) = (&made.archive.folder, &made.archive.backup_id);
        let patient = Patient { archive: folder, backup_id, earlier: earlier.as_deref() };
        for step in steps {
            if let Step::Backup(harm) = step {
                patient.suffer(*harm)?;
            }
        }
        Ok(made)
    }

    /// One step before the backup.
    async fn prepare(&self, copy: &mut SourceCopy, made: &mut Made, step: &Step) -> anyhow::Result<()> {
        match step {
            Step::Source(act) => self.break_source(copy, *act).await,
            Step::Scene(scene) => self.play(copy, *scene).await,
            Step::RotateKey => {
                made.secrets.rotate_key(&self.tools.sources);
                copy.launcher.environment = copy.settings.write(&made.secrets)?;
                Ok(())
            }
            Step::NextGeneration => {
                let backup: BackupId = self.tools.sources.id();
                let arguments = ["admin", "generation", "start", "--environment", "production", "--without-ledger"];
                let backup = ["--backup".to_owned(), backup.to_string()];
                let arguments: Vec<&str> = arguments.into_iter().chain(backup.iter().map(String::as_str)).collect();
                let done = copy.launcher.run(&arguments).await?;
                ensure!(done.exit_code == Some(0), "another generation can't be begun: {}", done.stderr.trim());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn break_source(&self, copy: &mut SourceCopy, act: Act) -> anyhow::Result<()> {
        let mut stage = Stage {
            database_url: &copy.settings.database_url,
            folder: &copy.settings.folder,
            objects: copy.settings.objects(),
            environment: &mut copy.launcher.environment,
            roles: &mut [],
            needles: self.template.canaries(),
            sink: self.template.sink_url("refuse", "accept"),
        };
        stage.act(act).await
    }

    async fn wake<'a>(&'a self, copy: &'a SourceCopy, roles: &[Role]) -> anyhow::Result<Awake<'a>> {
        let (token, channel) = self.template.known();
        let awake = Awake::with(copy, roles, token, channel, &self.tools.sources);
        awake.await.context("the copy's roles can't be started")
    }

    async fn play(&self, copy: &SourceCopy, scene: Scene) -> anyhow::Result<()> {
        let awake = self.wake(copy, scene.roles()).await?;
        scene.play(&awake).await.with_context(|| format!("the scene {scene:?} can't be played"))?;
        awake.rest().await
    }

    async fn busy_backup(&self, copy: &SourceCopy, made: &Made) -> anyhow::Result<(String, String)> {
        let awake = self.wake(copy, &BUSY).await?;
        awake.fires().await?;
        let stop = CancellationToken::new();
        let (busy, backed_up) = tokio::join!(go_on(&awake, stop.clone()), async {
            let backed_up = copy.back_up(&made.archive.folder).await;
            stop.cancel();
            backed_up
        });
        busy.context("life came to a halt during the backup")?;
        awake.rest().await?;
        backed_up
    }
}
