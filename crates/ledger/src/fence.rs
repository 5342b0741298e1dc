//! Which generation may write.
//!
//! A restore puts the marker of its generation first and reads the ledger after that; a writer puts its segment first
//! and looks for markers after that. So of the two, at least one sees the other: either the writer learns that it is
//! fenced and lets nothing leave, or the restore reads the writer's intent. This rests on the object store: what was
//! put must be found by every listing that begins later.
//!
//! A restore that was made beside another ledger has put its marker there. Its processes put one here when they first reach
//! this one, before anything of theirs leaves ([`supersede`]).
//!
//! Not here: what a fenced process does (it stops).

use bytes::Bytes;
use clock::Timestamp;
use futures::TryStreamExt;
use ids::{BackupId, SystemId};
use objects::{Objects, ObjectsError};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::codec::{Cursor, Malformed};
use crate::error::LedgerError;
use crate::ledger::Identity;
use crate::record::{Environment, Record};
use crate::segment::{self, FrameError, FrameKind};

const GENERATIONS: &str = "generations";
/// Says whose ledger this is.
const SYSTEM: &str = "system";

/// A generation that is about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGeneration {
    pub generation: i64,
    pub environment: Environment,
    pub backup: Option<BackupId>,
    /// Names this one restore, and no other of the same backup: who comes again with the same one has begun it already.
    pub restore: Uuid,
}

/// A generation's marker as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationMarker {
    pub started: NewGeneration,
    pub at: Timestamp,
}

/// Fences every writer of an older generation. Before a restore reads the ledger, and before any of its roles start.
/// May be called again for the same restore: the marker that is there is returned then.
///
/// Not promised: that a process that was fenced knows of it already. It learns it at its next write.
///
/// # Errors
/// `GenerationTaken` if another restore has begun this generation or a newer one; [`newest_generation`] tells which.
pub async fn begin_generation(
    objects: &Objects,
    system: SystemId,
    new: &NewGeneration,
    at: Timestamp,
) -> Result<GenerationMarker, LedgerError> {
    claim_system(objects, system).await?;
    if let Some(newest) = newer_than(objects, new.generation).await? {
        return Err(LedgerError::GenerationTaken { generation: newest });
    }
    let marker = GenerationMarker { started: new.clone(), at };
    match objects.put(&key(new.generation), marker.seal(system)).await {
        Ok(_) => Ok(marker),
        Err(ObjectsError::Conflict(_)) => {
            let there = read_marker(objects, system, new.generation).await?;
            if there.started == *new {
                Ok(there)
            } else {
                Err(LedgerError::GenerationTaken { generation: new.generation })
            }
        }
        Err(error) => Err(LedgerError::unavailable("putting the marker of a generation", error)),
    }
}

/// Puts the marker of a generation that a restore began elsewhere, for example beside another ledger, as soon as one of its
/// processes reaches this one. Afterwards the marker is there, or a newer one.
///
/// # Errors
/// `GenerationTaken` if another restore begins the same generation just now.
pub(crate) async fn supersede(objects: &Objects, identity: Identity) -> Result<(), LedgerError> {
    let Identity { system, generation, supersedes } = identity;
    let Some(at) = supersedes else { return Ok(()) };
    if newer_than(objects, generation - 1).await?.is_some() {
        return Ok(());
    }
    let restore = name_of(system, at);
    let new = NewGeneration { generation, environment: Environment::Production, backup: None, restore };
    match begin_generation(objects, system, &new, at).await {
        Err(LedgerError::GenerationTaken { generation: newer }) if newer > generation => Ok(()),
        begun => begun.map(drop),
    }
}

/// The same for every process of a restored system, none of which remembers what its restore was called.
fn name_of(system: SystemId, at: Timestamp) -> Uuid {
    let mut hasher = Sha256::new_with_prefix(system.as_uuid().as_bytes());
    hasher.update(at.timestamp_micros().to_be_bytes());
    let sum: [u8; 32] = hasher.finalize().into();
    Uuid::from_bytes(*sum.first_chunk().expect("a sum is longer than an id"))
}

/// The newest generation that has a marker. `None`: no restore has ever used this ledger.
///
/// # Errors
/// If the store can't be asked.
pub async fn newest_generation(objects: &Objects) -> Result<Option<i64>, LedgerError> {
    newer_than(objects, 0).await
}

/// Every marker, by generation.
///
/// # Errors
/// If the store can't be asked, or a marker can't be read.
pub async fn generations(objects: &Objects, system: SystemId) -> Result<Vec<GenerationMarker>, LedgerError> {
    let mut numbers: Vec<i64> = Vec::new();
    let mut listed = objects.list(GENERATIONS);
    while let Some(found) = listed.try_next().await.map_err(|error| LedgerError::unavailable(LISTING, error))? {
        numbers.push(number(&found.key)?);
    }
    numbers.sort_unstable();
    let mut markers = Vec::with_capacity(numbers.len());
    for number in numbers {
        markers.push(read_marker(objects, system, number).await?);
    }
    Ok(markers)
}

const LISTING: &str = "listing the generations";

/// The newest generation above `generation` that has a marker.
pub(crate) async fn newer_than(objects: &Objects, generation: i64) -> Result<Option<i64>, LedgerError> {
    let mut newest = None;
    let mut listed = objects.list_after(GENERATIONS, &key(generation));
    while let Some(found) = listed.try_next().await.map_err(|error| LedgerError::unavailable(LISTING, error))? {
        newest = newest.max(Some(number(&found.key)?));
    }
    Ok(newest)
}

/// Makes this ledger the system's, or finds that it is.
pub(crate) async fn claim_system(objects: &Objects, system: SystemId) -> Result<(), LedgerError> {
    match check_system(objects, system).await {
        Err(LedgerError::Empty) => {}
        checked => return checked,
    }
    let (bytes, _) = segment::seal(FrameKind::System, system, &[]);
    match objects.put(SYSTEM, Bytes::from(bytes)).await {
        Ok(_) => Ok(()),
        Err(ObjectsError::Conflict(_)) => check_system(objects, system).await,
        Err(error) => Err(LedgerError::unavailable("claiming the ledger for this system", error)),
    }
}

/// `Empty` if nobody has written here yet.
pub(crate) async fn check_system(objects: &Objects, system: SystemId) -> Result<(), LedgerError> {
    let bytes = match objects.get(SYSTEM).await {
        Ok(bytes) => bytes,
        Err(ObjectsError::NotFound(_)) => return Err(LedgerError::Empty),
        Err(error) => return Err(LedgerError::unavailable("reading whose ledger it is", error)),
    };
    let opened = segment::open(FrameKind::System, &bytes);
    let (found, ..) = opened.map_err(|error| LedgerError::frame(SYSTEM, error))?;
    if found == system { Ok(()) } else { Err(LedgerError::AnotherSystem { found, expected: system }) }
}

fn key(generation: i64) -> String {
    format!("{GENERATIONS}/{generation:010}")
}

fn number(key: &str) -> Result<i64, LedgerError> {
    let number = key.rsplit('/').next().and_then(|name| name.parse().ok());
    number.ok_or_else(|| LedgerError::Damaged { key: key.to_owned(), why: "its name is no generation".to_owned() })
}

async fn read_marker(objects: &Objects, system: SystemId, generation: i64) -> Result<GenerationMarker, LedgerError> {
    let key = key(generation);
    let bytes = objects.get(&key).await;
    let bytes = bytes.map_err(|error| LedgerError::unavailable("reading the marker of a generation", error))?;
    let marker = GenerationMarker::open(system, &bytes).map_err(|error| LedgerError::frame(&key, error))?;
    if marker.started.generation != generation {
        return Err(LedgerError::frame(&key, FrameError::Misplaced));
    }
    Ok(marker)
}

impl GenerationMarker {
    fn seal(&self, system: SystemId) -> Bytes {
        let NewGeneration { generation, environment, backup, restore } = self.started;
        let mut payload = Vec::new();
        payload.extend(self.at.timestamp_micros().to_be_bytes());
        payload.extend(restore.as_bytes());
        Record::GenerationStarted { generation, environment, backup }.encode(&mut payload);
        segment::seal(FrameKind::Generation, system, &payload).0.into()
    }

    fn open(system: SystemId, bytes: &[u8]) -> Result<Self, FrameError> {
        let (found, payload, _) = segment::open(FrameKind::Generation, bytes)?;
        if found != system {
            return Err(FrameError::AnotherSystem(found));
        }
        let mut cursor = Cursor(payload);
        let at = cursor.instant()?;
        let restore = cursor.id()?;
        let record = Record::decode(&mut cursor)?;
        cursor.end()?;
        match record {
            Record::GenerationStarted { generation, environment, backup } => {
                Ok(Self { started: NewGeneration { generation, environment, backup, restore }, at })
            }
            _ => Err(Malformed::Field("record").into()),
        }
    }
}
