//! One trial: a copy of the shared world is broken as its steps say, and drilled.
//!
//! Not here: which worlds there are (`catalogue`, `healthy`), what counts as caught (`fault`).

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use attest::{EvidenceFolder, Journal};
use clock::Sources;
use redact::CanaryClass;
use tokio_util::sync::CancellationToken;

use super::fault::{Step, Told, told};
use super::making::Making;
use super::sabotage::Sabotage;
use super::template::{SourceCopy, Template, Tools};
use crate::options::Options;
use crate::out::Out;
use crate::proceedings::{Halt, Proceedings};
use crate::progress::Progress;
use crate::rehearsal::{Aftermath, Size};
use crate::report::{Comparison, Report};
use crate::rigging::{Pace, Rigging};
use crate::run::{self, Gathered, Identity};
use crate::work::WorkFolder;

/// What all trials share.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) tools: Tools,
    /// The shared worlds that are needed.
    pub(crate) templates: BTreeMap<World, Template>,
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

/// A world that trials are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum World {
    Shared,
    /// As the shared one, with one org.
    OneOrg,
    /// As little as a drill can ask about.
    Bare,
}

impl World {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::OneOrg => "one-org",
            Self::Bare => "bare",
        }
    }

    /// How large it is, besides the sessions that are there for what happens in them.
    pub(crate) fn size(self) -> Size {
        match self {
            Self::Shared => Size { sessions: 6, ..Size::FEW },
            Self::OneOrg => Size { sessions: 2, orgs: 1, ..Size::FEW },
            Self::Bare => Size { orgs: 1, bare: true, ..Size::FEW },
        }
    }
}

/// How the judge of a trial differs from an operator's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// A comparison that it leaves out.
    pub(crate) blind: Option<Comparison>,
    /// The stage after which it has seen enough.
    pub(crate) until: Option<&'static str>,
}

impl Ground {
    pub(crate) fn how(&self, until: Option<&'static str>) -> How {
        How { blind: self.blind, until }
    }
}

/// A trial that was carried out.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) told: BTreeSet<Told>,
    pub(crate) report: Report,
}

/// Breaks a copy of the world and drills it.
pub(crate) async fn carry_out(
    ground: &Ground,
    id: &str,
    world: World,
    steps: &[Step],
    how: How,
) -> anyhow::Result<Tried> {
    let tools = &ground.tools;
    let template = ground.templates.get(&world).context("this world was not built")?;
    let work = WorkFolder::create(&ground.trials, id)?;
    let made = Making { tools, template, work: &work }.backup(steps).await;
    let mut made = made.context("the world could not be made")?;
    let survivor = made.survivor.take();
    let mut aftermath = template.aftermath(tools, made, &work).await?;
    aftermath.elsewhere.extend(survivor.iter().map(SourceCopy::place));
    let executable = match wrapper(steps) {
        Some(clauses) => write_wrapper(&work, &tools.executable, &clauses, canary(template))?,
        None => tools.executable.clone(),
    };
    let mut options = Options { out: ground.reports.join(id), executable, ..ground.options.clone() };
    if steps.iter().any(|step| matches!(step, Step::CanaryAsOwner)) {
        options.metadata.report_owner = canary(template).to_owned();
    }
    let tried = drill(ground, options, work, aftermath, rigging(steps, how)).await;
    drop(survivor);
    tried
}

fn rigging(steps: &[Step], how: How) -> Rigging {
    let after = |step: &Step| match step {
        Step::After(stage, act) => Some((*stage, *act)),
        _ => None,
    };
    Rigging {
        pace: Pace::BRISK,
        blind: how.blind,
        sabotage: Some(Arc::new(Sabotage::of(steps.iter().filter_map(after).collect(), how.until))),
        deaf: steps.iter().any(|step| matches!(step, Step::DeafScanner)),
        die_after_entry: None,
    }
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
    let evidence = EvidenceFolder::new(out.path(), run::run_key(&options, identity.drill_id, sources));
    let cancel = ground.cancel.clone();
    let sabotage = rigging.sabotage.clone();
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
    if let Some(undone) = sabotage.as_ref().and_then(|sabotage| sabotage.undone()) {
        anyhow::bail!(undone);
    }
    Ok(Tried { told: told(&report), report })
}
