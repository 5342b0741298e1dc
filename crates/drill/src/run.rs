//! A drill from its beginning to its report: the rehearsal, the disaster, the recovery, the seal.
//!
//! Whatever happens on the way, a report is written: a stage that could not be carried out leaves rows that could not
//! be verified. Everything that the drill made is removed when it ends, also when it is interrupted.
//!
//! Not here: the stages of the recovery (`recovery`), the judging (`checks`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use attest::statement::Subject;
use attest::{EvidenceFolder, Head, Journal, RunKey};
use clock::{SeededEntropy, Sources, SystemClock, Timestamp};
use ids::DrillId;
use localpg::{Binaries, Cluster};
use tokio_util::sync::CancellationToken;

use crate::backup::{Backup, Standard};
use crate::case;
use crate::checks::redaction;
use crate::error::DrillError;
use crate::findings::Register;
use crate::history;
use crate::options::{Options, PlanRun};
use crate::out::Out;
use crate::proceedings::{Done, Halt, Name, Proceedings};
use crate::processes;
use crate::progress::Progress;
use crate::recovery::{self, Recovered};
use crate::rehearsal::{self, Aftermath, Means, Size, Source};
use crate::report::{self, CheckId, Environment, FollowUp, Material, Report, Span, html, json, markdown};
use crate::rigging::Rigging;
use crate::said::{Fact, Name as Told, Sentence, facts, say};
use crate::seal;
use crate::territory;
use crate::work::{self, WorkFolder};

/// A drill that came to its end.
#[derive(Debug)]
pub struct Outcome {
    pub report: Report,
    /// The folder of the report.
    pub out: PathBuf,
    /// Somebody stopped it.
    pub interrupted: bool,
    /// Where the target was left, if it was to be kept.
    pub kept: Option<Kept>,
}

/// A target that was left for inspection. Its Postgres runs; its roles were stopped.
#[derive(Debug, Clone)]
pub struct Kept {
    pub folder: PathBuf,
    pub database_url: String,
    /// Ends it: `kill -INT PID`, then remove the folder. `None`: its server is not ours.
    pub postgres_pid: Option<i32>,
}

/// Which drill this is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) drill_id: DrillId,
    pub(crate) started_at: Timestamp,
}

/// What the stages gathered for the report, besides checks and stages.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) backup: Option<report::Backup>,
    pub(crate) postgres_version: String,
    pub(crate) counts: Vec<report::TableCount>,
    pub(crate) object_counts: Vec<report::ObjectCount>,
    pub(crate) rto: Option<Span>,
    pub(crate) rpo: Option<Span>,
    /// What the restore says that it remembered, and what the judge saw of it.
    pub(crate) remembered: Option<report::Remembered>,
    pub(crate) notes: Vec<Sentence>,
    pub(crate) follow_ups: Vec<FollowUp>,
    /// What of the backup is sealed.
    pub(crate) attested: Vec<Subject>,
    build_sha256: String,
    kept: Option<Kept>,
}

const PREFLIGHT: Name = Name::new("preflight", "Preflight");
const SOURCE: Name = Name::new("source", "Build a live source system");
const BUSY: Name = Name::new("busy", "Kill each of its roles once");
const BACKUP: Name = Name::new("backup", "Back it up while it is busy");
const LIFE: Name = Name::new("life", "Let life go on");
const DISASTER: Name = Name::new("disaster", "Destroy it");
const SCAN: Name = Name::new("scan", "Scan every output for canaries");
const PROVE: Name = Name::new("prove", "Prove that the target is not production");
const ISOLATION: Name = Name::new("isolation", "See that nothing of it has a way out");
const TEAR_DOWN: Name = Name::new("tear-down", "Tear down");

/// Runs a drill and writes its report.
///
/// # Errors
/// If not even a report can be written.
pub async fn run(options: Options, sources: Sources, cancel: CancellationToken) -> Result<Outcome, DrillError> {
    let drill_id: DrillId = sources.id();
    let name = drill_id.to_string();
    let out = Out::claim(&options.out, &name)?;
    let failed = |source| DrillError::Out { out: options.out.clone(), source };
    if let Some(findings) = &options.keeping.findings {
        Register::read(findings)?;
    }
    let journal = Journal::open_new(&out.journal()).context("the journal can't be begun").map_err(failed)?;
    let subjects = seal::begin(&options, &out).map_err(failed)?;
    let swept = work::clean(&options.work_parent);
    let work = WorkFolder::create(&options.work_parent, &name)
        .map_err(|source| DrillError::Work { parent: options.work_parent.clone(), source })?;
    let key = run_key(&options, drill_id, &sources);
    let evidence = EvidenceFolder::new(out.path(), key);
    let progress = Progress::new(options.mode);
    let rigging = Rigging { die_after_entry: options.die_after_entry, ..Rigging::default() };
    let mut proceedings = Proceedings::new(sources.clone(), evidence, journal, progress, cancel, rigging);
    let started_at = sources.now();
    let identity = Identity { drill_id, started_at };
    let begun = begun(&options, drill_id, &subjects, swept.folders.len());
    proceedings.note("drill_started", &begun).map_err(failed)?;
    let mut gathered = Gathered { build_sha256: subjects.build.clone(), ..Gathered::default() };
    let halt = conduct(&mut proceedings, &options, identity, work, &out, &mut gathered).await.err();
    if let Some(halt) = &halt {
        proceedings.progress.line(halt.sentence().redacted().as_str());
    }
    let report = conclude(&mut proceedings, &options, identity, &mut gathered, halt.as_ref()).map_err(failed)?;
    let journal = publish(proceedings, &out, &report).map_err(failed)?;
    seal::end(&out, &options, &report, subjects, gathered.attested, journal).map_err(failed)?;
    let interrupted = matches!(halt, Some(Halt::Interrupted));
    Ok(Outcome { report, out: options.out, interrupted, kept: gathered.kept })
}

/// What the drill was asked to do, and with what, for the journal's first entry.
fn begun(options: &Options, drill_id: DrillId, subjects: &seal::Subjects, swept: usize) -> Fact {
    let plan = options.plan.as_ref();
    let plan = plan.map(|run| facts!({"name": Told::from(&run.plan.name), "sha256": Told::catalogued(&run.sha256)}));
    facts!({"drill_id": drill_id, "build": Told::given(&options.build), "scale": options.scale, "seed": options.seed,
        "build_sha256": Told::catalogued(&subjects.build), "plan_sha256": Told::catalogued(&subjects.plan),
        "signing_key_id": key_id(options).map(Told::given), "plan": plan, "abandoned_drills_removed": swept})
}

/// The drill's key: whoever holds the signing key has it, too. Of a drill that is not signed nobody has.
pub(crate) fn run_key(options: &Options, drill_id: DrillId, sources: &Sources) -> RunKey {
    match &options.keeping.signing_key {
        Some(key) => RunKey::of(key, &drill_id.to_string()),
        None => RunKey::unknown(sources.bytes()),
    }
}

/// The forms of the report get their names only after the journal is closed, so that a drill which is killed before
/// leaves no report. The journal's last entries name their digests.
fn publish(mut proceedings: Proceedings, out: &Out, report: &Report) -> anyhow::Result<Head> {
    let written = report.write(out.path()).context("its forms can't be written")?;
    let digests = written.digests().iter().map(|(name, sha256)| (*name, Told::catalogued(sha256)));
    proceedings.note("report_written", &digests.collect::<Vec<_>>())?;
    let head = proceedings.close_journal()?;
    written.publish().context("its forms can't be named")?;
    Ok(head)
}

fn key_id(options: &Options) -> Option<&str> {
    options.keeping.signing_key.as_ref().map(|key| key.id())
}

/// The stages, in order.
async fn conduct(
    proceedings: &mut Proceedings,
    options: &Options,
    identity: Identity,
    mut work: WorkFolder,
    out: &Out,
    gathered: &mut Gathered,
) -> Result<(), Halt> {
    let binaries = preflight(proceedings, options).await?;
    let sources = world_sources(options.seed);
    let means = Means {
        binaries: &binaries,
        executable: &options.executable,
        search_path: &options.search_path,
        work: &work,
        sources: &sources,
        pace: proceedings.rigging.pace,
        clusters: localpg::Options::safe(),
        empty_cluster: None,
    };
    let aftermath = match &options.plan {
        Some(run) => take_up(proceedings, options, run, &means, gathered).await?,
        None => {
            isolate(proceedings, options, gathered).await?;
            rehearse(proceedings, options, &means).await?
        }
    };
    let recovered = bring_back(proceedings, options, identity, &means, out, &aftermath, gathered).await?;
    if options.keep {
        gathered.kept = Some(Kept {
            folder: work.path().to_owned(),
            database_url: recovered.target.database_url().to_owned(),
            postgres_pid: recovered.target.cluster.as_ref().map(Cluster::pid),
        });
        work.keep();
    }
    tear_down(proceedings, options, work, recovered, aftermath).await?;
    Ok(())
}

/// The recovery, and the scan of all that was said in it.
pub(crate) async fn bring_back(
    proceedings: &mut Proceedings,
    options: &Options,
    identity: Identity,
    means: &Means<'_>,
    out: &Out,
    aftermath: &Aftermath,
    gathered: &mut Gathered,
) -> Result<Recovered, Halt> {
    let mut recovered = recovery::recover(proceedings, options, means, aftermath, gathered).await?;
    let drafts = drafts(&report(proceedings, options, identity, gathered));
    scan(proceedings, options, (out, drafts), aftermath, &mut recovered, gathered).await?;
    Ok(recovered)
}

/// The machine's clock, and the seed's randomness: a world's content can be repeated.
pub(crate) fn world_sources(seed: u64) -> Sources {
    Sources::new(Arc::new(SystemClock), Arc::new(SeededEntropy::new(seed)))
}

async fn preflight(proceedings: &mut Proceedings, options: &Options) -> Result<Binaries, Halt> {
    proceedings
        .stage(PREFLIGHT, async |_| {
            let binaries = Binaries::find(Some(options.search_path.as_ref()))?;
            for tool in ["initdb", "postgres", "pg_dump", "pg_restore"] {
                let found = binaries.tool(tool);
                std::fs::metadata(&found).with_context(|| format!("{tool} is not where Postgres' programs are"))?;
            }
            let swept = localpg::sweep(&options.work_parent);
            let proof = say!("Postgres' programs are there; {} abandoned clusters were removed", swept.removed.len());
            Ok(Done::with_proof(binaries, proof))
        })
        .await
}

/// A plan's environment, in the place of a rehearsal. Nothing has been written yet.
async fn take_up(
    proceedings: &mut Proceedings,
    options: &Options,
    run: &PlanRun,
    means: &Means<'_>,
    gathered: &mut Gathered,
) -> Result<Aftermath, Halt> {
    let now = proceedings.sources.now();
    let (aftermath, proofs) = proceedings
        .stage(PROVE, async |_| {
            let aftermath = case::of(run, means, now).await?;
            let proofs = territory::prove(run, means, &aftermath).await?;
            let proof = Sentence::join(&proofs, "; ");
            Ok(Done::with_proof((aftermath, proofs), proof))
        })
        .await?;
    gathered.notes.extend(proofs);
    isolate(proceedings, options, gathered).await?;
    let controls: Vec<Told> = run.plan.controls.iter().map(Told::from).collect();
    if !controls.is_empty() {
        gathered.notes.push(say!("Evidence for: {}.", controls));
    }
    Ok(aftermath)
}

/// Sees where the roles will run. Only what was seen is a proof; a doubt the report says, and the seal.
async fn isolate(proceedings: &mut Proceedings, options: &Options, gathered: &mut Gathered) -> Result<(), Halt> {
    let seen = proceedings
        .stage(ISOLATION, async |_| {
            Ok(match territory::isolation(options).await? {
                Ok(proof) => Done::with_proof(proof.clone(), proof),
                Err(doubt) => Done::plain(doubt),
            })
        })
        .await?;
    gathered.notes.push(seen);
    Ok(())
}

/// The source's life and death.
async fn rehearse(proceedings: &mut Proceedings, options: &Options, means: &Means<'_>) -> Result<Aftermath, Halt> {
    let size = Size::of_scale(options.scale);
    let source = proceedings
        .stage(SOURCE, async |handle| {
            let source = rehearsal::build(means, size).await?;
            let total = u64::from(source.life().sessions());
            source.life().populate(|done| handle.tick(done, total)).await?;
            Ok(Done::with_proof(source, say!("{} sessions and more were carried out through the API", total)))
        })
        .await?;
    let processes: Vec<(Told, u32)> = source.processes().iter().map(|(name, pid)| (Told::given(name), *pid)).collect();
    let noted = proceedings.note("source_running", &facts!({"processes": processes}));
    noted.map_err(|cause| Halt::Stage { stage: SOURCE.title, cause })?;
    let life = source.life().clone();
    // Life goes on until nobody is there to answer it.
    tokio::select! {
        halted = life.go_on() => {
            let cause = halted.err().unwrap_or_else(|| anyhow::anyhow!("life came to a halt"));
            Err(Halt::Stage { stage: LIFE.title, cause })
        }
        aftermath = async {
            let (source, backup) = back_up(proceedings, source).await?;
            lose(proceedings, source, backup, instant_of_disaster(options.seed)).await
        } => aftermath,
    }
}

/// How long life goes on after all that was waited for, at most.
const DISASTER_WITHIN_MS: u64 = 600;

/// When the disaster comes, after the end of the stage before it: the seed decides.
fn instant_of_disaster(seed: u64) -> Duration {
    let drawn = u64::from_le_bytes(Sources::new(Arc::new(SystemClock), Arc::new(SeededEntropy::new(!seed))).bytes());
    Duration::from_millis(drawn % DISASTER_WITHIN_MS)
}

/// The disaster.
async fn lose(
    proceedings: &mut Proceedings,
    source: Source,
    backup: (String, String),
    after: Duration,
) -> Result<Aftermath, Halt> {
    let noted = proceedings.note("disaster", &facts!({"after_ms": after.as_millis() as u64}));
    noted.map_err(|cause| Halt::Stage { stage: DISASTER.title, cause })?;
    proceedings
        .stage(DISASTER, async |_| {
            tokio::time::sleep(after).await;
            let aftermath = source.destroy(backup).await?;
            let proof = say!("every process of the source was killed at once, {} ms later; {} deliveries and {} acknowledged commands are \
                 remembered outside", after.as_millis(), aftermath.sink.mark(), aftermath.acknowledged.len());
            Ok(Done::with_proof(aftermath, proof))
        })
        .await
}

/// `kill -9` of every role, the backup, and what happens after it.
async fn back_up(proceedings: &mut Proceedings, source: Source) -> Result<(Source, (String, String)), Halt> {
    let sources = proceedings.sources.clone();
    proceedings
        .stage(BUSY, async |_| {
            source.kill_each_role_once();
            source.settle().await?;
            Ok(Done::with_proof((), "each role was killed with SIGKILL, and work went on"))
        })
        .await?;
    let backup = proceedings.stage(BACKUP, async |_| Ok(Done::plain(source.back_up().await?))).await?;
    let backed_up_at = sources.now();
    proceedings
        .stage(LIFE, async |_| {
            source.live_on(backed_up_at).await?;
            Ok(Done::with_proof(
                (),
                "after the backup messages went out, slots fired, a token was revoked, a member removed, a request answered and \
                 a person erased",
            ))
        })
        .await?;
    Ok((source, backup))
}

/// Row 10: scans everything that was said, the report itself among it.
async fn scan(
    proceedings: &mut Proceedings,
    options: &Options,
    (out, drafts): (&Out, Vec<redaction::Output>),
    aftermath: &Aftermath,
    recovered: &mut Recovered,
    gathered: &mut Gathered,
) -> Result<(), Halt> {
    let mut inquiry = proceedings.inquire(CheckId::Redaction);
    let needles = aftermath.canaries.needles().to_vec();
    proceedings
        .stage(SCAN, async |_| {
            let operator = recovered.target.operator(&aftermath.operator_token);
            let inside = territory::roles_inside(options, &recovered.target);
            gathered.notes.extend(inside.iter().map(|(seen, _)| seen.clone()));
            let live = redaction::collect_live(&mut inquiry, &recovered.target, &operator, &needles).await;
            recovered.unwell = recovered.target.stop_roles().await;
            let mut outputs = live;
            outputs.extend(drafts);
            if let Some(logs) = &aftermath.logs {
                outputs.extend(redaction::files_below(logs, "source logs"));
            }
            outputs.extend(redaction::files_below(&recovered.target.settings.logs(), "target logs"));
            outputs.extend(redaction::files_below(out.path(), "report"));
            outputs
                .push(redaction::Output::Text { name: "cowork backup".into(), text: aftermath.backup_output.clone() });
            outputs.push(redaction::Output::Text { name: "cowork restore".into(), text: recovered.output.clone() });
            redaction::judge(&mut inquiry, &needles, &outputs);
            Ok(match inside {
                Some((seen, true)) => Done::with_proof((), seen),
                _ => Done::nothing(),
            })
        })
        .await?;
    let check = inquiry.conclude("every output was scanned for every canary, and each positive control was found");
    proceedings.judged(check).map_err(|cause| Halt::Stage { stage: SCAN.title, cause })
}

/// Removes the target, and proves that nothing is left.
pub(crate) async fn tear_down(
    proceedings: &mut Proceedings,
    options: &Options,
    work: WorkFolder,
    recovered: Recovered,
    aftermath: Aftermath,
) -> Result<(), Halt> {
    let keep = options.keep;
    proceedings
        .stage(TEAR_DOWN, async |_| {
            drop(aftermath);
            let unwell = recovered.unwell;
            let cluster = recovered.target.cluster;
            if keep {
                // The cluster is its own process; whoever looks at the target stops it.
                std::mem::forget(cluster);
                return Ok(Done::with_proof((), "the target was kept for inspection, as asked"));
            }
            tokio::task::spawn_blocking(move || drop(cluster)).await?;
            let path = work.path().to_owned();
            let left = processes::marked_with(&path);
            work.remove().context("the work folder can't be removed")?;
            anyhow::ensure!(!path.exists(), "the work folder is still there");
            anyhow::ensure!(unwell.is_empty(), "these roles did not stop when asked to: {}", unwell.join(", "));
            anyhow::ensure!(
                left.is_empty(),
                "{} processes went on when every role had stopped; they were ended",
                left.len()
            );
            Ok(Done::with_proof((), "every role stopped when asked to; its cluster and its folder are gone"))
        })
        .await
}

/// The report as it will be written, but for row 10 and the stages that are still to come: what row 10 scans.
fn drafts(report: &Report) -> Vec<redaction::Output> {
    let forms = [
        ("report.json", json::render(report)),
        ("report.md", markdown::render(report)),
        ("report.html", html::render(report)),
    ];
    forms.map(|(name, text)| redaction::Output::Text { name: name.to_owned(), text }).into()
}

/// Forms the report. What was not judged because the drill ended early could not be verified.
pub(crate) fn conclude(
    proceedings: &mut Proceedings,
    options: &Options,
    identity: Identity,
    gathered: &mut Gathered,
    halt: Option<&Halt>,
) -> anyhow::Result<Report> {
    if let Some(halt) = halt {
        let reason = say!("the drill ended early: {}", halt.sentence()).redacted();
        for check in proceedings.not_run(&reason) {
            proceedings.judged(check)?;
        }
        gathered.notes.push(reason);
    }
    let mut report = report(proceedings, options, identity, gathered);
    // What an interrupted drill did not look at says nothing about the system.
    if let Some(findings) = options.keeping.findings.as_ref().filter(|_| !matches!(halt, Some(Halt::Interrupted))) {
        follow_up(&mut report, findings)?;
    }
    proceedings.note("drill_concluded", &facts!({"verdict": report.verdict()}))?;
    Ok(report)
}

/// Notes in the findings file what was found and what was not, and makes the Follow-Up table from it. What this drill
/// only tells stays below.
fn follow_up(report: &mut Report, findings: &Path) -> anyhow::Result<()> {
    let today = report.finished_at().date_naive();
    let mut follow_ups = Register::change(findings, |register| {
        register.record(report);
        Ok(register.follow_ups(today))
    })?;
    follow_ups.extend(report.follow_ups().iter().filter(|follow_up| follow_up.id.is_none()).cloned());
    report.set_follow_ups(follow_ups);
    Ok(())
}

fn report(proceedings: &Proceedings, options: &Options, identity: Identity, gathered: &Gathered) -> Report {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let folder = options.keeping.history.as_deref();
    let earlier = folder.map(|folder| history::earlier(folder, identity.drill_id)).unwrap_or_default();
    Report::conclude(Material {
        drill_id: identity.drill_id,
        started_at: identity.started_at,
        finished_at: proceedings.sources.now(),
        build: options.build.clone(),
        build_sha256: gathered.build_sha256.clone(),
        signed_by: key_id(options).map(str::to_owned),
        metadata: options.metadata.clone(),
        environment: Environment {
            postgres_version: gathered.postgres_version.clone(),
            os: operating_system(),
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
        },
        backup: gathered.backup.clone(),
        objectives: options.objectives,
        rto: gathered.rto,
        rpo: gathered.rpo,
        checks: proceedings.checks.clone(),
        stages: proceedings.stages.clone(),
        counts: gathered.counts.clone(),
        object_counts: gathered.object_counts.clone(),
        remembered: gathered.remembered.clone(),
        notes: gathered.notes.clone(),
        follow_ups: gathered.follow_ups.clone(),
        history: earlier,
        journal: Some(proceedings.journal_head()),
    })
}

/// As `/etc/os-release` calls it.
fn operating_system() -> Option<String> {
    let release = std::fs::read_to_string("/etc/os-release").ok()?;
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

impl Gathered {
    /// A survey does not know how many rows a backup has before they were counted.
    pub(crate) fn count(&mut self, standard: &Standard) {
        let rows = self.counts.iter().map(|count| count.backup_rows).sum();
        if let (Standard::Survey { .. }, Some(backup)) = (standard, &mut self.backup) {
            backup.rows = rows;
        }
    }

    /// What the report says of the backup.
    pub(crate) fn describe(&mut self, backup: &Backup) {
        let manifest = &backup.manifest;
        self.postgres_version.clone_from(&manifest.source.postgres_version);
        self.backup = Some(report::Backup {
            backup_id: manifest.backup_id.to_string(),
            taken_at: manifest.snapshot.taken_at,
            tables: manifest.tables.len() as u64,
            rows: manifest.rows(),
            bytes: manifest.file_bytes(),
            blobs: manifest.blobs.count,
            blob_bytes: manifest.blobs.bytes,
        });
    }
}
