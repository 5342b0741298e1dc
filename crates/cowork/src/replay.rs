//! Which recovery ledger a restore reads and which it writes, and what it tells of it.
//!
//! A drill reads the lost system's ledger with `--replay-from` and writes nothing there.
//!
//! Not here: the fence, the replay and the new generation themselves (crate `recovery`).

use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use config::Config;
use futures::StreamExt as _;
use ids::{BackupId, SystemId};
use ledger::{LedgerError, Reader};
use objects::Objects;
use recovery::{Begun, Memory, Progress, Recovery, RecoveryError};
use serde_json::Value;
use store::Generation;

use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;
use crate::restore::Environment;

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
        let current = installation.generation().await?;
        let reader = self.reader(&installation.config, process, current.system_id).await?;
        let memory = match &reader {
            Some(reader) => Memory::Ledger(reader),
            None if self.ledger.without_ledger => Memory::Declined,
            None => Memory::NotGiven,
        };
        let recovery = Recovery {
            store: &installation.store,
            current: &current,
            own: &own(&installation.config)?,
            environment: self.environment.into(),
            backup: self.backup,
            memory,
        };
        recovery.begin(&mut progress).await.map_err(failed)
    }
}

fn progress(progress: Progress) {
    match progress {
        Progress::Reading { records, position } => eprintln!("recovery ledger    {records} records, up to {position}"),
        Progress::Read { records, took } => {
            eprintln!("recovery ledger    {records} records ({:.1} s)", took.as_secs_f64());
        }
        Progress::Finding(sentence) => eprintln!("recovery ledger    finding: {sentence}"),
    }
}

fn failed(error: RecoveryError) -> Failure {
    match error {
        RecoveryError::Unreadable(error) => unreadable(error),
        RecoveryError::Unfenced(error) => unfenced(error),
        RecoveryError::Store(error) => error.into(),
        RecoveryError::AnotherLedger(sentence) => Failure::could_not(
            "The recovery ledger can't be replayed.",
            sentence,
            "Use the program that wrote it, or the ledger of this system. With --without-ledger nothing is remembered.",
        ),
        RecoveryError::NotErased(error) => Failure::could_not("A subject was not erased again.", error, "Report this."),
    }
}

/// A generation that was begun, for people, from "It is in " on.
pub(crate) fn tell(begun: &Begun) -> String {
    let Generation { generation, environment, .. } = &begun.generation;
    format!("generation {generation}, as {}.{}", environment.as_str(), lines(&begun.report))
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
        ("people in chats disabled", count("/identities_disabled")),
        ("tokens revoked again", count("/tokens_revoked")),
        ("browser sessions ended again", count("/browser_sessions_revoked")),
        ("members removed again", count("/members_removed")),
        ("keys revoked again", count("/keys_revoked")),
        ("channels closed again", count("/channels_closed")),
        ("secrets of triggers rotated again", count("/triggers_rotated")),
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
