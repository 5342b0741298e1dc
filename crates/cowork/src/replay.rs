//! From a restored database to a system that knows what the lost one did: the fence, the replay of the recovery ledger, the
//! new generation.
//!
//! In this order. The marker of the new generation is put into the installation's ledger: a process of the lost system that
//! is still alive sees it with its next write, and stops. Only then the ledger is read, from an hour before the backup's
//! snapshot to its end. What it says becomes true of the rows together with the generation, in one transaction; people are
//! erased again before, session by session. Whoever is killed in between runs the command again and arrives at the same.
//!
//! A drill reads the lost system's ledger with `--replay-from` and writes nothing there.
//!
//! Not here: SQL (`store::replay`), the format of the ledger and what its records add up to (crate `ledger`).

mod notes;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use clap::Args;
use clock::Timestamp;
use config::Config;
use futures::StreamExt as _;
use ids::{AccountId, BackupId, SystemId};
use ledger::{DeliveryFact, DeliveryVerdict, Entries, Finding, LedgerError, NewGeneration, Reader, Tally};
use objects::Objects;
use serde_json::{Value, json};
use store::{Beginning, DeliveryNote, EraseError, ErasedFor, Extent, Generation, Replay, Store, Told};

use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;
use crate::restore::Environment;

/// How far before the snapshot the reading begins: more than clocks differ, and than a delivery is under way.
const MARGIN: TimeDelta = TimeDelta::hours(1);
/// Records that are noted at a time, and deliveries that are judged at a time.
const BATCH: usize = 10_000;
/// Between two lines of progress.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Where a ledger keeps its segments (`crates/ledger/FORMAT.md`).
const SEGMENTS: &str = "segments";

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LedgerArgs {
    /// For a drill: the folder of the lost system's recovery ledger, which is read and left as it is
    #[arg(long, value_name = "DIR", conflicts_with = "without_ledger")]
    replay_from: Option<PathBuf>,
    /// Begin without knowing what the lost system did after the backup; the report says so
    #[arg(long)]
    without_ledger: bool,
}

/// A generation that is to begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) environment: Environment,
    pub(crate) backup: BackupId,
    pub(crate) ledger: &'a LedgerArgs,
}

/// A generation that has begun, and what its restore remembered.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) generation: Generation,
    pub(crate) report: Value,
}

/// What reading the ledger came to.
#[derive(Debug, Default)]
struct Reading {
    from: Option<Timestamp>,
    tally: Tally,
    findings: Vec<Finding>,
    findings_unlisted: u64,
    took: Duration,
}

impl Wanted<'_> {
    /// Whether the ledger that is to be read is there and this system's, and the one that is to be written may be.
    pub(crate) async fn check(&self, config: &Config, process: &Process, system: SystemId) -> Result<(), Failure> {
        if self.environment == Environment::Drill {
            own_to_a_drill(&own(config)?, system).await?;
        } else if self.ledger.replay_from.is_some() {
            return Err(Failure::could_not(
                "--replay-from is for drills.",
                "a system in production goes on with the ledger of the lost one, and fences it there",
                "Set ledger.folder to the lost system's ledger.",
            ));
        }
        self.reader(config, process, system).await.map(drop)
    }

    /// The ledger to read. `None`: there is none, and the operator has said so, or it is a drill.
    async fn reader(&self, config: &Config, process: &Process, system: SystemId) -> Result<Option<Reader>, Failure> {
        let objects = match (&self.ledger.replay_from, self.environment) {
            _ if self.ledger.without_ledger => return Ok(None),
            (Some(folder), _) => existing(&process.working_directory.join(folder))?,
            (None, Environment::Drill) => return Ok(None),
            (None, Environment::Production) => own(config)?,
        };
        let reader = Reader::open(objects.clone(), system, process.sources.now()).await.map_err(unreadable)?;
        // A restore that gave up may have left its marker and nothing else.
        if objects.list(SEGMENTS).next().await.is_none() {
            return Err(unreadable(LedgerError::Empty));
        }
        Ok(Some(reader))
    }

    /// Fences the lost system, replays what it did, begins the generation.
    pub(crate) async fn begin(&self, installation: &Installation, process: &Process) -> Result<Begun, Failure> {
        let (store, config) = (&installation.store, &installation.config);
        let current = installation.generation().await?;
        let reader = self.reader(config, process, current.system_id).await?;
        let generation = self.fence(installation, &current).await?;
        let as_of = store.restore_mark().await?.as_of;

        let mut replay = store.replay().await?;
        let reading = match &reader {
            Some(reader) => read(reader, as_of, &mut replay).await?,
            None => Reading::default(),
        };
        judge(&mut replay).await?;
        erase_again(store, &mut replay).await?;
        let applying = Instant::now();
        let complete = reader.is_some() && reading.is_whole();
        let replayed = replay.apply(generation, Extent { as_of, complete }).await?;
        let mut report = serde_json::to_value(replayed).expect("counts are plain data");
        let asked = self.ledger.without_ledger;
        report["ledger"] = json!(if reader.is_some() {
            "read"
        } else if asked {
            "declined"
        } else {
            "not_given"
        });
        report["as_of"] = json!(as_of);
        report["complete"] = json!(complete);
        report["apply_ms"] = json!(ms(applying.elapsed()));
        reading.tell(&mut report);
        let beginning = Beginning { generation, backup: self.backup, environment: self.environment.into() };
        let generation = replay.begin_generation(beginning, &report).await?;
        Ok(Begun { generation, report })
    }

    /// Puts the marker of the new generation into the installation's own ledger, and gives back its number: above that of
    /// every restore that this ledger has seen.
    async fn fence(&self, installation: &Installation, current: &Generation) -> Result<i64, Failure> {
        let (store, objects) = (&installation.store, own(&installation.config)?);
        let restore = store.restore_name().await?;
        let ours = match ledger::generations(&objects, current.system_id).await {
            Ok(markers) => markers.into_iter().rfind(|marker| marker.started.restore == restore),
            Err(error) => return Err(unreadable(error)),
        };
        let newest = ledger::newest_generation(&objects).await.map_err(unreadable)?;
        let generation = match ours {
            Some(marker) if marker.started.generation > current.generation => marker.started.generation,
            _ => current.generation.max(newest.unwrap_or(0)) + 1,
        };
        let environment = match self.environment {
            Environment::Production => ledger::Environment::Production,
            Environment::Drill => ledger::Environment::Drill,
        };
        let new = NewGeneration { generation, environment, backup: Some(self.backup), restore };
        let at = store.sources().now();
        ledger::begin_generation(&objects, current.system_id, &new, at).await.map_err(unfenced)?;
        Ok(generation)
    }
}

/// Notes everything from [`MARGIN`] before the snapshot on.
async fn read(reader: &Reader, as_of: Option<Timestamp>, replay: &mut Replay) -> Result<Reading, Failure> {
    let start = Instant::now();
    let from = as_of.map(|as_of| as_of - MARGIN);
    let mut entries = reader.entries(from.unwrap_or(Timestamp::UNIX_EPOCH));
    let (mut batch, mut told) = (notes::Batch::default(), start);
    while let Some(some) = entries.next_many().await.map_err(unreadable)? {
        some.into_iter().for_each(|entry| batch.add(entry));
        if batch.len() >= BATCH {
            replay.note(&batch.take()).await?;
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            eprintln!("recovery ledger    {} records, up to {}", entries.tally().records, entries.position());
        }
    }
    replay.note(&batch.take()).await?;
    let reading = Reading {
        from,
        tally: entries.tally(),
        findings: entries.findings().list().to_vec(),
        findings_unlisted: entries.findings().unlisted(),
        took: start.elapsed(),
    };
    refuse(&entries)?;
    eprintln!("recovery ledger    {} records ({:.1} s)", reading.tally.records, reading.took.as_secs_f64());
    Ok(reading)
}

/// What makes it another ledger than the one that was meant. Whatever else is wrong is told, and does not stop a recovery.
fn refuse(entries: &Entries) -> Result<(), Failure> {
    let stops = |finding: &&Finding| matches!(finding, Finding::AnotherSystem { .. } | Finding::NewerFormat { .. });
    match entries.findings().list().iter().find(stops) {
        None => Ok(()),
        Some(finding) => Err(Failure::could_not(
            "The recovery ledger can't be replayed.",
            finding.sentence(),
            "Use the program that wrote it, or the ledger of this system. With --without-ledger nothing is remembered.",
        )),
    }
}

/// Adds up what was noted of each delivery.
async fn judge(replay: &mut Replay) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let noted = replay.delivery_notes(after, i64::try_from(BATCH).expect("it is small")).await?;
        let Some(last) = noted.last() else { return Ok(()) };
        after = Some((last.org, last.delivery));
        let told: Vec<(DeliveryNote, Told)> = noted.into_iter().map(|note| (note, verdict(&note))).collect();
        replay.deliveries_told(&told).await?;
    }
}

fn verdict(note: &DeliveryNote) -> Told {
    let DeliveryNote { intents, not_sent, dead, sent, repeats_are_seen, .. } = *note;
    let fact = DeliveryFact { intents, not_sent, dead, sent, repeats_are_seen, message: None };
    match fact.verdict() {
        DeliveryVerdict::Sent => Told::Sent,
        DeliveryVerdict::Dead => Told::Dead,
        DeliveryVerdict::Unknown { deduplicates: true } => Told::Again,
        DeliveryVerdict::Unknown { deduplicates: false } => Told::Unknown,
        DeliveryVerdict::NotSent => Told::NotSent,
    }
}

/// People who were erased after the backup are erased from the rows that came back.
async fn erase_again(store: &Store, replay: &mut Replay) -> Result<(), Failure> {
    let mut after: Option<AccountId> = None;
    loop {
        let subjects = replay.subjects_noted(after, 1_000).await?;
        let Some(last) = subjects.last() else { return Ok(()) };
        after = Some(*last);
        for account in subjects {
            match store.subject_erase(account, ErasedFor::Installation, "role:restore").await {
                Ok(_) => crate::subjects::carry_out(store, account).await?,
                // Younger than the backup: there is nothing to erase.
                Err(EraseError::NoSuchSubject) => {}
                Err(EraseError::Store(error)) => return Err(error.into()),
                Err(error) => return Err(Failure::could_not("A subject was not erased again.", error, "Report this.")),
            }
        }
    }
}

impl Reading {
    /// Whether nothing can be missing that the lost system wrote.
    fn is_whole(&self) -> bool {
        self.findings_unlisted == 0 && self.findings.iter().all(Finding::normal)
    }

    /// Adds what was read, and what was wrong with it, to the report; faults are told at once, too.
    fn tell(&self, report: &mut Value) {
        report["from"] = json!(self.from);
        report["records"] = json!(self.tally.records);
        report["segments"] = json!(self.tally.segments);
        report["bytes"] = json!(self.tally.bytes);
        report["read_ms"] = json!(ms(self.took));
        report["findings"] = self
            .findings
            .iter()
            .map(|finding| json!({"code": finding.code(), "sentence": finding.sentence(), "normal": finding.normal()}))
            .collect();
        report["findings_unlisted"] = json!(self.findings_unlisted);
        for finding in self.findings.iter().filter(|finding| !finding.normal()) {
            eprintln!("recovery ledger    finding: {}", finding.sentence());
        }
    }
}

impl Begun {
    /// For people, from "It is in " on.
    pub(crate) fn tell(&self) -> String {
        let Generation { generation, environment, .. } = &self.generation;
        format!("generation {generation}, as {}.{}", environment.as_str(), lines(&self.report))
    }
}

/// A restore's report for people, each line after a line break.
pub(crate) fn lines(report: &Value) -> String {
    let count = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let ledger = match report["ledger"].as_str() {
        Some("read") => format!("{} records of the recovery ledger were replayed", count("/records")),
        Some("declined") => {
            "nothing of what the lost system did after the backup is known, as was asked for".to_owned()
        }
        _ => {
            "no recovery ledger was given, so nothing of what the lost system did after the backup is known".to_owned()
        }
    };
    let known = [
        ("deliveries known as sent", count("/deliveries/sent") + count("/remembered/deliveries")),
        ("deliveries held for an operator", count("/deliveries/unknown") + count("/remembered/deliveries_unknown")),
        ("deliveries that go out again under their ids", count("/deliveries/again")),
        ("slots known as fired", count("/slots/fired")),
        ("slots that may have fired", count("/slots/unknown")),
        ("messages known as taken", count("/inbound_accepted")),
        ("tokens revoked again", count("/tokens_revoked")),
        ("members removed again", count("/members_removed")),
        ("keys revoked again", count("/keys_revoked")),
        ("subjects erased again", count("/subjects_erased")),
        ("lost: messages that had come in after the backup", count("/lost/inbound")),
        ("lost: runs that had begun after the backup", count("/lost/runs")),
        ("lost: turns that had been told to threads after the backup", count("/lost/deliveries")),
    ];
    let known = known.into_iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{what}: {count}"));
    let texts = |name: &str, field: &str| -> Vec<String> {
        let items = report[name].as_array().cloned().unwrap_or_default();
        items.iter().filter_map(|item| Some(item.pointer(field)?.as_str()?.to_owned())).collect()
    };
    let attention = texts("attention", "").into_iter().map(|text| format!("see to it: {text}"));
    let findings = texts("findings", "/sentence").into_iter().map(|text| format!("finding: {text}"));
    let all = [ledger].into_iter().chain(known).chain(attention).chain(findings);
    all.map(|line| format!("\n  {line}")).collect()
}

/// The installation's own ledger.
fn own(config: &Config) -> Result<Objects, Failure> {
    Objects::open_folder(&config.ledger.folder).map_err(|error| {
        Failure::could_not(
            "The recovery ledger's folder can't be opened.",
            error,
            "Make the folder that ledger.folder names writable, or correct it.",
        )
    })
}

/// A ledger that is only read: its folder is not made.
fn existing(folder: &std::path::Path) -> Result<Objects, Failure> {
    let opened = if folder.is_dir() {
        Objects::open_folder(folder).map_err(Box::<dyn Error + Send + Sync>::from)
    } else {
        Err(format!("{} is not a folder", folder.display()).into())
    };
    opened.map_err(|error| {
        Failure::could_not(
            "The lost system's recovery ledger can't be opened.",
            error,
            "Name the folder that was the lost system's ledger.folder.",
        )
    })
}

/// A drill that wrote into the ledger of a living system would fence it.
async fn own_to_a_drill(objects: &Objects, system: SystemId) -> Result<(), Failure> {
    let markers = ledger::generations(objects, system).await.map_err(unreadable)?;
    let production = markers.iter().any(|marker| marker.started.environment == ledger::Environment::Production);
    let written = markers.is_empty() && objects.list(SEGMENTS).next().await.is_some();
    if production || written {
        return Err(Failure::could_not(
            "This drill would write into the recovery ledger of a living system.",
            "ledger.folder holds records that no drill wrote",
            "Set ledger.folder to a new folder, and name the living system's with --replay-from.",
        ));
    }
    Ok(())
}

fn unreadable(error: LedgerError) -> Failure {
    let advice = match &error {
        LedgerError::Empty => {
            "Set ledger.folder to the lost system's ledger. If there is none any more, say --without-ledger: what was sent, \
             fired, revoked or erased after the backup may then happen again."
        }
        LedgerError::AnotherSystem { .. } => "Set ledger.folder to the ledger of this system.",
        LedgerError::NewerFormat { .. } => "Use the version of cowork that wrote it, or a later one.",
        LedgerError::Unavailable { .. } => "See that the ledger's folder can be read, and run the command again.",
        _ => "Look at the ledger's folder. With --without-ledger nothing is remembered.",
    };
    Failure::could_not("The recovery ledger can't be read.", error, advice)
}

fn unfenced(error: LedgerError) -> Failure {
    let advice = match &error {
        LedgerError::GenerationTaken { .. } => "See which restore began it; only one of them may go on as the system.",
        _ => "See that the ledger's folder can be written, and run the command again.",
    };
    Failure::could_not("The lost system can't be fenced.", error, advice)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
