//! One trial: a copy of the shared world is broken as its steps say, and drilled.
//!
//! Not here: which worlds there are (`catalogue`, `healthy`), what counts as caught (`fault`).

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use attest::{EvidenceFolder, Journal};
use clock::Sources;
use redact::CanaryClass;
use tokio_util::sync::CancellationToken;

use super::act::{Act, Sabotage, Scene};
use super::fault::{Step, Told, told};
use super::harm::Patient;
use super::template::{Template, Tools};
use crate::options::Options;
use crate::origin::OurArchive;
use crate::out::Out;
use crate::proceedings::{Halt, Proceedings};
use crate::progress::Progress;
use crate::rehearsal::Aftermath;
use crate::report::{Comparison, Report};
use crate::rigging::{Pace, Rigging};
use crate::run::{self, Gathered, Identity};
use crate::work::WorkFolder;

/// What all trials share.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) tools: Tools,
    pub(crate) template: Template,
    pub(crate) empty_cluster: PathBuf,
    /// Trials work below it.
    pub(crate) trials: PathBuf,
    /// A report for each trial.
    pub(crate) reports: PathBuf,
    /// As for an operator's drill; what differs is set for each trial.
    pub(crate) options: Options,
    pub(crate) blind: Option<Comparison>,
    pub(crate) cancel: CancellationToken,
}

/// A trial that was carried out.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) told: BTreeSet<Told>,
    pub(crate) report: Report,
}

/// Breaks a copy of the world and drills it.
pub(crate) async fn carry_out(ground: &Ground, id: &str, steps: &[Step]) -> anyhow::Result<Tried> {
    let tools = &ground.tools;
    let work = WorkFolder::create(&ground.trials, id)?;
    let (archive, said) = backup(ground, &work, steps).await.context("the world could not be made")?;
    let aftermath = ground.template.aftermath(tools, archive, said, &work).await?;
    let executable = match wrapper(steps) {
        Some(clauses) => write_wrapper(&work, &tools.executable, &clauses, canary(&ground.template))?,
        None => tools.executable.clone(),
    };
    let mut options = Options { out: ground.reports.join(id), executable, ..ground.options.clone() };
    if steps.iter().any(|step| matches!(step, Step::CanaryAsOwner)) {
        options.metadata.report_owner = canary(&ground.template).to_owned();
    }
    drill(ground, options, work, aftermath, rigging(ground, steps)).await
}

fn rigging(ground: &Ground, steps: &[Step]) -> Rigging {
    let after = |step: &Step| match step {
        Step::After(stage, act) => Some((*stage, *act)),
        _ => None,
    };
    Rigging {
        pace: Pace::BRISK,
        blind: ground.blind,
        sabotage: Some(Arc::new(Sabotage { acts: steps.iter().filter_map(after).collect() })),
        deaf: steps.iter().any(|step| matches!(step, Step::DeafScanner)),
        die_after_entry: None,
    }
}

/// The backup that is to be restored: of the photograph, or of a source that was broken before.
async fn backup(ground: &Ground, work: &WorkFolder, steps: &[Step]) -> anyhow::Result<(OurArchive, Option<String>)> {
    let of_source = |step: &Step| matches!(step, Step::Source(_) | Step::EarlierBackup);
    let (mut archive, mut said, mut earlier) = (ground.template.clone_archive(work)?, None, None);
    if steps.iter().any(of_source) {
        let mut copy = ground.template.clone_source(&ground.tools, work).await?;
        for step in steps {
            match step {
                Step::Source(act) => break_source(ground, &mut copy, *act).await?,
                Step::EarlierBackup => earlier = Some(copy.back_up(&archive.folder).await?.0),
                _ => {}
            }
        }
        let (backup_id, printed) = copy.back_up(&archive.folder).await?;
        (archive.backup_id, said) = (backup_id, Some(printed));
    }
    let patient = Patient { archive: &archive.folder, backup_id: &archive.backup_id, earlier: earlier.as_deref() };
    for step in steps {
        if let Step::Backup(harm) = step {
            patient.suffer(*harm)?;
        }
    }
    Ok((archive, said))
}

async fn break_source(ground: &Ground, copy: &mut super::template::SourceCopy, act: Act) -> anyhow::Result<()> {
    let mut scene = Scene {
        database_url: &copy.settings.database_url,
        folder: &copy.settings.folder,
        objects: copy.settings.objects(),
        environment: &mut copy.launcher.environment,
        roles: &mut [],
        needles: ground.template.canaries(),
        sink: String::new(),
    };
    scene.act(act).await
}

fn wrapper(steps: &[Step]) -> Option<String> {
    let clauses: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Wrapper(clauses) => Some(*clauses),
            _ => None,
        })
        .collect();
    (!clauses.is_empty()).then(|| clauses.join("\n"))
}

fn write_wrapper(work: &WorkFolder, real: &Path, clauses: &str, canary: &str) -> anyhow::Result<PathBuf> {
    let path = work.path().join("program");
    let script = format!(
        "#!/bin/sh\nREAL='{}'\nCANARY='{canary}'\nHERE='{}'\ncase \"$*\" in\n{clauses}\nesac\nexec \"$REAL\" \"$@\"\n",
        real.display(),
        work.path().display()
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// The email address that is planted.
fn canary(template: &Template) -> &str {
    let email = template.canaries().iter().find(|needle| needle.class == Some(CanaryClass::Email));
    email.map_or("", |needle| std::str::from_utf8(&needle.value).unwrap_or_default())
}

/// A drill of which the source's life is over.
async fn drill(
    ground: &Ground,
    options: Options,
    work: WorkFolder,
    aftermath: Aftermath,
    rigging: Rigging,
) -> anyhow::Result<Tried> {
    let sources: &Sources = &ground.tools.sources;
    let identity = Identity { drill_id: sources.id(), started_at: sources.now() };
    let out = Out::claim(&options.out, &identity.drill_id.to_string())?;
    let journal = Journal::open_new(&out.journal())?;
    let progress = Progress::on(options.mode, Box::new(std::io::sink()));
    let evidence = EvidenceFolder::new(out.path());
    let cancel = ground.cancel.clone();
    let mut proceedings = Proceedings::new(sources.clone(), evidence, journal, progress, cancel, rigging);
    let mut gathered = Gathered::default();
    let means = ground.tools.means(&work, sources, &options.executable, Some(&ground.empty_cluster));
    let recovered =
        run::bring_back(&mut proceedings, &options, identity, &means, &out, &aftermath, &mut gathered).await;
    let halt = match recovered {
        Ok(recovered) => run::tear_down(&mut proceedings, &options, work, recovered, aftermath).await.err(),
        Err(halt) => Some(halt),
    };
    let report = run::conclude(&mut proceedings, &options, identity, &mut gathered, halt.as_ref())?;
    report.write(out.path())?;
    proceedings.close_journal()?;
    anyhow::ensure!(!matches!(halt, Some(Halt::Interrupted)), "the drill was interrupted");
    Ok(Tried { told: told(&report), report })
}
