//! From when on the ledger is kept. What is older was taken away, and a reader that asks for it is told so.
//!
//! Not here: what is taken away when (`compact`).

use clock::Timestamp;
use futures::TryStreamExt;
use ids::SystemId;
use objects::{Objects, ObjectsError};

use crate::codec::Cursor;
use crate::error::LedgerError;
use crate::segment::{self, FrameError, FrameKind, hour, hour_begins};

const DROPPED: &str = "dropped";

/// `None`: nothing was ever dropped.
pub(crate) async fn kept_from(objects: &Objects, system: SystemId) -> Result<Option<Timestamp>, LedgerError> {
    let mut newest = None;
    for key in markers(objects).await? {
        let bytes = match objects.get(&key).await {
            Ok(bytes) => bytes,
            // A newer one took its place; it was listed, too.
            Err(ObjectsError::NotFound(_)) => continue,
            Err(error) => return Err(LedgerError::unavailable("reading what was dropped", error)),
        };
        let kept_from = open(system, &bytes).map_err(|error| LedgerError::frame(&key, error))?;
        if key != self::key(kept_from) {
            return Err(LedgerError::frame(&key, FrameError::Misplaced));
        }
        newest = newest.max(Some(kept_from));
    }
    Ok(newest)
}

/// Says that everything before `kept_from`, the beginning of an hour, may be missing.
pub(crate) async fn mark(objects: &Objects, system: SystemId, kept_from: Timestamp) -> Result<(), LedgerError> {
    let (bytes, _) = segment::seal(FrameKind::Dropped, system, &kept_from.timestamp_micros().to_be_bytes());
    let newest = key(kept_from);
    let put = objects.put(&newest, bytes.into()).await;
    put.map_err(|error| LedgerError::unavailable("marking what is dropped", error))?;
    for older in markers(objects).await?.into_iter().filter(|key| *key < newest) {
        let deleted = objects.delete(&older).await;
        deleted.map_err(|error| LedgerError::unavailable("deleting an older marker", error))?;
    }
    Ok(())
}

async fn markers(objects: &Objects) -> Result<Vec<String>, LedgerError> {
    let listed: Result<Vec<_>, _> = objects.list(DROPPED).map_ok(|found| found.key).try_collect().await;
    listed.map_err(|error| LedgerError::unavailable("listing what was dropped", error))
}

fn key(kept_from: Timestamp) -> String {
    format!("{DROPPED}/{}", hour(kept_from))
}

fn open(system: SystemId, bytes: &[u8]) -> Result<Timestamp, FrameError> {
    let (found, payload, _) = segment::open(FrameKind::Dropped, bytes)?;
    if found != system {
        return Err(FrameError::AnotherSystem(found));
    }
    let mut cursor = Cursor(payload);
    let kept_from = cursor.instant()?;
    cursor.end()?;
    if hour_begins(&hour(kept_from)) == Some(kept_from) { Ok(kept_from) } else { Err(FrameError::Misplaced) }
}
