//! The recovery: restore, look at the data, then web, one worker, schedulers and gateway, in this order. Between two
//! stages stands a proof that the roles which are not yet due were idle.
//!
//! Not here: what each check compares (`checks`).

use std::collections::BTreeMap;

use anyhow::Context as _;
use archive::manifest::SecretVersion;
use attest::statement::{self, Digest, Subject};
use client::Client;
use clock::Timestamp;
use ids::SessionId;
use serde_json::Value;

use crate::backup::{Backup, Standard};
use crate::checks::{
    Inquiry, artifacts, audit, cursors, expectations, gateway, objects, parity, postgres, reading, scheduler, secrets,
    standing, web_only, worker,
};
use crate::options::Options;
use crate::origin::{Expected, Ground, Refusal, Restored};
use crate::pause;
use crate::plan::Roles;
use crate::proceedings::{Done, Halt, Name, Proceedings};
use crate::processes::Role;
use crate::rehearsal::later::Standing;
use crate::rehearsal::{Aftermath, Means};
use crate::remembering;
use crate::report::{Check, CheckId, Code, FollowUp, FollowUpStatus, Severity, Span, TableCount};
use crate::run::Gathered;
use crate::said::{Fact, Factual as _, Name as Told, Sentence, Transcript, facts, say};
use crate::survey::{Wanted, survey};
use crate::target::{Target, moved};

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

/// Counters of the probe `activity` that only a scheduler moves.
const SCHEDULERS_COUNTERS: [&str; 3] = ["slots", "runs", "triggers_next_due"];
/// Counters of the probe `activity` that only a gateway moves.
const GATEWAYS_COUNTERS: [&str; 6] =
    ["deliveries", "deliveries_sent", "delivery_attempts", "cursor_sequences", "inbound_messages", "trigger_calls"];

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

    /// Rows 1, 2 and 3, and the database's part of row 5, which stays open: while nothing runs but Postgres.
    async fn check_data(&mut self, mut rows: Inquiry, gathered: &mut Gathered) -> Result<Inquiry, Halt> {
        let (mut blobs, mut refs) =
            (self.inquire(CheckId::ObjectStoreRestore), self.inquire(CheckId::SecretReferences));
        let mut parity = self.inquire(CheckId::SessionProjectionParity);
        let (backup, target, aftermath) = (self.backup, &*self.target, self.aftermath);
        let (manifest, url) = (&backup.manifest, target.database_url());
        let plan = self.options.plan.as_ref();
        let objects_folder = target.settings.objects();
        (gathered.counts, gathered.object_counts) = self
            .proceedings
            .stage(DATA, async |_| {
                let (reading, trails, engine, object_counts, verified) = tokio::join!(
                    reading::read(manifest, url),
                    audit::read(backup.sql("audit_chains"), url),
                    postgres::engine_check(url),
                    objects::check(&mut blobs, backup, &objects_folder, url),
                    secrets::verify(&target.launcher, None),
                );
                objects::judge_owners(&mut blobs, backup);
                secrets::judge(&mut refs, manifest, &verified, &aftermath.secrets);
                let reading = reading.context("the tables could not be read")?;
                let counts = match &backup.standard {
                    Standard::Manifest => postgres::check(&mut rows, manifest, &reading.digests, url).await,
                    Standard::Survey { catalogue } => {
                        postgres::check_surveyed(&mut rows, manifest, &reading.digests, catalogue)
                    }
                };
                postgres::check_walls(&mut rows, backup, url).await;
                let verification = verified.as_ref().ok().map(|(verification, _)| verification);
                let checkpoints = counts.iter().find(|count| count.table == "checkpoints");
                let checkpoints = checkpoints.map_or(0, |count| count.backup_rows);
                objects::judge_checkpoints(&mut blobs, verification, checkpoints);
                if let Some(run) = plan {
                    expectations::check(&mut rows, &run.plan, backup.has_manifest(), url).await;
                    expectations::check_age(&mut rows, &run.plan, manifest.snapshot.taken_at, aftermath.disaster_at);
                }
                if let Some(trails) = rows.learn("the audit trails could not be read", trails) {
                    audit::judge(&mut rows, &trails);
                }
                if let Some(engine) = rows.learn("the engine's own check could not run", engine) {
                    postgres::judge_engine(&mut rows, &engine);
                }
                if let Some(read) = parity.learn("events and projections could not be folded", reading.parity) {
                    parity::judge(&mut parity, backup, &read);
                }
                Ok(Done::with_proof((counts, object_counts), "no role of the target has been started"))
            })
            .await?;
        gathered.count(&backup.standard);
        let summary = match backup.standard {
            Standard::Manifest => {
                "every table has the rows and the content of the backup; the audit trails are what was sealed; the engine \
                 finds no damage"
            }
            Standard::Survey { .. } => {
                "reduced, for the backup has no manifest: the plan's numbers hold, the schema is this build's, the audit \
                 trails are what was sealed, and the engine finds no damage; the rows' content was compared with nothing"
            }
        };
        self.judged(DATA, rows, summary)?;
        self.judged(DATA, blobs, "every blob is there, byte for byte, and nothing else; every checkpoint opens")?;
        self.judged(DATA, refs, "every reference resolves at its version, and every stored ciphertext opens")?;
        Ok(parity)
    }

    /// The copy learns that it is a drill, and what the lost system did after the backup, before any role starts. Gives back
    /// how many rows each table has from then on, and what was printed.
    async fn begin_generation(&mut self, gathered: &mut Gathered) -> Result<(Vec<TableCount>, String), Halt> {
        let (target, ledger) = (&*self.target, self.aftermath.ledger.as_deref());
        let backup_id = self.backup.manifest.backup_id.to_string();
        let (remembered, counts, said) = self
            .proceedings
            .stage(GENERATION, async |_| {
                let before = remembering::count(target.database_url(), &gathered.counts).await?;
                let (said, remembered) = remembering::begin(&target.launcher, &backup_id, ledger).await?;
                let after = remembering::count(target.database_url(), &gathered.counts).await?;
                let counts = remembering::with_replay(&gathered.counts, &before, &after);
                let proof = say!("leases and claims of the lost system are void; deliveries are redirected; {} records of the recovery \
                     ledger were replayed", remembered.records);
                Ok(Done::with_proof((remembered, counts, said), proof))
            })
            .await?;
        gathered.remembered = Some(remembered);
        Ok((counts, said))
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

    /// Row 4: what the web role alone serves, and that nothing else moves.
    async fn check_boot(&mut self, operator: &Client, counted: &[TableCount], mut boot: Inquiry) -> Result<(), Halt> {
        let (backup, target, standing) = (self.backup, &*self.target, self.standing());
        let elsewhere = &self.aftermath.elsewhere;
        let sql = backup.sql("activity");
        self.proceedings
            .stage(OPERATOR, async |_| {
                web_only::reads(&mut boot, &backup.manifest, counted, operator).await;
                web_only::judge_silence(&mut boot, elsewhere).await;
                if let Some(standing) = standing {
                    standing::judge_people(&mut boot, standing, &target.url(Role::Web), operator).await;
                }
                Ok(Done::nothing())
            })
            .await?;
        self.proceedings
            .stage(QUIET, async |_| {
                let window = boot.pace().quiet;
                let seen = web_only::quiet_window(target, operator, sql?, window).await?;
                web_only::judge_quiet(&mut boot, &seen);
                Ok(Done::with_proof(
                    (),
                    say!("{} counters did not move for {} ms", seen.counters.len(), window.as_millis()),
                ))
            })
            .await?;
        self.judge_living(&mut boot).await;
        self.judged(
            QUIET,
            boot,
            "the four reads say what the backup lets expect, who was shut out stays so, and nothing moved",
        )
    }

    /// Rows 5 and 6, as far as the API serves them.
    async fn check_reads(&mut self, operator: &Client, mut parity: Inquiry) -> Result<(), Halt> {
        let mut files = self.inquire(CheckId::ArtifactMetadata);
        let excluded = self.exclude(CheckId::ArtifactMetadata)?;
        let (backup, url) = (self.backup, self.target.database_url());
        let subject = self.standing().map(|standing| (&standing.erased, operator.in_org(standing.org)));
        let (subject, home) = subject.unzip();
        self.proceedings
            .stage(READ, async |_| {
                let erased = subject.map(|subject| standing::erased_artifacts(backup, subject)).transpose()?;
                let erased = erased.unwrap_or_default();
                tokio::join!(
                    async {
                        parity::judge_api(&mut parity, backup, operator).await;
                        if let Some((subject, home)) = subject.zip(home.as_ref()) {
                            standing::judge_rows(&mut parity, subject, url, home).await;
                        }
                    },
                    async {
                        if excluded {
                            return;
                        }
                        artifacts::check(&mut files, backup, operator, &erased).await;
                        if let Some((subject, home)) = subject.zip(home.as_ref()) {
                            standing::judge_files(&mut files, backup, subject, url, home).await;
                        }
                    }
                );
                Ok(Done::nothing())
            })
            .await?;
        self.judge_living(&mut parity).await;
        self.judged(
            READ,
            parity,
            "every projection stands at its last event, is what its events add up to, and is served",
        )?;
        if excluded {
            return Ok(());
        }
        self.judged(READ, files, "every artifact is listed and downloads byte for byte")
    }

    /// What was decided after the backup, if the restored system had a ledger to learn it from.
    fn standing(&self) -> Option<&'a Standing> {
        self.aftermath.standing.as_ref().filter(|_| self.aftermath.ledger.is_some())
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

    /// Row 7.
    async fn enable_worker(&mut self, operator: &Client) -> Result<(), Halt> {
        if self.exclude(CheckId::WorkerRecovery)? {
            return Ok(());
        }
        let mut inquiry = self.inquire(CheckId::WorkerRecovery);
        let (backup, aftermath, target) = (self.backup, self.aftermath, &mut *self.target);
        let Some(smoke) = &aftermath.smoke else {
            inquiry.could_not("the worker could not be tried", "the plan names no session for a smoke prompt");
            // The gateway's messages need one all the same.
            self.start(WORKER, "worker-1", Role::Worker, &mut inquiry).await?;
            return self.judged(WORKER, inquiry, "");
        };
        let (client, session) = (operator.in_org(smoke.org), smoke.session);
        let works = self
            .proceedings
            .stage(WORKER, async |_| {
                worker::judge_acknowledged(&mut inquiry, backup, &aftermath.acknowledged, aftermath.restarts);
                let before = client.session_get(session).await?.session.last_sequence;
                let up = inquiry.started(target.start("worker-1", Role::Worker).await);
                Ok(Done::plain(up && worker::smoke(&mut inquiry, &client, smoke, before).await))
            })
            .await?;
        if let Some(standing) = self.standing() {
            standing::judge_request(&mut inquiry, standing, operator).await;
        }
        if works {
            self.oversleep(&mut inquiry, &client, session).await?;
        }
        self.judge_living(&mut inquiry).await;
        self.judged(
            WORKER,
            inquiry,
            "the smoke prompt was carried out in the restored workspace and saved; a stale token was refused",
        )
    }

    /// The rest of row 7: a worker that sleeps through its lease, and what both of them saved.
    async fn oversleep(&mut self, inquiry: &mut Inquiry, client: &Client, session: SessionId) -> Result<(), Halt> {
        let target = &mut *self.target;
        let slept = self
            .proceedings
            .stage(LEASE, async |_| Ok(Done::plain(worker::stale_worker(inquiry, target, client, session).await)))
            .await?;
        let turns = if slept { 2 } else { 1 };
        self.meddle(LEASE.id).await?;
        let (backup, target) = (self.backup, &mut *self.target);
        self.proceedings
            .stage(SAVED, async |_| {
                worker::judge_checkpoints(inquiry, backup, target, session, turns).await;
                Ok(Done::nothing())
            })
            .await
    }

    /// Row 8.
    async fn enable_schedulers(
        &mut self,
        operator: &Client,
        idle: &Activity,
        restored_at: Timestamp,
        gathered: &mut Gathered,
    ) -> Result<(), Halt> {
        if self.exclude(CheckId::SchedulerRecovery)? {
            return Ok(());
        }
        let mut inquiry = self.inquire(CheckId::SchedulerRecovery);
        self.prove_idle(&mut inquiry, idle, &SCHEDULERS_COUNTERS, "scheduler").await?;
        let (backup, aftermath, target) = (self.backup, self.aftermath, &mut *self.target);
        let sources = self.proceedings.sources.clone();
        let expectations = self
            .proceedings
            .stage(SCHEDULER, async |_| {
                scheduler::judge_history(&mut inquiry, backup, operator).await;
                for name in ["scheduler-1", "scheduler-2"] {
                    if !inquiry.started(target.start(name, Role::Scheduler).await) {
                        return Ok(Done::plain(None));
                    }
                }
                Ok(Done::plain(Some(scheduler::Expectations {
                    held: &aftermath.held,
                    fired_before_disaster: &aftermath.fired,
                    remembers: aftermath.ledger.is_some(),
                    restored_at,
                    schedulers_started_at: sources.now(),
                })))
            })
            .await?;
        if let Some(expectations) = expectations {
            self.meddle("scheduler-up").await?;
            let firing = scheduler::judge_firing(&mut inquiry, backup, operator, &expectations, &sources);
            let seen = self.proceedings.stage(SLOTS, async |_| Ok(Done::plain(firing.await))).await?;
            let remembered = gathered.remembered.as_mut().filter(|_| aftermath.witness);
            if let Some((remembered, seen)) = remembered.zip(seen) {
                remembered.seen.get_or_insert_default().slots = seen;
            }
        }
        self.judge_living(&mut inquiry).await;
        self.judged(
            SCHEDULER,
            inquiry,
            "two schedulers fired exactly the slots that were due and had not fired before, each once",
        )
    }

    /// Row 9.
    async fn enable_gateway(
        &mut self,
        operator: &Client,
        idle: &Activity,
        gathered: &mut Gathered,
    ) -> Result<(), Halt> {
        if self.exclude(CheckId::GatewayRecovery)? {
            return Ok(());
        }
        let mut inquiry = self.inquire(CheckId::GatewayRecovery);
        self.prove_idle(&mut inquiry, idle, &GATEWAYS_COUNTERS, "gateway").await?;
        let (backup, aftermath, target) = (self.backup, self.aftermath, &mut *self.target);
        let sources = self.proceedings.sources.clone();
        let mut expectations = gateway::Expectations {
            sink: &aftermath.sink,
            mark: aftermath.sink.mark(),
            channel: aftermath.inbound_channel.as_ref(),
            witness: aftermath.witness,
            inbound: &aftermath.inbound,
            called: aftermath.called.as_ref(),
            gateway_url: String::new(),
            snapshot: (backup.manifest.snapshot.started_at, backup.manifest.snapshot.taken_at),
            arrived: aftermath.arrived,
            interruptions: &aftermath.interruptions,
            remembers: aftermath.ledger.is_some(),
        };
        let rows = self
            .proceedings
            .stage(GATEWAY, async |_| {
                if !inquiry.started(target.start("gateway", Role::Gateway).await) {
                    return Ok(Done::plain(None));
                }
                expectations.gateway_url = target.url(Role::Gateway);
                cursors::judge(&mut inquiry, backup);
                Ok(Done::plain(gateway::ask(&mut inquiry, backup, operator, &expectations, &sources).await))
            })
            .await?;
        if let Some(rows) = rows {
            self.meddle("asked").await?;
            let settle = gateway::settle(&mut inquiry, backup, operator, &rows, &expectations);
            let sent = self.proceedings.stage(SETTLE, async |_| Ok(Done::plain(settle.await))).await?;
            tell_sent(gathered, sent.unwrap_or_default(), self.options, aftermath.witness);
        }
        self.judge_living(&mut inquiry).await;
        self.judged(
            GATEWAY,
            inquiry,
            "what had been sent stayed sent, what was pending went out once and in order, and what nobody could know is held \
             or deduplicated; retry and dead letter work",
        )
    }

    /// No role that was started has ended since.
    async fn judge_living(&mut self, inquiry: &mut Inquiry) {
        for name in self.target.dead_roles().await {
            inquiry.fault(Code::RoleDied, say!("the role {} has ended by itself", Told::given(&name)));
        }
    }

    /// The counters `names` have not moved since only web was there.
    async fn prove_idle(
        &self,
        inquiry: &mut Inquiry,
        idle: &Activity,
        names: &[&'static str],
        role: &'static str,
    ) -> Result<(), Halt> {
        let now = self.activity().await?;
        let moved = moved(idle, &now);
        for name in names {
            if !now.contains_key(*name) {
                inquiry.could_not("idleness", say!("the activity probe has no counter {}", name));
            }
            inquiry.expect(!moved.iter().any(|other| other == name), Code::RoleNotIdle, || {
                say!("{} moved although no {} had been started", name, role)
            });
        }
        Ok(())
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

/// What became of the deliveries; and what went out again because nothing remembered it.
fn tell_sent(gathered: &mut Gathered, sent: gateway::Sent, options: &Options, witness: bool) {
    if let Some(remembered) = gathered.remembered.as_mut().filter(|_| witness) {
        remembered.seen.get_or_insert_default().deliveries = sent.seen;
    }
    if sent.forgotten == 0 {
        return;
    }
    let sentence = say!(
        "{} deliveries that the lost system had sent after the backup went out again, under the same webhook-id; a \
         receiver that does not deduplicate saw them twice",
        sent.forgotten
    );
    gathered.notes.push(sentence.clone());
    gathered.follow_ups.push(FollowUp {
        id: None,
        finding: sentence.to_string(),
        owner: options.metadata.report_owner.clone(),
        severity: Severity::Medium,
        due_date: None,
        status: FollowUpStatus::Open,
    });
}
