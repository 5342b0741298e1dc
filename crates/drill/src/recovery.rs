//! The recovery: restore, look at the data, then web, one worker, schedulers and gateway, in this order. Between two
//! stages stands a proof that the roles which are not yet due were idle.
//!
//! Not here: the stages in which something is judged (`data`, `served`, `roles`), what each check compares (`checks`).

mod data;
mod roles;
mod served;

use std::collections::BTreeMap;

use archive::manifest::SecretVersion;
use attest::statement::{self, Digest, Subject};
use serde_json::Value;

use crate::backup::Backup;
use crate::checks::Inquiry;
use crate::options::Options;
use crate::origin::{Expected, Ground, Refusal, Restored};
use crate::pause;
use crate::plan::Roles;
use crate::proceedings::{Done, Halt, Name, Proceedings};
use crate::processes::Role;
use crate::rehearsal::kept::Kept;
use crate::rehearsal::later::Standing;
use crate::rehearsal::people::People;
use crate::rehearsal::{Aftermath, Means};
use crate::report::{Check, CheckId, Code, Span};
use crate::run::Gathered;
use crate::said::{Fact, Factual as _, Name as Told, Sentence, Transcript, facts, say};
use crate::survey::{Wanted, survey};
use crate::target::Target;

const PREPARE: Name = Name::new("prepare", "Prepare an empty target");
const RESTORE: Name = Name::new("restore", "Restore Postgres and the objects");
const DATA: Name = Name::new("data", "Check the restored data");
const GENERATION: Name = Name::new("generation", "Begin a new generation, as a drill");
const WEB: Name = Name::new("web", "Boot web only");
const OPERATOR: Name = Name::new("operator", "Read what an operator reads");
const QUIET: Name = Name::quiet("quiet", "Watch that nothing moves");
const READ: Name = Name::new("read", "Read through the API");
const WORKER: Name = Name::new("worker", "Enable one worker");
const LEASE: Name = Name::quiet("lease", "Outlast a stopped worker's lease");
const SAVED: Name = Name::new("saved", "Open what it saved");
const SCHEDULER: Name = Name::new("scheduler", "Enable two schedulers");
const SLOTS: Name = Name::quiet("slots", "Wait for slots to fall due");
const GATEWAY: Name = Name::new("gateway", "Enable the gateway");
const SETTLE: Name = Name::quiet("settle", "Wait until nothing more is sent");

/// A restored system with all of its roles.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) target: Target,
    /// What `cowork restore` printed.
    pub(crate) output: String,
    /// Roles that did not stop well.
    pub(crate) unwell: Vec<String>,
}

/// Brings the system back.
pub(crate) async fn recover(
    proceedings: &mut Proceedings,
    options: &Options,
    means: &Means<'_>,
    aftermath: &Aftermath,
    gathered: &mut Gathered,
) -> Result<Recovered, Halt> {
    let ground = prepare(proceedings, options, means, aftermath).await?;
    let from = proceedings.sources.now();
    let mut rows = proceedings.inquire(CheckId::PostgresRestore);
    let restored = match restore(proceedings, means, aftermath, ground, &mut rows).await? {
        Ok(restored) => restored,
        Err(refusal) => return Err(refused(proceedings, rows, &refusal)),
    };
    let Restored { mut target, expected, mut output } = restored;
    if let Some(run) = &options.plan
        && let Roles::Commands { commands, .. } = &run.plan.roles
    {
        let commands = commands.iter().map(|(role, commands)| (role.as_str().to_owned(), commands.clone()));
        target.operated_by(commands.collect(), &run.inherited);
    }
    let backup = match expected {
        Expected::Manifest(backup) => *backup,
        Expected::Surveyed { backup_id, taken_at, damage, doubt } => {
            gathered.notes.extend(doubt.map(Sentence::from));
            if let Some(damage) = damage {
                rows.fault(Code::BackupDamaged, damage);
            }
            let (wanted, who) = (Wanted { backup_id, taken_at }, (&target, &aftermath.secrets));
            let surveyed = survey(proceedings, options, means, who, wanted, rows).await?;
            rows = surveyed.1;
            surveyed.0
        }
    };
    gathered.describe(&backup);
    gathered.attested = attested(proceedings, &backup).map_err(|cause| Halt::Stage { stage: RESTORE.title, cause })?;
    gathered.rpo = Some(Span { from: backup.manifest.snapshot.taken_at, to: aftermath.disaster_at });
    let mut stages = Stages { proceedings, options, aftermath, backup: &backup, target: &mut target };
    stages.pause(RESTORE).await?;
    let parity = stages.check_data(rows, gathered).await?;
    stages.meddle(DATA.id).await?;
    let restored_at = stages.proceedings.sources.now();
    let (counts, said) = stages.begin_generation(gathered).await?;
    output += &said;
    stages.pause(GENERATION).await?;
    let mut boot = stages.inquire(CheckId::WebOnlyBoot);
    let web = stages.start(WEB, "web", Role::Web, &mut boot).await?;
    if !web {
        return Err(stages.give_up(WEB, boot));
    }
    stages.meddle("booted").await?;
    let operator = stages.target.operator(&aftermath.operator_token);
    stages.check_boot(&operator, &counts, boot).await?;
    stages.meddle(QUIET.id).await?;
    stages.check_reads(&operator, parity).await?;
    stages.pause(WEB).await?;
    let idle = stages.activity().await?;
    stages.enable_worker(&operator).await?;
    stages.pause(WORKER).await?;
    stages.enable_schedulers(&operator, &idle, restored_at, gathered).await?;
    stages.pause(SCHEDULER).await?;
    stages.enable_gateway(&operator, &idle, gathered).await?;
    stages.meddle(GATEWAY.id).await?;
    gathered.rto = Some(Span { from, to: proceedings.sources.now() });
    Ok(Recovered { target, output, unwell: Vec::new() })
}

async fn prepare(
    proceedings: &mut Proceedings,
    options: &Options,
    means: &Means<'_>,
    aftermath: &Aftermath,
) -> Result<Ground, Halt> {
    proceedings
        .stage(PREPARE, async |_| {
            let (ground, proof) = aftermath.origin.prepare(means, options.keep).await?;
            Ok(Done::with_proof(ground, proof))
        })
        .await
}

/// Restores, and keeps what the tools said.
async fn restore(
    proceedings: &mut Proceedings,
    means: &Means<'_>,
    aftermath: &Aftermath,
    ground: Ground,
    rows: &mut Inquiry,
) -> Result<Result<Restored, Refusal>, Halt> {
    proceedings
        .stage(RESTORE, async |_| {
            let outcome = aftermath.origin.restore(ground, means, aftermath).await?;
            let said = outcome.as_ref().map_or_else(|refusal| &refusal.output, |restored| &restored.output);
            rows.record_text("restore-output", &Transcript::heard(said));
            Ok(Done::plain(outcome))
        })
        .await
}

/// The end of a drill whose backup is broken.
fn refused(proceedings: &mut Proceedings, mut rows: Inquiry, refusal: &Refusal) -> Halt {
    let stage = RESTORE.title;
    rows.fault(refusal.code, refusal.cause.clone());
    match proceedings.judged(rows.conclude("")) {
        Ok(()) => Halt::Stage { stage, cause: anyhow::Error::new(refusal.cause.clone()) },
        Err(cause) => Halt::Stage { stage, cause },
    }
}

/// What the stages after the restore work with.
struct Stages<'a> {
    proceedings: &'a mut Proceedings,
    options: &'a Options,
    aftermath: &'a Aftermath,
    backup: &'a Backup,
    target: &'a mut Target,
}

type Activity = BTreeMap<String, Value>;

impl<'a> Stages<'a> {
    /// Where the corpus breaks something. In an operator's drill nothing happens here.
    async fn meddle(&mut self, after: &'static str) -> Result<(), Halt> {
        let Some(sabotage) = self.proceedings.rigging.sabotage.clone() else { return Ok(()) };
        let done = sabotage.after(after, self.target, self.aftermath).await;
        done.map_err(|cause| Halt::Stage { stage: after, cause })
    }

    async fn pause(&mut self, after: Name) -> Result<(), Halt> {
        self.meddle(after.id).await?;
        if self.options.pause_after.as_deref() == Some(after.id) {
            pause::for_a_person(self.proceedings, after.id, self.target, self.aftermath).await?;
        }
        Ok(())
    }

    fn inquire(&self, id: CheckId) -> Inquiry {
        self.proceedings.inquire(id)
    }

    fn judged(&mut self, stage: Name, inquiry: Inquiry, summary: &'static str) -> Result<(), Halt> {
        let judged = self.proceedings.judged(inquiry.conclude(summary));
        judged.map_err(|cause| Halt::Stage { stage: stage.title, cause })
    }

    async fn activity(&self) -> Result<Activity, Halt> {
        let sql = self.backup.sql("activity");
        let read = async { self.target.activity(sql?).await };
        read.await.map_err(|cause| Halt::Stage { stage: QUIET.title, cause })
    }

    /// Starts a role. One that does not come up is a fault of the restored system: `false`.
    async fn start(&mut self, stage: Name, name: &str, role: Role, inquiry: &mut Inquiry) -> Result<bool, Halt> {
        let target = &mut *self.target;
        self.proceedings.stage(stage, async |_| Ok(Done::plain(inquiry.started(target.start(name, role).await)))).await
    }

    /// Judges what is known; the rest can't be looked at any more.
    fn give_up(&mut self, stage: Name, inquiry: Inquiry) -> Halt {
        let cause = anyhow::anyhow!("the role did not start");
        self.judged(stage, inquiry, "").err().unwrap_or(Halt::Stage { stage: stage.title, cause })
    }

    /// What was decided after the backup, if the restored system had a ledger to learn it from.
    fn standing(&self) -> Option<&'a Standing> {
        self.aftermath.standing.as_ref().filter(|_| self.aftermath.ledger.is_some())
    }

    /// What was set otherwise after the backup, in the same case.
    fn kept(&self) -> Option<&'a Kept> {
        self.aftermath.kept.as_ref().filter(|_| self.aftermath.ledger.is_some())
    }

    /// Who may do what in a chat, and what was decided there, in the same case.
    fn people(&self) -> Option<&'a People> {
        self.aftermath.people.as_ref().filter(|_| self.aftermath.ledger.is_some())
    }

    /// Whether the plan leaves a row out. It is judged then: as not verified.
    fn exclude(&mut self, id: CheckId) -> Result<bool, Halt> {
        let plan = self.options.plan.as_ref().map(|run| &run.plan);
        let exclusion = plan.and_then(|plan| plan.exclusions.iter().find(|exclusion| exclusion.check == id));
        let Some(exclusion) = exclusion else { return Ok(false) };
        let check = Check::not_run(id, self.proceedings.sources.now(), exclusion.sentence());
        let judged = self.proceedings.judged(check);
        judged.map_err(|cause| Halt::Stage { stage: "Leave a row out", cause })?;
        Ok(true)
    }

    /// No role that was started has ended since.
    async fn judge_living(&mut self, inquiry: &mut Inquiry) {
        for name in self.target.dead_roles().await {
            inquiry.fault(Code::RoleDied, say!("the role {} has ended by itself", Told::given(&name)));
        }
    }
}

/// What of the backup is sealed. The names and versions of its secrets are kept as they are: a digest alone would tell
/// nobody anything, and could be guessed.
fn attested(proceedings: &Proceedings, backup: &Backup) -> anyhow::Result<Vec<Subject>> {
    let secret =
        |secret: &SecretVersion| facts!({"name": Told::given(&secret.name), "version": Told::given(&secret.version)});
    let secrets: Vec<Fact> = backup.manifest.secrets.iter().map(secret).collect();
    let references = proceedings.evidence.write_json("secret-references", "manifest", &secrets.fact())?;
    let [database, objects] = backup.digests()?;
    let subject = |(name, sha256): (&str, String)| Subject { name: name.to_owned(), digest: Digest { sha256 } };
    Ok(statement::BACKUP.into_iter().zip([database, objects, references.sha256]).map(subject).collect())
}
